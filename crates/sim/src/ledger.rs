//! What was sealed under one key: the exact set of indices with the packet of each. A receiver's own replay window
//! would take a second packet under an old index for a straggler; this never forgets.

use parlour_media::num::Ssrc;
use parlour_media::rtp::{RtpHeader, is_rtcp};
use parlour_media::srtp::SrtpReceiver;
use std::collections::HashMap;

/// Everything a sender has sealed, as its receiver sees it.
pub struct Ledger {
    receiver: SrtpReceiver,
    newest: HashMap<Ssrc, u64>,
    sealed: HashMap<(Ssrc, u64), Vec<u8>>,
    rtcp: HashMap<u32, Vec<u8>>,
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
            rtcp: HashMap::new(),
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
            let before = self.rtcp.insert(index, datagram.to_vec());
            assert_eq!(before, None, "SRTCP index {index:x} was used twice");
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
