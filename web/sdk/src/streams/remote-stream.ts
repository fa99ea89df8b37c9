import type { Kind } from '../kinds.js';
import type { RemoteInfo } from '../room-state.js';
import type * as api from '../types.js';
import type { PlaybackOptions, RemoteStreamType } from '../types.js';
import type { PlayerView } from './player.js';
import { Stream } from './stream.js';

/** Another user's stream. It is the same object from `stream-added` to `stream-removed`. */
export class RemoteStream extends Stream implements api.RemoteStream {
  #info: RemoteInfo;

  /** Made by the client, never by an app. */
  constructor(info: RemoteInfo, dialog: boolean) {
    super(dialog);
    this.#info = info;
  }

  getId(): string {
    return this.#info.streamId;
  }

  getUserId(): string {
    return this.#info.userId;
  }

  /** `main` is camera and microphone, `auxiliary` is a shared screen. */
  getType(): RemoteStreamType {
    return this.#info.streamType;
  }

  /** Whether the user publishes audio, whether or not it is received. */
  hasAudio(): boolean {
    return this.#info.audio;
  }

  hasVideo(): boolean {
    return this.#info.video;
  }

  /** @internal */
  update(info: RemoteInfo): void {
    this.#info = info;
  }

  /** @internal */
  receive(kind: Kind, track: MediaStreamTrack | null): void {
    const muted = this.trackOf(kind)?.enabled === false;
    if (track && muted) track.enabled = false;
    this.putTrack(kind, track);
  }

  protected viewOf({ muted, mirror, objectFit }: PlaybackOptions): PlayerView {
    const fit = this.#info.streamType === 'auxiliary' ? 'contain' : 'cover';
    return { muted: muted ?? false, mirror: mirror ?? false, objectFit: objectFit ?? fit };
  }
}
