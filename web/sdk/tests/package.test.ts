// The package as an app gets it: packed, installed in a folder of its own, then required, imported, compiled and bundled.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { build } from 'vite';
import webpack from 'webpack';

const sdk = fileURLToPath(new URL('..', import.meta.url));
const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const patience = 120_000; // milliseconds; a bundler takes a second on an idle machine
vi.setConfig({ testTimeout: patience, hookTimeout: patience });
let app: string;

const run = (command: string, ...words: string[]): string =>
  execFileSync(command, words, { cwd: app, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

beforeAll(() => {
  if (!existsSync(join(sdk, 'dist/trtc.mjs'))) throw new Error('the SDK is not built: `npm run build` builds it');
  app = mkdtempSync(join(tmpdir(), 'parlour-package-'));
  execFileSync('npm', ['pack', '--silent', '--pack-destination', app], { cwd: sdk });
  const packed = readdirSync(app).filter((name) => name.endsWith('.tgz'));
  write('package.json', '{ "name": "app", "private": true }');
  run('npm', 'install', '--silent', '--offline', '--no-audit', '--no-fund', `./${packed.join()}`);
});

afterAll(() => rmSync(app, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(app, name);
  writeFileSync(path, text);
  return path;
}

/** Every member of the API by name, and whether it is the default export's own; printed as JSON. */
const NAMES = [
  'VERSION',
  'Logger',
  'ErrorCode',
  'createClient',
  'createStream',
  'checkSystemRequirements',
  'isScreenShareSupported',
  'isSmallStreamSupported',
  'getDevices',
  'getCameras',
  'getMicrophones',
  'getSpeakers',
];
const REPORT = `
  const names = ${JSON.stringify(NAMES)};
  const client = TRTC.createClient({ sdkAppId: 1, userId: 'ada', userSig: 'x' });
  console.log(JSON.stringify({
    same: names.filter((name) => TRTC[name] !== undefined && named[name] === TRTC[name]),
    api: Object.keys(TRTC).sort(),
    user: client.getUserId(),
    window: typeof window,
  }));
`;
const WHOLE = { same: NAMES, api: [...NAMES].sort(), user: 'ada', window: 'undefined' };
const IMPORTS = `import TRTC, { ${NAMES.join(', ')} } from 'parlour-web'; const named = { ${NAMES.join(', ')} };`;

test.each(['parlour-web', 'parlour-web/trtc.js', 'parlour-web/trtc.umd.js'])('require(%j) is the API', (name) => {
  const path = write('app.cjs', `const TRTC = require('${name}'); const named = TRTC; ${REPORT}`);
  expect(JSON.parse(run('node', path))).toEqual(WHOLE);
  // What compilers make of \`import TRTC from\`.
  const compiled = write('app.cjs', `const TRTC = require('${name}').default; const named = require('${name}'); ${REPORT}`);
  expect(JSON.parse(run('node', compiled))).toEqual(WHOLE);
});

test.each(['parlour-web', 'parlour-web/trtc.esm.js'])('import from %j has the default and every name', (name) => {
  const path = write('app.mjs', `${IMPORTS.replace('parlour-web', name)} ${REPORT}`);
  expect(JSON.parse(run('node', path))).toEqual(WHOLE);
});

test('the file that v4 apps import as trtc.umd.js has the API as its default', () => {
  const path = write('app.mjs', `import TRTC from 'parlour-web/trtc.umd.js'; const named = TRTC; ${REPORT}`);
  expect(JSON.parse(run('node', path))).toEqual(WHOLE);
});

test.each([
  ['node16', 'app.mts'],
  ['node16', 'app.cts'],
  ['nodenext', 'app.mts'],
  ['bundler', 'app.ts'],
])('the types are found with %s resolution from %s and tell what is there', (resolution, name) => {
  const module = resolution === 'bundler' ? 'esnext' : resolution;
  const source = `
    import TRTC, { createClient, Logger, type Client, type LocalStream, type RtcError } from 'parlour-web';
    const client: Client = createClient({ sdkAppId: 1, userId: 'ada', userSig: 'x' });
    const stream: LocalStream = TRTC.createStream({ audio: true });
    client.on('error', (error: RtcError) => Logger.setLogLevel(error.getCode() === TRTC.ErrorCode.UNKNOWN ? 0 : 5));
    // @ts-expect-error: there is no such member, and nothing here is any.
    stream.fly();
  `;
  write(name, source);
  const options = ['--noEmit', '--strict', '--lib', 'es2022,dom', '--esModuleInterop'];
  run('node', compiler, ...options, '--module', module, '--moduleResolution', resolution, name);
});

/** Bundles app.js and returns what it prints in a Node without a DOM. */
const BUNDLERS = {
  webpack: async (entry: string): Promise<string> => {
    const output = { path: join(app, 'webpack'), filename: 'app.cjs' };
    const options = { mode: 'production', optimization: { minimize: false }, target: 'web', context: app, entry, output } as const;
    await new Promise<void>((resolve, reject) => {
      webpack(options, (failed, statistics) => {
        if (failed ?? statistics?.hasErrors() ?? true) reject(failed ?? new Error(statistics?.toString('errors-only')));
        else resolve();
      });
    });
    return run('node', 'webpack/app.cjs');
  },
  vite: async (entry: string): Promise<string> => {
    const output = { entryFileNames: 'app.mjs' };
    await build({
      root: app,
      configFile: false,
      logLevel: 'error',
      build: { outDir: 'vite', rolldownOptions: { input: entry, output } },
    });
    return run('node', 'vite/app.mjs');
  },
};

test.each([
  ['webpack', 'parlour-web'],
  ['webpack', 'parlour-web/trtc.esm.js'],
  ['webpack', 'parlour-web/trtc.umd.js'],
  ['vite', 'parlour-web'],
  ['vite', 'parlour-web/trtc.esm.js'],
  ['vite', 'parlour-web/trtc.umd.js'],
] as const)('%s bundles an app of %s', async (bundler, name) => {
  const imports = name.endsWith('umd.js') ? `import TRTC from '${name}'; const named = TRTC;` : IMPORTS.replace('parlour-web', name);
  const entry = write('app.js', `${imports} ${REPORT}`);
  expect(JSON.parse(await BUNDLERS[bundler](entry))).toEqual(WHOLE);
});
