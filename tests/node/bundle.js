// Bundles an app as projects do with that bundler: `node bundle.js BUNDLER ENTRY OUTPUT`. ENTRY is in the app's folder.
const { basename, dirname } = require('node:path');

const [bundler, entry, output] = process.argv.slice(2);

const BUNDLERS = {
  webpack4: () =>
    new Promise((resolve, reject) => {
      const options = {
        mode: 'production',
        context: dirname(entry),
        entry,
        optimization: { minimize: false },
        output: { path: dirname(output), filename: basename(output) },
      };
      require('webpack4')(options, (failed, statistics) => {
        if (failed || statistics.hasErrors()) reject(failed || new Error(statistics.toString('errors-only')));
        else resolve();
      });
    }),
  rollup: async () => {
    const { rollup } = require('rollup');
    const resolve = require('@rollup/plugin-node-resolve').default;
    const commonjs = require('@rollup/plugin-commonjs').default;
    const refuse = (warning) => {
      throw new Error(warning.message);
    };
    const bundle = await rollup({ input: entry, plugins: [resolve({ browser: true }), commonjs()], onwarn: refuse });
    await bundle.write({ file: output, format: 'iife', name: 'app' });
  },
  esbuild: () => {
    const { build } = require('esbuild');
    return build({ entryPoints: [entry], outfile: output, bundle: true, format: 'iife', target: 'es2017', logLevel: 'error' });
  },
};

process.chdir(dirname(entry));
BUNDLERS[bundler]().catch((failed) => {
  console.error(failed.message);
  process.exit(1);
});
