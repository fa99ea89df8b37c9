// Signaling against a real server in a process of its own: what a close code, a crash or a silence does is its doing.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import TRTC, { type RtcError } from '../src/index.js';
import { rejectedBy } from './helpers.js';
import { RealServer, Wire } from './real-server.js';
import { watch, type Watched } from './watched.js';

const RESUME_TIMEOUT = 12;
const LOST = 'connection-state-changed CONNECTED RECONNECTING';
const BACK = 'connection-state-changed RECONNECTING CONNECTED';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let server: RealServer;
let room = 0;
let wires: Wire[] = [];
let people: Watched[] = [];

beforeAll(async () => {
  vi.stubGlobal('WebSocket', WebSocket);
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
  server = new RealServer({
    ROOMS__RESUME_TIMEOUT: String(RESUME_TIMEOUT),
    SIGNALING__HEARTBEAT_INTERVAL: '1',
    SIGNALING__SOCKET_TIMEOUT: '30',
  });
  await server.run();
});

afterAll(async () => {
  await server.stop();
  vi.unstubAllGlobals();
});

beforeEach(() => {
  room += 1;
});

afterEach(async () => {
  for (const { client } of people) await client.leave().catch(() => undefined);
  for (const wire of wires) await wire.close();
  people = [];
  wires = [];
});

/** A user with a wire of their own to the server. */
async function somebody(userId: string): Promise<Watched & { wire: Wire }> {
  const wire = await Wire.to(server.address);
  const made = watch(wire.url, server.config(userId));
  wires.push(wire);
  people.push(made);
  return { ...made, wire };
}

/** Users who are in the room and know of each other. */
async function together(...names: string[]): Promise<(Watched & { wire: Wire })[]> {
  const all = [];
  for (const name of names) {
    const one = await somebody(name);
    await one.client.join({ roomId: room });
    all.push(one);
  }
  await Promise.all(all.flatMap((one) => names.filter((name) => name !== one.client.getUserId()).map((name) => one.heard(`peer-join ${name}`))));
  for (const { seen } of all) seen.length = 0;
  return all;
}

test('after a lost socket the session goes on and the difference alone is told', async () => {
  const [ann, bob] = await together('ann', 'bob');
  if (!ann || !bob) throw new Error('nobody there');
  ann.wire.cut();
  await ann.heard(LOST);
  await bob.client.leave();
  const eve = await somebody('eve');
  await eve.client.join({ roomId: room });
  ann.wire.mend();
  await ann.heard(BACK);
  expect(ann.seen).toEqual([LOST, 'peer-leave bob', 'peer-join eve', BACK]);
  expect(eve.seen).not.toContain('peer-leave ann');
});

test('a server that was killed finds its users back in the room within five seconds of its start', async () => {
  const [ann, bob] = await together('ann', 'bob');
  if (!ann || !bob) throw new Error('nobody there');
  await server.kill();
  await Promise.all([ann.heard(LOST), bob.heard(LOST)]);
  await server.run();
  const up = Date.now();
  await Promise.all([ann.heard(BACK), bob.heard(BACK)]);
  expect(Date.now() - up).toBeLessThan(5_000);
  const eve = await somebody('eve');
  await eve.client.join({ roomId: room });
  await Promise.all([eve.heard('peer-join ann'), eve.heard('peer-join bob'), ann.heard('peer-join eve')]);
  expect([...ann.seen, ...bob.seen].filter((line) => /^(error|client-banned)/.test(line))).toEqual([]);
});

test('a crowd that comes back to a restarted server gets in one after the other, when it is too many logins a second', async () => {
  const settings = { ROOMS__RESUME_TIMEOUT: '60', ACCOUNTS__LOGINS_PER_SECOND: '0' };
  const crowded = new RealServer(settings);
  const crowd: Watched[] = [];
  try {
    await crowded.run();
    const url = `http://${crowded.address.host}:${crowded.address.port}`;
    for (const name of ['ann', 'bob', 'cat', 'dan']) {
      const one = watch(url, crowded.config(name));
      crowd.push(one);
      await one.client.join({ roomId: room });
    }
    await crowded.kill();
    settings.ACCOUNTS__LOGINS_PER_SECOND = '1';
    await crowded.run();
    await Promise.all(crowd.map((one) => Promise.race([one.heard(BACK), one.heard('error')])));
    expect(crowd.flatMap((one) => one.seen).filter((line) => /^(error|client-banned)/.test(line))).toEqual([]);
  } finally {
    for (const { client } of crowd) await client.leave().catch(() => undefined);
    await crowded.stop();
  }
});

test('a server that goes down in good order finds its users back in the room after its restart', async () => {
  const [ann] = await together('ann', 'bob');
  if (!ann) throw new Error('nobody there');
  await server.shutDown();
  await ann.heard(LOST);
  await server.run();
  await ann.heard(BACK);
  expect(ann.seen.filter((line) => /^(error|client-banned)/.test(line))).toEqual([]);
});

test('a client that was away for longer than the server keeps its place enters again by itself', async () => {
  const [ann, bob] = await together('ann', 'bob');
  if (!ann || !bob) throw new Error('nobody there');
  // The machine sleeps: its clock and its timers stand still, and the server lets its user go meanwhile.
  const { setTimeout: really } = globalThis;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  try {
    ann.wire.cut();
    await bob.heard('peer-leave ann');
    ann.wire.mend();
    // It wakes up: its time goes on, no faster than the server's, which has to answer in it.
    while (!ann.seen.includes(BACK)) {
      expect(ann.seen.filter((one) => one.startsWith('error'))).toEqual([]);
      await new Promise((resolve) => really(resolve, 10));
      vi.advanceTimersByTime(10);
    }
  } finally {
    vi.useRealTimers();
  }
  await bob.heard('peer-join ann');
  expect(ann.seen).toEqual([LOST, BACK]);
});

test('a server that stands still loses nobody: what a client gives up is not taken for leaving', async () => {
  const [ann, bob] = await together('ann', 'bob');
  if (!ann || !bob) throw new Error('nobody there');
  server.freeze();
  await Promise.all([ann.heard(LOST), bob.heard(LOST)]);
  // Long enough for attempts to resume that are given up too.
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  server.thaw();
  await Promise.all([ann.heard(BACK), bob.heard(BACK)]);
  expect(ann.seen).toEqual([LOST, BACK]);
  expect(bob.seen).toEqual([LOST, BACK]);
});

test('a server that stays away is tried for until the session would end, the last time at that moment', async () => {
  const [ann] = await together('ann');
  if (!ann) throw new Error('nobody there');
  const lost = Date.now();
  ann.wire.cut();
  await ann.heard('error 4006');
  const times = ann.wire.tries.filter((time) => time >= lost).map((time) => (time - lost) / 1000);
  expect(times.at(-1)).toBeGreaterThanOrEqual(RESUME_TIMEOUT - 0.01);
  expect(times.filter((time) => time < RESUME_TIMEOUT - 0.1).length).toBeGreaterThanOrEqual(6);
  expect(ann.seen.slice(-2)).toEqual(['connection-state-changed RECONNECTING DISCONNECTED', 'error 4006 0']);
  ann.wire.mend();
  await ann.client.join({ roomId: room });
});

test('who leaves while the socket is down is gone for the others as soon as the server can be told', async () => {
  const [ann, bob] = await together('ann', 'bob');
  if (!ann || !bob) throw new Error('nobody there');
  ann.wire.cut();
  await ann.heard(LOST);
  await ann.client.leave();
  ann.wire.mend();
  const mended = Date.now();
  await bob.heard('peer-leave ann');
  // Long before the server would have let her go by itself.
  expect(Date.now() - mended).toBeLessThan((RESUME_TIMEOUT - 4) * 1000);
});

test('join, leave and join without awaiting any of them end inside the room, on one client', async () => {
  const [bob] = await together('bob');
  const ann = await somebody('ann');
  if (!bob) throw new Error('nobody there');
  await Promise.all([ann.client.join({ roomId: room }), ann.client.leave(), ann.client.join({ roomId: room })]);
  await vi.waitFor(() => expect(bob.seen.filter((line) => line.endsWith(' ann')).at(-1)).toBe('peer-join ann'));
  expect(ann.seen.at(-1)?.startsWith('client-banned')).toBe(false);
  expect(ann.client.getRemoteMutedState()).toEqual([]);
});

test('join, leave and join without awaiting any of them end inside the room, with a client each time', async () => {
  const [bob] = await together('bob');
  if (!bob) throw new Error('nobody there');
  const first = await somebody('ann');
  const second = watch(first.wire.url, server.config('ann'));
  people.push(second);
  await Promise.all([first.client.join({ roomId: room }), first.client.leave(), second.client.join({ roomId: room })]);
  await bob.heard('peer-join ann');
  expect(second.client.getRemoteMutedState()).toEqual([]);
  expect(bob.seen.filter((line) => line.endsWith(' ann'))).toEqual(['peer-join ann', 'peer-leave ann', 'peer-join ann']);
  expect([...first.seen, ...second.seen].filter((line) => line.startsWith('client-banned'))).toEqual([]);
});

test('join and leave at once throw nothing and end outside', async () => {
  const ann = await somebody('ann');
  await Promise.all([ann.client.join({ roomId: room }), ann.client.leave()]);
  expect(ann.seen.at(-1)).toBe('connection-state-changed CONNECTED DISCONNECTED');
  expect(((await rejectedBy(ann.client.leave())) as RtcError).getCode()).toBe(0x1001);
});
