import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string };
const names: Record<string, string> = { umd: 'trtc.js', es: 'trtc.esm.js' };

export default defineConfig({
  define: { __VERSION__: JSON.stringify(version) },
  build: {
    target: 'es2020',
    sourcemap: true,
    lib: {
      entry: 'src/index.ts',
      name: 'TRTC',
      formats: ['umd', 'es'],
      fileName: (format) => names[format] ?? `${format}.js`,
    },
    // One default export: the UMD global `TRTC` and `require('parlour-web')` are the API itself.
    rolldownOptions: {
      output: { exports: 'default' },
      // Without a module there is no import.meta.url; discover.ts asks document.currentScript first.
      onLog: (level, entry, report) => entry.code !== 'EMPTY_IMPORT_META' && report(level, entry),
    },
  },
});
