import type { CheckResult } from './types.js';

interface CodecSource {
  getCapabilities?: (kind: string) => { codecs: { mimeType: string }[] } | null;
}

function has(side: CodecSource | undefined, codec: string): boolean {
  const codecs = side?.getCapabilities?.('video')?.codecs ?? [];
  return codecs.some((one) => one.mimeType.toLowerCase() === `video/${codec}`);
}

/** Whether this browser can send video with that codec. */
export function canSend(codec: string): boolean {
  return has((globalThis as { RTCRtpSender?: CodecSource }).RTCRtpSender, codec);
}

/** Whether this browser can send a video as a small stream as well. */
export function isSmallStreamSupported(): boolean {
  const here = globalThis as {
    RTCPeerConnection?: { prototype: object };
    RTCRtpSender?: { prototype: object };
    navigator?: { userAgent?: string; maxTouchPoints?: number };
  };
  const { userAgent = '', maxTouchPoints = 0 } = here.navigator ?? {};
  // Those of Apple's phones encode one video at a time; its tablets call themselves a Macintosh.
  const isPhone = /iPhone|iPad|iPod|MicroMessenger/.test(userAgent) || (userAgent.includes('Macintosh') && maxTouchPoints > 1);
  const canSend = !!here.RTCPeerConnection && 'addTransceiver' in here.RTCPeerConnection.prototype;
  return !isPhone && canSend && !!here.RTCRtpSender && 'setParameters' in here.RTCRtpSender.prototype;
}

/** Whether a call can be made with this browser on this page, and what is missing if not. */
export function checkSystemRequirements(): Promise<CheckResult> {
  const here = globalThis as {
    RTCPeerConnection?: { prototype: object };
    RTCRtpSender?: CodecSource;
    RTCRtpReceiver?: CodecSource;
    WebSocket?: unknown;
    navigator?: { mediaDevices?: { getUserMedia?: unknown } };
  };
  const detail = {
    isBrowserSupported: typeof here.WebSocket === 'function' && typeof Promise === 'function',
    isWebRTCSupported: !!here.RTCPeerConnection && 'addTransceiver' in here.RTCPeerConnection.prototype,
    isMediaDevicesSupported: typeof here.navigator?.mediaDevices?.getUserMedia === 'function',
    isH264EncodeSupported: has(here.RTCRtpSender, 'h264'),
    isH264DecodeSupported: has(here.RTCRtpReceiver, 'h264'),
    isVp8EncodeSupported: has(here.RTCRtpSender, 'vp8'),
    isVp8DecodeSupported: has(here.RTCRtpReceiver, 'vp8'),
  };
  const result =
    detail.isBrowserSupported &&
    detail.isWebRTCSupported &&
    detail.isMediaDevicesSupported &&
    (detail.isH264EncodeSupported || detail.isVp8EncodeSupported) &&
    (detail.isH264DecodeSupported || detail.isVp8DecodeSupported);
  return Promise.resolve({ result, detail });
}
