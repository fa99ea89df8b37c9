import { describe, ErrorCode, rtcError } from '../errors.js';
import type { Answers, StreamType } from '../generated/messages.js';
import type { Fields } from '../signaling/channel.js';
import type { LocalStream } from '../streams/local-stream.js';
import { forceCodec, type VideoCodec } from './codecs.js';
import { connected, Recovery, watch } from './connection.js';

type Kind = 'audio' | 'video';
const KINDS: readonly Kind[] = ['audio', 'video'];

interface Publication {
  stream: LocalStream;
  senders: Partial<Record<Kind, RTCRtpTransceiver>>;
}

export interface UplinkOptions {
  videoCodec: VideoCodec | undefined;
  /** Sends a publish request; rejects when the server refuses or is silent. */
  publish: (fields: Fields<'publish'>) => Promise<Answers['publish']>;
  /** All attempts to connect anew failed; nothing is published any more. */
  failed: (why: string) => void;
}

/** The peer connection that this client's own streams go out by. It exists while a stream is published. */
export class Uplink {
  private pc: RTCPeerConnection | null = null;
  private readonly publications = new Map<StreamType, Publication>();
  private readonly recovery: Recovery;
  /** Negotiations follow one another. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: UplinkOptions) {
    this.recovery = new Recovery(
      'uplink',
      () => this.reconnect(),
      (why) => {
        this.drop();
        options.failed(why);
      },
    );
  }

  /** Publishes a stream with the tracks that it has. */
  publish(type: StreamType, stream: LocalStream): Promise<void> {
    return this.inTurn(async () => {
      const publication: Publication = { stream, senders: {} };
      this.publications.set(type, publication);
      try {
        await this.negotiate(type, publication, false);
      } catch (thrown) {
        this.remove(type);
        throw thrown;
      }
    });
  }

  /** Negotiates a published stream anew after a track came or went. */
  update(type: StreamType): Promise<void> {
    return this.inTurn(async () => {
      const publication = this.publications.get(type);
      if (publication) await this.negotiate(type, publication, false);
    });
  }

  /** Sends other tracks of the same kinds in place of those that are sent now; nobody is told. */
  async replaceTrack(type: StreamType, track: MediaStreamTrack): Promise<void> {
    await this.publications.get(type)?.senders[track.kind as Kind]?.sender.replaceTrack(track);
  }

  /** Makes the encoder follow the stream's profiles. */
  async applyProfiles(type: StreamType): Promise<void> {
    const publication = this.publications.get(type);
    if (!publication) return;
    for (const kind of KINDS) {
      const sender = publication.senders[kind]?.sender;
      if (!sender) continue;
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) Object.assign(encoding, publication.stream.encoding(kind));
      await sender.setParameters(parameters);
    }
  }

  /** Stops sending a stream; the connection closes with the last one. */
  unpublish(type: StreamType): Promise<void> {
    return this.inTurn(() => {
      this.remove(type);
      return Promise.resolve();
    });
  }

  /** The server says that the transport is dead, or holds none. */
  restart(why: string): void {
    if (this.publications.size > 0) this.recovery.start(why);
  }

  get isConnected(): boolean {
    return this.pc?.connectionState === 'connected';
  }

  /** For tests and statistics. */
  get connection(): RTCPeerConnection | null {
    return this.pc;
  }

  close(): void {
    this.recovery.stop();
    this.drop();
  }

  private drop(): void {
    this.publications.clear();
    this.pc?.close();
    this.pc = null;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private remove(type: StreamType): void {
    const publication = this.publications.get(type);
    this.publications.delete(type);
    if (this.publications.size === 0) {
      this.pc?.close();
      this.pc = null;
      return;
    }
    for (const kind of KINDS) this.silence(publication?.senders[kind]);
  }

  /** The m-line stays and is used again for the next track of its kind. */
  private silence(transceiver: RTCRtpTransceiver | undefined): void {
    if (!transceiver) return;
    transceiver.direction = 'inactive';
    transceiver.sender.replaceTrack(null).catch(() => undefined);
  }

  private ensure(): RTCPeerConnection {
    if (this.pc) return this.pc;
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.pc = pc;
    return pc;
  }

  private async negotiate(type: StreamType, publication: Publication, restart: boolean): Promise<void> {
    const fresh = this.pc === null;
    const pc = this.ensure();
    for (const kind of KINDS) await this.arrange(pc, publication, kind);
    let offer: RTCSessionDescriptionInit;
    try {
      offer = await pc.createOffer();
      await pc.setLocalDescription(offer);
    } catch (thrown) {
      throw rtcError(ErrorCode.CREATE_OFFER_FAILED, `publish failed: createOffer: ${describe(thrown)}`);
    }
    const { stream, senders } = publication;
    let answer: Answers['publish'];
    try {
      answer = await this.options.publish({
        sdp: offer.sdp ?? '',
        streamType: type,
        audioMid: senders.audio?.mid ?? null,
        videoMid: senders.video?.mid ?? null,
        audioMuted: stream.isMuted('audio'),
        videoMuted: stream.isMuted('video'),
        restart,
      });
    } catch (thrown) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw thrown;
    }
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    if (fresh) watch(pc, (why) => this.restart(why));
  }

  /** Gives a track of the stream an m-line, or takes the one of a track that is gone away. */
  private async arrange(pc: RTCPeerConnection, publication: Publication, kind: Kind): Promise<void> {
    const { stream, senders } = publication;
    const track = kind === 'audio' ? stream.getAudioTrack() : stream.getVideoTrack();
    if (!track) {
      this.silence(senders[kind]);
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- two fixed keys
      delete senders[kind];
      return;
    }
    if (senders[kind]) {
      await senders[kind].sender.replaceTrack(track);
      return;
    }
    const idle = pc
      .getTransceivers()
      .find((one) => one.direction === 'inactive' && one.receiver.track.kind === kind && !this.isUsed(one));
    if (idle) {
      idle.direction = 'sendonly';
      await idle.sender.replaceTrack(track);
      senders[kind] = idle;
    } else {
      senders[kind] = pc.addTransceiver(track, {
        direction: 'sendonly',
        streams: [stream.mediaStream],
        sendEncodings: [stream.encoding(kind)],
      });
    }
    if (kind === 'video' && this.options.videoCodec) forceCodec(senders[kind], this.options.videoCodec);
  }

  private isUsed(transceiver: RTCRtpTransceiver): boolean {
    return [...this.publications.values()].some(({ senders }) => Object.values(senders).includes(transceiver));
  }

  private reconnect(): Promise<void> {
    return this.inTurn(async () => {
      this.pc?.close();
      this.pc = null;
      let restart = true;
      for (const [type, publication] of this.publications) {
        publication.senders = {};
        await this.negotiate(type, publication, restart);
        restart = false;
      }
      const pc = this.pc as RTCPeerConnection | null;
      if (pc) await connected(pc);
    });
  }
}
