// What Node lacks of tracks, streams and peer connections.

/** A track; a video has 640x480. */
export class Track extends EventTarget {
  static count = 0;
  readonly id = `track ${Track.count++}`;
  enabled = true;
  readyState = 'live';

  constructor(readonly kind: 'audio' | 'video') {
    super();
  }

  get real(): MediaStreamTrack {
    return this as unknown as MediaStreamTrack;
  }

  getSettings(): MediaTrackSettings {
    return this.kind === 'video' ? { width: 640, height: 480 } : {};
  }

  applyConstraints(): Promise<void> {
    return Promise.resolve();
  }
}

/** A stream. */
export class Media {
  addTrack(): void {
    // Nobody asks what it has.
  }

  removeTrack(): void {
    // As above.
  }
}

interface Transceiver {
  mid: string;
  direction: string;
  sender: Sender;
  receiver: { track: Track };
  setCodecPreferences: (codecs: { mimeType: string }[]) => void;
}

/** A sender. It takes no parameters while it `refuses`; `missing` is what the other side reports to be lost. */
export class Sender {
  static getCapabilities = (): { codecs: { mimeType: string }[] } => ({
    codecs: [{ mimeType: 'audio/opus' }, { mimeType: 'audio/red' }],
  });

  refuses = false;
  missing = 0;

  constructor(private encodings: RTCRtpEncodingParameters[]) {}

  replaceTrack(): Promise<void> {
    return Promise.resolve();
  }

  getStats(): Promise<Map<string, object>> {
    return Promise.resolve(new Map([['1', { type: 'remote-inbound-rtp', fractionLost: this.missing }]]));
  }

  getParameters(): { encodings: RTCRtpEncodingParameters[] } {
    return { encodings: this.encodings.map((one) => ({ ...one })) };
  }

  setParameters({ encodings }: { encodings: RTCRtpEncodingParameters[] }): Promise<void> {
    if (this.refuses) return Promise.reject(new Error('refused'));
    this.encodings = encodings;
    return Promise.resolve();
  }
}

/** A peer connection that connects when it is told to, and whose senders keep what they are told. */
export class Peer extends EventTarget {
  static latest: Peer | null = null;
  connectionState: RTCPeerConnectionState = 'new';
  iceConnectionState = 'new';
  signalingState = 'stable';
  isAnswered = false;
  /** The codecs that a transceiver was told last to prefer. */
  preferred: string[] = [];
  private readonly transceivers: Transceiver[] = [];

  constructor() {
    super();
    Peer.latest = this;
  }

  addTransceiver(track: Track, { sendEncodings = [] }: RTCRtpTransceiverInit = {}): Transceiver {
    const sender = new Sender(sendEncodings);
    const transceiver = {
      mid: String(this.transceivers.length),
      direction: 'sendonly',
      sender,
      receiver: { track },
      setCodecPreferences: (codecs: { mimeType: string }[]) => {
        this.preferred = codecs.map((one) => one.mimeType);
      },
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers(): Transceiver[] {
    return this.transceivers;
  }

  createOffer(): Promise<{ sdp: string }> {
    return Promise.resolve({ sdp: 'offer' });
  }

  setLocalDescription(): Promise<void> {
    return Promise.resolve();
  }

  setRemoteDescription(): Promise<void> {
    this.isAnswered = true;
    return Promise.resolve();
  }

  connect(): void {
    this.connectionState = 'connected';
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close(): void {
    this.connectionState = 'closed';
  }
}
