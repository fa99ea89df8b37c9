// Prints UserSigs made by the published package: node sign.js APP KEY USER...
const { Api } = require("tls-sig-api-v2");

const [app, key, ...users] = process.argv.slice(2);
const signer = new Api(Number(app), key);
const signatures = Object.fromEntries(users.map((user) => [user, signer.genUserSig(user, 3600)]));
signatures["number room"] = signer.genPrivateMapKey(users[0], 300, 10000, 255);
signatures["text room"] = signer.genPrivateMapKeyWithStringRoomID(users[0], 300, "room-A", 255);
signatures["number room, a user beyond ASCII"] = signer.genPrivateMapKey(users[1], 300, 10000, 255);
signatures["wrong key"] = new Api(Number(app), "0".repeat(64)).genUserSig(users[0], 3600);
console.log(JSON.stringify(signatures));
