import { asRtcError, describe, ErrorCode, invalidOperation, rtcError, type RtcError } from './errors.js';
import type { StreamType, Subscription, VideoType, WantedVideo } from './generated/messages.js';
import { KINDS, type Kind } from './kinds.js';
import { log } from './logger.js';
import { ConnectionFailed, MEDIA_DEADLINE } from './media/connection.js';
import type { Downlink, RemoteTrack } from './media/downlink.js';
import type { Cancellation } from './operations.js';
import { streamKey, type RemoteInfo } from './room-state.js';
import { AnswerTimeout, ChannelClosed } from './signaling/channel.js';
import { SessionReplaced, type Session } from './signaling/session.js';
import { RemoteStream } from './streams/remote-stream.js';
import { VideoTypes } from './video-types.js';

export const ANSWER_TIMEOUT = 5_000;

/** What is to be received of a stream. */
export interface Wanted {
  readonly audio: boolean;
  readonly video: boolean;
}

/** One remote stream and what this client receives of it. */
interface Remote {
  stream: RemoteStream;
  /** What this client wants; null for nothing. */
  wanted: Wanted | null;
  /** Whether the app itself has said what it wants. */
  decided: boolean;
  /** As what its video is wanted. */
  videoType: VideoType;
  /** Who waits for the stream and is told when it goes. */
  readonly gone: Set<() => void>;
}

/** The streams of the others, and what this client receives of them. */
export class Subscriptions {
  private readonly remotes = new Map<string, Remote>();
  private carried: RemoteTrack[] = [];
  private readonly videoTypes = new VideoTypes((key, videoType) => this.tellVideoType(key, videoType));

  constructor(
    private readonly session: Session,
    private readonly downlink: Downlink,
  ) {}

  add(info: RemoteInfo, autoplayDialog: boolean): RemoteStream {
    const stream = new RemoteStream(info, autoplayDialog);
    this.remotes.set(keyOf(stream), { stream, wanted: null, decided: false, videoType: 'big', gone: new Set() });
    return stream;
  }

  /** The streams that are published. */
  get streams(): RemoteStream[] {
    return [...this.remotes.values()].map(({ stream }) => stream);
  }

  /** Takes in what is new of a stream; null when there is no such stream. */
  update(info: RemoteInfo): RemoteStream | null {
    const remote = this.remotes.get(streamKey(info.userId, info.streamType));
    remote?.stream.update(info);
    return remote?.stream ?? null;
  }

  /** Forgets a stream that is no longer published; who waits for it hears of it. */
  remove(info: RemoteInfo): RemoteStream | null {
    const key = streamKey(info.userId, info.streamType);
    const remote = this.remotes.get(key);
    this.remotes.delete(key);
    for (const tell of remote?.gone ?? []) tell();
    remote?.stream.linkIs(this, null);
    for (const kind of KINDS) this.downlink.forget(info.userId, info.streamType, kind);
    return remote?.stream ?? null;
  }

  /** The app says what it wants of a stream: nothing of it is received unasked any more. */
  decide(stream: RemoteStream): void {
    const remote = this.remotes.get(keyOf(stream));
    if (remote?.stream === stream) remote.decided = true;
  }

  /** Receives a stream as the app wants it. Calls `came` when some of it came; throws when not all that it wanted did. */
  async subscribe(stream: RemoteStream, wanted: Wanted, cancellation: Cancellation, came: () => void): Promise<void> {
    const remote = this.remoteOf(stream, 'subscribe');
    const before = remote.wanted;
    try {
      await cancellation.race(this.receive(remote, wanted));
    } catch (thrown) {
      if (remote.wanted === wanted) this.takeBack(remote, before);
      if (thrown instanceof ConnectionFailed) this.downlink.lost(thrown.message);
      throw this.failure(thrown);
    }
    const missing = KINDS.filter((kind) => wanted[kind] && this.refusalOf(stream, kind) !== undefined);
    if (missing.length === 0) {
      came();
      return;
    }
    const left = { audio: wanted.audio && !missing.includes('audio'), video: wanted.video && !missing.includes('video') };
    if (remote.wanted === wanted) this.takeBack(remote, left.audio || left.video ? left : null);
    if (left.audio || left.video) came();
    throw undecodable(stream, missing, this.refusalOf(stream, missing[0] ?? 'video') ?? ErrorCode.NOT_SUPPORTED);
  }

  /** Receives a stream that the app has not spoken of. */
  receiveUnasked(stream: RemoteStream): void {
    const remote = this.remotes.get(keyOf(stream));
    if (remote?.stream !== stream || remote.decided) return;
    const wanted = { audio: true, video: true };
    this.receive(remote, wanted).then(
      () => {
        for (const kind of KINDS) {
          const code = this.refusalOf(stream, kind);
          if (code !== undefined) log.warn(undecodable(stream, [kind], code).message);
        }
      },
      (thrown: unknown) => {
        const error = this.failure(thrown);
        const silent = this.session.isOver || error.getCode() === ErrorCode.REMOTE_STREAM_NOT_EXIST;
        // It stays wanted: when the network is back it comes.
        if (!silent) log.warn(error.message);
      },
    );
  }

  /** Receives nothing of a stream any more. Without a socket the server is told after the next resume. */
  async unsubscribe(stream: RemoteStream): Promise<void> {
    const remote = this.remoteOf(stream, 'unsubscribe');
    if (!remote.wanted) return;
    remote.wanted = null;
    this.assign();
    try {
      await this.session.requestNow('unsubscribe', addressOf(stream), ANSWER_TIMEOUT);
    } catch (thrown) {
      if (!(thrown instanceof ChannelClosed)) throw this.failure(thrown, 'unsubscribe');
    }
  }

  /** As what the video of a stream is wanted, until the stream is gone. Without a socket the server is told after the next resume. */
  async setVideoType(stream: RemoteStream, videoType: VideoType): Promise<void> {
    const remote = this.remoteOf(stream, 'setRemoteVideoStreamType');
    remote.videoType = videoType;
    try {
      await this.videoTypes.want(keyOf(stream), videoType);
    } catch (thrown) {
      if (!(thrown instanceof ChannelClosed)) throw this.failure(thrown, 'setRemoteVideoStreamType');
    }
  }

  private async tellVideoType(key: string, videoType: VideoType): Promise<void> {
    const remote = this.remotes.get(key);
    if (!remote) return;
    await this.session.requestNow('set-video-type', { ...addressOf(remote.stream), videoType }, ANSWER_TIMEOUT);
  }

  /** Asks again for what is wanted of a stream: its publisher changed its tracks. */
  renew(stream: RemoteStream): void {
    const remote = this.remotes.get(keyOf(stream));
    if (remote?.wanted) this.ask(remote);
  }

  /** Makes what the server sends and what this client wants the same again, both ways. */
  reconcile(held: readonly Subscription[], heldTypes: readonly WantedVideo[]): void {
    const types = new Map(heldTypes.map((one) => [streamKey(one.userId, one.streamType), one.videoType]));
    for (const [key, { videoType }] of this.remotes) {
      if ((types.get(key) ?? 'big') === videoType) continue;
      this.videoTypes.want(key, videoType).catch((thrown: unknown) => {
        if (!this.session.isOver) log.warn(`set-video-type: ${describe(thrown)}`);
      });
    }
    const known = new Map(held.map((one) => [streamKey(one.userId, one.streamType), one]));
    for (const [key, remote] of this.remotes) {
      const there = known.get(key);
      known.delete(key);
      if ((there?.audio ?? false) !== (remote.wanted?.audio ?? false) || (there?.video ?? false) !== (remote.wanted?.video ?? false)) {
        this.ask(remote);
      }
    }
    for (const { userId, streamType } of known.values()) this.quietly('unsubscribe', { userId, streamType });
  }

  /** What of it this client receives. */
  get received(): readonly RemoteTrack[] {
    return this.carried.filter(({ userId, streamType, kind }) => this.remotes.get(streamKey(userId, streamType))?.wanted?.[kind]);
  }

  /** What the downlink carries now. */
  carry(tracks: RemoteTrack[]): void {
    this.carried = tracks;
    this.assign();
  }

  close(): void {
    for (const { stream, gone } of this.remotes.values()) {
      stream.linkIs(this, null);
      stream.close();
      for (const tell of gone) tell();
    }
    this.remotes.clear();
  }

  private remoteOf(stream: RemoteStream, call: string): Remote {
    const remote = this.remotes.get(keyOf(stream));
    if (remote?.stream === stream) return remote;
    throw streamGone(call, stream.getUserId());
  }

  /** Resolves when the server sends what is wanted and this side can take it, or has said that it cannot. */
  private async receive(remote: Remote, wanted: Wanted): Promise<void> {
    const { stream } = remote;
    const end = Date.now() + MEDIA_DEADLINE;
    if (!remote.wanted) stream.linkIs(this, false);
    remote.wanted = wanted;
    let removed: () => void = () => undefined;
    const disappointed = new Promise<never>((_, reject) => {
      removed = () => reject(this.session.isOver ? notInRoom('subscribe') : streamGone('subscribe', stream.getUserId()));
    });
    remote.gone.add(removed);
    try {
      await Promise.race([this.offered(remote, wanted), disappointed]);
      this.assign();
      const { userId, streamType } = addressOf(stream);
      if (KINDS.some((kind) => wanted[kind] && this.downlink.carries(userId, streamType, kind))) {
        await Promise.race([this.downlink.connected(end - Date.now()), disappointed]);
      }
    } finally {
      remote.gone.delete(removed);
    }
  }

  /** Resolves when an offer with what is wanted was taken in. */
  private async offered(remote: Remote, wanted: Wanted): Promise<void> {
    const end = Date.now() + ANSWER_TIMEOUT;
    for (;;) {
      try {
        const fields = { ...addressOf(remote.stream), ...wanted };
        const isWanted = (): boolean => remote.wanted === wanted;
        const { revision } = await this.session.request('subscribe', fields, end - Date.now(), isWanted);
        await inTime(this.downlink.reached(revision), end - Date.now());
        return;
      } catch (thrown) {
        // The new session knows nothing of it yet.
        if (!(thrown instanceof SessionReplaced)) throw thrown;
      }
    }
  }

  /** What was half done is undone: the server is told what is wanted instead. */
  private takeBack(remote: Remote, wanted: Wanted | null): void {
    remote.wanted = wanted;
    this.assign();
    if (this.remotes.get(keyOf(remote.stream)) === remote) this.ask(remote);
  }

  private ask(remote: Remote): void {
    const address = addressOf(remote.stream);
    if (remote.wanted) this.quietly('subscribe', { ...address, ...remote.wanted });
    else this.quietly('unsubscribe', address);
  }

  /** A request that the next resume makes superfluous if it fails. */
  private quietly(type: 'subscribe' | 'unsubscribe', fields: { userId: string; streamType: StreamType }): void {
    this.session.requestNow(type, fields, ANSWER_TIMEOUT).catch((thrown: unknown) => {
      if (!this.session.isOver) log.warn(`${type}: ${describe(thrown)}`);
    });
  }

  private refusalOf(stream: RemoteStream, kind: Kind): number | undefined {
    const published = kind === 'audio' ? stream.hasAudio() : stream.hasVideo();
    return published ? this.downlink.refusalOf(stream.getUserId(), stream.getType(), kind) : undefined;
  }

  /** Gives each remote stream the tracks that the downlink carries for it. */
  private assign(): void {
    for (const [key, { stream, wanted }] of this.remotes) {
      for (const kind of KINDS) {
        const found = this.carried.find((one) => one.kind === kind && streamKey(one.userId, one.streamType) === key);
        stream.receive(kind, wanted?.[kind] ? (found?.track ?? null) : null);
      }
    }
    this.tellStreams();
  }

  /** The streams tell their app by what state of the connection they come in. */
  tellStreams(): void {
    const { isUp } = this.downlink;
    for (const { stream, wanted } of [...this.remotes.values()]) stream.linkIs(this, wanted ? isUp : null);
  }

  private failure(thrown: unknown, call = 'subscribe'): RtcError {
    if (thrown instanceof ConnectionFailed) {
      return rtcError(ErrorCode.ICE_TRANSPORT_ERROR, `${call} failed: ${thrown.message}`);
    }
    if (!(thrown instanceof AnswerTimeout || thrown instanceof ChannelClosed)) return asRtcError(thrown);
    const code = call === 'subscribe' ? ErrorCode.SUBSCRIPTION_TIMEOUT : ErrorCode.API_CALL_TIMEOUT;
    return this.session.isOver ? notInRoom(call) : rtcError(code, `${call} timeout`);
  }
}

/** The same promise, but an AnswerTimeout when it takes too long. */
function inTime<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new AnswerTimeout()), Math.max(0, milliseconds));
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function keyOf(stream: RemoteStream): string {
  return streamKey(stream.getUserId(), stream.getType());
}

function addressOf(stream: RemoteStream): { userId: string; streamType: StreamType } {
  return { userId: stream.getUserId(), streamType: stream.getType() };
}

export function notInRoom(call: string): RtcError {
  return invalidOperation(`${call}: the client is not in the room any more`);
}

function streamGone(call: string, userId: string): RtcError {
  const detail = `${call} failed: user ${userId} does not publish this stream any more`;
  return rtcError(ErrorCode.REMOTE_STREAM_NOT_EXIST, detail);
}

function undecodable(stream: RemoteStream, kinds: readonly Kind[], code: number): RtcError {
  const detail = `subscribe failed: this browser cannot decode the ${kinds.join(' and the ')} of user ${stream.getUserId()}`;
  return rtcError(code, detail);
}
