//! One address of a peer: what was asked there, what was answered, how long that counts.

use super::budget::AddressBudget;
use super::{CONSENT_TIMEOUT, Proof};
use crate::transport::path::{Path, Protocol};

use std::time::{Duration, Instant};

/// Between the first transmission of a check and the second (RFC 8445 §14.3: at least this); it doubles.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);

/// Transmissions of one check (`Rc` of RFC 8489 §6.2.1).
const TRANSMISSIONS: u32 = 7;

/// Over a connection nothing is sent twice (RFC 8489 §6.2.2). A peer that checks again after this long is asked again.
const RELIABLE_WAIT: Duration = CONSENT_INTERVAL;

/// After the last transmission an answer is waited for this many times the first timeout (`Rm` there).
const LAST_WAIT: u32 = 16;

/// Between two checks of the path in use, a fifth more or less (RFC 7675 §5.1).
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);

/// Checks whose answers are waited for: more than the consent checks of 30 s.
const MAX_PENDING: usize = 9;

/// In place of the generation of credentials that are good no more. Those are counted from 1.
const RETIRED: u32 = 0;

/// A check that is sent again until it is answered or given up.
#[derive(Clone, Copy, Debug)]
struct Probe {
    transaction: Option<[u8; 12]>,
    transmissions: u32,
    last_sent: Option<Instant>,
    next: Instant,
}

/// An address from which the peer proved that it knows our password.
#[derive(Clone, Debug)]
pub(super) struct PeerPath {
    pub(super) address: Path,
    pub(super) first_check: Instant,
    pub(super) last_check: Instant,
    /// The number of the last nomination; 0: never.
    pub(super) nominated: u64,
    /// Under whose credentials it is checked, by both sides: the newest that the peer used from there.
    pub(super) generation: u32,
    /// The newest under which the peer's checks came from there.
    pub(super) heard_under: u32,
    /// When that came.
    pub(super) nominated_at: Option<Instant>,
    pub(super) proof: Option<Proof>,
    /// Under whose credentials it was proven last.
    pub(super) proven_under: Option<u32>,
    /// The last proof that the peer is there: when that was asked, so that an answer that took long counts for less.
    pub(super) consent: Instant,
    pub(super) budget: AddressBudget,
    /// Transmissions since anything was answered.
    pub(super) unanswered: u32,
    probe: Option<Probe>,
    next_consent_check: Option<Instant>,
    pending: Vec<([u8; 12], Instant)>,
    /// The last check that was sent once only: its answer tells the round trip.
    timed: Option<([u8; 12], Instant)>,
}

impl PeerPath {
    pub(super) fn new(now: Instant, address: Path, generation: u32) -> Self {
        PeerPath {
            address,
            first_check: now,
            last_check: now,
            nominated: 0,
            generation,
            heard_under: generation,
            nominated_at: None,
            proof: None,
            proven_under: None,
            consent: now,
            budget: AddressBudget::default(),
            unanswered: 0,
            probe: None,
            next_consent_check: None,
            pending: Vec::new(),
            timed: None,
        }
    }

    pub(super) fn has_consent(&self, now: Instant) -> bool {
        self.proof.is_some() && now.saturating_duration_since(self.consent) < CONSENT_TIMEOUT
    }

    pub(super) fn prove(&mut self, at: Instant, proof: Proof) {
        // An answer to an earlier check may come after that to a later one.
        self.consent = match self.proof {
            Some(_) => self.consent.max(at),
            None => at,
        };
        self.proof = Some(proof);
        self.proven_under = Some(self.generation);
        self.unanswered = 0;
        self.probe = None;
    }

    /// Whether whatever we send there is for the peer: it is proven to be there, or it made a connection from there, which
    /// nobody can from an address that is not his.
    pub(super) fn is_reached(&self, now: Instant) -> bool {
        self.address.is_tcp() || self.has_consent(now)
    }

    /// How often one check of ours is sent there.
    fn transmissions(&self) -> u32 {
        match self.address.protocol {
            Protocol::Udp => TRANSMISSIONS,
            Protocol::Tcp => 1,
        }
    }

    /// Wants the address to be proven. While a check is under way, another sign of the peer only brings the next
    /// transmission forward.
    pub(super) fn probe(&mut self, now: Instant) {
        let most = self.transmissions();
        match &mut self.probe {
            None => {
                self.probe = Some(Probe {
                    transaction: None,
                    transmissions: 0,
                    last_sent: None,
                    next: now,
                });
            }
            Some(probe) => {
                let soonest = probe.last_sent.map_or(now, |sent| sent + FIRST_TIMEOUT);
                if probe.transmissions < most && soonest <= now {
                    probe.next = probe.next.min(now);
                }
            }
        }
    }

    /// It is the path in use from now on.
    pub(super) fn keep(&mut self, now: Instant, jitter: f64) {
        self.next_consent_check = Some(now + consent_interval(jitter));
    }

    /// It is not, or not any more.
    pub(super) fn leave(&mut self) {
        self.next_consent_check = None;
    }

    /// The peer checks from there under these credentials. It does not go back to older ones.
    pub(super) fn enter(&mut self, generation: u32) {
        if generation > self.generation {
            self.generation = generation;
            self.forget_checks();
            // What stayed unanswered was asked under another name.
            self.unanswered = 0;
        }
    }

    /// The credentials of a restart of which nothing came are good no more; those under which it was proven are.
    pub(super) fn go_back(&mut self, generation: u32) {
        self.generation = generation;
        self.forget_checks();
    }

    /// Whether the credentials under which it is known are good still.
    pub(super) fn is_live(&self) -> bool {
        self.generation != RETIRED
    }

    /// The credentials under which it is known are good no more: what comes from there is the peer's still, but nothing
    /// is asked there and nothing goes there.
    pub(super) fn retire(&mut self) {
        self.forget_checks();
        self.leave();
        self.generation = RETIRED;
        (self.proof, self.proven_under, self.nominated) = (None, None, 0);
    }

    /// The peer has another name now, under which nothing was asked yet.
    pub(super) fn forget_checks(&mut self) {
        self.pending.clear();
        self.timed = None;
        self.probe = None;
    }

    /// When a check of `len` bytes is to be sent there; none while the address has not earned it.
    pub(super) fn next_check(&self, now: Instant, len: usize) -> Option<Instant> {
        let probe = self.probe.filter(|probe| {
            probe.transmissions >= self.transmissions()
                || self.is_reached(now)
                || self.budget.allows_check(len)
        });
        let probe = probe.map(|probe| probe.next);
        probe.into_iter().chain(self.next_consent_check).min()
    }

    /// The transaction of the check that is due. None: it was the giving up of one.
    pub(super) fn take_check(
        &mut self,
        now: Instant,
        jitter: f64,
        new_transaction: impl FnOnce() -> [u8; 12],
    ) -> Option<[u8; 12]> {
        let most = self.transmissions();
        let keeps = self.next_consent_check.is_some_and(|at| at <= now);
        let transaction = match &mut self.probe {
            Some(probe) if !keeps => {
                if probe.transmissions >= most {
                    self.probe = None;
                    return None;
                }
                let transaction = *probe.transaction.get_or_insert_with(new_transaction);
                let doubled = FIRST_TIMEOUT * (1 << probe.transmissions);
                probe.transmissions += 1;
                let wait = match self.address.protocol {
                    Protocol::Tcp => RELIABLE_WAIT,
                    Protocol::Udp if probe.transmissions < most => doubled,
                    Protocol::Udp => FIRST_TIMEOUT * LAST_WAIT,
                };
                probe.last_sent = Some(now);
                probe.next = now + wait;
                transaction
            }
            _ => {
                self.next_consent_check = Some(now + consent_interval(jitter));
                new_transaction()
            }
        };
        self.unanswered += 1;
        // Which of several transmissions an answer is to, nobody knows (RFC 6298 §3).
        self.timed = match self.timed {
            Some((timed, _)) if timed == transaction => None,
            _ if self.awaits(transaction) => None,
            _ => Some((transaction, now)),
        };
        let is_new = |(pending, sent): &([u8; 12], Instant)| {
            *pending != transaction && now.saturating_duration_since(*sent) < CONSENT_TIMEOUT
        };
        self.pending.retain(is_new);
        if self.pending.len() >= MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push((transaction, now));
        Some(transaction)
    }

    pub(super) fn awaits(&self, transaction: [u8; 12]) -> bool {
        self.pending
            .iter()
            .any(|(pending, _)| *pending == transaction)
    }

    /// When the check was sent that this is the answer to, if that was once.
    pub(super) fn asked_once(&self, transaction: [u8; 12]) -> Option<Instant> {
        let (timed, at) = self.timed?;
        (timed == transaction).then_some(at)
    }

    /// Takes the answer to a check; returns when that was sent last.
    pub(super) fn take_answer(&mut self, transaction: [u8; 12]) -> Option<Instant> {
        let at = self
            .pending
            .iter()
            .position(|(pending, _)| *pending == transaction)?;
        Some(self.pending.remove(at).1)
    }
}

fn consent_interval(jitter: f64) -> Duration {
    CONSENT_INTERVAL.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}
