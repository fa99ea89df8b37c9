import { backoffDelay } from '../backoff.js';
import { describe, ErrorCode, RtcError, rtcError } from '../errors.js';
import { CloseCode, type AnyEvent, type Answers, type EnterOk, type ResumeOk } from '../generated/messages.js';
import { log } from '../logger.js';
import { pageEvents } from '../page.js';
import { AnswerTimeout, Channel, ChannelClosed, type Fields, type RequestType } from './channel.js';

/** Milliseconds for the way from no socket into the room. */
export const JOIN_TIMEOUT = 10_000;
const RESUME_ANSWER_TIMEOUT = 5_000;
const LEAVE_TIMEOUT = 2_000;

export interface SessionOptions {
  url: string;
  login: Fields<'login'>;
  enter: Omit<Fields<'enter'>, 'ticket'>;
}

/** What a session tells its owner. After `ended` nothing more comes. */
export interface SessionListener {
  event(event: AnyEvent): void;
  /** The socket is gone and another is being tried for. */
  reconnecting(): void;
  /** The session goes on; called before any request that waited is sent. */
  resumed(state: ResumeOk): void;
  /** The server was restarted and the room entered again: of media it holds nothing. Called as `resumed` is. */
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
  private over = false;
  private listener: SessionListener | null = null;
  /** Requests that wait for a socket. */
  private waiting: (() => void)[] = [];
  private retryNow: () => void = () => undefined;
  /** The server said that it goes down: sessions do not outlive it, but the user may come back. */
  private serverStopped = false;

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
      throw rtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, detail);
    }
    try {
      const entered = await session.enter(channel, deadline);
      session.channel = channel;
      return { session, entered };
    } catch (thrown) {
      channel.close();
      if (thrown instanceof AnswerTimeout) throw rtcError(ErrorCode.JOIN_ROOM_FAILED, 'join room timeout');
      if (thrown instanceof ChannelClosed) {
        throw rtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, `join failed: ${thrown.message}`);
      }
      throw thrown;
    }
  }

  /** From here on the listener gets what happens, beginning with what came since `start`. */
  listen(listener: SessionListener): void {
    this.listener = listener;
    pageEvents()?.addEventListener('online', this.online);
    if (this.channel) this.follow(this.channel, listener);
  }

  /**
   * Sends a request, again after a reconnect if the socket went away in between. Rejects with the server's refusal,
   * or with an AnswerTimeout `timeout` milliseconds from now.
   */
  async request<T extends RequestType>(type: T, fields: Fields<T>, timeout: number): Promise<Answers[T]> {
    const deadline = Date.now() + timeout;
    for (;;) {
      const channel = await this.ready(deadline, type);
      try {
        return await channel.request(type, fields, Math.max(1, deadline - Date.now()));
      } catch (thrown) {
        if (!(thrown instanceof ChannelClosed) || this.over) throw thrown;
      }
    }
  }

  /** Sends a request on the socket that is up now or not at all: for what would be stale after a reconnect. */
  async requestNow<T extends RequestType>(type: T, fields: Fields<T>, timeout: number): Promise<Answers[T]> {
    if (!this.channel?.isOpen) throw new ChannelClosed(1006, 'there is no signaling socket at the moment');
    return this.channel.request(type, fields, timeout);
  }

  /** Leaves the room and closes the socket. */
  async leave(): Promise<void> {
    try {
      await this.requestNow('leave', {}, LEAVE_TIMEOUT);
    } catch (thrown) {
      log.debug('leave was not answered:', describe(thrown));
    }
    this.close();
  }

  /** Ends it at once; the server sees a socket closed in good order and lets the user leave. */
  close(): void {
    if (this.over) return;
    this.over = true;
    pageEvents()?.removeEventListener('online', this.online);
    const channel = this.channel;
    this.channel = null;
    channel?.close();
    this.retryNow();
    this.wake();
  }

  private readonly online = (): void => this.retryNow();

  private async enter(channel: Channel, deadline: number): Promise<EnterOk> {
    const left = (): number => Math.max(1, deadline - Date.now());
    const login = await channel.request('login', this.options.login, left());
    this.heartbeat = login.heartbeatInterval;
    const entered = await channel.request('enter', { ticket: login.ticket, ...this.options.enter }, left());
    this.remember(entered);
    return entered;
  }

  private remember(answer: { resumeToken: string; resumeTimeout: number }): void {
    this.resumeToken = answer.resumeToken;
    this.keepFor = answer.resumeTimeout * 1000;
  }

  private follow(channel: Channel, listener: SessionListener): void {
    channel.keepAlive(this.heartbeat);
    channel.listen({ event: (event) => listener.event(event), closed: (closed) => this.lost(closed, listener) });
  }

  private lost(closed: ChannelClosed, listener: SessionListener): void {
    if (this.over) return;
    this.channel = null;
    if (closed.closeCode === CloseCode.SERVER_STOPPING) this.serverStopped = true;
    if (closed.closeCode === CloseCode.REMOVED) {
      this.end(null);
      return;
    }
    log.warn(`${closed.message}; reconnecting`);
    listener.reconnecting();
    void this.reconnect(listener);
  }

  private async reconnect(listener: SessionListener): Promise<void> {
    const giveUpAt = Date.now() + this.keepFor;
    let why = 'the server could not be reached';
    for (let attempt = 0; !this.over; attempt++) {
      const delay = backoffDelay(attempt);
      if (Date.now() + delay > giveUpAt) break;
      await this.pause(delay);
      if (this.isOver()) return;
      try {
        await this.resume(listener);
        return;
      } catch (thrown) {
        if (thrown instanceof RtcError) {
          const extraCode = thrown.extraCode || (thrown.getCode() > 0xffff ? thrown.getCode() : 0);
          this.end(reconnectFailed(thrown.message, extraCode));
          return;
        }
        why = describe(thrown);
        log.info(`reconnect attempt ${attempt + 1}: ${why}`);
      }
    }
    this.end(reconnectFailed(why));
  }

  /** One attempt; returns when the session goes on. */
  private async resume(listener: SessionListener): Promise<void> {
    const channel = await Channel.open(this.options.url, RESUME_ANSWER_TIMEOUT);
    let tell: () => void;
    try {
      if (this.serverStopped) {
        const entered = await this.enter(channel, Date.now() + RESUME_ANSWER_TIMEOUT);
        tell = () => listener.reentered(entered);
      } else {
        const resumed = await channel.request('resume', { resumeToken: this.resumeToken }, RESUME_ANSWER_TIMEOUT);
        this.remember(resumed);
        tell = () => listener.resumed(resumed);
      }
    } catch (thrown) {
      channel.close();
      throw thrown;
    }
    if (this.over) {
      channel.close();
      return;
    }
    this.serverStopped = false;
    this.channel = channel;
    tell();
    this.follow(channel, listener);
    this.wake();
  }

  /** Waits, but not longer than until the browser says that the network is back. */
  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private async ready(deadline: number, type: string): Promise<Channel> {
    while (!this.over && !this.channel?.isOpen) {
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
    if (this.over || !this.channel) throw new ChannelClosed(1000, 'the session is over');
    return this.channel;
  }

  // A method, because a flag that changes during an await is otherwise thought to be constant.
  private isOver(): boolean {
    return this.over;
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private end(error: RtcError | null): void {
    if (this.over) return;
    const listener = this.listener;
    this.close();
    listener?.ended(error);
  }
}

function reconnectFailed(why: string, extraCode = 0): RtcError {
  const detail = `SignalChannel reconnect failed: ${why}`;
  return rtcError(ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED, detail, { extraCode });
}
