import { invalidParameter } from './errors.js';
import { sameShape, type VideoProfile } from './profiles.js';
import type { LocalStream } from './streams/local-stream.js';

/** Refuses a small stream that does not have the shape of the big one, as profiles say it or as it is captured. */
export function checkShape(stream: LocalStream, small: VideoProfile | null, call: string): void {
  const track = stream.getVideoTrack();
  if (!small || !track) return;
  const { width = 0, height = 0 } = track.getSettings();
  const { bigProfile } = stream;
  if (sameShape(small, bigProfile) || (width > 0 && height > 0 && sameShape(small, { width, height }))) return;
  throw invalidParameter(
    `${call}: the small stream's ${small.width}x${small.height} does not have the shape of the big one's ` +
      `${bigProfile.width}x${bigProfile.height}; setSmallStreamProfile() takes a size of the same ratio`,
  );
}
