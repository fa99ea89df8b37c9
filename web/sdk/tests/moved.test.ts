import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Answers } from '../src/generated/messages.js';
import TRTC from '../src/index.js';
import { Connection } from '../src/media/connection.js';
import { Movement, SilenceWatch } from '../src/media/moved.js';
import { Uplink } from '../src/media/uplink.js';
import type { LocalStream } from '../src/streams/local-stream.js';
import { Track } from './media.js';

beforeEach(() => {
  vi.useFakeTimers();
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A connection on which something comes every so many milliseconds; of another browser, there are pairs alone. */
class Receiving {
  connectionState = 'connected';
  received = 0;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly type: 'transport' | 'candidate-pair' = 'transport') {}

  every(milliseconds: number): void {
    clearInterval(this.timer);
    this.timer = setInterval(() => (this.received += 100), milliseconds);
  }

  stops(): void {
    clearInterval(this.timer);
  }

  getSenders(): object[] {
    const entry = { type: this.type, bytesReceived: this.received };
    return [{ track: {}, getStats: () => Promise.resolve(new Map([['1', entry]])) }];
  }

  get pc(): RTCPeerConnection {
    return this as unknown as RTCPeerConnection;
  }
}

test.each(['transport', 'candidate-pair'] as const)('what stops coming is noticed in a second, once, by its %s', async (type) => {
  const [peer, silent] = [new Receiving(type), vi.fn()];
  const watch = new SilenceWatch(() => peer.pc, silent);
  peer.every(100);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(silent).not.toHaveBeenCalled();
  peer.stops();
  await vi.advanceTimersByTimeAsync(1_300);
  expect(silent).toHaveBeenCalledOnce();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(silent).toHaveBeenCalledOnce();
  // It comes again, and stops again.
  peer.every(100);
  await vi.advanceTimersByTimeAsync(5_000);
  peer.stops();
  await vi.advanceTimersByTimeAsync(1_300);
  expect(silent).toHaveBeenCalledTimes(2);
  watch.stop();
});

test('where little comes, pauses are no sign of anything, and neither is a connection that is not up', async () => {
  const [peer, silent] = [new Receiving(), vi.fn()];
  const watch = new SilenceWatch(() => peer.pc, silent);
  peer.every(1_000);
  await vi.advanceTimersByTimeAsync(20_000);
  peer.stops();
  await vi.advanceTimersByTimeAsync(1_700);
  expect(silent).not.toHaveBeenCalled();
  peer.connectionState = 'disconnected';
  await vi.advanceTimersByTimeAsync(60_000);
  expect(silent).not.toHaveBeenCalled();
  watch.stop();
});

test('signs that come together are one, both connections look for a path, and the pauses between grow', async () => {
  const links = [{ restartIce: vi.fn(() => Promise.resolve()) }, { restartIce: vi.fn(() => Promise.reject(new Error('refused'))) }];
  const check = vi.fn();
  const movement = new Movement(links, check);
  for (let second = 0; second < 60; second++) {
    movement.suspect('a sign');
    movement.suspect('another sign');
    await vi.advanceTimersByTimeAsync(1_000);
  }
  // After 0, 3, 9, 21 and 45 seconds.
  const times = [check, ...links.map(({ restartIce }) => restartIce)].map(({ mock }) => mock.calls.length);
  expect(times).toEqual([5, 5, 5]);
  await vi.advanceTimersByTimeAsync(60_000);
  movement.suspect('a sign of much later');
  await vi.advanceTimersByTimeAsync(3_000);
  movement.suspect('and one more');
  expect(check).toHaveBeenCalledTimes(7);
});

/** A peer connection whose offers say whether they restart ICE, and which is lost and found when it is told to. */
class Peer extends EventTarget {
  static made: Peer[] = [];
  connectionState: RTCPeerConnectionState = 'new';
  iceConnectionState = 'new';
  signalingState = 'stable';
  remoteDescription = { sdp: '' };

  constructor() {
    super();
    Peer.made.push(this);
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  addTransceiver(): object {
    const sender = { getParameters: () => ({ encodings: [] }), getStats: () => Promise.resolve(new Map()) };
    return { mid: '0', direction: 'sendonly', sender, receiver: {}, currentDirection: 'sendonly', setCodecPreferences: () => undefined };
  }

  getTransceivers(): object[] {
    return [];
  }

  createOffer(options?: RTCOfferOptions): Promise<{ sdp: string }> {
    return Promise.resolve({ sdp: options?.iceRestart ? 'restart' : 'offer' });
  }

  setLocalDescription({ type }: { type: string }): Promise<void> {
    this.signalingState = type === 'rollback' ? 'stable' : 'have-local-offer';
    return Promise.resolve();
  }

  setRemoteDescription(): Promise<void> {
    this.signalingState = 'stable';
    return Promise.resolve();
  }

  close(): void {
    this.connectionState = 'closed';
  }
}

interface Publishing {
  uplink: Uplink;
  peer: Peer;
  published: ReturnType<typeof vi.fn>;
  restarted: ReturnType<typeof vi.fn<(sdp: string) => Promise<Answers['uplink-ice-restart']>>>;
  suspect: ReturnType<typeof vi.fn>;
}

async function publishing(): Promise<Publishing> {
  vi.stubGlobal('RTCPeerConnection', Peer);
  Peer.made = [];
  const restarted = vi.fn<(sdp: string) => Promise<Answers['uplink-ice-restart']>>(() => Promise.resolve({ sdp: 'answer' }));
  const published = vi.fn(() => Promise.resolve({ sdp: 'answer', streamId: 'x' }));
  const suspect = vi.fn();
  const uplink = new Uplink({
    iceServers: [],
    transforms: null,
    videoCodec: undefined,
    small: () => null,
    signaling: { isUp: true, keptFor: 90_000, up: () => Promise.resolve() },
    suspect,
    restartIce: restarted,
    publish: published,
    failed: () => undefined,
  });
  const track = new Track('audio');
  const stream = {
    outgoing: (kind: string) => (kind === 'audio' ? track.real : null),
    encodings: () => [{}],
    linkIs: () => undefined,
    isMuted: () => false,
    getMediaStream: () => ({}),
  } as unknown as LocalStream;
  (await uplink.publish('main', stream)).state = 'published';
  const [peer] = Peer.made;
  if (!peer) throw new Error('no connection was made');
  peer.become('connected');
  return { uplink, peer, published, restarted, suspect };
}

test('an ICE restart is an offer of the same connection, one at a time, and nothing is published anew', async () => {
  const { uplink, peer, published, restarted } = await publishing();
  await Promise.all([uplink.restartIce(), uplink.restartIce(), uplink.restartIce()]);
  expect(restarted.mock.calls.map(([sdp]) => sdp)).toEqual(['restart']);
  await uplink.restartIce();
  expect(restarted).toHaveBeenCalledTimes(2);
  restarted.mockRejectedValueOnce(new Error('refused'));
  await expect(uplink.restartIce()).rejects.toThrow('refused');
  expect([peer.signalingState, published.mock.calls.length, Peer.made.length]).toEqual(['stable', 1, 1]);
  uplink.close();
});

test('an interrupted connection is restarted before it is made anew, and is made anew when that does not help', async () => {
  const { uplink, peer, published, restarted, suspect } = await publishing();
  peer.become('disconnected');
  expect(suspect).toHaveBeenCalledOnce();
  await vi.advanceTimersByTimeAsync(5_000);
  await vi.advanceTimersByTimeAsync(100);
  expect(restarted).toHaveBeenCalledOnce();
  peer.become('connected');
  await vi.advanceTimersByTimeAsync(20_000);
  expect([Peer.made.length, published.mock.calls.length]).toEqual([1, 1]);
  peer.become('failed');
  await vi.advanceTimersByTimeAsync(2_900);
  expect([restarted.mock.calls.length, Peer.made.length]).toEqual([2, 1]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([restarted.mock.calls.length, Peer.made.length, published.mock.calls.length]).toEqual([2, 2, 2]);
  uplink.close();
});

test('a restart gives an interrupted connection no more time than waiting did', () => {
  const peer = new Peer();
  const dead = vi.fn();
  const connection = new Connection(peer as unknown as RTCPeerConnection, dead);
  connection.negotiated();
  peer.become('connected');
  peer.become('disconnected');
  vi.advanceTimersByTime(2_000);
  peer.become('connecting');
  vi.advanceTimersByTime(2_999);
  expect(dead).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(dead).toHaveBeenCalledOnce();
});
