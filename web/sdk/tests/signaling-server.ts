import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { AnyEvent, AnyRequest, EnterOk, ErrorBody, ResumeOk, Snapshot } from '../src/generated/messages.js';

type Request = AnyRequest;
type Reply = object | { error: ErrorBody } | typeof SILENCE;

/** A reply that does not come. */
export const SILENCE = Symbol('silence');

export function refusal(code: number, key: string, message: string, extraCode = 0): { error: ErrorBody } {
  return { error: { code, key, message, extraCode } };
}

/** The server's side of the protocol over real sockets, with replies that a test can change. */
export class SignalingServer {
  readonly requests: Request[] = [];
  /** The codes that clients closed their sockets with. */
  readonly closeCodes: number[] = [];
  snapshot: Snapshot = { members: [], streams: [] };
  heartbeatInterval = 10;
  resumeTimeout = 90;
  replies: Partial<Record<Request['type'], (request: never) => Reply>> = {};
  private readonly arrivals: { matches: (request: Request) => boolean; resolve: (request: Request) => void }[] = [];
  private socket: WebSocket | null = null;

  private constructor(private readonly server: WebSocketServer) {
    server.on('connection', (socket) => {
      this.socket = socket;
      socket.on('close', (code: number) => this.closeCodes.push(code));
      socket.on('message', (data: Buffer) => this.receive(socket, JSON.parse(data.toString()) as Request));
    });
  }

  static async start(port = 0): Promise<SignalingServer> {
    const server = new WebSocketServer({ host: '127.0.0.1', port });
    await once(server, 'listening');
    return new SignalingServer(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get types(): string[] {
    return this.requests.map((request) => request.type).filter((type) => type !== 'ping');
  }

  send(event: AnyEvent): void {
    this.socket?.send(JSON.stringify(event));
  }

  /** What `SILENCE` kept back. */
  answer(id: number, ok: object): void {
    this.socket?.send(JSON.stringify({ id, ok }));
  }

  /** The next request of a type, counted from now. */
  next<T extends Request['type']>(type: T): Promise<Extract<Request, { type: T }>> {
    return new Promise((resolve) => {
      this.arrivals.push({ matches: (request) => request.type === type, resolve: resolve as (request: Request) => void });
    });
  }

  /** The network goes away under the socket, without a closing handshake. */
  dropSocket(): void {
    this.socket?.terminate();
  }

  closeSocket(code: number, reason: string): void {
    this.socket?.close(code, reason);
  }

  async stop(): Promise<void> {
    for (const client of this.server.clients) client.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private receive(socket: WebSocket, request: Request): void {
    this.requests.push(request);
    const reply = this.replies[request.type]?.(request as never) ?? this.usual(request);
    if (reply !== SILENCE) {
      const body = 'error' in (reply) ? reply : { ok: reply };
      socket.send(JSON.stringify({ id: request.id, ...(body) }));
    }
    const arrival = this.arrivals.findIndex(({ matches }) => matches(request));
    if (arrival >= 0) this.arrivals.splice(arrival, 1)[0]?.resolve(request);
  }

  private usual(request: Request): object {
    const session = { sessionId: 's', resumeToken: 'token', resumeTimeout: this.resumeTimeout, snapshot: this.snapshot };
    switch (request.type) {
      case 'login':
        return {
          ticket: 'ticket',
          ticketExpiresAt: 0,
          serverVersion: 'test',
          heartbeatInterval: this.heartbeatInterval,
          maxMessageBytes: 262144,
        };
      case 'enter':
        return session satisfies EnterOk;
      case 'resume':
        return { ...session, published: [], subscriptions: [] } satisfies ResumeOk;
      case 'subscribe':
        return { revision: 0 };
      default:
        return {};
    }
  }
}
