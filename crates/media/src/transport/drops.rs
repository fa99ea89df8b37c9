//! What is dropped is counted twice: for all, and for the transport that it came from or would have gone to.

use crate::reasons::{DropReason, Drops};
use crate::transport::Transport;

impl Drops {
    /// Count several for all, here, and for their transport, if it is still there.
    pub(crate) fn count_for(
        &mut self,
        transport: Option<&mut Transport>,
        reason: DropReason,
        count: u64,
    ) {
        self.count_many(reason, count);
        if let Some(transport) = transport {
            transport.drops.count_many(reason, count);
        }
    }
}
