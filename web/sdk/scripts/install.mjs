// Completes dist/ and copies the SDK to where the server serves it from: python/parlour/static/sdk.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
const copy = (from, to) => copyFileSync(new URL(from, dist), new URL(to, dist));
// The same files under the names that v4 apps and Node ask for: its `import` knows a module by .mjs and its types by .d.mts.
copy('trtc.js', 'trtc.umd.js');
copy('trtc.esm.js', 'trtc.mjs');
copy('index.d.ts', 'index.d.mts');

const target = new URL('../../../python/parlour/static/sdk/', import.meta.url);
mkdirSync(target, { recursive: true });
for (const name of ['trtc.js', 'trtc.js.map', 'trtc.umd.js', 'trtc.esm.js', 'trtc.esm.js.map', 'index.d.ts']) {
  copyFileSync(new URL(name, dist), new URL(name, target));
}
const size = Math.round(readFileSync(new URL('trtc.js', dist)).length / 1024);
console.log(`parlour-web: ${String(size)} KiB, copied to python/parlour/static/sdk`);
