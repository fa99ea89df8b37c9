declare const __VERSION__: string;

const TRTC = { VERSION: __VERSION__ };
export default TRTC;
