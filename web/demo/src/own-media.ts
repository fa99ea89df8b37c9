/** What this person sends: camera and microphone, or a generated picture. Lives in the lobby and the call. */
import { computed, signal, type Signal } from '@preact/signals';
import { generatedPicture, type GeneratedPicture } from './picture';
import { explain, explainDevice, type Problem } from './problem';
import { TRTC, type LocalStream } from './sdk';

export type Source = 'devices' | 'generated';
export type Asking = 'idle' | 'asking' | 'ready' | 'refused';

interface Wanted {
  audio: boolean;
  video: boolean;
}

export class OwnMedia {
  readonly source = signal<Source>('devices');
  readonly asking = signal<Asking>('idle');
  readonly stream = signal<LocalStream | null>(null);
  readonly problem = signal<Problem | null>(null);
  /** What happened to the devices while they were in use. */
  readonly trouble = signal<Problem | null>(null);
  readonly cameras = signal<MediaDeviceInfo[]>([]);
  readonly microphones = signal<MediaDeviceInfo[]>([]);
  readonly cameraId = signal('');
  readonly microphoneId = signal('');
  readonly audioOn = signal(true);
  readonly videoOn = signal(true);
  readonly hasAudio = computed(() => this.stream.value?.hasAudio() ?? false);
  readonly hasVideo = computed(() => this.stream.value?.hasVideo() ?? false);
  private picture: GeneratedPicture | null = null;
  /** Counts the requests, so that a late answer to an earlier one is dropped. */
  private request = 0;

  /** Opens the chosen devices; with one of the two missing, the other alone. */
  async useDevices(): Promise<void> {
    const request = this.begin('devices');
    if (!('mediaDevices' in navigator)) {
      this.refuse(explainDevice({ name: 'InsecureContext' }));
      return;
    }
    let refusal: unknown;
    for (const wanted of [{ audio: true, video: true }, { audio: true, video: false }, { audio: false, video: true }]) {
      try {
        const stream = await this.open(wanted);
        if (request !== this.request) {
          stream.close();
          return;
        }
        this.take(stream);
        await this.listDevices(stream);
        return;
      } catch (error) {
        if (request !== this.request) return;
        refusal ??= error;
        // Only a missing or busy device leaves hope for the other; a refusal is a refusal of both.
        const name = (error as { name?: string }).name;
        if (name === 'NotAllowedError' || name === 'SecurityError') break;
      }
    }
    await this.listDevices(null);
    this.refuse(explainDevice(refusal));
  }

  /** A drawn picture and a few notes instead of devices. */
  async useGenerated(name: string): Promise<void> {
    const request = this.begin('generated');
    const picture = generatedPicture(name);
    const stream = TRTC.createStream({ audioSource: picture.audio, videoSource: picture.video, mirror: false });
    await stream.initialize();
    if (request !== this.request) {
      picture.stop();
      stream.close();
      return;
    }
    this.picture = picture;
    this.take(stream);
  }

  async chooseCamera(id: string): Promise<void> {
    await this.choose('video', this.cameraId, id);
  }

  async chooseMicrophone(id: string): Promise<void> {
    await this.choose('audio', this.microphoneId, id);
  }

  toggleAudio(): void {
    this.audioOn.value = !this.audioOn.value;
    this.applyMutes();
  }

  toggleVideo(): void {
    this.videoOn.value = !this.videoOn.value;
    this.applyMutes();
  }

  /** Gives the devices back. */
  close(): void {
    this.request += 1;
    this.stream.value?.close();
    this.stream.value = null;
    this.picture?.stop();
    this.picture = null;
    this.asking.value = 'idle';
  }

  /** Goes on with another device; with the one there is, when the other cannot be opened. */
  private async choose(kind: 'audio' | 'video', chosen: Signal<string>, id: string): Promise<void> {
    const stream = this.stream.value;
    const before = chosen.value;
    chosen.value = id;
    if (!stream || !(kind === 'audio' ? stream.hasAudio() : stream.hasVideo())) {
      await this.useDevices();
      return;
    }
    try {
      await stream.switchDevice(kind, id);
      this.trouble.value = null;
    } catch (error) {
      chosen.value = before;
      this.trouble.value = { ...explainDevice(error), title: `That ${kind === 'audio' ? 'microphone' : 'camera'} cannot be used` };
    }
  }

  private begin(source: Source): number {
    this.close();
    this.source.value = source;
    this.problem.value = null;
    this.asking.value = 'asking';
    return this.request;
  }

  private async open({ audio, video }: Wanted): Promise<LocalStream> {
    const stream = TRTC.createStream({
      audio,
      video,
      ...(video && this.cameraId.value !== '' && { cameraId: this.cameraId.value }),
      ...(audio && this.microphoneId.value !== '' && { microphoneId: this.microphoneId.value }),
    });
    stream.setVideoProfile('360p');
    try {
      await stream.initialize();
    } catch (error) {
      stream.close();
      throw error;
    }
    return stream;
  }

  private take(stream: LocalStream): void {
    this.stream.value = stream;
    stream.on('device-auto-recovered', () => {
      this.trouble.value = null;
      void this.listDevices(stream);
    });
    stream.on('error', (error) => (this.trouble.value = explain('A device of yours is gone', error)));
    this.applyMutes();
    this.asking.value = 'ready';
  }

  private refuse(problem: Problem): void {
    this.problem.value = problem;
    this.asking.value = 'refused';
  }

  private applyMutes(): void {
    const stream = this.stream.value;
    if (stream === null) return;
    if (this.audioOn.value) stream.unmuteAudio();
    else stream.muteAudio();
    if (this.videoOn.value) stream.unmuteVideo();
    else stream.muteVideo();
  }

  /** Lists the devices; their names are told only after the person allowed one of them. */
  private async listDevices(stream: LocalStream | null): Promise<void> {
    try {
      this.cameras.value = await TRTC.getCameras();
      this.microphones.value = await TRTC.getMicrophones();
    } catch {
      this.cameras.value = [];
      this.microphones.value = [];
    }
    const [video, audio] = [stream?.getVideoTrack(), stream?.getAudioTrack()];
    if (video) this.cameraId.value = deviceOf(video, this.cameras.value);
    if (audio) this.microphoneId.value = deviceOf(audio, this.microphones.value);
  }
}

/** Which device of the list a track comes from. A browser may call it `default`, which the list does not hold. */
function deviceOf(track: MediaStreamTrack, devices: readonly MediaDeviceInfo[]): string {
  const { deviceId, groupId } = track.getSettings();
  const found =
    devices.find((device) => device.deviceId === deviceId) ??
    devices.find((device) => device.groupId === groupId && groupId !== '') ??
    devices.find((device) => track.label.endsWith(device.label) && device.label !== '') ??
    devices[0];
  return found?.deviceId ?? '';
}
