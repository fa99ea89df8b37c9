//! What has been sent under a transport's key. Two packets under one index (SSRC, rollover counter and sequence
//! number; RFC 3711 §3.3.1) would be encrypted with the same keystream: whoever holds both reads the difference of
//! the two, and with AES-GCM forges more (RFC 7714 §8.1). So every RTP packet of ours passes here right before it is
//! sealed, whoever numbered it, and an index is given once.

use crate::reasons::DropReason;
use crate::reasons::RefuseReason;
use crate::wire::codecs::Kind;
use crate::wire::num::{ExtSeqNo, SeqNo, Ssrc, WINDOW};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// Separate ranges of spent SSRCs that are kept apart. The control plane counts its SSRCs up, so that they make few.
const MAX_SPENT_RANGES: usize = 4096;

/// Packets of a stream without RTX whose content is known again: of pictures as many as a publisher's cache holds, of sound
/// all that is still of use to anybody, each of which costs 24 bytes.
const REMEMBERED: usize = 512;
const REMEMBERED_SOUND: usize = 64;

/// One above the largest index: a rollover counter has 32 bits and a sequence number 16 (RFC 3711 §3.3.1).
const INDEX_END: u64 = 1 << 48;

/// The streams that leave under one key, and what was used of it.
pub(crate) struct OutgoingStreams {
    open: HashMap<Ssrc, Used, BuildHasherDefault<SsrcHasher>>,
    spent: Spent,
    /// Secret, so that nobody can make two payloads of one digest.
    digest: RandomState,
}

impl OutgoingStreams {
    pub(crate) fn new() -> Self {
        OutgoingStreams {
            open: HashMap::default(),
            spent: Spent::default(),
            digest: RandomState::new(),
        }
    }

    /// Lets a stream and its retransmissions begin. Their SSRCs are spent from here on: a second stream would count
    /// its packets like the first.
    pub(crate) fn open(
        &mut self,
        kind: Kind,
        ssrc: Ssrc,
        rtx: Option<Ssrc>,
    ) -> Result<(), RefuseReason> {
        let spent = |ssrc: Ssrc| self.spent.contains(ssrc);
        if spent(ssrc) || rtx.is_some_and(spent) || rtx == Some(ssrc) {
            return Err(RefuseReason::DuplicateSsrc);
        }
        if self.spent.0.len() + 2 > MAX_SPENT_RANGES {
            return Err(RefuseReason::TooManySsrcs);
        }
        for ssrc in [Some(ssrc), rtx].into_iter().flatten() {
            self.spent.insert(ssrc);
            self.open.insert(ssrc, Used::new(kind));
        }
        Ok(())
    }

    /// Ends a stream. Nothing can be sent under its SSRC any more.
    pub(crate) fn close(&mut self, ssrc: Ssrc) {
        self.open.remove(&ssrc);
    }

    /// The transport-wide number that the packet under this index was sent with, if it may be sent again.
    pub(crate) fn number_of(&self, ssrc: Ssrc, index: ExtSeqNo) -> Option<SeqNo> {
        let used = self.open.get(&ssrc)?;
        let content = used.contents.get(index.0 as usize % used.remembered)?;
        (content.index == index.0)
            .then_some(content.transport_wide)
            .flatten()
    }

    /// Uses an index, or says that it must not be used.
    ///
    /// `repeatable` is the whole plain packet where the stream has no RTX, so that a lost packet is sent again under
    /// its own number (RFC 4585 §6.2.1). Then the very same bytes pass again: they become the very same datagram. With
    /// it comes the transport-wide number in it.
    pub(crate) fn use_index(
        &mut self,
        ssrc: Ssrc,
        index: ExtSeqNo,
        repeatable: Option<(&[u8], Option<SeqNo>)>,
    ) -> Result<(), DropReason> {
        let used = self.open.get_mut(&ssrc).ok_or(DropReason::IndexUsed)?;
        let fresh = used.mark(index.0);
        let Some((packet, transport_wide)) = repeatable else {
            return if fresh {
                Ok(())
            } else {
                Err(DropReason::IndexUsed)
            };
        };
        if used.contents.is_empty() {
            used.contents.resize(used.remembered, Content::NONE);
        }
        let slot = &mut used.contents[index.0 as usize % used.remembered];
        let content = Content {
            index: index.0,
            digest: self.digest.hash_one(packet),
            transport_wide,
        };
        if fresh && (slot.index == INDEX_END || slot.index < index.0) {
            *slot = content;
        }
        // A straggler that found its slot taken by a newer packet is sent this once.
        if fresh || *slot == content {
            Ok(())
        } else {
            Err(DropReason::IndexUsed)
        }
    }
}

/// The indices of one stream: everything older than the window counts as used.
struct Used {
    /// One above the newest.
    end: u64,
    /// Bit n modulo the window: index n was used.
    window: [u64; (WINDOW / 64) as usize],
    /// What may be sent again, in the slot of its index.
    contents: Vec<Content>,
    /// How many of those at most.
    remembered: usize,
}

const _: () = assert!(size_of::<Content>() == 24, "REMEMBERED says what one costs");

/// A packet that may be sent again under its index.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content {
    index: u64,
    digest: u64,
    /// Its transport-wide number, if it has one.
    transport_wide: Option<SeqNo>,
}

impl Content {
    const NONE: Content = Content {
        index: INDEX_END,
        digest: 0,
        transport_wide: None,
    };
}

impl Used {
    fn new(kind: Kind) -> Self {
        Used {
            end: 0,
            window: [0; (WINDOW / 64) as usize],
            contents: Vec::new(),
            remembered: match kind {
                Kind::Audio => REMEMBERED_SOUND,
                Kind::Video => REMEMBERED,
            },
        }
    }

    /// Marks an index; false when it was used, or may have been.
    fn mark(&mut self, index: u64) -> bool {
        if index >= INDEX_END || self.end.saturating_sub(index) > WINDOW {
            return false;
        }
        if index >= self.end {
            if index - self.end >= WINDOW {
                self.window.fill(0);
            } else {
                (self.end..index).for_each(|skipped| self.set(skipped, false));
            }
            self.end = index + 1;
            self.set(index, true);
            return true;
        }
        let fresh = self.window[(index % WINDOW / 64) as usize] & (1 << (index % 64)) == 0;
        self.set(index, true);
        fresh
    }

    fn set(&mut self, index: u64, used: bool) {
        let word = &mut self.window[(index % WINDOW / 64) as usize];
        let bit = 1 << (index % 64);
        *word = if used { *word | bit } else { *word & !bit };
    }
}

/// SSRCs as inclusive ranges, in order, none touching the next.
#[derive(Default)]
struct Spent(Vec<(u32, u32)>);

impl Spent {
    fn contains(&self, Ssrc(ssrc): Ssrc) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= ssrc);
        after > 0 && self.0[after - 1].1 >= ssrc
    }

    fn insert(&mut self, Ssrc(ssrc): Ssrc) {
        let at = self.0.partition_point(|(first, _)| *first <= ssrc);
        let joins_before = at > 0 && self.0[at - 1].1.checked_add(1) == Some(ssrc);
        let joins_after = self.0.get(at).is_some_and(|next| ssrc + 1 == next.0);
        match (joins_before, joins_after) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = ssrc,
            (false, true) => self.0[at].0 = ssrc,
            (false, false) => self.0.insert(at, (ssrc, ssrc)),
        }
    }
}

/// SSRCs are ours and unrelated to what anybody sends, so one multiplication spreads them well enough.
#[derive(Default)]
struct SsrcHasher(u64);

impl Hasher for SsrcHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;
    use std::collections::HashSet;

    const ONE: Ssrc = Ssrc(1);

    fn streams() -> OutgoingStreams {
        let mut streams = OutgoingStreams::new();
        streams.open(Kind::Video, ONE, Some(Ssrc(2))).unwrap();
        streams
    }

    #[test]
    fn an_index_is_given_once_whatever_the_order_and_over_wraps() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let (mut streams, mut given) = (streams(), HashSet::new());
            let mut newest = 65_000u64;
            for _ in 0..20_000 {
                let back = [3, 40, 1500, 70_000][rng.below(4) as usize];
                let ahead = if rng.below(500) == 0 { 5000 } else { 3 };
                let index = (newest + rng.below(ahead)).saturating_sub(rng.below(back));
                let taken = streams.use_index(ONE, ExtSeqNo(index), None);
                if newest.saturating_sub(index) < WINDOW - 1 {
                    assert_eq!(taken.is_ok(), !given.contains(&index), "seed {seed}");
                }
                if taken.is_ok() {
                    assert!(given.insert(index), "seed {seed}: {index} was given twice");
                    newest = newest.max(index);
                }
            }
            assert!(given.len() > 2000, "{}", given.len());
        }
    }

    #[test]
    fn nothing_is_sent_beyond_the_last_index_or_under_an_ssrc_that_is_not_open() {
        let mut streams = streams();
        let mut taken = |ssrc, index| streams.use_index(ssrc, ExtSeqNo(index), None);
        assert_eq!(taken(ONE, INDEX_END), Err(DropReason::IndexUsed));
        assert_eq!(taken(ONE, INDEX_END - 1), Ok(()));
        assert_eq!(taken(Ssrc(3), 5), Err(DropReason::IndexUsed));
        assert_eq!(taken(Ssrc(2), 5), Ok(()));
        streams.close(Ssrc(2));
        let closed = streams.use_index(Ssrc(2), ExtSeqNo(6), None);
        assert_eq!(closed, Err(DropReason::IndexUsed));
    }

    #[test]
    fn only_the_very_same_bytes_are_sent_again_under_their_number() {
        let mut streams = streams();
        let mut send =
            |index, packet| streams.use_index(ONE, ExtSeqNo(index), Some((packet, None)));
        assert_eq!(send(70_000, b"one"), Ok(()));
        assert_eq!(send(70_002, b"three"), Ok(()));
        assert_eq!(send(70_000, b"one"), Ok(()));
        assert_eq!(send(70_000, b"One"), Err(DropReason::IndexUsed));
        assert_eq!(send(70_000, b"one"), Ok(()));
        assert_eq!(send(70_001, b"two"), Ok(()), "a straggler");
        assert_eq!(send(70_001, b"2"), Err(DropReason::IndexUsed));
        // What its slot has forgotten is not sent again, whatever it is.
        assert_eq!(send(70_000 + REMEMBERED as u64, b"new"), Ok(()));
        assert_eq!(send(70_000, b"one"), Err(DropReason::IndexUsed));
        assert_eq!(send(69_900 + REMEMBERED as u64, b"x"), Ok(()));
        assert_eq!(send(69_900, b"late"), Ok(()), "once");
        assert_eq!(send(69_900, b"late"), Err(DropReason::IndexUsed));
    }

    #[test]
    fn an_ssrc_is_spent_for_good_and_the_memory_of_it_is_bounded() {
        let mut streams = OutgoingStreams::new();
        let first = u32::MAX - 5;
        for number in 0..100_000u32 {
            let ssrc = Ssrc(first.wrapping_add(2 * number));
            let rtx = Ssrc(first.wrapping_add(2 * number + 1));
            assert_eq!(
                streams.open(Kind::Video, ssrc, Some(rtx)),
                Ok(()),
                "{number}"
            );
            streams.close(ssrc);
            streams.close(rtx);
        }
        assert!(streams.spent.0.len() <= 2 && streams.open.is_empty());
        for ssrc in [first, u32::MAX, 0, 1, 150_000] {
            assert_eq!(
                streams.open(Kind::Video, Ssrc(ssrc), None),
                Err(RefuseReason::DuplicateSsrc)
            );
        }
        // SSRCs that leave gaps cost memory each; one day there is no more of it.
        let mut rng = Rng::new(1);
        let mut refused = 0;
        for _ in 0..10_000 {
            let opened = streams.open(Kind::Video, Ssrc(rng.next_u32()), None);
            refused += u32::from(opened == Err(RefuseReason::TooManySsrcs));
        }
        assert!(refused > 5000 && streams.spent.0.len() <= MAX_SPENT_RANGES);
    }

    #[test]
    fn ranges_join_on_both_sides() {
        let mut spent = Spent::default();
        for ssrc in [5, 7, 6, 0, u32::MAX, u32::MAX - 1, 1] {
            assert!(!spent.contains(Ssrc(ssrc)));
            spent.insert(Ssrc(ssrc));
            assert!(spent.contains(Ssrc(ssrc)));
        }
        assert_eq!(spent.0, [(0, 1), (5, 7), (u32::MAX - 1, u32::MAX)]);
        assert!(!spent.contains(Ssrc(2)) && !spent.contains(Ssrc(8)));
    }
}
