import TRTC from './index.js';

// The script is also what `require()` gets. Compilers and bundlers ask such a module for its default export by these two
// members; an app that looks at what the global TRTC has sees the API alone.
Object.defineProperties(TRTC, { __esModule: { value: true }, default: { value: TRTC } });

export default TRTC;
