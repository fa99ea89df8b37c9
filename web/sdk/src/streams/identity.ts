import { invalidOperation, invalidParameter } from '../errors.js';
import { original } from '../identity.js';
import { LocalStream } from './local-stream.js';
import { RemoteStream } from './remote-stream.js';

/** The local stream that was handed in, itself or in a wrapper; undefined for anything else. */
export function localStream(asked: unknown): LocalStream | undefined {
  const stream = original(asked);
  return stream instanceof LocalStream ? stream : undefined;
}

/** The same for a remote one. */
export function remoteStream(asked: unknown): RemoteStream | undefined {
  const stream = original(asked);
  return stream instanceof RemoteStream ? stream : undefined;
}

/** Refuses what is not a local stream that can be published now. */
export function checkPublishable(asked: unknown): LocalStream {
  const stream = localStream(asked);
  if (!stream) throw invalidParameter('publish: expected a stream made by createStream()');
  if (!stream.initialized) throw invalidOperation('publish: the stream is not initialized; await initialize() first');
  if (!stream.hasAudio() && !stream.hasVideo()) throw invalidOperation('publish: the stream has neither audio nor video');
  return stream;
}
