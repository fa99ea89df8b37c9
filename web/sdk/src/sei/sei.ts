import { ErrorCode, invalidOperation, rtcError } from '../errors.js';
import type { StreamType } from '../generated/messages.js';
import { canSend } from '../support.js';
import type { SeiMessage } from './nal.js';
import { Transforms } from './transforms.js';

/** Of one message, in bytes; calls and bytes of a second. */
export const LONGEST_MESSAGE = 1024;
const MOST_CALLS = 30;
const MOST_BYTES = 8 * 1024;

/** How much may be sent: what is more takes room from the picture. */
export class SeiBudget {
  private spent: { at: number; bytes: number }[] = [];

  /** Whether so many bytes may go now; if so they are counted. */
  take(now: number, bytes: number): boolean {
    this.spent = this.spent.filter(({ at }) => now - at < 1_000);
    const before = this.spent.reduce((sum, one) => sum + one.bytes, 0);
    if (this.spent.length >= MOST_CALLS || before + bytes > MOST_BYTES) return false;
    this.spent.push({ at: now, bytes });
    return true;
  }
}

export interface SeiOptions {
  /** Whether the app wants it (`enableSEI`). */
  enabled: boolean;
  /** Through which frames go; null where there is no such way. */
  worker: Worker | null;
  /** What the published video of that type goes out by. */
  senderOf: (type: StreamType) => RTCRtpSender | undefined;
  came: (track: MediaStreamTrack, message: SeiMessage) => void;
}

/** The messages of one call. */
export class Sei {
  /** Null when no frames are looked at. */
  readonly transforms: Transforms | null;
  private readonly budget = new SeiBudget();

  constructor(private readonly options: SeiOptions) {
    this.transforms = options.enabled ? Transforms.by(options.worker, options.came) : null;
  }

  /** Sends a message with the next frame of the main stream's video, or of the auxiliary one's when that is all there is. */
  send(now: number, message: SeiMessage): void {
    if (!this.options.enabled) throw invalidOperation('sendSEIMessage: createClient() needs enableSEI: true for that');
    if (!this.transforms) throw rtcError(ErrorCode.NOT_SUPPORTED, 'sendSEIMessage: this browser gives no access to encoded frames');
    if (!canSend('h264')) throw rtcError(ErrorCode.NOT_SUPPORTED_H264, 'sendSEIMessage: this browser cannot send H264');
    const sender = this.options.senderOf('main') ?? this.options.senderOf('auxiliary');
    if (!sender) throw invalidOperation('sendSEIMessage: no video is published, please publish() it before');
    if (!this.budget.take(now, message.data.length)) {
      throw invalidOperation(`sendSEIMessage: more than ${MOST_CALLS} calls or ${MOST_BYTES} bytes a second`);
    }
    this.transforms.put(sender, message);
  }

  close(): void {
    this.transforms?.close();
  }
}
