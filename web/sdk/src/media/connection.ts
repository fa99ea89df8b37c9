import { backoffDelay } from '../backoff.js';
import { describe } from '../errors.js';
import { log } from '../logger.js';

/** Milliseconds within which ICE and DTLS must have made a connection. */
export const CONNECT_TIMEOUT = 10_000;
/** Milliseconds from a `publish` or a `subscribe` to its connection, or to its refusal: a little less than ten seconds. */
export const MEDIA_DEADLINE = 9_500;
/** A connection whose checks go unanswered for this long is made anew; ICE itself would wait for half a minute. */
const DISCONNECTED_TIMEOUT = 5_000;
/** Milliseconds for an ICE restart to bring a connection back, from the answer on. */
const RESTART_TIMEOUT = 3_000;

export type Link = 'uplink' | 'downlink';

/** The network does not let media through; the message says what is known of the cause. */
export class ConnectionFailed extends Error {}

/** One peer connection, watched from its first negotiation to its end. */
export class Connection {
  /** Why it is not up and will not come up by itself. */
  private why: string | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly waiting = new Set<() => void>();
  private wasUp = false;
  /** Since when it is not up any more. */
  private lostAt: number | null = null;

  constructor(
    readonly pc: RTCPeerConnection,
    /** Called at most once until `revived`, when it will not come up, or come back, by itself. */
    private readonly dead: (why: string) => void,
    /** Called when its checks are not answered any more: another way to the server may be found before it is dead. */
    private readonly suspect: (why: string) => void = () => undefined,
    /** Called whenever it may be up, or not be up any more. */
    private readonly moved: () => void = () => undefined,
  ) {
    pc.addEventListener('connectionstatechange', this.look);
  }

  /** Begins to count the time that a connection may take: both descriptions are there. */
  negotiated(): void {
    if (this.timer === undefined) this.look();
  }

  get isUp(): boolean {
    return this.why === null && this.pc.connectionState === 'connected';
  }

  /** Whether it was given up. */
  get isDead(): boolean {
    return this.why !== null;
  }

  /** Takes a connection that was given up for good again if it has come back meanwhile; says whether it has. */
  revived(): boolean {
    if (this.why !== null && this.pc.connectionState === 'connected') {
      this.why = null;
      this.tell();
    }
    return this.isUp;
  }

  /** Tries an ICE restart if that may bring it back; its state tells the rest. */
  async restarted(link: Link, restart: () => Promise<void>): Promise<void> {
    if (!this.isLost) return;
    try {
      await restart();
      await this.comesBack();
    } catch (thrown) {
      log.info(`${link}: no other way was found: ${describe(thrown)}`);
    }
  }

  /** Whether an ICE restart may bring it back: it was up, and is not any more. */
  private get isLost(): boolean {
    return this.wasUp && ['disconnected', 'failed', 'connecting'].includes(this.pc.connectionState);
  }

  /** Resolves when a connection that was given up is back after an ICE restart; rejects with a ConnectionFailed if it is not in time. */
  private comesBack(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        this.pc.removeEventListener('connectionstatechange', look);
        finish();
      };
      const look = (): void => {
        if (this.pc.connectionState === 'connected') settle(resolve);
      };
      const timer = setTimeout(() => settle(() => reject(new ConnectionFailed(causeOf(this.pc)))), RESTART_TIMEOUT);
      this.pc.addEventListener('connectionstatechange', look);
      look();
    });
  }

  /** Resolves when it is up; rejects with a ConnectionFailed when it is not in time, or is not going to be. */
  connected(milliseconds: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        finish();
      };
      const look = (): void => {
        const { why } = this;
        if (this.isUp) settle(resolve);
        else if (why !== null) settle(() => reject(new ConnectionFailed(why)));
      };
      const timer = setTimeout(() => settle(() => reject(new ConnectionFailed(causeOf(this.pc)))), Math.max(0, milliseconds));
      this.waiting.add(look);
      look();
    });
  }

  /** Ends it; nobody is told but those who wait for it. */
  close(): void {
    this.end('the connection was closed');
    this.pc.removeEventListener('connectionstatechange', this.look);
    this.pc.close();
  }

  /**
   * Resolves and rejects as `connecting`, and is over without a word when that rejects: its own time may end later, which
   * would begin another run of attempts.
   */
  async upOrOver(connecting: Promise<void>): Promise<void> {
    try {
      await connecting;
    } catch (thrown) {
      if (!this.isUp) this.end(describe(thrown));
      throw thrown;
    }
  }

  /** The other side says that it is over. */
  fail(why: string): void {
    if (this.why !== null) return;
    this.end(why);
    this.dead(why);
  }

  private readonly look = (): void => {
    clearTimeout(this.timer);
    switch (this.pc.connectionState) {
      case 'failed':
        this.fail(causeOf(this.pc));
        break;
      case 'disconnected':
        this.lostAt ??= Date.now();
        this.failIn(DISCONNECTED_TIMEOUT - (Date.now() - this.lostAt));
        this.suspect('a media connection is interrupted');
        break;
      case 'closed':
        break;
      case 'connected':
        [this.wasUp, this.lostAt] = [true, null];
        break;
      default:
        // An ICE restart makes a lost one connect, and takes no more time than waiting did.
        this.failIn(this.lostAt === null ? CONNECT_TIMEOUT : DISCONNECTED_TIMEOUT - (Date.now() - this.lostAt));
    }
    this.tell();
  };

  private failIn(milliseconds: number): void {
    this.timer = setTimeout(() => this.fail(causeOf(this.pc)), Math.max(0, milliseconds));
  }

  private end(why: string): void {
    clearTimeout(this.timer);
    this.why ??= why;
    this.tell();
  }

  private tell(): void {
    for (const one of [...this.waiting]) one();
    this.moved();
  }
}

/** What keeps a connection from coming up, in words. */
function causeOf(pc: RTCPeerConnection): string {
  if (['connected', 'completed'].includes(pc.iceConnectionState)) {
    return `DTLS Transport connection timeout (${CONNECT_TIMEOUT / 1000}s): the server answers, but no keys were agreed on`;
  }
  const offered = [...(pc.remoteDescription?.sdp ?? '').matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) /gm)];
  const addresses = [...new Set(offered.map(([, protocol, address, port]) => `${address}:${port} (${protocol?.toLowerCase()})`))];
  if (addresses.length === 0) return 'ICE/DTLS Transport connection failed: no valid ice candidate found';
  const blocked = [...new Set(offered.map(([, protocol]) => protocol?.toUpperCase()))].join(' and ');
  return (
    `ICE/DTLS Transport connection failed: no answer from the media server at ${addresses.join(', ')}; ` +
    `a firewall or the network may block ${blocked} to it`
  );
}

/** What a recovery needs to know of signaling: without it no media connection can be made. */
export interface Signaling {
  readonly isUp: boolean;
  /** Milliseconds for which attempts are worth it. */
  readonly keptFor: number;
  /** Resolves when signaling is up, or will never be again. */
  up(): Promise<void>;
}

/** Makes a failed connection anew: attempts at growing distances, one run at a time. */
export class Recovery {
  private running = false;
  private over = false;
  /** Whether something failed while an attempt was under way, which may be after it had looked. */
  private again = false;

  constructor(
    private readonly link: Link,
    private readonly signaling: Signaling,
    /** Makes a new connection and resolves when it is up. */
    private readonly attempt: () => Promise<void>,
    private readonly giveUp: (why: string) => void,
  ) {}

  start(why: string): void {
    this.again = true;
    if (this.running || this.over) return;
    log.warn(`${this.link}: ${why}; connecting anew`);
    this.running = true;
    void this.run(why).finally(() => (this.running = false));
  }

  stop(): void {
    this.over = true;
  }

  /** Time without signaling does not count, and nothing is tried in it: nothing could come of it. */
  private async run(first: string): Promise<void> {
    let why = first;
    let giveUpAt = Date.now() + this.signaling.keptFor;
    for (let attempt = 0, last = false; !last; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(backoffDelay(attempt), Math.max(0, giveUpAt - Date.now()))));
      if (!this.signaling.isUp) {
        await this.signaling.up();
        giveUpAt = Date.now() + this.signaling.keptFor;
        attempt = 0;
      }
      if (this.over) return;
      const begun = Date.now();
      this.again = false;
      try {
        await this.attempt();
        log.info(`${this.link}: connected again`);
        // One more attempt finds at once whether all is well.
        if (!this.needsAnother()) return;
        attempt = -1;
        continue;
      } catch (thrown) {
        why = describe(thrown);
        log.warn(`${this.link}: attempt ${attempt + 1} failed: ${why}`);
      }
      last = begun >= giveUpAt && this.signaling.isUp;
    }
    if (!this.isOver()) this.giveUp(why);
  }

  // Methods, because a flag that changes during an await is otherwise thought to be constant.
  private isOver(): boolean {
    return this.over;
  }

  private needsAnother(): boolean {
    return this.again && !this.over;
  }
}
