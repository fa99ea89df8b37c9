import { describe, ErrorCode } from '../errors.js';
import type { DownlinkOffer, Kind, StreamType } from '../generated/messages.js';
import { log } from '../logger.js';
import { AnswerTimeout } from '../signaling/channel.js';
import type { Transforms } from '../sei/transforms.js';
import { SessionReplaced } from '../signaling/session.js';
import { repairSound } from './codecs.js';
import { CONNECT_TIMEOUT, Connection, ConnectionFailed, Recovery, type Signaling } from './connection.js';
import { newPeer } from './peer.js';

/** A track that the downlink carries now. */
export interface RemoteTrack {
  userId: string;
  streamType: StreamType;
  kind: Kind;
  track: MediaStreamTrack;
}

export interface DownlinkOptions {
  iceServers: readonly RTCIceServer[];
  /** Looks at the frames that come; null when there is nothing to be found in them. */
  transforms: Transforms | null;
  signaling: Signaling;
  /** Sends the answer. What the socket loses is offered again after a resume, so that is no failure. */
  answer: (revision: number, sdp: string) => Promise<void>;
  /** Asks the server for a new transport and a full offer, which comes before the answer if there is one. */
  askRestart: () => Promise<unknown>;
  /** Asks the server for an offer with new ICE credentials on the connection there is. */
  askIceRestart: () => Promise<unknown>;
  /** The way to the server may be another one now. */
  suspect: (why: string) => void;
  /** All tracks there are, after each offer. */
  tracks: (tracks: RemoteTrack[]) => void;
  /** It may be up, or not be up any more. */
  moved: () => void;
  /** All attempts to connect anew failed. */
  failed: (why: string) => void;
}

interface Waiter {
  revision: number;
  resolve: () => void;
  reject: (why: Error) => void;
}

/** The peer connection that other users' streams come in by. The server offers, this side answers in order. */
export class Downlink {
  private connection: Connection | null = null;
  private revision = 0;
  private carried: RemoteTrack[] = [];
  /** The codes for tracks that were offered and that this browser cannot decode, by `trackKey`. */
  private readonly undecodable = new Map<string, number>();
  private last: Promise<unknown> = Promise.resolve();
  private waiters: Waiter[] = [];
  /** Who waits for a new connection, or for the old one to come back. */
  private readonly begun = new Set<() => void>();
  /** Counts the sessions: what belongs to an older one is dropped. */
  private session = 0;
  private over = false;
  /** The server has no transport that belongs to this connection, or waits for an answer that it will not get. */
  private stale = false;
  /** Whether a new transport was asked for and the server has not answered yet. */
  private asking = false;
  /** Whether the app knows that nothing is received; it is told once, however often it is tried after that. */
  private toldFailed = false;
  private readonly recovery: Recovery;

  constructor(private readonly options: DownlinkOptions) {
    this.recovery = new Recovery(
      'downlink',
      options.signaling,
      () => this.reconnect(),
      (why) => {
        if (this.toldFailed) return;
        this.toldFailed = true;
        options.failed(why);
      },
    );
  }

  /** Takes an offer in; offers are answered one after the other. */
  handle(offer: DownlinkOffer): void {
    const { session } = this;
    this.last = this.last.then(async () => {
      if (this.isOver(session)) return;
      try {
        await this.negotiate(offer, session);
      } catch (thrown) {
        if (this.isOver(session)) return;
        // A slow server has the answer, or the socket is found to be dead. Any other way the server waits for it and offers
        // nothing more, however well the connection does.
        if (!(thrown instanceof AnswerTimeout)) this.stale = true;
        this.recovery.start(`offer ${offer.revision} could not be answered: ${describe(thrown)}`);
      }
    });
  }

  /** Resolves when the offer of this revision or a later one was taken in. */
  reached(revision: number): Promise<void> {
    if (this.revision >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => this.waiters.push({ revision, resolve, reject }));
  }

  carries(userId: string, streamType: StreamType, kind: Kind): boolean {
    const key = trackKey(userId, streamType, kind);
    return this.carried.some((one) => trackKey(one.userId, one.streamType, one.kind) === key);
  }

  /** The code for a track that was offered and that this browser cannot decode. */
  refusalOf(userId: string, streamType: StreamType, kind: Kind): number | undefined {
    return this.undecodable.get(trackKey(userId, streamType, kind));
  }

  /** The track is gone; another one in its place may be of another codec. */
  forget(userId: string, streamType: StreamType, kind: Kind): void {
    this.undecodable.delete(trackKey(userId, streamType, kind));
  }

  /** Resolves when media can come in; rejects with a ConnectionFailed when it cannot within `milliseconds`. */
  async connected(milliseconds: number): Promise<void> {
    const end = Date.now() + milliseconds;
    for (;;) {
      const { connection } = this;
      let why: unknown = new ConnectionFailed('the server offered no connection');
      try {
        if (connection) {
          await connection.connected(end - Date.now());
          this.toldFailed = false;
          return;
        }
      } catch (thrown) {
        why = thrown;
      }
      // What was given up is tried again for who asks now.
      if (connection?.isDead) this.recovery.start(describe(why));
      // A newer one may have taken its place, or is about to: then that one counts.
      if (this.connection === connection && !(await this.another(end - Date.now()))) throw why;
    }
  }

  /** The server says that a transport is dead: the one before, until it has answered the request for a new one. */
  transportClosed(why: string): void {
    if (!this.asking) this.restart(why);
  }

  /** The transport is dead, whatever the browser thinks of its connection. */
  restart(why: string): void {
    this.stale = true;
    this.lost(why);
  }

  /** Nothing comes in; the connection may come back by itself. */
  lost(why: string): void {
    if (this.over) return;
    this.connection?.fail(why);
    this.recovery.start(why);
  }

  /** Looks for another way to the server on the connection there is; the server's offer begins it. */
  async restartIce(): Promise<void> {
    if (this.over || !this.connection || this.stale) return;
    await this.options.askIceRestart();
  }

  get isUp(): boolean {
    return this.connection?.isUp ?? false;
  }

  get peer(): RTCPeerConnection | null {
    return this.connection?.pc ?? null;
  }

  /** Forgets the connection: the session on the server is a new one, which knows nothing of it. */
  reset(): void {
    this.session += 1;
    this.drop();
    this.revision = 0;
    this.undecodable.clear();
    for (const { reject } of this.waiters.splice(0)) reject(new SessionReplaced());
  }

  close(): void {
    this.over = true;
    this.recovery.stop();
    this.drop();
  }

  private drop(): void {
    this.connection?.close();
    this.connection = null;
    this.carried = [];
  }

  private open(): Connection {
    this.stale = false;
    const pc = newPeer(this.options.iceServers, this.options.transforms);
    const connection: Connection = new Connection(pc, (why) => {
      if (this.connection === connection && !this.over) this.recovery.start(why);
    }, this.options.suspect, this.options.moved);
    this.connection = connection;
    this.tellBegun();
    return connection;
  }

  private tellBegun(): void {
    for (const tell of [...this.begun]) tell();
  }

  private async negotiate(offer: DownlinkOffer, session: number): Promise<void> {
    if (offer.restart) this.drop();
    const connection = this.connection ?? this.open();
    const { pc } = connection;
    await pc.setRemoteDescription({ type: 'offer', sdp: offer.sdp });
    for (const { receiver } of pc.getTransceivers()) this.options.transforms?.receives(receiver);
    const { sdp = '' } = await pc.createAnswer();
    const answer: RTCSessionDescriptionInit = { type: 'answer', sdp: repairSound(sdp) };
    await pc.setLocalDescription(answer);
    if (this.isOver(session)) return;
    this.carried = this.tracksOf(pc, offer, answer.sdp ?? '');
    this.options.tracks(this.carried);
    // Before there is a track there is nothing to connect for.
    if (this.carried.length > 0) connection.negotiated();
    await this.options.answer(offer.revision, answer.sdp ?? '');
    if (this.isOver(session)) return;
    this.revision = offer.revision;
    const reached = this.waiters.filter((one) => one.revision <= offer.revision);
    this.waiters = this.waiters.filter((one) => one.revision > offer.revision);
    for (const { resolve } of reached) resolve();
  }

  private tracksOf(pc: RTCPeerConnection, offer: DownlinkOffer, answer: string): RemoteTrack[] {
    const byMid = new Map(pc.getTransceivers().map((one) => [one.mid, one.receiver.track]));
    const found: RemoteTrack[] = [];
    for (const { mid, userId, streamType, kind } of offer.tracks) {
      const key = trackKey(userId, streamType, kind);
      if (isRejected(mediaSection(answer, mid))) {
        // RFC 3264 §6: a port of zero refuses the m-line, which a browser does when it has none of its codecs.
        const h264 = /^a=rtpmap:\d+ H264\//im.test(mediaSection(offer.sdp, mid));
        this.undecodable.set(key, h264 ? ErrorCode.NOT_SUPPORTED_H264 : ErrorCode.NOT_SUPPORTED);
        continue;
      }
      const track = byMid.get(mid);
      if (track) found.push({ userId, streamType, kind, track });
      else log.warn(`downlink offer ${offer.revision} names the m-line ${mid}, which it does not have`);
      this.undecodable.delete(key);
    }
    return found;
  }

  /** One attempt to receive again. */
  private async reconnect(): Promise<void> {
    if (!this.stale) await this.connection?.restarted('downlink', () => this.restartIce());
    if (!this.stale && this.connection?.revived()) {
      this.toldFailed = false;
      this.tellBegun();
      return;
    }
    const { connection } = this;
    this.asking = true;
    try {
      await this.options.askRestart();
    } finally {
      this.asking = false;
    }
    await this.last;
    const made = this.connection;
    if (made !== null && made !== connection) {
      await made.upOrOver(this.connected(CONNECT_TIMEOUT));
    } else if (this.connection === connection) {
      // The server has nothing to offer now; it does when there is something to receive, for a new connection.
      this.drop();
    }
  }

  /** Whether another connection is begun, or this one comes back, within `milliseconds`. */
  private another(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (found: boolean): void => {
        clearTimeout(timer);
        this.begun.delete(tell);
        resolve(found);
      };
      const tell = (): void => settle(true);
      const timer = setTimeout(() => settle(false), Math.max(0, milliseconds));
      this.begun.add(tell);
    });
  }

  private isOver(session: number): boolean {
    return this.over || this.session !== session;
  }
}

function trackKey(userId: string, streamType: StreamType, kind: Kind): string {
  return `${kind} ${streamType} ${userId}`;
}

/** The part of a description that is one m-line's. */
export function mediaSection(sdp: string, mid: string): string {
  const lines = new RegExp(`^a=mid:${mid}\\s*$`, 'm');
  return sdp.split(/^(?=m=)/m).find((section) => section.startsWith('m=') && lines.test(section)) ?? '';
}

export function isRejected(section: string): boolean {
  return /^m=\S+ 0 /.test(section);
}
