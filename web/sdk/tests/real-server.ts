import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';

const PARLOUR = fileURLToPath(new URL('../../../.venv/bin/parlour', import.meta.url));
const APP = 1400000042;

/** A running `parlour serve`, which a test may freeze, kill and start again on the same port and data. */
export class RealServer {
  private process: ChildProcess | null = null;
  private port = 0;
  private readonly data = mkdtempSync(join(tmpdir(), 'parlour-sdk-'));
  private readonly key: string;

  /** Makes an app in a data folder of its own; `settings` by their names in the environment without the prefix. */
  constructor(private readonly settings: Record<string, string> = {}) {
    const made = execFileSync(PARLOUR, ['app', 'create', String(APP), '--data', this.data, '--json'], { encoding: 'utf8' });
    this.key = (JSON.parse(made) as { key: string }).key;
  }

  get address(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.port };
  }

  /** What `createClient` takes for a user, with a UserSig as an app's back end signs it. */
  config(userId: string): { sdkAppId: number; userId: string; userSig: string } {
    const [time, expire] = [Math.floor(Date.now() / 1000), 3600];
    const signed = `TLS.identifier:${userId}\nTLS.sdkappid:${APP}\nTLS.time:${time}\nTLS.expire:${expire}\n`;
    const fields = {
      'TLS.ver': '2.0',
      'TLS.identifier': userId,
      'TLS.sdkappid': APP,
      'TLS.expire': expire,
      'TLS.time': time,
      'TLS.sig': createHmac('sha256', this.key).update(signed).digest('base64'),
    };
    const text = deflateSync(JSON.stringify(fields)).toString('base64');
    return { sdkAppId: APP, userId, userSig: text.replace(/\+/g, '*').replace(/\//g, '-').replace(/=/g, '_') };
  }

  async run(): Promise<void> {
    const settings = Object.entries(this.settings).map(([name, value]) => [`PARLOUR_${name}`, value] as const);
    const started = spawn(PARLOUR, ['serve', '--port', String(this.port), '--media-port', '0', '--data', this.data], {
      env: { ...process.env, ...Object.fromEntries(settings) },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.process = started;
    let said = '';
    for await (const chunk of started.stdout) {
      said += String(chunk);
      const found = /http:\/\/[^\s/]+:(\d+)/.exec(said);
      if (!found) continue;
      this.port = Number(found[1]);
      return;
    }
    throw new Error(`parlour serve ended: ${said}`);
  }

  /** It stands still: it is there and answers nothing. */
  freeze(): void {
    this.process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.process?.kill('SIGCONT');
  }

  /** It is gone from one moment to the next, with all it knew. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** It goes down in good order. */
  async shutDown(): Promise<void> {
    await this.end('SIGTERM');
  }

  async stop(): Promise<void> {
    this.thaw();
    await this.end('SIGKILL');
    rmSync(this.data, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { process: running } = this;
    this.process = null;
    if (running?.exitCode !== null || running.signalCode !== null) return;
    running.kill(signal);
    await once(running, 'exit');
  }
}

/** One client's way to the server, which a test cuts and mends. What is cut is reset; nothing gets through meanwhile. */
export class Wire {
  /** When each connection was tried for, in milliseconds. */
  readonly tries: number[] = [];
  private readonly sockets = new Set<Socket>();
  private whole = true;

  private constructor(
    private readonly listener: Server,
    private readonly target: { host: string; port: number },
  ) {
    listener.on('connection', (near) => this.carry(near));
  }

  static async to(target: { host: string; port: number }): Promise<Wire> {
    const listener = createServer();
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return new Wire(listener, target);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.listener.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.whole = false;
    for (const socket of this.sockets) socket.resetAndDestroy();
    this.sockets.clear();
  }

  mend(): void {
    this.whole = true;
  }

  async close(): Promise<void> {
    this.cut();
    this.listener.close();
    await once(this.listener, 'close');
  }

  private carry(near: Socket): void {
    this.tries.push(Date.now());
    near.on('error', () => undefined);
    if (!this.whole) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.target);
    far.on('error', () => undefined);
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.sockets.add(one);
      one.pipe(other);
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
  }
}
