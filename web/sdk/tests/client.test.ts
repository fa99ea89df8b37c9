import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { CloseCode, type StreamInfo } from '../src/generated/messages.js';
import TRTC, { type Client, type ClientConfig, type ClientEventMap, type RtcError } from '../src/index.js';
import { rejectedBy } from './helpers.js';
import { refusal, SignalingServer, SILENCE } from './signaling-server.js';

let server: SignalingServer;
let users = 0;

beforeEach(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  server = await SignalingServer.start();
});

afterEach(async () => {
  vi.useRealTimers();
  await server.stop();
  vi.unstubAllGlobals();
});

const EVENTS = [
  'stream-added',
  'stream-removed',
  'stream-updated',
  'stream-subscribed',
  'peer-join',
  'peer-leave',
  'mute-audio',
  'mute-video',
  'unmute-audio',
  'unmute-video',
  'client-banned',
  'connection-state-changed',
  'error',
] as const;

/** A client whose events are written down as lines, with a way to wait for one. */
function watched(more: Partial<ClientConfig> = {}): { client: Client; seen: string[]; heard: (line: string) => Promise<void> } {
  const client = TRTC.createClient({ sdkAppId: 1, userId: `me-${++users}`, userSig: 'sig', ...more });
  client.setProxyServer(server.url);
  const seen: string[] = [];
  const waiting: { line: string; resolve: () => void }[] = [];
  for (const event of EVENTS) {
    client.on(event, (payload: ClientEventMap[keyof ClientEventMap]) => {
      const line = `${event} ${shown(payload)}`;
      seen.push(line);
      for (const one of waiting) if (line.startsWith(one.line)) one.resolve();
    });
  }
  const heard = (line: string): Promise<void> =>
    seen.some((one) => one.startsWith(line))
      ? Promise.resolve()
      : new Promise((resolve) => waiting.push({ line, resolve }));
  return { client, seen, heard };
}

function shown(payload: ClientEventMap[keyof ClientEventMap]): string {
  if ('stream' in payload) return payload.stream.getId();
  if ('userId' in payload) return payload.userId;
  if ('reason' in payload) return `${payload.reason}: ${payload.message}`;
  if ('state' in payload) return `${payload.prevState} ${payload.state}`;
  return `${payload.getCode().toString(16)} ${payload.extraCode}`;
}

const bob: StreamInfo = { userId: 'bob', streamType: 'main', streamId: 'bob-1', audio: true, video: true, audioMuted: true };

test('join logs in, enters, and tells of the room only after it has resolved', async () => {
  server.snapshot = { members: [{ userId: 'bob' }, { userId: 'eve' }], streams: [bob] };
  const { client, seen, heard } = watched({ autoSubscribe: false });
  await client.join({ roomId: 7 });
  expect(seen).toEqual(['connection-state-changed DISCONNECTED CONNECTING', 'connection-state-changed CONNECTING CONNECTED']);
  expect(client.getRemoteMutedState()).toEqual([
    { userId: 'bob', hasAudio: true, hasVideo: true, hasSmall: false, audioMuted: true, videoMuted: false },
  ]);
  await heard('mute-audio');
  expect(seen.slice(2)).toEqual(['peer-join bob', 'peer-join eve', 'stream-added bob-1', 'mute-audio bob']);
  expect(server.requests[0]).toMatchObject({ sdkAppId: 1, userId: client.getUserId(), userSig: 'sig' });
  expect(server.requests[1]).toMatchObject({ ticket: 'ticket', roomId: 7, stringRoom: false, scene: 'rtc' });
  await client.leave();
  expect(seen.at(-1)).toBe('connection-state-changed CONNECTED DISCONNECTED');
  expect(server.types).toEqual(['login', 'enter', 'leave']);
});

test('an event that the server sends right behind its answer keeps its place in the order', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [] };
  server.replies.enter = () => {
    setImmediate(() => server.send({ type: 'peer-join', userId: 'late' }));
    return { sessionId: 's', resumeToken: 't', resumeTimeout: 90, snapshot: server.snapshot };
  };
  const { client, seen, heard } = watched();
  await client.join({ roomId: 7 });
  await heard('peer-join late');
  expect(seen.slice(2)).toEqual(['peer-join bob', 'peer-join late']);
  await client.leave();
});

test('a refused login rejects with the code, the nested code and the words of the server', async () => {
  const message = 'join failed: the signature does not match (70009) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>';
  server.replies.login = () => refusal(0x4001, 'SIGNAL_CHANNEL_SETUP_FAILED', message, 70009);
  const { client, seen } = watched();
  const error = (await rejectedBy(client.join({ roomId: 7 }))) as RtcError;
  expect([error.getCode(), error.extraCode, error.message]).toEqual([0x4001, 70009, message]);
  expect(seen.at(-1)).toBe('connection-state-changed CONNECTING DISCONNECTED');
  server.replies = {};
  await client.join({ roomId: 7 });
  await client.leave();
});

test('a server that is not there is 0x4001, one that never answers is a join room timeout', async () => {
  const { client } = watched();
  client.setProxyServer('ws://127.0.0.1:9');
  const unreachable = (await rejectedBy(client.join({ roomId: 7 }))) as RtcError;
  expect(unreachable.getCode()).toBe(0x4001);
  expect(unreachable.message).toContain('failed to connect to remote server via websocket');

  server.replies.enter = () => SILENCE;
  client.setProxyServer(server.url);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  const entering = server.next('enter');
  const joining = rejectedBy(client.join({ roomId: 7 }));
  await entering;
  vi.advanceTimersByTime(10_000);
  const silent = (await joining) as RtcError;
  expect([silent.getCode(), silent.message]).toEqual([0x4004, 'join room timeout <JOIN_ROOM_FAILED 0x4004>']);
});

test('calls out of order are INVALID_OPERATION', async () => {
  const { client } = watched();
  for (const call of [client.leave(), client.publish({} as never), client.subscribe({} as never), client.switchRole('anchor')]) {
    expect(((await rejectedBy(call)) as RtcError).getCode()).toBe(0x1001);
  }
  const joining = client.join({ roomId: 7 });
  expect(((await rejectedBy(client.join({ roomId: 8 }))) as RtcError).getCode()).toBe(0x1001);
  await joining;
  expect(((await rejectedBy(client.join({ roomId: 8 }))) as RtcError).getCode()).toBe(0x1001);
  expect(((await rejectedBy(client.publish({} as never))) as RtcError).getCode()).toBe(0x1000);
  expect(((await rejectedBy(client.subscribe({} as never))) as RtcError).getCode()).toBe(0x1000);
  await client.leave();
});

test('leave during join waits for it, and join during leave waits too', async () => {
  const { client } = watched();
  const joined = client.join({ roomId: 7 });
  const left = client.leave();
  await Promise.all([joined, left]);
  await client.join({ roomId: 7 });
  const leaving = server.next('leave');
  const leftAgain = client.leave();
  await leaving;
  const joinedAgain = client.join({ roomId: 8 });
  await Promise.all([leftAgain, joinedAgain]);
  expect(server.types).toEqual(['login', 'enter', 'leave', 'login', 'enter', 'leave', 'login', 'enter']);
  await client.leave();
});

test('a second client of one user on the page may enter another room but not the same', async () => {
  const first = watched({ userId: 'twice' }).client;
  const second = watched({ userId: 'twice' }).client;
  await first.join({ roomId: 7 });
  expect(((await rejectedBy(second.join({ roomId: 7 }))) as RtcError).getCode()).toBe(0x1001);
  await second.join({ roomId: 8 });
  await first.leave();
  await second.leave();
  await second.join({ roomId: 7 });
  await second.leave();
});

test('streams are received without being asked for, and stream-subscribed is for the app that asks', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const quiet = watched({ userId: 'quiet' });
  const auto = server.next('subscribe');
  await quiet.client.join({ roomId: 7 });
  expect(await auto).toMatchObject({ userId: 'bob', streamType: 'main', audio: true, video: true });
  const asking = watched({ userId: 'asking' });
  asking.client.on('stream-added', ({ stream }) => void asking.client.subscribe(stream, { audio: true, video: false }));
  const asked = server.next('subscribe');
  await asking.client.join({ roomId: 7 });
  expect(await asked).toMatchObject({ audio: true, video: false });
  await asking.heard('stream-subscribed bob-1');
  expect(quiet.seen.join()).not.toContain('stream-subscribed');
  expect(server.types.filter((type) => type === 'subscribe')).toHaveLength(2);
  await quiet.client.leave();
  await asking.client.leave();
});

test('a stream that the app refuses in stream-added is never asked for', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const { client, heard } = watched();
  client.on('stream-added', ({ stream }) => void client.unsubscribe(stream));
  await client.join({ roomId: 7 });
  await heard('mute-audio bob');
  await client.leave();
  expect(server.types).toEqual(['login', 'enter', 'leave']);
});

test('a stream that is gone cannot be subscribed, also when it goes while being asked for', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const { client, heard } = watched({ autoSubscribe: false });
  const added = new Promise<ClientEventMap['stream-added']>((resolve) => client.on('stream-added', resolve));
  await client.join({ roomId: 7 });
  const { stream } = await added;
  server.replies.subscribe = () => SILENCE;
  const asking = server.next('subscribe');
  const pending = rejectedBy(client.subscribe(stream));
  await asking;
  server.send({ type: 'stream-removed', userId: 'bob', streamType: 'main', streamId: 'bob-1' });
  expect(((await pending) as RtcError).getCode()).toBe(0x4010);
  await heard('stream-removed bob-1');
  expect(((await rejectedBy(client.subscribe(stream))) as RtcError).getCode()).toBe(0x4010);
  await client.leave();
});

test('a subscription that is not answered in five seconds is 0x4042', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const { client } = watched({ autoSubscribe: false });
  const added = new Promise<ClientEventMap['stream-added']>((resolve) => client.on('stream-added', resolve));
  await client.join({ roomId: 7 });
  const { stream } = await added;
  server.replies.subscribe = () => SILENCE;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  const asking = server.next('subscribe');
  const pending = rejectedBy(client.subscribe(stream));
  await asking;
  vi.advanceTimersByTime(5_000);
  expect(((await pending) as RtcError).getCode()).toBe(0x4042);
  vi.useRealTimers();
  await client.leave();
});

test('after a lost socket the session is taken up again and the difference is told', async () => {
  server.snapshot = { members: [{ userId: 'bob' }, { userId: 'eve' }], streams: [bob] };
  const { client, seen, heard } = watched();
  await client.join({ roomId: 7 });
  await heard('mute-audio bob');
  seen.length = 0;
  server.snapshot = { members: [{ userId: 'bob' }, { userId: 'new' }], streams: [{ ...bob, audioMuted: false }] };
  const resubscribed = server.next('subscribe');
  server.dropSocket();
  await heard('connection-state-changed RECONNECTING CONNECTED');
  expect(seen).toEqual([
    'connection-state-changed CONNECTED RECONNECTING',
    'peer-leave eve',
    'peer-join new',
    'unmute-audio bob',
    'connection-state-changed RECONNECTING CONNECTED',
  ]);
  expect(server.requests.find((request) => request.type === 'resume')).toMatchObject({ resumeToken: 'token' });
  expect(await resubscribed).toMatchObject({ userId: 'bob' });
  await client.leave();
});

test('a request that the lost socket took with it is sent again', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const { client } = watched({ autoSubscribe: false });
  const added = new Promise<ClientEventMap['stream-added']>((resolve) => client.on('stream-added', resolve));
  await client.join({ roomId: 7 });
  const { stream } = await added;
  server.replies.subscribe = () => {
    server.replies = {};
    server.dropSocket();
    return SILENCE;
  };
  await client.subscribe(stream);
  expect(server.types.slice(0, 5)).toEqual(['login', 'enter', 'subscribe', 'resume', 'subscribe']);
  await client.leave();
});

test('a session that the server does not know any more ends with 0x4006 and why', async () => {
  const { client, seen, heard } = watched();
  await client.join({ roomId: 7 });
  server.replies.resume = () => refusal(0x4001, 'SIGNAL_CHANNEL_SETUP_FAILED', 'the session has expired', 70221);
  server.dropSocket();
  await heard('error');
  expect(seen.slice(-2)).toEqual(['connection-state-changed RECONNECTING DISCONNECTED', 'error 4006 70221']);
  await client.leave();
  expect(((await rejectedBy(client.leave())) as RtcError).getCode()).toBe(0x1001);
});

test('a server that stays away is given up when it would have let the user go', async () => {
  server.resumeTimeout = 0.05;
  const { client, heard } = watched();
  await client.join({ roomId: 7 });
  const { port } = server;
  await server.stop();
  await heard('error 4006');
  server = await SignalingServer.start(port);
  await client.join({ roomId: 7 });
  await client.leave();
});

test('a socket on which nothing is heard is taken for lost', async () => {
  server.heartbeatInterval = 0.02;
  const { client, heard } = watched();
  await client.join({ roomId: 7 });
  server.replies.ping = () => SILENCE;
  server.replies.resume = (): object => {
    server.replies = {};
    return { sessionId: 's', resumeToken: 't', resumeTimeout: 90, snapshot: server.snapshot, published: [], subscriptions: [] };
  };
  await heard('connection-state-changed RECONNECTING CONNECTED');
  await client.leave();
});

test('a client that is thrown out hears why, and may call leave and join again', async () => {
  const { client, seen, heard } = watched();
  await client.join({ roomId: 7 });
  server.send({ type: 'client-banned', reason: 'banned', message: 'removed by an administrator' });
  server.closeSocket(CloseCode.REMOVED, 'removed');
  await heard('client-banned');
  expect(seen.slice(-2)).toEqual([
    'connection-state-changed CONNECTED DISCONNECTED',
    'client-banned banned: removed by an administrator',
  ]);
  await client.leave();
  await client.join({ roomId: 7 });
  await client.leave();
});

test('setProxyServer is for before join', async () => {
  const { client } = watched();
  await client.join({ roomId: 7 });
  expect(() => client.setProxyServer(server.url)).toThrow(/INVALID_OPERATION 0x1001/);
  await client.leave();
});

test('a server that goes down in good order finds the user back in the room after its restart', async () => {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const { client, seen, heard } = watched();
  await client.join({ roomId: 7 });
  await heard('mute-audio bob');
  seen.length = 0;
  server.snapshot = { members: [{ userId: 'bob' }], streams: [{ ...bob, streamId: 'bob-2' }] };
  const again = server.next('subscribe');
  server.send({ type: 'server-stopping', message: 'back in a moment' });
  server.closeSocket(CloseCode.SERVER_STOPPING, 'back in a moment');
  await heard('connection-state-changed RECONNECTING CONNECTED');
  await again;
  expect(seen).toEqual([
    'connection-state-changed CONNECTED RECONNECTING',
    'stream-removed bob-1',
    'stream-added bob-2',
    'mute-audio bob',
    'connection-state-changed RECONNECTING CONNECTED',
  ]);
  expect(server.types).not.toContain('resume');
  await client.leave();
});
