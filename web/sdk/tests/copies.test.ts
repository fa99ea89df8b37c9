import { expect, test } from 'vitest';
import { mayHaveCopies, orderForCopies, reportedOf, SoundLoss } from '../src/media/copies.js';

const told = (loss: SoundLoss, missing: number, available = 1_000_000): boolean => loss.told({ missing, available });

test('copies begin with one percent of loss, go on while some is lost, and end when next to nothing is', () => {
  const loss = new SoundLoss();
  expect([0, 0.02, 0.02].map((share) => told(loss, share))).toEqual([false, false, true]);
  expect([0.005, 0.005, 0.005, 0.005, 0.005, 0.005].every((share) => told(loss, share))).toBe(true);
  const fading = Array.from({ length: 10 }, () => told(loss, 0));
  expect(fading[0]).toBe(true);
  expect(fading.at(-1)).toBe(false);
  expect(told(loss, 0.02)).toBe(false);
});

test('one packet that is lost in a while is not worth copies', () => {
  const loss = new SoundLoss();
  // One of a second's fifty.
  const answers = Array.from({ length: 100 }, (_, second) => told(loss, second % 10 === 9 ? 0.02 : 0));
  expect(answers).not.toContain(true);
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

test('a path that is full has no room for copies', () => {
  const loss = new SoundLoss();
  expect([299_999, 300_000, 299_999, Infinity].map((room) => told(loss, 0.1, room))).toEqual([false, true, false, true]);
});

test('what is missing and what the path carries is in the statistics of the sender', async () => {
  const sender = (...entries: object[]): RTCRtpSender =>
    ({ getStats: () => Promise.resolve(new Map(entries.entries())) }) as unknown as RTCRtpSender;
  const sent = { type: 'outbound-rtp', fractionLost: 0.5 };
  const heard = { type: 'remote-inbound-rtp', fractionLost: 0.02 };
  expect(await reportedOf(sender(sent))).toBeUndefined();
  expect(await reportedOf(sender(sent, heard))).toEqual({ missing: 0.02, available: Infinity });
  const pair = { type: 'candidate-pair', availableOutgoingBitrate: 90_000 };
  expect(await reportedOf(sender(heard, pair))).toEqual({ missing: 0.02, available: 90_000 });
});
