//! The links of a [`World`](super::World) and what is under way on them.

use parlour_media::num::Rng;
use parlour_media::{DropReason, Ssrc};
use std::net::SocketAddr;
use std::time::Instant;

/// A link in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a thousand datagrams, how many are lost, and how many come twice.
    pub loss: u64,
    /// See above.
    pub duplication: u64,
    /// Milliseconds that each takes at least, and how many more at most: what is more than the distance of two
    /// datagrams changes their order.
    pub delay: u64,
    /// See above.
    pub jitter: u64,
}

impl Weather {
    /// Nothing is lost or late.
    pub const FINE: Weather = Weather {
        loss: 0,
        duplication: 0,
        delay: 5,
        jitter: 0,
    };

    pub(crate) fn random(rng: &mut Rng) -> Weather {
        Weather {
            loss: [0, 10, 50, 150][rng.below(4) as usize],
            duplication: [0, 20][rng.below(2) as usize],
            delay: 1 + rng.below(40),
            jitter: [0, 3, 30][rng.below(3) as usize],
        }
    }
}

/// What a datagram to the router is, as its sender knows it.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Stun,
    Answer,
    /// A packet of a track, by its id.
    Media(usize, u64),
    /// A number of the track's retransmissions, and the id of what it repairs.
    Repair(usize, u64, u64),
    /// So many numbers of a subscription are asked for.
    Nack(Ssrc, usize),
    Rtcp,
}

impl What {
    pub(crate) fn is_stun(&self) -> bool {
        matches!(self, What::Stun | What::Answer)
    }

    /// Why it is dropped when it comes from somebody who is not there, or from where nobody is known to be.
    pub(crate) fn strange(&self) -> DropReason {
        match self {
            What::Stun => DropReason::StunUnknownUser,
            What::Answer => DropReason::StunUnasked,
            _ => DropReason::UnknownSource,
        }
    }
}

pub(crate) enum Way {
    Up(SocketAddr, What),
    /// To an address, and which number of which subscription it is.
    Down(SocketAddr, Option<(Ssrc, u64)>),
}

pub(crate) struct InFlight {
    pub(crate) at: (Instant, u64),
    pub(crate) who: usize,
    pub(crate) way: Way,
    pub(crate) datagram: Vec<u8>,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for InFlight {}
impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
