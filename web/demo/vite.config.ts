import { defineConfig } from 'vite';

// `npm run dev` serves the page with reload on change and borrows everything else from a running `parlour demo`.
const server = process.env.PARLOUR ?? 'http://127.0.0.1:8080';

export default defineConfig({
  base: './',
  // The compiler options of tsconfig.json, said again for the transform.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: { target: 'es2022', sourcemap: true, assetsInlineLimit: 0 },
  server: {
    proxy: {
      '/demo/usersig': { target: server },
      '/v1': { target: server, ws: true },
    },
  },
});
