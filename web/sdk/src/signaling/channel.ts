import { fromErrorBody } from '../errors.js';
import type { AnyEvent, AnyRequest, Answers, ErrorBody } from '../generated/messages.js';
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

/** One WebSocket that is open: requests with ids out, answers and events in. */
export class Channel {
  private owner: ChannelOwner | null = null;
  /** What came before there was an owner to tell. */
  private readonly early: AnyEvent[] = [];
  private nextId = 1;
  private readonly waiting = new Map<number, Waiting>();
  private closed: ChannelClosed | null = null;
  private heartbeat: ReturnType<typeof setInterval> | null = null;
  private heard = true;

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
        socket.close();
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

  /** Sends a ping every `seconds`; a socket on which nothing came since the last but one is given up. */
  keepAlive(seconds: number): void {
    if (this.heartbeat) clearInterval(this.heartbeat);
    this.heartbeat = setInterval(() => {
      if (!this.heard) {
        this.lost(new ChannelClosed(1006, 'the server is silent'));
        return;
      }
      this.heard = false;
      this.request('ping', {}, seconds * 1000).catch(() => undefined);
    }, seconds * 1000);
  }

  close(): void {
    this.lost(new ChannelClosed(1000, 'closed by this side'));
  }

  private receive(data: unknown): void {
    this.heard = true;
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

  private lost(closed: ChannelClosed): void {
    if (this.closed) return;
    this.closed = closed;
    if (this.heartbeat) clearInterval(this.heartbeat);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(closed);
    }
    this.waiting.clear();
    this.owner?.closed(closed);
  }
}
