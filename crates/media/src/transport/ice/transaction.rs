//! Transaction identifiers of our checks. A peer that could guess one could answer from an address that it does not
//! have, so they come from a key and not from the generator whose numbers are seen on the wire.

use aws_lc_rs::hmac;

/// Makes identifiers from which the transport can be told that asked.
pub(crate) struct TransactionIds {
    key: hmac::Key,
    /// Hides how many transports there are.
    mask: u32,
    made: u64,
}

impl TransactionIds {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mask = hmac::sign(&key, b"mask");
        let mask = mask.as_ref().first_chunk().copied().unwrap_or_default();
        TransactionIds {
            key,
            mask: u32::from_be_bytes(mask),
            made: 0,
        }
    }

    /// A new identifier for the transport of this index: 64 bits that nobody can guess and the hidden index.
    pub(crate) fn make(&mut self, index: usize) -> [u8; 12] {
        self.made += 1;
        let tag = hmac::sign(&self.key, &self.made.to_be_bytes());
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&tag.as_ref()[..8]);
        transaction[8..].copy_from_slice(&(index as u32 ^ self.mask).to_be_bytes());
        transaction
    }

    /// The index of the transport that asked, if it was one of ours.
    pub(crate) fn index(&self, transaction: [u8; 12]) -> usize {
        let [.., a, b, c, d] = transaction;
        (u32::from_be_bytes([a, b, c, d]) ^ self.mask) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionIds;
    use std::collections::HashSet;

    #[test]
    fn identifiers_never_repeat_and_lead_back_to_the_transport() {
        let mut ids = TransactionIds::new(&[7; 32]);
        let mut seen = HashSet::new();
        for index in 0..1000 {
            let transaction = ids.make(index);
            assert_eq!(ids.index(transaction), index);
            assert!(seen.insert(transaction));
        }
    }

    #[test]
    fn another_secret_makes_other_identifiers() {
        let (mut one, mut other) = (TransactionIds::new(&[1; 32]), TransactionIds::new(&[2; 32]));
        assert_ne!(one.make(0)[..8], other.make(0)[..8]);
    }
}
