/** Cameras and microphones that end by themselves: unplugged, in other hands, or not allowed any more. */

import { describe } from '../errors.js';
import type { Kind } from '../kinds.js';
import { log } from '../logger.js';

/** Whose devices these are. */
export interface Captor {
  /** Whether the stream still has this track, which may have ended. */
  holds(track: MediaStreamTrack): boolean;
  /** Puts a newly opened device in the track's place; does nothing if something else is there by then. */
  reopen(kind: Kind, track: MediaStreamTrack): Promise<void>;
  /** It could not be opened again; told once for each track, and it is tried again when something changes. */
  failed(kind: Kind, why: unknown): void;
}

/** Watches captured tracks of one stream and has them opened again. */
export class DeviceRecovery {
  readonly #captor: Captor;
  /** What is watched, and what ends the wait for a change. */
  readonly #watched = new Map<MediaStreamTrack, AbortController>();

  constructor(captor: Captor) {
    this.#captor = captor;
  }

  /** From now on, until `forget`. The browser tells of an end only when it was not `stop()`. */
  watch(track: MediaStreamTrack): void {
    const over = new AbortController();
    this.#watched.set(track, over);
    const begin = (): void => {
      this.recover(track, over.signal).catch((thrown: unknown) => log.warn('device recovery:', describe(thrown)));
    };
    track.addEventListener('ended', begin, { once: true, signal: over.signal });
  }

  /** The stream has it no more. */
  forget(track: MediaStreamTrack): void {
    this.#watched.get(track)?.abort();
    this.#watched.delete(track);
  }

  private async recover(track: MediaStreamTrack, over: AbortSignal): Promise<void> {
    const kind = track.kind as Kind;
    const wanted = (): boolean => !over.aborted && this.#captor.holds(track);
    const change = await changes(kind, over);
    for (let told = false; wanted(); told = true) {
      // What changes while a device is being opened is not missed.
      const changed = change();
      try {
        await this.#captor.reopen(kind, track);
        return;
      } catch (thrown) {
        if (!wanted()) return;
        log.warn(`the ${kind} device could not be opened again:`, describe(thrown));
        if (!told) this.#captor.failed(kind, thrown);
      }
      await changed;
    }
  }
}

/** Gives promises of the next moment at which a device may be there again: one was plugged in, or is allowed. */
async function changes(kind: Kind, over: AbortSignal): Promise<() => Promise<void>> {
  const name = (kind === 'video' ? 'camera' : 'microphone') as PermissionName;
  const permissions = navigator.permissions as Permissions | undefined;
  // Not every browser knows these names.
  const permission = await permissions?.query({ name }).catch(() => null);
  const sources: EventTarget[] = [navigator.mediaDevices, ...(permission ? [permission] : [])];
  return () =>
    new Promise((resolve) => {
      const done = (): void => resolve();
      over.addEventListener('abort', done, { once: true });
      for (const source of sources) {
        source.addEventListener(source === permission ? 'change' : 'devicechange', done, { once: true, signal: over });
      }
    });
}
