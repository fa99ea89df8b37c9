// What a publisher does when the server says which of its encodings are taken.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import TRTC from '../src/index.js';
import { Media, Peer, Sender, Track } from './media.js';
import { SignalingServer, SILENCE } from './signaling-server.js';

let server: SignalingServer;
let client: ReturnType<typeof TRTC.createClient>;
let stream: ReturnType<typeof TRTC.createStream>;
let errors: unknown[];
let joined = 0;

const answer = { sdp: 'answer', streamId: 'x' };

beforeEach(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  vi.stubGlobal('RTCPeerConnection', Peer);
  vi.stubGlobal('RTCRtpSender', Sender);
  vi.stubGlobal('MediaStream', Media);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  Peer.latest = null;
  errors = [];
  server = await SignalingServer.start();
  server.replies.publish = () => answer;
  client = TRTC.createClient({ mode: 'rtc', sdkAppId: 1, userId: 'ann', userSig: 'sig' });
  client.setProxyServer(server.url);
  client.on('error', (error) => errors.push(error));
  await client.join({ roomId: 7 });
  await client.enableSmallStream();
  stream = await ready();
});

afterEach(async () => {
  await client.leave();
  await server.stop();
  vi.unstubAllGlobals();
  expect(errors).toEqual([]);
});

async function ready(): Promise<ReturnType<typeof TRTC.createStream>> {
  const made = TRTC.createStream({ audioSource: new Track('audio').real, videoSource: new Track('video').real });
  await made.initialize();
  return made;
}

async function publish(): Promise<void> {
  const before = Peer.latest;
  const publishing = client.publish(stream);
  await vi.waitFor(() => expect(Peer.latest !== before && Peer.latest?.isAnswered).toBe(true));
  Peer.latest?.connect();
  await publishing;
}

function want(...rids: string[]): void {
  server.send({ type: 'encodings-wanted', streamType: 'main', rids });
}

function senderOf(kind: 'audio' | 'video'): Sender {
  const sender = Peer.latest?.getTransceivers().find(({ receiver }) => receiver.track.kind === kind)?.sender;
  if (!sender) throw new Error(`no ${kind} is sent`);
  return sender;
}

function trackOf(kind: 'audio' | 'video'): MediaStreamTrack {
  const track = kind === 'audio' ? stream.getAudioTrack() : stream.getVideoTrack();
  if (!track) throw new Error(`the stream has no ${kind}`);
  return track;
}

/** The rids that go out. */
function active(): (string | undefined)[] {
  const { encodings } = senderOf('video').getParameters();
  return encodings.filter((one) => one.active !== false).map(({ rid }) => rid);
}

async function sends(...rids: string[]): Promise<void> {
  await vi.waitFor(() => expect(active()).toEqual(rids));
}

/** All that was said to the client by now was heard. */
async function heard(): Promise<void> {
  const arrived = new Promise((resolve) => client.on('peer-join', resolve));
  server.send({ type: 'peer-join', userId: `peer ${++joined}` });
  await arrived;
  // What waits for its turn at the uplink has had it.
  await stream.replaceTrack(new Track('video').real);
}

test('what nobody takes is paused by its rid, and sent again when it is taken', async () => {
  await publish();
  await sends('big', 'small');
  for (const rids of [['small'], [], ['small'], ['big', 'small']]) {
    want(...rids);
    await sends(...rids);
  }
  want('small', 'an encoding of another client');
  await sends('small');
  expect(senderOf('audio').getParameters().encodings.every(({ active }) => active !== false)).toBe(true);
});

test('another track and other profiles change nothing of it', async () => {
  await publish();
  want('small');
  await sends('small');
  await stream.replaceTrack(new Track('video').real);
  expect(active()).toEqual(['small']);
  stream.setVideoProfile('720p');
  client.setSmallStreamProfile({ width: 80, height: 60, bitrate: 50, frameRate: 5 });
  await vi.waitFor(() => expect(senderOf('video').getParameters().encodings.map((one) => one.maxBitrate)).toEqual([1_500_000, 50_000]));
  expect(active()).toEqual(['small']);
  const adding = server.next('publish');
  await stream.removeTrack(trackOf('audio'));
  await adding;
  expect(active()).toEqual(['small']);
});

test('a new connection begins with what the server says of it', async () => {
  await publish();
  want('small');
  await sends('small');
  const [first, asked] = [Peer.latest, server.next('publish')];
  server.replies.publish = () => SILENCE;
  server.send({ type: 'media-failed', link: 'uplink', reason: 'consent-expired' });
  const { id } = await asked;
  expect(Peer.latest).not.toBe(first);
  expect(active()).toEqual(['big', 'small']);
  want();
  server.answer(id, answer);
  await sends();
  Peer.latest?.connect();
});

test('a video that comes to the stream anew is sent whole', async () => {
  await publish();
  want('small');
  await sends('small');
  await stream.removeTrack(trackOf('video'));
  await stream.addTrack(new Track('video').real);
  await sends('big', 'small');
});

test('a mute and an unpublish stay as they are', async () => {
  await publish();
  stream.muteVideo();
  want();
  await sends();
  want('big', 'small');
  await sends('big', 'small');
  expect(stream.getVideoTrack()?.enabled).toBe(false);
  const { latest } = Peer;
  await client.unpublish(stream);
  const set = vi.spyOn(Sender.prototype, 'setParameters');
  want('small');
  await heard();
  expect(set).not.toHaveBeenCalled();
  expect(latest?.connectionState).toBe('closed');
  set.mockRestore();
  await publish();
  await sends('big', 'small');
});

test('an encoder that does not follow is no error to the app, and a stream in one encoding goes on', async () => {
  await publish();
  senderOf('video').refuses = true;
  want('small');
  await heard();
  expect(active()).toEqual(['big', 'small']);
  await client.unpublish(stream);
  await client.disableSmallStream();
  await publish();
  want();
  await heard();
  expect(active()).toEqual([undefined]);
});
