//! What a router tells the control plane.

use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::ingress::speech::Level;
use crate::reasons::{CloseReason, ConnectionEnd, RefuseReason, Shortfall};
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
    /// How loud a watched track is. Comes again and again while it is to be heard, and once more when it is not; each stands
    /// for those before it.
    ProducerLevel {
        /// The producer.
        producer: ProducerId,
        /// Its transport.
        transport: TransportId,
        /// How loud.
        level: Level,
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
    /// A subscriber gets something else of a picture than is wanted, or what is wanted again.
    ConsumerSource {
        /// The transport.
        transport: TransportId,
        /// The consumer.
        consumer: ConsumerId,
        /// The place of the source that it gets; none: nothing of it is sent.
        source: Option<usize>,
        /// Why that is not the one that is wanted, or not with all the temporal layers that are.
        why: Option<Shortfall>,
        /// Bits a second of what is wanted; 0 while it is not sent.
        needed: u64,
        /// Bits a second that there are for pictures.
        available: u64,
    },
    /// A peer that answers our checks has left the last three on the path in use without an answer: it may be somewhere
    /// else by now. Comes again when it answered meanwhile.
    PathSilent {
        /// The transport.
        transport: TransportId,
    },
    /// Connections for media were refused or ended for a reason that strangers can cause; comes again every ten seconds
    /// while it happens. A shard tells, whose connections they were; no transport is concerned.
    ConnectionsEnded {
        /// Why.
        reason: ConnectionEnd,
        /// How many since the last such event.
        count: u64,
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
