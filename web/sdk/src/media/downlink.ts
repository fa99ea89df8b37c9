import { describe } from '../errors.js';
import type { DownlinkOffer, Kind, StreamType } from '../generated/messages.js';
import { log } from '../logger.js';
import { CONNECT_TIMEOUT, connected, Recovery, watch } from './connection.js';

/** A track that the downlink carries now. */
export interface RemoteTrack {
  userId: string;
  streamType: StreamType;
  kind: Kind;
  track: MediaStreamTrack;
}

export interface DownlinkOptions {
  /** Sends the answer. What the socket loses is offered again after a resume, so that is no failure. */
  answer: (revision: number, sdp: string) => Promise<void>;
  /** Asks the server for a new transport and a full offer. */
  askRestart: () => Promise<void>;
  /** All tracks there are, after each offer. */
  tracks: (tracks: RemoteTrack[]) => void;
  /** All attempts to connect anew failed. */
  failed: (why: string) => void;
}

interface Waiter {
  revision: number;
  resolve: () => void;
}

/** The peer connection that other users' streams come in by. The server offers, this side answers in order. */
export class Downlink {
  private pc: RTCPeerConnection | null = null;
  private revision = 0;
  /** Whether the last offer named a track. */
  private carries = false;
  private last: Promise<unknown> = Promise.resolve();
  private waiters: Waiter[] = [];
  private readonly restarts: ((pc: RTCPeerConnection) => void)[] = [];
  private over = false;
  private readonly recovery: Recovery;

  constructor(private readonly options: DownlinkOptions) {
    this.recovery = new Recovery('downlink', () => this.reconnect(), options.failed);
  }

  /** Takes an offer in; offers are answered one after the other. */
  handle(offer: DownlinkOffer): void {
    this.last = this.last.then(async () => {
      if (this.over) return;
      try {
        await this.negotiate(offer);
      } catch (thrown) {
        if (!this.isOver()) this.recovery.start(`offer ${offer.revision} could not be answered: ${describe(thrown)}`);
      }
    });
  }

  /** Resolves when the offer of this revision or a later one was taken in. */
  reached(revision: number): Promise<void> {
    if (this.revision >= revision) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push({ revision, resolve }));
  }

  restart(why: string): void {
    if (!this.over) this.recovery.start(why);
  }

  get isConnected(): boolean {
    return this.pc?.connectionState === 'connected';
  }

  get connection(): RTCPeerConnection | null {
    return this.pc;
  }

  /** Forgets the connection: the session on the server is a new one, which knows nothing of it. */
  reset(): void {
    this.pc?.close();
    this.pc = null;
    this.revision = 0;
    this.carries = false;
  }

  close(): void {
    this.over = true;
    this.recovery.stop();
    this.pc?.close();
    this.pc = null;
  }

  private async negotiate(offer: DownlinkOffer): Promise<void> {
    const known = offer.restart ? null : this.pc;
    if (!known) this.pc?.close();
    const pc = known ?? new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.pc = pc;
    await pc.setRemoteDescription({ type: 'offer', sdp: offer.sdp });
    const answer = await pc.createAnswer();
    await pc.setLocalDescription(answer);
    this.carries = offer.tracks.length > 0;
    this.options.tracks(this.tracksOf(pc, offer));
    if (!known) watch(pc, (why) => this.restart(why));
    for (const resolve of this.restarts.splice(0)) resolve(pc);
    await this.options.answer(offer.revision, answer.sdp ?? '');
    this.revision = offer.revision;
    const reached = this.waiters.filter((one) => one.revision <= offer.revision);
    this.waiters = this.waiters.filter((one) => one.revision > offer.revision);
    for (const { resolve } of reached) resolve();
  }

  private tracksOf(pc: RTCPeerConnection, offer: DownlinkOffer): RemoteTrack[] {
    const byMid = new Map(pc.getTransceivers().map((one) => [one.mid, one.receiver.track]));
    const found: RemoteTrack[] = [];
    for (const { mid, userId, streamType, kind } of offer.tracks) {
      const track = byMid.get(mid);
      if (track) found.push({ userId, streamType, kind, track });
      else log.warn(`downlink offer ${offer.revision} names the m-line ${mid}, which it does not have`);
    }
    return found;
  }

  private async reconnect(): Promise<void> {
    if (!this.carries) {
      // The server offers again when there is something to receive.
      this.pc?.close();
      this.pc = null;
      await this.options.askRestart();
      return;
    }
    const next = new Promise<RTCPeerConnection>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the server made no offer')), CONNECT_TIMEOUT);
      this.restarts.push((pc) => {
        clearTimeout(timer);
        resolve(pc);
      });
    });
    next.catch(() => undefined);
    await this.options.askRestart();
    await connected(await next);
  }

  // A getter, because a flag that changes during an await is otherwise thought to be constant.
  private isOver(): boolean {
    return this.over;
  }
}
