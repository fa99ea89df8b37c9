import { describe, expect, it } from 'vitest';
import { inviteLink, parseLink, roomOf } from '../src/link';

describe('the link of a room', () => {
  it('is read from the fragment', () => {
    expect(parseLink('#token=t%2B1&room=7&name=Ada')).toEqual({ token: 't+1', room: '7', name: 'Ada', live: false });
    expect(parseLink('')).toEqual({ token: '', room: '', name: '', live: false });
  });

  it('invites with token and room, and without a name', () => {
    const link = inviteLink('http://127.0.0.1:8080/demo/#token=t&name=Ada', 't', 'tea & cake');
    expect(link).toBe('http://127.0.0.1:8080/demo/#token=t&room=tea+%26+cake');
    expect(parseLink(new URL(link).hash)).toEqual({ token: 't', room: 'tea & cake', name: '', live: false });
    expect(parseLink(new URL(inviteLink(link, 't', 'hall', true)).hash)).toEqual({ token: 't', room: 'hall', name: '', live: true });
  });
});

describe('a room', () => {
  it.each([['1', 1], ['4294967294', 4294967294]])('%s is a number', (text, roomId) => {
    expect(roomOf(text)).toEqual({ roomId, useStringRoomId: false });
  });

  it.each(['Räume', 'a/b', 'x'.repeat(65)])('cannot be called %s, and the page says what is allowed', (text) => {
    const refusal = expect.objectContaining({ title: 'No room can be called that', remedy: expect.stringContaining('64') as string }) as object;
    expect(() => roomOf(text)).toThrow(expect.objectContaining({ problem: refusal }) as Error);
  });

  it.each(['tea', '0', '4294967295', '1a'])('%s is a text', (text) => {
    expect(roomOf(text)).toEqual({ roomId: text, useStringRoomId: true });
  });
});
