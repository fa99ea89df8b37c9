import type { JSX } from 'preact';
import type { Quality } from '../call';

const WORDS = ['not known yet', 'excellent', 'good', 'fair', 'poor', 'very poor', 'lost'];
const BARS = [1, 2, 3, 4];

/** Four bars for the worse of both directions, and words for those who do not see them. */
export function QualityMark({ quality }: { quality: Quality }): JSX.Element {
  const worse = Math.max(quality.up, quality.down);
  const [up, down] = [WORDS[quality.up], WORDS[quality.down]];
  // 1 is all bars, 5 is one, and nothing known or nothing there is none.
  const lit = worse === 0 ? 0 : Math.max(0, Math.min(4, 6 - worse));
  const told = `Your connection: sending ${up ?? ''}, receiving ${down ?? ''}`;
  return (
    <p class={`quality grade-${String(worse)}`} role="img" aria-label={told} title={told}>
      {BARS.map((bar) => (
        <span key={bar} class={`bar${bar <= lit ? ' lit' : ''}`} style={{ height: `${String(25 * bar)}%` }} />
      ))}
    </p>
  );
}
