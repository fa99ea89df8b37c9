//! How many message integrities are verified: each is an HMAC that whoever knows a user fragment can have us compute.
//!
//! What fails is counted, not what comes, so that an honest peer's checks cost it nothing. Failures are charged to where
//! they come from. A storm from few sources uses up what these have, and everybody else is as before. A storm from many
//! (UDP sources can be made up) uses up everybody's: then the lot decides whose check is looked at, within a rate that
//! costs a core about a hundredth of its time, and an honest peer, which repeats its check and needs to be lucky once,
//! gets in. From then on its address has a budget of its own.

use crate::transport::budget::Budget;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

/// Places in the table of sources; several sources may share one.
const PLACES: usize = 1024;

/// Failures of one source at once, and a second after that: a peer that uses an old password checks some pairs of
/// addresses a few times each.
const SOURCE_BURST: f64 = 16.0;
const SOURCE_RATE: f64 = 2.0;

/// Failures from an address at which the transport knows its peer.
const KNOWN_BURST: f64 = 32.0;
const KNOWN_RATE: f64 = 8.0;

/// Failures of all sources together that have a budget left, and of all that have none.
const ALL_BURST: f64 = 128.0;
const ALL_RATE: f64 = 8000.0;

/// Genuine checks of one peer, from addresses at which it is known: a thousand times what browsers send, since a check
/// that is known costs little, but a member may send copies of one without end.
const KNOWN_CHECK_BURST: f64 = 16_384.0;
const KNOWN_CHECK_RATE: f64 = 2048.0;

/// The same from new addresses, whose number is bounded: browsers send up to 50 a second.
const NEW_CHECK_BURST: f64 = 256.0;
const NEW_CHECK_RATE: f64 = 128.0;

/// The side of the router: who failed.
pub(crate) struct Failures {
    /// Has taken in the secret, so that nobody can choose sources that share a place with a victim's.
    hasher: DefaultHasher,
    places: Vec<Budget>,
    /// What sources with a budget have together.
    trusted: Budget,
    /// What those without have.
    suspect: Budget,
}

/// The side of a transport.
#[derive(Debug)]
pub(crate) struct PeerBudget {
    failures: Budget,
    from_known: Budget,
    from_new: Budget,
}

/// Where a datagram comes from: its IP address, and whether the transport knows its peer at that address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) ip: IpAddr,
    pub(crate) is_known: bool,
}

impl PeerBudget {
    pub(crate) fn new() -> Self {
        PeerBudget {
            failures: Budget::new(KNOWN_BURST, KNOWN_RATE),
            from_known: Budget::new(KNOWN_CHECK_BURST, KNOWN_CHECK_RATE),
            from_new: Budget::new(NEW_CHECK_BURST, NEW_CHECK_RATE),
        }
    }

    fn genuine(&mut self, is_known: bool) -> &mut Budget {
        match is_known {
            true => &mut self.from_known,
            false => &mut self.from_new,
        }
    }

    /// Whether one more genuine check would be within what a peer sends.
    pub(crate) fn has_check_left(&mut self, now: Instant, origin: Origin) -> bool {
        self.genuine(origin.is_known).is_left(now)
    }

    /// A check was genuine.
    pub(crate) fn on_genuine(&mut self, now: Instant, origin: Origin) {
        self.genuine(origin.is_known).take(now);
    }
}

impl Failures {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = DefaultHasher::new();
        secret.hash(&mut hasher);
        Failures {
            hasher,
            places: vec![Budget::new(SOURCE_BURST, SOURCE_RATE); PLACES],
            trusted: Budget::new(ALL_BURST, ALL_RATE),
            suspect: Budget::new(ALL_BURST, ALL_RATE),
        }
    }

    /// Whether a datagram may be verified. `lot` is uniform from 0 up and below 1.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        origin: Origin,
        peer: &mut PeerBudget,
        lot: f64,
    ) -> bool {
        let has_left = self.own(origin, peer).is_left(now);
        if has_left && origin.is_known {
            return true;
        }
        // By lot from half of it on, and not until all is used up: what comes first in each turn would be the storm's.
        lot < 2.0 * self.common(has_left).share_left(now)
    }

    /// A datagram that was admitted failed.
    pub(crate) fn on_failure(&mut self, now: Instant, origin: Origin, peer: &mut PeerBudget) {
        let had_left = self.own(origin, peer).take(now);
        if !(had_left && origin.is_known) {
            self.common(had_left).take(now);
        }
    }

    fn common(&mut self, has_left: bool) -> &mut Budget {
        match has_left {
            true => &mut self.trusted,
            false => &mut self.suspect,
        }
    }

    fn own<'a>(&'a mut self, origin: Origin, peer: &'a mut PeerBudget) -> &'a mut Budget {
        if origin.is_known {
            return &mut peer.failures;
        }
        let mut hasher = self.hasher.clone();
        match origin.ip {
            IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
            // Whoever has one address of IPv6 has the rest of its network, too.
            IpAddr::V6(ip) => hasher.write_u64((ip.to_bits() >> 64) as u64),
        }
        &mut self.places[hasher.finish() as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;
    use std::time::Duration;

    fn origin(number: u32) -> Origin {
        Origin {
            ip: IpAddr::V4(number.into()),
            is_known: false,
        }
    }

    /// A storm of 50,000 a second from so many sources. Returns how many were verified, and how many of the checks of an
    /// honest peer that comes last in each millisecond.
    fn storm(sources: u64, time: Duration) -> (u64, u64) {
        let mut failures = Failures::new(&[7; 32]);
        let mut peer = PeerBudget::new();
        let mut rng = Rng::new(1);
        let start = Instant::now();
        let (mut verified, mut honest) = (0, 0);
        for millisecond in 0..time.as_millis() as u64 {
            let now = start + Duration::from_millis(millisecond);
            for _ in 0..50 {
                let from = origin(rng.below(sources) as u32);
                if failures.admit(now, from, &mut peer, rng.unit()) {
                    verified += 1;
                    failures.on_failure(now, from, &mut peer);
                }
            }
            let lot = rng.unit();
            honest += u64::from(failures.admit(now, origin(u32::MAX), &mut peer, lot));
        }
        (verified, honest)
    }

    #[test]
    fn failures_from_few_sources_are_bounded_and_take_nothing_from_others() {
        let (verified, honest) = storm(1, Duration::from_secs(10));
        assert!(verified <= 90_000, "{verified} of 500000");
        assert_eq!(honest, 10_000);
    }

    #[test]
    fn failures_from_countless_sources_are_bounded_and_an_honest_check_in_ten_is_seen() {
        let (verified, honest) = storm(1 << 31, Duration::from_secs(10));
        assert!(verified <= 170_000, "{verified} of 500000");
        assert!(honest >= 1000, "{honest} of 10000");
    }

    #[test]
    fn an_address_at_which_the_peer_is_known_is_not_judged_by_its_source() {
        let mut failures = Failures::new(&[7; 32]);
        let mut peer = PeerBudget::new();
        let now = Instant::now();
        let stranger = origin(1);
        for _ in 0..1000 {
            failures.on_failure(now, stranger, &mut peer);
        }
        let known = Origin {
            is_known: true,
            ..stranger
        };
        assert!(!failures.admit(now, stranger, &mut peer, 0.0));
        assert!(failures.admit(now, known, &mut peer, 0.5));
    }
}
