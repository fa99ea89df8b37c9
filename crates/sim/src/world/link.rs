//! The links of a [`World`](super::World) and what is under way on them.

use crate::bottleneck::{Bottleneck, Conditions};
use crate::world::World;
use parlour_media::num::Rng;
use parlour_media::{DropReason, Ssrc};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// A link that carries so much and no more.
pub(crate) type Narrow = Bottleneck<(Way, Vec<u8>)>;

/// Bits a second of narrow links; the last one is narrow for nobody.
const RATES: [u64; 6] = [150_000, 300_000, 600_000, 1_200_000, 3_000_000, WIDE];
const WIDE: u64 = 1_000_000_000;

/// A link with a queue of half a second, or of some packets when that is more.
pub(crate) fn narrow(rng: &mut Rng) -> Narrow {
    let rate = RATES[rng.below(RATES.len() as u64) as usize];
    let conditions = Conditions {
        delay: Duration::ZERO,
        queue: (rate / 16).max(20_000) as usize,
        ..Conditions::steady(rate)
    };
    Bottleneck::new(conditions, rng.next_u64())
}

impl World {
    /// A datagram goes through the narrowest place of its way; none: it waits there, or found no room.
    pub(super) fn narrow(
        &mut self,
        who: usize,
        way: Way,
        datagram: Vec<u8>,
    ) -> Option<(Way, Vec<u8>)> {
        let time = self.now - self.started;
        let narrow = self.participants[who].narrow.as_mut();
        let (Way::Down(_, which), Some(narrow)) = (&way, narrow) else {
            return Some((way, datagram));
        };
        let (which, before) = (*which, narrow.overflowed);
        narrow.send(time, datagram.len(), (way, datagram));
        if narrow.overflowed > before {
            self.count("lost in a full queue", 1);
            if let Some(which) = which {
                self.lose(which);
            }
        }
        None
    }

    /// What has left the narrowest places by now travels on.
    pub(super) fn leave_narrow(&mut self) {
        let time = self.now - self.started;
        for who in 0..self.participants.len() {
            let weather = self.participants[who].down;
            let narrow = |world: &mut World| world.participants[who].narrow.as_mut()?.receive(time);
            while let Some(arrival) = narrow(self) {
                let (way, datagram) = arrival.packet;
                self.travel(who, weather, way, datagram);
            }
        }
    }

    /// How narrow somebody's way is changes, if it is at all.
    pub(super) fn change_narrow(&mut self, who: usize, is_wide: bool) {
        let other = narrow(&mut self.rng);
        if let Some(narrow) = &mut self.participants[who].narrow {
            narrow.conditions = other.conditions;
            if is_wide {
                narrow.conditions = Conditions {
                    delay: Duration::ZERO,
                    ..Conditions::steady(WIDE)
                };
            }
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
    /// A track's clock is told: under which SSRC, and what it showed at the beginning.
    Clock(usize, Ssrc, u32),
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
