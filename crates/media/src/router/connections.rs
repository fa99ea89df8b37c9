//! Paths that are connections (RFC 6544): whose they are, and what follows when one is no more.

use crate::router::{Owner, Router};
use crate::transport::path::Path;
use std::time::Instant;

impl Router {
    /// Whether a genuine check came by this path, and whoever it was for still knows it.
    pub fn knows(&self, path: Path) -> bool {
        self.addresses.contains_key(&path)
    }

    /// A connection that is nobody's path any more: it is to be closed once what was sent by it is gone.
    pub fn poll_released(&mut self) -> Option<Path> {
        self.released.pop()
    }

    /// The connection that was this path is gone, whoever closed it: nothing goes there from now on. A transport that used
    /// it goes on by another path at once, or waits for its peer to come by one as long as consent would have lasted.
    pub fn handle_closed(&mut self, now: Instant, path: Path) {
        self.released.retain(|released| *released != path);
        let Some(Owner::One(index)) = self.addresses.remove(&path) else {
            return;
        };
        let jitter = self.rng.unit();
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.ice.on_closed(now, jitter, path) {
            transport.round_trip.forget();
        }
        self.wake(index, now);
    }
}
