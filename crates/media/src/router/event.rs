//! What a router tells the control plane.

use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::reasons::{CloseReason, RefuseReason};
use crate::transport::srtp::SrtpProfile;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The DTLS handshake ended, the certificate is the announced one, media may flow.
    TransportConnected {
        /// The transport.
        transport: TransportId,
        /// How its media is protected.
        profile: SrtpProfile,
    },
    /// The transport is gone, with its producers and consumers.
    TransportClosed {
        /// The transport.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// The first media packet of an incoming track came.
    ProducerStarted {
        /// The producer.
        producer: ProducerId,
        /// Its transport.
        transport: TransportId,
    },
    /// A transport sends more than it may; comes again every ten seconds while it does.
    IngressPoliced {
        /// The transport.
        transport: TransportId,
        /// Packets that were dropped for it since the last such event.
        packets: u64,
        /// What it may send.
        bits_per_second: u64,
    },
    /// The path to a subscriber carries less of a picture than is wanted, or more again.
    ConsumerLimited {
        /// The transport.
        transport: TransportId,
        /// The consumer.
        consumer: ConsumerId,
        /// The biggest of its sources that may be sent; none: nothing of it is sent.
        source: Option<usize>,
        /// Bits a second that it needs at most.
        needed: u64,
        /// Bits a second that there are for pictures.
        available: u64,
    },
    /// A command contradicted the router's state.
    CommandRefused {
        /// The transport it named (0 when it named none that is known).
        transport: TransportId,
        /// The producer or consumer it named; 0: the transport itself.
        object: u64,
        /// Why.
        reason: RefuseReason,
    },
}
