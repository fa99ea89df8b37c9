import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { VideoTypes } from '../src/video-types.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A server that answers when it is told to. */
function server(): { types: VideoTypes; sent: string[]; answer: () => void; refuse: (why: Error) => void } {
  const sent: string[] = [];
  const open: { resolve: () => void; reject: (why: Error) => void }[] = [];
  const types = new VideoTypes((key, wanted) => {
    sent.push(`${key} ${wanted}`);
    return new Promise((resolve, reject) => open.push({ resolve, reject }));
  });
  return { types, sent, answer: () => open.shift()?.resolve(), refuse: (why) => open.shift()?.reject(why) };
}

test('ten thousand wishes in one go are one request, and all who asked hear of its answer', async () => {
  const { types, sent, answer } = server();
  const asked = Array.from({ length: 10_000 }, (_, number) => types.want('ann', number % 2 ? 'small' : 'big'));
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual(['ann small']);
  answer();
  await Promise.all(asked);
  expect(sent).toHaveLength(1);
});

test('what is wanted while a request is under way goes with the next one, the last wish alone', async () => {
  const { types, sent, answer } = server();
  const first = types.want('ann', 'small');
  await vi.advanceTimersByTimeAsync(0);
  const later = [types.want('ann', 'big'), types.want('ann', 'small'), types.want('ann', 'big')];
  answer();
  await first;
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual(['ann small', 'ann big']);
  answer();
  await Promise.all(later);
});

test('a refusal is for those who asked for it, and the next wish is sent', async () => {
  const { types, sent, answer, refuse } = server();
  const refused = types.want('ann', 'small');
  const other = types.want('bob', 'small');
  await vi.advanceTimersByTimeAsync(0);
  refuse(new Error('gone'));
  await expect(refused).rejects.toThrow('gone');
  await vi.advanceTimersByTimeAsync(0);
  answer();
  await other;
  expect(sent).toEqual(['ann small', 'bob small']);
});

test('whoever asks again at each answer sends no more than the server takes', async () => {
  const { types, sent, answer } = server();
  const asks = { again: true };
  const asking = (async () => {
    for (let number = 0; asks.again; number++) await types.want('ann', number % 2 ? 'small' : 'big');
  })();
  for (let milliseconds = 0; milliseconds < 5000; milliseconds++) {
    answer();
    await vi.advanceTimersByTimeAsync(1);
  }
  expect(sent.length).toBeGreaterThan(100);
  expect(sent.length).toBeLessThan(220);
  asks.again = false;
  for (let rest = 0; rest < 200; rest++) {
    answer();
    await vi.advanceTimersByTimeAsync(1);
  }
  await asking;
});
