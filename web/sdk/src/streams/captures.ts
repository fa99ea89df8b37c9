import { invalidOperation, type RtcError } from '../errors.js';

/** What a captured track comes from. */
export type Origin = 'device' | 'display';

/**
 * The one owner of what a stream captures, from its first opening to `close()`. Whatever the browser opens for it is
 * either handed over or stopped, also when it was closed while the browser was still asking the person.
 */
export class Captures {
  readonly #tracks = new Map<MediaStreamTrack, Origin>();
  readonly #waiting = new Set<() => void>();
  #closed = false;

  isClosed(): boolean {
    return this.#closed;
  }

  /** Opens devices or a screen; `call` is what the app is told about when it closes the stream meanwhile. */
  async open(call: string, origin: Origin, request: () => Promise<MediaStream>): Promise<MediaStreamTrack[]> {
    this.mustBeOpen(call);
    const opening = request().then((opened) => {
      const tracks = opened.getTracks();
      if (this.#closed) for (const track of tracks) track.stop();
      else for (const track of tracks) this.#tracks.set(track, origin);
      return tracks;
    });
    return this.unlessClosed(call, opening);
  }

  /** Where a track comes from; undefined for one that was not captured here. */
  originOf(track: MediaStreamTrack | null): Origin | undefined {
    return track ? this.#tracks.get(track) : undefined;
  }

  /** Stops a track for good. */
  release(track: MediaStreamTrack): void {
    track.stop();
    this.#tracks.delete(track);
  }

  /** Rejects with INVALID_OPERATION as soon as the owner is closed, whatever the work still waits for. */
  async unlessClosed<T>(call: string, work: Promise<T>): Promise<T> {
    let close: () => void = () => undefined;
    const closing = new Promise<never>((_, reject) => (close = () => reject(closedMeanwhile(call))));
    this.#waiting.add(close);
    try {
      const result = await Promise.race([work, closing]);
      this.mustBeOpen(call);
      return result;
    } finally {
      this.#waiting.delete(close);
    }
  }

  /** Stops everything, and what is still being opened as soon as it is open. */
  close(): void {
    this.#closed = true;
    for (const track of this.#tracks.keys()) track.stop();
    this.#tracks.clear();
    for (const reject of [...this.#waiting]) reject();
  }

  private mustBeOpen(call: string): void {
    if (this.#closed) throw closedMeanwhile(call);
  }
}

function closedMeanwhile(call: string): RtcError {
  return invalidOperation(`${call}: the stream was closed meanwhile`);
}
