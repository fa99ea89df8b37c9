//! What the control plane asks of a router. The session descriptions were checked above; a command
//! that contradicts the router's state is refused by an event, never by a panic. To remove what is gone
//! already contradicts nothing: the peer may have closed it at that moment.

use crate::egress::spec::ConsumerSpec;
use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::ingress::spec::ProducerSpec;
use crate::transport::dtls::DtlsRole;
use std::time::Duration;

/// One order. Commands are handled in the order they come.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make an ICE-lite transport that waits for its peer.
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
        /// Our side of the handshake.
        role: DtlsRole,
    },
    /// Begin an ICE restart (RFC 8445 §9): have new credentials for the same connection. The peer's new ones come with
    /// [`Command::SetRemote`]; until a path is proven under them, all goes on under the old ones.
    RestartIce {
        /// The transport.
        transport: TransportId,
        /// Our new user fragment.
        local_ufrag: String,
        /// Our new password.
        local_pwd: String,
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
    /// Tell how loud a track is, by [`crate::Event::ProducerLevel`], or do so no more.
    WatchLevel {
        /// The producer.
        producer: ProducerId,
        /// Not more often than that, and than every 50 ms; none: no more.
        every: Option<Duration>,
    },
    /// Forward a track.
    AddConsumer(ConsumerSpec),
    /// Stop forwarding.
    RemoveConsumer {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Say which of its producers a consumer is to forward, and how much of it. It gets another while that one is missing,
    /// and stays with what it has until a keyframe of the other begins.
    SetConsumerSource {
        /// The consumer.
        consumer: ConsumerId,
        /// The place in its list of producers; one beyond the end is the last.
        source: usize,
        /// The highest temporal layer; none: all of them.
        temporal: Option<u8>,
    },
    /// Pause or go on.
    SetConsumerPaused {
        /// The consumer.
        consumer: ConsumerId,
        /// True: nothing is sent until it is set to false.
        paused: bool,
    },
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
