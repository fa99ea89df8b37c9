//! What the control plane asks of a router. The session descriptions were checked above; a command
//! that contradicts the router's state is refused by an event, never by a panic.

use crate::Codec;
use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::{PayloadType, Ssrc};

/// Audio or video: what decides whether a stream has keyframes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

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
    /// Payload type of the media.
    pub payload_type: PayloadType,
    /// Payload type of the retransmissions (RFC 4588), when negotiated.
    pub rtx_payload_type: Option<PayloadType>,
    /// The media's SSRC, when the description told it.
    pub ssrc: Option<Ssrc>,
    /// The retransmissions' SSRC, when the description told it.
    pub rtx_ssrc: Option<Ssrc>,
    /// Identifier of the MID header extension (RFC 8843 §15), when negotiated.
    pub mid_extension: Option<u8>,
    /// Identifier of the transport-wide sequence number extension, when negotiated.
    pub twcc_extension: Option<u8>,
    /// Whether we may ask for lost packets (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Whether we may ask for a keyframe (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Whether the sender wants the bit rate it may send told as an estimate, instead of feedback about each packet
    /// (`goog-remb`): never both.
    pub remb: bool,
}

/// A producer forwarded to a transport under an SSRC of its own.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// Its name.
    pub consumer: ConsumerId,
    /// The transport it leaves on.
    pub transport: TransportId,
    /// What it forwards.
    pub producer: ProducerId,
    /// The m-line's identification towards the subscriber.
    pub mid: String,
    /// Payload type of the media towards the subscriber.
    pub payload_type: PayloadType,
    /// Payload type of the retransmissions towards the subscriber, when negotiated.
    pub rtx_payload_type: Option<PayloadType>,
    /// SSRC of the media towards the subscriber.
    pub ssrc: Ssrc,
    /// SSRC of the retransmissions towards the subscriber.
    pub rtx_ssrc: Option<Ssrc>,
    /// Identifier of the MID header extension, when it is to be written.
    pub mid_extension: Option<u8>,
    /// The canonical name that ties a user's streams together (RFC 3550 §6.5.1).
    pub cname: String,
}

impl Command {
    /// Whether it may make something new happen; false when it only takes away.
    pub fn adds(&self) -> bool {
        !matches!(
            self,
            Command::RemoveTransport { .. }
                | Command::RemoveProducer { .. }
                | Command::RemoveConsumer { .. }
        )
    }
}

/// One order. Commands are handled in the order they come.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make an ICE-lite, DTLS-passive transport that waits for its peer.
    AddTransport {
        /// Its name.
        transport: TransportId,
        /// Our user fragment: how a peer's checks find this transport.
        local_ufrag: String,
        /// Our password: the key of those checks.
        local_pwd: String,
    },
    /// Say who the peer is.
    SetRemote {
        /// The transport.
        transport: TransportId,
        /// The peer's user fragment.
        remote_ufrag: String,
        /// The peer's password: the key of the checks by which we prove where it is.
        remote_pwd: String,
        /// SHA-256 of the peer's certificate (RFC 8122).
        fingerprint: [u8; 32],
    },
    /// Close a transport with all its producers and consumers.
    RemoveTransport {
        /// The transport.
        transport: TransportId,
    },
    /// Accept an incoming track.
    AddProducer(ProducerSpec),
    /// Stop an incoming track and every consumer of it.
    RemoveProducer {
        /// The producer.
        producer: ProducerId,
    },
    /// Forward a track.
    AddConsumer(ConsumerSpec),
    /// Stop forwarding.
    RemoveConsumer {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Pause or go on.
    SetConsumerPaused {
        /// The consumer.
        consumer: ConsumerId,
        /// True: nothing is sent until it is set to false.
        paused: bool,
    },
}
