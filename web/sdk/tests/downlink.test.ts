import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DownlinkOffer } from '../src/generated/messages.js';
import TRTC from '../src/index.js';
import { Downlink } from '../src/media/downlink.js';
import { AnswerTimeout } from '../src/signaling/channel.js';

/** What Node lacks of a peer connection: it is up as soon as it has answered, and stays up whatever the server does. */
class Peer extends EventTarget {
  static made: Peer[] = [];
  /** How long the browser takes to say that it connects, which it never does; undefined while the network is well. */
  static says: number | undefined;
  connectionState: RTCPeerConnectionState = 'new';
  iceConnectionState = 'new';
  remoteDescription = { sdp: '' };

  constructor() {
    super();
    Peer.made.push(this);
  }

  setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    if (sdp === 'unreadable') return Promise.reject(new Error('this browser cannot read it'));
    this.remoteDescription = { sdp };
    return Promise.resolve();
  }

  createAnswer(): Promise<{ type: string; sdp: string }> {
    return Promise.resolve({ type: 'answer', sdp: this.remoteDescription.sdp });
  }

  setLocalDescription(): Promise<void> {
    if (Peer.says === undefined) this.become('connected');
    else setTimeout(() => this.become('connecting'), Peer.says);
    return Promise.resolve();
  }

  private become(state: RTCPeerConnectionState): void {
    if (this.connectionState === 'closed') return;
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  getTransceivers(): { mid: string; receiver: { track: object } }[] {
    return [{ mid: '0', receiver: { track: {} } }];
  }

  close(): void {
    this.connectionState = 'closed';
  }
}

function offer(revision: number, restart = false, sdp = 'm=audio 9 X 0\r\na=mid:0\r\n'): DownlinkOffer {
  const tracks: DownlinkOffer['tracks'] = [{ mid: '0', userId: 'ann', streamType: 'main', kind: 'audio' }];
  return { type: 'downlink-offer', revision, sdp, tracks, restart };
}

/** A downlink that receives by one connection, and a server that offers anew when it is asked to. */
async function receiving(keptFor = 90_000): Promise<{
  downlink: Downlink;
  asked: ReturnType<typeof vi.fn>;
  answer: ReturnType<typeof vi.fn>;
  failed: ReturnType<typeof vi.fn<(why: string) => void>>;
  /** Whether it is up, whenever that may have changed. */
  told: boolean[];
}> {
  const failed = vi.fn<(why: string) => void>();
  const answer = vi.fn(() => Promise.resolve());
  const told: boolean[] = [];
  const asked = vi.fn(() => {
    downlink.handle(offer(10, true));
    return Promise.resolve();
  });
  const downlink: Downlink = new Downlink({
    iceServers: [],
    transforms: null,
    signaling: { isUp: true, keptFor, up: () => Promise.resolve() },
    answer,
    askRestart: asked,
    askIceRestart: () => Promise.resolve(),
    suspect: () => undefined,
    tracks: () => undefined,
    moved: () => told.push(downlink.isUp),
    failed,
  });
  downlink.handle(offer(1, true));
  await downlink.reached(1);
  await downlink.connected(0);
  return { downlink, asked, answer, failed, told };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('RTCPeerConnection', Peer);
  Peer.made = [];
  Peer.says = undefined;
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('a transport that the server calls dead is made anew though the browser still thinks that it is connected', async () => {
  const { downlink, asked, told } = await receiving();
  expect(told.at(-1)).toBe(true);
  told.length = 0;
  downlink.restart('the server closed the transport: consent-expired');
  expect(told.at(-1)).toBe(false);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(told.at(-1)).toBe(true);
  expect(asked).toHaveBeenCalledOnce();
  expect(Peer.made.map((peer) => peer.connectionState)).toEqual(['closed', 'connected']);
  await downlink.connected(0);
});

test.each(['the browser cannot take', 'the server refuses the answer to'])(
  'an offer that %s is asked for anew though the connection is up, so that more can be offered',
  async (why) => {
    const { downlink, asked, answer } = await receiving();
    if (why.startsWith('the server')) answer.mockRejectedValueOnce(new Error('refused'));
    downlink.handle(offer(2, false, why.startsWith('the browser') ? 'unreadable' : undefined));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveBeenCalledOnce();
    await downlink.reached(10);
    await downlink.connected(0);
  },
);

test('a connection that is up is kept when the server is only slow, or when it came back by itself', async () => {
  const { downlink, asked, answer } = await receiving();
  answer.mockRejectedValueOnce(new AnswerTimeout());
  downlink.handle(offer(2));
  await vi.advanceTimersByTimeAsync(1_000);
  downlink.lost('nothing came in time');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).not.toHaveBeenCalled();
  expect(Peer.made.map((peer) => peer.connectionState)).toEqual(['connected']);
  await downlink.connected(0);
});

test('the end of the transport before, told while a new one is asked for, does not end the new one', async () => {
  const { downlink, asked } = await receiving();
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- it is what the downlink waits for
  asked.mockImplementation(() => {
    downlink.transportClosed('peer-closed'); // what closing the old connection came to at the server
    downlink.handle(offer(10, true));
    return Promise.resolve();
  });
  downlink.transportClosed('consent-expired');
  await vi.advanceTimersByTimeAsync(30_000);
  expect(asked).toHaveBeenCalledOnce();
  await downlink.connected(0);
});

test.each([0, 1, 500])(
  'attempts that failed are over: the connection of the last begins no other run, however late the browser began (%i ms)',
  async (milliseconds) => {
    const { downlink, asked, failed } = await receiving(0);
    Peer.says = milliseconds;
    downlink.restart('the network is gone');
    await vi.advanceTimersByTimeAsync(15_000);
    expect(failed).toHaveBeenCalledOnce();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([asked.mock.calls.length, failed.mock.calls.length]).toEqual([1, 1]);
    Peer.says = undefined;
    downlink.transportClosed('ice-timeout');
    await vi.advanceTimersByTimeAsync(5_000);
    await downlink.connected(0);
  },
);
