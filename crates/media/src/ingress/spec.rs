//! What was negotiated for an incoming track.

use crate::ids::{ProducerId, TransportId};
use crate::wire::codecs::{Codec, Kind};
use crate::wire::num::{PayloadType, Ssrc};
use crate::wire::rtp::RtpView;

/// An incoming track.
#[derive(Clone, Debug)]
pub struct ProducerSpec {
    /// Its name.
    pub producer: ProducerId,
    /// The transport it arrives on.
    pub transport: TransportId,
    /// Audio or video.
    pub kind: Kind,
    /// The one codec that was negotiated.
    pub codec: Codec,
    /// The m-line's identification (RFC 5888); how a stream without a signalled SSRC is found.
    pub mid: String,
    /// The restriction identifier (RFC 8851) of one of several encodings that share the m-line; empty for the only one. Each
    /// encoding is a producer of its own.
    pub rid: String,
    /// Payload type of the media.
    pub payload_type: PayloadType,
    /// Payload type of sound that carries copies of what was before it (RFC 2198), when negotiated.
    pub red_payload_type: Option<PayloadType>,
    /// Payload type of the retransmissions (RFC 4588), when negotiated.
    pub rtx_payload_type: Option<PayloadType>,
    /// The media's SSRC, when the description told it.
    pub ssrc: Option<Ssrc>,
    /// The retransmissions' SSRC, when the description told it.
    pub rtx_ssrc: Option<Ssrc>,
    /// Identifier of the MID header extension (RFC 8843 §15), when negotiated.
    pub mid_extension: Option<u8>,
    /// Identifier of the header extension with the RID of a packet (RFC 8852), when negotiated.
    pub rid_extension: Option<u8>,
    /// Identifier of the one with the RID of what a retransmission repairs (RFC 8852), when negotiated.
    pub repaired_rid_extension: Option<u8>,
    /// Identifier of the transport-wide sequence number extension, when negotiated.
    pub twcc_extension: Option<u8>,
    /// Identifier of the dependency descriptor extension, when negotiated: it tells the layers of AV1 and VP9.
    pub dependency_descriptor_extension: Option<u8>,
    /// Identifier of the extension with the level of sound (RFC 6464), when negotiated: it tells who speaks.
    pub level_extension: Option<u8>,
    /// Whether we may ask for lost packets (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Whether we may ask for a keyframe (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Whether the sender heeds estimates of the bit rate that it may send (`goog-remb`). Without feedback about each packet
    /// they are all that it goes by; beside that they are the most that it sends.
    pub remb: bool,
}

impl ProducerSpec {
    /// Whether the packet may be of this encoding. A retransmission names the one that it repairs.
    pub(crate) fn rid_fits(&self, packet: &RtpView<'_>) -> bool {
        if self.rid.is_empty() {
            return true;
        }
        let extension = match self.is_rtx(packet.payload_type()) {
            Some(true) => self.repaired_rid_extension,
            _ => self.rid_extension,
        };
        extension.and_then(|id| packet.extension(id)) == Some(self.rid.as_bytes())
    }

    /// Whether packets of this type are retransmissions; none when they are not the track's.
    pub(crate) fn is_rtx(&self, payload_type: PayloadType) -> Option<bool> {
        if payload_type == self.payload_type || Some(payload_type) == self.red_payload_type {
            Some(false)
        } else if Some(payload_type) == self.rtx_payload_type {
            Some(true)
        } else {
            None
        }
    }
}
