// Copies the built SDK to where the server serves it from: python/parlour/static/sdk.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
const target = new URL('../../../python/parlour/static/sdk/', import.meta.url);
mkdirSync(target, { recursive: true });
for (const name of ['trtc.js', 'trtc.js.map', 'trtc.esm.js', 'trtc.esm.js.map', 'index.d.ts']) {
  copyFileSync(new URL(name, dist), new URL(name, target));
}
const size = Math.round(readFileSync(new URL('trtc.js', dist)).length / 1024);
console.log(`parlour-web: ${String(size)} KiB, copied to python/parlour/static/sdk`);
