import { expect, test } from 'vitest';
import { backoffDelay, backoffSeconds } from '../src/backoff.js';

test('attempts come 0, ½, 1, 2 and 4 seconds after a loss and then every 5 seconds', () => {
  let at = 0;
  const times = [0, 1, 2, 3, 4, 5, 6, 20].map((attempt) => (at += backoffSeconds(attempt)));
  expect(times).toEqual([0, 0.5, 1, 2, 4, 9, 14, 19]);
});

test('jitter only shortens, so that no wait is longer than the longest step', () => {
  expect(backoffDelay(7, () => 0)).toBeCloseTo(3500);
  expect(backoffDelay(7, () => 0.5)).toBeCloseTo(4125);
  expect(backoffDelay(7, () => 1)).toBeCloseTo(4750);
  expect(backoffDelay(0, () => 1)).toBe(0);
});
