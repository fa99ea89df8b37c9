import type { RtcError } from './errors.js';

/** Says to an operation that is going on that nobody wants its end any more. */
export class Cancellation {
  private reason: RtcError | null = null;
  private readonly tell = new Set<(reason: RtcError) => void>();

  cancel(reason: RtcError): void {
    if (this.reason) return;
    this.reason = reason;
    for (const one of this.tell) one(reason);
    this.tell.clear();
  }

  /** The same promise, but rejected with the reason as soon as the operation is cancelled. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // What is given up may still fail, and then nobody is left to hear of it.
      promise.then(resolve, reject).finally(() => this.tell.delete(reject));
      if (this.reason) reject(this.reason);
      else this.tell.add(reject);
    });
  }
}

interface Entry {
  name: string;
  scope: readonly string[];
  cancellation: Cancellation;
  running: boolean;
  start: () => void;
  refuse: (reason: RtcError) => void;
}

/** The scope of an operation that is alone while it goes on. */
export const ALONE = ['*'] as const;

/**
 * The operations of one client in the order in which they were asked for. An operation begins when no earlier one of
 * a common scope is left, and decides only then whether it may be: what it finds is what the earlier ones left behind.
 */
export class Operations {
  private readonly entries: Entry[] = [];

  /** Queues an operation; `work` begins in its turn, never before this call has returned. */
  add<T>(name: string, scope: readonly string[], work: (cancellation: Cancellation) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const entry: Entry = {
        name,
        scope,
        cancellation: new Cancellation(),
        running: false,
        start: () => {
          Promise.resolve()
            .then(() => entry.cancellation.race(work(entry.cancellation)))
            .then(resolve, reject)
            .finally(() => this.remove(entry));
        },
        refuse: (reason) => {
          this.remove(entry);
          reject(reason);
        },
      };
      this.entries.push(entry);
      this.startNext();
    });
  }

  /** The name of the last operation of this scope that is not over yet. */
  lastOf(scope: string): string | undefined {
    return this.entries.filter((entry) => share(entry.scope, [scope])).pop()?.name;
  }

  has(name: string): boolean {
    return this.entries.some((entry) => entry.name === name);
  }

  /** Ends all operations but those of these names, the waiting and the running ones. */
  cancel(why: (name: string) => RtcError, except: readonly string[]): void {
    for (const entry of [...this.entries]) {
      if (except.includes(entry.name)) continue;
      if (entry.running) entry.cancellation.cancel(why(entry.name));
      else entry.refuse(why(entry.name));
    }
  }

  private remove(entry: Entry): void {
    const at = this.entries.indexOf(entry);
    if (at >= 0) this.entries.splice(at, 1);
    this.startNext();
  }

  private startNext(): void {
    for (const [at, entry] of this.entries.entries()) {
      if (entry.running || this.entries.slice(0, at).some((earlier) => share(earlier.scope, entry.scope))) continue;
      entry.running = true;
      entry.start();
    }
  }
}

function share(one: readonly string[], other: readonly string[]): boolean {
  return one.includes('*') || other.includes('*') || one.some((part) => other.includes(part));
}
