import { expect, test } from 'vitest';
import type { RtcError } from '../src/errors.js';
import TRTC from '../src/index.js';
import { captureVolume, joinOptions, streamConfig, subscribeOptions, turnServers, volume } from '../src/validate.js';
import { thrownBy } from './helpers.js';

const config = { sdkAppId: 1400000000, userId: 'ada', userSig: 'x' };

function codeOf(call: () => unknown): number {
  return (thrownBy(call) as RtcError).getCode();
}

test.each([
  ['no object', undefined],
  ['sdkAppId as text', { ...config, sdkAppId: '1400000000' }],
  ['sdkAppId of zero', { ...config, sdkAppId: 0 }],
  ['userId missing', { ...config, userId: undefined }],
  ['userId empty', { ...config, userId: '' }],
  ['userSig as number', { ...config, userSig: 5 }],
  ['unknown mode', { ...config, mode: 'party' }],
  ['unknown codec', { ...config, videoCodec: 'mpeg' }],
  ['autoSubscribe as text', { ...config, autoSubscribe: 'yes' }],
])('createClient refuses %s', (_, wrong) => {
  const error = thrownBy(() => TRTC.createClient(wrong as never)) as RtcError;
  expect(error.getCode()).toBe(0x1000);
  expect(error.message).toMatch(/^createClient: .* <INVALID_PARAMETER 0x1000>$/);
});

test('the modes are rtc and live, and rtc under the name that it once had', () => {
  for (const mode of ['rtc', 'live', 'videoCall', undefined]) expect(TRTC.createClient({ ...config, mode } as never).getUserId()).toBe('ada');
});

test('an empty userSig is left to the server, which has a code for it', () => {
  expect(TRTC.createClient({ ...config, userSig: '', mode: 'rtc' }).getUserId()).toBe('ada');
});

test.each([1, 4294967294])('room %d may be joined', (roomId) => {
  expect(joinOptions({ roomId }, false).roomId).toBe(roomId);
});

test.each([0, 4294967295, 1.5, -1, NaN, '7', undefined])('room %j is refused in the numeric space', (roomId) => {
  expect(codeOf(() => joinOptions({ roomId }, false))).toBe(0x1000);
});

test('a text where a number is due is answered with the option that helps', () => {
  expect((thrownBy(() => joinOptions({ roomId: 'tea' }, false)) as RtcError).message).toContain('useStringRoomId');
});

test('string rooms take the documented characters, 64 of them at most', () => {
  const all = ' !#$%&()+-:;<=.>?@[]^_{}|~,aZ09';
  expect(joinOptions({ roomId: all }, true).roomId).toBe(all);
  expect(joinOptions({ roomId: 'x'.repeat(64) }, true).roomId).toHaveLength(64);
  for (const wrong of ['', 'x'.repeat(65), 'a/b', 'a"b', 'ä', 7, undefined]) {
    expect(codeOf(() => joinOptions({ roomId: wrong }, true))).toBe(0x1000);
  }
});

test('roles have two names', () => {
  expect(joinOptions({ roomId: 1, role: 'audience' }, false).role).toBe('audience');
  expect(codeOf(() => joinOptions({ roomId: 1, role: 'owner' }, false))).toBe(0x1000);
});

test.each([
  ['audio and screenAudio', { audio: true, screenAudio: true }],
  ['camera and screen', { video: true, screen: true }],
  ['cameraId and facingMode', { video: true, cameraId: 'a', facingMode: 'user' }],
  ['an unknown facingMode', { video: true, facingMode: 'left' }],
  ['a videoSource of the wrong kind', { videoSource: { kind: 'audio' } }],
  ['two sources of audio', { audio: true, audioSource: { kind: 'audio' } }],
  ['audio as text', { audio: 'yes' }],
])('createStream refuses %s', (_, wrong) => {
  expect(codeOf(() => streamConfig(wrong))).toBe(0x1000);
});

test('a stream takes tracks of the right kind', () => {
  expect(streamConfig({ audio: true, videoSource: { kind: 'video' } })).toHaveProperty('audio', true);
});

test('subscribe asks for both unless told otherwise', () => {
  expect(subscribeOptions(undefined)).toEqual({ audio: true, video: true });
  expect(subscribeOptions({ video: false })).toEqual({ audio: true, video: false });
  expect(codeOf(() => subscribeOptions({ video: 1 }))).toBe(0x1000);
});

test('events and handlers are checked when they are registered', () => {
  const client = TRTC.createClient(config);
  expect(codeOf(() => client.on('peer-join', undefined as never))).toBe(0x1000);
  expect(codeOf(() => client.on(7 as never, () => undefined))).toBe(0x1000);
});

test('setLogLevel takes the six levels', () => {
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  expect(codeOf(() => TRTC.Logger.setLogLevel(6 as never))).toBe(0x1000);
});

test('TURN servers are taken as v4 and as browsers write them', () => {
  const login = { username: 'ada', credential: 'secret' };
  expect(turnServers({ url: '192.0.2.7:3478', ...login, credentialType: 'password' })).toEqual([
    { urls: ['turn:192.0.2.7:3478?transport=udp', 'turn:192.0.2.7:3478?transport=tcp'], ...login },
  ]);
  expect(turnServers([{ url: 'turns:turn.example.org:443', ...login }, { url: 'stun:stun.example.org' }])).toEqual([
    { urls: ['turns:turn.example.org:443'], ...login },
    { urls: ['stun:stun.example.org'] },
  ]);
  for (const wrong of [null, 'x', {}, { url: '' }, { url: 5 }, { url: 'a:1' }, { url: 'a:1', username: 5, credential: 'x' }, [{ url: 'a:1', ...login, credentialType: 'oauth' }]]) {
    expect(() => turnServers(wrong)).toThrow(/setTurnServer: .*0x1000/);
  }
});

test('volumes are taken as numbers and texts, and cut to what there is', () => {
  expect([0, 0.5, '0.25', 7, -1, Infinity].map(volume)).toEqual([0, 0.5, 0.25, 1, 0, 1]);
  for (const wrong of [undefined, null, '', 'loud', NaN, {}]) expect(() => volume(wrong)).toThrow(/setAudioVolume: .*0x1000/);
});

test('how loud a microphone is sent is in percent, above 100 too, and may be written as a text', () => {
  expect([0, 100, 250.5, '80', Object(7)].map(captureVolume)).toEqual([0, 100, 250.5, 80, 7]);
  for (const wrong of [undefined, null, '', 'loud', NaN, Infinity, -1, {}]) {
    expect(() => captureVolume(wrong)).toThrow(/setAudioCaptureVolume: .*0x1000/);
  }
});
