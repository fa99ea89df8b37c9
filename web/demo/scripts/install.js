// Copies the built page to where the server serves it from: python/parlour/static/demo.
import { cpSync, rmSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
const target = new URL('../../../python/parlour/static/demo/', import.meta.url);
rmSync(target, { recursive: true, force: true });
cpSync(dist, target, { recursive: true });
console.log('parlour-demo: copied to python/parlour/static/demo');
