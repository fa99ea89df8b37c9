import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { CloseCode, type StreamInfo } from '../src/generated/messages.js';
import TRTC, { type ClientConfig, type ClientEventMap, type RtcError } from '../src/index.js';
import { rejectedBy } from './helpers.js';
import { refusal, SignalingServer, SILENCE } from './signaling-server.js';
import { watch, type Watched } from './watched.js';

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

function watched(more: Partial<ClientConfig> = {}): Watched {
  return watch(server.url, { sdkAppId: 1, userId: `me-${++users}`, userSig: 'sig', ...more });
}

const bob: StreamInfo = { userId: 'bob', streamType: 'main', streamId: 'bob-1', audio: true, video: true, audioMuted: true };

/** A client that joined, and bob's stream, which nobody has asked for yet. */
async function besideBob(): Promise<Watched & { stream: ClientEventMap['stream-added']['stream'] }> {
  server.snapshot = { members: [{ userId: 'bob' }], streams: [bob] };
  const me = watched({ autoSubscribe: false });
  const added = new Promise<ClientEventMap['stream-added']>((resolve) => me.client.on('stream-added', resolve));
  await me.client.join({ roomId: 7 });
  return { ...me, stream: (await added).stream };
}

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

test('a server that is not there is 0x4002, one that never answers is a join room timeout', async () => {
  const { client } = watched();
  client.setProxyServer('ws://127.0.0.1:9');
  const unreachable = (await rejectedBy(client.join({ roomId: 7 }))) as RtcError;
  expect(unreachable.getCode()).toBe(0x4002);
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
  const { client, heard, stream } = await besideBob();
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
  const { client, stream } = await besideBob();
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

test('a request that the lost socket took with it is sent again', async () => {
  const { client, stream } = await besideBob();
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

test('a socket given up for its silence, or for a late answer to resume, is closed as given up and not as left', async () => {
  server.heartbeatInterval = 0.02;
  const { client, heard } = watched();
  await client.join({ roomId: 7 });
  let silent = 2;
  server.replies.ping = () => SILENCE;
  server.replies.resume = (): object | typeof SILENCE => {
    if (--silent > 0) return SILENCE;
    server.replies = {};
    return { sessionId: 's', resumeToken: 't', resumeTimeout: 90, snapshot: server.snapshot, published: [], subscriptions: [] };
  };
  await heard('connection-state-changed RECONNECTING CONNECTED');
  expect(server.closeCodes).toEqual([CloseCode.TIMED_OUT, CloseCode.TIMED_OUT]);
  await client.leave();
  await vi.waitFor(() => expect(server.closeCodes.at(-1)).toBe(1000));
}, 20_000);

test('what was asked for before leave() is over with it, and says by what', async () => {
  const { client, stream } = await besideBob();
  server.replies.subscribe = () => SILENCE;
  const asking = server.next('subscribe');
  const running = rejectedBy(client.subscribe(stream));
  await asking;
  const waiting = rejectedBy(client.subscribe(stream, { video: false }));
  await client.leave();
  for (const error of [await running, await waiting]) {
    expect((error as RtcError).message).toBe('subscribe: cancelled by leave() <INVALID_OPERATION 0x1001>');
  }
});

test('a subscription that was given up while the socket was down is taken back after the resume', async () => {
  const { client, heard, stream } = await besideBob();
  await client.subscribe(stream);
  server.replies.resume = (): object => ({
    sessionId: 's',
    resumeToken: 't',
    resumeTimeout: 90,
    snapshot: server.snapshot,
    published: [{ ...bob, userId: client.getUserId(), streamId: 'mine' }],
    subscriptions: [{ userId: 'bob', streamType: 'main', audio: true, video: true }],
  });
  const [given, unpublished] = [server.next('unsubscribe'), server.next('unpublish')];
  server.dropSocket();
  await heard('connection-state-changed CONNECTED RECONNECTING');
  await client.unsubscribe(stream);
  expect(await given).toMatchObject({ userId: 'bob', streamType: 'main' });
  // Nor does the server keep a stream that this client does not publish.
  expect(await unpublished).toMatchObject({ streamType: 'main' });
  await client.leave();
});

test('a call before join says that join comes first', async () => {
  const { client } = watched();
  const error = (await rejectedBy(client.publish({} as never))) as RtcError;
  expect(error.message).toContain('please call join() before publish()');
});

test('a client that is destroyed says so, hears nothing more, and is not destroyed in a room', async () => {
  const { client, seen } = watched();
  await client.join({ roomId: 7 });
  expect(() => client.destroy()).toThrow(/leave\(\) first <INVALID_OPERATION 0x1001>/);
  await client.leave();
  const tell = (): void => (client as unknown as { emit(event: string, payload: object): void }).emit('peer-join', { userId: 'bob' });
  const heard = seen.length;
  tell();
  expect(seen.length).toBe(heard + 1);
  client.destroy();
  client.destroy();
  tell();
  const error = (await rejectedBy(client.join({ roomId: 7 }))) as RtcError;
  expect([error.getCode(), error.message]).toEqual([0x1001, expect.stringContaining('destroyed')]);
  expect(seen.length).toBe(heard + 1);
});

test('volumes that are asked for while a client leaves begin with its next room, and no timer is left behind', async () => {
  const { client } = watched();
  await client.join({ roomId: 7 });
  const begun = vi.spyOn(globalThis, 'setInterval');
  const ended = vi.spyOn(globalThis, 'clearInterval');
  const going = (): unknown[] =>
    begun.mock.results
      .filter((_, at) => begun.mock.calls[at]?.[1] === 200)
      .map(({ value }) => value as unknown)
      .filter((timer) => !ended.mock.calls.some(([one]) => one === timer));
  const left = client.leave().then(() => true);
  do client.enableAudioVolumeEvaluation(200);
  while (!(await Promise.race([left, new Promise(setImmediate)])));
  expect(going()).toEqual([]);
  await client.join({ roomId: 7 });
  expect(going()).toHaveLength(1);
  await client.leave();
  begun.mockRestore();
  ended.mockRestore();
});

test('mixing and the CDN reject with the code that each has, in a room and not before', async () => {
  const { client } = watched();
  const calls = {
    0x4045: () => client.startPublishCDNStream({ streamId: 'x' }),
    0x4046: () => client.stopPublishCDNStream(),
    0x4047: () => client.startMixTranscode({ mixUsers: [] }),
    0x4048: () => client.stopMixTranscode(),
  };
  for (const call of Object.values(calls)) expect(((await rejectedBy(call())) as RtcError).getCode()).toBe(0x1001);
  await client.join({ roomId: 7 });
  for (const [code, call] of Object.entries(calls)) expect(((await rejectedBy(call())) as RtcError).getCode()).toBe(Number(code));
  await client.leave();
});

test('a new privateMapKey is what the room is entered with when the server has lost the session', async () => {
  const { client } = watched();
  const key = (privateMapKey: unknown): Promise<void> => client.callExperimentalAPI('updatePrivateMapKey', { privateMapKey });
  expect(((await rejectedBy(key('k2'))) as RtcError).getCode()).toBe(0x1001);
  await client.join({ roomId: 7, privateMapKey: 'k1' });
  expect(((await rejectedBy(key(5))) as RtcError).getCode()).toBe(0x1000);
  expect(((await rejectedBy(client.callExperimentalAPI('other' as never, {}))) as RtcError).getCode()).toBe(0x1000);
  await key('k2');
  server.replies.resume = () => refusal(0x4006, 'SIGNAL_CHANNEL_RECONNECTION_FAILED', 'unknown session', -200001);
  const entered = server.next('enter');
  server.dropSocket();
  expect(await entered).toMatchObject({ privateMapKey: 'k2' });
  await client.leave();
});

test('who joins live is audience unless it says otherwise, and in a call everybody is an anchor', async () => {
  const roles: [object, object, string][] = [
    [{ mode: 'live' }, {}, 'live audience'],
    [{ mode: 'live' }, { role: 'anchor' }, 'live anchor'],
    [{ mode: 'rtc' }, { role: 'audience' }, 'rtc anchor'],
    [{}, {}, 'rtc anchor'],
  ];
  for (const [config, join, expected] of roles) {
    const { client } = watched(config);
    const entered = server.next('enter');
    await client.join({ roomId: 7, ...join });
    const { scene, role } = await entered;
    expect(`${String(scene)} ${String(role)}`).toBe(expected);
    await client.leave();
  }
});

test('a role is changed in live mode alone, with the key that was named last; a refusal leaves it', async () => {
  const { client } = watched({ mode: 'live' });
  await client.join({ roomId: 7, privateMapKey: 'k1' });
  expect(((await rejectedBy(client.switchRole('king' as never))) as RtcError).getCode()).toBe(0x1000);
  server.replies['switch-role'] = () => refusal(0x404a, 'SWITCH_ROLE_FAILED', 'switchRole failed: no ticket (-10018)', -10018);
  const refused = (await rejectedBy(client.switchRole('anchor'))) as RtcError;
  expect([refused.getCode(), refused.getExtraCode()]).toEqual([0x404a, -10018]);
  server.replies = {};
  await client.callExperimentalAPI('updatePrivateMapKey', { privateMapKey: 'k2' });
  const asked = server.next('switch-role');
  await client.switchRole('anchor');
  expect(await asked).toMatchObject({ role: 'anchor', privateMapKey: 'k2' });
  // The server did not hear of it: it is told again with the next resume, and only then.
  server.replies.resume = () => ({ sessionId: 's', resumeToken: 't', resumeTimeout: 90, snapshot: server.snapshot, published: [], subscriptions: [], role: 'audience' });
  const again = server.next('switch-role');
  server.dropSocket();
  expect(await again).toMatchObject({ role: 'anchor', privateMapKey: 'k2' });
  await client.leave();

  const call = watched();
  await call.client.join({ roomId: 7 });
  expect(((await rejectedBy(call.client.switchRole('audience'))) as RtcError).getCode()).toBe(0x1001);
  await call.client.leave();
});
