import { invalidParameter } from './errors.js';
import {
  MAX_ROOM_NAME_BYTES,
  MAX_ROOM_NUMBER,
  ROOM_NAME_CHARACTERS,
  ROOM_NAME_PUNCTUATION,
} from './generated/messages.js';
import type { SeiMessage } from './sei/nal.js';
import { LONGEST_MESSAGE } from './sei/sei.js';
import type { ClientConfig, JoinOptions, RemoteStreamType, Role, SmallStreamProfile, StreamConfig, VideoType } from './types.js';
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
  // Apps of old call it 'videoCall'.
  if (mode !== undefined && mode !== 'rtc' && mode !== 'live' && mode !== 'videoCall') {
    throw invalidParameter(`createClient: mode must be 'rtc' or 'live', not ${shown(mode)}`);
  }
  if (videoCodec !== undefined && !VIDEO_CODECS.includes(videoCodec)) {
    throw invalidParameter(`createClient: videoCodec must be one of ${VIDEO_CODECS.join(', ')}, not ${shown(videoCodec)}`);
  }
  const types = { useStringRoomId: 'boolean', autoSubscribe: 'boolean', enableAutoPlayDialog: 'boolean', enableSEI: 'boolean' };
  optional(values, types, 'createClient');
  return { ...values, mode: mode === 'live' ? 'live' : 'rtc' } as unknown as ClientConfig;
}

const ROLES = ['anchor', 'audience'] as const;

/** The value, if it is one of the two. */
function oneOf<T extends string>(value: unknown, [one, other]: readonly [T, T], what: string): T {
  if (value === one || value === other) return value as T;
  throw invalidParameter(`${what} must be '${one}' or '${other}', not ${shown(value)}`);
}

/** Checks the role that `switchRole` was given. */
export function roleOf(role: unknown): Role {
  return oneOf(role, ROLES, 'switchRole: the role');
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
  if (role !== undefined) oneOf(role, ROLES, 'join: role');
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
  if (facingMode !== undefined) oneOf(facingMode, ['user', 'environment'], 'createStream: facingMode');
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

/** What `setTurnServer` was given, as browsers take it. A `host:port` alone is tried over UDP and over TCP. */
export function turnServers(given: unknown): RTCIceServer[] {
  const list: unknown[] = Array.isArray(given) ? given : [given];
  return list.map((one) => {
    const values = object(one, 'setTurnServer: each server');
    const { url, username, credential, credentialType } = values;
    if (typeof url !== 'string' || url === '') {
      throw invalidParameter(`setTurnServer: url must be a string such as 'turn.example.org:3478', not ${shown(url)}`);
    }
    optional(values, { username: 'string', credential: 'string' }, 'setTurnServer');
    if (credentialType !== undefined && credentialType !== 'password') {
      throw invalidParameter(`setTurnServer: credentialType must be 'password', not ${shown(credentialType)}`);
    }
    const urls = /^(turns?|stuns?):/.test(url) ? [url] : [`turn:${url}?transport=udp`, `turn:${url}?transport=tcp`];
    if (urls[0]?.startsWith('turn') && (!username || !credential)) {
      throw invalidParameter('setTurnServer: a TURN server needs a username and a credential');
    }
    return { urls, ...(username ? { username: username as string } : {}), ...(credential ? { credential: credential as string } : {}) };
  });
}

/** Checks what `callExperimentalAPI` was given; the key in it. */
export function privateMapKeyOf(name: unknown, options: unknown): string {
  if (name !== 'updatePrivateMapKey') {
    throw invalidParameter(`callExperimentalAPI: there is 'updatePrivateMapKey' and no ${shown(name)}`);
  }
  const { privateMapKey } = object(options, 'callExperimentalAPI: options');
  if (typeof privateMapKey === 'string') return privateMapKey;
  throw invalidParameter(`callExperimentalAPI: privateMapKey must be a string, not ${shown(privateMapKey)}`);
}

/** A number that may be written as a text, or wrapped; anything else as it is. */
function numeric(value: unknown): unknown {
  const isWritten = value instanceof Number || (typeof value === 'string' && value.trim() !== '');
  return isWritten ? Number(value) : value;
}

/** The bytes of a buffer, of this page's or of a frame's in it, or of a view of one; undefined for anything else. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const isBuffer = Object.prototype.toString.call(value) === '[object ArrayBuffer]';
  return isBuffer ? new Uint8Array(value as ArrayBuffer) : undefined;
}

/** Checks what `sendSEIMessage` was given; the message with a copy of the data. */
export function seiMessage(buffer: unknown, options: unknown): SeiMessage {
  const { seiPayloadType: type = 243 } = object(options, 'sendSEIMessage: options');
  if (type !== 5 && type !== 243) throw invalidParameter(`sendSEIMessage: seiPayloadType must be 5 or 243, not ${shown(type)}`);
  const bytes = bytesOf(buffer);
  if (!bytes) throw invalidParameter(`sendSEIMessage: the message must be an ArrayBuffer, not ${shown(buffer)}`);
  const least = type === 5 ? 16 : 1;
  if (bytes.length < least || bytes.length > LONGEST_MESSAGE) {
    throw invalidParameter(`sendSEIMessage: a message has ${least} to ${LONGEST_MESSAGE} bytes, not ${bytes.length}`);
  }
  return { type, data: bytes.slice() };
}

/** How loud a stream is to be played; apps pass it as a text, too. */
export function volume(value: unknown): number {
  const number = numeric(value);
  if (typeof number !== 'number' || Number.isNaN(number)) {
    throw invalidParameter(`setAudioVolume: the volume must be a number from 0 to 1, not ${shown(value)}`);
  }
  return Math.min(1, Math.max(0, number));
}

/** How loud a microphone is to be sent, in percent; apps pass it as a text, too. */
export function captureVolume(value: unknown): number {
  const number = numeric(value);
  if (typeof number === 'number' && Number.isFinite(number) && number >= 0) return number;
  throw invalidParameter(`setAudioCaptureVolume: the volume must be a number from 0 on, 100 for as it is captured, not ${shown(value)}`);
}

/** Checks the type that `getRemoteVideoStats` was given. */
export function remoteStreamType(type: unknown): RemoteStreamType {
  return oneOf(type, ['main', 'auxiliary'], 'getRemoteVideoStats: the type');
}

/** Checks the type that `setRemoteVideoStreamType` was given. */
export function videoType(type: unknown): VideoType {
  return oneOf(type, ['big', 'small'], 'setRemoteVideoStreamType: the type');
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
