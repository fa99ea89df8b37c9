import type { SeiMessage } from './nal.js';

/** Milliseconds that a message waits for a frame: what is later belongs to another picture. */
const LONGEST_WAIT = 2_000;
/** Milliseconds for the other encodings of a picture, of which some may be paused, to take it as well. */
const OTHERS = 500;
const MOST_WAITING = 64;

interface Waiting {
  message: SeiMessage;
  until: number;
  taken: Set<unknown>;
}

/** Messages that wait for the next frame, of each encoding. */
export class SeiQueue {
  private waiting: Waiting[] = [];

  add(now: number, message: SeiMessage): void {
    this.waiting.push({ message, until: now + LONGEST_WAIT, taken: new Set() });
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
  }

  /** What goes with a frame of this encoding. */
  take(now: number, encoding: unknown): SeiMessage[] {
    this.waiting = this.waiting.filter(({ until }) => until > now);
    const mine = this.waiting.filter(({ taken }) => !taken.has(encoding));
    for (const one of mine) {
      if (one.taken.size === 0) one.until = Math.min(one.until, now + OTHERS);
      one.taken.add(encoding);
    }
    return mine.map(({ message }) => message);
  }
}
