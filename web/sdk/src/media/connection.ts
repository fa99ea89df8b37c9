import { backoffDelay } from '../backoff.js';
import { describe } from '../errors.js';
import { log } from '../logger.js';

/** Milliseconds within which ICE and DTLS must have made a connection. */
export const CONNECT_TIMEOUT = 10_000;
/** A connection whose checks go unanswered for this long is made anew; ICE itself would wait for half a minute. */
const DISCONNECTED_TIMEOUT = 5_000;
/** Attempts to make a failed connection anew before it is given up. */
const ATTEMPTS = 5;

export type Link = 'uplink' | 'downlink';

/** Follows a peer connection from its first negotiation on; calls `dead` once, when it will not come back by itself. */
export function watch(pc: RTCPeerConnection, dead: (why: string) => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = (): void => {
    clearTimeout(timer);
    pc.removeEventListener('connectionstatechange', look);
  };
  const die = (why: string): void => {
    stop();
    if (pc.connectionState !== 'closed') dead(why);
  };
  const look = (): void => {
    clearTimeout(timer);
    switch (pc.connectionState) {
      case 'failed':
        die('ICE/DTLS Transport connection failed');
        break;
      case 'disconnected':
        timer = setTimeout(() => die('ICE/DTLS Transport connection failed: no answer'), DISCONNECTED_TIMEOUT);
        break;
      case 'closed':
        stop();
        break;
      case 'connected':
        break;
      default:
        timer = setTimeout(() => die('DTLS Transport connection timeout (10s)'), CONNECT_TIMEOUT);
    }
  };
  pc.addEventListener('connectionstatechange', look);
  look();
}

/** Resolves when the connection is up; rejects with the reason when it is not going to be. */
export function connected(pc: RTCPeerConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      pc.removeEventListener('connectionstatechange', look);
      finish();
    };
    const look = (): void => {
      if (pc.connectionState === 'connected') settle(resolve);
      if (pc.connectionState === 'failed' || pc.connectionState === 'closed') {
        settle(() => reject(new Error('ICE/DTLS Transport connection failed')));
      }
    };
    const timer = setTimeout(
      () => settle(() => reject(new Error('DTLS Transport connection timeout (10s)'))),
      CONNECT_TIMEOUT,
    );
    pc.addEventListener('connectionstatechange', look);
    look();
  });
}

/** Makes a failed connection anew: attempts at growing distances, one run at a time. */
export class Recovery {
  private running = false;
  private over = false;

  constructor(
    private readonly link: Link,
    /** Makes a new connection and resolves when it is up. */
    private readonly attempt: () => Promise<void>,
    private readonly giveUp: (why: string) => void,
  ) {}

  start(why: string): void {
    if (this.running || this.over) return;
    log.warn(`${this.link}: ${why}; connecting anew`);
    this.running = true;
    void this.run(why).finally(() => (this.running = false));
  }

  stop(): void {
    this.over = true;
  }

  private async run(first: string): Promise<void> {
    let why = first;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, backoffDelay(attempt)));
      if (this.over) return;
      try {
        await this.attempt();
        log.info(`${this.link}: connected again`);
        return;
      } catch (thrown) {
        why = describe(thrown);
        log.warn(`${this.link}: attempt ${attempt + 1} failed: ${why}`);
      }
    }
    if (!this.over) this.giveUp(why);
  }
}
