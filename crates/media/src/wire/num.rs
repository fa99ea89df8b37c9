//! The numbers of RTP as types of their own, and the small seeded generator that the core takes its randomness from.

/// The 16-bit sequence number of an RTP packet (RFC 3550 §5.1). It wraps, therefore it has no `Ord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// Whether `self` comes after `other` when the shorter way round is taken. Exactly half way round is not newer.
    pub fn newer_than(self, other: SeqNo) -> bool {
        (1..0x8000).contains(&self.0.wrapping_sub(other.0))
    }

    /// The number `count` packets later.
    pub fn wrapping_add(self, count: u16) -> Self {
        SeqNo(self.0.wrapping_add(count))
    }

    /// The number `count` packets earlier.
    pub fn wrapping_sub(self, count: u16) -> Self {
        SeqNo(self.0.wrapping_sub(count))
    }

    /// How many packets `other` lies after `self`, the shorter way round: negative when it lies before.
    pub fn distance_to(self, other: SeqNo) -> i16 {
        other.0.wrapping_sub(self.0).cast_signed()
    }
}

/// A synchronization source (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

/// An RTP timestamp in units of the payload's clock (RFC 3550 §5.1). It wraps, therefore it has no `Ord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Whether `self` comes after `other` when the shorter way round is taken.
    pub fn newer_than(self, other: RtpTime) -> bool {
        (1..0x8000_0000).contains(&self.0.wrapping_sub(other.0))
    }

    /// The timestamp `ticks` later.
    pub fn wrapping_add(self, ticks: u32) -> Self {
        RtpTime(self.0.wrapping_add(ticks))
    }

    /// The timestamp `ticks` earlier.
    pub fn wrapping_sub(self, ticks: u32) -> Self {
        RtpTime(self.0.wrapping_sub(ticks))
    }

    /// How many ticks `other` lies after `self`, the shorter way round: negative when it lies before.
    pub fn distance_to(self, other: RtpTime) -> i32 {
        other.0.wrapping_sub(self.0).cast_signed()
    }
}

/// A 7-bit RTP payload type (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(pub u8);

/// A sequence number that does not wrap: cycles in the upper bits, the [`SeqNo`] in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtSeqNo(pub u64);

impl ExtSeqNo {
    /// The 16 bits that travel in the packet.
    pub fn seq(self) -> SeqNo {
        SeqNo(self.0 as u16)
    }

    /// The cycles counted so far; for a stream that we number ourselves from cycle 0, SRTP's rollover counter
    /// (RFC 3711 §3.3.1).
    pub fn roc(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The low 32 bits, as a receiver report's "extended highest sequence number" has them (RFC 3550 §6.4.1).
    pub fn low32(self) -> u32 {
        self.0 as u32
    }

    /// The number `count` packets later.
    pub fn plus(self, count: u64) -> Self {
        ExtSeqNo(self.0.saturating_add(count))
    }
}

/// Extends the sequence numbers of one stream to [`ExtSeqNo`], whatever their order (the estimate of RFC 3711 §3.3.1).
///
/// Its numbers start in cycle 1, so that packets older than the first have a number too; they order packets and are
/// not rollover counters.
#[derive(Clone, Debug, Default)]
pub struct SeqUnwrapper {
    newest: Option<ExtSeqNo>,
}

impl SeqUnwrapper {
    /// A stream of which nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// The extended number nearest to the newest seen so far.
    pub fn unwrap(&mut self, seq: SeqNo) -> ExtSeqNo {
        let Some(newest) = self.newest else {
            let first = ExtSeqNo(0x1_0000 + u64::from(seq.0));
            self.newest = Some(first);
            return first;
        };
        let distance = i64::from(newest.seq().distance_to(seq));
        let ext = ExtSeqNo(newest.0.saturating_add_signed(distance));
        if ext > newest {
            self.newest = Some(ext);
        }
        ext
    }

    /// The newest number given out.
    pub fn newest(&self) -> Option<ExtSeqNo> {
        self.newest
    }
}

/// Packets older than this many behind the newest of their stream are too late for anyone. A power of two, for bitmaps.
pub(crate) const WINDOW: u64 = 1024;

/// A small seeded generator (SplitMix64), for SSRCs, first sequence numbers, jitter of timers and tests: whatever an
/// attacker may guess. Secrets come from the operating system.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number from 0 up and below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `0..bound`, 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_is_newer_across_the_wrap() {
        assert!(SeqNo(0).newer_than(SeqNo(65535)));
        assert!(!SeqNo(65535).newer_than(SeqNo(0)));
        assert!(!SeqNo(7).newer_than(SeqNo(7)));
        assert_eq!(SeqNo(65534).distance_to(SeqNo(3)), 5);
        assert_eq!(SeqNo(3).distance_to(SeqNo(65534)), -5);
    }

    #[test]
    fn the_unwrapper_follows_a_shuffled_stream_over_many_wraps() {
        let mut rng = Rng::new(3);
        let mut unwrapper = SeqUnwrapper::new();
        let origin = unwrapper.unwrap(SeqNo(65_000)).0 - 65_000;
        let mut newest = 65_000u64;
        for _ in 0..200_000 {
            let jump = rng.below(40) as i64 - 15;
            let sent = newest.saturating_add_signed(jump);
            assert_eq!(unwrapper.unwrap(SeqNo(sent as u16)).0 - origin, sent);
            newest = newest.max(sent);
        }
        assert!(newest > 3 * 65536);
    }

    #[test]
    fn a_packet_older_than_the_first_still_has_a_number() {
        let mut unwrapper = SeqUnwrapper::new();
        let first = unwrapper.unwrap(SeqNo(0));
        assert_eq!(unwrapper.unwrap(SeqNo(65535)), ExtSeqNo(first.0 - 1));
        assert_eq!(unwrapper.newest(), Some(first));
    }

    #[test]
    fn the_generator_repeats_itself_and_stays_below_the_bound() {
        let (mut a, mut b) = (Rng::new(1), Rng::new(1));
        assert!((0..1000).all(|_| a.next_u64() == b.next_u64()));
        assert!((0..1000).all(|_| a.below(7) < 7));
        assert_eq!(a.below(0), 0);
    }
}
