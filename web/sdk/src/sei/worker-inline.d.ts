/** A worker that comes with the bundle: no file of its own has to be found. */
declare module '*?worker&inline' {
  const InlineWorker: new () => Worker;
  export default InlineWorker;
}
