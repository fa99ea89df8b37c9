import type { LocalStream } from './local-stream.js';

/**
 * The local streams of this page by their ids. What an app hands back may be a proxy of what it was given (Vue's
 * `reactive()`, a membrane): it answers as the stream does but is another object, so that streams are found by id.
 */
const locals = new Map<string, WeakRef<LocalStream>>();

const forgotten = new FinalizationRegistry<string>((id) => locals.delete(id));

/** Called once for each local stream, from its constructor. */
export function rememberLocal(stream: LocalStream): void {
  locals.set(stream.getId(), new WeakRef(stream));
  forgotten.register(stream, stream.getId());
}

/** The id that a stream, or a proxy of one, says it has; undefined for everything else. */
export function idOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { getId } = value as { getId?: unknown };
  if (typeof getId !== 'function') return undefined;
  const id: unknown = getId.call(value);
  return typeof id === 'string' ? id : undefined;
}

/** The local stream that was handed in, itself or through a proxy; undefined when it is none. */
export function localStream(value: unknown): LocalStream | undefined {
  const id = idOf(value);
  return id === undefined ? undefined : locals.get(id)?.deref();
}
