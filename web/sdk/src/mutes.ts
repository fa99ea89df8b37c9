import type { StreamType } from './generated/messages.js';
import { KINDS } from './kinds.js';
import type { Fields } from './signaling/channel.js';
import type { LocalStream } from './streams/local-stream.js';

/** Tells the server what of this user's streams is muted. */
export class Mutes {
  /** Streams whose mutes are being told, and whether they changed since. */
  private readonly telling = new Map<StreamType, { changed: boolean }>();

  constructor(
    private readonly published: (type: StreamType) => LocalStream | undefined,
    private readonly say: (fields: Fields<'mute'>) => Promise<void>,
  ) {}

  /** Tells what of a stream is muted. In a large room an answer may take its time: what changes until then goes with one request. */
  tell(type: StreamType): void {
    const before = this.telling.get(type);
    if (before) {
      before.changed = true;
      return;
    }
    const stream = this.published(type);
    if (!stream) return;
    const now = { changed: false };
    this.telling.set(type, now);
    const muted = Object.fromEntries(KINDS.map((kind) => [kind, stream.isMuted(kind)]));
    void this.say({ streamType: type, ...muted }).then(() => {
      this.telling.delete(type);
      if (now.changed) this.tell(type);
    });
  }
}
