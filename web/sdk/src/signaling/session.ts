import { backoffDelay } from '../backoff.js';
import { describe, ErrorCode, RtcError, rtcError } from '../errors.js';
import { PASSING } from '../generated/errors.js';
import { ClientCloseCode, CloseCode, type AnyEvent, type Answers, type EnterOk, type ResumeOk } from '../generated/messages.js';
import { log } from '../logger.js';
import { pageEvents } from '../page.js';
import { AnswerTimeout, Channel, ChannelClosed, type Fields, type RequestType } from './channel.js';

/** Milliseconds for the way from no socket into the room. */
export const JOIN_TIMEOUT = 10_000;
const RESUME_ANSWER_TIMEOUT = 5_000;
const LEAVE_TIMEOUT = 2_000;
/**
 * Milliseconds for the answer to a ping when media has stopped as well. A server that is busy with this client's own
 * requests may take longer; then the session goes on over another socket, which it does without anybody's notice.
 */
const PATIENCE_WHEN_MEDIA_STOPPED = 700;

/** The server's session is another one now: what was asked of the one before has no meaning any more. */
export class SessionReplaced extends Error {
  constructor() {
    super('the session was replaced by a new one');
  }
}

/** The request waited for a socket, and is not wanted any more. */
export class NotWanted extends Error {
  constructor() {
    super('the request is not wanted any more');
  }
}

export interface SessionOptions {
  url: string;
  login: Fields<'login'>;
  enter: Omit<Required<Fields<'enter'>>, 'ticket'>;
}

/** What a session tells its owner. After `ended` nothing more comes. */
export interface SessionListener {
  event(event: AnyEvent): void;
  /** The socket is gone and another is being tried for. */
  reconnecting(): void;
  /** The session goes on; called before any request that waited is sent. */
  resumed(state: ResumeOk): void;
  /** The server did not know the session and the room was entered again: of media it holds nothing. Called as `resumed` is. */
  reentered(state: EnterOk): void;
  /** It is over without having been left; null when the server removed the client. */
  ended(error: RtcError | null): void;
}

/** A stay in a room as the server knows it: it outlives its sockets. */
export class Session {
  private channel: Channel | null = null;
  private resumeToken = '';
  private keepFor = 90_000;
  private heartbeat = 10;
  private state: 'up' | 'leaving' | 'over' = 'up';
  private listener: SessionListener | null = null;
  /** What waits for a socket, or for the end. */
  private waiting: (() => void)[] = [];
  private retryNow: () => void = () => undefined;
  /** The server has no session of ours, or will have none: the room is entered anew. */
  private mustEnter = false;
  /** Counts the runs of attempts to come back; an older run ends when there is a newer one. */
  private run = 0;
  /** Counts the sessions that the server had of us. */
  private entered = 0;

  private constructor(private readonly options: SessionOptions) {}

  /** Connects, logs in and enters the room. Events are kept back until `listen` is called. */
  static async start(options: SessionOptions): Promise<{ session: Session; entered: EnterOk }> {
    const session = new Session(options);
    const deadline = Date.now() + JOIN_TIMEOUT;
    let channel: Channel;
    try {
      channel = await Channel.open(options.url, JOIN_TIMEOUT);
    } catch (thrown) {
      const detail = `join failed: failed to connect to remote server via websocket (${options.url}): ${describe(thrown)}`;
      throw rtcError(ErrorCode.SIGNAL_CHANNEL_ERROR, detail);
    }
    try {
      const entered = await session.enter(channel, deadline);
      session.channel = channel;
      return { session, entered };
    } catch (thrown) {
      // Whatever the server makes of the request yet, this client is not going to be there.
      channel.close(ClientCloseCode.LEFT);
      if (thrown instanceof AnswerTimeout) throw rtcError(ErrorCode.JOIN_ROOM_FAILED, 'join room timeout');
      if (thrown instanceof ChannelClosed) {
        throw rtcError(ErrorCode.SIGNAL_CHANNEL_ERROR, `join failed: ${thrown.message}`);
      }
      throw thrown;
    }
  }

  /** From here on the listener gets what happens, beginning with what came since `start`. */
  listen(listener: SessionListener): void {
    this.listener = listener;
    pageEvents()?.addEventListener('online', this.online);
    if (this.channel) this.follow(this.channel);
  }

  get isUp(): boolean {
    return this.channel?.isOpen ?? false;
  }

  get isOver(): boolean {
    return this.state !== 'up';
  }

  /** Milliseconds for which the server keeps a user whose socket is gone. */
  get keptFor(): number {
    return this.keepFor;
  }

  /** Resolves when there is a socket, or when there will be none any more. */
  async up(): Promise<void> {
    while (!this.isOver && !this.isUp) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /**
   * Sends a request, again after a reconnect if the socket went away in between. Rejects with the server's refusal,
   * with an AnswerTimeout `timeout` milliseconds from now, with SessionReplaced, or with NotWanted if `wanted` says no
   * when it could be sent.
   */
  async request<T extends RequestType>(
    type: T,
    fields: Fields<T>,
    timeout: number,
    wanted: () => boolean = () => true,
  ): Promise<Answers[T]> {
    const deadline = Date.now() + timeout;
    const { entered } = this;
    for (;;) {
      const channel = await this.ready(deadline, type);
      if (this.entered !== entered) throw new SessionReplaced();
      if (!wanted()) throw new NotWanted();
      try {
        return await channel.request(type, fields, Math.max(1, deadline - Date.now()));
      } catch (thrown) {
        if (!(thrown instanceof ChannelClosed) || this.isOver) throw thrown;
      }
    }
  }

  /** Sends a request on the socket that is up now or not at all: for what the next resume says anyway. */
  async requestNow<T extends RequestType>(type: T, fields: Fields<T>, timeout: number): Promise<Answers[T]> {
    if (!this.channel?.isOpen) throw new ChannelClosed(1006, 'there is no signaling socket at the moment');
    return this.channel.request(type, fields, timeout);
  }

  /**
   * Leaves the room and closes the socket. Without a socket it resolves at once, and the server is told as soon as it
   * can be reached, if that is before it lets the user go by itself.
   */
  async leave(): Promise<void> {
    if (this.isOver) return;
    this.state = 'leaving';
    this.wake();
    if (!this.isUp) {
      this.retryNow();
      return;
    }
    try {
      await this.requestNow('leave', {}, LEAVE_TIMEOUT);
    } catch (thrown) {
      log.debug('leave was not answered:', describe(thrown));
      // The socket went away with the request on it: the run of attempts that has begun says it again.
      if (thrown instanceof ChannelClosed) return;
    }
    this.close();
  }

  /** Ends it at once; the server sees a socket closed in good order and lets the user leave. */
  close(): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.run += 1;
    pageEvents()?.removeEventListener('online', this.online);
    const channel = this.channel;
    this.channel = null;
    channel?.close(ClientCloseCode.LEFT);
    this.retryNow();
    this.wake();
  }

  /** The page goes away and may be shown again: the user leaves now, and `revive` enters again. */
  suspend(): void {
    if (this.isOver) return;
    this.run += 1;
    this.mustEnter = true;
    const channel = this.channel;
    this.channel = null;
    channel?.close(ClientCloseCode.LEFT);
    this.retryNow();
  }

  /** The page is back. */
  revive(): void {
    if (!this.isOver && !this.isUp) this.comeBack();
  }

  /** Media has stopped: a socket that does not answer at once either is given up, and the session goes on over another. */
  suspect(patience = PATIENCE_WHEN_MEDIA_STOPPED): void {
    const { channel } = this;
    if (!channel?.isOpen) {
      this.retryNow();
      return;
    }
    channel.request('ping', {}, patience).catch(() => {
      if (this.channel === channel && channel.isOpen) channel.close(ClientCloseCode.GIVEN_UP);
    });
  }

  private readonly online = (): void => {
    if (this.isUp) this.channel?.probe();
    else this.retryNow();
  };

  private async enter(channel: Channel, deadline: number): Promise<EnterOk> {
    const left = (): number => Math.max(1, deadline - Date.now());
    const login = await channel.request('login', this.options.login, left());
    this.heartbeat = login.heartbeatInterval;
    const entered = await channel.request('enter', { ticket: login.ticket, ...this.options.enter }, left());
    this.remember(entered);
    this.entered += 1;
    return entered;
  }

  private remember(answer: { resumeToken: string; resumeTimeout: number }): void {
    this.resumeToken = answer.resumeToken;
    this.keepFor = answer.resumeTimeout * 1000;
  }

  private follow(channel: Channel): void {
    channel.keepAlive(this.heartbeat);
    channel.listen({
      event: (event) => this.listener?.event(event),
      closed: (closed) => this.lost(channel, closed),
    });
  }

  private lost(channel: Channel, closed: ChannelClosed): void {
    if (this.channel !== channel) return;
    this.channel = null;
    if (closed.closeCode === CloseCode.SERVER_STOPPING) this.mustEnter = true;
    if (closed.closeCode === CloseCode.REMOVED) {
      this.end(null);
      return;
    }
    log.warn(`${closed.message}; reconnecting`);
    this.comeBack();
  }

  private comeBack(): void {
    if (this.state === 'up') this.listener?.reconnecting();
    void this.reconnect();
  }

  /** Tries until the server lets the user go; the last attempt is at that very moment. */
  private async reconnect(): Promise<void> {
    const run = ++this.run;
    const giveUpAt = Date.now() + this.keepFor;
    let why = 'the server could not be reached';
    for (let attempt = 0, last = false; !last; attempt++) {
      const waited = await this.pause(Math.min(backoffDelay(attempt), Math.max(0, giveUpAt - Date.now())));
      if (this.run !== run) return;
      if (!waited) attempt = 0;
      last = Date.now() >= giveUpAt;
      try {
        await this.resume(run);
        return;
      } catch (thrown) {
        if (this.run !== run) return;
        why = describe(thrown);
        if (thrown instanceof RtcError) {
          const extraCode = thrown.extraCode || (thrown.getCode() > 0xffff ? thrown.getCode() : 0);
          if (last || !PASSING.has(extraCode || thrown.getCode())) {
            this.end(reconnectFailed(why, extraCode));
            return;
          }
        }
        log.info(`reconnect attempt ${attempt + 1}: ${why}`);
      }
    }
    this.end(reconnectFailed(why));
  }

  /** One attempt; returns when the session goes on, or when another run took over. */
  private async resume(run: number): Promise<void> {
    const channel = await Channel.open(this.options.url, RESUME_ANSWER_TIMEOUT);
    let tell: () => void;
    try {
      const resumed = this.mustEnter ? null : await this.takeUp(channel);
      if (resumed) {
        tell = () => this.listener?.resumed(resumed);
      } else if (this.state === 'up' && this.run === run) {
        const entered = await this.enter(channel, Date.now() + RESUME_ANSWER_TIMEOUT);
        tell = () => this.listener?.reentered(entered);
      } else {
        tell = () => undefined;
      }
    } catch (thrown) {
      channel.close(ClientCloseCode.GIVEN_UP);
      throw thrown;
    }
    if (this.run !== run || this.state !== 'up') {
      // Left meanwhile: the close says so, and there is nothing else that this socket is for.
      channel.close(ClientCloseCode.LEFT);
      if (this.run === run) this.close();
      return;
    }
    this.mustEnter = false;
    this.channel = channel;
    tell();
    this.follow(channel);
    this.wake();
  }

  /** Asks for the session as it was; null when the server does not know it. */
  private async takeUp(channel: Channel): Promise<ResumeOk | null> {
    try {
      const resumed = await channel.request('resume', { resumeToken: this.resumeToken }, RESUME_ANSWER_TIMEOUT);
      this.remember(resumed);
      return resumed;
    } catch (thrown) {
      if (!(thrown instanceof RtcError) || thrown.extraCode !== ErrorCode.SESSION_UNKNOWN) throw thrown;
      log.info('the server does not know the session any more; entering the room again');
      this.mustEnter = true;
      return null;
    }
  }

  /** Waits, but not longer than until the browser says that the network is back; says whether it waited to the end. */
  private pause(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), milliseconds);
      this.retryNow = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }

  private async ready(deadline: number, type: string): Promise<Channel> {
    while (!this.isOver && !this.channel?.isOpen) {
      const left = deadline - Date.now();
      if (left <= 0) throw new AnswerTimeout(`no signaling socket for '${type}' in time`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    if (this.isOver || !this.channel) throw new ChannelClosed(ClientCloseCode.LEFT, 'the session is over');
    return this.channel;
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private end(error: RtcError | null): void {
    if (this.state === 'over') return;
    const listener = this.state === 'up' ? this.listener : null;
    this.close();
    listener?.ended(error);
  }
}

function reconnectFailed(why: string, extraCode = 0): RtcError {
  const detail = `SignalChannel reconnect failed: ${why}`;
  return rtcError(ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED, detail, { extraCode });
}

/** Whether the server did not answer, as far as this side can tell. */
export function isSilence(thrown: unknown): boolean {
  return thrown instanceof AnswerTimeout || thrown instanceof ChannelClosed || thrown instanceof SessionReplaced;
}
