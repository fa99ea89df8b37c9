import { describe } from './errors.js';
import type { VideoType } from './generated/messages.js';
import { log } from './logger.js';

/** Requests that may go at once, and how many a second after those: well below what the server takes of a client. */
const BURST = 100;
const PER_SECOND = 20;

interface Wish {
  wanted: VideoType;
  /** Those who wait for the server to know it. */
  waiting: { resolve: () => void; reject: (why: unknown) => void }[];
}

/** Tells the server as what videos are wanted: one request at a time, and of each stream's wishes the last one alone. */
export class VideoTypes {
  private readonly wishes = new Map<string, Wish>();
  private telling = false;
  private tokens = BURST;
  private counted = 0;

  constructor(
    /** Sends a wish for the stream of that key. */
    private readonly send: (key: string, wanted: VideoType) => Promise<void>,
    private readonly now: () => number = () => Date.now(),
  ) {}

  /** Resolves when the server knows this wish or a later one. */
  want(key: string, wanted: VideoType): Promise<void> {
    return new Promise((resolve, reject) => {
      const wish = this.wishes.get(key) ?? { wanted, waiting: [] };
      wish.wanted = wanted;
      wish.waiting.push({ resolve, reject });
      this.wishes.set(key, wish);
      if (!this.telling) void this.tell();
    });
  }

  private async tell(): Promise<void> {
    this.telling = true;
    // What is asked for in one go is one wish.
    await Promise.resolve();
    for (let next = this.first(); next; next = this.first()) {
      await this.pace();
      const [key, { wanted, waiting }] = next;
      this.wishes.delete(key);
      try {
        await this.send(key, wanted);
        for (const one of waiting) one.resolve();
      } catch (thrown) {
        log.debug('set-video-type:', describe(thrown));
        for (const one of waiting) one.reject(thrown);
      }
    }
    this.telling = false;
  }

  private first(): [string, Wish] | undefined {
    return this.wishes.entries().next().value;
  }

  private async pace(): Promise<void> {
    const now = this.now();
    this.tokens = Math.min(BURST, this.tokens + ((now - this.counted) * PER_SECOND) / 1000);
    this.counted = now;
    this.tokens -= 1;
    if (this.tokens < 0) await new Promise((resolve) => setTimeout(resolve, 1000 / PER_SECOND));
  }
}
