import { describe, invalidOperation, invalidParameter } from '../errors.js';
import { log } from '../logger.js';
import {
  DEFAULT_SCREEN_PROFILE,
  DEFAULT_VIDEO_PROFILE,
  resolveAudioProfile,
  resolveVideoProfile,
  SCREEN_PROFILES,
  VIDEO_PROFILES,
  type AudioProfile,
  type VideoProfile,
} from '../profiles.js';
import type * as api from '../types.js';
import type { PlaybackOptions, StreamConfig } from '../types.js';
import { audioConstraints, captureDevices, captureScreen, initializeFailed, videoConstraints } from './capture.js';
import { localStream, rememberLocal } from './identity.js';
import type { PlayerView } from './player.js';
import { Stream, type Kind } from './stream.js';

/** The client that publishes a local stream hears of what changes in it. */
export interface Publisher {
  muted(kind: Kind, muted: boolean): void;
  tracksChanged(): Promise<void>;
  trackReplaced(track: MediaStreamTrack): Promise<void>;
  profilesChanged(): Promise<void>;
}

let count = 0;

/** This user's own stream: camera and microphone, a screen, or tracks that the app made. */
export class LocalStream extends Stream implements api.LocalStream {
  /** @internal What the uplink announces the tracks under. */
  readonly mediaStream: MediaStream;
  private readonly id: string;
  private readonly captured = new Set<MediaStreamTrack>();
  private readonly mutes: Record<Kind, boolean> = { audio: false, video: false };
  private audioProfile: AudioProfile = resolveAudioProfile(undefined);
  private videoProfile: VideoProfile = resolveVideoProfile(undefined, VIDEO_PROFILES, DEFAULT_VIDEO_PROFILE);
  private screenProfile: VideoProfile = resolveVideoProfile(undefined, SCREEN_PROFILES, DEFAULT_SCREEN_PROFILE);
  private contentHint = '';
  private ready: Promise<void> | null = null;
  private isInitialized = false;
  private publisher: Publisher | null = null;

  /** Made by `TRTC.createStream`. */
  constructor(private readonly config: StreamConfig) {
    super();
    this.mediaStream = new MediaStream();
    this.id = `local_${++count}_${Math.random().toString(36).slice(2, 10)}`;
    rememberLocal(this);
  }

  /** Opens the devices, or takes the given tracks. */
  async initialize(): Promise<void> {
    this.ready ??= this.open().catch((thrown: unknown) => {
      this.ready = null;
      throw thrown;
    });
    await this.ready;
  }

  getId(): string {
    return this.id;
  }

  getUserId(): string {
    return this.config.userId ?? '';
  }

  getType(): string {
    return 'local';
  }

  hasAudio(): boolean {
    return this.tracks.audio !== null;
  }

  hasVideo(): boolean {
    return this.tracks.video !== null;
  }

  /** One of `standard`, `high`, `standard-stereo` and `high-stereo`. */
  setAudioProfile(profile: string): void {
    this.audioProfile = resolveAudioProfile(profile);
    this.applyProfiles();
  }

  /** A name such as `480p`, or a size with rate and bitrate (kbit/s). Unknown names count as `480p_2`. */
  setVideoProfile(profile: string | api.VideoProfile): void {
    this.videoProfile = resolveVideoProfile(profile, VIDEO_PROFILES, DEFAULT_VIDEO_PROFILE);
    this.applyProfiles();
  }

  /** The same for a shared screen. */
  setScreenProfile(profile: string | api.VideoProfile): void {
    this.screenProfile = resolveVideoProfile(profile, SCREEN_PROFILES, DEFAULT_SCREEN_PROFILE);
    this.applyProfiles();
  }

  /** Tells the encoder what the picture is: `motion`, `detail` or `text`. */
  setVideoContentHint(hint: 'motion' | 'detail' | 'text'): void {
    if (!['motion', 'detail', 'text'].includes(hint)) {
      throw invalidParameter(`setVideoContentHint: expected 'motion', 'detail' or 'text', not '${hint}'`);
    }
    this.contentHint = hint;
    if (this.tracks.video) this.tracks.video.contentHint = hint;
  }

  /** Goes on with another camera or microphone. */
  async switchDevice(type: Kind, deviceId: string): Promise<void> {
    if (!['audio', 'video'].includes(type)) {
      throw invalidParameter(`switchDevice: the type must be 'audio' or 'video', not '${type}'`);
    }
    const old = this.tracks[type];
    if (!old || !this.captured.has(old) || this.config.screen) {
      throw invalidOperation(`switchDevice: the stream captures no ${type} from a device`);
    }
    const chosen = type === 'audio' ? { microphoneId: deviceId } : { cameraId: deviceId };
    // Most cameras serve one opening at a time, so the old one goes first.
    old.stop();
    this.captured.delete(old);
    const captured = await captureDevices({ [type]: true, ...chosen }, this.audioProfile, this.videoProfile);
    const [track] = captured.getTracks();
    if (!track) throw initializeFailed(new Error('the browser gave no track'));
    this.captured.add(track);
    Object.assign(this.config, chosen);
    await this.put(type, track);
  }

  /** Adds a track of a kind that the stream lacks. */
  async addTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'addTrack');
    if (this.tracks[kind]) throw invalidOperation(`addTrack: the stream has a ${kind} track already; replaceTrack() changes it`);
    this.hold(kind, track);
    await this.publisher?.tracksChanged();
  }

  /** Takes a track out of the stream. */
  async removeTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'removeTrack');
    if (this.tracks[kind] !== track) throw invalidParameter(`removeTrack: the stream does not have this ${kind} track`);
    this.hold(kind, null);
    await this.publisher?.tracksChanged();
  }

  /** Sends another track in place of the one of its kind. */
  async replaceTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'replaceTrack');
    if (!this.tracks[kind]) throw invalidOperation(`replaceTrack: the stream has no ${kind} track; addTrack() adds one`);
    await this.put(kind, track);
  }

  /** Stops playing and closes the devices; tracks that the app made are left alone. */
  override close(): void {
    super.close();
    for (const track of this.captured) track.stop();
    this.captured.clear();
    for (const kind of ['audio', 'video'] as const) this.hold(kind, null);
    this.ready = null;
    this.isInitialized = false;
  }

  /** @internal */
  get initialized(): boolean {
    return this.isInitialized;
  }

  /** @internal */
  isMuted(kind: Kind): boolean {
    return this.tracks[kind] !== null && this.mutes[kind];
  }

  /** @internal */
  publishedBy(publisher: Publisher | null): void {
    this.publisher = publisher;
  }

  /** @internal What the encoder of this kind is held to. */
  encoding(kind: Kind): RTCRtpEncodingParameters {
    if (kind === 'audio') return { maxBitrate: this.audioProfile.bitrate * 1000 };
    const { bitrate, frameRate } = this.pictureProfile();
    return { maxBitrate: bitrate * 1000, maxFramerate: frameRate };
  }

  protected override setMuted(kind: Kind, muted: boolean): boolean {
    if (!super.setMuted(kind, muted)) return false;
    if (this.mutes[kind] !== muted) {
      this.mutes[kind] = muted;
      this.publisher?.muted(kind, muted);
    }
    return true;
  }

  protected viewOf({ muted, mirror, objectFit }: PlaybackOptions): PlayerView {
    const camera = !this.config.screen;
    return {
      muted: muted ?? true,
      mirror: mirror ?? this.config.mirror ?? (camera && !this.config.videoSource),
      objectFit: objectFit ?? (camera ? 'cover' : 'contain'),
    };
  }

  private async open(): Promise<void> {
    const { audio, video, screen, screenAudio, audioSource, videoSource } = this.config;
    const found: MediaStreamTrack[] = [];
    if (screen || screenAudio) found.push(...this.keep(await captureScreen(this.config, this.screenProfile)));
    if (audio || video) found.push(...this.keep(await captureDevices(this.config, this.audioProfile, this.videoProfile)));
    for (const track of [...found, audioSource, videoSource]) if (track) this.hold(track.kind as Kind, track);
    const shared = screen ? this.tracks.video : null;
    shared?.addEventListener('ended', () => this.emit('screen-sharing-stopped', undefined));
    this.isInitialized = true;
  }

  private keep(captured: MediaStream): MediaStreamTrack[] {
    const tracks = captured.getTracks();
    for (const track of tracks) this.captured.add(track);
    return tracks;
  }

  private hold(kind: Kind, track: MediaStreamTrack | null): void {
    const old = this.tracks[kind];
    if (old) this.mediaStream.removeTrack(old);
    if (track) {
      this.mediaStream.addTrack(track);
      track.enabled = !this.mutes[kind];
      if (kind === 'video' && this.contentHint) track.contentHint = this.contentHint;
    } else {
      this.mutes[kind] = false;
    }
    this.putTrack(kind, track);
  }

  private async put(kind: Kind, track: MediaStreamTrack): Promise<void> {
    this.hold(kind, track);
    await this.publisher?.trackReplaced(track);
  }

  private pictureProfile(): VideoProfile {
    return this.config.screen ? this.screenProfile : this.videoProfile;
  }

  private applyProfiles(): void {
    const { audio, video } = this.tracks;
    const applied = [
      video && this.captured.has(video) ? video.applyConstraints(videoConstraints(this.pictureProfile())) : null,
      audio && this.captured.has(audio) && !this.config.screenAudio
        ? audio.applyConstraints(audioConstraints(this.audioProfile))
        : null,
      this.publisher?.profilesChanged(),
    ];
    for (const one of applied) one?.catch((thrown: unknown) => log.warn('profile not applied:', describe(thrown)));
  }
}

function kindOf(track: unknown, call: string): Kind {
  const kind = (track as MediaStreamTrack | null | undefined)?.kind;
  if (kind === 'audio' || kind === 'video') return kind;
  throw invalidParameter(`${call}: expected a MediaStreamTrack, not ${String(track)}`);
}

/** Refuses what is not a local stream that can be published now. */
export function checkPublishable(asked: unknown): LocalStream {
  const stream = localStream(asked);
  if (!stream) throw invalidParameter('publish: expected a stream made by createStream()');
  if (!stream.initialized) throw invalidOperation('publish: the stream is not initialized; await initialize() first');
  if (!stream.hasAudio() && !stream.hasVideo()) throw invalidOperation('publish: the stream has neither audio nor video');
  return stream;
}

