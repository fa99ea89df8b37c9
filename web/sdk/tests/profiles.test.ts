import { expect, test } from 'vitest';
import {
  DEFAULT_SCREEN_PROFILE,
  DEFAULT_VIDEO_PROFILE,
  resolveAudioProfile,
  resolveVideoProfile,
  SCREEN_PROFILES,
  VIDEO_PROFILES,
} from '../src/profiles.js';

const video = (asked: unknown): unknown => resolveVideoProfile(asked, VIDEO_PROFILES, DEFAULT_VIDEO_PROFILE);

test('a name gives its profile', () => {
  expect(video('720p')).toEqual({ width: 1280, height: 720, frameRate: 15, bitrate: 1500 });
  expect(resolveVideoProfile('1080p_2', SCREEN_PROFILES, DEFAULT_SCREEN_PROFILE).bitrate).toBe(4000);
});

test('what is unknown gives the default instead of an exception', () => {
  for (const asked of ['640p', 'toString', undefined, null, 7]) expect(video(asked)).toBe(VIDEO_PROFILES['480p_2']);
  expect(resolveAudioProfile('loud')).toEqual({ sampleRate: 48000, channelCount: 1, bitrate: 40 });
});

test('a custom profile is completed from the default', () => {
  expect(video({ width: 800, height: 600, bitrate: -1 })).toEqual({ width: 800, height: 600, frameRate: 15, bitrate: 500 });
});
