/** Runs beside the page: frames do not wait for what the page computes. */

import { handleFrames, type FrameOptions, type Streams } from './frames.js';

addEventListener('rtctransform', (event) => {
  const { transformer } = event as Event & { transformer: Streams & { options: FrameOptions } };
  handleFrames(transformer, transformer.options);
});

// That it runs, and may.
postMessage('ready');
