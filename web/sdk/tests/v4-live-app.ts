// Never run: a broadcast as v4 apps are written, which must go on compiling against these types.
import TRTC, { type Client, type LocalStream, type RemoteStream, type RtcError } from '../src/index.js';

interface Stage {
  client: Client;
  camera: LocalStream | null;
  screen: LocalStream | null;
  viewers: Map<string, RemoteStream>;
}

const stage: Stage = { client: create('host'), camera: null, screen: null, viewers: new Map() };

function create(userId: string): Client {
  const client = TRTC.createClient({
    mode: 'live',
    sdkAppId: 1400000000,
    userId,
    userSig: 'x',
    useStringRoomId: true,
    autoSubscribe: false,
    enableAutoPlayDialog: false,
    enableSEI: true,
  });
  client.setTurnServer([{ url: 'turn.example.org:3478', username: 'u', credential: 'c', credentialType: 'password' }]);
  client.setProxyServer({ websocketProxy: 'wss://proxy.example.org', loggerProxy: 'https://log.example.org' });
  client.on('stream-added', ({ stream }) => void receive(client, stream));
  client.on('stream-removed', ({ stream }) => stage.viewers.delete(stream.getId()));
  client.on('stream-updated', ({ stream }) => console.info(stream.getType(), stream.hasAudio(), stream.hasVideo()));
  client.on('sei-message', ({ data, userId: from, seiPayloadType, isFromAuxiliary }) => {
    console.info(from, seiPayloadType, isFromAuxiliary, new TextDecoder().decode(data));
  });
  client.on('network-quality', ({ uplinkNetworkQuality, downlinkRTT }) => console.info(uplinkNetworkQuality, downlinkRTT));
  client.on('audio-volume', ({ result }) => {
    for (const { userId: who, audioVolume, stream } of result) console.info(who, audioVolume, stream.getId());
  });
  client.on('client-banned', ({ reason, message }) => console.warn(reason, message));
  client.on('connection-state-changed', ({ prevState, state }) => console.info(prevState, state));
  client.on('error', failed);
  return client;
}

function failed(error: RtcError): void {
  console.error(error.getCode(), error.name, error.message);
}

async function receive(client: Client, stream: RemoteStream): Promise<void> {
  stage.viewers.set(stream.getId(), stream);
  stream.on('player-state-changed', ({ type, state, reason }) => console.info(type, state, reason));
  stream.on('connection-state-changed', ({ state }) => console.info(stream.getUserId(), state));
  stream.on('error', (error) => {
    if (error.getCode() === 0x4043) void stream.resume();
  });
  await client.subscribe(stream, { audio: true, video: stream.hasVideo() });
  const state = client.getRemoteMutedState().find(({ userId }) => userId === stream.getUserId());
  if (state?.hasSmall) await client.setRemoteVideoStreamType(stream, 'small');
  await stream.play('stage', { objectFit: 'contain', muted: false });
  stream.setAudioVolume(0.8);
  await stream.setAudioOutput('default');
}

export async function goLive(): Promise<void> {
  const { client } = stage;
  await client.join({ roomId: 'hall', role: 'anchor', privateMapKey: 'key' });
  const camera = TRTC.createStream({ userId: 'host', audio: true, video: true, facingMode: 'user', mirror: true });
  camera.setVideoProfile({ width: 1280, height: 720, frameRate: 25, bitrate: 1500 });
  camera.setAudioProfile('high');
  camera.setVideoContentHint('motion');
  await camera.initialize();
  camera.on('device-auto-recovered', ({ isCamera, cameraId, isMicrophone, microphoneId }) => {
    console.info(isCamera, cameraId, isMicrophone, microphoneId);
  });
  const audible: boolean = camera.muteAudio() && camera.unmuteAudio();
  const amplified = camera.setAudioCaptureVolume(80);
  console.info(audible, amplified, camera.getAudioLevel(), camera.getVideoFrame());
  await client.enableSmallStream();
  client.setSmallStreamProfile({ width: 320, height: 180, bitrate: 150, frameRate: 15 });
  await client.publish(camera);
  stage.camera = camera;
  client.enableAudioVolumeEvaluation(200, true);
  client.sendSEIMessage(new TextEncoder().encode('hello').buffer, { seiPayloadType: 243 });

  const screen = TRTC.createStream({ audio: false, screen: true, screenAudio: true });
  screen.setScreenProfile('1080p_2');
  await screen.initialize();
  screen.on('screen-sharing-stopped', () => void client.unpublish(screen));
  await client.publish(screen, { isAuxiliary: true });
  stage.screen = screen;
}

export async function report(): Promise<void> {
  const { client } = stage;
  const { rtt, downlinksRTT } = await client.getTransportStats();
  const sent = (await client.getLocalVideoStats())[client.getUserId()];
  const heard = await client.getRemoteAudioStats();
  const seen = await client.getRemoteVideoStats('auxiliary');
  console.info(rtt, downlinksRTT, sent?.framesEncoded, Object.keys(heard), Object.keys(seen));
}

export async function stop(): Promise<void> {
  const { client, camera, screen } = stage;
  for (const own of [screen, camera]) {
    if (own) await client.unpublish(own);
    own?.close();
  }
  await client.switchRole('audience');
  await client.startMixTranscode({ mixUsers: [{ userId: 'host', roomId: 'hall', pureAudio: false, renderMode: 1 }] }).catch(failed);
  await client.startPublishCDNStream({ streamId: 'hall' }).catch(failed);
  client.off('*');
  await client.leave();
  client.destroy();
}
