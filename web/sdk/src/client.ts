import { Call } from './call.js';
import { findServer, placesHere, proxyServer } from './discover.js';
import { Emitter } from './emitter.js';
import { invalidOperation, invalidParameter, type RtcError } from './errors.js';
import type { StreamType } from './generated/messages.js';
import { log } from './logger.js';
import { pageEvents } from './page.js';
import { claim } from './registry.js';
import { checkPublishable, localStream, remoteStream } from './streams/identity.js';
import type { LocalStream } from './streams/local-stream.js';
import type * as api from './types.js';
import type { ClientConfig, ClientEventMap, ConnectionState, JoinOptions, ProxyServer, RemoteMutedState, Role } from './types.js';
import { eventHandler, joinOptions, subscribeOptions } from './validate.js';
import { VERSION } from './version.js';

type Place =
  | { state: 'outside' | 'joining' | 'leaving' }
  | { state: 'inside'; call: Call }
  /** The server or the network ended it; `leave` is still welcome. */
  | { state: 'removed' };

type Publishing = 'publishing' | 'published';

/** One user's way into one room at a time. */
export class Client extends Emitter<ClientEventMap> implements api.Client {
  private proxy: string | undefined;
  private place: Place = { state: 'outside' };
  private connection: ConnectionState = 'DISCONNECTED';
  private release: () => void = () => undefined;
  private readonly publications = new Map<StreamType, { stream: LocalStream; state: Publishing }>();
  /** join, leave, publish and unpublish are carried out one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  /** Made by `TRTC.createClient`. */
  constructor(private readonly config: ClientConfig) {
    super();
  }

  /** Says where the server is: an http, https, ws or wss address. Before `join`. */
  setProxyServer(server: string | ProxyServer): void {
    if (this.place.state !== 'outside' && this.place.state !== 'removed') {
      throw invalidOperation('setProxyServer: call it before join()');
    }
    this.proxy = proxyServer(server);
  }

  /** Enters a room, which comes into being with its first user. */
  async join(options: JoinOptions): Promise<void> {
    const { roomId, role, privateMapKey } = joinOptions(options, this.config.useStringRoomId ?? false);
    if (this.place.state === 'joining') throw invalidOperation('join: another join() is going on');
    if (this.place.state === 'inside') throw invalidOperation('join: the client is in a room; leave() first');
    const { sdkAppId, userId, userSig } = this.config;
    const url = findServer(placesHere(this.proxy));
    // While another leave() runs, its claim is still held; it is given back in turn.
    const leaving = this.place.state === 'leaving';
    if (!leaving) this.release = claim(sdkAppId, userId, roomId);
    this.place = { state: 'joining' };
    await this.inTurn(async () => {
      try {
        if (leaving) this.release = claim(sdkAppId, userId, roomId);
        this.setConnection('CONNECTING');
        const call = await Call.start(
          {
            url,
            login: { sdkAppId, userId, userSig, sdkVersion: VERSION },
            enter: {
              roomId,
              stringRoom: this.config.useStringRoomId ?? false,
              scene: this.config.mode ?? 'rtc',
              role: role ?? 'anchor',
              privateMapKey: privateMapKey ?? '',
            },
            autoSubscribe: this.config.autoSubscribe ?? true,
            autoplayDialog: this.config.enableAutoPlayDialog ?? true,
            videoCodec: this.config.videoCodec,
          },
          {
            emit: (event, payload) => this.emit(event, payload),
            state: (state) => this.setConnection(state),
            ended: () => this.outside('removed'),
          },
        );
        this.place = { state: 'inside', call };
        pageEvents()?.addEventListener('pagehide', this.pageHidden);
      } catch (thrown) {
        this.outside('outside');
        throw thrown;
      }
      this.setConnection('CONNECTED');
      log.info(`${userId} joined room ${roomId}`);
    });
  }

  /** Leaves the room: what is published stops, what is received is closed. */
  async leave(): Promise<void> {
    if (this.place.state === 'outside' || this.place.state === 'leaving') {
      throw invalidOperation('leave: the client is not in a room');
    }
    await this.inTurn(async () => {
      if (this.place.state === 'removed') this.place = { state: 'outside' };
      if (this.place.state !== 'inside') return;
      const { call } = this.place;
      this.place = { state: 'leaving' };
      await call.leave();
      // A join() may have been called meanwhile and waits for its turn.
      this.outside((this.place as Place).state === 'joining' ? 'joining' : 'outside');
    });
  }

  /** Publishes a stream that is initialized; a screen may go beside the main stream with `isAuxiliary`. */
  async publish(asked: api.LocalStream, options: { isAuxiliary?: boolean } = {}): Promise<void> {
    this.mustBeInside('publish');
    const stream = checkPublishable(asked);
    const type: StreamType = options.isAuxiliary ? 'auxiliary' : 'main';
    const known = this.publications.get(type);
    if (known?.state === 'publishing') {
      throw invalidOperation('previous publishing is ongoing, please avoid re-publishing');
    }
    if (known || this.typeOf(stream)) {
      throw invalidOperation('duplicate publishing, please unpublish and then re-publish');
    }
    const publication: { stream: LocalStream; state: Publishing } = { stream, state: 'publishing' };
    this.publications.set(type, publication);
    await this.inTurn(async () => {
      try {
        await this.callFor('publish').publish(type, stream);
        publication.state = 'published';
      } catch (thrown) {
        if (this.publications.get(type) === publication) this.publications.delete(type);
        throw thrown;
      }
    });
  }

  /** Stops publishing a stream. */
  async unpublish(asked: api.LocalStream): Promise<void> {
    this.mustBeInside('unpublish');
    const stream = localStream(asked);
    if (!stream) throw invalidParameter('unpublish: expected a stream made by createStream()');
    const type = this.typeOf(stream);
    if (!type) throw invalidParameter('unpublish: the stream is not published by this client');
    if (this.publications.get(type)?.state === 'publishing') {
      throw invalidOperation('unpublish: the stream is being published; await publish() first');
    }
    this.publications.delete(type);
    await this.inTurn(() => this.callFor('unpublish').unpublish(type));
  }

  /** Receives a remote stream's audio, video or both; called again it changes which. */
  async subscribe(asked: api.RemoteStream, options?: { audio?: boolean; video?: boolean }): Promise<void> {
    const call = this.mustBeInside('subscribe');
    const stream = remoteStream(asked);
    if (!stream) throw invalidParameter("subscribe: expected a stream of 'stream-added'");
    await call.subscribe(stream, subscribeOptions(options));
  }

  /** Stops receiving a remote stream. */
  async unsubscribe(asked: api.RemoteStream): Promise<void> {
    const call = this.mustBeInside('unsubscribe');
    const stream = remoteStream(asked);
    if (!stream) throw invalidParameter("unsubscribe: expected a stream of 'stream-added'");
    await call.unsubscribe(stream);
  }

  /** Changes the role; only live rooms have roles, and this version has no live rooms. */
  switchRole(role: Role): Promise<void> {
    return Promise.reject(
      invalidOperation(`switchRole: '${role}' cannot be taken; roles exist in live mode only, which this version lacks`),
    );
  }

  /** What every remote user publishes and has muted, as far as the server said by now. */
  getRemoteMutedState(): RemoteMutedState[] {
    return this.mustBeInside('getRemoteMutedState').mutedStates();
  }

  getUserId(): string {
    return this.config.userId;
  }

  override on<K extends keyof ClientEventMap>(event: K, handler: (event: ClientEventMap[K]) => void, context?: unknown): void {
    eventHandler(event, handler);
    super.on(event, handler, context);
  }

  /** @internal The peer connections, for tests and statistics. */
  get connections_(): Call['connections'] {
    return this.place.state === 'inside' ? this.place.call.connections : { uplink: null, downlink: null };
  }

  private readonly pageHidden = (): void => {
    // A page that goes away leaves at once; only a page that vanishes is waited for.
    if (this.place.state === 'inside') void this.place.call.leave();
  };

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private typeOf(stream: LocalStream): StreamType | undefined {
    return [...this.publications].find(([, publication]) => publication.stream === stream)?.[0];
  }

  private mustBeInside(call: string): Call {
    if (this.place.state !== 'inside') throw this.notInside(call);
    return this.place.call;
  }

  /** The same when an operation's turn has come: the room may have been left since it was asked for. */
  private callFor(operation: string): Call {
    return this.mustBeInside(operation);
  }

  private notInside(call: string): RtcError {
    return invalidOperation(`${call}: the client is not in a room; await join() first`);
  }

  private outside(state: 'outside' | 'removed' | 'joining'): void {
    pageEvents()?.removeEventListener('pagehide', this.pageHidden);
    this.place = { state };
    this.publications.clear();
    this.release();
    this.release = () => undefined;
    this.setConnection('DISCONNECTED');
  }

  private setConnection(state: ConnectionState): void {
    const prevState = this.connection;
    if (prevState === state) return;
    this.connection = state;
    this.emit('connection-state-changed', { prevState, state });
  }
}
