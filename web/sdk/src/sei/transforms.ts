/** The way to encoded frames that this browser and this page have. */

import { describe } from '../errors.js';
import type { Kind } from '../kinds.js';
import { log } from '../logger.js';
import { handleFrames, type Streams } from './frames.js';
import type { SeiMessage } from './nal.js';
import FramesWorker from './worker.js?worker&inline';

/** Milliseconds for a worker that comes with the page to run. */
const WORKER_TIMEOUT = 5_000;

type Side = RTCRtpSender | RTCRtpReceiver;
/** Chromium's older way: in the page. */
type Insertable = Side & { createEncodedStreams?: () => Streams };

function has(name: string, member: string): boolean {
  const of = (globalThis as unknown as Record<string, { prototype?: object } | undefined>)[name];
  return of?.prototype !== undefined && member in of.prototype;
}

/** Starts the worker through which frames go; null where there is no such way, or where the page lets no worker run. */
export async function framesWorker(): Promise<Worker | null> {
  if (typeof RTCRtpScriptTransform === 'undefined' || !has('RTCRtpSender', 'transform')) return null;
  let worker: Worker | null = null;
  try {
    const started = new FramesWorker();
    worker = started;
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('it does not answer')), WORKER_TIMEOUT);
      started.onmessage = () => {
        clearTimeout(late);
        resolve();
      };
      // Frames would wait for one that may not run (Content-Security-Policy, worker-src) without end.
      started.onerror = () => {
        clearTimeout(late);
        reject(new Error('the page may not let it run; its worker-src needs blob:'));
      };
    });
    return started;
  } catch (thrown) {
    worker?.terminate();
    log.warn('SEI: there is no worker:', describe(thrown));
    return null;
  }
}

/** The frames of one client's connections. */
export class Transforms {
  private readonly ports = new Map<Side, MessagePort>();

  private constructor(
    private readonly worker: Worker | null,
    private readonly came: (track: MediaStreamTrack, message: SeiMessage) => void,
  ) {}

  /** Null when frames cannot be had. `came`: a message came in the frames of this track. */
  static by(worker: Worker | null, came: (track: MediaStreamTrack, message: SeiMessage) => void): Transforms | null {
    return worker || has('RTCRtpSender', 'createEncodedStreams') ? new Transforms(worker, came) : null;
  }

  /** What a peer connection has to be made with. */
  get peerOptions(): RTCConfiguration {
    return this.worker ? {} : ({ encodedInsertableStreams: true } as RTCConfiguration);
  }

  /** Has a sender's frames, from before its first one. Idempotent. */
  sends(sender: RTCRtpSender, kind: Kind): void {
    this.attach(sender, kind, true);
  }

  /** The same for what comes. */
  receives(receiver: RTCRtpReceiver): void {
    const port = this.attach(receiver, receiver.track.kind as Kind, false);
    if (port) port.onmessage = ({ data }: MessageEvent<SeiMessage>) => this.came(receiver.track, data);
  }

  /** Sends a message with the sender's next frame. */
  put(sender: RTCRtpSender, message: SeiMessage): void {
    this.ports.get(sender)?.postMessage(message);
  }

  close(): void {
    this.worker?.terminate();
  }

  private attach(side: Side, kind: Kind, sends: boolean): MessagePort | null {
    // The sound takes its own way, where it may.
    if (this.ports.has(side) || (this.worker && kind === 'audio')) return null;
    const { port1, port2 } = new MessageChannel();
    try {
      if (this.worker) {
        side.transform = new RTCRtpScriptTransform(this.worker, { sends, port: port2 }, [port2]);
      } else {
        const streams = (side as Insertable).createEncodedStreams?.();
        if (streams) handleFrames(streams, { sends, port: port2 });
      }
    } catch (thrown) {
      log.warn('SEI:', describe(thrown));
      return null;
    }
    this.ports.set(side, port1);
    return port1;
  }
}
