import { describe, ErrorCode, rtcError } from '../errors.js';
import type { Answers, StreamType } from '../generated/messages.js';
import { KINDS, type Kind } from '../kinds.js';
import { log } from '../logger.js';
import type { Transforms } from '../sei/transforms.js';
import type { Fields } from '../signaling/channel.js';
import { SessionReplaced } from '../signaling/session.js';
import type { VideoProfile } from '../profiles.js';
import type { LocalStream } from '../streams/local-stream.js';
import { forceCodec, isScalable, repairSound, type VideoCodec } from './codecs.js';
import { mayHaveCopies, preferCopies, reportedOf, SoundLoss } from './copies.js';
import { CONNECT_TIMEOUT, Connection, ConnectionFailed, Recovery, type Signaling } from './connection.js';
import { newPeer } from './peer.js';

/** How often it is looked at what is lost of the sound, in milliseconds: so often reports come. */
const LOOK_AT_LOSS = 1_000;

/** One stream of this client on its way to the others; the uplink's record of them is the only one there is. */
export interface Publication {
  readonly stream: LocalStream;
  /** `publishing` until its connection is up for the first time. */
  state: 'publishing' | 'published';
  /** What its video is sent as beside the big stream; null for nothing. */
  readonly small: () => VideoProfile | null;
  /** The rids of its encodings that somebody takes, as the server says; null for all of them, until it says. */
  wanted: readonly string[] | null;
  /** What is lost of its sound, and whether it is sent with copies for that. */
  readonly loss: SoundLoss;
  copies: boolean;
  senders: Partial<Record<Kind, RTCRtpTransceiver>>;
}

export interface UplinkOptions {
  iceServers: readonly RTCIceServer[];
  /** Puts something into the frames that go; null when there is nothing to. */
  transforms: Transforms | null;
  videoCodec: VideoCodec | undefined;
  /** What a main stream's video is sent as beside the big stream; null for nothing. */
  small: (stream: LocalStream) => VideoProfile | null;
  signaling: Signaling;
  /** Sends a publish request unless `wanted` says no by then; rejects when the server refuses or is silent. */
  publish: (fields: Fields<'publish'>, wanted: () => boolean) => Promise<Answers['publish']>;
  /** Sends an offer with new ICE credentials; behaves as `publish` does. */
  restartIce: (sdp: string, wanted: () => boolean) => Promise<Answers['uplink-ice-restart']>;
  /** The way to the server may be another one now. */
  suspect: (why: string) => void;
  /** All attempts to connect anew failed; these streams are not published any more. */
  failed: (given: ReadonlyMap<StreamType, Publication>, why: string) => void;
}

/** The peer connection that this client's own streams go out by. It exists while a stream is published. */
export class Uplink {
  private connection: Connection | null = null;
  private readonly record = new Map<StreamType, Publication>();
  private readonly recovery: Recovery;
  /** Negotiations follow one another. */
  private last: Promise<unknown> = Promise.resolve();
  /** The server has no transport that belongs to this connection. */
  private stale = false;
  /** The connection that the server has answered an offer of: its transports before that one are gone. */
  private answered: Connection | null = null;
  private restarting: Promise<void> | null = null;
  private looking: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: UplinkOptions) {
    this.recovery = new Recovery(
      'uplink',
      options.signaling,
      () => this.reconnect(),
      (why) => {
        const given = new Map(this.record);
        this.drop();
        options.failed(given, why);
      },
    );
  }

  get publications(): ReadonlyMap<StreamType, Publication> {
    return this.record;
  }

  /** What a local stream is published as. */
  typeOf(stream: LocalStream): StreamType | undefined {
    return [...this.record].find(([, publication]) => publication.stream === stream)?.[0];
  }

  /** Offers a stream with the tracks that it has; `connected` tells the rest. */
  async publish(type: StreamType, stream: LocalStream): Promise<Publication> {
    const small = (): VideoProfile | null => (type === 'main' ? this.options.small(stream) : null);
    const publication: Publication = { stream, state: 'publishing', senders: {}, small, wanted: null, loss: new SoundLoss(), copies: false };
    this.record.set(type, publication);
    stream.linkIs(this, false);
    await this.inTurn(() => this.offer(type, publication));
    return publication;
  }

  /** Resolves when what was offered goes out; rejects with a ConnectionFailed when it does not within `milliseconds`. */
  async connected(milliseconds: number): Promise<void> {
    const end = Date.now() + milliseconds;
    for (;;) {
      const { connection } = this;
      if (!connection) throw new ConnectionFailed('the connection was closed');
      try {
        await connection.connected(end - Date.now());
        return;
      } catch (thrown) {
        // A newer one may have taken its place: then that one counts.
        if (this.connection === connection || Date.now() >= end) throw thrown;
      }
    }
  }

  /** Negotiates a published stream anew after a track came or went. */
  update(type: StreamType): Promise<void> {
    return this.inTurn(async () => {
      const publication = this.record.get(type);
      if (publication) await this.offer(type, publication);
    });
  }

  /** Sends another track of the same kind in place of the one that is sent now; nobody is told. */
  replaceTrack(type: StreamType, track: MediaStreamTrack): Promise<void> {
    return this.inTurn(async () => {
      const publication = this.record.get(type);
      if (!publication) return;
      await publication.senders[track.kind as Kind]?.sender.replaceTrack(track);
      await this.encode(publication);
    });
  }

  /** Makes the encoder follow the stream's profiles. */
  applyProfiles(type: StreamType): Promise<void> {
    return this.inTurn(async () => {
      const publication = this.record.get(type);
      if (publication) await this.encode(publication);
    });
  }

  /** Sends those of a video's encodings that somebody takes, and pauses the others. */
  async wantEncodings(type: StreamType, rids: readonly string[]): Promise<void> {
    const publication = this.record.get(type);
    if (!publication) return;
    publication.wanted = rids;
    await this.applyProfiles(type);
  }

  /** Forgets a stream and stops sending it; the connection closes with the last one. */
  remove(type: StreamType): void {
    const publication = this.record.get(type);
    this.record.delete(type);
    publication?.stream.linkIs(this, null);
    if (this.record.size === 0) {
      this.connection?.close();
      this.connection = null;
      return;
    }
    for (const kind of KINDS) this.silence(publication?.senders[kind]);
  }

  /** Takes back a stream whose publishing failed; what else was published goes on. */
  withdraw(type: StreamType): void {
    this.remove(type);
    if (this.record.size > 0 && !this.connection?.isUp) this.recovery.start('the connection was lost while publishing');
  }

  /**
   * The server says that a transport is dead. Until it has answered an offer of this connection it speaks of the one
   * before, which this side has given up itself: closing the old connection is what makes it die.
   */
  transportClosed(why: string): void {
    if (this.connection !== null && this.answered === this.connection) this.restart(why);
  }

  /** The transport is dead, or the server holds none. */
  restart(why: string): void {
    this.stale = true;
    if (this.connection) this.connection.fail(why);
    if (this.record.size > 0) this.recovery.start(why);
  }

  /** Looks for another way to the server on the connection there is (RFC 8445 §9); of several at a time, one counts. */
  restartIce(): Promise<void> {
    this.restarting ??= this.inTurn(() => this.negotiateIce()).finally(() => (this.restarting = null));
    return this.restarting;
  }

  private async negotiateIce(): Promise<void> {
    const { connection } = this;
    if (!connection || this.stale || this.answered !== connection || connection.pc.signalingState !== 'stable') return;
    const { pc } = connection;
    const { sdp = '' } = await pc.createOffer({ iceRestart: true });
    const offer: RTCSessionDescriptionInit = { type: 'offer', sdp: repairSound(sdp) };
    await pc.setLocalDescription(offer);
    let answer: Answers['uplink-ice-restart'];
    try {
      answer = await this.options.restartIce(offer.sdp ?? '', () => this.connection === connection);
    } catch (thrown) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw thrown;
    }
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
  }

  /** Lets go of the connection but not of the streams: the server forgets this client for a while. */
  suspend(): void {
    this.stale = true;
    this.connection?.close();
  }

  /** For tests and statistics. */
  get peer(): RTCPeerConnection | null {
    return this.connection?.pc ?? null;
  }

  close(): void {
    this.recovery.stop();
    this.drop();
  }

  private drop(): void {
    clearInterval(this.looking);
    this.looking = undefined;
    const streams = [...this.record.values()].map(({ stream }) => stream);
    this.record.clear();
    this.connection?.close();
    this.connection = null;
    for (const stream of streams) stream.linkIs(this, null);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** The m-line stays and is used again for the next track of its kind. */
  private silence(transceiver: RTCRtpTransceiver | undefined): void {
    if (!transceiver || transceiver.currentDirection === 'stopped') return;
    transceiver.direction = 'inactive';
    transceiver.sender.replaceTrack(null).catch(() => undefined);
  }

  /** Negotiates one stream; on a connection that is lost all of them, on a new one. */
  private async offer(type: StreamType, publication: Publication): Promise<void> {
    if (this.record.get(type) !== publication) return;
    if (this.connection && (this.stale || this.connection.isDead)) {
      await this.rebuild();
      return;
    }
    try {
      await this.negotiate(type, publication, this.connection === null);
    } catch (thrown) {
      if (!(thrown instanceof SessionReplaced)) throw thrown;
      await this.rebuild();
    }
  }

  private open(): Connection {
    this.stale = false;
    // What the server says from now on is said of this one.
    for (const publication of this.record.values()) publication.wanted = null;
    const pc = newPeer(this.options.iceServers, this.options.transforms);
    const connection: Connection = new Connection(pc, (why) => {
      // A stream that is being published for the first time fails with its `publish`.
      const published = [...this.record.values()].some((publication) => publication.state === 'published');
      if (this.connection === connection && published) this.recovery.start(why);
    }, this.options.suspect, () => this.tellStreams());
    this.connection = connection;
    this.looking ??= setInterval(() => {
      // A connection that closes meanwhile, a socket that is lost.
      this.lookAtLoss().catch((thrown: unknown) => log.debug('copies of sound:', describe(thrown)));
    }, LOOK_AT_LOSS);
    return connection;
  }

  /** The streams tell their app by what state of the connection they go out. */
  private tellStreams(): void {
    const up = this.connection?.isUp ?? false;
    for (const { stream } of [...this.record.values()]) stream.linkIs(this, up);
  }

  /** Begins to send copies with the sound of which some is lost, or ends it: a negotiation says which. */
  private async lookAtLoss(): Promise<void> {
    if (!this.connection?.isUp) return;
    for (const [type, publication] of [...this.record]) {
      const { senders, loss } = publication;
      if (!senders.audio || !mayHaveCopies(publication.stream.encodings('audio', null)[0]?.maxBitrate)) continue;
      const reported = await reportedOf(senders.audio.sender);
      if (!reported) continue;
      const copies = loss.told(reported);
      if (copies === publication.copies || !preferCopies(senders.audio, copies)) continue;
      publication.copies = copies;
      log.info(`sound is sent ${copies ? 'with' : 'without'} copies: ${(100 * reported.missing).toFixed(1)} % of it is lost`);
      try {
        await this.update(type);
      } catch (thrown) {
        publication.copies = !copies; // tried again with the next report
        throw thrown;
      }
    }
  }

  private async negotiate(type: StreamType, publication: Publication, restart: boolean): Promise<void> {
    const connection = this.connection ?? this.open();
    const { pc } = connection;
    for (const kind of KINDS) await this.arrange(pc, publication, kind);
    let offer: RTCSessionDescriptionInit;
    try {
      const { sdp = '' } = await pc.createOffer();
      offer = { type: 'offer', sdp: repairSound(sdp) };
      await pc.setLocalDescription(offer);
    } catch (thrown) {
      throw rtcError(ErrorCode.CREATE_OFFER_FAILED, `publish failed: createOffer: ${describe(thrown)}`);
    }
    const { stream, senders } = publication;
    let answer: Answers['publish'];
    try {
      answer = await this.options.publish(
        {
          sdp: offer.sdp ?? '',
          streamType: type,
          audioMid: senders.audio?.mid ?? null,
          videoMid: senders.video?.mid ?? null,
          // Looked up whenever it is sent: that may be again after a reconnect, and behind what was muted meanwhile.
          get audioMuted() {
            return stream.isMuted('audio');
          },
          get videoMuted() {
            return stream.isMuted('video');
          },
          restart,
        },
        () => this.record.get(type) === publication && this.connection === connection,
      );
    } catch (thrown) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw thrown;
    }
    this.answered = connection;
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    connection.negotiated();
    this.tellStreams();
    await this.encode(publication);
  }

  /** Holds every sender of a stream to the stream's profiles: a sender keeps what it was told for the track before. */
  private async encode(publication: Publication): Promise<void> {
    for (const kind of KINDS) {
      const sender = publication.senders[kind]?.sender;
      if (!sender) continue;
      const parameters = sender.getParameters();
      // None before the first negotiation, in some browsers; the negotiation comes here again.
      if (parameters.encodings.length === 0) continue;
      const wanted = this.encodings(publication, kind);
      for (const encoding of parameters.encodings) {
        Object.assign(encoding, wanted.find(({ rid }) => rid === encoding.rid) ?? { ...wanted[0], rid: encoding.rid });
      }
      try {
        await sender.setParameters(parameters);
      } catch (thrown) {
        log.warn(`the encoder does not follow the ${kind} profile:`, describe(thrown));
      }
    }
  }

  private encodings({ stream, small, wanted }: Publication, kind: Kind): RTCRtpEncodingParameters[] {
    const encodings = stream.encodings(kind, kind === 'video' ? small() : null);
    // Said of the others as well: a sender that is used again keeps what was paused before.
    if (encodings.length > 1) return encodings.map((one) => ({ ...one, active: wanted?.includes(one.rid ?? '') ?? true }));
    const isLayered = kind === 'video' && isScalable(this.options.videoCodec);
    return isLayered ? encodings.map((one) => ({ ...one, scalabilityMode: 'L1T3' })) : encodings;
  }

  /** Gives a track of the stream an m-line, or takes the one of a track that is gone away. */
  private async arrange(pc: RTCPeerConnection, publication: Publication, kind: Kind): Promise<void> {
    const { stream, senders } = publication;
    const track = stream.outgoing(kind);
    if (!track) {
      if (kind === 'video') publication.wanted = null;
      this.silence(senders[kind]);
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- two fixed keys
      delete senders[kind];
      return;
    }
    if (senders[kind]) {
      await senders[kind].sender.replaceTrack(track);
      return;
    }
    const sendEncodings = this.encodings(publication, kind);
    // How many encodings an m-line has is decided once.
    const idle = pc
      .getTransceivers()
      .find(
        (one) =>
          one.direction === 'inactive' &&
          one.receiver.track.kind === kind &&
          !this.isUsed(one) &&
          (one.sender.getParameters().encodings.length || 1) === sendEncodings.length,
      );
    if (idle) {
      idle.direction = 'sendonly';
      await idle.sender.replaceTrack(track);
      senders[kind] = idle;
    } else {
      senders[kind] = pc.addTransceiver(track, {
        direction: 'sendonly',
        streams: [stream.getMediaStream()],
        sendEncodings,
      });
    }
    // One that was used before may have been told to send copies.
    if (kind === 'audio' && (publication.copies || idle)) preferCopies(senders[kind], publication.copies);
    this.options.transforms?.sends(senders[kind].sender, kind);
    if (kind === 'video' && this.options.videoCodec) forceCodec(senders[kind], this.options.videoCodec);
  }

  private isUsed(transceiver: RTCRtpTransceiver): boolean {
    return [...this.record.values()].some(({ senders }) => Object.values(senders).includes(transceiver));
  }

  /** One attempt to have all streams go out again. */
  private async reconnect(): Promise<void> {
    if (!this.stale) await this.connection?.restarted('uplink', () => this.restartIce());
    await this.inTurn(async () => {
      if (this.record.size === 0 || (!this.stale && this.connection?.revived())) return;
      await this.rebuild();
    });
    await this.connection?.upOrOver(this.connected(CONNECT_TIMEOUT));
  }

  /** Negotiates all streams on a new connection and a new transport of the server. */
  private async rebuild(): Promise<void> {
    this.connection?.close();
    this.connection = null;
    for (const publication of this.record.values()) publication.senders = {};
    let restart = true;
    for (const [type, publication] of [...this.record]) {
      if (this.record.get(type) !== publication) continue;
      await this.negotiate(type, publication, restart);
      restart = false;
    }
  }
}
