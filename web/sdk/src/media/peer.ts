/** The one place where peer connections are made. */

/** A peer connection that tries these TURN servers as well. */
export function newPeer(iceServers: readonly RTCIceServer[]): RTCPeerConnection {
  return new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require', iceServers: [...iceServers] });
}
