/** The one place where peer connections are made. */

import type { Transforms } from '../sei/transforms.js';

/** A peer connection that tries these TURN servers as well, and whose frames are looked at if there is something to. */
export function newPeer(iceServers: readonly RTCIceServer[], transforms: Transforms | null): RTCPeerConnection {
  return new RTCPeerConnection({
    bundlePolicy: 'max-bundle',
    rtcpMuxPolicy: 'require',
    iceServers: [...iceServers],
    ...transforms?.peerOptions,
  });
}
