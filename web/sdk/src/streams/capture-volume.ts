/** How loud what is captured is sent: the microphone's track goes through an amplifier first. */

import { describe } from '../errors.js';
import { log } from '../logger.js';
import { pageAudio } from './meter.js';

/** As loud as it is captured. */
const AS_IT_IS = 100;

interface Graph {
  gain: GainNode;
  track: MediaStreamTrack;
}

/** The amplifier of one stream; there is none until somebody asks for another volume than it is captured with. */
export class CaptureVolume {
  private graph: Graph | null = null;
  private source: MediaStreamAudioSourceNode | null = null;
  private input: MediaStreamTrack | null = null;
  /** Whether the browser computes sound on this page: some do not before a click or a key. */
  private works = false;

  /** `changed`: the track that is to be sent is another one now. */
  constructor(private readonly changed: () => void) {}

  /** What is sent in place of a track: itself as long as nothing changes its volume. */
  of(track: MediaStreamTrack | null): MediaStreamTrack | null {
    return track && track === this.input && this.works && this.graph ? this.graph.track : track;
  }

  /** From now on, in percent of what is captured. */
  set(volume: number, track: MediaStreamTrack): void {
    if (!this.graph && volume === AS_IT_IS) return;
    const page = pageAudio();
    if (!page) {
      log.warn('setAudioCaptureVolume: this browser cannot change the volume');
      return;
    }
    if (!this.graph) {
      const gain = page.createGain();
      const out = page.createMediaStreamDestination();
      gain.connect(out);
      const [made] = out.stream.getAudioTracks();
      if (!made) return;
      this.graph = { gain, track: made };
    }
    this.graph.gain.gain.value = volume / AS_IT_IS;
    this.follow(track);
    this.begin(page);
  }

  /** Another track is captured, or none. */
  follow(track: MediaStreamTrack | null): void {
    if (!this.graph || track === this.input) return;
    this.source?.disconnect();
    [this.source, this.input] = [null, null];
    const page = track && pageAudio();
    if (!page) return;
    try {
      this.source = page.createMediaStreamSource(new MediaStream([track]));
      this.source.connect(this.graph.gain);
      this.input = track;
    } catch (thrown) {
      // A browser may not take a microphone of another rate: it is sent as it is.
      log.warn('setAudioCaptureVolume:', describe(thrown));
    }
  }

  private begin(page: AudioContext): void {
    if (this.works) return;
    page
      .resume()
      .then(() => {
        this.works = true;
        this.changed();
      })
      .catch((thrown: unknown) => log.warn('setAudioCaptureVolume:', describe(thrown)));
  }
}
