//! STUN in both directions: the peer's checks and our answers, our checks and the peer's answers, and what follows
//! when an address is proven.

use crate::reasons::DropReason;
use crate::router::event::Event;
use crate::router::{Owner, Router};
use crate::slab::TransportKey;
use crate::transport::Transport;
use crate::transport::ice::{Check, Ice, Proof};
use crate::transport::path::Path;
use crate::transport::sink::TransmitSink;
use crate::transport::verification::Origin;
use crate::wire::stun::{self, BindingRequest, StunMessage};
use std::time::{Duration, Instant};

/// An address that was not proven is left to another transport after this long without a check: browsers check every
/// 2.5 s, so two of them were missed when it is.
const ADDRESS_HOLD: Duration = Duration::from_secs(5);

/// The peer thinks it is the controlled side, as we always are (RFC 8445 §7.3.1.1).
const ROLE_CONFLICT: u16 = 487;

/// An attribute that must be understood is not (RFC 8489 §6.3.1).
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// PRIORITY of the candidate that a peer would learn from a check of ours: peer-reflexive, the only interface,
/// component 1 (RFC 8445 §5.1.2).
const PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

fn origin(ice: &Ice, source: Path) -> Origin {
    Origin {
        ip: source.remote.ip(),
        is_known: ice.last_check(source).is_some(),
    }
}

impl Router {
    pub(crate) fn receive_stun(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let message = StunMessage::parse(datagram).map_err(|_| DropReason::StunMalformed)?;
        let is_answer = message.is_binding_success() || message.is_binding_error();
        if !message.is_binding_request() && !is_answer {
            return Err(DropReason::StunNotRequest);
        }
        if !message.has_valid_fingerprint() {
            return Err(DropReason::StunMalformed);
        }
        match is_answer {
            true => self.receive_answer(now, source, &message, sink),
            false => self.receive_check(now, source, &message, datagram.len(), sink),
        }
    }

    fn receive_check(
        &mut self,
        now: Instant,
        source: Path,
        message: &StunMessage<'_>,
        len: usize,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let username = message.username().ok_or(DropReason::StunUnknownUser)?;
        let (ufrag, _) = username
            .split_once(':')
            .ok_or(DropReason::StunUnknownUser)?;
        let index = *self.ufrags.get(ufrag).ok_or(DropReason::StunUnknownUser)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::StunUnknownUser)?;
        let Some((generation, password)) = transport.ice.meant_by(username) else {
            return Err(DropReason::StunUnknownUser);
        };
        self.working_on = Some(index);
        let transaction = message.transaction_id();
        if transport.ice.is_replay(source, transaction) {
            return Err(DropReason::StunReplayed);
        }
        let origin = origin(&transport.ice, source);
        let budget = &mut transport.stun_budget;
        let lot = self.rng.unit();
        if !budget.has_check_left(now, origin) || !self.failures.admit(now, origin, budget, lot) {
            return Err(DropReason::StunOverBudget);
        }
        if !message.verify_integrity(password.as_bytes()) {
            self.failures.on_failure(now, origin, budget);
            return Err(DropReason::StunBadIntegrity);
        }
        budget.on_genuine(now, origin);
        let refusal = if !message.unknown_required().is_empty() {
            Some(UNKNOWN_ATTRIBUTE)
        } else if message.ice_controlled().is_some() {
            Some(ROLE_CONFLICT)
        } else {
            None
        };
        if let Some(code) = refusal {
            let buffer = sink.buffer(source, stun::MAX_WRITTEN_LEN);
            let unknown = message.unknown_required();
            let password = password.as_bytes();
            let len = stun::write_binding_error(buffer, transaction, code, password, unknown);
            if len > 0 {
                sink.commit(len);
            }
            return Err(DropReason::StunRefused);
        }
        let free = self.is_free(now, source, index)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::StunUnknownUser)?;
        let under = (generation, message.use_candidate());
        let mut evicted = None;
        match transport.ice.on_check(now, source, len, transaction, under) {
            Check::Known | Check::New { replaced: None } => {}
            Check::New {
                replaced: Some(old),
            } => evicted = Some(old),
            Check::TooManyAddresses => return Err(DropReason::StunTooManyAddresses),
            Check::Replayed => return Err(DropReason::StunReplayed),
        }
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += len as u64;
        // Under the credentials by which was asked.
        let Some((_, password)) = transport.ice.meant_by(username) else {
            return Err(DropReason::StunUnknownUser);
        };
        let buffer = sink.buffer(source, stun::MAX_WRITTEN_LEN);
        let password = password.as_bytes();
        let answer_len = stun::write_binding_success(buffer, transaction, source.remote, password);
        if answer_len > 0 {
            sink.commit(answer_len);
            transport.ice.on_answered(source, answer_len);
            transport.traffic.packets_out += 1;
            transport.traffic.bytes_out += answer_len as u64;
        }
        if transport.validated_at.is_none() {
            transport.validated_at = Some(now);
            self.wake(index, now);
        }
        if let Some(old) = evicted {
            self.release_address(old, index);
        }
        match free {
            true => self.give_address(now, source, index),
            false => _ = self.addresses.insert(source, Owner::Contested),
        }
        self.send_checks(now, index, sink);
        Ok(())
    }

    /// Whether a transport that was checked from `source` may have it at once. An address at which another peer is
    /// proven to be is refused; one that another peer only named goes to whoever proves to be there first.
    fn is_free(&self, now: Instant, source: Path, index: TransportKey) -> Result<bool, DropReason> {
        let owner = match self.addresses.get(&source) {
            Some(Owner::Contested) => return Ok(false),
            Some(Owner::One(owner)) if *owner != index => self.transports.get(*owner),
            _ => None,
        };
        let Some(owner) = owner else {
            return Ok(true);
        };
        if owner.ice.has_consent(now, source) {
            return Err(DropReason::StunAddressTaken);
        }
        let last = owner.ice.last_check(source);
        Ok(last.is_none_or(|at| now.saturating_duration_since(at) >= ADDRESS_HOLD))
    }

    /// What comes from `source` is this transport's from now on.
    fn give_address(&mut self, now: Instant, source: Path, index: TransportKey) {
        let before = self.addresses.insert(source, Owner::One(index));
        let Some(Owner::One(before)) = before.filter(|before| *before != Owner::One(index)) else {
            return;
        };
        if let Some(other) = self.transports.get_mut(before) {
            other.ice.forget(now, source);
            // It is without a path now, or on another: what is due is to be seen anew.
            self.wake(before, now);
        }
    }

    /// A transport knows this address no more.
    pub(crate) fn release_address(&mut self, address: Path, index: TransportKey) {
        let owner = self.addresses.get(&address);
        if owner == Some(&Owner::One(index)) || owner == Some(&Owner::Contested) {
            self.addresses.remove(&address);
            if address.is_tcp() {
                self.released.push(address);
            }
        }
    }

    /// Sends the checks of ours that are due on a transport, and notes when the next one is.
    pub(crate) fn send_checks(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let mut asked = false;
        loop {
            let jitter = self.rng.unit();
            let new_transaction = || self.transactions.make(index.index());
            let Some((address, transaction)) =
                transport.ice.take_check(now, jitter, new_transaction)
            else {
                break;
            };
            let Some((username, password)) = transport.ice.credentials_of_checks(address) else {
                break;
            };
            // A lite agent is controlled (RFC 8445 §6.1.1). Of the tie-breaker a peer would make use in a conflict of
            // roles, which ends for us by its being answered; so it need not be a number that nobody can guess.
            let request = BindingRequest {
                username,
                priority: PRIORITY,
                tie_breaker: transport.id.0,
                controlling: false,
                nominate: false,
            };
            let buffer = sink.buffer(address, stun::binding_request_len(username.len()));
            let len =
                stun::write_binding_request(buffer, transaction, &request, password.as_bytes());
            asked = true;
            if len > 0 {
                sink.commit(len);
                self.paths.checks_sent += 1;
                transport.traffic.packets_out += 1;
                transport.traffic.bytes_out += len as u64;
            }
        }
        if let Some(at) = transport.ice.next_check(now) {
            self.wake(index, at);
        }
        if asked {
            self.look_at_silence(now, index, sink);
        }
    }

    /// One more check is unanswered: whether the path in use is silent by that, and what there is instead of it.
    fn look_at_silence(&mut self, now: Instant, index: TransportKey, sink: &mut impl TransmitSink) {
        self.prove(now, index, sink, Proof::Answer, |transport, jitter| {
            transport.ice.leave_silent(now, jitter)
        });
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.ice.take_silence() {
            let transport = transport.id;
            self.paths.silences += 1;
            self.emit(Event::PathSilent { transport });
        }
    }

    /// Takes in what claims to answer a check of ours. Only what names an identifier that is waited for costs a
    /// verification.
    fn receive_answer(
        &mut self,
        now: Instant,
        source: Path,
        message: &StunMessage<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let transaction = message.transaction_id();
        let place = self.transactions.index(transaction);
        let index = self.transports.key_at(place);
        let index = index.ok_or(DropReason::StunUnasked)?;
        let transport = self.transports.get_mut(index);
        let transport = transport
            .filter(|transport| transport.ice.awaits(source, transaction))
            .ok_or(DropReason::StunUnasked)?;
        self.working_on = Some(index);
        let origin = origin(&transport.ice, source);
        let budget = &mut transport.stun_budget;
        let lot = self.rng.unit();
        if !self.failures.admit(now, origin, budget, lot) {
            return Err(DropReason::StunOverBudget);
        }
        let asked = transport.ice.credentials_of_checks(source);
        let (_, password) = asked.ok_or(DropReason::StunUnasked)?;
        if !message.verify_integrity(password.as_bytes()) {
            self.failures.on_failure(now, origin, budget);
            return Err(DropReason::StunBadIntegrity);
        }
        if message.is_binding_error() {
            return Err(DropReason::StunErrorAnswer);
        }
        self.is_free(now, source, index)?;
        self.give_address(now, source, index);
        self.paths.checks_answered += 1;
        let came = self.came;
        if let Some(transport) = self.transports.get_mut(index)
            && let Some(sample) = transport.ice.round_trip(came, source, transaction)
        {
            transport.round_trip.on_sample(sample);
        }
        self.prove(now, index, sink, Proof::Answer, |transport, jitter| {
            transport.ice.on_answer(now, jitter, source, transaction)
        });
        Ok(())
    }

    /// A DTLS handshake ended with a datagram from `source`.
    pub(crate) fn prove_by_handshake(
        &mut self,
        now: Instant,
        index: TransportKey,
        source: Path,
        sink: &mut impl TransmitSink,
    ) {
        self.prove(now, index, sink, Proof::Handshake, |transport, jitter| {
            transport.dtls_went_to(source) && transport.ice.on_handshake(now, jitter, source)
        });
    }

    /// Authentic media came from `source` that is newer than all before.
    pub(crate) fn prove_by_media(
        &mut self,
        now: Instant,
        index: TransportKey,
        source: Path,
        sink: &mut impl TransmitSink,
    ) {
        self.prove(now, index, sink, Proof::Media, |transport, jitter| {
            transport.ice.on_media(now, jitter, source)
        });
    }

    /// Takes in a proof of where a peer is. When media takes another path for it, what waited for that goes out.
    fn prove(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
        proof: Proof,
        take: impl FnOnce(&mut Transport, f64) -> bool,
    ) {
        let jitter = self.rng.unit();
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let before = transport.ice.path();
        let moved = take(transport, jitter);
        if !moved && !transport.ice.has_ended() {
            return;
        }
        self.forget_ended_ufrags(index);
        let Some(transport) = self.transports.get_mut(index).filter(|_| moved) else {
            return;
        };
        let mut lacks = false;
        if before.is_some() {
            transport.round_trip.forget();
            lacks = transport
                .bandwidth
                .as_ref()
                .is_some_and(|it| it.is_silenced());
        }
        transport.send_held(now, sink);
        self.paths.count(proof);
        self.wake(index, now);
        self.begin_dtls(now, index, sink);
        if lacks {
            // What it missed on the way here is more than repairs bring back.
            self.want_keyframes(now, index);
        }
    }
}
