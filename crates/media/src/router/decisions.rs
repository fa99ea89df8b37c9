//! What a router decides of a subscription by what it measured: which of its sources it gets, and whether its path has room
//! for it. A simulation follows these and judges all else; each is told with where the subscription stood before it.
//! Nothing that ships keeps them.

use crate::router::Router;
use crate::slab::ConsumerKey;

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing of it is sent for want of room.
    Starves,
    /// Something of it is sent again.
    Resumes,
    /// What waits is given up.
    GivesUp,
    /// The source in that place is to follow.
    Follows(usize),
    /// The one that was to follow does not.
    Stays,
    /// The one that was to follow is what it gets.
    Switches,
    /// The source that it gets is gone.
    Loses,
    /// There is room for the temporal layers up to that one.
    Layers(u8),
}

/// Where a subscription stands.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which subscription.
    pub consumer: crate::ids::ConsumerId,
    /// The place of the source that it gets, and the arrival of that which is next.
    pub source: usize,
    /// See above.
    pub cursor: u64,
    /// The same of the one that is to follow.
    pub next: Option<(usize, u64)>,
    /// Whether nothing of it is sent for want of room.
    pub starved: bool,
    /// The place of the biggest source that there is room for.
    pub allowed: usize,
    /// The highest temporal layer that there is room for.
    pub layers: u8,
}

impl Router {
    /// Notes what is about to be decided.
    #[cfg(feature = "sim")]
    pub(super) fn note(&mut self, index: ConsumerKey, decision: Decision) {
        if let Some(consumer) = self.consumers.get(index) {
            let before = consumer.standing();
            self.decisions.push_back((before, decision));
        }
    }

    /// Notes nothing.
    #[cfg(not(feature = "sim"))]
    pub(super) fn note(&mut self, _index: ConsumerKey, _decision: Decision) {}
}
