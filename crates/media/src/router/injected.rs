//! Keys without a handshake, and what was dropped without a snapshot: for simulations, which measure and judge the
//! router datagram by datagram. Only with the feature `sim`, which nothing that ships has (`scripts/house-rules`).

use crate::ids::TransportId;
use crate::reasons::Drops;
use crate::router::Router;
use crate::transport::srtp::{SrtpError, SrtpKeys};
use std::time::Instant;

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

    /// What was dropped so far, and why.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }
}
