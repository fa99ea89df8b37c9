//! ICE restarts in the router's tables: which user fragments lead to a transport.

use crate::ids::TransportId;
use crate::reasons::RefuseReason;
use crate::router::Router;
use crate::router::commands::are_credentials;
use crate::slab::TransportKey;
use std::time::Instant;

impl Router {
    /// Gives a transport new credentials beside those it has. It has two generations of them at most.
    pub(super) fn restart_ice(
        &mut self,
        id: TransportId,
        ufrag: String,
        pwd: String,
    ) -> Result<(), RefuseReason> {
        are_credentials(&ufrag, &pwd)?;
        let index = self.transport_index(id)?;
        if self.ufrags.contains_key(&ufrag) {
            return Err(RefuseReason::DuplicateUfrag);
        }
        let transport = self.transports.get_mut(index);
        let transport = transport.ok_or(RefuseReason::UnknownTransport)?;
        transport.ice.restart(ufrag.clone(), pwd);
        self.ufrags.insert(ufrag, index);
        self.paths.restarts += 1;
        self.forget_ended_ufrags(index);
        Ok(())
    }

    /// Ends the old credentials of a transport whose time is over.
    pub(super) fn serve_restart(&mut self, now: Instant, index: TransportKey) {
        if let Some(transport) = self.transports.get_mut(index) {
            transport.ice.end_overlap(now);
            self.forget_ended_ufrags(index);
        }
    }

    /// What is checked under credentials that ended is nobody's.
    pub(super) fn forget_ended_ufrags(&mut self, index: TransportKey) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        for ended in transport.ice.take_ended() {
            self.ufrags.remove(&ended);
        }
    }
}
