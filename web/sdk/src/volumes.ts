import { streamKey } from './room-state.js';
import type { StreamType, Volumes as VolumesEvent } from './generated/messages.js';
import type { AudioVolumeInfo, LocalStream, RemoteStream } from './types.js';

/** The shortest time between two events, in milliseconds; timers and figures are not finer. */
const SHORTEST = 100;

/** What an app asked for: 0 for nothing. */
export interface Evaluation {
  interval: number;
  inBackground: boolean;
}

export const NO_EVALUATION: Evaluation = { interval: 0, inBackground: false };

/** A stream with sound, whose it is and which. */
export interface Sounding {
  userId: string;
  streamType: StreamType;
  stream: LocalStream | RemoteStream;
}

/** What is around it. */
export interface VolumesOptions {
  /** The streams that have sound, the user's own too. */
  streams: () => Sounding[];
  emit: (info: AudioVolumeInfo) => void;
  /** Has the server tell volumes so often, in milliseconds; 0: no more. */
  ask: (interval: number) => void;
  isHidden?: () => boolean;
}

/**
 * Tells the app how loud everybody is, as the server says: so it is known of a page that is hidden, too, and of streams that
 * are not received.
 */
export class Volumes {
  private readonly volumes = new Map<string, number>();
  private speakers: string[] = [];
  private evaluation = NO_EVALUATION;
  private timer: ReturnType<typeof setInterval> | undefined;
  private emitted = 0;
  /** What the server was asked for last, if for anything. */
  private asked: number | undefined;

  constructor(private readonly options: VolumesOptions) {}

  /** Begins, goes on in another way, or ends. */
  set(evaluation: Evaluation): void {
    const interval = evaluation.interval > 0 ? Math.max(SHORTEST, evaluation.interval) : 0;
    this.evaluation = { ...evaluation, interval };
    clearInterval(this.timer);
    this.timer = interval > 0 ? setInterval(() => this.fire(), interval) : undefined;
    if (interval === (this.asked ?? 0)) return;
    this.asked = interval;
    this.options.ask(interval);
  }

  /** The server tells what changed. */
  told({ volumes, speakers, whole }: VolumesEvent): void {
    if (whole) this.volumes.clear();
    for (const { userId, volume, streamType } of volumes) {
      const key = streamKey(userId, streamType ?? 'main');
      if (volume > 0) this.volumes.set(key, volume);
      else this.volumes.delete(key);
    }
    if (speakers) this.speakers = speakers;
    // The timers of a hidden page rest; what comes over the network does not.
    if (this.evaluation.interval > 0 && this.isHidden() && Date.now() - this.emitted >= this.evaluation.interval) this.fire();
  }

  /** The session goes on, or another one took its place: the server may not know what is wanted. */
  renew(): void {
    if (this.asked !== undefined) this.options.ask(this.asked);
  }

  close(): void {
    clearInterval(this.timer);
    this.evaluation = NO_EVALUATION;
  }

  private fire(): void {
    if (this.isHidden() && !this.evaluation.inBackground) return;
    this.emitted = Date.now();
    const result = this.options.streams().map(({ userId, streamType, stream }) => ({
      userId,
      audioVolume: this.volumes.get(streamKey(userId, streamType)) ?? 0,
      stream,
    }));
    result.sort((one, other) => other.audioVolume - one.audioVolume);
    this.options.emit({ result, speakers: [...this.speakers] });
  }

  private isHidden(): boolean {
    return this.options.isHidden ? this.options.isHidden() : typeof document !== 'undefined' && document.hidden;
  }
}
