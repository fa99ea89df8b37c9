import { expect, test } from 'vitest';
import { receivedOf, roundTrip, sentOf } from '../src/statistics.js';

/** A connection, or a sender, with these statistics. */
function counting(entries: object[]): RTCPeerConnection & RTCRtpSender {
  const report = new Map(entries.map((entry, at) => [String(at), entry]));
  return { getStats: () => Promise.resolve(report) } as never;
}

const pair = (id: string, more: object): object => ({ type: 'candidate-pair', id, state: 'succeeded', ...more });

test.each([
  ['the transport names the pair', [{ type: 'transport', selectedCandidatePairId: 'b' }, pair('a', { currentRoundTripTime: 1 }), pair('b', { currentRoundTripTime: 0.0304 })]],
  ['the pair says it itself', [pair('a', { currentRoundTripTime: 1, nominated: true }), pair('b', { currentRoundTripTime: 0.0304, selected: true })]],
  ['only one is nominated', [pair('a', { currentRoundTripTime: 1 }), pair('b', { currentRoundTripTime: 0.0304, nominated: true })]],
])('the round trip is that of the path in use: %s', async (_, entries) => {
  expect(await roundTrip(counting(entries))).toBe(30);
});

test('without a connection, or before it is measured, the round trip is 0', async () => {
  expect(await roundTrip(null)).toBe(0);
  expect(await roundTrip(counting([pair('a', { nominated: true })]))).toBe(0);
});

test('what is sent is all encodings together, and the size is the largest one that is sent', async () => {
  const one = (frameWidth: number | undefined, bytesSent: number, framesSent: number): object => ({
    type: 'outbound-rtp', frameWidth, frameHeight: frameWidth && frameWidth / 2, bytesSent, packetsSent: 10, framesSent, framesEncoded: framesSent,
  });
  const sender = counting([one(160, 1_000, 90), one(640, 9_000, 80), one(undefined, 0, 0), { type: 'codec', bytesSent: 7 }]);
  expect(await sentOf(sender)).toEqual({
    bytesSent: 10_000, packetsSent: 30, framesEncoded: 80, framesSent: 80, frameWidth: 640, frameHeight: 320,
  });
});

test('what came is told of each track, of its kind, and is 0 before anything came', async () => {
  const came = (kind: string, trackIdentifier: string, bytesReceived: number): object => ({
    type: 'inbound-rtp', kind, trackIdentifier, bytesReceived, packetsReceived: 5, packetsLost: -1, framesDecoded: 4, frameWidth: 640, frameHeight: 360,
  });
  const pc = counting([came('video', 'x', 1_000), came('audio', 'y', 50), came('video', 'z', 2_000)]);
  const tracks = ['z', 'y', 'x'].map((id) => ({ id }) as MediaStreamTrack);
  const found = await receivedOf(pc, 'video', tracks);
  expect(found.map((one) => [one.bytesReceived, one.framesDecoded, one.packetsLost])).toEqual([[2_000, 4, -1], [0, 0, 0], [1_000, 4, -1]]);
  expect(await receivedOf(null, 'audio', tracks.slice(1, 2))).toMatchObject([{ bytesReceived: 0, packetsLost: 0 }]);
});
