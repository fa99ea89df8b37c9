import { asRtcError, describe, ErrorCode, invalidOperation, rtcError, type RtcError } from './errors.js';
import type { AnyEvent, EnterOk, ResumeOk, StreamType } from './generated/messages.js';
import { log } from './logger.js';
import type { VideoCodec } from './media/codecs.js';
import { Downlink, type RemoteTrack } from './media/downlink.js';
import { Uplink } from './media/uplink.js';
import { RoomState, streamKey, type RoomChange } from './room-state.js';
import { AnswerTimeout, ChannelClosed, type Fields, type RequestType } from './signaling/channel.js';
import { Session, type SessionListener, type SessionOptions } from './signaling/session.js';
import type { LocalStream, Publisher } from './streams/local-stream.js';
import { RemoteStream } from './streams/remote-stream.js';
import type { ClientEventMap, ConnectionState, RemoteMutedState } from './types.js';

const ANSWER_TIMEOUT = 5_000;

export interface CallOptions extends SessionOptions {
  autoSubscribe: boolean;
  autoplayDialog: boolean;
  videoCodec: VideoCodec | undefined;
}

/** What a call tells its client. */
export interface CallListener {
  emit<K extends keyof ClientEventMap>(event: K, payload: ClientEventMap[K]): void;
  state(state: ConnectionState): void;
  /** The call is over without having been left. */
  ended(): void;
}

interface Wish {
  audio: boolean;
  video: boolean;
}

/** One stay in one room, from a successful join to its end. */
export class Call implements SessionListener {
  private readonly room = new RoomState();
  private readonly remotes = new Map<string, RemoteStream>();
  /** What this client wants to receive, by stream. */
  private readonly wishes = new Map<string, Wish>();
  /** Streams for which the app itself has said whether it wants them. */
  private readonly decided = new Set<string>();
  private readonly gone = new Map<string, Set<() => void>>();
  private readonly published = new Map<StreamType, LocalStream>();
  private readonly uplink: Uplink;
  private readonly downlink: Downlink;
  private remoteTracks: RemoteTrack[] = [];
  /** Events wait here until the app has seen `join` resolve. */
  private held: (() => void)[] | null = [];
  private over = false;

  private constructor(
    private readonly options: CallOptions,
    private readonly session: Session,
    private readonly listener: CallListener,
  ) {
    this.uplink = new Uplink({
      videoCodec: options.videoCodec,
      publish: (fields) => session.request('publish', fields, ANSWER_TIMEOUT),
      failed: (why) => this.uplinkFailed(why),
    });
    this.downlink = new Downlink({
      answer: async (revision, sdp) => {
        try {
          await session.requestNow('downlink-answer', { revision, sdp }, ANSWER_TIMEOUT);
        } catch (thrown) {
          if (!(thrown instanceof ChannelClosed)) throw thrown;
        }
      },
      askRestart: async () => {
        await session.request('downlink-restart', {}, ANSWER_TIMEOUT);
      },
      tracks: (tracks) => this.assign(tracks),
      failed: (why) => this.mediaGivenUp(ErrorCode.DOWNLINK_RECONNECTION_FAILED, `downlink reconnect failed: ${why}`),
    });
  }

  /** Joins; resolves when the room has let the user in. */
  static async start(options: CallOptions, listener: CallListener): Promise<Call> {
    const { session, entered } = await Session.start(options);
    const call = new Call(options, session, listener);
    call.tell(call.room.reset(entered.snapshot));
    session.listen(call);
    // A task of its own runs after everything that waits for join() itself.
    setTimeout(() => call.release(), 0);
    return call;
  }

  async publish(type: StreamType, stream: LocalStream): Promise<void> {
    try {
      await this.uplink.publish(type, stream);
    } catch (thrown) {
      const error = this.failure(thrown, ErrorCode.SERVER_TIMEOUT, 'publish timeout');
      // The server may have carried it out all the same.
      if (error.getCode() === ErrorCode.SERVER_TIMEOUT) void this.quietly('unpublish', { streamType: type });
      throw error;
    }
    this.published.set(type, stream);
    stream.publishedBy(this.publisher(type));
  }

  async unpublish(type: StreamType): Promise<void> {
    this.published.get(type)?.publishedBy(null);
    this.published.delete(type);
    await this.uplink.unpublish(type);
    try {
      await this.session.request('unpublish', { streamType: type }, ANSWER_TIMEOUT);
    } catch (thrown) {
      throw this.failure(thrown, ErrorCode.SERVER_TIMEOUT, 'unpublish timeout');
    }
  }

  async subscribe(stream: RemoteStream, wish: Wish): Promise<void> {
    const key = this.keyOf(stream, 'subscribe');
    this.decided.add(key);
    await this.receive(stream, key, wish);
    this.listener.emit('stream-subscribed', { stream });
  }

  async unsubscribe(stream: RemoteStream): Promise<void> {
    const key = this.keyOf(stream, 'unsubscribe');
    this.decided.add(key);
    if (!this.wishes.delete(key)) return;
    for (const kind of ['audio', 'video'] as const) stream.receive(kind, null);
    try {
      await this.session.request('unsubscribe', addressOf(stream), ANSWER_TIMEOUT);
    } catch (thrown) {
      throw this.failure(thrown, ErrorCode.API_CALL_TIMEOUT, 'unsubscribe timeout');
    }
  }

  mutedStates(): RemoteMutedState[] {
    const main = this.room.list().filter((info) => info.streamType === 'main');
    return main.map(({ userId, audio, video, audioMuted, videoMuted }) => ({
      userId,
      hasAudio: audio,
      hasVideo: video,
      hasSmall: false,
      audioMuted,
      videoMuted,
    }));
  }

  async leave(): Promise<void> {
    this.finish();
    await this.session.leave();
  }

  /** The peer connections, for tests and statistics. */
  get connections(): { uplink: RTCPeerConnection | null; downlink: RTCPeerConnection | null } {
    return { uplink: this.uplink.connection, downlink: this.downlink.connection };
  }

  // --- what the session says ---

  event(event: AnyEvent): void {
    switch (event.type) {
      case 'downlink-offer':
        this.downlink.handle(event);
        break;
      case 'media-failed':
        this[event.link].restart(`the server closed the transport: ${event.reason}`);
        break;
      case 'client-banned': {
        const { reason, message } = event;
        this.endWith(() => this.listener.emit('client-banned', { reason, message }));
        break;
      }
      case 'server-stopping':
        log.warn(`the server is stopping: ${event.message}`);
        break;
      default:
        this.tell(this.room.apply(event));
    }
  }

  reconnecting(): void {
    this.listener.state('RECONNECTING');
  }

  resumed(state: ResumeOk): void {
    this.tell(this.room.reset(state.snapshot));
    const kept = new Set(state.published.map((info) => info.streamType));
    if ([...this.published.keys()].some((type) => !kept.has(type))) this.uplink.restart('the server lost the stream');
    for (const type of kept) {
      const stream = this.published.get(type);
      if (stream) void this.quietly('mute', { streamType: type, audio: stream.isMuted('audio'), video: stream.isMuted('video') });
    }
    const received = new Map(state.subscriptions.map((one) => [streamKey(one.userId, one.streamType), one]));
    for (const [key, wish] of this.wishes) {
      const known = received.get(key);
      const stream = this.remotes.get(key);
      if (stream && (known?.audio !== wish.audio || known.video !== wish.video)) {
        void this.quietly('subscribe', { ...addressOf(stream), ...wish });
      }
    }
    this.listener.state('CONNECTED');
  }

  reentered(entered: EnterOk): void {
    this.downlink.reset();
    this.resumed({ ...entered, published: [], subscriptions: [] });
  }

  ended(error: RtcError | null): void {
    const removed = 'the server removed this client from the room';
    this.endWith(() => {
      if (error) this.listener.emit('error', error);
      else this.listener.emit('client-banned', { reason: 'kick', message: removed });
    });
  }

  // --- inside ---

  private publisher(type: StreamType): Publisher {
    return {
      muted: (kind, muted) => void this.quietly('mute', { streamType: type, [kind]: muted }),
      tracksChanged: () => this.uplink.update(type),
      trackReplaced: (track) => this.uplink.replaceTrack(type, track),
      profilesChanged: () => this.uplink.applyProfiles(type),
    };
  }

  /** A request whose failure nobody waits for: what it says is said again after a reconnect. */
  private async quietly<T extends RequestType>(type: T, fields: Fields<T>): Promise<void> {
    try {
      await this.session.request(type, fields, ANSWER_TIMEOUT);
    } catch (thrown) {
      if (!this.over) log.warn(`${type}: ${describe(thrown)}`);
    }
  }

  private keyOf(stream: RemoteStream, call: string): string {
    const key = streamKey(stream.getUserId(), stream.getType());
    if (this.remotes.get(key) === stream) return key;
    throw streamGone(call, stream);
  }

  private async receive(stream: RemoteStream, key: string, wish: Wish): Promise<void> {
    this.wishes.set(key, wish);
    const arrived = async (): Promise<void> => {
      const { revision } = await this.session.request('subscribe', { ...addressOf(stream), ...wish }, ANSWER_TIMEOUT);
      await this.downlink.reached(revision);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    let removed: () => void = () => undefined;
    const waiting = this.gone.get(key) ?? new Set();
    this.gone.set(key, waiting);
    const disappointed = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new AnswerTimeout()), ANSWER_TIMEOUT);
      removed = () => reject(streamGone('subscribe', stream));
    });
    waiting.add(removed);
    try {
      await Promise.race([arrived(), disappointed]);
      this.assign(this.remoteTracks);
    } catch (thrown) {
      throw this.failure(thrown, ErrorCode.SUBSCRIPTION_TIMEOUT, 'subscribe timeout');
    } finally {
      clearTimeout(timer);
      waiting.delete(removed);
    }
  }

  /** What the app is told when a request failed: the refusal, or that the server was silent. */
  private failure(thrown: unknown, code: number, timeout: string): RtcError {
    if (!(thrown instanceof AnswerTimeout || thrown instanceof ChannelClosed)) return asRtcError(thrown);
    return this.over ? invalidOperation(`${timeout}: the client is not in the room any more`) : rtcError(code, timeout);
  }

  /** Gives each remote stream the tracks that the downlink carries for it. */
  private assign(tracks: RemoteTrack[]): void {
    this.remoteTracks = tracks;
    for (const [key, stream] of this.remotes) {
      const wish = this.wishes.get(key);
      for (const kind of ['audio', 'video'] as const) {
        const found = tracks.find((one) => one.kind === kind && streamKey(one.userId, one.streamType) === key);
        stream.receive(kind, wish?.[kind] ? (found?.track ?? null) : null);
      }
    }
  }

  /** Hands what changed to the app, in order, when the app may hear of it. */
  private tell(changes: RoomChange[]): void {
    for (const change of changes) {
      const deliver = this.prepare(change);
      if (this.held) this.held.push(deliver);
      else deliver();
    }
  }

  private release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const deliver of held) if (!this.over) deliver();
  }

  private prepare(change: RoomChange): () => void {
    if (!('stream' in change)) {
      const { type, userId } = change;
      return () => this.listener.emit(type, { userId });
    }
    const info = change.stream;
    const key = streamKey(info.userId, info.streamType);
    switch (change.type) {
      case 'stream-added': {
        const stream = new RemoteStream(info, this.options.autoplayDialog);
        this.remotes.set(key, stream);
        return () => {
          this.listener.emit('stream-added', { stream });
          if (this.options.autoSubscribe && !this.decided.has(key)) this.autoReceive(stream, key);
        };
      }
      case 'stream-updated': {
        const stream = this.remotes.get(key);
        stream?.update(info);
        return () => {
          if (!stream) return;
          this.listener.emit('stream-updated', { stream });
          const wish = this.wishes.get(key);
          if (wish) void this.quietly('subscribe', { ...addressOf(stream), ...wish });
        };
      }
      case 'stream-removed': {
        const stream = this.remotes.get(key);
        this.remotes.delete(key);
        this.wishes.delete(key);
        this.decided.delete(key);
        for (const reject of this.gone.get(key) ?? []) reject();
        this.gone.delete(key);
        return () => {
          if (!stream) return;
          this.listener.emit('stream-removed', { stream });
          for (const kind of ['audio', 'video'] as const) stream.receive(kind, null);
        };
      }
    }
  }

  private autoReceive(stream: RemoteStream, key: string): void {
    if (this.over || this.remotes.get(key) !== stream) return;
    this.receive(stream, key, { audio: true, video: true }).catch((thrown: unknown) => {
      const error = asRtcError(thrown);
      if (!this.over && error.getCode() !== ErrorCode.REMOTE_STREAM_NOT_EXIST) log.warn(error.message);
    });
  }

  private uplinkFailed(why: string): void {
    for (const [type, stream] of this.published) {
      stream.publishedBy(null);
      void this.quietly('unpublish', { streamType: type });
    }
    this.published.clear();
    this.mediaGivenUp(ErrorCode.UPLINK_RECONNECTION_FAILED, `uplink reconnect failed: ${why}`);
  }

  private mediaGivenUp(code: number, detail: string): void {
    if (!this.over) this.listener.emit('error', rtcError(code, detail));
  }

  private endWith(say: () => void): void {
    if (this.over) return;
    this.release();
    this.finish();
    this.session.close();
    this.listener.ended();
    say();
  }

  private finish(): void {
    this.over = true;
    for (const stream of this.published.values()) stream.publishedBy(null);
    this.published.clear();
    this.uplink.close();
    this.downlink.close();
    for (const stream of this.remotes.values()) stream.close();
    this.remotes.clear();
  }
}

function addressOf(stream: RemoteStream): { userId: string; streamType: StreamType } {
  return { userId: stream.getUserId(), streamType: stream.getType() };
}

function streamGone(call: string, stream: RemoteStream): RtcError {
  const detail = `${call} failed: user ${stream.getUserId()} does not publish this stream any more`;
  return rtcError(ErrorCode.REMOTE_STREAM_NOT_EXIST, detail);
}

