/** Seconds before each further attempt: 0, 1, 2, 4, 8, 16 and then 30. */
export function backoffSeconds(attempt: number): number {
  return attempt === 0 ? 0 : Math.min(2 ** (attempt - 1), 30);
}

/** The delay before attempt number `attempt` in milliseconds, with a jitter of a fifth up or down. */
export function backoffDelay(attempt: number, random: () => number = Math.random): number {
  return backoffSeconds(attempt) * 1000 * (0.8 + 0.4 * random());
}
