/**
 * Names of people as user ids, and back.
 *
 * A user id may hold letters, digits, `_` and `-`, 32 bytes in all; a name may hold anything. Letters and digits
 * stay, a space becomes `-`, every other character is written `_<code point in base 36>_`. A tab adds `--` and four
 * characters of its own, so that two people of one name are two users and a reloaded page is the same one.
 */
import { MAX_USER_ID_BYTES } from '../../sdk/src/generated/messages';

const TAB_ID = /^(.*)--[a-z0-9]{4}$/;

/** The user id of a name in the tab called `tab` (four of a–z, 0–9). A name too long for an id loses its end. */
export function userIdOf(name: string, tab: string): string {
  let id = '';
  for (const character of name.trim().replace(/\s+/gu, ' ')) {
    const part = encoded(character);
    if (id.length + part.length > MAX_USER_ID_BYTES - 2 - tab.length) break;
    id += part;
  }
  return `${id.replace(/-+$/, '')}--${tab}`;
}

function encoded(character: string): string {
  if (/^[A-Za-z0-9]$/.test(character)) return character;
  if (character === ' ') return '-';
  return `_${(character.codePointAt(0) ?? 0).toString(36)}_`;
}

/** The name in a user id; an id made elsewhere is shown as it is. */
export function nameOf(userId: string): string {
  const own = TAB_ID.exec(userId);
  if (own?.[1] === undefined) return userId;
  return own[1]
    .replace(/-/g, ' ')
    .replace(/_([0-9a-z]+)_/g, (written, code: string) => {
      const point = parseInt(code, 36);
      return point <= 0x10ffff ? String.fromCodePoint(point) : written;
    });
}

/** The one or two letters that stand for a name where there is no picture. */
export function initialsOf(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '');
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => Array.from(word ?? '')[0] ?? '').join('').toUpperCase() || '?';
}

/** A colour of its own for each name, as a hue in degrees. */
export function hueOf(name: string): number {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 3600;
  return hash / 10;
}

/** What a new tab is called. */
export function newTab(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join('');
}
