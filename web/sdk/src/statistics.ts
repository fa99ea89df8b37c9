/** What browsers count of a call (W3C webrtc-stats), in the words of v4. Sums since the start: differences make rates. */

import type { Kind, StreamType } from './generated/messages.js';
import type { Downlink } from './media/downlink.js';
import type { Uplink } from './media/uplink.js';
import type { Subscriptions } from './subscriptions.js';
import type { LocalAudioStats, LocalVideoStats, RemoteAudioStats, RemoteVideoStats, TransportStats } from './types.js';

export type Entry = Record<string, unknown> & { type: string };

export function entries(report: RTCStatsReport | null, type: string): Entry[] {
  const found: Entry[] = [];
  report?.forEach((entry: Entry) => {
    if (entry.type === type) found.push(entry);
  });
  return found;
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

export function sum(of: readonly Entry[], key: string): number {
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

/** What is told of one call. */
export class Statistics {
  constructor(
    private readonly uplink: Uplink,
    private readonly downlink: Downlink,
    private readonly subscriptions: Subscriptions,
  ) {}

  /** What goes out of this user's track of a kind: of the main stream, else of the screen; null when there is none. */
  async sent(kind: Kind): Promise<(LocalAudioStats & LocalVideoStats) | null> {
    for (const type of ['main', 'auxiliary'] as const) {
      const sender = this.uplink.publications.get(type)?.senders[kind]?.sender;
      if (sender) return sentOf(sender);
    }
    return null;
  }

  /** What comes of the others' streams of a type, by user. */
  async received(kind: Kind, type: StreamType): Promise<Record<string, RemoteAudioStats & RemoteVideoStats>> {
    const carried = this.subscriptions.received.filter((one) => one.kind === kind && one.streamType === type);
    const stats = await receivedOf(
      this.downlink.peer,
      kind,
      carried.map((one) => one.track),
    );
    return Object.fromEntries(carried.map((one, at) => [one.userId, stats[at]])) as Record<string, RemoteAudioStats & RemoteVideoStats>;
  }

  /** Milliseconds to the server and back: what goes out, and what comes in from each user. */
  async roundTrips(): Promise<TransportStats> {
    const [rtt, down] = await Promise.all([roundTrip(this.uplink.peer), roundTrip(this.downlink.peer)]);
    return { rtt, downlinksRTT: Object.fromEntries(this.subscriptions.received.map(({ userId }) => [userId, down])) };
  }
}
