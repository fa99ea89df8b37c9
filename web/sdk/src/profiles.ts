/** A size, a rate in frames a second and a bitrate in kbit/s. */
export interface VideoProfile {
  width: number;
  height: number;
  frameRate: number;
  bitrate: number;
}

export interface AudioProfile {
  sampleRate: number;
  channelCount: number;
  bitrate: number;
}

const video = (width: number, height: number, frameRate: number, bitrate: number): VideoProfile => ({
  width,
  height,
  frameRate,
  bitrate,
});

export const DEFAULT_VIDEO_PROFILE = video(640, 480, 15, 500);

export const VIDEO_PROFILES: Readonly<Record<string, VideoProfile>> = {
  '120p': video(160, 120, 15, 200),
  '120p_2': video(160, 120, 15, 100),
  '180p': video(320, 180, 15, 350),
  '180p_2': video(320, 180, 15, 150),
  '240p': video(320, 240, 15, 400),
  '240p_2': video(320, 240, 15, 200),
  '360p': video(640, 360, 15, 800),
  '360p_2': video(640, 360, 15, 400),
  '480p': video(640, 480, 15, 900),
  '480p_2': DEFAULT_VIDEO_PROFILE,
  '720p': video(1280, 720, 15, 1500),
  '1080p': video(1920, 1080, 15, 2000),
  '1440p': video(2560, 1440, 30, 4860),
  '4K': video(3840, 2160, 30, 9000),
};

export const DEFAULT_SCREEN_PROFILE = video(1920, 1080, 5, 1600);

export const SCREEN_PROFILES: Readonly<Record<string, VideoProfile>> = {
  '480p': video(640, 480, 5, 900),
  '480p_2': video(640, 480, 30, 1000),
  '720p': video(1280, 720, 5, 1200),
  '720p_2': video(1280, 720, 30, 3000),
  '1080p': DEFAULT_SCREEN_PROFILE,
  '1080p_2': video(1920, 1080, 30, 4000),
};

/** Of a small stream: its longer side, its rate at most, and its bitrate at most. */
const SMALL_SIDE = 160;
const SMALL_RATE = 15;
const SMALL_BITRATE = 100;
/** By how much two shapes may differ and count as the same: sizes are whole numbers. */
const SAME_SHAPE = 0.02;

const even = (length: number): number => Math.max(2, 2 * Math.round(length / 2));

/** The small stream beside a big one, if the app names none: of its shape, 160 pixels on the longer side, at most half as many. */
export function smallProfile(big: VideoProfile): VideoProfile {
  const scale = Math.min(SMALL_SIDE / Math.max(big.width, big.height), 1 / 2);
  const [width, height] = [even(big.width * scale), even(big.height * scale)];
  return video(width, height, Math.min(SMALL_RATE, big.frameRate), Math.min(SMALL_BITRATE, big.bitrate));
}

/** Whether two pictures have the same ratio of width to height. */
export function sameShape(one: { width: number; height: number }, other: { width: number; height: number }): boolean {
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1) <= SAME_SHAPE;
}

const audio = (channelCount: number, bitrate: number): AudioProfile => ({ sampleRate: 48000, channelCount, bitrate });

export const DEFAULT_AUDIO_PROFILE = audio(1, 40);

export const AUDIO_PROFILES: Readonly<Record<string, AudioProfile>> = {
  standard: DEFAULT_AUDIO_PROFILE,
  high: audio(1, 128),
  'standard-stereo': audio(2, 64),
  'high-stereo': audio(2, 192),
};

/**
 * The profile of a name, or a custom one completed from the default. Unknown names give the default: apps in the
 * wild ask for names that never existed and expect a picture all the same.
 */
export function resolveVideoProfile(
  asked: unknown,
  table: Readonly<Record<string, VideoProfile>>,
  fallback: VideoProfile,
): VideoProfile {
  if (typeof asked === 'string') return named(table, asked) ?? fallback;
  if (typeof asked !== 'object' || asked === null) return fallback;
  const custom = asked as Record<string, unknown>;
  const number = (key: keyof VideoProfile): number => {
    const value = custom[key];
    return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : fallback[key];
  };
  return { width: number('width'), height: number('height'), frameRate: number('frameRate'), bitrate: number('bitrate') };
}

export function resolveAudioProfile(asked: unknown): AudioProfile {
  return named(AUDIO_PROFILES, asked) ?? DEFAULT_AUDIO_PROFILE;
}

function named<T>(table: Readonly<Record<string, T>>, asked: unknown): T | undefined {
  return Object.entries(table).find(([name]) => name === asked)?.[1];
}
