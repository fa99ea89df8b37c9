import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string };

// One run a format, as each has exports of its own: `vite build` makes the module that a server serves, `--mode npm` the one
// of the package, and `--mode umd` the script. Bundlers of the age of v4 apps read ES2017, and no `import.meta`: what a bundle
// of the app's is loaded from is not the server anyway.
const FORMATS: Record<string, { entry: string; format: 'es' | 'umd'; name: string }> = {
  production: { entry: 'src/index.ts', format: 'es', name: 'trtc.esm.js' },
  npm: { entry: 'src/index.ts', format: 'es', name: 'trtc.mjs' },
  umd: { entry: 'src/umd.ts', format: 'umd', name: 'trtc.js' },
};

export default defineConfig(({ mode }) => {
  const { entry, format, name } = FORMATS[mode] ?? FORMATS.production!;
  return {
    define: { __VERSION__: JSON.stringify(version), ...(mode === 'npm' ? { 'import.meta.url': 'undefined' } : {}) },
    build: {
      target: 'es2017',
      sourcemap: mode !== 'npm',
      emptyOutDir: mode === 'production',
      lib: { name: 'TRTC', entry, formats: [format], fileName: () => name },
      rolldownOptions: {
        // The global `TRTC` and `require('parlour-web')` are the API itself.
        output: format === 'umd' ? { exports: 'default' } : {},
        // Without a module there is no import.meta.url; discover.ts asks document.currentScript first.
        onLog: (level, entry, report) => entry.code !== 'EMPTY_IMPORT_META' && report(level, entry),
      },
    },
  };
});
