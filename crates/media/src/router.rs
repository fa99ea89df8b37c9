//! One shard's whole state.

use crate::command::Command;
use crate::event::Event;
use crate::sink::TransmitSink;
use crate::stats::Snapshot;
use dimpl::DtlsCertificate;
use std::net::SocketAddr;
use std::time::Instant;

/// What a router is made of.
pub struct RouterConfig {
    /// The DTLS certificate of all its transports.
    pub certificate: DtlsCertificate,
    /// Seed of everything random that is not a key.
    pub seed: u64,
    /// The moment `started_ntp` names.
    pub started: Instant,
    /// NTP time at `started`, 32.32 fixed point (RFC 3550 §4).
    pub started_ntp: u64,
}

/// The forwarding unit: eats commands, datagrams and time; gives datagrams and events.
pub struct Router {
    events: std::collections::VecDeque<Event>,
}

impl Router {
    /// A router without transports.
    pub fn new(config: RouterConfig) -> Router {
        let _ = config;
        Router {
            events: std::collections::VecDeque::new(),
        }
    }

    /// Do what the control plane asks; refusals come as events.
    pub fn handle_command(&mut self, now: Instant, command: Command, sink: &mut impl TransmitSink) {
        let _ = (now, command, sink);
    }

    /// Take in one datagram. It is decrypted in place.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        datagram: &mut [u8],
        sink: &mut impl TransmitSink,
    ) {
        let _ = (now, source, datagram, sink);
    }

    /// Do what is due. Call at or after [`Router::next_timeout`]; calling earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        let _ = (now, sink);
    }

    /// When [`Router::handle_timeout`] wants to be called next; none while there is nothing to wait for.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All counters at this moment.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let _ = now;
        Snapshot::default()
    }
}
