//! What may be sent to an address before it is proven. Its owner may be a victim whom somebody else named, so that we
//! never send more there than whoever names it could send by himself.

/// Answers and checks of ours together stay within six fifths of what came.
const CHECKS: (u64, u64) = (6, 5);

/// All of it, with a handshake, may be three times what came, as QUIC has it (RFC 9000 §8.1): a ClientHello is much
/// smaller than what answers it, and a peer that does not answer checks has no other way to prove itself.
const ALL: (u64, u64) = (3, 1);

/// Bytes to and from one address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AddressBudget {
    received: u64,
    sent_stun: u64,
    sent_dtls: u64,
}

impl AddressBudget {
    pub(super) fn on_received(&mut self, len: usize) {
        self.received += len as u64;
    }

    /// An answer to a check went there, or a check.
    pub(super) fn on_sent_stun(&mut self, len: usize) {
        self.sent_stun += len as u64;
    }

    /// Part of a handshake went there.
    pub(super) fn on_sent_dtls(&mut self, len: usize) {
        self.sent_dtls += len as u64;
    }

    /// Whether a check of ours of `len` bytes was earned. What a handshake took does not count: the check is what sets
    /// the rest of the handshake free.
    pub(super) fn allows_check(&self, len: usize) -> bool {
        self.allows(self.sent_stun + len as u64, CHECKS)
    }

    /// Whether `len` bytes of a handshake were earned.
    pub(super) fn allows_dtls(&self, len: usize) -> bool {
        self.allows(self.sent_stun + self.sent_dtls + len as u64, ALL)
    }

    fn allows(&self, sent: u64, (times, per): (u64, u64)) -> bool {
        sent * per <= self.received * times
    }
}
