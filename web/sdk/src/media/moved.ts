import { describe } from '../errors.js';
import { log } from '../logger.js';
import { entries, sum } from '../statistics.js';

/** Milliseconds between two looks at what came in. */
const LOOK = 300;
/** Milliseconds without a packet from which on a connection on which they came all the time is suspicious. */
const SILENCE = 900;
/** The longest pause between packets that is remembered, in milliseconds; with longer ones nothing can be told. */
const LONGEST_PAUSE = 2_000;
/** Looks of which the pauses are remembered. */
const REMEMBERED = 20;
/** Milliseconds between two restarts for a suspicion; it doubles while they come one after the other. */
const SPACING = 3_000;
const LONGEST_SPACING = 24_000;

/**
 * Tells when nothing comes in any more on a connection on which something came all the time. ICE itself takes five seconds
 * and more to notice; a server that gets media reports on it several times a second, so half as long a pause as a second is rare.
 */
export class SilenceWatch {
  private pc: RTCPeerConnection | null = null;
  private received = -1;
  private lastCame = 0;
  /** The pauses between the last packets; as many as are needed to judge the next. */
  private pauses: number[] = [];
  private told = false;
  private looking = false;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(
    /** The connection that is watched now. */
    private readonly watched: () => RTCPeerConnection | null,
    private readonly silent: () => void,
  ) {
    this.timer = setInterval(() => void this.look(), LOOK);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private async look(): Promise<void> {
    const pc = this.watched();
    if (this.looking || pc?.connectionState !== 'connected') return;
    this.looking = true;
    try {
      const received = await receivedBy(pc);
      if (received !== undefined) this.judge(pc, received, Date.now());
    } catch (thrown) {
      log.debug('what came in is not known:', describe(thrown));
    } finally {
      this.looking = false;
    }
  }

  private judge(pc: RTCPeerConnection, received: number, now: number): void {
    if (pc !== this.pc) {
      [this.pc, this.received, this.lastCame, this.pauses, this.told] = [pc, received, now, [], false];
      return;
    }
    const pause = now - this.lastCame;
    if (received !== this.received) {
      if (!this.told) this.pauses.push(pause);
      if (this.pauses.length > REMEMBERED) this.pauses.shift();
      [this.received, this.lastCame, this.told] = [received, now, false];
      return;
    }
    const longest = Math.max(...this.pauses);
    if (this.told || this.pauses.length < REMEMBERED / 2 || longest > LONGEST_PAUSE) return;
    if (pause < Math.max(SILENCE, 2 * longest)) return;
    this.told = true;
    this.silent();
  }
}

/** How much came in, in whatever this browser counts; undefined before anything did. Only one track is asked for: all would cost a page a good part of a processor. */
async function receivedBy(pc: RTCPeerConnection): Promise<number | undefined> {
  const one = pc.getSenders().find(({ track }) => track !== null) ?? pc.getReceivers()[0];
  if (!one) return undefined;
  const report = await one.getStats();
  const [transport] = entries(report, 'transport');
  if (typeof transport?.bytesReceived === 'number') return transport.bytesReceived;
  const pairs = entries(report, 'candidate-pair').filter(({ bytesReceived }) => bytesReceived !== undefined);
  return pairs.length > 0 ? sum(pairs, 'bytesReceived') : undefined;
}

/** What an ICE restart is tried on. */
export interface Restartable {
  restartIce(): Promise<void>;
}

/**
 * Has both connections look for another way to the server when there is a sign that this client is somewhere else: nothing
 * is published or subscribed to anew, and what there is goes on meanwhile, so a wrong suspicion costs little.
 */
export class Movement {
  private running = false;
  private begun = 0;
  private spacing = SPACING;

  constructor(
    private readonly links: readonly Restartable[],
    /** Finds out whether the signaling socket lives; requests that are under way go on over the next one if not. */
    private readonly checkSocket: () => void,
  ) {}

  /** There is a sign; of several at the same time, one counts. */
  suspect(why: string): void {
    const since = Date.now() - this.begun;
    if (since > LONGEST_SPACING) this.spacing = SPACING;
    if (this.running || since < this.spacing) return;
    if (this.begun > 0 && since <= LONGEST_SPACING) this.spacing = Math.min(2 * this.spacing, LONGEST_SPACING);
    this.begun = Date.now();
    this.running = true;
    log.info(`${why}; looking for another way to the server`);
    this.checkSocket();
    void Promise.allSettled(this.links.map((link) => link.restartIce())).then((results) => {
      this.running = false;
      for (const result of results) if (result.status === 'rejected') log.info('ICE restart:', describe(result.reason));
    });
  }
}
