//! DTLS handshakes in turns. A handshake costs a fraction of a millisecond of public-key cryptography, so that a whole
//! class that joins at once would hold up everybody's media for as long as all of them take. Each turn does a few
//! datagrams of them; what comes on top waits, in order for each transport, one datagram of each after the other. Alone
//! nobody waits.

use crate::dtls::Progress;
use crate::ids::TransportId;
use crate::path::Path;
use crate::router::Router;
use crate::sink::TransmitSink;
use crate::stats::DropReason;
use std::collections::VecDeque;
use std::time::Instant;

/// Datagrams of handshakes that one turn works on: about a millisecond at worst. A turn ends with
/// [`Router::handle_timeout`].
pub const PER_TURN: usize = 4;

/// Datagrams that wait, of all transports: two for each of a thousand peers that join at once, 3 MB.
pub const MAX_WAITING: usize = 2048;

/// Datagrams that wait for one transport: two flights.
pub const MAX_WAITING_OF_ONE: usize = 16;

/// A datagram that waits, and where it came from.
pub(crate) type Waiting = VecDeque<(Path, Vec<u8>)>;

/// What a turn may still do, and who waits for the next.
pub(crate) struct Handshakes {
    /// Transports with something waiting, each once, the next one first.
    order: VecDeque<TransportId>,
    /// Datagrams that wait.
    pub(crate) waiting: usize,
    /// Since when there is something to do for the next turn.
    since: Option<Instant>,
    left: usize,
    /// Datagrams worked on so far.
    pub(crate) worked: u64,
}

impl Handshakes {
    pub(crate) fn new() -> Self {
        Handshakes {
            order: VecDeque::new(),
            waiting: 0,
            since: None,
            left: PER_TURN,
            worked: 0,
        }
    }

    /// When the next turn is wanted; none while nothing waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since
    }

    fn take_turn(&mut self) -> bool {
        let may = self.left > 0;
        if may {
            self.left -= 1;
            self.worked += 1;
        }
        may
    }
}

impl Router {
    pub(crate) fn receive_dtls(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let index = *self
            .addresses
            .get(&source)
            .ok_or(DropReason::UnknownSource)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        self.working_on = Some(index);
        if transport.dtls.sift(datagram).datagram.is_empty() {
            return Err(DropReason::DtlsOutOfTurn);
        }
        if !transport.dtls.admit(now) {
            return Err(DropReason::DtlsTooMany);
        }
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        transport.ice.on_received(source, datagram.len());
        // Whoever waits has been here longer.
        if self.handshakes.order.is_empty() && self.handshakes.take_turn() {
            return self.shake_hands(now, index, source, datagram, sink);
        }
        let of_one = transport.handshake.len();
        if of_one >= MAX_WAITING_OF_ONE || self.handshakes.waiting >= MAX_WAITING {
            return Err(DropReason::DtlsQueueFull);
        }
        if of_one == 0 {
            self.handshakes.order.push_back(transport.id);
        }
        transport.handshake.push_back((source, datagram.to_vec()));
        self.handshakes.waiting += 1;
        self.handshakes.since.get_or_insert(now);
        Ok(())
    }

    /// Ends a turn: does of what waits as much as the turn has left. The next one may do as much again.
    pub(crate) fn end_turn_of_handshakes(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        while self.handshakes.left > 0
            && let Some(id) = self.handshakes.order.pop_front()
        {
            let index = self.transport_ids.get(&id).copied();
            let transport = index.and_then(|index| self.transports.get_mut(index));
            // One that is gone took along what waited for it.
            let Some((index, transport)) = index.zip(transport) else {
                continue;
            };
            let Some((source, datagram)) = transport.handshake.pop_front() else {
                continue;
            };
            self.handshakes.waiting -= 1;
            if !transport.handshake.is_empty() {
                self.handshakes.order.push_back(id);
            }
            if self.addresses.get(&source) != Some(&index) {
                self.drops.count(DropReason::UnknownSource);
                continue;
            }
            self.handshakes.take_turn();
            self.working_on = Some(index);
            let done =
                self.isolated(|router| router.shake_hands(now, index, source, &datagram, sink));
            if let Some(Err(reason)) = done {
                self.drops.count(reason);
            }
            self.serve_hurried(now, sink);
        }
        self.handshakes.left = PER_TURN;
        self.handshakes.since = self.handshakes.order.front().map(|_| now);
    }

    fn shake_hands(
        &mut self,
        now: Instant,
        index: usize,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let Some(transport) = self.transports.get_mut(index) else {
            return Ok(());
        };
        // What came before it may have led to another point of the handshake while it waited.
        let sifted = transport.dtls.sift(datagram);
        if sifted.datagram.is_empty() {
            return Err(DropReason::DtlsOutOfTurn);
        }
        transport.dtls_from = Some(source);
        transport.send_held(now, sink);
        self.send_checks(now, index, sink);
        let Some(transport) = self.transports.get_mut(index) else {
            return Ok(());
        };
        let settings = &self.dtls;
        let progress = transport.drive_dtls(now, sink, |dtls, send| {
            dtls.handle_datagram(now, &sifted.datagram, settings, send)
        });
        if matches!(progress, Progress::Finished(_)) {
            self.prove_by_handshake(now, index, source, sink);
        }
        self.after_dtls(now, index, progress, sink);
        Ok(())
    }
}
