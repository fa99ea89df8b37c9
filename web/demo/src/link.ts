/** The link of a room. Everything is in its fragment, which browsers keep to themselves: no log sees the token. */
import { MAX_ROOM_NAME_BYTES, MAX_ROOM_NUMBER, ROOM_NAME_PUNCTUATION } from '../../sdk/src/generated/messages';
import { isRoomName } from '../../sdk/src/validate';
import { PageError } from './problem';

export interface Link {
  readonly token: string;
  readonly room: string;
  readonly name: string;
  /** Whether the room is a broadcast: a few on the stage, the others look on. */
  readonly live: boolean;
}

export function parseLink(fragment: string): Link {
  const fields = new URLSearchParams(fragment.replace(/^#/, ''));
  return { token: fields.get('token') ?? '', room: fields.get('room') ?? '', name: fields.get('name') ?? '', live: fields.get('live') === '1' };
}

/** The address that brings somebody else into the room. */
export function inviteLink(page: string, token: string, room: string, live = false): string {
  return `${page.replace(/#.*$/, '')}#${new URLSearchParams({ token, room, ...(live && { live: '1' }) }).toString()}`;
}

/** What the SDK takes: digits are a room number, anything else is a room of that name. Throws a `PageError` for a name that no room has. */
export function roomOf(text: string): { roomId: number | string; useStringRoomId: boolean } {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  const numeric = number >= 1 && number <= MAX_ROOM_NUMBER;
  const named: boolean = isRoomName(text);
  if (!numeric && !named) {
    throw new PageError({
      title: 'No room can be called that',
      cause: `“${text}” has a character that is not allowed, or is too long.`,
      remedy: `Take up to ${String(MAX_ROOM_NAME_BYTES)} of the letters a to z, digits, spaces and ${ROOM_NAME_PUNCTUATION.trim()} instead.`,
    });
  }
  return { roomId: numeric ? number : text, useStringRoomId: !numeric };
}
