// Completes dist/ and copies the SDK to where the server serves it from: python/parlour/static/sdk.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
const copy = (from, to) => copyFileSync(new URL(from, dist), new URL(to, dist));
// The worker is a text in the bundles; its map serves nobody.
rmSync(new URL('assets', dist), { recursive: true, force: true });
// The same files under the names that v4 apps and Node ask for: its `import` knows the types of a module by .d.mts.
copy('trtc.js', 'trtc.umd.js');
copy('index.d.ts', 'index.d.mts');

const target = new URL('../../../python/parlour/static/sdk/', import.meta.url);
mkdirSync(target, { recursive: true });
for (const name of ['trtc.js', 'trtc.js.map', 'trtc.umd.js', 'trtc.esm.js', 'trtc.esm.js.map', 'index.d.ts']) {
  copyFileSync(new URL(name, dist), new URL(name, target));
}
// What a browser loads.
const MOST = 60;
const script = readFileSync(new URL('trtc.js', dist));
const [whole, packed] = [script, gzipSync(script, { level: 9 })].map(({ length }) => length / 1024);
console.log(`parlour-web: ${whole.toFixed()} KiB, ${packed.toFixed(1)} gzipped (${MOST} at most), copied to python/parlour/static/sdk`);
if (packed > MOST) throw new Error(`trtc.js has ${packed.toFixed(1)} KiB gzipped, more than ${MOST}`);
