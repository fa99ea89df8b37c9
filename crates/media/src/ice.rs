//! The lite side of ICE (RFC 8445 §2.5): we never send checks, we answer those of the peer and learn
//! from them where it is and that it still wants to hear from us (RFC 7675).

use crate::path::Path;
use std::time::{Duration, Instant};

/// Without an authenticated check for this long, nothing more is sent (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses a peer may check from. Hosts with many interfaces have about ten pairs; more is a flood.
pub const MAX_ADDRESSES: usize = 20;

/// Transactions remembered so that a captured check cannot be replayed from elsewhere. A browser sends
/// a check every 2.5 s on the path in use, so this is more than a minute of them.
const REMEMBERED_TRANSACTIONS: usize = 48;

/// An address from which the peer proved that it knows our password.
#[derive(Clone, Copy, Debug)]
struct ValidAddress {
    address: Path,
    last_check: Instant,
}

/// What became of an authenticated check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// From an address that was valid before.
    Known,
    /// From a new address, which is valid now. One that had to make room is named.
    New { replaced: Option<Path> },
    /// The peer checks from too many addresses; this one is not taken.
    TooManyAddresses,
    /// The same transaction came from another address before: somebody replays it.
    Replayed,
}

/// The ICE state of one transport.
#[derive(Debug)]
pub(crate) struct Ice {
    pub(crate) local_ufrag: String,
    pub(crate) local_pwd: String,
    pub(crate) remote_ufrag: Option<String>,
    addresses: Vec<ValidAddress>,
    selected: Option<Path>,
    last_heard: Option<Instant>,
    transactions: Vec<([u8; 12], Path)>,
    next_transaction: usize,
}

impl Ice {
    pub(crate) fn new(local_ufrag: String, local_pwd: String) -> Self {
        Ice {
            local_ufrag,
            local_pwd,
            remote_ufrag: None,
            addresses: Vec::new(),
            selected: None,
            last_heard: None,
            transactions: Vec::new(),
            next_transaction: 0,
        }
    }

    /// Whether a check's USERNAME (`ours:theirs`, RFC 8445 §7.2.2) names this pair. Before the peer is
    /// named, any `theirs` will do: our password is what authenticates.
    pub(crate) fn is_for_us(&self, username: &str) -> bool {
        let Some((ours, theirs)) = username.split_once(':') else {
            return false;
        };
        ours == self.local_ufrag
            && self
                .remote_ufrag
                .as_ref()
                .is_none_or(|named| named == theirs)
    }

    /// Takes in a check whose integrity was verified.
    pub(crate) fn on_check(
        &mut self,
        now: Instant,
        source: Path,
        transaction: [u8; 12],
        nominate: bool,
    ) -> Check {
        match self
            .transactions
            .iter()
            .find(|(seen, _)| *seen == transaction)
        {
            Some((_, first)) if *first != source => return Check::Replayed,
            Some(_) => {}
            None => self.remember(transaction, source),
        }
        self.last_heard = Some(now);
        let check = match self
            .addresses
            .iter_mut()
            .find(|valid| valid.address == source)
        {
            Some(valid) => {
                valid.last_check = now;
                Check::Known
            }
            None => {
                let mut replaced = None;
                if self.addresses.len() >= MAX_ADDRESSES {
                    let Some(stale) = self.stale_address(now) else {
                        return Check::TooManyAddresses;
                    };
                    replaced = Some(self.addresses.swap_remove(stale).address);
                }
                self.addresses.push(ValidAddress {
                    address: source,
                    last_check: now,
                });
                Check::New { replaced }
            }
        };
        if nominate || self.selected.is_none() {
            self.selected = Some(source);
        }
        check
    }

    fn remember(&mut self, transaction: [u8; 12], source: Path) {
        if self.transactions.len() < REMEMBERED_TRANSACTIONS {
            self.transactions.push((transaction, source));
        } else {
            self.transactions[self.next_transaction] = (transaction, source);
            self.next_transaction = (self.next_transaction + 1) % REMEMBERED_TRANSACTIONS;
        }
    }

    /// An address not in use whose consent has run out, or none.
    fn stale_address(&self, now: Instant) -> Option<usize> {
        self.addresses.iter().position(|valid| {
            Some(valid.address) != self.selected
                && now.duration_since(valid.last_check) >= CONSENT_TIMEOUT
        })
    }

    /// Where to send: the path nominated last, before a nomination the first valid one.
    pub(crate) fn path(&self) -> Option<Path> {
        self.selected
    }

    /// When the last check from `address` came.
    pub(crate) fn last_check(&self, address: Path) -> Option<Instant> {
        self.addresses
            .iter()
            .find(|valid| valid.address == address)
            .map(|valid| valid.last_check)
    }

    /// All valid addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Path> + '_ {
        self.addresses.iter().map(|valid| valid.address)
    }

    /// Another transport proved that it is at this address now.
    pub(crate) fn forget(&mut self, address: Path) {
        self.addresses.retain(|valid| valid.address != address);
        if self.selected == Some(address) {
            self.selected = self.freshest().map(|valid| valid.address);
        }
    }

    fn freshest(&self) -> Option<&ValidAddress> {
        self.addresses.iter().max_by_key(|valid| valid.last_check)
    }

    /// When consent for the path in use runs out, or, when another transport took that path, when the peer has
    /// not been heard of for that long. None before the first check.
    pub(crate) fn consent_deadline(&self) -> Option<Instant> {
        let last = match self.selected {
            Some(path) => self.last_check(path),
            None => self.last_heard,
        };
        Some(last? + CONSENT_TIMEOUT)
    }

    /// Leaves a path whose consent ran out for one that still has it. False: there is none, the peer is gone.
    pub(crate) fn keep_consent(&mut self, now: Instant) -> bool {
        let fresh = |valid: &ValidAddress| now.duration_since(valid.last_check) < CONSENT_TIMEOUT;
        let in_use = self
            .addresses
            .iter()
            .find(|valid| Some(valid.address) == self.selected);
        if in_use.is_some_and(fresh) {
            return true;
        }
        self.selected = self
            .freshest()
            .copied()
            .filter(fresh)
            .map(|valid| valid.address);
        self.selected.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn at(port: u16) -> Path {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    fn transaction(number: u32) -> [u8; 12] {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn ice() -> Ice {
        Ice::new("ours".into(), "secret".into())
    }

    #[test]
    fn the_path_is_the_first_valid_one_and_then_the_nominated_one() {
        let (mut ice, now) = (ice(), Instant::now());
        assert_eq!(ice.path(), None);
        ice.on_check(now, at(1), transaction(1), false);
        ice.on_check(now, at(2), transaction(2), false);
        assert_eq!(ice.path(), Some(at(1)));
        ice.on_check(now, at(2), transaction(3), true);
        ice.on_check(now, at(1), transaction(4), false);
        assert_eq!(ice.path(), Some(at(2)));
    }

    #[test]
    fn a_replayed_check_from_another_address_moves_nothing() {
        let (mut ice, now) = (ice(), Instant::now());
        ice.on_check(now, at(1), transaction(1), true);
        assert_eq!(ice.on_check(now, at(1), transaction(1), true), Check::Known);
        assert_eq!(
            ice.on_check(now, at(9), transaction(1), true),
            Check::Replayed
        );
        assert_eq!(ice.path(), Some(at(1)));
        assert_eq!(ice.last_check(at(9)), None);
    }

    #[test]
    fn consent_lasts_thirty_seconds_and_moves_to_a_path_that_still_has_it() {
        let (mut ice, now) = (ice(), Instant::now());
        ice.on_check(now, at(1), transaction(1), true);
        ice.on_check(now + Duration::from_secs(20), at(2), transaction(2), false);
        assert_eq!(ice.consent_deadline(), Some(now + CONSENT_TIMEOUT));
        assert!(ice.keep_consent(now + Duration::from_secs(29)));
        assert_eq!(ice.path(), Some(at(1)));
        assert!(ice.keep_consent(now + Duration::from_secs(30)));
        assert_eq!(ice.path(), Some(at(2)));
        assert!(!ice.keep_consent(now + Duration::from_secs(50)));
    }

    #[test]
    fn a_peer_whose_only_path_was_taken_is_given_up_as_well() {
        let (mut ice, now) = (ice(), Instant::now());
        ice.on_check(now, at(1), transaction(1), true);
        ice.forget(at(1));
        assert_eq!(ice.path(), None);
        assert_eq!(ice.consent_deadline(), Some(now + CONSENT_TIMEOUT));
        assert!(!ice.keep_consent(now + CONSENT_TIMEOUT));
    }

    #[test]
    fn addresses_are_capped_until_old_ones_run_out() {
        let (mut ice, now) = (ice(), Instant::now());
        for port in 1..=MAX_ADDRESSES as u16 {
            ice.on_check(now, at(port), transaction(port.into()), false);
        }
        assert_eq!(
            ice.on_check(now, at(99), transaction(99), true),
            Check::TooManyAddresses
        );
        assert_eq!(ice.path(), Some(at(1)));
        let later = now + CONSENT_TIMEOUT;
        assert_eq!(
            ice.on_check(later, at(99), transaction(100), true),
            Check::New {
                replaced: Some(at(2))
            }
        );
        assert_eq!(ice.path(), Some(at(99)));
    }

    #[test]
    fn a_username_must_name_both_sides_once_both_are_known() {
        let mut ice = ice();
        assert!(ice.is_for_us("ours:anyone"));
        assert!(!ice.is_for_us("ours"));
        assert!(!ice.is_for_us("other:anyone"));
        ice.remote_ufrag = Some("theirs".into());
        assert!(ice.is_for_us("ours:theirs"));
        assert!(!ice.is_for_us("ours:anyone"));
    }
}
