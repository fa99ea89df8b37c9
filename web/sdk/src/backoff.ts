/** Seconds before the first attempts, which thus come 0, ½, 1, 2 and 4 seconds after the loss; then one every 5. */
const STEPS = [0, 0.5, 0.5, 1, 2];
const LONGEST_STEP = 5;

export function backoffSeconds(attempt: number): number {
  return STEPS[attempt] ?? LONGEST_STEP;
}

/**
 * Milliseconds before attempt number `attempt`. The jitter only shortens: whatever comes back is found again within
 * the longest step, and many clients that were lost at one moment do not come back at one moment.
 */
export function backoffDelay(attempt: number, random: () => number = Math.random): number {
  return backoffSeconds(attempt) * 1000 * (0.7 + 0.25 * random());
}
