import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import TRTC from '../src/index.js';
import type { RemoteStream, RtcError } from '../src/index.js';
import { sameShape, smallProfile } from '../src/profiles.js';
import { LocalStream } from '../src/streams/local-stream.js';
import { SignalingServer } from './signaling-server.js';

let server: SignalingServer;
let client: ReturnType<typeof TRTC.createClient>;

const ann = { userId: 'ann', streamType: 'main' as const, streamId: 'x', audio: true, video: true };

class Peer {
  addTransceiver(): void {
    // What tells that small streams can be sent.
  }
}

class Sender {
  setParameters(): void {
    // As above.
  }
}

beforeEach(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  vi.stubGlobal('RTCPeerConnection', Peer);
  vi.stubGlobal('RTCRtpSender', Sender);
  vi.stubGlobal('MediaStream', Object);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  server = await SignalingServer.start();
  server.snapshot = { members: [{ userId: 'ann' }], streams: [{ ...ann, small: true }] };
  client = TRTC.createClient({ sdkAppId: 1, userId: 'bob', userSig: 'sig', autoSubscribe: false });
  client.setProxyServer(server.url);
});

afterEach(async () => {
  await client.leave().catch(() => undefined);
  await server.stop();
  vi.unstubAllGlobals();
});

async function codeOf(promise: Promise<unknown>): Promise<number> {
  const error = await promise.then(() => null, (thrown: unknown) => thrown as RtcError);
  return error?.getCode() ?? 0;
}

async function joined(): Promise<RemoteStream> {
  const added = new Promise<RemoteStream>((resolve) => client.on('stream-added', ({ stream }) => resolve(stream)));
  await client.join({ roomId: 7 });
  return added;
}

test.each([
  [640, 480, 160, 120],
  [1280, 720, 160, 90],
  [480, 480, 160, 160],
  [480, 640, 120, 160],
  [1000, 300, 160, 48],
  [160, 120, 80, 60],
])('the small stream beside %dx%d is %dx%d unless the app says otherwise', (width, height, wide, high) => {
  const small = smallProfile({ width, height, frameRate: 30, bitrate: 900 });
  expect(small).toEqual({ width: wide, height: high, frameRate: 15, bitrate: 100 });
  expect(sameShape(small, { width, height })).toBe(true);
});

test('a small stream is never faster nor more than the big one', () => {
  expect(smallProfile({ width: 640, height: 480, frameRate: 5, bitrate: 80 })).toMatchObject({ frameRate: 5, bitrate: 80 });
});

test('the encodings are big and small, scaled from what is captured', () => {
  const stream = new LocalStream({});
  expect(stream.encodings('video', null)).toEqual([{ maxBitrate: 500_000, maxFramerate: 15 }]);
  expect(stream.encodings('video', { width: 160, height: 120, frameRate: 10, bitrate: 90 })).toEqual([
    { rid: 'big', maxBitrate: 500_000, maxFramerate: 15, scaleResolutionDownBy: 1 },
    { rid: 'small', maxBitrate: 90_000, maxFramerate: 10, scaleResolutionDownBy: 4 },
  ]);
});

test('who can send a small stream, and the code for who cannot', async () => {
  expect(TRTC.isSmallStreamSupported()).toBe(true);
  await client.enableSmallStream();
  await client.disableSmallStream();
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)' });
  expect(TRTC.isSmallStreamSupported()).toBe(false);
  expect(await codeOf(client.enableSmallStream())).toBe(0x1002);
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15)', maxTouchPoints: 5 });
  expect(TRTC.isSmallStreamSupported()).toBe(false);
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15)', maxTouchPoints: 0 });
  expect(TRTC.isSmallStreamSupported()).toBe(true);
  const layered = TRTC.createClient({ sdkAppId: 1, userId: 'eve', userSig: 'sig', videoCodec: 'av1' });
  expect(await codeOf(layered.enableSmallStream())).toBe(0x1002);
});

test.each([undefined, {}, { width: 160, height: 120, bitrate: 0, frameRate: 15 }, { width: '160', height: 120, bitrate: 1, frameRate: 1 }])(
  'setSmallStreamProfile refuses %j',
  (profile) => {
    expect(() => client.setSmallStreamProfile(profile as never)).toThrow(/setSmallStreamProfile: .* <INVALID_PARAMETER 0x1000>/);
  },
);

test('the wanted type is asked for before a subscription, and the app hears what comes', async () => {
  const stream = await joined();
  expect(client.getRemoteMutedState()[0]?.hasSmall).toBe(true);
  const asked = server.next('set-video-type');
  await client.setRemoteVideoStreamType(stream, 'small');
  expect(await asked).toMatchObject({ userId: 'ann', streamType: 'main', videoType: 'small' });
  expect(server.types).not.toContain('subscribe');
  const told = new Promise((resolve) => client.on('video-received', resolve));
  const event = { userId: 'ann', streamType: 'main', videoType: 'small', reason: 'asked for' } as const;
  server.send({ type: 'video-received', ...event });
  expect(await told).toEqual(event);
});

test('what is no stream or no type is refused, and so is a call outside a room', async () => {
  const stream = await joined();
  expect(await codeOf(client.setRemoteVideoStreamType({} as never, 'small'))).toBe(0x1000);
  expect(await codeOf(client.setRemoteVideoStreamType(stream, 'tiny' as never))).toBe(0x1000);
  await client.leave();
  expect(await codeOf(client.setRemoteVideoStreamType(stream, 'small'))).toBe(0x1001);
});

test('after a lost socket the server is told the type that it does not have, whichever it is', async () => {
  const stream = await joined();
  const { snapshot } = server;
  const resumed = (videoTypes: object[]): object => ({
    sessionId: 's', resumeToken: 't', resumeTimeout: 90, snapshot, published: [], subscriptions: [], videoTypes,
  });
  await client.setRemoteVideoStreamType(stream, 'small');
  server.replies.resume = () => resumed([]);
  let again = server.next('set-video-type');
  server.dropSocket();
  expect(await again).toMatchObject({ videoType: 'small' });
  await client.setRemoteVideoStreamType(stream, 'big');
  server.replies.resume = () => resumed([{ userId: 'ann', streamType: 'main', videoType: 'small' }]);
  again = server.next('set-video-type');
  server.dropSocket();
  expect(await again).toMatchObject({ videoType: 'big' });
});
