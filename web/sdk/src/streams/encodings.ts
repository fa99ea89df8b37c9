/** What the encoders of a stream are held to. */

import type { AudioProfile, VideoProfile } from '../profiles.js';

export function audioEncoding(profile: AudioProfile): RTCRtpEncodingParameters {
  return { maxBitrate: profile.bitrate * 1000 };
}

/** Each encoding of a picture, the biggest first; with a `small` one there are two. */
export function videoEncodings(
  profile: VideoProfile,
  small: VideoProfile | null,
  captured: MediaTrackSettings | undefined,
): RTCRtpEncodingParameters[] {
  const big = { maxBitrate: profile.bitrate * 1000, maxFramerate: profile.frameRate };
  if (!small) return [big];
  const { width = 0, height = 0 } = captured ?? {};
  const size = width && height ? { width, height } : profile;
  // By the longer side: a phone that is turned sends what it captures turned as well.
  const scale = Math.max(size.width, size.height) / Math.max(small.width, small.height);
  return [
    { ...big, rid: 'big', scaleResolutionDownBy: 1 },
    {
      rid: 'small',
      maxBitrate: small.bitrate * 1000,
      maxFramerate: small.frameRate,
      scaleResolutionDownBy: Math.max(1, scale),
    },
  ];
}
