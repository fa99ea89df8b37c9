/** How loud a track is, as the browser hears it. */

import { describe } from '../errors.js';
import { log } from '../logger.js';

/** One for the page: browsers allow few. It sleeps until the page had a click or a key. */
let shared: AudioContext | null = null;

/** What sound is computed with on this page; null in a browser that cannot. */
export function pageAudio(): AudioContext | null {
  if (typeof AudioContext === 'undefined') return null;
  shared ??= new AudioContext();
  return shared;
}

/** Follows the sound of one stream from the first time that somebody asks. */
export class Meter {
  private track: MediaStreamTrack | null = null;
  private source: MediaStreamAudioSourceNode | null = null;
  private analyser: AnalyserNode | null = null;
  private samples = new Float32Array(0);

  /** The loudest of the last samples, from 0 to 1; 0 without a track. */
  level(track: MediaStreamTrack | null): number {
    if (track !== this.track) this.follow(track);
    if (!this.analyser) return 0;
    // Before a click or a key that does nothing.
    if (shared && shared.state !== 'running') shared.resume().catch(() => undefined);
    this.analyser.getFloatTimeDomainData(this.samples);
    return Math.min(1, this.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
  }

  close(): void {
    this.follow(null);
  }

  private follow(track: MediaStreamTrack | null): void {
    this.source?.disconnect();
    this.source = this.analyser = null;
    this.track = track;
    const page = track && pageAudio();
    if (!page) return;
    try {
      const analyser = page.createAnalyser();
      // A browser may not take a microphone of another rate.
      const source = page.createMediaStreamSource(new MediaStream([track]));
      source.connect(analyser);
      this.samples = new Float32Array(analyser.fftSize);
      [this.source, this.analyser] = [source, analyser];
    } catch (thrown) {
      log.warn('getAudioLevel:', describe(thrown));
    }
  }
}
