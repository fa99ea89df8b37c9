import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { AudioVolumeInfo, RemoteStream } from '../src/types.js';
import { evaluation } from '../src/validate.js';
import { Volumes, type Sounding } from '../src/volumes.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A room with ann and bob in it, and what the app was told. */
function room(): { volumes: Volumes; told: AudioVolumeInfo[]; asked: number[]; page: { hidden: boolean }; last: () => unknown } {
  const told: AudioVolumeInfo[] = [];
  const asked: number[] = [];
  const page = { hidden: false };
  const streams: Sounding[] = ['ann', 'bob'].map((userId) => ({
    userId,
    streamType: 'main',
    stream: { name: userId } as unknown as RemoteStream,
  }));
  const volumes = new Volumes({
    streams: () => streams,
    emit: (info) => told.push(info),
    ask: (interval) => asked.push(interval),
    isHidden: () => page.hidden,
  });
  const last = (): unknown => {
    const { result, speakers } = told.at(-1) ?? { result: [], speakers: [] };
    return [...result.map(({ userId, audioVolume }) => `${userId} ${audioVolume}`), ...speakers];
  };
  return { volumes, told, asked, page, last };
}

test('the app is told as often as it asked, whether or not anybody speaks, the loudest first', () => {
  const { volumes, told, asked, last } = room();
  volumes.set({ interval: 200, inBackground: false });
  expect(asked).toEqual([200]);
  vi.advanceTimersByTime(1000);
  expect(told).toHaveLength(5);
  expect(last()).toEqual(['ann 0', 'bob 0']);
  volumes.told({ type: 'volumes', volumes: [{ userId: 'bob', volume: 41 }], speakers: ['bob'] });
  expect(told).toHaveLength(5);
  vi.advanceTimersByTime(200);
  expect(last()).toEqual(['bob 41', 'ann 0', 'bob']);
  volumes.told({ type: 'volumes', volumes: [{ userId: 'ann', volume: 50 }] });
  vi.advanceTimersByTime(200);
  expect(last()).toEqual(['ann 50', 'bob 41', 'bob']);
  volumes.told({ type: 'volumes', volumes: [{ userId: 'bob', volume: 0 }], speakers: [] });
  vi.advanceTimersByTime(200);
  expect(last()).toEqual(['ann 50', 'bob 0']);
  volumes.told({ type: 'volumes', volumes: [{ userId: 'bob', volume: 7 }], whole: true });
  vi.advanceTimersByTime(200);
  expect(last()).toEqual(['bob 7', 'ann 0']);
});

test('a screen is louder than nobody: volumes are those of a stream, not of its user', () => {
  const { volumes, last } = room();
  volumes.set({ interval: 100, inBackground: false });
  volumes.told({ type: 'volumes', volumes: [{ userId: 'ann', streamType: 'auxiliary', volume: 90 }] });
  vi.advanceTimersByTime(100);
  expect(last()).toEqual(['ann 0', 'bob 0']);
});

test('a hidden page is told nothing, or as often as the network lets it', () => {
  const { volumes, told, page } = room();
  page.hidden = true;
  volumes.set({ interval: 500, inBackground: false });
  vi.advanceTimersByTime(5000);
  volumes.told({ type: 'volumes', volumes: [] });
  expect(told).toHaveLength(0);
  volumes.set({ interval: 500, inBackground: true });
  vi.advanceTimersByTime(1000);
  expect(told).toHaveLength(2);
  // The browser's timers rest from here on.
  const now = Date.now();
  for (let at = 100; at <= 2000; at += 100) {
    vi.setSystemTime(now + at);
    volumes.told({ type: 'volumes', volumes: [] });
  }
  expect(told).toHaveLength(2 + 4);
});

test('nothing is told after the end, and the server is asked anew where it may not know', () => {
  const { volumes, told, asked } = room();
  volumes.renew();
  expect(asked).toEqual([]);
  volumes.set({ interval: 30, inBackground: false });
  volumes.set({ interval: 100, inBackground: true });
  volumes.renew();
  expect(asked).toEqual([100, 100]);
  volumes.set({ interval: 0, inBackground: false });
  volumes.renew();
  expect(asked).toEqual([100, 100, 0, 0]);
  vi.advanceTimersByTime(1000);
  expect(told).toHaveLength(0);
  volumes.set({ interval: 100, inBackground: false });
  volumes.close();
  vi.advanceTimersByTime(1000);
  expect(told).toHaveLength(0);
});

test('what v4 apps pass as an interval is taken, and what is none is refused', () => {
  expect(evaluation(30, false)).toEqual({ interval: 30, inBackground: false });
  expect(evaluation(-1, false).interval).toBe(0);
  expect(evaluation(0, true)).toEqual({ interval: 0, inBackground: true });
  expect(evaluation(Infinity, false).interval).toBe(86_400_000);
  expect(() => evaluation(NaN, false)).toThrow('INVALID_PARAMETER');
  expect(() => evaluation('200', false)).toThrow('INVALID_PARAMETER');
  expect(() => evaluation(200, 1)).toThrow('INVALID_PARAMETER');
});
