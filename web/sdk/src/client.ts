import { Call, type CallListener } from './call.js';
import { findServer, placesHere, proxyServer } from './discover.js';
import { Emitter } from './emitter.js';
import { describe, ErrorCode, invalidOperation, invalidParameter, rtcError, type RtcError } from './errors.js';
import type { StreamType } from './generated/messages.js';
import { log } from './logger.js';
import { isScalable } from './media/codecs.js';
import { ALONE, Operations, type Cancellation } from './operations.js';
import { pageEvents } from './page.js';
import { smallProfile, type VideoProfile } from './profiles.js';
import { claim, type Claim } from './registry.js';
import { checkShape } from './shape.js';
import { checkPublishable, localStream, remoteStream } from './streams/identity.js';
import type { RemoteStream } from './streams/remote-stream.js';
import type * as api from './types.js';
import type { ClientConfig, ClientEventMap, ConnectionState, JoinOptions, ProxyServer, RemoteMutedState, Role } from './types.js';
import { canSend, isSmallStreamSupported } from './support.js';
import {
  evaluation,
  eventHandler,
  joinOptions,
  privateMapKeyOf,
  remoteStreamType,
  roleOf,
  seiMessage,
  smallStreamProfile,
  subscribeOptions,
  turnServers,
  videoType,
} from './validate.js';
import { VERSION } from './version.js';
import { NO_EVALUATION } from './volumes.js';

type Place =
  | { state: 'outside' }
  | { state: 'inside'; call: Call }
  /** The server or the network ended it; `leave` is still welcome. */
  | { state: 'removed' };

const publishing = (type: StreamType): string => `publish ${type}`;

/** One user's way into one room at a time. */
export class Client extends Emitter<ClientEventMap> implements api.Client {
  readonly #config: ClientConfig;
  #proxy: string | undefined;
  #place: Place = { state: 'outside' };
  #connection: ConnectionState = 'DISCONNECTED';
  /** The places on this page that `join` asked for and that were not given back yet; the first is held. */
  readonly #claims: Claim[] = [];
  readonly #operations = new Operations();
  #sendsSmall = false;
  #turnServers: RTCIceServer[] = [];
  #isDestroyed = false;
  /** What the app wants the small stream to be; null for what suits the big one. */
  #smallProfile: VideoProfile | null = null;
  #evaluation = NO_EVALUATION;

  /** Made by `TRTC.createClient`. */
  constructor(config: ClientConfig) {
    super();
    this.#config = config;
  }

  /** Says where the server is: an http, https, ws or wss address. Before `join`. */
  setProxyServer(server: string | ProxyServer): void {
    this.mustBeOutside('setProxyServer: call it before join()');
    this.#proxy = proxyServer(server);
  }

  /** Names TURN servers for networks that let nothing else through. Before `join`. */
  setTurnServer(servers: api.TurnServerConfig | api.TurnServerConfig[]): void {
    const named = turnServers(servers);
    this.mustBeOutside('setTurnServer: call it before join()');
    this.#turnServers = named;
  }

  /** Lets go of the client, after `leave`. Nothing can be done with it afterwards. */
  destroy(): void {
    this.mustBeOutside('destroy: the client is in a room; leave() first');
    this.#isDestroyed = true;
    this.off('*');
  }

  /** Enters a room, which comes into being with its first user. */
  async join(options: JoinOptions): Promise<void> {
    if (this.#isDestroyed) throw invalidOperation('join: the client was destroyed; make another one with createClient()');
    const { sdkAppId, userId, useStringRoomId = false } = this.#config;
    const { roomId, role: asked = 'audience', privateMapKey = '' } = joinOptions(options, useStringRoomId);
    // In a call everybody is an anchor, whatever is said.
    const role = this.#config.mode === 'live' ? asked : 'anchor';
    const url = findServer(placesHere(this.#proxy));
    const place = claim(sdkAppId, userId, roomId);
    this.#claims.push(place);
    await this.#operations.add('join', ALONE, async () => {
      try {
        if (this.#place.state === 'inside') throw invalidOperation('join: the client is in a room; leave() first');
        await place.granted();
        await this.enter(url, { roomId, role, privateMapKey });
      } catch (thrown) {
        this.giveBack(place);
        throw thrown;
      }
      log.info(`${userId} joined room ${roomId}`);
    });
  }

  /** Leaves the room: what is published stops, what is received is closed. */
  async leave(): Promise<void> {
    if (this.#place.state === 'outside' && !this.#operations.has('join')) {
      throw invalidOperation('leave: the client is not in a room');
    }
    for (const one of this.#claims) one.ending();
    const kept = ['join', 'leave', 'unpublish', 'unsubscribe'];
    this.#operations.cancel((name) => invalidOperation(`${name}: cancelled by leave()`), kept);
    await this.#operations.add('leave', ALONE, async () => {
      const place = this.#place;
      if (place.state === 'inside') await place.call.leave();
      // The join() before may have failed, or the server may have ended it meanwhile: outside is outside.
      this.outside('outside');
    });
  }

  /** Publishes a stream that is initialized; a screen may go beside the main stream with `isAuxiliary`. */
  async publish(asked: api.LocalStream, options: { isAuxiliary?: boolean } = {}): Promise<void> {
    const type: StreamType = options.isAuxiliary ? 'auxiliary' : 'main';
    if (this.#operations.lastOf(publishing(type)) === 'publish') {
      throw invalidOperation('previous publishing is ongoing, please avoid re-publishing');
    }
    await this.#operations.add('publish', [publishing(type)], async (cancellation) => {
      const call = this.inside('publish');
      await call.publications.publish(type, checkPublishable(asked), cancellation);
    });
  }

  /** Stops publishing a stream. */
  async unpublish(asked: api.LocalStream): Promise<void> {
    await this.#operations.add('unpublish', [publishing('main'), publishing('auxiliary')], async () => {
      const call = this.inside('unpublish');
      if (this.isLeaving) return;
      const stream = localStream(asked);
      if (!stream) throw invalidParameter('unpublish: expected a stream made by createStream()');
      await call.publications.unpublish(stream);
    });
  }

  /** Receives a remote stream's audio, video or both; called again it changes which. */
  async subscribe(asked: api.RemoteStream, options?: { audio?: boolean; video?: boolean }): Promise<void> {
    await this.onStream('subscribe', asked, (call, stream, cancellation) =>
      call.subscribe(stream, subscribeOptions(options), cancellation),
    );
  }

  /** Stops receiving a remote stream. */
  async unsubscribe(asked: api.RemoteStream): Promise<void> {
    await this.onStream('unsubscribe', asked, async (call, stream) => {
      if (!this.isLeaving) await call.unsubscribe(stream);
    });
  }

  /** Sends the main stream's video as a small stream as well. Before `publish`; needs VP8 or H264. */
  enableSmallStream(): Promise<void> {
    return this.setSmall('enableSmallStream', true);
  }

  /** Sends no small stream any more. Before `publish`. */
  disableSmallStream(): Promise<void> {
    return this.setSmall('disableSmallStream', false);
  }

  /** What the small stream is; its shape must be the big one's. Left out, it is derived from the big one. */
  setSmallStreamProfile(profile: api.SmallStreamProfile): void {
    const wanted = smallStreamProfile(profile);
    const call = this.#place.state === 'inside' ? this.#place.call : undefined;
    const stream = call?.publications.mainStream;
    if (stream) checkShape(stream, wanted, 'setSmallStreamProfile');
    this.#smallProfile = wanted;
    if (stream) call.publications.applySmall().catch((thrown: unknown) => log.warn('setSmallStreamProfile:', describe(thrown)));
  }

  /** Receives a remote stream's video as the small or the big one, now or once it is subscribed to, as far as it is sent. */
  async setRemoteVideoStreamType(asked: api.RemoteStream, type: api.VideoType): Promise<void> {
    const wanted = videoType(type);
    const stream = remoteStream(asked);
    if (!stream) throw invalidParameter("setRemoteVideoStreamType: expected a stream of 'stream-added'");
    await this.inside('setRemoteVideoStreamType').setVideoType(stream, wanted);
  }

  /**
   * Tells how loud everybody is by `audio-volume` every so many milliseconds; 0 or less: no more. While the page is hidden
   * only with `enableInBackground`. May be called before `join`.
   */
  enableAudioVolumeEvaluation(interval = 2000, enableInBackground = false): void {
    this.#evaluation = evaluation(interval, enableInBackground);
    if (this.#place.state === 'inside') this.#place.call.evaluate(this.#evaluation);
  }

  /**
   * Sends a message with the next frame of the published video: 1 kB at most, 30 messages and 8 kB a second. It may be lost
   * with its frame, and come twice. `seiPayloadType` 5 begins with a UUID of the app's, of 16 bytes.
   */
  sendSEIMessage(buffer: ArrayBuffer, options: { seiPayloadType: number } = { seiPayloadType: 243 }): void {
    const message = seiMessage(buffer, options);
    this.inside('sendSEIMessage').sendSei(message);
  }

  /** Becomes an anchor, who may publish, or audience, which publishes nothing any more. In live mode. */
  async switchRole(role: Role): Promise<void> {
    const wanted = roleOf(role);
    await this.#operations.add('switchRole', ALONE, async (cancellation) => {
      const call = this.inside('switchRole');
      if (this.#config.mode !== 'live') throw invalidOperation("switchRole: there are roles in mode 'live' only");
      await cancellation.race(call.publications.switchRole(wanted));
    });
  }

  /** Round trips to the server. */
  async getTransportStats(): Promise<api.TransportStats> {
    return this.inside('getTransportStats').statistics.roundTrips();
  }

  /** What this user sends of sound, by its own userId. */
  async getLocalAudioStats(): Promise<api.LocalAudioStatsMap> {
    const sent = await this.inside('getLocalAudioStats').statistics.sent('audio');
    return sent ? { [this.getUserId()]: { bytesSent: sent.bytesSent, packetsSent: sent.packetsSent } } : {};
  }

  /** What this user sends of pictures, by its own userId. */
  async getLocalVideoStats(): Promise<api.LocalVideoStatsMap> {
    const sent = await this.inside('getLocalVideoStats').statistics.sent('video');
    return sent ? { [this.getUserId()]: sent } : {};
  }

  /** What comes of each user's sound. */
  async getRemoteAudioStats(): Promise<api.RemoteAudioStatsMap> {
    const received = await this.inside('getRemoteAudioStats').statistics.received('audio', 'main');
    const shown = Object.entries(received).map(([userId, { bytesReceived, packetsReceived, packetsLost }]) => {
      return [userId, { bytesReceived, packetsReceived, packetsLost }] as const;
    });
    return Object.fromEntries(shown);
  }

  /** What comes of each user's pictures. */
  async getRemoteVideoStats(type: api.RemoteStreamType = 'main'): Promise<api.RemoteVideoStatsMap> {
    return this.inside('getRemoteVideoStats').statistics.received('video', remoteStreamType(type));
  }

  /** Mixing streams and sending them to a CDN is not done in this version: each rejects with the code that it has. */
  startMixTranscode(): Promise<void> {
    return this.lacks('startMixTranscode', ErrorCode.START_MIX_TRANSCODE_FAILED, 'this version of the server mixes no streams');
  }

  stopMixTranscode(): Promise<void> {
    return this.lacks('stopMixTranscode', ErrorCode.STOP_MIX_TRANSCODE_FAILED, 'no streams are mixed');
  }

  startPublishCDNStream(): Promise<void> {
    const why = 'this version of the server sends nothing to a CDN';
    return this.lacks('startPublishCDNStream', ErrorCode.START_PUBLISH_CDN_FAILED, why);
  }

  stopPublishCDNStream(): Promise<void> {
    return this.lacks('stopPublishCDNStream', ErrorCode.STOP_PUBLISH_CDN_FAILED, 'nothing is sent to a CDN');
  }

  /** `updatePrivateMapKey` gives the client another `privateMapKey` for the next time that the room is entered. */
  callExperimentalAPI(name: 'updatePrivateMapKey', options: object): Promise<void> {
    return new Promise((resolve) => {
      const key = privateMapKeyOf(name, options);
      this.inside('callExperimentalAPI').renewPrivateMapKey(key);
      resolve();
    });
  }

  /** What every remote user publishes and has muted, as far as the server said by now. */
  getRemoteMutedState(): RemoteMutedState[] {
    return this.inside('getRemoteMutedState').mutedStates();
  }

  getUserId(): string {
    return this.#config.userId;
  }

  override on<K extends keyof ClientEventMap>(event: K, handler: (event: ClientEventMap[K]) => void, context?: unknown): void {
    eventHandler(event, handler);
    super.on(event, handler, context);
  }

  /** @internal The peer connections, for tests and statistics. */
  get connections_(): Call['connections'] {
    return this.#place.state === 'inside' ? this.#place.call.connections : { uplink: null, downlink: null };
  }

  private async enter(url: string, room: Required<JoinOptions>): Promise<void> {
    const { sdkAppId, userId, userSig, mode = 'rtc', useStringRoomId = false } = this.#config;
    const { autoSubscribe = true, enableAutoPlayDialog = true, videoCodec, enableSEI = false } = this.#config;
    this.setConnection('CONNECTING');
    const listener: CallListener = {
      emit: (event, payload) => this.emit(event, payload),
      state: (state) => this.setConnection(state),
      ended: () => {
        this.outside('removed');
        this.#operations.cancel((name) => this.notInside(name), ['join', 'leave']);
      },
    };
    try {
      const call = await Call.start(
        {
          url,
          login: { sdkAppId, userId, userSig, sdkVersion: VERSION },
          enter: { stringRoom: useStringRoomId, scene: mode, ...room },
          autoSubscribe,
          autoplayDialog: enableAutoPlayDialog,
          // Messages go with frames of H264 alone.
          videoCodec: videoCodec ?? (enableSEI && canSend('h264') ? 'h264' : undefined),
          sei: enableSEI,
          iceServers: this.#turnServers,
          small: (stream) => (this.#sendsSmall ? (this.#smallProfile ?? smallProfile(stream.bigProfile)) : null),
        },
        listener,
      );
      this.#place = { state: 'inside', call };
      call.evaluate(this.#evaluation);
    } catch (thrown) {
      this.setConnection('DISCONNECTED');
      throw thrown;
    }
    pageEvents()?.addEventListener('pagehide', this.pageHidden);
    pageEvents()?.addEventListener('pageshow', this.pageShown);
    this.setConnection('CONNECTED');
  }

  /** What may be done neither in a room nor on the way into one. */
  private mustBeOutside(problem: string): void {
    if (this.#place.state === 'inside' || this.#operations.has('join')) throw invalidOperation(problem);
  }

  private readonly pageHidden = (): void => {
    // A page that goes away leaves at once; only a page that vanishes is waited for.
    if (this.#place.state === 'inside') this.#place.call.suspend();
  };

  private readonly pageShown = (): void => {
    // The browser may have kept the page and brings it back as it was.
    if (this.#place.state === 'inside') this.#place.call.revive();
  };

  private onStream(
    name: string,
    asked: api.RemoteStream,
    work: (call: Call, stream: RemoteStream, cancellation: Cancellation) => Promise<void>,
  ): Promise<void> {
    const stream = remoteStream(asked);
    // The app has spoken of it: from this moment on it is not received unasked any more.
    if (stream && this.#place.state === 'inside') this.#place.call.decide(stream);
    return this.#operations.add(name, [`stream ${stream?.getId() ?? ''}`], async (cancellation) => {
      const call = this.inside(name);
      if (!stream) throw invalidParameter(`${name}: expected a stream of 'stream-added'`);
      await work(call, stream, cancellation);
    });
  }

  /** The number of a stream's encodings is negotiated once. Done at once, so that a `publish` right behind it has it. */
  private setSmall(name: string, wanted: boolean): Promise<void> {
    return new Promise((resolve) => {
      const { videoCodec } = this.#config;
      if (wanted && (!isSmallStreamSupported() || isScalable(videoCodec))) {
        const why = isScalable(videoCodec) ? `a small stream needs VP8 or H264, not ${videoCodec}` : 'this browser cannot send one';
        throw rtcError(ErrorCode.NOT_SUPPORTED, `${name}: ${why}`);
      }
      const isPublished = this.#place.state === 'inside' && this.#place.call.publications.mainStream !== undefined;
      if (isPublished || this.#operations.lastOf(publishing('main')) === 'publish') {
        throw invalidOperation(`${name}: call it before publish(), or after unpublish()`);
      }
      this.#sendsSmall = wanted;
      resolve();
    });
  }

  private lacks(call: string, code: number, why: string): Promise<void> {
    return new Promise(() => {
      this.inside(call);
      throw rtcError(code, `${call}: ${why}`);
    });
  }

  /** Whether leave() was called: it does what unpublish() and unsubscribe() would do. */
  private get isLeaving(): boolean {
    return this.#operations.has('leave');
  }

  private inside(call: string): Call {
    if (this.#place.state !== 'inside') throw this.notInside(call);
    return this.#place.call;
  }

  private notInside(call: string): RtcError {
    return invalidOperation(`${call}: the client is not in a room, please call join() before ${call}()`);
  }

  private outside(state: 'outside' | 'removed'): void {
    pageEvents()?.removeEventListener('pagehide', this.pageHidden);
    pageEvents()?.removeEventListener('pageshow', this.pageShown);
    if (this.#place.state === 'inside') this.giveBack(this.#claims[0]);
    this.#place = { state };
    this.setConnection('DISCONNECTED');
  }

  private giveBack(place: Claim | undefined): void {
    if (!place) return;
    this.#claims.splice(this.#claims.indexOf(place), 1);
    place.release();
  }

  private setConnection(state: ConnectionState): void {
    const prevState = this.#connection;
    if (prevState === state) return;
    this.#connection = state;
    this.emit('connection-state-changed', { prevState, state });
  }
}
