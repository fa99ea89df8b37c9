/** What browsers count of a call (W3C webrtc-stats), in the words of v4. Sums since the start: differences make rates. */

import type { Kind } from './generated/messages.js';
import type { LocalAudioStats, LocalVideoStats, RemoteAudioStats, RemoteVideoStats } from './types.js';

type Entry = Record<string, unknown> & { type: string };

function entries(report: RTCStatsReport | null, type: string): Entry[] {
  const found: Entry[] = [];
  report?.forEach((entry: Entry) => {
    if (entry.type === type) found.push(entry);
  });
  return found;
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function sum(of: readonly Entry[], key: string): number {
  return of.reduce((all, entry) => all + number(entry[key]), 0);
}

/** Milliseconds to the server and back on a connection's path; 0 while they are not known. */
export async function roundTrip(pc: RTCPeerConnection | null): Promise<number> {
  const report = (await pc?.getStats()) ?? null;
  const [transport] = entries(report, 'transport');
  const pairs = entries(report, 'candidate-pair');
  // Firefox tells of no transport, and calls the pair in use selected.
  const pair =
    pairs.find((one) => transport?.selectedCandidatePairId !== undefined && one.id === transport.selectedCandidatePairId) ??
    pairs.find((one) => one.selected === true) ??
    pairs.find((one) => one.nominated === true && one.state === 'succeeded');
  return Math.round(number(pair?.currentRoundTripTime) * 1000);
}

/** What goes out of a track, all of its encodings together; sizes are the largest one's. */
export async function sentOf(sender: RTCRtpSender): Promise<LocalAudioStats & LocalVideoStats> {
  const streams = entries(await sender.getStats(), 'outbound-rtp');
  const largest = streams.reduce<Entry | undefined>(
    (best, one) => (best && number(best.frameWidth) >= number(one.frameWidth) ? best : one),
    undefined,
  );
  return {
    bytesSent: sum(streams, 'bytesSent'),
    packetsSent: sum(streams, 'packetsSent'),
    framesEncoded: number(largest?.framesEncoded),
    framesSent: number(largest?.framesSent),
    frameWidth: number(largest?.frameWidth),
    frameHeight: number(largest?.frameHeight),
  };
}

/** What came of each of these tracks, in their order. */
export async function receivedOf(
  pc: RTCPeerConnection | null,
  kind: Kind,
  tracks: readonly MediaStreamTrack[],
): Promise<(RemoteAudioStats & RemoteVideoStats)[]> {
  const streams = entries((await pc?.getStats()) ?? null, 'inbound-rtp').filter((one) => one.kind === kind);
  return tracks.map((track) => {
    const of = streams.find((one) => one.trackIdentifier === track.id);
    return {
      bytesReceived: number(of?.bytesReceived),
      packetsReceived: number(of?.packetsReceived),
      packetsLost: number(of?.packetsLost),
      framesDecoded: number(of?.framesDecoded),
      frameWidth: number(of?.frameWidth),
      frameHeight: number(of?.frameHeight),
    };
  });
}
