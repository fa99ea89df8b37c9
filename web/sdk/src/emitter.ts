import { bindToSelf } from './identity.js';
import { log } from './logger.js';

type Handler<T> = (event: T) => void;

interface Registration {
  handler: Handler<never>;
  context: unknown;
}

/** Handlers by event name. A handler that throws is reported and harms neither the others nor the SDK. */
export class Emitter<Events extends object> {
  readonly #registrations = new Map<keyof Events | '*', Registration[]>();

  constructor() {
    bindToSelf(this);
  }

  /** Calls `handler` at each `event`, with `context` as its `this`. */
  on<K extends keyof Events>(event: K, handler: Handler<Events[K]>, context?: unknown): void {
    const registered = this.#registrations.get(event) ?? [];
    this.#registrations.set(event, [...registered, { handler, context }]);
  }

  /** Undoes `on`; without a handler all handlers of the event go, with `'*'` all there are. */
  off<K extends keyof Events>(event: K | '*', handler?: Handler<Events[K]>, context?: unknown): void {
    if (event === '*') {
      this.#registrations.clear();
    } else if (!handler) {
      this.#registrations.delete(event);
    } else {
      const kept = (this.#registrations.get(event) ?? []).filter(
        (one) => one.handler !== handler || (context !== undefined && one.context !== context),
      );
      this.#registrations.set(event, kept);
    }
  }

  protected emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    for (const { handler, context } of this.#registrations.get(event) ?? []) {
      try {
        (handler as Handler<Events[K]>).call(context, payload);
      } catch (thrown) {
        log.error(`a handler of '${String(event)}' threw:`, thrown);
      }
    }
  }
}
