//! What one turn of a router may do of the work on handshakes, and who waits for the next.

use crate::ids::TransportId;
use std::collections::VecDeque;
use std::time::Instant;

/// Answers and proofs of handshakes that one turn works on: about a millisecond at worst. A turn ends with
/// [`Router::handle_timeout`](super::Router::handle_timeout).
pub const PER_TURN: usize = 4;

/// Answers and proofs that wait, of all transports: two for each of a thousand peers that join at once, 3 MB.
pub const MAX_WAITING: usize = 2048;

/// Of these, for one transport.
pub const MAX_WAITING_OF_ONE: usize = 16;

/// What a turn may still do, and who waits for the next.
pub(crate) struct Handshakes {
    /// Transports with something waiting, each once, the next one first.
    pub(super) order: VecDeque<TransportId>,
    /// Answers and proofs that wait.
    pub(crate) waiting: usize,
    /// Since when there is something to do for the next turn.
    pub(super) since: Option<Instant>,
    pub(super) left: usize,
    /// Answers and proofs worked on so far.
    pub(crate) worked: u64,
}

impl Handshakes {
    pub(crate) fn new() -> Self {
        Handshakes {
            order: VecDeque::new(),
            waiting: 0,
            since: None,
            left: PER_TURN,
            worked: 0,
        }
    }

    /// When the next turn is wanted; none while nothing waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn take_turn(&mut self) -> bool {
        let may = self.left > 0;
        if may {
            self.left -= 1;
            self.worked += 1;
        }
        may
    }
}
