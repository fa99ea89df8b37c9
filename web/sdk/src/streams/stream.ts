import { Emitter } from '../emitter.js';
import { asRtcError, ErrorCode, invalidOperation, invalidParameter } from '../errors.js';
import { KINDS, type Kind } from '../kinds.js';
import { log } from '../logger.js';
import type * as api from '../types.js';
import type { ConnectionState, PlaybackOptions, StreamEventMap } from '../types.js';
import { eventHandler, volume as validVolume } from '../validate.js';
import { askForGesture, dropGesture } from './autoplay.js';
import { Meter } from './meter.js';
import { containerOf, pictureOf, Player, sinkFor, type PlayerView, type Sound } from './player.js';

/** What local and remote streams share: at most one track of each kind, and a place on the page. */
export abstract class Stream extends Emitter<StreamEventMap> implements api.Stream {
  readonly #tracks: Record<Kind, MediaStreamTrack | null> = { audio: null, video: null };
  readonly #dialog: boolean;
  #mediaStream: MediaStream | null = null;
  #player: Player | null = null;
  #waitsForGesture = false;
  /** How the app wants to hear it, also while it is not played. */
  readonly #sound: Sound = { volume: 1, deviceId: null };
  readonly #meter = new Meter();
  /** Who has it go out or come in, and whether the connection for that is up. */
  readonly #links = new Map<object, boolean>();
  #state: ConnectionState = 'DISCONNECTED';

  /** `dialog`: whether a play that the browser forbids asks for a click. */
  constructor(dialog: boolean) {
    super();
    this.#dialog = dialog;
  }

  /** The stream's id, unique in its room. */
  abstract getId(): string;
  abstract getUserId(): string;
  abstract hasAudio(): boolean;
  abstract hasVideo(): boolean;
  protected abstract viewOf(options: PlaybackOptions): PlayerView;

  /**
   * Plays the stream in an element of the page, given by its id or itself; it gets a child `player_<id>`. Tracks that
   * come later are played there too. Called again it moves the stream or changes how it is shown.
   */
  async play(element: HTMLDivElement['id'] | HTMLDivElement, options: PlaybackOptions = {}): Promise<void> {
    const container = containerOf(element);
    const view = this.viewOf(options);
    const player = this.#player ?? new Player(this.getId(), view, this.#sound, (change) => this.emit('player-state-changed', change));
    player.place(container, view);
    this.#player = player;
    for (const kind of KINDS) player.setTrack(kind, this.trackOf(kind));
    await this.start(player);
  }

  /** Takes the stream off the page. */
  stop(): void {
    this.gestureDone();
    this.#player?.remove();
    this.#player = null;
  }

  /** Plays on after a pause, or after the browser wanted a gesture first. */
  async resume(): Promise<void> {
    if (!this.#player) throw invalidOperation('resume: the stream is not being played; call play() first');
    await this.start(this.#player);
  }

  /** Stops playing and lets go of what the stream holds. */
  close(): void {
    this.stop();
    this.#meter.close();
  }

  muteAudio(): boolean {
    return this.setMuted('audio', true);
  }

  unmuteAudio(): boolean {
    return this.setMuted('audio', false);
  }

  muteVideo(): boolean {
    return this.setMuted('video', true);
  }

  unmuteVideo(): boolean {
    return this.setMuted('video', false);
  }

  getAudioTrack(): MediaStreamTrack | null {
    return this.trackOf('audio');
  }

  getVideoTrack(): MediaStreamTrack | null {
    return this.trackOf('video');
  }

  /** Plays the sound on another device. */
  async setAudioOutput(deviceId: string): Promise<void> {
    if (typeof deviceId !== 'string') throw invalidParameter(`setAudioOutput: expected the id of a device, not ${String(deviceId)}`);
    await sinkFor(this.#player?.elements.get('audio'), deviceId);
    this.#sound.deviceId = deviceId;
  }

  /** How loud it is played, from 0 to 1. */
  setAudioVolume(volume: number): void {
    this.#sound.volume = validVolume(volume);
    this.#player?.applySound();
  }

  /** How loud the sound is just now, from 0 to 1. */
  getAudioLevel(): number {
    return this.#meter.level(this.trackOf('audio'));
  }

  /** The picture that is shown, as a data URL; null when none is. */
  getVideoFrame(): string | null {
    return pictureOf(this.#player?.elements.get('video'));
  }

  override on<K extends keyof StreamEventMap>(event: K, handler: (event: StreamEventMap[K]) => void, context?: unknown): void {
    eventHandler(event, handler);
    super.on(event, handler, context);
  }

  /** @internal Whether this owner's connection for the stream is up; null when it has none for it any more. */
  linkIs(owner: object, up: boolean | null): void {
    if (up === null) this.#links.delete(owner);
    else this.#links.set(owner, up);
    const prevState = this.#state;
    const wasUp = prevState === 'CONNECTED' || prevState === 'RECONNECTING';
    if (this.#links.size === 0) this.#state = 'DISCONNECTED';
    else if ([...this.#links.values()].includes(true)) this.#state = 'CONNECTED';
    else this.#state = wasUp ? 'RECONNECTING' : 'CONNECTING';
    if (this.#state !== prevState) this.emit('connection-state-changed', { prevState, state: this.#state });
  }

  /** Whether an element on the page plays it now; v4 apps use this undocumented member. */
  isPlaying(): boolean {
    return this.#player?.isPlaying ?? false;
  }

  /** The tracks as one stream, always the same one; v4 apps use this undocumented member. */
  getMediaStream(): MediaStream {
    this.#mediaStream ??= new MediaStream(KINDS.flatMap((kind) => this.trackOf(kind) ?? []));
    return this.#mediaStream;
  }

  /** Undocumented members that v4 apps reach for. */
  get userId_(): string {
    return this.getUserId();
  }

  get videoPlayer_(): { element_: HTMLMediaElement } | null {
    return this.playerOf('video');
  }

  get audioPlayer_(): { element_: HTMLMediaElement } | null {
    return this.playerOf('audio');
  }

  protected trackOf(kind: Kind): MediaStreamTrack | null {
    return this.#tracks[kind];
  }

  /** Switches a track off or on; false if there is none. */
  protected setMuted(kind: Kind, muted: boolean): boolean {
    const track = this.trackOf(kind);
    if (!track) return false;
    track.enabled = !muted;
    return true;
  }

  protected putTrack(kind: Kind, track: MediaStreamTrack | null): void {
    if (this.trackOf(kind) === track) return;
    const old = this.#tracks[kind];
    this.#tracks[kind] = track;
    if (old) this.#mediaStream?.removeTrack(old);
    if (track) this.#mediaStream?.addTrack(track);
    if (!this.#player) return;
    this.#player.setTrack(kind, track);
    this.start(this.#player).catch((thrown: unknown) => log.warn('play:', asRtcError(thrown).message));
  }

  private playerOf(kind: Kind): { element_: HTMLMediaElement } | null {
    const element = this.#player?.elements.get(kind);
    return element ? { element_: element } : null;
  }

  readonly #gesture = (): void => {
    this.resume().catch((thrown: unknown) => log.warn('resume:', asRtcError(thrown).message));
  };

  private gestureDone(): void {
    dropGesture(this.#gesture);
    this.#waitsForGesture = false;
  }

  private async start(player: Player): Promise<void> {
    try {
      await player.start();
      if (this.#player === player) this.gestureDone();
    } catch (thrown) {
      const error = asRtcError(thrown);
      if (error.getCode() === ErrorCode.PLAY_NOT_ALLOWED && this.#player === player) {
        // Each track that comes tries again; the app is told once.
        if (!this.#waitsForGesture) {
          this.#waitsForGesture = true;
          this.emit('error', error);
          if (this.#dialog) askForGesture(this.#gesture);
        }
      }
      throw error;
    }
  }
}
