import dts from 'rollup-plugin-dts';

// One self-contained declaration file from the types that src/index.ts exports.
export default {
  input: 'src/index.ts',
  output: { file: 'dist/index.d.ts', format: 'es' },
  plugins: [dts({ tsconfig: 'tsconfig.src.json' })],
};
