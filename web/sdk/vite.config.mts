import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string };

// One run a format, as the two have different exports: `vite build` makes the module, `--mode umd` the script.
export default defineConfig(({ mode }) => ({
  define: { __VERSION__: JSON.stringify(version) },
  // It is a text in the bundle, and a map of it would be a file beside that.
  worker: { rolldownOptions: { output: { sourcemap: false } } },
  build: {
    target: 'es2020',
    sourcemap: true,
    emptyOutDir: mode !== 'umd',
    lib: {
      name: 'TRTC',
      ...(mode === 'umd'
        ? { entry: 'src/umd.ts', formats: ['umd'], fileName: () => 'trtc.js' }
        : { entry: 'src/index.ts', formats: ['es'], fileName: () => 'trtc.esm.js' }),
    },
    rolldownOptions: {
      // The global `TRTC` and `require('parlour-web')` are the API itself.
      output: mode === 'umd' ? { exports: 'default' } : {},
      // Without a module there is no import.meta.url; discover.ts asks document.currentScript first.
      onLog: (level, entry, report) => entry.code !== 'EMPTY_IMPORT_META' && report(level, entry),
    },
  },
}));
