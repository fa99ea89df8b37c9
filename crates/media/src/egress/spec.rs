//! What was negotiated for a forwarded track.

use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::wire::num::{PayloadType, Ssrc};

/// Sources that a consumer may have: the encodings of one picture.
pub const MAX_SOURCES: usize = 3;

/// A producer forwarded to a transport under an SSRC of its own, or one of several that show the same at different sizes.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// Its name.
    pub consumer: ConsumerId,
    /// The transport it leaves on.
    pub transport: TransportId,
    /// What it forwards: one to [`MAX_SOURCES`] encodings of the same, from the biggest to the smallest, of one kind and
    /// codec. Those that are not there, or end, are missing; the consumer ends with the last.
    pub producers: Vec<ProducerId>,
    /// Which of them is wanted first.
    pub source: usize,
    /// The highest temporal layer that is wanted first; none: all of them.
    pub temporal: Option<u8>,
    /// The m-line's identification towards the subscriber.
    pub mid: String,
    /// Payload type of the media towards the subscriber.
    pub payload_type: PayloadType,
    /// Payload type towards the subscriber of sound that carries copies of what was before it (RFC 2198), when negotiated.
    /// Without it, and where nothing is lost, the copies are left out.
    pub red_payload_type: Option<PayloadType>,
    /// Payload type of the retransmissions towards the subscriber, when negotiated.
    pub rtx_payload_type: Option<PayloadType>,
    /// SSRC of the media towards the subscriber.
    pub ssrc: Ssrc,
    /// SSRC of the retransmissions towards the subscriber.
    pub rtx_ssrc: Option<Ssrc>,
    /// Identifier of the MID header extension, when it is to be written.
    pub mid_extension: Option<u8>,
    /// Identifier of the transport-wide sequence number extension, when the subscriber reports on it.
    pub twcc_extension: Option<u8>,
    /// Identifier of the dependency descriptor extension, when the subscriber takes it, also in the two-byte form
    /// (RFC 8285 §4.3): one with a structure is too long for the other. Without it no layers of AV1 are left out.
    pub dependency_descriptor_extension: Option<u8>,
    /// Whether packets may be padded by a byte, so that those of a batch have one size and leave as one message. Only
    /// with retransmissions of their own: what is sent again under its number is sent again as it was.
    pub pads: bool,
    /// Its place among the pictures that share the subscriber's path: the lower, the earlier it is served.
    pub rank: u8,
    /// The canonical name that ties a user's streams together (RFC 3550 §6.5.1).
    pub cname: String,
}
