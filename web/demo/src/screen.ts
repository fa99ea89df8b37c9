/** This person's screen, shared beside camera and microphone. */
import { signal } from '@preact/signals';
import { explain, type Problem } from './problem';
import { TRTC, type Client, type LocalStream } from './sdk';

export class ScreenShare {
  readonly stream = signal<LocalStream | null>(null);
  /** From the click until the others have it, or do not. */
  readonly busy = signal(false);

  constructor(private readonly onProblem: (problem: Problem) => void) {}

  /** Asks the person what to share, and publishes it. */
  async start(client: Client): Promise<void> {
    if (this.busy.value || this.stream.value !== null) return;
    this.busy.value = true;
    const stream = TRTC.createStream({ audio: false, video: false, screen: true });
    stream.setScreenProfile('720p');
    stream.setVideoContentHint('detail');
    try {
      await stream.initialize();
      // The browser has a button of its own for it.
      stream.on('screen-sharing-stopped', () => void this.stop(client));
      await client.publish(stream, { isAuxiliary: true });
      this.stream.value = stream;
    } catch (error) {
      stream.close();
      // Whoever chose nothing knows that nothing is shared.
      if ((error as { name?: string }).name !== 'NotAllowedError') this.onProblem(explain('Your screen cannot be shared', error));
    } finally {
      this.busy.value = false;
    }
  }

  async stop(client: Client | null): Promise<void> {
    const stream = this.stream.value;
    if (stream === null) return;
    this.stream.value = null;
    stream.close();
    try {
      await client?.unpublish(stream);
    } catch {
      // The call may be over, and with it what was published.
    }
  }
}
