import { expect, test } from 'vitest';
import { lostOf, mayHaveCopies, orderForCopies, SoundLoss } from '../src/media/copies.js';

test('copies begin with one percent of loss, go on while some is lost, and end when next to nothing is', () => {
  const loss = new SoundLoss();
  expect([0, 0.02, 0.02].map((share) => loss.told(share))).toEqual([false, false, true]);
  expect([0.005, 0.005, 0.005, 0.005, 0.005, 0.005].every((share) => loss.told(share))).toBe(true);
  const fading = Array.from({ length: 10 }, () => loss.told(0));
  expect(fading[0]).toBe(true);
  expect(fading.at(-1)).toBe(false);
  expect(loss.told(0.02)).toBe(false);
});

test('one packet that is lost in a while is not worth copies', () => {
  const loss = new SoundLoss();
  // One of a second's fifty.
  const told = Array.from({ length: 100 }, (_, second) => loss.told(second % 10 === 9 ? 0.02 : 0));
  expect(told).not.toContain(true);
});

const codecs = [{ mimeType: 'audio/opus' }, { mimeType: 'audio/red' }, { mimeType: 'audio/PCMU' }];

test('the codec with copies comes first, or where the browser has it', () => {
  expect(orderForCopies(codecs, true).map((one) => one.mimeType)).toEqual(['audio/red', 'audio/opus', 'audio/PCMU']);
  expect(orderForCopies(codecs, false)).toEqual(codecs);
  expect(orderForCopies([{ mimeType: 'audio/opus' }], true)).toEqual([]);
});

test('music has no copies', () => {
  expect([undefined, 40_000, 64_000, 64_001, 128_000].map(mayHaveCopies)).toEqual([true, true, true, false, false]);
});

test('what the other side misses is in its last report', async () => {
  const sender = (...entries: object[]): RTCRtpSender =>
    ({ getStats: () => Promise.resolve(new Map(entries.entries())) }) as unknown as RTCRtpSender;
  const sent = { type: 'outbound-rtp', fractionLost: 0.5 };
  expect(await lostOf(sender(sent))).toBeUndefined();
  expect(await lostOf(sender(sent, { type: 'remote-inbound-rtp', fractionLost: 0.02 }))).toBe(0.02);
});
