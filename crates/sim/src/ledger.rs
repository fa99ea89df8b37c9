//! What was sealed under one key: the exact set of indices with the packet of each. A receiver's own replay window
//! would take a second packet under an old index for a straggler; this never forgets.

use parlour_media::num::Ssrc;
use parlour_media::rtp::{RtpHeader, is_rtcp};
use parlour_media::srtp::SrtpReceiver;
use std::collections::{HashMap, HashSet};

/// Everything a sender has sealed, as its receiver sees it.
pub struct Ledger {
    receiver: SrtpReceiver,
    newest: HashMap<Ssrc, u64>,
    sealed: HashMap<(Ssrc, u64), Vec<u8>>,
    rtcp: HashSet<u32>,
    /// RTP packets that came more than once, bit for bit.
    pub repeated: usize,
}

impl Ledger {
    /// An empty one; `receiver` holds the sender's keys.
    pub fn new(receiver: SrtpReceiver) -> Ledger {
        Ledger {
            receiver,
            newest: HashMap::new(),
            sealed: HashMap::new(),
            rtcp: HashSet::new(),
            repeated: 0,
        }
    }

    /// Enters an SRTP or SRTCP datagram (AES-GCM: the index of SRTCP comes last, RFC 7714 §9.3). Panics when its index
    /// was used for other bytes, or when no rollover counter near the newest one opens it. Returns the plain packet;
    /// None when it came before.
    pub fn enter(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut plain = datagram.to_vec();
        if is_rtcp(datagram) {
            let word = datagram.last_chunk::<4>().expect("the SRTCP index");
            let index = u32::from_be_bytes(*word);
            let is_first = self.rtcp.insert(index);
            assert!(is_first, "SRTCP index {index:x} was used twice");
            let opened = self.receiver.unprotect_rtcp(&mut plain);
            plain.truncate(opened.expect("SRTCP that was sealed for this receiver"));
            return Some(plain);
        }
        let header = RtpHeader::parse(datagram).expect("an RTP header");
        let (ssrc, seq) = (header.ssrc, header.seq);
        let newest = self.newest.get(&ssrc).copied().unwrap_or_default();
        let near = newest >> 16;
        let (roc, len) = [Some(near), near.checked_add(1), near.checked_sub(1)]
            .into_iter()
            .flatten()
            .find_map(|roc| {
                plain.copy_from_slice(datagram);
                let opened = self.receiver.unprotect_rtp_at(&mut plain, roc as u32);
                Some((roc, opened.ok()?))
            })
            .unwrap_or_else(|| panic!("{ssrc:?} {seq:?} does not open near {newest}"));
        let index = roc << 16 | u64::from(seq.0);
        plain.truncate(len);
        self.newest.insert(ssrc, newest.max(index));
        // Sealing is deterministic: the same datagram under the same index is the same packet.
        match self.sealed.insert((ssrc, index), datagram.to_vec()) {
            None => Some(plain),
            Some(before) => {
                assert!(
                    before == datagram,
                    "two packets were sealed under {ssrc:?}, rollover counter {}, {seq:?}",
                    index >> 16
                );
                self.repeated += 1;
                None
            }
        }
    }

    /// How many different packets were sealed under an SSRC.
    pub fn count(&self, ssrc: Ssrc) -> usize {
        self.sealed.keys().filter(|(of, _)| *of == ssrc).count()
    }

    /// The newest index used under an SSRC, and the oldest.
    pub fn span(&self, ssrc: Ssrc) -> Option<(u64, u64)> {
        let of = self.sealed.keys().filter(|(of, _)| *of == ssrc);
        let indices: Vec<u64> = of.map(|(_, index)| *index).collect();
        Some((*indices.iter().max()?, *indices.iter().min()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::rtp_packet;
    use parlour_media::SrtpProfile;
    use parlour_media::srtp::{SRTP_OVERHEAD, SrtpKeys, SrtpSender};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn ends() -> (SrtpSender, Ledger) {
        let keys = SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &[7; 88]).expect("keys");
        let sender = SrtpSender::new(&keys.server).expect("a sender");
        let receiver = SrtpReceiver::new(&keys.server).expect("a receiver");
        (sender, Ledger::new(receiver))
    }

    fn seal(sender: &SrtpSender, plain: &[u8], roc: u32) -> Vec<u8> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + SRTP_OVERHEAD, 0);
        let len = sender.protect_rtp(&mut packet, plain.len(), roc);
        packet.truncate(len.expect("it is sealed"));
        packet
    }

    fn refuses(ledger: &mut Ledger, datagram: &[u8]) -> String {
        let entered = catch_unwind(AssertUnwindSafe(|| ledger.enter(datagram)));
        let why = entered.expect_err("it is refused");
        why.downcast_ref::<String>().expect("a sentence").clone()
    }

    #[test]
    fn a_second_packet_under_one_index_is_told_from_a_repetition_and_from_the_next_cycle() {
        let (sender, mut ledger) = ends();
        let plain = |payload: &[u8]| rtp_packet(96, 500, 9, 1, payload);
        let first = seal(&sender, &plain(b"one"), 0);
        assert_eq!(ledger.enter(&first), Some(plain(b"one")));
        assert_eq!((ledger.enter(&first), ledger.repeated), (None, 1));
        let next_cycle = seal(&sender, &plain(b"two"), 1);
        assert_eq!(ledger.enter(&next_cycle), Some(plain(b"two")));
        let second = seal(&sender, &plain(b"two"), 0);
        assert_eq!(
            refuses(&mut ledger, &second),
            "two packets were sealed under Ssrc(1), rollover counter 0, SeqNo(500)"
        );
        let far = seal(&sender, &plain(b"far"), 3);
        assert!(refuses(&mut ledger, &far).contains("does not open near"));
    }

    #[test]
    fn a_second_report_under_one_index_is_found() {
        let (mut sender, mut ledger) = ends();
        let (mut again, _) = ends();
        let seal = |sender: &mut SrtpSender, last: u8| {
            let mut packet = [&[0x80, 201, 0, 1, 0, 0, 0, last][..], &[0; SRTP_OVERHEAD]].concat();
            let len = sender.protect_rtcp(&mut packet, 8).expect("it is sealed");
            packet.truncate(len);
            packet
        };
        assert!(ledger.enter(&seal(&mut sender, 1)).is_some());
        assert!(ledger.enter(&seal(&mut sender, 1)).is_some());
        let same_index = seal(&mut again, 2);
        assert!(refuses(&mut ledger, &same_index).contains("was used twice"));
    }
}
