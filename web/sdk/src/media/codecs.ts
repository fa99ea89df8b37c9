import { ErrorCode, rtcError } from '../errors.js';

export type VideoCodec = 'h264' | 'vp8' | 'vp9' | 'av1';

const DEPENDENCY_DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

/** Those of which a browser sends one encoding, in whose frames a receiver with little bandwidth can leave some out. */
export function isScalable(codec: VideoCodec | undefined): boolean {
  return codec === 'vp9' || codec === 'av1';
}

/** Browsers that can say of each frame what it needs (AV1 RTP specification, appendix A), and do not by themselves. */
interface Extensible {
  getHeaderExtensionsToNegotiate?: () => { uri: string; direction: string }[];
  setHeaderExtensionsToNegotiate?: (extensions: { uri: string; direction: string }[]) => void;
}

function describeFrames(transceiver: RTCRtpTransceiver): void {
  const { getHeaderExtensionsToNegotiate: get, setHeaderExtensionsToNegotiate: set } = transceiver as Extensible;
  if (!get || !set) return;
  const known = get.call(transceiver);
  for (const one of known) if (one.uri === DEPENDENCY_DESCRIPTOR) one.direction = 'sendrecv';
  set.call(transceiver, known);
}

/** Of the browser's codecs those that send `wanted`, with the formats that repair and retransmit it. */
export function onlyCodec<T extends { mimeType: string; sdpFmtpLine?: string }>(codecs: T[], wanted: VideoCodec): T[] {
  const mimeType = `video/${wanted}`;
  const chosen = codecs.filter(
    (codec) =>
      codec.mimeType.toLowerCase() === mimeType &&
      // The mode that every receiver must be able to take has fragments (RFC 6184 §6.3).
      (wanted !== 'h264' || (codec.sdpFmtpLine ?? '').includes('packetization-mode=1')),
  );
  if (chosen.length === 0) return [];
  return [...chosen, ...codecs.filter((codec) => /^video\/(rtx|red|ulpfec)$/i.test(codec.mimeType))];
}

/** Restricts a transceiver to one codec, or refuses when the browser does not have it. */
export function forceCodec(transceiver: RTCRtpTransceiver, wanted: VideoCodec): void {
  const codecs = onlyCodec(RTCRtpSender.getCapabilities('video')?.codecs ?? [], wanted);
  if (codecs.length > 0) {
    transceiver.setCodecPreferences(codecs);
    if (isScalable(wanted)) describeFrames(transceiver);
    return;
  }
  const code = wanted === 'h264' ? ErrorCode.NOT_SUPPORTED_H264 : ErrorCode.NOT_SUPPORTED;
  throw rtcError(code, `this browser cannot send ${wanted.toUpperCase()}`);
}

/**
 * Lets lost packets of sound be asked for (RFC 4585 §4.2), in a description of ours. Chromium's engine does it when both
 * sides say so, and never says so itself; it is known by its feedback about each packet of sound, which others do not have.
 */
export function repairSound(sdp: string): string {
  return sdp
    .split(/(?=^m=)/m)
    .map((section) => {
      const opus = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
      const feedback = `a=rtcp-fb:${opus} transport-cc\r\n`;
      const isRepaired = new RegExp(`^a=rtcp-fb:${opus} nack\\s*$`, 'm').test(section);
      return isRepaired ? section : section.replace(feedback, `${feedback}a=rtcp-fb:${opus} nack\r\n`);
    })
    .join('');
}
