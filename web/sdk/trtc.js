// For bundlers that know no `exports`: the file that v4 apps ask for.
module.exports = require('./dist/trtc.js');
