import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import TRTC from '../src/index.js';
import { Uplink } from '../src/media/uplink.js';
import { LocalStream } from '../src/streams/local-stream.js';
import { Media, Peer, Sender, Track } from './media.js';
import { refusal, SignalingServer, SILENCE } from './signaling-server.js';

let server: SignalingServer;
let client: ReturnType<typeof TRTC.createClient>;
let stream: LocalStream;

beforeEach(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  vi.stubGlobal('RTCPeerConnection', Peer);
  vi.stubGlobal('MediaStream', Media);
  vi.stubGlobal('RTCRtpSender', Sender);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  Peer.latest = null;
  server = await SignalingServer.start();
  server.replies.publish = () => ({ sdp: 'answer', streamId: 'x' });
  const published = [{ userId: 'ann', streamType: 'main' as const, streamId: 'x', audio: true, video: false }];
  const snapshot = { members: [], streams: [] };
  server.replies.resume = () => ({ sessionId: 's', resumeToken: 'token', resumeTimeout: 90, snapshot, published, subscriptions: [] });
  client = TRTC.createClient({ mode: 'rtc', sdkAppId: 1, userId: 'ann', userSig: 'sig' });
  client.setProxyServer(server.url);
  await client.join({ roomId: 7 });
  stream = new LocalStream({ audioSource: new Track('audio').real });
  await stream.initialize();
});

afterEach(async () => {
  await client.leave();
  await server.stop();
  vi.unstubAllGlobals();
});

/** The socket goes away, and the sound is muted before there is another. */
function muteWithoutSocket(): void {
  client.on('connection-state-changed', ({ state }) => {
    if (state === 'RECONNECTING') stream.muteAudio();
  });
  server.dropSocket();
}

test('what is muted without a socket while a stream is being published is told to the server after the resume', async () => {
  const begun = vi.spyOn(stream, 'publishedBy');
  const publishing = client.publish(stream);
  // The answer is there, and what is waited for is the connection alone.
  await vi.waitFor(() => expect(begun).toHaveBeenCalled());
  const muted = server.next('mute');
  muteWithoutSocket();
  expect(await muted).toMatchObject({ streamType: 'main', audio: true });
  Peer.latest?.connect();
  await publishing;
});

test('a change of tracks that is sent again after a reconnect does not take back what was muted meanwhile', async () => {
  const publishing = client.publish(stream);
  await vi.waitFor(() => expect(server.types).toContain('publish'));
  Peer.latest?.connect();
  await publishing;
  server.replies.publish = () => SILENCE;
  const asked = server.next('publish');
  const adding = stream.addTrack(new Track('video').real);
  expect(await asked).toMatchObject({ audioMuted: false });
  server.replies.publish = () => ({ sdp: 'answer', streamId: 'x' });
  const again = server.next('publish');
  muteWithoutSocket();
  expect(await again).toMatchObject({ audioMuted: true, videoMuted: false });
  await adding;
});

test('mutes are told one at a time, and those that were changed before the answer are not told at all', async () => {
  const publishing = client.publish(stream);
  await vi.waitFor(() => expect(server.types).toContain('publish'));
  Peer.latest?.connect();
  await publishing;
  server.replies.mute = () => SILENCE;
  const first = server.next('mute');
  for (let toggle = 0; toggle < 20; toggle++) {
    stream.muteAudio();
    stream.unmuteAudio();
  }
  const { id } = await first;
  const last = server.next('mute');
  server.replies.mute = () => ({});
  server.answer(id, {});
  expect(await last).toMatchObject({ streamType: 'main', audio: false });
  stream.muteAudio();
  await vi.waitFor(() => expect(server.requests.at(-1)).toMatchObject({ type: 'mute', audio: true }));
  const told = server.requests.flatMap((request) => (request.type === 'mute' ? [request.audio] : []));
  expect(told).toEqual([true, false, true]);
});

test('a stream tells how the connection is that it goes out by, each change once, from its publishing to its end', async () => {
  const told: string[] = [];
  stream.on('connection-state-changed', ({ prevState, state }) => told.push(`${prevState} ${state}`));
  const publishing = client.publish(stream);
  await vi.waitFor(() => expect(Peer.latest?.isAnswered).toBe(true));
  expect(told.splice(0)).toEqual(['DISCONNECTED CONNECTING']);
  Peer.latest?.connect();
  await publishing;
  expect(told.splice(0)).toEqual(['CONNECTING CONNECTED']);
  const first = Peer.latest;
  server.send({ type: 'media-failed', link: 'uplink', reason: 'consent-expired' });
  await vi.waitFor(() => expect(Peer.latest).not.toBe(first));
  await vi.waitFor(() => expect(Peer.latest?.isAnswered).toBe(true));
  expect(told.splice(0)).toEqual(['CONNECTED RECONNECTING']);
  Peer.latest?.connect();
  expect(told.splice(0)).toEqual(['RECONNECTING CONNECTED']);
  await client.unpublish(stream);
  expect(told).toEqual(['CONNECTED DISCONNECTED']);
});

test('a stream of two clients is as well connected as the better of them, and is disconnected when both are gone', () => {
  const [one, other] = [{}, {}];
  const told: string[] = [];
  stream.on('connection-state-changed', ({ state }) => told.push(state));
  const after = (owner: object, up: boolean | null): string[] => {
    stream.linkIs(owner, up);
    return told.splice(0);
  };
  expect(after(one, false)).toEqual(['CONNECTING']);
  expect(after(other, false)).toEqual([]);
  expect(after(other, true)).toEqual(['CONNECTED']);
  expect(after(one, true)).toEqual([]);
  expect(after(other, false)).toEqual([]);
  expect(after(one, false)).toEqual(['RECONNECTING']);
  expect(after(one, null)).toEqual([]);
  expect(after(other, null)).toEqual(['DISCONNECTED']);
  expect(after(other, null)).toEqual([]);
});

test('the end of the transport before, told before a new one is answered for, does not end the new one', async () => {
  const asked: { restart: boolean; answer: () => void }[] = [];
  const uplink = new Uplink({
    iceServers: [],
    transforms: null,
    videoCodec: undefined,
    small: () => null,
    signaling: { isUp: true, keptFor: 90_000, up: () => Promise.resolve() },
    restartIce: () => Promise.reject(new Error('nobody asks for it here')),
    suspect: () => undefined,
    publish: ({ restart }) =>
      new Promise((resolve) => {
        asked.push({ restart: restart ?? false, answer: () => resolve({ sdp: 'answer', streamId: 'x' }) });
      }),
    failed: () => undefined,
  });
  const publishing = uplink.publish('main', stream);
  await vi.waitFor(() => expect(asked).toHaveLength(1));
  asked[0]?.answer();
  const publication = await publishing;
  publication.state = 'published';
  const first = Peer.latest;
  first?.connect();

  uplink.transportClosed('consent-expired');
  await vi.waitFor(() => expect(Peer.latest).not.toBe(first));
  uplink.transportClosed('peer-closed'); // what closing the old connection came to at the server
  await vi.waitFor(() => expect(asked).toHaveLength(2));
  uplink.transportClosed('peer-closed');
  asked[1]?.answer();
  await vi.waitFor(() => expect(Peer.latest?.isAnswered).toBe(true));
  Peer.latest?.connect();
  await uplink.connected(1_000);
  expect(asked.map(({ restart }) => restart)).toEqual([true, true]);

  uplink.transportClosed('consent-expired'); // of the new one
  await vi.waitFor(() => expect(asked).toHaveLength(3));
  uplink.close();
});

test('sound of which some is missing is negotiated anew, with copies, also after a negotiation that failed', async () => {
  const publishing = client.publish(stream);
  await vi.waitFor(() => expect(server.types).toContain('publish'));
  const peer = Peer.latest;
  peer?.connect();
  await publishing;
  const [transceiver] = peer?.getTransceivers() ?? [];
  if (!peer || !transceiver) throw new Error('nothing is sent');
  expect(peer.preferred).toEqual([]);

  server.replies.publish = () => refusal(0x1001, 'INVALID_OPERATION', 'not now');
  transceiver.sender.missing = 0.1;
  await server.next('publish');
  server.replies.publish = () => ({ sdp: 'answer', streamId: 'x' });
  expect(await server.next('publish')).toMatchObject({ restart: false, audioMid: transceiver.mid });
  expect(peer.preferred).toEqual(['audio/red', 'audio/opus']);

  transceiver.sender.missing = 0;
  await vi.waitFor(() => expect(peer.preferred).toEqual(['audio/opus', 'audio/red']), { timeout: 20_000 });
}, 30_000);
