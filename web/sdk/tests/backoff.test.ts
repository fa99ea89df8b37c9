import { expect, test } from 'vitest';
import { backoffDelay, backoffSeconds } from '../src/backoff.js';

test('attempts come after 0, 1, 2, 4, 8, 16 and then every 30 seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7, 20].map(backoffSeconds)).toEqual([0, 1, 2, 4, 8, 16, 30, 30, 30]);
});

test('jitter spreads a delay by a fifth to both sides and leaves the first attempt at once', () => {
  expect(backoffDelay(3, () => 0)).toBeCloseTo(3200);
  expect(backoffDelay(3, () => 0.5)).toBeCloseTo(4000);
  expect(backoffDelay(3, () => 1)).toBeCloseTo(4800);
  expect(backoffDelay(0, () => 1)).toBe(0);
});
