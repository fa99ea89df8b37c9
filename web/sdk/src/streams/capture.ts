import { ErrorCode, rtcError, type RtcError } from '../errors.js';
import type { Kind } from '../kinds.js';
import type { AudioProfile, VideoProfile } from '../profiles.js';
import type { StreamConfig } from '../types.js';

/** The browser's media devices, or a clear refusal on a page that may not have them. */
export function mediaDevices(what: string): MediaDevices {
  const devices = typeof navigator === 'undefined' ? undefined : (navigator.mediaDevices as MediaDevices | undefined);
  if (devices) return devices;
  throw rtcError(
    ErrorCode.NOT_SUPPORTED,
    `${what}: the browser gives no access to devices here; the page must come from https or from localhost`,
  );
}

/** Size and rate that a picture is asked for; the browser comes as near as it can. */
export function videoConstraints(profile: VideoProfile): MediaTrackConstraints {
  return {
    width: { ideal: profile.width },
    height: { ideal: profile.height },
    frameRate: { ideal: profile.frameRate },
  };
}

export function audioConstraints(profile: AudioProfile): MediaTrackConstraints {
  return {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
    sampleRate: { ideal: profile.sampleRate },
    channelCount: { ideal: profile.channelCount },
  };
}

// An empty id means "any": apps pass on the value of a selection that was never made.
const exactly = (deviceId: string | undefined): MediaTrackConstraints => (deviceId ? { deviceId: { exact: deviceId } } : {});

/** The device that a track came from, if it is still there; else any that meets the rest. */
export async function sameOrAny(kind: Kind, track: MediaStreamTrack, config: StreamConfig): Promise<Partial<StreamConfig>> {
  const before = track.getSettings().deviceId ?? '';
  const present = await mediaDevices('recover').enumerateDevices();
  if (before !== '' && present.some((device) => device.deviceId === before)) return deviceChoice(kind, before);
  return kind === 'video' && config.facingMode ? { facingMode: config.facingMode } : {};
}

/** Opens the microphone, the camera or both. */
export async function captureDevices(config: StreamConfig, audio: AudioProfile, video: VideoProfile): Promise<MediaStream> {
  const devices = mediaDevices('initialize');
  const facing = config.facingMode ? { facingMode: config.facingMode } : {};
  try {
    return await devices.getUserMedia({
      audio: config.audio ? { ...audioConstraints(audio), ...exactly(config.microphoneId) } : false,
      video: config.video ? { ...videoConstraints(video), ...exactly(config.cameraId), ...facing } : false,
    });
  } catch (thrown) {
    throw await captureFailed(devices, config, thrown);
  }
}

/** Lets the person choose a screen, a window or a tab. */
export async function captureScreen(config: StreamConfig, profile: VideoProfile): Promise<MediaStream> {
  const devices = mediaDevices('initialize');
  if (!isScreenShareSupported()) {
    throw rtcError(ErrorCode.NOT_SUPPORTED, 'initialize: this browser cannot share a screen');
  }
  try {
    return await devices.getDisplayMedia({ video: videoConstraints(profile), audio: config.screenAudio ?? false });
  } catch (thrown) {
    throw initializeFailed(thrown);
  }
}

export function isScreenShareSupported(): boolean {
  const devices = typeof navigator === 'undefined' ? undefined : (navigator.mediaDevices as MediaDevices | undefined);
  return typeof (devices as Partial<MediaDevices> | undefined)?.getDisplayMedia === 'function';
}

/** The code says what failed, the name is the browser's own: v4 apps decide by the name. */
export function initializeFailed(thrown: unknown): RtcError {
  // Not every browser makes an OverconstrainedError an Error, and none gives it a text.
  const { name, message, constraint } = thrown as { name?: string; message?: string; constraint?: string };
  const unmet = constraint ? `no device meets the constraint '${constraint}'` : 'the browser gives no reason';
  const reason = message === undefined || message === '' ? unmet : message;
  const detail = `initialize failed: ${name ?? 'UnknownError'}: ${reason}`;
  return rtcError(ErrorCode.INITIALIZE_FAILED, detail, { name: name ?? 'RtcError' });
}

async function captureFailed(devices: MediaDevices, config: StreamConfig, thrown: unknown): Promise<RtcError> {
  if (!(thrown instanceof Error) || thrown.name !== 'NotFoundError') return initializeFailed(thrown);
  const present = await devices.enumerateDevices().catch((): MediaDeviceInfo[] => []);
  const lacks = (kind: MediaDeviceKind): boolean => !present.some((device) => device.kind === kind);
  const missing = [
    ...(config.audio && lacks('audioinput') ? ['microphone'] : []),
    ...(config.video && lacks('videoinput') ? ['camera'] : []),
  ];
  if (missing.length === 0) return initializeFailed(thrown);
  const detail = `initialize failed: this machine has no ${missing.join(' and no ')}`;
  return rtcError(ErrorCode.DEVICE_NOT_FOUND, detail, { name: thrown.name });
}

/** Phones call their two cameras by where they look. */
export function deviceChoice(kind: Kind, deviceId: string): Partial<StreamConfig> {
  if (kind === 'audio') return { microphoneId: deviceId };
  return deviceId === 'user' || deviceId === 'environment' ? { facingMode: deviceId } : { cameraId: deviceId };
}

/** What browsers say of a device that cannot be opened now, though it is there and allowed. */
export function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'NotReadableError' || thrown.name === 'AbortError');
}

/** The person may end a capture while the browser still asks for another. */
export function endedEarly(): Error {
  return Object.assign(new Error('the capture was ended before all of it had begun'), { name: 'AbortError' });
}
