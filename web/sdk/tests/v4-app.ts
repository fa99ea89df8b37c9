// Never run: an app as v4 apps are written, which must go on compiling against these types.
import TRTC from '../src/index.js';
import type { Client, LocalStream, RemoteStream, RtcError } from '../src/index.js';

export async function call(userSig: string): Promise<void> {
  const { result, detail } = await TRTC.checkSystemRequirements();
  if (!result && !detail.isWebRTCSupported) return;
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.ERROR);
  TRTC.Logger.disableUploadLog();

  const client: Client = TRTC.createClient({ mode: 'rtc', sdkAppId: 1400000000, userId: 'ada', userSig });
  client.setProxyServer('wss://calls.example.org');
  const remotes: RemoteStream[] = [];
  client.on('error', (error: RtcError) => console.error(error.getCode() === 0x4006, error.name));
  client.on('client-banned', (event) => console.warn(event.reason, event.message));
  client.on('connection-state-changed', ({ prevState, state }) => console.info(prevState, state === 'RECONNECTING'));
  client.on('peer-join', (event) => console.info(event.userId));
  client.on('stream-added', (event) => {
    const remoteStream = event.stream;
    client.subscribe(remoteStream, { audio: true, video: true }).catch((error: unknown) => console.warn(error));
  });
  client.on('stream-subscribed', ({ stream }) => {
    remotes.push(stream);
    if (stream.getType() === 'auxiliary') void client.unsubscribe(stream);
    else void stream.play('remote', { objectFit: 'contain' });
  });
  client.on('stream-removed', ({ stream }) => stream.stop());

  await client.join({ roomId: 7, role: 'anchor' });
  const microphones = await TRTC.getMicrophones();
  const localStream: LocalStream = TRTC.createStream({
    userId: 'ada',
    audio: true,
    video: true,
    mirror: true,
    ...(microphones[0] ? { microphoneId: microphones[0].deviceId } : {}),
  });
  localStream.setVideoProfile('480p');
  localStream.setVideoProfile({ width: 640, height: 360, frameRate: 15, bitrate: 400 });
  localStream.setAudioProfile('high');
  localStream.on('player-state-changed', (event) => console.info(event.type, event.state, event.reason));
  await localStream.initialize();
  await localStream.play(document.createElement('div'), { muted: true });
  await client.publish(localStream);
  if (!localStream.muteAudio()) console.info('no audio');
  for (const { userId, hasAudio, audioMuted } of client.getRemoteMutedState()) console.info(userId, hasAudio && !audioMuted);
  await client.unpublish(localStream);
  localStream.close();
  client.off('*');
  await client.leave();
}
