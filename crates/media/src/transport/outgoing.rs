//! What has been sent under a transport's key. Two packets under one index (SSRC, rollover counter and sequence
//! number; RFC 3711 §3.3.1) would be encrypted with the same keystream: whoever holds both reads the difference of
//! the two, and with AES-GCM forges more (RFC 7714 §8.1). So every RTP packet of ours passes here right before it is
//! sealed, whoever numbered it, and an index is given once.

use crate::reasons::DropReason;
use crate::reasons::RefuseReason;
use crate::wire::codecs::Kind;
use crate::wire::num::{ExtSeqNo, SeqNo, Ssrc, WINDOW};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Separate ranges of spent SSRCs that are kept apart. The control plane counts its SSRCs up, so that they make few.
const MAX_SPENT_RANGES: usize = 4096;

/// Packets of a stream without RTX whose content is known again: of pictures as many as a publisher's cache holds, of sound
/// all that is still of use to anybody, each of which costs 16 bytes.
const REMEMBERED: usize = 512;
const REMEMBERED_SOUND: usize = 64;

/// One above the largest index: a rollover counter has 32 bits and a sequence number 16 (RFC 3711 §3.3.1). The very last
/// stands for none.
const INDEX_END: u64 = (1 << 48) - 1;

/// The streams that leave under one key, and what was used of it.
pub(crate) struct OutgoingStreams {
    open: HashMap<Ssrc, Used, BuildHasherDefault<SsrcHasher>>,
    spent: Spent,
}

impl OutgoingStreams {
    pub(crate) fn new() -> Self {
        OutgoingStreams {
            open: HashMap::default(),
            spent: Spent::default(),
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

    /// Uses an index, or says that it must not be used. To be called before anything is sealed under it.
    ///
    /// `repeatable`: the stream has no RTX, so that a lost packet is sent again under its own number (RFC 4585 §6.2.1).
    /// Then an index passes again, to become the very same datagram: [`OutgoingStreams::confirm`] sees to that.
    pub(crate) fn use_index(
        &mut self,
        ssrc: Ssrc,
        index: ExtSeqNo,
        repeatable: bool,
    ) -> Result<Use, DropReason> {
        let used = self.open.get_mut(&ssrc).ok_or(DropReason::IndexUsed)?;
        match (used.mark(index.0), repeatable) {
            (true, false) => Ok(Use::Once),
            (true, true) => Ok(Use::First),
            (false, false) => Err(DropReason::IndexUsed),
            (false, true) => {
                let content = used.content(index.0);
                content.map(Use::Again).ok_or(used.why_unknown(index.0))
            }
        }
    }

    /// Lets a packet go that was sealed under an index which passed, or keeps it from leaving. Under one index a tag tells
    /// a packet from all others: it is a digest of the whole of it under a key that nobody else has, and costs nothing.
    pub(crate) fn confirm(
        &mut self,
        ssrc: Ssrc,
        index: ExtSeqNo,
        passed: Use,
        sealed: Sealed,
    ) -> Result<(), DropReason> {
        match passed {
            Use::Once => {}
            Use::Again(before) if before.tag == sealed.tag => {}
            Use::Again(_) => return Err(DropReason::IndexUsed),
            Use::First => {
                let used = self.open.get_mut(&ssrc).ok_or(DropReason::IndexUsed)?;
                used.remember(index.0, sealed);
            }
        }
        Ok(())
    }
}

/// How an index may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// This once.
    Once,
    /// For the first time, and again for the same packet.
    First,
    /// For the packet that was sent under it before.
    Again(Sealed),
}

impl Use {
    /// The transport-wide number that the packet has to be sent with, if that is given.
    pub(crate) fn number(&self) -> Option<SeqNo> {
        match self {
            Use::Again(before) => Some(before.number),
            Use::Once | Use::First => None,
        }
    }
}

/// What is known of a packet that was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The start of its tag.
    pub(crate) tag: u64,
    /// Its transport-wide number; anything if it has none.
    pub(crate) number: SeqNo,
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

const _: () = assert!(size_of::<Content>() == 16, "REMEMBERED says what one costs");

/// A packet that may be sent again under its index.
#[derive(Clone, Copy)]
struct Content {
    tag: u64,
    /// The index in the upper 48 bits, the transport-wide number in the others.
    index_and_number: u64,
}

impl Content {
    const NONE: Content = Content {
        tag: 0,
        index_and_number: INDEX_END << 16,
    };

    fn index(&self) -> u64 {
        self.index_and_number >> 16
    }
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

    /// What is known of the packet under an index.
    fn content(&self, index: u64) -> Option<Sealed> {
        let content = self.contents.get(index as usize % self.remembered)?;
        (content.index() == index).then_some(Sealed {
            tag: content.tag,
            number: SeqNo(content.index_and_number as u16),
        })
    }

    /// Why nothing is known of what was sent under an index: that is so long ago that nobody has any use for it.
    fn why_unknown(&self, index: u64) -> DropReason {
        match index.saturating_add(self.remembered as u64) < self.end {
            true => DropReason::NackTooOld,
            false => DropReason::IndexUsed,
        }
    }

    /// Keeps what is known of a packet. A straggler that finds its place taken by a newer one was sent this once.
    fn remember(&mut self, index: u64, sealed: Sealed) {
        if self.contents.is_empty() {
            self.contents.resize(self.remembered, Content::NONE);
        }
        let slot = &mut self.contents[index as usize % self.remembered];
        // What is the newest of all is newer than what is there, which need not be looked at then.
        if index + 1 == self.end || slot.index() == INDEX_END || slot.index() < index {
            *slot = Content {
                tag: sealed.tag,
                index_and_number: index << 16 | u64::from(sealed.number.0),
            };
        }
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
                let taken = streams.use_index(ONE, ExtSeqNo(index), false);
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
        let mut taken = |ssrc, index| streams.use_index(ssrc, ExtSeqNo(index), false);
        assert_eq!(taken(ONE, INDEX_END), Err(DropReason::IndexUsed));
        assert_eq!(taken(ONE, INDEX_END - 1), Ok(Use::Once));
        assert_eq!(taken(Ssrc(3), 5), Err(DropReason::IndexUsed));
        assert_eq!(taken(Ssrc(2), 5), Ok(Use::Once));
        streams.close(Ssrc(2));
        let closed = streams.use_index(Ssrc(2), ExtSeqNo(6), false);
        assert_eq!(closed, Err(DropReason::IndexUsed));
    }

    #[test]
    fn only_what_has_the_same_tag_is_sent_again_under_its_number() {
        let mut streams = streams();
        let mut send = |index, tag| {
            let passed = streams.use_index(ONE, ExtSeqNo(index), true)?;
            let number = passed.number().unwrap_or(SeqNo(index as u16 + 7));
            assert_eq!(number, SeqNo(index as u16 + 7), "as it was sent before");
            streams.confirm(ONE, ExtSeqNo(index), passed, Sealed { tag, number })
        };
        assert_eq!(send(70_000, 1), Ok(()));
        assert_eq!(send(70_002, 3), Ok(()));
        assert_eq!(send(70_000, 1), Ok(()));
        assert_eq!(send(70_000, 11), Err(DropReason::IndexUsed));
        assert_eq!(send(70_000, 1), Ok(()));
        assert_eq!(send(70_001, 2), Ok(()), "a straggler");
        assert_eq!(send(70_001, 22), Err(DropReason::IndexUsed));
        // What its slot has forgotten is not sent again, whatever it is.
        assert_eq!(send(70_000 + REMEMBERED as u64, 4), Ok(()));
        assert_eq!(send(70_000, 1), Err(DropReason::NackTooOld));
        assert_eq!(send(69_900 + REMEMBERED as u64, 5), Ok(()));
        assert_eq!(send(69_900, 6), Ok(()), "once");
        assert_eq!(send(69_900, 6), Err(DropReason::NackTooOld));
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
