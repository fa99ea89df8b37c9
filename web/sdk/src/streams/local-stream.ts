import { describe, ErrorCode, invalidOperation, invalidParameter, rtcError } from '../errors.js';
import { KINDS, type Kind } from '../kinds.js';
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
import { captureVolume } from '../validate.js';
import {
  audioConstraints,
  captureDevices,
  captureScreen,
  deviceChoice,
  endedEarly,
  initializeFailed,
  isBusy,
  sameOrAny,
  videoConstraints,
} from './capture.js';
import { CaptureVolume } from './capture-volume.js';
import { Captures, type Origin } from './captures.js';
import { audioEncoding, videoEncodings } from './encodings.js';
import type { PlayerView } from './player.js';
import { DeviceRecovery } from './recovery.js';
import { Stream } from './stream.js';

/** The client that publishes a local stream hears of what changes in it. */
export interface Publisher {
  muted(kind: Kind, muted: boolean): void;
  tracksChanged(): Promise<void>;
  trackReplaced(track: MediaStreamTrack): Promise<void>;
  profilesChanged(): Promise<void>;
}

/** What of a stream goes out, or tells how. */
export interface Sent {
  tracks: Record<Kind, MediaStreamTrack | null>;
  muted: Record<Kind, boolean>;
  profiles: readonly (AudioProfile | VideoProfile)[];
}

let count = 0;

/** This user's own stream: camera and microphone, a screen, or tracks that the app made. */
export class LocalStream extends Stream implements api.LocalStream {
  readonly #id = `local_${++count}_${Math.random().toString(36).slice(2, 10)}`;
  readonly #config: StreamConfig;
  readonly #mutes: Record<Kind, boolean> = { audio: false, video: false };
  #audioProfile: AudioProfile = resolveAudioProfile(undefined);
  #videoProfile: VideoProfile = resolveVideoProfile(undefined, VIDEO_PROFILES, DEFAULT_VIDEO_PROFILE);
  #screenProfile: VideoProfile = resolveVideoProfile(undefined, SCREEN_PROFILES, DEFAULT_SCREEN_PROFILE);
  #contentHint = '';
  readonly #captureVolume = new CaptureVolume(() => this.resend('audio'));
  /** A new one after each `close()`: the stream may be initialized again. */
  #captures = new Captures();
  /** What changes the tracks is carried out one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #ready: Promise<void> | null = null;
  #isInitialized = false;
  readonly #recovery = new DeviceRecovery({
    holds: (track) => this.trackOf(track.kind as Kind) === track,
    reopen: (kind, track) => this.reopen(kind, track),
    failed: (kind, why) => this.recoverFailed(`the ${kind} device ended by itself and could not be opened again: ${describe(why)}`),
  });
  /** By the stay in a room that they belong to: clients in different rooms may publish one stream. */
  readonly #publishers = new Map<object, Publisher>();

  /** Made by `TRTC.createStream`. */
  constructor(config: StreamConfig) {
    super(true);
    this.#config = config;
  }

  /** Opens the devices, or takes the given tracks. */
  async initialize(): Promise<void> {
    if (!this.#ready) {
      const ready = this.inTurn('initialize', (captures) => this.open(captures));
      this.#ready = ready;
      ready.catch(() => {
        if (this.#ready === ready) this.#ready = null;
      });
    }
    await this.#ready;
  }

  getId(): string {
    return this.#id;
  }

  getUserId(): string {
    return this.#config.userId ?? '';
  }

  getType(): string {
    return 'local';
  }

  hasAudio(): boolean {
    return this.trackOf('audio') !== null;
  }

  hasVideo(): boolean {
    return this.trackOf('video') !== null;
  }

  /** One of `standard`, `high`, `standard-stereo` and `high-stereo`. */
  setAudioProfile(profile: string): void {
    this.#audioProfile = resolveAudioProfile(profile);
    this.applyProfiles();
  }

  /** A name such as `480p`, or a size with rate and bitrate (kbit/s). Unknown names count as `480p_2`. */
  setVideoProfile(profile: string | api.VideoProfile): void {
    this.#videoProfile = resolveVideoProfile(profile, VIDEO_PROFILES, DEFAULT_VIDEO_PROFILE);
    this.applyProfiles();
  }

  /** The same for a shared screen. */
  setScreenProfile(profile: string | api.VideoProfile): void {
    this.#screenProfile = resolveVideoProfile(profile, SCREEN_PROFILES, DEFAULT_SCREEN_PROFILE);
    this.applyProfiles();
  }

  /** Tells the encoder what the picture is: `motion`, `detail` or `text`. */
  setVideoContentHint(hint: 'motion' | 'detail' | 'text'): void {
    if (!['motion', 'detail', 'text'].includes(hint)) {
      throw invalidParameter(`setVideoContentHint: expected 'motion', 'detail' or 'text', not '${hint as string}'`);
    }
    this.#contentHint = hint;
    const video = this.trackOf('video');
    if (video) video.contentHint = hint;
  }

  /** How loud the microphone is sent, in percent: 100 is as it is captured. False if the stream has no sound. */
  // eslint-disable-next-line @typescript-eslint/no-wrapper-object-types -- as v4 declares it
  setAudioCaptureVolume(volume: Number): boolean {
    const wanted = captureVolume(volume);
    const track = this.trackOf('audio');
    if (track) this.#captureVolume.set(wanted, track);
    return track !== null;
  }

  /** Goes on with another camera or microphone. When that cannot be opened, the stream keeps the one it has. */
  async switchDevice(type: Kind, deviceId: string): Promise<void> {
    if (!KINDS.includes(type)) {
      throw invalidParameter(`switchDevice: the type must be 'audio' or 'video', not '${type as string}'`);
    }
    if (typeof deviceId !== 'string') {
      throw invalidParameter(`switchDevice: the deviceId must be a string, not ${String(deviceId)}`);
    }
    await this.inTurn('switchDevice', (captures) => this.changeDevice(captures, type, deviceId));
  }

  /** Adds a track of a kind that the stream lacks. */
  async addTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'addTrack');
    await this.inTurn('addTrack', async (captures) => {
      if (this.trackOf(kind)) {
        throw invalidOperation(`addTrack: the stream has a ${kind} track already; replaceTrack() changes it`);
      }
      this.hold(kind, track, 'addTrack');
      await this.tellTracks('addTrack', captures, () => this.hold(kind, null));
    });
  }

  /** Takes a track out of the stream. The last one of a published stream stays: `unpublish` ends that. */
  async removeTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'removeTrack');
    await this.inTurn('removeTrack', async (captures) => {
      const held = this.trackOf(kind);
      // By id, as the app may hold the track in a wrapper.
      if (held?.id !== track.id) throw invalidParameter(`removeTrack: the stream does not have this ${kind} track`);
      if (this.#publisher && !KINDS.some((other) => other !== kind && this.trackOf(other))) {
        throw invalidOperation(`removeTrack: a published stream keeps its last track, and that is its ${kind}; unpublish() first`);
      }
      const muted = this.#mutes[kind];
      this.hold(kind, null);
      await this.tellTracks('removeTrack', captures, () => {
        this.#mutes[kind] = muted;
        this.hold(kind, held);
      });
    });
  }

  /** Sends another track in place of the one of its kind. */
  async replaceTrack(track: MediaStreamTrack): Promise<void> {
    const kind = kindOf(track, 'replaceTrack');
    await this.inTurn('replaceTrack', async (captures) => {
      if (!this.trackOf(kind)) {
        throw invalidOperation(`replaceTrack: the stream has no ${kind} track; addTrack() adds one`);
      }
      await this.put('replaceTrack', captures, kind, track);
    });
  }

  /** Stops playing and closes the devices, also those that are being opened; tracks that the app made are left alone. */
  override close(): void {
    super.close();
    this.#captures.close();
    this.#captures = new Captures();
    this.#last = Promise.resolve();
    this.#ready = null;
    this.#isInitialized = false;
    for (const kind of KINDS) this.hold(kind, null);
  }

  /** @internal */
  get initialized(): boolean {
    return this.#isInitialized;
  }

  /** @internal */
  isMuted(kind: Kind): boolean {
    return this.trackOf(kind) !== null && this.#mutes[kind];
  }

  /** @internal The track that is sent. */
  outgoing(kind: Kind): MediaStreamTrack | null {
    const track = this.trackOf(kind);
    return kind === 'audio' ? this.#captureVolume.of(track) : track;
  }

  /** @internal What a publication begins with. */
  get sent(): Sent {
    return {
      tracks: { audio: this.outgoing('audio'), video: this.outgoing('video') },
      muted: { audio: this.isMuted('audio'), video: this.isMuted('video') },
      profiles: [this.#audioProfile, this.pictureProfile()],
    };
  }

  /** @internal `since`: what the stream was when its publication began; the publisher is told what changed meanwhile. */
  publishedBy(owner: object, publisher: Publisher | null, since: Sent = this.sent): void {
    if (!publisher) {
      this.#publishers.delete(owner);
      return;
    }
    this.#publishers.set(owner, publisher);
    const { tracks, muted, profiles } = this.sent;
    const report = (thrown: unknown): void => log.warn('publish: a change was not sent:', describe(thrown));
    for (const kind of KINDS) {
      if (muted[kind] !== since.muted[kind]) publisher.muted(kind, muted[kind]);
      const track = tracks[kind];
      if (track && since.tracks[kind] && track !== since.tracks[kind]) publisher.trackReplaced(track).catch(report);
    }
    if (KINDS.some((kind) => !tracks[kind] !== !since.tracks[kind])) publisher.tracksChanged().catch(report);
    if (profiles.some((one, at) => one !== since.profiles[at])) publisher.profilesChanged().catch(report);
  }

  /** @internal What the encoder of this kind is held to: each encoding, the biggest first; with a `small` one two. */
  encodings(kind: Kind, small: VideoProfile | null): RTCRtpEncodingParameters[] {
    if (kind === 'audio') return [audioEncoding(this.#audioProfile)];
    return videoEncodings(this.pictureProfile(), small, this.trackOf('video')?.getSettings());
  }

  /** @internal What the video is captured as, if all goes well. */
  get bigProfile(): VideoProfile {
    return this.pictureProfile();
  }

  protected override setMuted(kind: Kind, muted: boolean): boolean {
    if (!super.setMuted(kind, muted)) return false;
    if (this.#mutes[kind] !== muted) {
      this.#mutes[kind] = muted;
      this.#publisher?.muted(kind, muted);
    }
    return true;
  }

  protected viewOf({ muted, mirror, objectFit }: PlaybackOptions): PlayerView {
    const camera = !this.#config.screen;
    return {
      muted: muted ?? true,
      mirror: mirror ?? this.#config.mirror ?? (camera && !this.#config.videoSource),
      objectFit: objectFit ?? (camera ? 'cover' : 'contain'),
    };
  }

  /** Carries out what changes the tracks; `close()` ends it and all that waits behind it. */
  private inTurn(call: string, work: (captures: Captures) => Promise<void>): Promise<void> {
    const captures = this.#captures;
    const turn = captures.unlessClosed(
      call,
      this.#last.then(() => (captures.isClosed() ? undefined : work(captures))),
    );
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  private async open(captures: Captures): Promise<void> {
    const { audio, video, screen, screenAudio, audioSource, videoSource } = this.#config;
    const [audioProfile, pictureProfile] = [this.#audioProfile, this.pictureProfile()];
    const found: MediaStreamTrack[] = [];
    const opened = async (origin: Origin, request: () => Promise<MediaStream>): Promise<void> => {
      found.push(...(await captures.open('initialize', origin, request)));
    };
    try {
      if (screen || screenAudio) await opened('display', () => captureScreen(this.#config, this.#screenProfile));
      if (audio || video) await opened('device', () => captureDevices(this.#config, audioProfile, this.#videoProfile));
      // The person may end the sharing while the browser still asks for the microphone.
      if (found.some((track) => track.readyState === 'ended')) throw initializeFailed(endedEarly());
      this.holdAll([...found, audioSource, videoSource]);
    } catch (thrown) {
      for (const track of found) captures.release(track);
      throw thrown;
    }
    const shared = screen ? this.trackOf('video') : null;
    shared?.addEventListener('ended', () => this.emit('screen-sharing-stopped', undefined));
    this.#isInitialized = true;
    if (audioProfile !== this.#audioProfile || pictureProfile !== this.pictureProfile()) this.applyProfiles();
    // Closed and initialized again while it is published: what is sent now are the new tracks.
    this.#publisher?.tracksChanged().catch((thrown: unknown) => log.warn('initialize: not sent yet:', describe(thrown)));
  }

  private async changeDevice(captures: Captures, kind: Kind, deviceId: string): Promise<void> {
    const old = this.trackOf(kind);
    if (!old || captures.originOf(old) !== 'device') {
      throw invalidOperation(`switchDevice: the stream captures no ${kind} from a device`);
    }
    const before = old.getSettings().deviceId;
    if (old.readyState === 'live' && deviceId !== '' && before === deviceId) return;
    const wanted = deviceChoice(kind, deviceId);
    let track: MediaStreamTrack;
    try {
      track = await this.openOne(captures, kind, wanted);
    } catch (thrown) {
      if (!isBusy(thrown) || old.readyState === 'ended') throw thrown;
      track = await this.openInstead(captures, kind, wanted, old, before);
    }
    await this.putCaptured(captures, kind, track, old);
    if (kind === 'video') {
      delete this.#config.cameraId;
      delete this.#config.facingMode;
    }
    Object.assign(this.#config, wanted);
  }

  /** Some machines serve one opening at a time: the old device goes first after all, and comes back if that was in vain. */
  private async openInstead(
    captures: Captures,
    kind: Kind,
    wanted: Partial<StreamConfig>,
    old: MediaStreamTrack,
    before = '',
  ): Promise<MediaStreamTrack> {
    old.stop();
    try {
      return await this.openOne(captures, kind, wanted);
    } catch (thrown) {
      if (captures.isClosed()) throw thrown;
      try {
        await this.putCaptured(captures, kind, await this.openOne(captures, kind, deviceChoice(kind, before)), old);
      } catch (again) {
        const detail = `switchDevice: the ${kind} device used before could not be opened again: ${describe(again)}`;
        if (!captures.isClosed()) this.recoverFailed(detail);
      }
      throw thrown;
    }
  }

  /** A device that ended by itself is opened again, or another in its place. */
  private async reopen(kind: Kind, ended: MediaStreamTrack): Promise<void> {
    await this.inTurn('recover', async (captures) => {
      if (this.trackOf(kind) !== ended) return;
      const track = await this.openOne(captures, kind, await sameOrAny(kind, ended, this.#config));
      await this.putCaptured(captures, kind, track, ended);
      const idOf = (one: Kind): string => this.trackOf(one)?.getSettings().deviceId ?? '';
      this.emit('device-auto-recovered', {
        isCamera: kind === 'video',
        isMicrophone: kind === 'audio',
        cameraId: idOf('video'),
        microphoneId: idOf('audio'),
      });
    });
  }

  private recoverFailed(detail: string): void {
    this.emit('error', rtcError(ErrorCode.DEVICE_AUTO_RECOVER_FAILED, detail));
  }

  private async openOne(captures: Captures, kind: Kind, choice: Partial<StreamConfig>): Promise<MediaStreamTrack> {
    const config = { [kind]: true, ...choice };
    const [track] = await captures.open('switchDevice', 'device', () =>
      captureDevices(config, this.#audioProfile, this.#videoProfile),
    );
    if (track) return track;
    throw initializeFailed(new Error('the browser gave no track'));
  }

  /** Puts a captured track in the place of another; one of the two is released. */
  private async putCaptured(captures: Captures, kind: Kind, track: MediaStreamTrack, old: MediaStreamTrack): Promise<void> {
    try {
      await this.put('switchDevice', captures, kind, track);
    } catch (thrown) {
      captures.release(track);
      throw thrown;
    }
    captures.release(old);
  }

  /** Puts a track in the place of another, which comes back when the new one cannot be sent. */
  private async put(call: string, captures: Captures, kind: Kind, track: MediaStreamTrack): Promise<void> {
    const old = this.trackOf(kind);
    if (old === track) return;
    this.hold(kind, track, call);
    const publisher = this.#publisher;
    try {
      if (publisher) await captures.unlessClosed(call, publisher.trackReplaced(this.outgoing(kind) ?? track));
    } catch (thrown) {
      if (!captures.isClosed()) this.hold(kind, old);
      throw thrown;
    }
  }

  /** Has the change of tracks negotiated; when that fails, what it was before is restored here and at the sender. */
  private async tellTracks(call: string, captures: Captures, restore: () => void): Promise<void> {
    const publisher = this.#publisher;
    if (!publisher) return;
    try {
      await captures.unlessClosed(call, publisher.tracksChanged());
    } catch (thrown) {
      if (captures.isClosed()) throw thrown;
      restore();
      publisher.tracksChanged().catch((again: unknown) => log.warn(`${call}: not restored yet:`, describe(again)));
      throw thrown;
    }
  }

  /** Takes tracks of any kind, all of them or, when one of them is none, nothing. */
  private holdAll(tracks: (MediaStreamTrack | null | undefined)[]): void {
    const before = KINDS.map((kind) => [kind, this.trackOf(kind)] as const);
    try {
      for (const track of tracks) if (track) this.hold(track.kind as Kind, track, 'initialize');
    } catch (thrown) {
      for (const [kind, track] of before) this.hold(kind, track);
      throw thrown;
    }
  }

  private hold(kind: Kind, track: MediaStreamTrack | null, call = 'stream'): void {
    const old = this.trackOf(kind);
    if (old === track) return;
    if (track) {
      try {
        this.getMediaStream().addTrack(track);
      } catch {
        throw invalidParameter(`${call}: expected a MediaStreamTrack, and this ${kind} track is none`);
      }
      track.enabled = !this.#mutes[kind];
      if (kind === 'video' && this.#contentHint) track.contentHint = this.#contentHint;
    } else {
      this.#mutes[kind] = false;
    }
    if (old) this.#recovery.forget(old);
    if (track && this.#captures.originOf(track) === 'device') this.#recovery.watch(track);
    if (kind === 'audio') this.#captureVolume.follow(track);
    this.putTrack(kind, track);
  }

  /** What is sent of this kind is another track than before, of the same source. */
  private resend(kind: Kind): void {
    const track = this.outgoing(kind);
    if (!track) return;
    this.#publisher?.trackReplaced(track).catch((thrown: unknown) => log.warn('not sent yet:', describe(thrown)));
  }

  /** All who publish it, as one; null when nobody does. */
  get #publisher(): Publisher | null {
    const all = [...this.#publishers.values()];
    if (all.length < 2) return all[0] ?? null;
    const each = async (tell: (one: Publisher) => Promise<void>): Promise<void> => {
      await Promise.all(all.map(tell));
    };
    return {
      muted: (kind, muted) => all.forEach((one) => one.muted(kind, muted)),
      tracksChanged: () => each((one) => one.tracksChanged()),
      trackReplaced: (track) => each((one) => one.trackReplaced(track)),
      profilesChanged: () => each((one) => one.profilesChanged()),
    };
  }

  private pictureProfile(): VideoProfile {
    return this.#config.screen ? this.#screenProfile : this.#videoProfile;
  }

  private applyProfiles(): void {
    const [audio, video] = [this.trackOf('audio'), this.trackOf('video')];
    const applied = [
      this.#captures.originOf(video) ? video?.applyConstraints(videoConstraints(this.pictureProfile())) : null,
      this.#captures.originOf(audio) === 'device' ? audio?.applyConstraints(audioConstraints(this.#audioProfile)) : null,
      this.#publisher?.profilesChanged(),
    ];
    for (const one of applied) one?.catch((thrown: unknown) => log.warn('profile not applied:', describe(thrown)));
    // The size of a small stream is that of the picture, scaled down, and that is known now.
    applied[0]?.then(() => this.#publisher?.profilesChanged()).catch(() => undefined);
  }
}

function kindOf(track: unknown, call: string): Kind {
  const kind = (track as MediaStreamTrack | null | undefined)?.kind;
  if (kind === 'audio' || kind === 'video') return kind;
  throw invalidParameter(`${call}: expected a MediaStreamTrack, not ${String(track)}`);
}
