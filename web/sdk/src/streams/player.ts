import { describe, ErrorCode, invalidParameter, rtcError } from '../errors.js';
import type { Kind } from '../kinds.js';
import { log } from '../logger.js';
import type { PlaybackOptions, PlayerStateChange } from '../types.js';

/** Milliseconds that `play` waits for a first frame; an element without data yet starts by itself later. */
const FIRST_FRAME_PATIENCE = 2_000;

export type PlayerListener = (change: PlayerStateChange) => void;

export interface PlayerView {
  muted: boolean;
  mirror: boolean;
  objectFit: NonNullable<PlaybackOptions['objectFit']>;
}

/** How a stream is heard. */
export interface Sound {
  /** From 0 to 1. */
  volume: number;
  /** The device that plays it; null for the browser's choice. */
  deviceId: string | null;
}

/** Has an element play on a device, or finds out whether it could. */
export async function sinkFor(element: HTMLMediaElement | undefined, deviceId: string): Promise<void> {
  const sink = element ?? document.createElement('audio');
  if (!('setSinkId' in sink)) throw rtcError(ErrorCode.NOT_SUPPORTED, 'setAudioOutput: this browser plays on its own device only');
  try {
    await sink.setSinkId(deviceId);
  } catch (thrown) {
    const code = thrown instanceof DOMException && thrown.name === 'NotFoundError' ? ErrorCode.DEVICE_NOT_FOUND : ErrorCode.UNKNOWN;
    throw rtcError(code, `setAudioOutput: ${describe(thrown)}`);
  }
}

/** What an element shows, as a data URL of a PNG; null when it shows nothing. */
export function pictureOf(element: HTMLMediaElement | undefined): string | null {
  if (!(element instanceof HTMLVideoElement) || element.videoWidth === 0) return null;
  const canvas = document.createElement('canvas');
  canvas.width = element.videoWidth;
  canvas.height = element.videoHeight;
  canvas.getContext('2d')?.drawImage(element, 0, 0);
  return canvas.toDataURL('image/png');
}

/** The element of an id, or the element itself. */
export function containerOf(target: unknown): HTMLElement {
  const element = typeof target === 'string' ? document.getElementById(target) : target;
  if (element instanceof HTMLElement) return element;
  const shown = typeof target === 'string' ? `'${target}'` : String(target);
  throw invalidParameter(`play: expected the id of an element in the page or a div element, not ${shown}`);
}

/** One stream on the page: a wrapper `player_<id>` with a video and an audio element in the app's container. */
export class Player {
  readonly wrapper: HTMLDivElement;
  readonly elements = new Map<Kind, HTMLMediaElement>();
  private readonly unwatch = new Map<Kind, () => void>();

  constructor(
    private readonly id: string,
    private view: PlayerView,
    private readonly sound: Sound,
    private readonly changed: PlayerListener,
  ) {
    this.wrapper = document.createElement('div');
    this.wrapper.id = `player_${id}`;
    this.wrapper.style.cssText = 'position:relative;width:100%;height:100%;overflow:hidden;background:#000';
  }

  /** Moves the player into a container and shows it as asked. */
  place(container: HTMLElement, view: PlayerView): void {
    if (this.wrapper.contains(container)) throw invalidParameter('play: the element is inside of this stream\'s own player');
    if (this.wrapper.parentElement !== container) container.append(this.wrapper);
    this.view = view;
    for (const kind of ['audio', 'video'] as const) this.dress(kind);
  }

  /** Plays this track, or none, in the element of its kind. */
  setTrack(kind: Kind, track: MediaStreamTrack | null): void {
    const known = this.elements.get(kind);
    const current = (known?.srcObject as MediaStream | null | undefined)?.getTracks()[0] ?? null;
    if (current === track) return;
    this.unwatch.get(kind)?.();
    this.unwatch.delete(kind);
    if (!track) {
      known?.remove();
      this.elements.delete(kind);
      return;
    }
    const element = known ?? this.create(kind);
    element.srcObject = new MediaStream([track]);
    this.watch(kind, element, track);
  }

  /** Has what is played follow how it is to be heard. */
  applySound(): void {
    const element = this.elements.get('audio');
    if (element) element.volume = this.sound.volume;
  }

  /** Starts all elements; rejects with PLAY_NOT_ALLOWED when the browser wants a gesture first. */
  async start(): Promise<void> {
    const started = [...this.elements.values()].map((element) => this.startOne(element));
    await Promise.all(started);
  }

  /** Takes everything off the page. */
  remove(): void {
    for (const kind of ['audio', 'video'] as const) this.setTrack(kind, null);
    this.wrapper.remove();
  }

  get isPlaying(): boolean {
    return [...this.elements.values()].some((element) => !element.paused);
  }

  private create(kind: Kind): HTMLMediaElement {
    const element = document.createElement(kind);
    element.id = `${kind}_${this.id}`;
    element.autoplay = true;
    element.setAttribute('playsinline', '');
    this.elements.set(kind, element);
    this.dress(kind);
    if (kind === 'audio') {
      this.applySound();
      const { deviceId } = this.sound;
      if (deviceId !== null) sinkFor(element, deviceId).catch((thrown: unknown) => log.warn(describe(thrown)));
    }
    this.wrapper.append(element);
    return element;
  }

  private dress(kind: Kind): void {
    const element = this.elements.get(kind);
    if (!element) return;
    // The sound is the audio element's; a muted picture may always start.
    element.muted = kind === 'video' || this.view.muted;
    if (kind === 'video') {
      const mirror = this.view.mirror ? 'transform:scaleX(-1);' : '';
      element.style.cssText = `position:absolute;inset:0;width:100%;height:100%;${mirror}object-fit:${this.view.objectFit}`;
    }
  }

  private async startOne(element: HTMLMediaElement): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, FIRST_FRAME_PATIENCE)));
    try {
      await Promise.race([element.play(), patience]);
    } catch (thrown) {
      // Other refusals (AbortError) mean that the element got a new track or left the page meanwhile.
      if (thrown instanceof DOMException && thrown.name === 'NotAllowedError') {
        const detail = 'play failed: the browser allows sound only after a click or a key; call resume() then';
        throw rtcError(ErrorCode.PLAY_NOT_ALLOWED, detail, { name: 'NotAllowedError' });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private watch(type: Kind, element: HTMLMediaElement, track: MediaStreamTrack): void {
    const off: (() => void)[] = [];
    const on = (target: EventTarget, event: string, state: PlayerStateChange['state'], reason: PlayerStateChange['reason']): void => {
      const tell = (): void => this.changed({ type, state, reason });
      target.addEventListener(event, tell);
      off.push(() => target.removeEventListener(event, tell));
    };
    on(element, 'playing', 'PLAYING', 'playing');
    on(element, 'pause', 'PAUSED', 'pause');
    on(track, 'mute', 'PAUSED', 'mute');
    on(track, 'unmute', 'PLAYING', 'unmute');
    on(track, 'ended', 'STOPPED', 'ended');
    this.unwatch.set(type, () => off.forEach((undo) => undo()));
  }
}
