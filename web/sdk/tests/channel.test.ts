import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ClientCloseCode } from '../src/generated/messages.js';
import { Channel, type ChannelClosed } from '../src/signaling/channel.js';

/** A socket whose other side a test plays. */
class Socket {
  static last: Socket;
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  readonly sent: { id: number; type: string }[] = [];
  closedWith: number | undefined;

  constructor() {
    Socket.last = this;
    queueMicrotask(() => this.onopen?.());
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as { id: number; type: string });
  }

  close(code: number): void {
    this.closedWith = code;
  }

  /** Answers the last ping. */
  answer(): void {
    this.onmessage?.({ data: JSON.stringify({ id: this.sent.at(-1)?.id, ok: {} }) });
  }
}

let closed: ChannelClosed[] = [];

async function opened(): Promise<{ channel: Channel; socket: Socket }> {
  const channel = await Channel.open('ws://127.0.0.1:1', 1_000);
  channel.listen({ event: () => undefined, closed: (why) => closed.push(why) });
  channel.keepAlive(10);
  return { channel, socket: Socket.last };
}

beforeEach(() => {
  closed = [];
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', Socket);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** As on a page whose timers come late: the clock goes on by this much, and then one timer fires. */
function late(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
  vi.advanceTimersToNextTimer();
}

test('a server that answers pings is never given up, however late the timers of the page are', async () => {
  const { socket } = await opened();
  for (let minute = 0; minute < 5; minute++) {
    late(60_000);
    expect(socket.sent.at(-1)?.type).toBe('ping');
    socket.answer();
  }
  expect(closed).toEqual([]);
});

test('a timer that comes before the answer which came before it does not declare a live server dead', async () => {
  const { socket } = await opened();
  vi.advanceTimersByTime(10_000);
  // The machine sleeps right after the ping; when it wakes, the timer fires before the answer is delivered.
  late(3_600_000);
  socket.answer();
  vi.advanceTimersByTime(5_000);
  expect(closed).toEqual([]);
});

test('a server that is silent is given up, with punctual and with throttled timers, by the code of giving up', async () => {
  const punctual = await opened();
  vi.advanceTimersByTime(22_000);
  expect([closed.length, punctual.socket.closedWith]).toEqual([1, 4408]);
  const throttled = await opened();
  for (let minute = 0; minute < 4; minute++) late(60_000);
  expect([closed.length, throttled.socket.closedWith]).toEqual([2, 4408]);
});

test('leaving closes with 1000, and a probe finds a dead path out sooner than the heartbeat', async () => {
  const left = await opened();
  left.channel.close(ClientCloseCode.LEFT);
  expect(left.socket.closedWith).toBe(1000);
  const moved = await opened();
  moved.channel.probe();
  vi.advanceTimersByTime(6_000);
  expect(moved.socket.closedWith).toBe(4408);
});
