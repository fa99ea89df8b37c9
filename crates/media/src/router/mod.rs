//! One shard's whole state: transports, tracks, and who gets what. This file holds the frame around the
//! work: time, events, closing, and that a panic costs one transport only. The work is in `commands`,
//! `demux`, `forward` and `control`.

mod checks;
pub mod command;
mod commands;
mod connections;
mod control;
pub mod counters;
mod decisions;
mod demand;
mod demux;
mod dividing;
pub mod event;
mod forward;
mod handshakes;
#[cfg(feature = "sim")]
mod injected;
mod intake;
pub mod latency;
mod policing;
mod probing;
mod removal;
mod reports;
mod restarts;
mod snapshot;
mod sources;
mod strangers;
#[cfg(test)]
mod tests;
mod timers;
mod turns;

use crate::egress::consumer::Consumer;
use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::ingress::track::Track;
use crate::reasons::{CloseReason, DropReason, Drops, RefuseReason};
use crate::router::command::Command;
use crate::router::counters::PathCounters;
use crate::router::demand::NEW;
use crate::router::dividing::Claim;
use crate::router::event::Event;
use crate::router::latency::LatencyMeter;
use crate::router::strangers::Strangers;
use crate::router::timers::Timers;
use crate::router::turns::Handshakes;
use crate::slab::{ConsumerKey, Slab, TrackKey, TransportKey};
use crate::transport::Transport;
use crate::transport::dtls::{DtlsSettings, Progress};
use crate::transport::ice::TransactionIds;
use crate::transport::path::Path;
use crate::transport::policer::IngressLimit;
use crate::transport::sink::TransmitSink;
use crate::transport::srtp::SrtpProfile;
use crate::transport::traffic::Traffic;
use crate::transport::verification::Failures;
use crate::wire::num::Rng;
use dimpl::DtlsCertificate;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub use commands::MAX_PRODUCERS;
pub use decisions::Decision;
#[cfg(feature = "sim")]
pub use decisions::Standing;
#[cfg(feature = "sim")]
pub use injected::Tables;
pub use turns::{MAX_WAITING, MAX_WAITING_OF_ONE, PER_TURN};

/// Timers fire on a grid of this width, so that a shard with many transports wakes a hundred times a
/// second at most. Nothing here needs to be more exact.
const TICK: Duration = Duration::from_millis(10);

/// Transports of one router. At 64 kB each (our target) this is 640 MB; a core is busy long before.
pub const MAX_TRANSPORTS: usize = 10_000;

/// What a router is made of.
pub struct RouterConfig {
    /// The DTLS certificate of all its transports.
    pub certificate: DtlsCertificate,
    /// Seed of everything random that is not a key.
    pub seed: u64,
    /// Key of the transaction identifiers of our checks, different for each router.
    pub secret: [u8; 32],
    /// The epoch of what is told of arrival times: not after any moment that a router is given.
    pub started: Instant,
    /// What each transport may send.
    pub ingress: IngressLimit,
    /// Whether what goes to a peer is fitted into what its path carries: held back a moment, and left out when it has to be.
    pub adapts: bool,
}

/// Whose a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    One(TransportKey),
    /// Several transports say that their peer is at that address, and none proved it. What comes from there but checks
    /// is nobody's then: were it the first one's, its DTLS would answer the other one's hello.
    Contested,
}

/// The forwarding unit: eats commands, datagrams and time; gives datagrams and events.
pub struct Router {
    pub(crate) dtls: DtlsSettings,
    pub(crate) rng: Rng,
    pub(crate) transactions: TransactionIds,
    /// What may still be verified of what fails.
    pub(crate) failures: Failures,
    pub(crate) handshakes: Handshakes,
    pub(crate) strangers: Strangers,
    pub(crate) started: Instant,
    pub(crate) transports: Slab<TransportId, Transport>,
    pub(crate) tracks: Slab<ProducerId, Track>,
    pub(crate) consumers: Slab<ConsumerId, Consumer>,
    pub(crate) transport_ids: HashMap<TransportId, TransportKey>,
    pub(crate) track_ids: HashMap<ProducerId, TrackKey>,
    pub(crate) consumer_ids: HashMap<ConsumerId, ConsumerKey>,
    pub(crate) ufrags: HashMap<String, TransportKey>,
    pub(crate) addresses: HashMap<Path, Owner>,
    /// Connections that are nobody's path any more and are to be closed.
    pub(crate) released: Vec<Path>,
    pub(crate) ingress: IngressLimit,
    pub(crate) adapts: bool,
    pub(crate) drops: Drops,
    pub(crate) paths: PathCounters,
    pub(crate) latency: LatencyMeter,
    /// All that came in, and what transports that are gone sent.
    pub(crate) traffic: Traffic,
    events: VecDeque<Event>,
    #[cfg(feature = "sim")]
    decisions: VecDeque<(Standing, Decision)>,
    /// The transport whose business is being done: the one that a panic closes.
    pub(crate) working_on: Option<TransportKey>,
    /// Tracks that go on in this turn, and since when the first of them waits for its end.
    fed: Vec<TrackKey>,
    fed_since: Option<Instant>,
    /// Who gets something in this turn; kept so that the lists need not be allocated again.
    receivers: Vec<TransportKey>,
    receiving: Vec<ConsumerKey>,
    /// Room for the videos that a path is divided among.
    claims: Vec<Claim>,
    /// Transports whose publishers are to be asked for keyframes before this turn ends.
    hurried: Vec<TransportKey>,
    /// When each transport wants to be served; may be too early, never too late.
    timers: Timers,
    /// Transports whose time has come; kept so that the list need not be allocated again.
    ripe: Vec<TransportKey>,
    served: Option<Instant>,
    /// When the datagram came that is worked on; it was read later, with others.
    pub(crate) came: Instant,
    /// Room for lists made on the way, kept so that it need not be allocated again.
    pub(crate) numbers: Vec<crate::wire::num::SeqNo>,
}

impl Router {
    /// A router without transports.
    pub fn new(config: RouterConfig) -> Router {
        Router {
            dtls: DtlsSettings::new(config.certificate, &config.secret),
            rng: Rng::new(config.seed),
            transactions: TransactionIds::new(&config.secret),
            failures: Failures::new(&config.secret),
            handshakes: Handshakes::new(),
            strangers: Strangers::new(&config.secret),
            started: config.started,
            transports: Slab::new(),
            tracks: Slab::new(),
            consumers: Slab::new(),
            transport_ids: HashMap::new(),
            track_ids: HashMap::new(),
            consumer_ids: HashMap::new(),
            ufrags: HashMap::new(),
            addresses: HashMap::new(),
            released: Vec::new(),
            ingress: config.ingress,
            adapts: config.adapts,
            drops: Drops::default(),
            paths: PathCounters::default(),
            latency: LatencyMeter::new(config.started),
            traffic: Traffic::default(),
            events: VecDeque::new(),
            #[cfg(feature = "sim")]
            decisions: VecDeque::new(),
            working_on: None,
            fed: Vec::new(),
            fed_since: None,
            receivers: Vec::new(),
            receiving: Vec::new(),
            claims: Vec::new(),
            hurried: Vec::new(),
            timers: Timers::default(),
            ripe: Vec::new(),
            served: None,
            came: config.started,
            numbers: Vec::new(),
        }
    }

    /// Do what the control plane asks; refusals come as events.
    pub fn handle_command(&mut self, now: Instant, command: Command, sink: &mut impl TransmitSink) {
        let (transport, object) = self.subject(&command);
        let adds_transport = matches!(command, Command::AddTransport { .. });
        self.working_on = None;
        let done = self.isolated(|router| router.execute(now, command, sink));
        self.serve_hurried(now, sink);
        let refused = match done {
            Some(Ok(())) => return,
            Some(Err(reason)) => reason,
            None => RefuseReason::Panicked,
        };
        self.emit(Event::CommandRefused {
            transport,
            object,
            reason: refused,
        });
        if adds_transport && refused != RefuseReason::DuplicateId {
            // Whoever waits for it hears as of every other transport that it is not there.
            let reason = CloseReason::Refused;
            self.emit(Event::TransportClosed { transport, reason });
        }
    }

    /// Take in one datagram that came along `path` and is decrypted in place. `came` is when, as exactly as is known: what
    /// is measured of a network is measured with it, everything else happens `now`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        came: Instant,
        path: impl Into<Path>,
        datagram: &mut [u8],
        sink: &mut impl TransmitSink,
    ) {
        self.working_on = None;
        self.came = came.min(now);
        self.traffic.packets_in += 1;
        self.traffic.bytes_in += datagram.len() as u64;
        let path: Path = path.into();
        if !path.can_be_answered() {
            return self.drops.count(DropReason::BadSource);
        }
        let dropped = self.isolated(|router| router.receive(now, path, datagram, sink));
        let of = self.working_on;
        self.serve_hurried(now, sink);
        if let Some(Err(reason)) = dropped {
            let transport = of.and_then(|at| self.transports.get_mut(at));
            self.drops.count_for(transport, reason, 1);
        }
    }

    /// Do what is due. Call at or after [`Router::next_timeout`]; calling earlier does no harm. A call ends a turn: media
    /// that came in it goes out (see [`Router::forward`]), and it has a bound on what it spends on handshakes (see
    /// [`turns`]). Call it once for each batch of datagrams.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        self.forward(now, sink);
        self.end_turn_of_handshakes(now, sink);
        if self.next_timer().is_none_or(|at| at > now) {
            return;
        }
        self.served = Some(now);
        // Taken out first: what is due again by what is done now is done a tick later.
        let mut ripe = std::mem::take(&mut self.ripe);
        ripe.extend(std::iter::from_fn(|| self.timers.pop(now)));
        for index in ripe.drain(..) {
            self.working_on = Some(index);
            self.isolated(|router| router.serve(now, index, sink));
            self.serve_hurried(now, sink);
        }
        self.ripe = ripe;
    }

    /// Everything that was written to the sink has been sent: call it when that is so, for the figures of how long packets
    /// are here. `now` is asked for the time if any media was written.
    pub fn on_flushed(&mut self, now: impl FnOnce() -> Instant) {
        self.latency.sent(now);
    }

    /// When [`Router::handle_timeout`] wants to be called next; none while there is nothing to wait for.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = [self.fed_since, self.handshakes.due(), self.next_timer()];
        due.into_iter().flatten().min()
    }

    fn next_timer(&self) -> Option<Instant> {
        let next = self.timers.next()?;
        Some(self.served.map_or(next, |served| next.max(served + TICK)))
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Does a piece of work for one transport. A panic in it closes the transport that was worked on and
    /// nobody else's; what the work had changed elsewhere are counters and streams of that transport.
    pub(crate) fn isolated<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(result) => Some(result),
            Err(_) => {
                if let Some(index) = self.working_on.take() {
                    self.remove(index, CloseReason::Panicked);
                }
                None
            }
        }
    }

    /// A transport's publisher is to be asked for a keyframe in this very turn: the first picture of a subscriber
    /// does not wait for a timer.
    pub(crate) fn hurry(&mut self, index: TransportKey) {
        if !self.hurried.contains(&index) {
            self.hurried.push(index);
        }
    }

    pub(crate) fn serve_hurried(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        while let Some(index) = self.hurried.pop() {
            self.working_on = Some(index);
            self.isolated(|router| router.ask_for_keyframes(now, index, sink));
        }
    }

    /// A transport wants to be served at `at` or before.
    pub(crate) fn wake(&mut self, index: TransportKey, at: Instant) {
        if self.transports.get(index).is_some() {
            self.timers.bring_forward(index, at);
        }
    }

    /// Does all that is due on one transport, and notes when to come again.
    fn serve(&mut self, now: Instant, index: TransportKey, sink: &mut impl TransmitSink) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let jitter = self.rng.unit();
        if transport.ice.consent_deadline().is_some_and(|at| at <= now)
            && !transport.ice.keep_consent(now, jitter)
        {
            return self.remove(index, CloseReason::ConsentExpired);
        }
        if let Some((at, reason)) = transport.connect_deadline()
            && at <= now
        {
            return self.close(now, index, reason, sink);
        }
        let ends = transport.ice.overlap_ends();
        if ends.is_some_and(|at| at <= now) {
            self.serve_restart(now, index);
        }
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let progress = transport.drive_dtls(now, sink, |dtls, send| dtls.handle_timeout(now, send));
        self.after_dtls(now, index, progress, sink);
        self.send_checks(now, index, sink);
        self.serve_sources(now, index);
        self.serve_tracks(now, index, sink);
        self.serve_estimate(now, index, sink);
        self.serve_reports(now, index, sink);
        self.serve_demand(now, index, sink);
        self.serve_waiting(now, index, sink);
        self.serve_probe(now, index, sink);
        let due = self.next_due(now, index);
        self.timers.set(index, due);
    }

    fn next_due(&self, now: Instant, index: TransportKey) -> Option<Instant> {
        let transport = self.transports.get(index)?;
        let of_transport = [
            transport.ice.consent_deadline(),
            transport.ice.next_check(now),
            transport.ice.overlap_ends(),
            transport.connect_deadline().map(|(at, _)| at),
            transport.dtls.timer(),
            transport.feedback_due(),
            transport.estimate.as_ref().and_then(|it| it.due),
            transport.next_report,
            transport.look_at_sources,
            transport.look_at_demand,
            self.waiting_due(now, transport),
            transport.probing.map(|_| now + TICK),
        ];
        let of_tracks = transport
            .tracks
            .iter()
            .filter(|_| transport.srtp.is_some())
            .filter_map(|track| self.tracks.get(*track));
        let of_tracks = of_tracks.flat_map(|track| [track.nack_due(), track.keyframe_due(now)]);
        of_transport.into_iter().chain(of_tracks).flatten().min()
    }

    /// Takes what came of DTLS: keys, or the end.
    pub(crate) fn after_dtls(
        &mut self,
        now: Instant,
        index: TransportKey,
        progress: Progress,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        match progress {
            Progress::Closed(reason) => return self.close(now, index, reason, sink),
            Progress::Finished(handshake) => transport.pending = Some(handshake),
            Progress::None => {}
        }
        if let Some(at) = transport.dtls.timer() {
            self.wake(index, at);
        }
        self.connect(now, index, sink);
    }

    /// Lets media flow once the handshake has ended and the peer is named; ends it all when they disagree.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.has_wrong_fingerprint() {
            return self.close(now, index, CloseReason::FingerprintMismatch, sink);
        }
        if transport.expected_fingerprint.is_none() {
            return;
        }
        let Some(handshake) = transport.pending.take() else {
            return;
        };
        match transport.finish_handshake(&handshake) {
            Err(reason) => self.close(now, index, reason, sink),
            Ok(profile) => self.on_connected(now, index, profile),
        }
    }

    /// A transport has its keys.
    fn on_connected(&mut self, now: Instant, index: TransportKey, profile: SrtpProfile) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        transport.next_report = Some(now + crate::transport::REPORT_INTERVAL);
        for key in &transport.consumers {
            if let Some(consumer) = self.consumers.get_mut(*key) {
                consumer.new_until = Some(now + NEW);
            }
        }
        let event = Event::TransportConnected {
            transport: transport.id,
            profile,
        };
        self.emit(event);
        self.wake(index, now);
        self.hurry(index);
        self.want_keyframes(now, index);
    }

    /// Ends a transport and says so to its peer.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        index: TransportKey,
        reason: CloseReason,
        sink: &mut impl TransmitSink,
    ) {
        if let Some(transport) = self.transports.get_mut(index) {
            transport.held.clear();
            transport.drive_dtls(now, sink, |dtls, send| {
                dtls.close(send);
                Progress::None
            });
        }
        self.remove(index, reason);
    }
}
