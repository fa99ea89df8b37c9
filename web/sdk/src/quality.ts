import type { NetworkQuality } from './generated/messages.js';
import type { NetworkQualityInfo } from './types.js';

/** Milliseconds between two reports. The server's come as often; what it says is passed on when it comes. */
const REPORT_INTERVAL = 2000;
/** Longer than that, so that a report of the server's which is a little late is waited for. */
const PATIENCE = REPORT_INTERVAL + 700;

const DISCONNECTED = 6;

const UNKNOWN: NetworkQualityInfo = {
  uplinkNetworkQuality: 0,
  downlinkNetworkQuality: 0,
  uplinkRTT: 0,
  uplinkLoss: 0,
  downlinkRTT: 0,
  downlinkLoss: 0,
};

/** What the figures are seen through: what this side knows better than the server. */
export interface Links {
  /** Whether there is a signaling channel. */
  isUp: () => boolean;
  connections: () => { uplink: RTCPeerConnection | null; downlink: RTCPeerConnection | null };
}

/** Reports how good the two links are, every two seconds from `start` to `stop`. */
export class QualityReports {
  private said: NetworkQualityInfo = UNKNOWN;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;

  constructor(
    private readonly links: Links,
    private readonly report: (quality: NetworkQualityInfo) => void,
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.wait(REPORT_INTERVAL);
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
  }

  /** There is another session: the server knows nothing of its links yet. */
  renew(): void {
    this.said = UNKNOWN;
  }

  /** The server says how they are. */
  told(message: NetworkQuality): void {
    this.said = {
      uplinkNetworkQuality: message.uplinkQuality,
      downlinkNetworkQuality: message.downlinkQuality,
      uplinkRTT: message.uplinkRtt ?? 0,
      uplinkLoss: message.uplinkLoss ?? 0,
      downlinkRTT: message.downlinkRtt ?? 0,
      downlinkLoss: message.downlinkLoss ?? 0,
    };
    if (!this.running) return;
    this.wait(PATIENCE);
    this.report(this.seen());
  }

  private wait(time: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.wait(REPORT_INTERVAL);
      this.report(this.seen());
    }, time);
  }

  /** The server cannot say of a link that is cut that it is. */
  private seen(): NetworkQualityInfo {
    const { uplink, downlink } = this.links.connections();
    const isUp = this.links.isUp();
    const seen = { ...this.said };
    if (!isUp || isCut(uplink)) seen.uplinkNetworkQuality = DISCONNECTED;
    if (!isUp || isCut(downlink)) seen.downlinkNetworkQuality = DISCONNECTED;
    return seen;
  }
}

function isCut(peer: RTCPeerConnection | null): boolean {
  return peer !== null && ['disconnected', 'failed'].includes(peer.connectionState);
}
