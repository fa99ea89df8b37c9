import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import TRTC from '../src/index.js';
import { Connection, ConnectionFailed, Recovery, type Signaling } from '../src/media/connection.js';
import { rejectedBy } from './helpers.js';

const CANDIDATE = 'a=candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host';
const BOTH = `${CANDIDATE}\r\na=candidate:2 1 tcp 1518280447 192.0.2.7 40000 typ host tcptype passive`;

/** The part of a peer connection that is watched: its states and the event of their change. */
class Peer extends EventTarget {
  connectionState: RTCPeerConnectionState = 'new';
  iceConnectionState: RTCIceConnectionState = 'checking';
  remoteDescription = { sdp: `${CANDIDATE}\r\n` };

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close(): void {
    this.connectionState = 'closed';
  }

  get pc(): RTCPeerConnection {
    return this as unknown as RTCPeerConnection;
  }
}

function watched(): { peer: Peer; dead: ReturnType<typeof vi.fn<(why: string) => void>>; connection: Connection } {
  const peer = new Peer();
  const dead = vi.fn<(why: string) => void>();
  const connection = new Connection(peer.pc, dead);
  connection.negotiated();
  return { peer, dead, connection };
}

beforeEach(() => {
  vi.useFakeTimers();
  TRTC.Logger.setLogLevel(TRTC.Logger.LogLevel.NONE);
});

afterEach(() => {
  vi.useRealTimers();
});

test('a connection that failed is dead at once, and only once', () => {
  const { peer, dead } = watched();
  peer.become('connected');
  peer.become('failed');
  peer.become('failed');
  expect(dead).toHaveBeenCalledOnce();
  expect(dead.mock.calls[0]?.[0]).toContain('ICE/DTLS Transport connection failed');
});

test('a connection that does not come about in ten seconds is dead', () => {
  const { dead } = watched();
  vi.advanceTimersByTime(9_999);
  expect(dead).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(dead).toHaveBeenCalledOnce();
});

test('a short interruption is waited out, a long one is not', () => {
  const { peer, dead } = watched();
  peer.become('connected');
  peer.become('disconnected');
  vi.advanceTimersByTime(4_000);
  peer.become('connected');
  vi.advanceTimersByTime(60_000);
  expect(dead).not.toHaveBeenCalled();
  peer.become('disconnected');
  vi.advanceTimersByTime(5_000);
  expect(dead).toHaveBeenCalledOnce();
});

test('a connection that comes back by itself after it was given up is taken again', () => {
  const { peer, connection } = watched();
  peer.become('connected');
  peer.become('disconnected');
  vi.advanceTimersByTime(5_000);
  expect([connection.isDead, connection.revived()]).toEqual([true, false]);
  peer.become('connected');
  expect([connection.isUp, connection.revived(), connection.isUp]).toEqual([false, true, true]);
});

test('a connection that was closed on purpose is not dead, but nobody waits for it any more', async () => {
  const { dead, connection } = watched();
  const waiting = rejectedBy(connection.connected(60_000));
  connection.close();
  vi.advanceTimersByTime(60_000);
  expect(dead).not.toHaveBeenCalled();
  expect(await waiting).toBeInstanceOf(ConnectionFailed);
});

test('who waits for a connection hears of success, of failure and of silence, and of the cause in words', async () => {
  const good = watched();
  const done = good.connection.connected(9_500);
  good.peer.become('connected');
  await done;

  const silent = watched();
  const blocked = rejectedBy(silent.connection.connected(9_500));
  vi.advanceTimersByTime(9_500);
  expect((await blocked) as Error).toHaveProperty(
    'message',
    'ICE/DTLS Transport connection failed: no answer from the media server at 192.0.2.7:40000 (udp); ' +
      'a firewall or the network may block UDP to it',
  );

  const both = watched();
  both.peer.remoteDescription = { sdp: `${BOTH}\r\n` };
  const twice = rejectedBy(both.connection.connected(9_500));
  vi.advanceTimersByTime(9_500);
  expect((await twice) as Error).toHaveProperty(
    'message',
    'ICE/DTLS Transport connection failed: no answer from the media server at 192.0.2.7:40000 (udp), 192.0.2.7:40000 (tcp); ' +
      'a firewall or the network may block UDP and TCP to it',
  );

  const keyless = watched();
  keyless.peer.iceConnectionState = 'connected';
  const late = rejectedBy(keyless.connection.connected(20_000));
  vi.advanceTimersByTime(10_000);
  expect(((await late) as Error).message).toContain('DTLS Transport connection timeout (10s)');

  const nowhere = watched();
  nowhere.peer.remoteDescription.sdp = 'v=0\r\n';
  const lost = rejectedBy(nowhere.connection.connected(9_500));
  nowhere.peer.become('failed');
  expect(((await lost) as Error).message).toContain('no valid ice candidate found');
});

/** Signaling that a test takes down and up again. */
class Socket implements Signaling {
  isUp = true;
  keptFor = 90_000;
  private waiting: (() => void)[] = [];

  up(): Promise<void> {
    return this.isUp ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve));
  }

  comeBack(): void {
    this.isUp = true;
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

function recovering(socket: Socket, outcome: () => Promise<void>): { at: number[]; giveUp: ReturnType<typeof vi.fn>; recovery: Recovery } {
  vi.spyOn(Math, 'random').mockReturnValue(1);
  const at: number[] = [];
  const started = Date.now();
  const giveUp = vi.fn();
  const attempt = (): Promise<void> => {
    at.push(Math.round((Date.now() - started) / 1000));
    return outcome();
  };
  return { at, giveUp, recovery: new Recovery('uplink', socket, attempt, giveUp) };
}

test('a recovery tries until the session would end, the last time at that very moment, and gives up with the last reason', async () => {
  const { at, giveUp, recovery } = recovering(new Socket(), () => Promise.reject(new Error('no way')));
  recovery.start('gone');
  recovery.start('gone twice');
  await vi.advanceTimersByTimeAsync(89_999);
  expect(giveUp).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(at.at(-1)).toBe(90);
  expect(Math.max(...at.slice(1).map((time, index) => time - (at[index] ?? 0)))).toBeLessThanOrEqual(5);
  expect(giveUp.mock.calls).toEqual([['no way']]);
});

test('no attempt is made, and none is used up, while signaling is down', async () => {
  const socket = new Socket();
  let works = false;
  const { at, giveUp, recovery } = recovering(socket, () => (works ? Promise.resolve() : Promise.reject(new Error('no way'))));
  socket.isUp = false;
  recovery.start('gone');
  await vi.advanceTimersByTimeAsync(300_000);
  expect(at).toEqual([]);
  socket.comeBack();
  await vi.advanceTimersByTimeAsync(80_000);
  expect(at[0]).toBe(300);
  works = true;
  await vi.advanceTimersByTimeAsync(90_000);
  expect(giveUp).not.toHaveBeenCalled();
});

test('a recovery that was stopped neither tries nor gives up', async () => {
  const { at, giveUp, recovery } = recovering(new Socket(), () => Promise.resolve());
  recovery.start('gone');
  recovery.stop();
  await vi.advanceTimersByTimeAsync(200_000);
  expect(at).toEqual([]);
  expect(giveUp).not.toHaveBeenCalled();
});
