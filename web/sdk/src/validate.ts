import { invalidOperation, invalidParameter } from './errors.js';
import {
  MAX_ROOM_NAME_BYTES,
  MAX_ROOM_NUMBER,
  ROOM_NAME_CHARACTERS,
  ROOM_NAME_PUNCTUATION,
} from './generated/messages.js';
import type { ClientConfig, JoinOptions, SmallStreamProfile, StreamConfig, VideoType } from './types.js';
import type { Evaluation } from './volumes.js';

/** What a timer takes at most is 2³¹ milliseconds; whoever asks for more than a day wants none. */
const LONGEST_INTERVAL = 86_400_000;

const VIDEO_CODECS: readonly unknown[] = ['vp8', 'h264', 'vp9', 'av1'];

/** Whether a room may be called so. */
export function isRoomName(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || value.length > MAX_ROOM_NAME_BYTES) return false;
  return Array.from(value).every((character) => ROOM_NAME_CHARACTERS.includes(character));
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw invalidParameter(`${what} must be an object, not ${shown(value)}`);
}

function optional(values: Record<string, unknown>, types: Record<string, string>, where: string): void {
  for (const [key, type] of Object.entries(types)) {
    const value = values[key];
    if (value !== undefined && typeof value !== type) {
      throw invalidParameter(`${where}: ${key} must be a ${type}, not ${shown(value)}`);
    }
  }
}

/** Checks what `createClient` was given. */
export function clientConfig(config: unknown): ClientConfig {
  const values = object(config, 'createClient: config');
  const { sdkAppId, userId, userSig, mode, videoCodec } = values;
  if (typeof sdkAppId !== 'number' || !Number.isInteger(sdkAppId) || sdkAppId <= 0) {
    throw invalidParameter(`createClient: sdkAppId must be a positive integer of type number, not ${shown(sdkAppId)}`);
  }
  if (typeof userId !== 'string' || userId === '') {
    throw invalidParameter(`createClient: userId must be a string that is not empty, not ${shown(userId)}`);
  }
  if (typeof userSig !== 'string') {
    throw invalidParameter(`createClient: userSig must be a string, not ${shown(userSig)}`);
  }
  if (mode === 'live') throw invalidOperation("createClient: mode 'live' is not available in this version; use 'rtc'");
  if (mode !== undefined && mode !== 'rtc') {
    throw invalidParameter(`createClient: mode must be 'rtc' or 'live', not ${shown(mode)}`);
  }
  if (videoCodec !== undefined && !VIDEO_CODECS.includes(videoCodec)) {
    throw invalidParameter(`createClient: videoCodec must be one of ${VIDEO_CODECS.join(', ')}, not ${shown(videoCodec)}`);
  }
  const types = { useStringRoomId: 'boolean', autoSubscribe: 'boolean', enableAutoPlayDialog: 'boolean' };
  optional(values, types, 'createClient');
  return values as unknown as ClientConfig;
}

/** Checks what `join` was given. */
export function joinOptions(options: unknown, useStringRoomId: boolean): JoinOptions {
  const values = object(options, 'join: options');
  const { roomId, role } = values;
  if (useStringRoomId) {
    if (!isRoomName(roomId)) {
      throw invalidParameter(
        `join: roomId must be a string of 1 to ${MAX_ROOM_NAME_BYTES} letters, digits, spaces and ` +
          `${ROOM_NAME_PUNCTUATION.trim()} (this client uses string rooms), not ${shown(roomId)}`,
      );
    }
  } else if (typeof roomId !== 'number' || !Number.isInteger(roomId) || roomId < 1 || roomId > MAX_ROOM_NUMBER) {
    const hint = typeof roomId === 'string' ? '; for string rooms create the client with useStringRoomId: true' : '';
    throw invalidParameter(`join: roomId must be an integer from 1 to ${MAX_ROOM_NUMBER}, not ${shown(roomId)}${hint}`);
  }
  if (role !== undefined && role !== 'anchor' && role !== 'audience') {
    throw invalidParameter(`join: role must be 'anchor' or 'audience', not ${shown(role)}`);
  }
  optional(values, { privateMapKey: 'string' }, 'join');
  return values as unknown as JoinOptions;
}

/** Checks what `createStream` was given. */
export function streamConfig(config: unknown): StreamConfig {
  const values = object(config, 'createStream: config');
  const { audio, video, screen, screenAudio, audioSource, videoSource, cameraId, facingMode } = values;
  const types = {
    userId: 'string',
    audio: 'boolean',
    video: 'boolean',
    screen: 'boolean',
    screenAudio: 'boolean',
    microphoneId: 'string',
    cameraId: 'string',
    mirror: 'boolean',
  };
  optional(values, types, 'createStream');
  track(audioSource, 'audio', 'createStream: audioSource');
  track(videoSource, 'video', 'createStream: videoSource');
  if (audio && screenAudio) throw invalidParameter('createStream: audio and screenAudio cannot both be true');
  if (video && screen) throw invalidParameter('createStream: video and screen cannot be in one stream');
  if ((audio ?? screenAudio) && audioSource) {
    throw invalidParameter('createStream: audio is captured or comes from audioSource, not both');
  }
  if ((video ?? screen) && videoSource) {
    throw invalidParameter('createStream: video is captured or comes from videoSource, not both');
  }
  if (cameraId && facingMode) throw invalidParameter('createStream: give cameraId or facingMode, not both');
  if (facingMode !== undefined && facingMode !== 'user' && facingMode !== 'environment') {
    throw invalidParameter(`createStream: facingMode must be 'user' or 'environment', not ${shown(facingMode)}`);
  }
  return values;
}

function track(value: unknown, kind: 'audio' | 'video', what: string): void {
  if (value === undefined || value === null) return;
  if (typeof value !== 'object' || (value as MediaStreamTrack).kind !== kind) {
    throw invalidParameter(`${what} must be a MediaStreamTrack of kind ${kind}, not ${shown(value)}`);
  }
}

/** Which tracks `subscribe` asks for; both unless said otherwise. */
export function subscribeOptions(options: unknown): { audio: boolean; video: boolean } {
  if (options === undefined || options === null) return { audio: true, video: true };
  const values = object(options, 'subscribe: options');
  optional(values, { audio: 'boolean', video: 'boolean' }, 'subscribe');
  return { audio: values.audio !== false, video: values.video !== false };
}

/** Checks what `setSmallStreamProfile` was given. */
export function smallStreamProfile(profile: unknown): SmallStreamProfile {
  const values = object(profile, 'setSmallStreamProfile: profile');
  const number = (key: keyof SmallStreamProfile): number => {
    const value = values[key];
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw invalidParameter(`setSmallStreamProfile: ${key} must be a number above 0, not ${shown(value)}`);
  };
  return { width: number('width'), height: number('height'), bitrate: number('bitrate'), frameRate: number('frameRate') };
}

/** Checks the type that `setRemoteVideoStreamType` was given. */
export function videoType(type: unknown): VideoType {
  if (type === 'big' || type === 'small') return type;
  throw invalidParameter(`setRemoteVideoStreamType: the type must be 'big' or 'small', not ${shown(type)}`);
}

/** Checks what `enableAudioVolumeEvaluation` was given. */
export function evaluation(interval: unknown, inBackground: unknown): Evaluation {
  if (typeof interval !== 'number' || Number.isNaN(interval)) {
    throw invalidParameter(`enableAudioVolumeEvaluation: interval must be a number, not ${shown(interval)}`);
  }
  if (typeof inBackground !== 'boolean') {
    throw invalidParameter(`enableAudioVolumeEvaluation: enableInBackground must be a boolean, not ${shown(inBackground)}`);
  }
  return { interval: interval > 0 ? Math.min(LONGEST_INTERVAL, Math.ceil(interval)) : 0, inBackground };
}

export function eventHandler(event: unknown, handler: unknown): void {
  if (typeof event !== 'string') throw invalidParameter(`on: the event must be a string, not ${shown(event)}`);
  if (typeof handler !== 'function') {
    throw invalidParameter(`on: the handler of '${event}' must be a function, not ${shown(handler)}`);
  }
}
