import { invalidOperation } from './errors.js';

/** Which user of this page is in which room: two clients of one user in one room would throw each other out. */
const present = new Set<string>();

/** Takes the place of a user in a room and returns what gives it back; refuses when it is taken. */
export function claim(sdkAppId: number, userId: string, roomId: number | string): () => void {
  const key = JSON.stringify([sdkAppId, userId, roomId]);
  if (present.has(key)) {
    throw invalidOperation(`join failed: another client of this page is in room ${roomId} as ${userId} already`);
  }
  present.add(key);
  return () => present.delete(key);
}
