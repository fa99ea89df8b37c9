import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import TRTC from '../src/index.js';
import type { AudioVolumeInfo } from '../src/types.js';
import { SignalingServer } from './signaling-server.js';

let server: SignalingServer;
let client: ReturnType<typeof TRTC.createClient>;

beforeEach(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  vi.stubGlobal('MediaStream', Object);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  server = await SignalingServer.start();
  const ann = { userId: 'ann', streamType: 'main' as const, streamId: 'x', audio: true, video: true };
  const silent = { userId: 'cat', streamType: 'main' as const, streamId: 'y', audio: false, video: true };
  server.snapshot = { members: [{ userId: 'ann' }, { userId: 'cat' }], streams: [ann, silent] };
  client = TRTC.createClient({ sdkAppId: 1, userId: 'bob', userSig: 'sig', autoSubscribe: false });
  client.setProxyServer(server.url);
});

afterEach(async () => {
  await client.leave().catch(() => undefined);
  await server.stop();
  vi.unstubAllGlobals();
});

/** The next volumes that the app is told, of those that are as wanted. */
function told(wanted: (info: AudioVolumeInfo) => boolean): Promise<AudioVolumeInfo> {
  return new Promise((resolve) =>
    client.on('audio-volume', (info) => {
      if (wanted(info)) resolve(info);
    }),
  );
}

test('what is enabled before join is asked for with it, and volumes are told with the streams they are of', async () => {
  client.enableAudioVolumeEvaluation(100);
  const added = new Promise((resolve) => client.on('stream-added', ({ stream }) => resolve(stream)));
  const asked = server.next('watch-volumes');
  const first = told(() => true);
  await client.join({ roomId: 7 });
  expect(await asked).toMatchObject({ interval: 100 });
  const { result, speakers } = await first;
  expect(result).toEqual([{ userId: 'ann', audioVolume: 0, stream: await added }]);
  expect(speakers).toEqual([]);
  const loud = told((info) => info.speakers.length > 0);
  server.send({ type: 'volumes', volumes: [{ userId: 'ann', volume: 55 }], speakers: ['ann'], whole: true });
  expect((await loud).result[0]?.audioVolume).toBe(55);
  expect((await loud).speakers).toEqual(['ann']);
});

test('it goes on after a lost socket and in another room, and ends when it is disabled', async () => {
  await client.join({ roomId: 7 });
  let asked = server.next('watch-volumes');
  client.enableAudioVolumeEvaluation(500, true);
  expect(await asked).toMatchObject({ interval: 500 });
  asked = server.next('watch-volumes');
  server.dropSocket();
  expect(await asked).toMatchObject({ interval: 500 });
  await client.leave();
  asked = server.next('watch-volumes');
  await client.join({ roomId: 8 });
  expect(await asked).toMatchObject({ interval: 500 });
  asked = server.next('watch-volumes');
  client.enableAudioVolumeEvaluation(-1);
  expect(await asked).toMatchObject({ interval: 0 });
});

test('what is no interval is refused, in a room and before', () => {
  expect(() => client.enableAudioVolumeEvaluation('200' as never)).toThrow(/enableAudioVolumeEvaluation: .* <INVALID_PARAMETER 0x1000>/);
});
