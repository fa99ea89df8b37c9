/** How loud a track is, for meters and for the mark of who speaks. One audio context serves all of them. */

let context: AudioContext | undefined;

/** The page's audio context. It may be suspended until the person touches the page; then it wakes by itself. */
export function audioContext(): AudioContext {
  if (context === undefined) {
    const made = new AudioContext({ sampleRate: 48_000 });
    const wake = (): void => void made.resume();
    for (const gesture of ['pointerdown', 'keydown']) addEventListener(gesture, wake, { capture: true });
    context = made;
  }
  return context;
}

const FLOOR_DB = -60;

/** Calls back at every picture of the screen with the loudness within 0 … 1 (-60 … 0 dB). Returns what stops it. */
export function watchLevel(track: MediaStreamTrack, onLevel: (level: number) => void): () => void {
  const audio = audioContext();
  const source = audio.createMediaStreamSource(new MediaStream([track]));
  const analyser = audio.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let request = 0;
  const measure = (): void => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibel = 10 * Math.log10(sum / samples.length + 1e-12);
    onLevel(Math.max(0, Math.min(1, 1 - decibel / FLOOR_DB)));
    request = requestAnimationFrame(measure);
  };
  request = requestAnimationFrame(measure);
  return () => {
    cancelAnimationFrame(request);
    source.disconnect();
  };
}

const SPEAKING = 0.42; // about -35 dB
const HOLD = 500; // milliseconds that a mark outlives the sound, so that it does not flicker between words

/** Calls back when a track begins and ceases to be heard. Returns what stops it. */
export function watchSpeaking(track: MediaStreamTrack, onChange: (speaking: boolean) => void): () => void {
  let speaking = false;
  let heard = -HOLD;
  return watchLevel(track, (level) => {
    const now = performance.now();
    if (level >= SPEAKING) heard = now;
    if (speaking !== now - heard < HOLD) {
      speaking = !speaking;
      onChange(speaking);
    }
  });
}
