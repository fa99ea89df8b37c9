//! DTLS handshakes in turns. A handshake costs a fraction of a millisecond of public-key cryptography, so that a whole
//! class that joins at once would hold up everybody's media for as long as all of them take. Each turn does a few
//! answers and proofs of them; what comes on top waits, in order for each transport, one of each after the other. Alone
//! nobody waits, and what is not worth a signature takes no turn.

use crate::reasons::DropReason;
use crate::router::Router;
use crate::router::turns::{MAX_WAITING, MAX_WAITING_OF_ONE, PER_TURN};
use crate::slab::TransportKey;
use crate::transport::dtls::cookies::{hello_verify_request, is_cookie};
use crate::transport::dtls::{DtlsSession, DtlsSettings, Job, Progress};
use crate::transport::path::Path;
use crate::transport::sink::{TransmitSink, send_plain};
use std::time::{Duration, Instant};

/// DTLS that comes sooner behind the first check of its address is taken with care: our answer to that check was hardly
/// there. A peer that is so near does not notice the round trip that a cookie costs it.
const EARLY: Duration = Duration::from_millis(2);

impl Router {
    pub(crate) fn receive_dtls(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        if !self.addresses.contains_key(&source) {
            self.strangers.note(source);
            return Err(DropReason::UnknownSource);
        }
        let index = self.transport_at(source)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        if !transport.dtls.is_proven() {
            let first_check = transport.ice.first_check(source);
            let is_early = first_check.is_some_and(|at| now.saturating_duration_since(at) < EARLY);
            // What a server says comes when our hello was there.
            let is_early = is_early && !transport.dtls.is_client();
            if self.strangers.take(source) || is_early {
                transport.dtls.be_wary();
            }
        }
        let sifted = transport.dtls.sift(datagram);
        if sifted.is_empty() {
            return Err(DropReason::DtlsOutOfTurn);
        }
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        transport.ice.on_received(source, datagram.len());
        let announced = transport.expected_fingerprint;
        let (id, asked) = (transport.id, transport.asked_for_cookies(now, source));
        let mut found = Ok((Vec::new(), false));
        self.drive(now, index, source, sink, |dtls, settings, send| {
            let is_ours = |sent: &[u8]| {
                let mut cookies = asked.iter().map(|to| settings.cookies.make(id, *to));
                cookies.any(|cookie| is_cookie(sent, &cookie))
            };
            match dtls.handle_datagram(now, &sifted, announced, is_ours, send) {
                Ok(taken) => {
                    found = Ok((taken.jobs, taken.asks));
                    taken.progress
                }
                Err(reason) => {
                    found = Err(reason);
                    Progress::None
                }
            }
        });
        let (jobs, asks) = found?;
        for job in jobs {
            self.work_or_wait(now, index, source, job, sink)?;
        }
        if asks {
            self.ask_for_cookie(now, index, source, sink);
        }
        Ok(())
    }

    /// Says hello to a peer that waits for that and is proven to be somewhere: nobody else is sent one.
    pub(crate) fn begin_dtls(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let transport = self.transports.get(index);
        let waits = transport.filter(|it| it.dtls.is_client() && !it.dtls.has_begun());
        if let Some(path) = waits.and_then(|transport| transport.ice.path()) {
            self.drive(now, index, path, sink, |dtls, settings, send| {
                dtls.begin_as_client(now, settings, send)
            });
        }
    }

    /// Asks the peer, where it is, to say its hello again with a cookie. Nothing is kept for that.
    fn ask_for_cookie(
        &mut self,
        now: Instant,
        index: TransportKey,
        source: Path,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        // What waits there would answer one who may be another.
        transport.held.clear();
        let to = transport.ice.path().unwrap_or(source);
        let request = hello_verify_request(&self.dtls.cookies.make(transport.id, to));
        if transport.ice.admit_handshake(now, to, request.len()) {
            send_plain(sink, Some(to), &request);
            transport.traffic.packets_out += 1;
            transport.traffic.bytes_out += request.len() as u64;
        }
    }

    fn work_or_wait(
        &mut self,
        now: Instant,
        index: TransportKey,
        source: Path,
        job: Job,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        // Whoever waits has been here longer.
        if self.handshakes.order.is_empty() && self.handshakes.take_turn() {
            self.drive(now, index, source, sink, |dtls, settings, send| {
                dtls.work(now, &job, settings, send)
            });
            return Ok(());
        }
        let Some(transport) = self.transports.get_mut(index) else {
            return Ok(());
        };
        let of_one = transport.handshake.len();
        if of_one >= MAX_WAITING_OF_ONE || self.handshakes.waiting >= MAX_WAITING {
            return Err(DropReason::DtlsQueueFull);
        }
        if of_one == 0 {
            self.handshakes.order.push_back(transport.id);
        }
        transport.handshake.push_back((source, job));
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
            let Some((source, job)) = transport.handshake.pop_front() else {
                continue;
            };
            self.handshakes.waiting -= 1;
            if !transport.handshake.is_empty() {
                self.handshakes.order.push_back(id);
            }
            if self.transport_at(source) != Ok(index) {
                let transport = self.transports.get_mut(index);
                self.drops
                    .count_for(transport, DropReason::UnknownSource, 1);
                continue;
            }
            self.handshakes.take_turn();
            self.isolated(|router| {
                router.drive(now, index, source, sink, |dtls, settings, send| {
                    dtls.work(now, &job, settings, send)
                });
            });
            self.serve_hurried(now, sink);
        }
        self.handshakes.left = PER_TURN;
        self.handshakes.since = self.handshakes.order.front().map(|_| now);
    }

    /// Lets the handshake of a transport work on something that came from `source`, and does what comes of it.
    fn drive(
        &mut self,
        now: Instant,
        index: TransportKey,
        source: Path,
        sink: &mut impl TransmitSink,
        work: impl FnOnce(&mut DtlsSession, &DtlsSettings, &mut dyn FnMut(&[u8])) -> Progress,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        transport.dtls_from = Some(source);
        transport.send_held(now, sink);
        self.send_checks(now, index, sink);
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let settings = &self.dtls;
        let progress = transport.drive_dtls(now, sink, |dtls, send| work(dtls, settings, send));
        if matches!(progress, Progress::Finished(_)) {
            self.prove_by_handshake(now, index, source, sink);
        }
        self.after_dtls(now, index, progress, sink);
    }
}
