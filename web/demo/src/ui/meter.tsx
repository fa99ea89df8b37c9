import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { watchLevel } from '../level';

/** A bar as long as the microphone is loud. It moves without a render. */
export function Meter({ track }: { track: MediaStreamTrack | null }): JSX.Element {
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = bar.current;
    if (track === null || element === null) return undefined;
    const stop = watchLevel(track, (level) => {
      element.style.setProperty('--level', level.toFixed(3));
      element.setAttribute('aria-valuenow', String(Math.round(level * 100)));
    });
    return () => {
      stop();
      element.style.setProperty('--level', '0');
    };
  }, [track]);
  return (
    <div ref={bar} class="meter" role="meter" aria-label="Loudness of your microphone" aria-valuemin={0} aria-valuemax={100} aria-valuenow={0} />
  );
}
