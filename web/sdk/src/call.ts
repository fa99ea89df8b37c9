import { describe, ErrorCode, rtcError, type RtcError } from './errors.js';
import type { AnyEvent, EnterOk, ResumeOk, VideoType } from './generated/messages.js';
import { KINDS } from './kinds.js';
import { log } from './logger.js';
import type { VideoCodec } from './media/codecs.js';
import { Downlink } from './media/downlink.js';
import { Movement, SilenceWatch } from './media/moved.js';
import { Uplink } from './media/uplink.js';
import type { Cancellation } from './operations.js';
import { networkEvents } from './page.js';
import type { VideoProfile } from './profiles.js';
import { Publications } from './publications.js';
import { QualityReports } from './quality.js';
import { RoomState, type RoomChange } from './room-state.js';
import { ChannelClosed, type Fields } from './signaling/channel.js';
import { Session, type SessionListener, type SessionOptions } from './signaling/session.js';
import { Sei } from './sei/sei.js';
import { framesWorker } from './sei/transforms.js';
import type { SeiMessage } from './sei/nal.js';
import type { LocalStream } from './streams/local-stream.js';
import type { RemoteStream } from './streams/remote-stream.js';
import { ANSWER_TIMEOUT, Subscriptions, type Wanted } from './subscriptions.js';
import { Statistics } from './statistics.js';
import type { ClientBannedInfo, ClientEventMap, ConnectionState, RemoteMutedState } from './types.js';
import { Volumes, type Evaluation, type Sounding } from './volumes.js';

/** Milliseconds: how long a client that only looks on waits for a sign of the server, and over how long those waits are spread. */
const VIEWERS_PATIENCE = 3_000;
const VIEWERS_SPREAD = 1_000;

export interface CallOptions extends SessionOptions {
  autoSubscribe: boolean;
  autoplayDialog: boolean;
  videoCodec: VideoCodec | undefined;
  /** Whether messages go with frames (`enableSEI`). */
  sei: boolean;
  /** TURN servers of the app. */
  iceServers: readonly RTCIceServer[];
  /** What the small stream of a main stream is; null for none. */
  small: (stream: LocalStream) => VideoProfile | null;
}

/** What a call tells its client. */
export interface CallListener {
  emit<K extends keyof ClientEventMap>(event: K, payload: ClientEventMap[K]): void;
  state(state: ConnectionState): void;
  /** The call is over without having been left. */
  ended(): void;
}

/** One stay in one room, from a successful join to its end. */
export class Call implements SessionListener {
  private readonly room = new RoomState();
  private readonly uplink: Uplink;
  readonly publications: Publications;
  private readonly downlink: Downlink;
  private readonly subscriptions: Subscriptions;
  readonly statistics: Statistics;
  private readonly quality: QualityReports;
  private readonly volumes: Volumes;
  private readonly movement: Movement;
  private readonly watch: SilenceWatch;
  /** Events wait here until the app has seen `join` resolve. */
  private held: (() => void)[] | null = [];
  private readonly sei: Sei;
  private over = false;

  private constructor(
    private readonly options: CallOptions,
    private readonly session: Session,
    private readonly listener: CallListener,
    worker: Worker | null,
  ) {
    const suspect = (why: string): void => this.movement.suspect(why);
    this.sei = new Sei({
      enabled: options.sei,
      worker,
      senderOf: (type) => this.uplink.publications.get(type)?.senders.video?.sender,
      came: (track, message) => this.seiCame(track, message),
    });
    const { transforms } = this.sei;
    this.uplink = new Uplink({
      iceServers: options.iceServers,
      transforms,
      suspect,
      restartIce: (sdp, wanted) => session.request('uplink-ice-restart', { sdp }, ANSWER_TIMEOUT, wanted),
      videoCodec: options.videoCodec,
      small: options.small,
      signaling: session,
      publish: (fields, wanted) => session.request('publish', fields, ANSWER_TIMEOUT, wanted),
      failed: (given, why) => this.publications.failed(given, why),
    });
    this.publications = new Publications(this.uplink, {
      session,
      enter: options.enter,
      small: options.small,
      isOver: () => this.over,
      emit: (event, error) => listener.emit(event, error),
      quietly: (type, fields) => this.quietly(type, fields),
    });
    this.downlink = new Downlink({
      iceServers: options.iceServers,
      transforms,
      signaling: session,
      answer: async (revision, sdp) => {
        try {
          await session.requestNow('downlink-answer', { revision, sdp }, ANSWER_TIMEOUT);
        } catch (thrown) {
          if (!(thrown instanceof ChannelClosed)) throw thrown;
        }
      },
      askRestart: () => session.requestNow('downlink-restart', {}, ANSWER_TIMEOUT),
      suspect,
      askIceRestart: () => session.request('downlink-ice-restart', {}, ANSWER_TIMEOUT),
      tracks: (tracks) => this.subscriptions.carry(tracks),
      moved: () => this.subscriptions.tellStreams(),
      failed: (why) => this.mediaGivenUp(ErrorCode.DOWNLINK_RECONNECTION_FAILED, `downlink reconnect failed: ${why}`),
    });
    this.subscriptions = new Subscriptions(session, this.downlink);
    this.statistics = new Statistics(this.uplink, this.downlink, this.subscriptions);
    this.quality = new QualityReports({ isUp: () => session.isUp, connections: () => this.connections }, (quality) =>
      this.listener.emit('network-quality', quality),
    );
    this.volumes = new Volumes({
      streams: () => this.sounding(),
      emit: (info) => {
        if (!this.held) listener.emit('audio-volume', info);
      },
      ask: (interval) => void this.quietly('watch-volumes', { interval }),
    });
    this.movement = new Movement([this.uplink, this.downlink], () => session.suspect());
    this.watch = new SilenceWatch(
      () => this.uplink.peer ?? (this.subscriptions.received.length > 0 ? this.downlink.peer : null),
      () => this.mediaStopped(),
    );
    networkEvents((target, name) => target.addEventListener(name, this.networkChanged));
  }

  /** The server reports on what is published all the time. What comes in may end because its publisher is silent, and then all who look on notice it at once: those find out first whether they are still connected. */
  private mediaStopped(): void {
    if (this.uplink.peer) this.movement.suspect('nothing comes in any more');
    else setTimeout(() => !this.over && this.session.suspect(VIEWERS_PATIENCE), Math.random() * VIEWERS_SPREAD);
  }

  private readonly networkChanged = (): void => this.movement.suspect('the browser says that the network has changed');

  /** Joins; resolves when the room has let the user in. */
  static async start(options: CallOptions, listener: CallListener): Promise<Call> {
    const starting = options.sei ? framesWorker() : Promise.resolve(null);
    const { session, entered } = await Session.start(options).catch(async (thrown: unknown) => {
      (await starting)?.terminate();
      throw thrown;
    });
    const call = new Call(options, session, listener, await starting);
    call.tell(call.room.reset(entered.snapshot));
    session.listen(call);
    // A task of its own runs after everything that waits for join() itself.
    setTimeout(() => call.release(), 0);
    return call;
  }

  /** The app says what it wants of a stream: nothing of it is received unasked any more. */
  decide(stream: RemoteStream): void {
    this.subscriptions.decide(stream);
  }

  async subscribe(stream: RemoteStream, wanted: Wanted, cancellation: Cancellation): Promise<void> {
    const came = (): void => this.listener.emit('stream-subscribed', { stream });
    await this.subscriptions.subscribe(stream, wanted, cancellation, came);
  }

  unsubscribe(stream: RemoteStream): Promise<void> {
    return this.subscriptions.unsubscribe(stream);
  }

  setVideoType(stream: RemoteStream, videoType: VideoType): Promise<void> {
    return this.subscriptions.setVideoType(stream, videoType);
  }

  /** Sends a message with the next frame of the published video. */
  sendSei(message: SeiMessage): void {
    this.sei.send(Date.now(), message);
  }

  /** How often the app is told how loud everybody is. */
  evaluate(evaluation: Evaluation): void {
    // After its end the client is in the room until the server has heard of it.
    if (!this.over) this.volumes.set(evaluation);
  }

  /** What every remote user's main stream has and what of it is muted, in the order of the streams. */
  mutedStates(): RemoteMutedState[] {
    return this.room.mutedStates();
  }

  async leave(): Promise<void> {
    const left = this.session.leave();
    this.finish();
    await left;
  }

  /** The page goes away and may be shown again. The others see the user go now. */
  suspend(): void {
    this.session.suspend();
    this.uplink.suspend();
    this.downlink.reset();
  }

  /** The page is shown again: the user comes back as after a lost socket. */
  revive(): void {
    this.session.revive();
  }

  /** The key with which the room is entered again when the server has lost the session. */
  renewPrivateMapKey(key: string): void {
    this.options.enter.privateMapKey = key;
  }

  /** The peer connections, for tests and statistics. */
  get connections(): { uplink: RTCPeerConnection | null; downlink: RTCPeerConnection | null } {
    return { uplink: this.uplink.peer, downlink: this.downlink.peer };
  }

  // --- what the session says ---

  event(event: AnyEvent): void {
    switch (event.type) {
      case 'downlink-offer':
        this.downlink.handle(event);
        break;
      case 'media-failed':
        this[event.link].transportClosed(`the server closed the transport: ${event.reason}`);
        break;
      case 'ice-restart-wanted':
        this.uplink.restartIce().catch((thrown: unknown) => log.info('ICE restart:', describe(thrown)));
        break;
      case 'video-received': {
        const { userId, streamType, videoType, reason } = event;
        this.listener.emit('video-received', { userId, streamType, videoType, reason });
        break;
      }
      case 'network-quality':
        this.quality.told(event);
        break;
      case 'volumes':
        this.volumes.told(event);
        break;
      case 'encodings-wanted':
        this.uplink
          .wantEncodings(event.streamType, event.rids)
          .catch((thrown: unknown) => log.warn(`encodings-wanted: ${describe(thrown)}`));
        break;
      case 'client-banned': {
        const { reason, message } = event;
        this.endWith(() => this.listener.emit('client-banned', banned(reason, message)));
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
    this.publications.reconcile(state.role ?? 'anchor', state.published);
    this.subscriptions.reconcile(state.subscriptions, state.videoTypes ?? []);
    this.volumes.renew();
    this.quality.renew();
    this.listener.state('CONNECTED');
  }

  reentered(entered: EnterOk): void {
    this.downlink.reset();
    this.publications.entered();
    this.tell(this.room.reset(entered.snapshot));
    this.subscriptions.reconcile([], []);
    this.volumes.renew();
    this.quality.renew();
    this.listener.state('CONNECTED');
  }

  ended(error: RtcError | null): void {
    const removed = 'the server removed this client from the room';
    this.endWith(() => {
      if (error) this.listener.emit('error', error);
      else this.listener.emit('client-banned', banned('kick', removed));
    });
  }

  // --- inside ---

  /** The streams with sound, the own ones first. */
  private sounding(): Sounding[] {
    const { userId } = this.options.login;
    const own = [...this.uplink.publications].map(([streamType, { stream }]) => ({ userId, streamType, stream }));
    const others = this.subscriptions.streams.map((stream) => ({
      userId: stream.getUserId(),
      streamType: stream.getType(),
      stream,
    }));
    return [...own, ...others].filter(({ stream }) => stream.hasAudio());
  }

  private seiCame(track: MediaStreamTrack, { type, data }: SeiMessage): void {
    const stream = this.subscriptions.streams.find((one) => one.getVideoTrack() === track);
    if (!stream || this.held) return;
    const isFromAuxiliary = stream.getType() === 'auxiliary';
    const seiPayloadType = type as 5 | 243;
    this.listener.emit('sei-message', { data: data.buffer as ArrayBuffer, userId: stream.getUserId(), seiPayloadType, isFromAuxiliary });
  }

  /** A request that the next resume makes superfluous if the socket takes it away. */
  private async quietly<T extends 'mute' | 'unpublish' | 'watch-volumes'>(type: T, fields: Fields<T>): Promise<void> {
    try {
      await this.session.requestNow(type, fields, ANSWER_TIMEOUT);
    } catch (thrown) {
      if (!this.over && !(thrown instanceof ChannelClosed)) log.warn(`${type}: ${describe(thrown)}`);
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
    if (!this.over) this.quality.start();
    for (const deliver of held) if (!this.over) deliver();
  }

  private prepare(change: RoomChange): () => void {
    if (!('stream' in change)) {
      const { type, userId } = change;
      return () => this.listener.emit(type, { userId });
    }
    const info = change.stream;
    switch (change.type) {
      case 'stream-added': {
        const stream = this.subscriptions.add(info, this.options.autoplayDialog);
        return () => {
          this.listener.emit('stream-added', { stream });
          if (this.options.autoSubscribe && !this.over) this.subscriptions.receiveUnasked(stream);
        };
      }
      case 'stream-updated': {
        const stream = this.subscriptions.update(info);
        return () => {
          if (!stream) return;
          this.listener.emit('stream-updated', { stream });
          this.subscriptions.renew(stream);
        };
      }
      case 'stream-removed': {
        const stream = this.subscriptions.remove(info);
        return () => {
          if (!stream) return;
          this.listener.emit('stream-removed', { stream });
          for (const kind of KINDS) stream.receive(kind, null);
        };
      }
    }
  }

  private mediaGivenUp(code: number, detail: string): void {
    if (!this.over) this.listener.emit('error', rtcError(code, detail));
  }

  private endWith(say: () => void): void {
    if (this.over) return;
    this.release();
    this.session.close();
    this.finish();
    this.listener.ended();
    say();
  }

  private finish(): void {
    this.over = true;
    this.volumes.close();
    this.quality.stop();
    this.watch.stop();
    networkEvents((target, name) => target.removeEventListener(name, this.networkChanged));
    this.publications.close();
    this.downlink.close();
    this.sei.close();
    this.subscriptions.close();
  }
}

/** As apps of 4.14 and later read it, and those of before. */
function banned(reason: ClientBannedInfo['reason'], message: string): ClientBannedInfo {
  const info = { reason, message, getCode: () => ErrorCode.CLIENT_BANNED };
  // Not a part of what is written down of it.
  return Object.defineProperty(info, 'getCode', { enumerable: false });
}
