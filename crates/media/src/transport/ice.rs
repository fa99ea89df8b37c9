//! The lite side of ICE (RFC 8445 §2.5), which answers the peer's checks, with one thing that lite agents leave out:
//! before media goes to an address we check that address ourselves.
//!
//! A check that comes in proves that somebody once knew our password, not that its source is where it says: a captured
//! one can be sent again from anywhere, and a member can write a victim's address into its own. So a check only makes
//! an address known. Media goes there once the address is *proven* (see [`Proof`]), a nomination moves nothing before
//! that, and consent (RFC 7675) lasts as long as proofs keep coming. The peer's checks are no sign of consent.
//!
//! What an ICE restart changes is in [`restart`]: each address is known under the credentials of one generation.

mod budget;
mod generations;
mod peer_path;
mod restart;
mod transaction;

use crate::transport::path::Path;
use generations::Generations;
use peer_path::PeerPath;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

pub(crate) use transaction::TransactionIds;

/// Without a proof that the peer wants to hear from us for this long, nothing more is sent (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses a peer may check from. Hosts with many interfaces have about ten pairs; more is a flood.
pub const MAX_ADDRESSES: usize = 20;

/// Transactions remembered so that a captured check cannot be replayed from elsewhere. A browser sends a check every
/// 2.5 s on the path in use, so this is two minutes of them. What is older makes an address known, and no more.
const REMEMBERED_TRANSACTIONS: usize = 48;

/// Checks of ours that have to stay unanswered before media may prove an address instead, one and a half seconds of
/// asking (RFC 8445 §14.3 with the smallest timeout it allows); or before the path in use counts as silent.
const UNANSWERED: u32 = 3;

/// A peer that nominates all its pairs (RFC 5245 §8.1.1.2) means the best of those that work, and UDP is better. So a
/// connection takes the place of a path over UDP once that was not nominated for this long, as the peer left it.
const NOMINATED_TOGETHER: Duration = Duration::from_secs(1);

/// How we know that the peer is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// It answered a check of ours, with an identifier that nobody can guess, under its password.
    Answer,
    /// It finished a DTLS handshake of which our half went to that address only.
    Handshake,
    /// Weaker: it answers no checks, and authentic media came from there that is newer than all before. Whoever has the
    /// keys may write any source into it, so this is not asked for a peer that answered even once.
    Media,
}

impl Proof {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Proof::Answer => "answer",
            Proof::Handshake => "handshake",
            Proof::Media => "media",
        }
    }
}

/// What became of an authenticated check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// From an address that was known before.
    Known,
    /// From a new address, which is known now. One that had to make room is named.
    New { replaced: Option<Path> },
    /// The peer checks from too many addresses; this one is not taken.
    TooManyAddresses,
    /// The same transaction came from another address before: somebody replays it.
    Replayed,
}

/// Who the peer says it is.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

/// The ICE state of one transport.
#[derive(Debug)]
pub(crate) struct Ice {
    generations: Generations,
    /// User fragments of ours that are good no more, for the router's table.
    ended: Vec<String>,
    paths: Vec<PeerPath>,
    selected: Option<Path>,
    /// When the path in use was lost to nothing; the transport ends a consent later.
    lost_at: Option<Instant>,
    /// Nominations are numbered; the latest proven one counts.
    nominations: u64,
    /// Whether the peer ever answered a check of ours.
    answers: bool,
    /// Whether it was told that the path in use is silent.
    told_silent: bool,
    transactions: Vec<([u8; 12], Path)>,
    next_transaction: usize,
}

impl Ice {
    pub(crate) fn new(local_ufrag: String, local_pwd: String) -> Self {
        Ice {
            generations: Generations::new(local_ufrag, local_pwd),
            ended: Vec::new(),
            paths: Vec::new(),
            selected: None,
            lost_at: None,
            nominations: 0,
            answers: false,
            told_silent: false,
            transactions: Vec::new(),
            next_transaction: 0,
        }
    }

    /// The peer is named, or named anew: what was asked under the old name is not waited for.
    pub(crate) fn set_remote(&mut self, now: Instant, remote: Remote) {
        self.generations.name(now, remote);
        let newest = self.generations.newest().number;
        for path in &mut self.paths {
            path.enter(path.heard_under);
            if path.generation != newest {
                continue;
            }
            path.forget_checks();
            let is_new = path.proven_under != Some(newest);
            if is_new && (path.nominated > 0 || self.selected.is_none() || newest > 1) {
                path.probe(now);
            }
        }
    }

    /// Whose credentials a check's USERNAME names (RFC 8445 §7.2.2): the number of their generation and our password.
    pub(crate) fn meant_by(&self, username: &str) -> Option<(u32, &str)> {
        let found = self.generations.meant_by(username)?;
        Some((found.number, &found.local_pwd))
    }

    /// Our user fragments that are good now.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.generations.ufrags()
    }

    /// Whether some are good no more.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Those that are good no more, once.
    pub(crate) fn take_ended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ended)
    }

    /// USERNAME and password of our checks to an address, once the peer is named.
    pub(crate) fn credentials_of_checks(&self, address: Path) -> Option<(&str, &str)> {
        let generation = self.known(address)?.generation;
        self.generations.get(generation)?.of_checks()
    }

    /// Takes in a check of `len` bytes whose integrity was verified under the credentials of that generation.
    pub(crate) fn on_check(
        &mut self,
        now: Instant,
        source: Path,
        len: usize,
        transaction: [u8; 12],
        (generation, nominate): (u32, bool),
    ) -> Check {
        match self.first_seen_at(transaction) {
            Some(first) if first != source => return Check::Replayed,
            Some(_) => {}
            None => self.remember(transaction, source),
        }
        let (at, check) = match self.paths.iter().position(|path| path.address == source) {
            Some(at) => (at, Check::Known),
            None => {
                let mut replaced = None;
                if self.paths.len() >= MAX_ADDRESSES {
                    let Some(evicted) = self.evictable(now) else {
                        return Check::TooManyAddresses;
                    };
                    replaced = Some(self.paths.remove(evicted).address);
                }
                self.paths.push(PeerPath::new(now, source, generation));
                (self.paths.len() - 1, Check::New { replaced })
            }
        };
        let is_silent = self.is_silent();
        let under = self.selected.and_then(|it| self.known(it)?.proven_under);
        let is_named = self.generations.is_named(generation);
        let path = &mut self.paths[at];
        path.last_check = now;
        path.budget.on_received(len);
        path.heard_under = path.heard_under.max(generation);
        // Until the peer's new name is known its old one is what it can be asked by, and consent goes on.
        if is_named || path.proven_under.is_none() {
            path.enter(generation);
        }
        let in_use = self.selected == Some(source) && path.proven_under >= Some(generation);
        if nominate {
            self.nominations += 1;
            path.nominated = self.nominations;
            path.nominated_at = Some(now);
        }
        let is_newer = Some(generation) > under;
        // A peer that turns up elsewhere may have left where it was: both places are asked.
        let turns_up = self.answers && !nominate && matches!(check, Check::New { .. });
        if !in_use && (nominate || is_newer || is_silent || turns_up) {
            path.probe(now);
        }
        if turns_up && let Some(selected) = self.selected {
            self.known_mut(selected)
                .into_iter()
                .for_each(|path| path.probe(now));
        }
        check
    }

    /// Whether a genuine check with this transaction came from elsewhere before.
    pub(crate) fn is_replay(&self, source: Path, transaction: [u8; 12]) -> bool {
        self.first_seen_at(transaction)
            .is_some_and(|first| first != source)
    }

    fn first_seen_at(&self, transaction: [u8; 12]) -> Option<Path> {
        let mut seen = self.transactions.iter();
        seen.find(|(seen, _)| *seen == transaction)
            .map(|(_, first)| *first)
    }

    fn remember(&mut self, transaction: [u8; 12], source: Path) {
        if self.transactions.len() < REMEMBERED_TRANSACTIONS {
            self.transactions.push((transaction, source));
        } else {
            self.transactions[self.next_transaction] = (transaction, source);
            self.next_transaction = (self.next_transaction + 1) % REMEMBERED_TRANSACTIONS;
        }
    }

    /// The address that makes room for a new one: the longest silent of those that are not proven. Were it the new one
    /// that had to go, twenty replayed checks would keep a peer that moved from being known.
    fn evictable(&self, now: Instant) -> Option<usize> {
        let paths = self.paths.iter().enumerate();
        let loose =
            paths.filter(|(_, path)| Some(path.address) != self.selected && !path.has_consent(now));
        loose
            .min_by_key(|(_, path)| path.last_check)
            .map(|(at, _)| at)
    }

    /// Where media goes: the proven path that was nominated last, before a nomination the first proven one.
    pub(crate) fn path(&self) -> Option<Path> {
        self.selected
    }

    /// How the path in use was proven.
    pub(crate) fn proof(&self) -> Option<Proof> {
        self.known(self.selected?)?.proof
    }

    fn known(&self, address: Path) -> Option<&PeerPath> {
        self.paths.iter().find(|path| path.address == address)
    }

    fn known_mut(&mut self, address: Path) -> Option<&mut PeerPath> {
        self.paths.iter_mut().find(|path| path.address == address)
    }

    /// When the first check from `address` came.
    pub(crate) fn first_check(&self, address: Path) -> Option<Instant> {
        self.known(address).map(|path| path.first_check)
    }

    /// When the last check from `address` came.
    pub(crate) fn last_check(&self, address: Path) -> Option<Instant> {
        self.known(address).map(|path| path.last_check)
    }

    /// Whether the peer is proven to be at that address, and the proof still counts.
    pub(crate) fn has_consent(&self, now: Instant, address: Path) -> bool {
        self.known(address)
            .is_some_and(|path| path.has_consent(now))
    }

    /// All known addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|path| path.address)
    }

    /// A datagram came from there that passed for one of the peer's.
    pub(crate) fn on_received(&mut self, source: Path, len: usize) {
        if let Some(path) = self.known_mut(source) {
            path.budget.on_received(len);
        }
    }

    /// An answer to a check went there.
    pub(crate) fn on_answered(&mut self, address: Path, len: usize) {
        if let Some(path) = self.known_mut(address) {
            path.budget.on_sent_stun(len);
        }
    }

    /// Whether part of a handshake of `len` bytes may go there now; it counts as sent then.
    pub(crate) fn admit_handshake(&mut self, now: Instant, address: Path, len: usize) -> bool {
        let Some(path) = self.known_mut(address) else {
            return false;
        };
        let admitted = path.is_reached(now) || path.budget.allows_dtls(len);
        if admitted {
            path.budget.on_sent_dtls(len);
        }
        admitted
    }

    /// The next check of ours that is due and that the address has earned. `jitter` is uniform in 0 to 1.
    pub(crate) fn take_check(
        &mut self,
        now: Instant,
        jitter: f64,
        new_transaction: impl FnOnce() -> [u8; 12],
    ) -> Option<(Path, [u8; 12])> {
        let generations = &self.generations;
        let (path, len) = self.paths.iter_mut().find_map(|path| {
            let len = generations.get(path.generation)?.check_len()?;
            let is_due = path.next_check(now, len).is_some_and(|at| at <= now);
            is_due.then_some((path, len))
        })?;
        let transaction = path.take_check(now, jitter, new_transaction)?;
        path.budget.on_sent_stun(len);
        Some((path.address, transaction))
    }

    /// When [`Ice::take_check`] has something to do. A check that waits for its address to earn it waits for a datagram
    /// from there, not for a time.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Instant> {
        let due = self.paths.iter().filter_map(|path| {
            let len = self.generations.get(path.generation)?.check_len()?;
            path.next_check(now, len)
        });
        due.min()
    }

    /// Whether a check with this transaction went to that address and its answer is waited for.
    pub(crate) fn awaits(&self, source: Path, transaction: [u8; 12]) -> bool {
        self.known(source)
            .is_some_and(|path| path.awaits(transaction))
    }

    /// How long the answer took that came at `came`, when that is known and the address is where media goes or will go.
    pub(crate) fn round_trip(
        &self,
        came: Instant,
        source: Path,
        transaction: [u8; 12],
    ) -> Option<Duration> {
        if self.selected.is_some_and(|selected| selected != source) {
            return None;
        }
        let asked = self.known(source)?.asked_once(transaction)?;
        came.checked_duration_since(asked)
    }

    /// The peer answered a check of ours. True: media goes elsewhere from now on than before.
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        jitter: f64,
        source: Path,
        transaction: [u8; 12],
    ) -> bool {
        let Some(path) = self.known_mut(source) else {
            return false;
        };
        let Some(asked) = path.take_answer(transaction) else {
            return false;
        };
        path.prove(asked, Proof::Answer);
        self.answers = true;
        self.select(now, jitter, source)
    }

    /// A handshake ended whose half of ours went to this address only. True as above.
    pub(crate) fn on_handshake(&mut self, now: Instant, jitter: f64, address: Path) -> bool {
        let Some(path) = self.known_mut(address) else {
            return false;
        };
        if path.has_consent(now) || !path.is_live() {
            return false;
        }
        path.prove(now, Proof::Handshake);
        self.select(now, jitter, address)
    }

    /// Authentic media came, newer than all before. True as above: it proved an address, for want of answers.
    pub(crate) fn on_media(&mut self, now: Instant, jitter: f64, source: Path) -> bool {
        if self.answers {
            return false;
        }
        let waits = self.selected.is_none();
        let Some(path) = self.known_mut(source) else {
            return false;
        };
        if path.has_consent(now) {
            path.consent = now;
            return false;
        }
        let wanted = waits || path.nominated > 0;
        if !wanted || path.unanswered < UNANSWERED || !path.is_live() {
            return false;
        }
        path.prove(now, Proof::Media);
        self.select(now, jitter, source)
    }

    /// Whether a peer that answers checks does not answer those on the path in use: its NAT may have forgotten it, and
    /// a peer that does not notice goes on from its new address without a nomination (RFC 7675 §5.1 asks for none).
    fn is_silent(&self) -> bool {
        let in_use = self.selected.and_then(|address| self.known(address));
        self.answers && in_use.is_some_and(|path| path.unanswered >= UNANSWERED)
    }

    /// Whether the peer wants media to go there and not to the path in use.
    fn is_nominated_instead(&self, address: Path, in_use: Path) -> bool {
        let (Some(path), Some(current)) = (self.known(address), self.known(in_use)) else {
            return false;
        };
        if path.nominated <= current.nominated {
            return false;
        }
        let falls_back = path.address.is_tcp() && !current.address.is_tcp();
        let since = path.nominated_at.zip(current.nominated_at);
        let since = since.map(|(at, before)| at.saturating_duration_since(before));
        !falls_back || since.is_none_or(|since| since >= NOMINATED_TOGETHER)
    }

    /// A proven address becomes the path when there is none, when it was proven under newer credentials, when it was
    /// nominated later, or when the one in use is silent.
    fn select(&mut self, now: Instant, jitter: f64, address: Path) -> bool {
        let moves =
            self.selected
                .is_none_or(|selected| match self.compare_age(address, selected) {
                    _ if address == selected => false,
                    Ordering::Greater => true,
                    Ordering::Equal => {
                        self.is_nominated_instead(address, selected) || self.is_silent()
                    }
                    Ordering::Less => false,
                });
        if moves {
            self.selected = Some(address);
            self.lost_at = None;
            for path in &mut self.paths {
                match path.address == address {
                    true => path.keep(now, jitter),
                    false => path.leave(),
                }
            }
        }
        self.end_if_proven(now);
        moves
    }

    /// Another transport proved that it is at this address now.
    pub(crate) fn forget(&mut self, now: Instant, address: Path) {
        self.paths.retain(|path| path.address != address);
        if self.selected == Some(address) {
            self.selected = None;
            self.lost_at = Some(now);
        }
    }

    /// The connection that a path was is gone: nothing can be sent there any more. What was proven lately takes its place,
    /// and what was not is asked. True: media goes elsewhere than before, or nowhere.
    pub(crate) fn on_closed(&mut self, now: Instant, jitter: f64, address: Path) -> bool {
        let was_in_use = self.selected == Some(address);
        self.forget(now, address);
        if was_in_use && !self.keep_consent(now, jitter) {
            for path in &mut self.paths {
                path.probe(now);
            }
        }
        was_in_use
    }

    /// When consent for the path in use runs out; when the path was lost, a consent after that. None before there was
    /// a path.
    pub(crate) fn consent_deadline(&self) -> Option<Instant> {
        let last = match self.selected {
            Some(path) => self.known(path)?.consent,
            None => self.lost_at?,
        };
        Some(last + CONSENT_TIMEOUT)
    }

    /// Leaves a path whose consent ran out for one that still has it. False: there is none, the peer is gone.
    pub(crate) fn keep_consent(&mut self, now: Instant, jitter: f64) -> bool {
        if self
            .selected
            .is_some_and(|selected| self.has_consent(now, selected))
        {
            return true;
        }
        let consenting = self.paths.iter().filter(|path| path.has_consent(now));
        let freshest = consenting
            .max_by_key(|path| path.consent)
            .map(|path| path.address);
        self.selected = None;
        freshest.is_some_and(|address| self.select(now, jitter, address))
    }
}

#[cfg(test)]
mod tests;
