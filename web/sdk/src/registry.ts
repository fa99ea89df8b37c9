import { invalidOperation } from './errors.js';

/** A client's stay in a room, from the call of `join` until it is outside again. */
export interface Claim {
  /** Resolves when nobody of this page is in the place; rejects when somebody is and does not leave. */
  granted(): Promise<void>;
  /** `leave` was called: who asks for the place from now on waits for it. */
  ending(): void;
  release(): void;
}

interface Stay {
  isEnding: boolean;
  over: Promise<void>;
}

/** Who of this page is in which room, or on the way: two clients of one user in one room would throw each other out. */
const stays = new Map<string, Stay[]>();

/** Asks for the place of a user in a room; places are given in the order in which they were asked for. */
export function claim(sdkAppId: number, userId: string, roomId: number | string): Claim {
  const key = JSON.stringify([sdkAppId, userId, roomId]);
  let end: () => void = () => undefined;
  const own: Stay = { isEnding: false, over: new Promise((resolve) => (end = resolve)) };
  const here = stays.get(key) ?? [];
  here.push(own);
  stays.set(key, here);
  return {
    async granted() {
      for (let first = here[0]; first && first !== own; first = here[0]) {
        if (here.slice(0, here.indexOf(own)).some((stay) => !stay.isEnding)) {
          throw invalidOperation(`join failed: another client of this page is in room ${roomId} as ${userId} already`);
        }
        await first.over;
      }
    },
    ending: () => (own.isEnding = true),
    release: () => {
      const at = here.indexOf(own);
      if (at >= 0) here.splice(at, 1);
      if (here.length === 0 && stays.get(key) === here) stays.delete(key);
      end();
    },
  };
}
