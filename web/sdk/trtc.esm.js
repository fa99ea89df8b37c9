// For bundlers that know no `exports`: the file that v4 apps ask for.
export * from './dist/trtc.mjs';
export { default } from './dist/trtc.mjs';
