/**
 * Copies of sound: each packet carries what was in the one before it once more (RFC 2198), so that one that is lost is heard
 * all the same. They double what the sound costs, so they are sent while some of it is missing where it is played, and of
 * speech alone.
 */

/** Copies are sent from this share of loss on, and until less than that is lost. */
const BEGIN = 0.01;
const END = 0.0025;
/** Weight of one report. */
const WEIGHT = 0.3;

/** A path of fewer bits a second is full of sound and a little picture: what it loses it loses because it is full. */
const NARROW = 300_000;

/** Sound of more bits a second is music. */
const SPEECH = 64_000;

/** What is lost of one sound, report by report. */
export class SoundLoss {
  private share = 0;
  private worthIt = false;

  /** Takes what was reported; says whether copies are worth it. */
  told({ missing, available }: Reported): boolean {
    this.share += WEIGHT * (missing - this.share);
    this.worthIt = available >= NARROW && this.share >= (this.worthIt ? END : BEGIN);
    return this.worthIt;
  }
}

/** What is known of sound on its way. */
export interface Reported {
  /** The share that the other side misses, as it last said. */
  readonly missing: number;
  /** What the path carries, in bits a second; infinite where the browser does not say. */
  readonly available: number;
}

/** What is known of the sound that a sender sends; undefined while the other side said nothing. */
export async function reportedOf(sender: RTCRtpSender): Promise<Reported | undefined> {
  let missing: number | undefined;
  let available = Infinity;
  (await sender.getStats()).forEach((entry: Statistics) => {
    if (entry.type === 'remote-inbound-rtp') missing = entry.fractionLost;
    else if (entry.type === 'candidate-pair') available = entry.availableOutgoingBitrate ?? available;
  });
  return missing === undefined ? undefined : { missing, available };
}

interface Statistics {
  readonly type: string;
  readonly fractionLost?: number;
  readonly availableOutgoingBitrate?: number;
}

/** Whether sound with that much of a bit rate may have copies: none is what browsers give to speech. */
export function mayHaveCopies(maxBitrate: number | undefined): boolean {
  return (maxBitrate ?? 0) <= SPEECH;
}

/** The browser's codecs with the one first that has copies, or in its own order; nothing when it has no copies. */
export function orderForCopies<T extends { mimeType: string }>(codecs: readonly T[], copies: boolean): T[] {
  const isRed = ({ mimeType }: T): boolean => mimeType.toLowerCase() === 'audio/red';
  const red = codecs.filter(isRed);
  if (red.length === 0) return [];
  return copies ? [...red, ...codecs.filter((one) => !isRed(one))] : [...codecs];
}

/** Lets a sender of sound send copies, or not, from its next negotiation on; says whether the browser can. */
export function preferCopies(transceiver: RTCRtpTransceiver, copies: boolean): boolean {
  const codecs = orderForCopies(RTCRtpSender.getCapabilities('audio')?.codecs ?? [], copies);
  if (codecs.length === 0) return false;
  transceiver.setCodecPreferences(codecs);
  return true;
}
