import { asRtcError, describe, ErrorCode, invalidOperation, invalidParameter, rtcError, type RtcError } from './errors.js';
import type { Role, StreamInfo, StreamType } from './generated/messages.js';
import { log } from './logger.js';
import { ConnectionFailed, MEDIA_DEADLINE } from './media/connection.js';
import type { Publication, Uplink } from './media/uplink.js';
import { Mutes } from './mutes.js';
import type { Cancellation } from './operations.js';
import type { VideoProfile } from './profiles.js';
import { checkShape } from './shape.js';
import { ChannelClosed, type Fields } from './signaling/channel.js';
import { isSilence, type Session, type SessionOptions } from './signaling/session.js';
import type { LocalStream, Publisher } from './streams/local-stream.js';
import { ANSWER_TIMEOUT, notInRoom } from './subscriptions.js';
import type { ClientEventMap } from './types.js';

/** What is around the publications of a call. */
export interface PublicationsOptions {
  session: Session;
  /** With what the room was entered; the role in it is the one that is wanted. */
  enter: SessionOptions['enter'];
  /** What the small stream of a main stream is; null for none. */
  small: (stream: LocalStream) => VideoProfile | null;
  isOver: () => boolean;
  emit: (event: 'error', payload: ClientEventMap['error']) => void;
  /** A request that the next resume makes superfluous if the socket takes it away. */
  quietly: <T extends 'mute' | 'unpublish'>(type: T, fields: Fields<T>) => Promise<void>;
}

/** The streams that this client publishes, and the role in which it may. */
export class Publications {
  private readonly mutes: Mutes;

  constructor(
    private readonly uplink: Uplink,
    private readonly options: PublicationsOptions,
  ) {
    this.mutes = new Mutes(
      (type) => (options.isOver() ? undefined : uplink.publications.get(type)?.stream),
      (fields) => options.quietly('mute', fields),
    );
  }

  /** Publishes a stream; resolves when it goes out. What was half done when that fails is taken back. */
  async publish(type: StreamType, stream: LocalStream, cancellation: Cancellation): Promise<void> {
    const known = this.uplink.publications.get(type);
    if (known ?? this.uplink.typeOf(stream)) {
      throw invalidOperation('duplicate publishing, please unpublish and then re-publish');
    }
    if (type === 'main') checkShape(stream, this.options.small(stream), 'publish');
    const end = Date.now() + MEDIA_DEADLINE;
    const { sent } = stream;
    try {
      const publication = await cancellation.race(this.uplink.publish(type, stream));
      stream.publishedBy(this, this.publisher(type), sent);
      await cancellation.race(this.uplink.connected(end - Date.now()));
      publication.state = 'published';
    } catch (thrown) {
      const error = this.failure(thrown, 'publish');
      stream.publishedBy(this, null);
      this.uplink.withdraw(type);
      // The server may have carried it out all the same.
      void this.options.quietly('unpublish', { streamType: type });
      throw error;
    }
  }

  /** Stops publishing a stream. Without a socket the server is told after the next resume. */
  async unpublish(stream: LocalStream): Promise<void> {
    const type = this.uplink.typeOf(stream);
    if (!type) throw invalidParameter('unpublish: the stream is not published by this client');
    stream.publishedBy(this, null);
    this.uplink.remove(type);
    try {
      await this.options.session.requestNow('unpublish', { streamType: type }, ANSWER_TIMEOUT);
    } catch (thrown) {
      if (!(thrown instanceof ChannelClosed)) throw this.failure(thrown, 'unpublish');
    }
  }

  /** The main stream that is published or being published. */
  get mainStream(): LocalStream | undefined {
    return this.uplink.publications.get('main')?.stream;
  }

  /** Has the encoders follow a changed profile of the small stream. */
  async applySmall(): Promise<void> {
    await this.uplink.applyProfiles('main');
  }

  /** Becomes an anchor or audience. The server takes the streams of who becomes audience away. */
  async switchRole(role: Role): Promise<void> {
    const { enter } = this.options;
    const { role: before } = enter;
    // From here on it is what is wanted: a resume asks for nothing else.
    enter.role = role;
    try {
      await this.options.session.request('switch-role', { role, privateMapKey: enter.privateMapKey }, ANSWER_TIMEOUT);
    } catch (thrown) {
      if (this.options.isOver()) throw notInRoom('switchRole');
      if (!isSilence(thrown)) {
        enter.role = before;
        throw asRtcError(thrown);
      }
      // The server may have done it all the same.
      if (role === 'audience') this.drop();
      throw rtcError(ErrorCode.SWITCH_ROLE_FAILED, 'switchRole timeout');
    }
    if (role === 'audience') this.drop();
  }

  /** An audience publishes nothing; what it published stays the app's. */
  private drop(): void {
    for (const [type, { stream }] of [...this.uplink.publications]) {
      stream.publishedBy(this, null);
      this.uplink.remove(type);
    }
  }

  private publisher(type: StreamType): Publisher {
    return {
      muted: () => this.mutes.tell(type),
      tracksChanged: async () => {
        try {
          await this.uplink.update(type);
        } catch (thrown) {
          // Without a socket the next resume shows what the server lacks.
          if (this.options.session.isUp || !isSilence(thrown)) throw this.failure(thrown, 'publish');
        }
      },
      trackReplaced: (track) => this.uplink.replaceTrack(type, track),
      profilesChanged: () => this.uplink.applyProfiles(type),
    };
  }

  /** First the role: the server may have changed it and could not tell, and takes the streams of an audience away. */
  reconcile(held: Role, published: readonly StreamInfo[]): void {
    const { enter } = this.options;
    const { role, privateMapKey } = enter;
    if (role === 'audience') this.drop();
    if (held === role) {
      this.compare(published);
      return;
    }
    this.options.session.requestNow('switch-role', { role, privateMapKey }, ANSWER_TIMEOUT).then(
      () => this.compare(published),
      (thrown: unknown) => {
        if (isSilence(thrown)) return; // the next resume asks again
        enter.role = held;
        if (held === 'audience') this.drop();
        if (!this.options.isOver()) this.options.emit('error', asRtcError(thrown));
      },
    );
  }

  /** Makes what the server holds of this client's streams and what is published the same again, both ways. */
  private compare(held: readonly StreamInfo[]): void {
    const known = new Map(held.map((info) => [info.streamType, info]));
    for (const [type, { stream, state }] of this.uplink.publications) {
      const info = known.get(type);
      known.delete(type);
      // One that is just being published is asked for again by its own `publish`; of its mutes the server may have missed some.
      const isPublished = state === 'published';
      if (!info) {
        if (isPublished) this.uplink.restart('the server lost the stream');
        continue;
      }
      if (isPublished && (info.audio !== stream.hasAudio() || info.video !== stream.hasVideo())) {
        this.uplink.update(type).catch((thrown: unknown) => log.warn(`publish: ${describe(thrown)}`));
      }
      this.mutes.tell(type);
    }
    for (const streamType of known.keys()) void this.options.quietly('unpublish', { streamType });
  }

  /** What the app is told when an operation failed: the refusal, or what was silent. */
  private failure(thrown: unknown, call: 'publish' | 'unpublish'): RtcError {
    if (this.options.isOver()) return notInRoom(call);
    if (thrown instanceof ConnectionFailed) {
      return rtcError(ErrorCode.ICE_TRANSPORT_ERROR, `${call} failed: ${thrown.message}`);
    }
    const code = call === 'publish' ? ErrorCode.SERVER_TIMEOUT : ErrorCode.API_CALL_TIMEOUT;
    return isSilence(thrown) ? rtcError(code, `${call} timeout`) : asRtcError(thrown);
  }

  /** The uplink gave these up. */
  failed(given: ReadonlyMap<StreamType, Publication>, why: string): void {
    for (const [streamType, { stream }] of given) {
      stream.publishedBy(this, null);
      void this.options.quietly('unpublish', { streamType });
    }
    const error = rtcError(ErrorCode.UPLINK_RECONNECTION_FAILED, `uplink reconnect failed: ${why}`);
    if (!this.options.isOver()) this.options.emit('error', error);
  }

  /** The room was entered again, and knows nothing of them. */
  entered(): void {
    if (this.uplink.publications.size > 0) this.uplink.restart('the room was entered again');
  }

  close(): void {
    for (const { stream } of this.uplink.publications.values()) stream.publishedBy(this, null);
    this.uplink.close();
  }
}
