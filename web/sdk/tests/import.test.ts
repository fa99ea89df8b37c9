import { expect, test } from 'vitest';

test('the module can be imported where there is no window', async () => {
  expect(typeof window).toBe('undefined');
  const { default: TRTC } = await import('../src/index.js');
  expect(TRTC.VERSION).toMatch(/^\d+\.\d+\.\d+$/);
});
