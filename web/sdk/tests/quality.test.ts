import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { QualityReports } from '../src/quality.js';
import type { NetworkQualityInfo } from '../src/types.js';

let reports: NetworkQualityInfo[];
let isUp: boolean;
let states: { uplink: string | null; downlink: string | null };
let quality: QualityReports;

const peer = (state: string | null): RTCPeerConnection | null =>
  state === null ? null : ({ connectionState: state } as RTCPeerConnection);

beforeEach(() => {
  vi.useFakeTimers();
  [reports, isUp, states] = [[], true, { uplink: null, downlink: null }];
  const connections = (): { uplink: RTCPeerConnection | null; downlink: RTCPeerConnection | null } => ({
    uplink: peer(states.uplink),
    downlink: peer(states.downlink),
  });
  quality = new QualityReports({ isUp: () => isUp, connections }, (report) => reports.push(report));
});

afterEach(() => {
  quality.stop();
  vi.useRealTimers();
});

const grades = (): number[][] => reports.map((one) => [one.uplinkNetworkQuality, one.downlinkNetworkQuality]);

test('there is a report every two seconds, of nothing known before the server said something, and none after the end', () => {
  vi.advanceTimersByTime(5000);
  expect(reports).toEqual([]);
  quality.start();
  vi.advanceTimersByTime(4000);
  expect(grades()).toEqual([
    [0, 0],
    [0, 0],
  ]);
  quality.stop();
  quality.told({ type: 'network-quality', uplinkQuality: 1, downlinkQuality: 1 });
  vi.advanceTimersByTime(9000);
  expect(reports).toHaveLength(2);
});

test('what the server says is reported when it comes, once, with zero for what it left out', () => {
  quality.start();
  for (let round = 0; round < 5; round += 1) {
    vi.advanceTimersByTime(round % 2 ? 2400 : 1600);
    quality.told({ type: 'network-quality', uplinkQuality: 3, downlinkQuality: 1, uplinkRtt: 210, uplinkLoss: 0.5 });
  }
  expect(reports).toEqual(
    Array(5).fill({
      uplinkNetworkQuality: 3,
      downlinkNetworkQuality: 1,
      uplinkRTT: 210,
      uplinkLoss: 0.5,
      downlinkRTT: 0,
      downlinkLoss: 0,
    }),
  );
});

test('a link that is cut is disconnected, whatever the server said of it last, and both are without signaling', () => {
  quality.start();
  quality.told({ type: 'network-quality', uplinkQuality: 1, downlinkQuality: 2 });
  states = { uplink: 'connected', downlink: 'disconnected' };
  vi.advanceTimersByTime(2700);
  states.downlink = 'connected';
  vi.advanceTimersByTime(2000);
  states.uplink = 'failed';
  vi.advanceTimersByTime(2000);
  [states.uplink, isUp] = ['connected', false];
  vi.advanceTimersByTime(2000);
  expect(grades()).toEqual([
    [1, 2],
    [1, 6],
    [1, 2],
    [6, 2],
    [6, 6],
  ]);
});
