//! Keys without a handshake, what was dropped without a snapshot, what the tables take: for simulations, which measure
//! and judge the router datagram by datagram. Only with the feature `sim`, which nothing that ships has (`scripts/house-rules`).

use crate::congestion::Known;
use crate::egress::consumer::Consumer;
use crate::ids::TransportId;
use crate::reasons::Drops;
use crate::router::{Decision, Router, Standing};
use crate::transport::srtp::{SrtpError, SrtpKeys};
use std::time::Instant;

/// What a router's tables take: their places are used again and never given back, so there are as many of each as
/// there ever were things of it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Places for transports.
    pub transports: usize,
    /// Places for tracks.
    pub tracks: usize,
    /// Places for consumers.
    pub consumers: usize,
    /// What all the places take.
    pub bytes: usize,
}

impl Router {
    /// Gives a transport the keys that a handshake would have ended with; its address is proven by checks as ever.
    /// Returns whether there is such a transport.
    pub fn inject_keys(
        &mut self,
        now: Instant,
        transport: TransportId,
        keys: &SrtpKeys,
    ) -> Result<bool, SrtpError> {
        let Some(&index) = self.transport_ids.get(&transport) else {
            return Ok(false);
        };
        let Some(known) = self.transports.get_mut(index) else {
            return Ok(false);
        };
        let profile = known.install_keys(keys)?;
        self.on_connected(now, index, profile);
        Ok(true)
    }

    /// Where each subscription stands.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.consumers.values().map(Consumer::standing)
    }

    /// The oldest decision not yet taken, and where its subscription stood before it.
    pub fn poll_decision(&mut self) -> Option<(Standing, Decision)> {
        self.decisions.pop_front()
    }

    /// What is held back for on the path to a peer; none: nothing is.
    pub fn known_path(&self, now: Instant, transport: TransportId) -> Option<Known> {
        self.known(now, *self.transport_ids.get(&transport)?)
    }

    /// What was dropped so far, and why.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Gives back all the room that tables and lists keep for what may come, but for the places of what was there. Of a
    /// router that has nothing else, the rest of its memory is that of a new one.
    pub fn shrink_tables(&mut self) -> Tables {
        self.transport_ids.shrink_to_fit();
        self.track_ids.shrink_to_fit();
        self.consumer_ids.shrink_to_fit();
        self.ufrags.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.events.shrink_to_fit();
        self.decisions.shrink_to_fit();
        self.handshakes.order.shrink_to_fit();
        self.hurried.shrink_to_fit();
        self.ripe.shrink_to_fit();
        self.fed.shrink_to_fit();
        // What these list is of no use after the turn.
        (self.receivers, self.receiving, self.claims, self.numbers) = Default::default();
        let (transports, of_transports) = self.transports.shrink();
        let (tracks, of_tracks) = self.tracks.shrink();
        let (consumers, of_consumers) = self.consumers.shrink();
        Tables {
            transports,
            tracks,
            consumers,
            bytes: of_transports + of_tracks + of_consumers + self.timers.shrink(),
        }
    }
}

impl Consumer {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            consumer: self.spec.consumer,
            source: self.sources.current(),
            cursor: self.cursor,
            next: self.next.map(|next| (next.place, next.cursor)),
            starved: self.starved,
            allowed: self.sources.allowed(),
            layers: self.temporal.allowed,
        }
    }
}
