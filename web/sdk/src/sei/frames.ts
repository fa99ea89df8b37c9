/** What is done with each encoded frame: messages go into those that are sent and are taken out of those that come. */

import { isAnnexB, messagesIn, withMessages, type SeiMessage } from './nal.js';
import { SeiQueue } from './queue.js';

/** The payload types that apps send: 5 begins with a UUID of the app's (Annex D), 243 is free. */
export const SEI_TYPES = [5, 243] as const;

/** An encoded frame, as browsers hand it over. */
interface EncodedFrame {
  data: ArrayBuffer;
  getMetadata(): { synchronizationSource?: number; rid?: string; mimeType?: string };
}

/** The two ends of one track. */
export interface Streams {
  readable: ReadableStream<EncodedFrame>;
  writable: WritableStream<EncodedFrame>;
}

/** Which way the frames go; `port` carries messages to or from the page. */
export interface FrameOptions {
  sends: boolean;
  port: MessagePort;
}

/** Lets frames through from now on, with messages put in or taken out. */
export function handleFrames({ readable, writable }: Streams, { sends, port }: FrameOptions): void {
  const queue = new SeiQueue();
  if (sends) port.onmessage = ({ data }: MessageEvent<SeiMessage>) => queue.add(Date.now(), data);
  const change = (frame: EncodedFrame): void => {
    const bytes = new Uint8Array(frame.data);
    const { mimeType, synchronizationSource, rid } = frame.getMetadata();
    if (mimeType === undefined ? !isAnnexB(bytes) : !/h264/i.test(mimeType)) return;
    if (!sends) {
      for (const message of messagesIn(bytes, SEI_TYPES)) port.postMessage(message);
      return;
    }
    const messages = queue.take(Date.now(), synchronizationSource ?? rid);
    if (messages.length > 0) frame.data = withMessages(bytes, messages).buffer as ArrayBuffer;
  };
  const transform = new TransformStream<EncodedFrame, EncodedFrame>({
    transform(frame, controller) {
      try {
        change(frame);
      } catch (thrown) {
        // Whatever is wrong with a message, the picture goes on.
        console.warn('Parlour: a frame went on without its messages:', thrown);
      }
      controller.enqueue(frame);
    },
  });
  // The end of the track is the end of the pipe.
  readable
    .pipeThrough(transform)
    .pipeTo(writable)
    .catch(() => undefined);
}
