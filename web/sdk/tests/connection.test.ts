import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import TRTC from '../src/index.js';
import { connected, Recovery, watch } from '../src/media/connection.js';
import { rejectedBy } from './helpers.js';

/** The part of a peer connection that is watched: a state and the event of its change. */
class Connection extends EventTarget {
  connectionState: RTCPeerConnectionState = 'new';

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  get pc(): RTCPeerConnection {
    return this as unknown as RTCPeerConnection;
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
});

afterEach(() => {
  vi.useRealTimers();
});

test('a connection that failed is dead at once, and only once', () => {
  const connection = new Connection();
  const dead = vi.fn();
  watch(connection.pc, dead);
  connection.become('connected');
  connection.become('failed');
  connection.become('failed');
  expect(dead.mock.calls).toEqual([['ICE/DTLS Transport connection failed']]);
});

test('a connection that does not come about in ten seconds is dead', () => {
  const connection = new Connection();
  const dead = vi.fn();
  watch(connection.pc, dead);
  vi.advanceTimersByTime(9_999);
  expect(dead).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(dead.mock.calls).toEqual([['DTLS Transport connection timeout (10s)']]);
});

test('a short interruption is waited out, a long one is not', () => {
  const connection = new Connection();
  const dead = vi.fn();
  watch(connection.pc, dead);
  connection.become('connected');
  connection.become('disconnected');
  vi.advanceTimersByTime(4_000);
  connection.become('connected');
  vi.advanceTimersByTime(60_000);
  expect(dead).not.toHaveBeenCalled();
  connection.become('disconnected');
  vi.advanceTimersByTime(5_000);
  expect(dead).toHaveBeenCalledOnce();
});

test('a connection that was closed on purpose is not dead', () => {
  const connection = new Connection();
  const dead = vi.fn();
  watch(connection.pc, dead);
  connection.become('closed');
  vi.advanceTimersByTime(60_000);
  expect(dead).not.toHaveBeenCalled();
});

test('connected() tells of success, of failure and of silence', async () => {
  const good = new Connection();
  const done = connected(good.pc);
  good.become('connected');
  await done;

  const bad = new Connection();
  const failed = rejectedBy(connected(bad.pc));
  bad.become('failed');
  expect((await failed) as Error).toHaveProperty('message', 'ICE/DTLS Transport connection failed');

  const silent = rejectedBy(connected(new Connection().pc));
  vi.advanceTimersByTime(10_000);
  expect((await silent) as Error).toHaveProperty('message', 'DTLS Transport connection timeout (10s)');
});

test('a recovery that fails five times gives up with the last reason', async () => {
  const at: number[] = [];
  const started = Date.now();
  const giveUp = vi.fn();
  const recovery = new Recovery(
    'uplink',
    () => {
      at.push(Math.round((Date.now() - started) / 1000));
      return Promise.reject(new Error(`attempt ${at.length}`));
    },
    giveUp,
  );
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  recovery.start('gone');
  recovery.start('gone twice');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(at).toEqual([0, 1, 3, 7, 15]);
  expect(giveUp.mock.calls).toEqual([['attempt 5']]);
});

test('a recovery that was stopped neither tries nor gives up', async () => {
  const attempt = vi.fn(() => Promise.resolve());
  const giveUp = vi.fn();
  const recovery = new Recovery('downlink', attempt, giveUp);
  recovery.start('gone');
  recovery.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(attempt).not.toHaveBeenCalled();
  expect(giveUp).not.toHaveBeenCalled();
});
