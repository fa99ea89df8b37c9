import { fromErrorBody } from '../errors.js';
import { ClientCloseCode, type AnyEvent, type AnyRequest, type Answers, type ErrorBody } from '../generated/messages.js';
import { log } from '../logger.js';

export type RequestType = AnyRequest['type'];
/** A request's fields without those that the channel fills in. */
export type Fields<T extends RequestType> = Omit<Extract<AnyRequest, { type: T }>, 'type' | 'id'>;

/** No answer came in time. */
export class AnswerTimeout extends Error {}

/** The socket is gone; whether the request was carried out is not known. */
export class ChannelClosed extends Error {
  constructor(
    readonly closeCode: number,
    readonly reason: string,
  ) {
    super(`the signaling socket closed with ${closeCode}${reason && `: ${reason}`}`);
  }
}

interface Waiting {
  resolve: (ok: never) => void;
  reject: (error: unknown) => void;
  timer: ReturnType<typeof setTimeout>;
}

type Incoming = AnyEvent | { id: number; ok: unknown } | { id: number | null; error: ErrorBody };

export interface ChannelOwner {
  event(event: AnyEvent): void;
  closed(closed: ChannelClosed): void;
}

/** Milliseconds that the event loop has for delivering what came in while no timer ran. */
const SECOND_LOOK = 1_000;
/** Looks without a message that it takes to take a socket for dead, when the last one was in time and when not. */
const LOOKS = { punctual: 2, late: 3 };
/** Milliseconds for an answer when the browser says that the network has changed. */
const PROBE_TIMEOUT = 4_000;

/** One WebSocket that is open: requests with ids out, answers and events in. */
export class Channel {
  private owner: ChannelOwner | null = null;
  /** What came before there was an owner to tell. */
  private readonly early: AnyEvent[] = [];
  private nextId = 1;
  private readonly waiting = new Map<number, Waiting>();
  private closed: ChannelClosed | null = null;
  /** Milliseconds between two looks at whether the server lives; 0 when nobody looks. */
  private interval = 0;
  private look: ReturnType<typeof setTimeout> | undefined;
  /** Looks that found nothing since the last ping was sent; null when something came since. */
  private silentLooks: number | null = null;

  private constructor(private readonly socket: WebSocket) {
    socket.onmessage = (message) => this.receive(message.data);
    socket.onclose = (event) => this.lost(new ChannelClosed(event.code, event.reason));
  }

  /** Opens a socket within `timeout` milliseconds, or rejects with a ChannelClosed or an AnswerTimeout. */
  static open(url: string, timeout: number): Promise<Channel> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      // An error says nothing that the close after it does not.
      socket.onerror = () => undefined;
      const settle = (): void => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
      };
      const timer = setTimeout(() => {
        settle();
        socket.close(ClientCloseCode.GIVEN_UP);
        reject(new AnswerTimeout(`no WebSocket at ${url} within ${timeout / 1000} s`));
      }, timeout);
      socket.onopen = () => {
        settle();
        resolve(new Channel(socket));
      };
      socket.onclose = (event) => {
        settle();
        reject(new ChannelClosed(event.code, event.reason));
      };
    });
  }

  /** From here on the owner is told of events, first of those that came already, and of the end. */
  listen(owner: ChannelOwner): void {
    this.owner = owner;
    for (const event of this.early.splice(0)) owner.event(event);
    if (this.closed) owner.closed(this.closed);
  }

  get isOpen(): boolean {
    return this.closed === null;
  }

  /** Sends a request; its answer must come within `timeout` milliseconds. Rejects with the server's refusal. */
  request<T extends RequestType>(type: T, fields: Fields<T>, timeout: number): Promise<Answers[T]> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(this.closed);
        return;
      }
      const id = this.nextId++;
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new AnswerTimeout(`no answer to '${type}' within ${timeout / 1000} s`));
      }, timeout);
      this.waiting.set(id, { resolve, reject, timer });
      this.socket.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  /** Sends a ping every `seconds`; a socket on which nothing came after one, until the next is due, is given up. */
  keepAlive(seconds: number): void {
    this.interval = seconds * 1000;
    this.lookAfter(this.interval);
  }

  /** Asks at once whether the server is still there: the way to it may have changed. */
  probe(): void {
    if (this.closed || this.interval === 0) return;
    this.ping();
    this.lookAfter(Math.min(this.interval, PROBE_TIMEOUT));
  }

  /** Closes it with `LEFT` or `GIVEN_UP`. */
  close(code: ClientCloseCode): void {
    this.lost(new ChannelClosed(code, 'closed by this side'), code);
  }

  /**
   * A page's timers come late: those of a hidden tab once a minute, those of a sleeping machine after hours. What the
   * server said meanwhile may then still be on its way through the event loop. So a late look proves nothing; it takes
   * several of them, with time for messages between, and no message.
   */
  private lookAfter(delay: number): void {
    clearTimeout(this.look);
    const due = Date.now() + delay;
    this.look = setTimeout(() => {
      if (this.silentLooks === null) {
        this.ping();
        this.lookAfter(this.interval);
        return;
      }
      this.silentLooks += 1;
      const needed = Date.now() - due < SECOND_LOOK ? LOOKS.punctual : LOOKS.late;
      if (this.silentLooks >= needed) {
        this.lost(new ChannelClosed(1006, 'the server is silent'), ClientCloseCode.GIVEN_UP);
      } else {
        this.lookAfter(SECOND_LOOK);
      }
    }, delay);
  }

  private ping(): void {
    this.silentLooks = 0;
    this.request('ping', {}, 2 * this.interval + PROBE_TIMEOUT).catch(() => undefined);
  }

  private receive(data: unknown): void {
    this.silentLooks = null;
    let message: Incoming;
    try {
      message = JSON.parse(String(data)) as Incoming;
    } catch {
      log.warn('the server sent a message that is not JSON');
      return;
    }
    if ('type' in message) {
      if (this.owner) this.owner.event(message);
      else this.early.push(message);
    } else if (message.id === null) {
      log.warn('the server refused a message:', 'error' in message ? message.error.message : '');
    } else {
      const waiting = this.waiting.get(message.id);
      if (!waiting) return;
      this.waiting.delete(message.id);
      clearTimeout(waiting.timer);
      if ('error' in message) waiting.reject(fromErrorBody(message.error));
      else waiting.resolve(message.ok as never);
    }
  }

  /** The end of it, once; `code` is what the other side is told, if there is still one. */
  private lost(closed: ChannelClosed, code?: ClientCloseCode): void {
    if (this.closed) return;
    this.closed = closed;
    clearTimeout(this.look);
    this.socket.onmessage = this.socket.onclose = null;
    if (code !== undefined) this.socket.close(code);
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(closed);
    }
    this.waiting.clear();
    this.owner?.closed(closed);
  }
}
