//! How much one peer may send: a token bucket (RFC 2697 calls it a meter) behind authentication and in front of
//! all work that a packet causes. Nobody else's datagrams take from it, since only authentic ones are counted.

use std::time::{Duration, Instant};

/// Share of the bucket that video leaves to sound and RTCP, in 1/16.
const KEPT_FROM_VIDEO: u64 = 4;

/// Share of the bucket that sound leaves to RTCP, in 1/16.
const KEPT_FROM_AUDIO: u64 = 1;

/// A bucket holds some of the largest datagrams at least, whatever the settings say.
const MIN_BUCKET: u64 = 16 * 1500;

/// While packets were dropped within this time, the peer is held to be over its limit.
const OVER_LIMIT_FOR: Duration = Duration::from_secs(5);

/// Between two events about the same peer.
const EVENT_INTERVAL: Duration = Duration::from_secs(10);

/// What one transport may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressLimit {
    /// Bits of UDP payload a second.
    pub bits_per_second: u64,
    /// For how long a silent peer may send at twice that rate.
    pub burst: Duration,
}

impl Default for IngressLimit {
    /// 20 Mbit/s: several times what a camera and a screen in high definition need together.
    fn default() -> Self {
        IngressLimit {
            bits_per_second: 20_000_000,
            burst: Duration::from_millis(500),
        }
    }
}

/// What a packet is worth when not all can pass; the later the dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Video, retransmissions, padding, and what nobody knows.
    Video,
    Audio,
    Rtcp,
}

/// The bucket of one transport.
#[derive(Debug)]
pub(crate) struct Policer {
    limit: IngressLimit,
    bucket: u64,
    bits: u64,
    filled_at: Option<Instant>,
    /// Packets dropped, in all.
    pub(crate) dropped: u64,
    told: u64,
    told_at: Option<Instant>,
    dropped_at: Option<Instant>,
}

impl Policer {
    /// A full bucket.
    pub(crate) fn new(limit: IngressLimit) -> Policer {
        let bits = u128::from(limit.bits_per_second) * limit.burst.as_millis() / 1000;
        let bucket = u64::try_from(bits)
            .unwrap_or(u64::MAX / 16)
            .max(8 * MIN_BUCKET);
        Policer {
            limit,
            bucket,
            bits: bucket,
            filled_at: None,
            dropped: 0,
            told: 0,
            told_at: None,
            dropped_at: None,
        }
    }

    /// Whether a datagram of that many bytes passes; it is paid for then.
    pub(crate) fn admits(&mut self, now: Instant, class: Class, bytes: usize) -> bool {
        self.fill(now);
        let kept = match class {
            Class::Video => KEPT_FROM_VIDEO,
            Class::Audio => KEPT_FROM_AUDIO,
            Class::Rtcp => 0,
        };
        let (price, kept) = (8 * bytes as u64, self.bucket / 16 * kept);
        if self.bits < price + kept {
            self.dropped += 1;
            self.dropped_at = Some(now);
            return false;
        }
        self.bits -= price;
        true
    }

    fn fill(&mut self, now: Instant) {
        let since = *self.filled_at.get_or_insert(now);
        let nanos = now.saturating_duration_since(since).as_nanos();
        let earned = u128::from(self.limit.bits_per_second) * nanos / 1_000_000_000;
        if earned == 0 {
            return;
        }
        // The time that is not worth a whole bit yet is kept, so that many small steps earn as much as a large one.
        let spent = (earned * 1_000_000_000).div_ceil(u128::from(self.limit.bits_per_second));
        self.filled_at =
            Some(since + Duration::from_nanos(u64::try_from(spent).unwrap_or(u64::MAX)));
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        self.bits = self.bits.saturating_add(earned).min(self.bucket);
    }

    /// Whether the peer sent too much a moment ago.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.dropped_at
            .is_some_and(|at| now.saturating_duration_since(at) < OVER_LIMIT_FOR)
    }

    /// What the peer may send.
    pub(crate) fn bits_per_second(&self) -> u64 {
        self.limit.bits_per_second
    }

    /// Packets dropped since this last said so; none while it is too soon to say it again.
    pub(crate) fn news(&mut self, now: Instant) -> Option<u64> {
        let soon = |at: Instant| now.saturating_duration_since(at) < EVENT_INTERVAL;
        if self.dropped == self.told || self.told_at.is_some_and(soon) {
            return None;
        }
        let packets = self.dropped - self.told;
        self.told = self.dropped;
        self.told_at = Some(now);
        Some(packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: IngressLimit = IngressLimit {
        bits_per_second: 1_000_000,
        burst: Duration::from_millis(500),
    };

    /// Offers packets of 1000 bytes at that rate for ten seconds; returns the bits that passed.
    fn offer(policer: &mut Policer, from: Instant, class: Class, bits_per_second: u64) -> u64 {
        let packets = bits_per_second * 10 / 8000;
        let gap = Duration::from_secs(10) / packets as u32;
        let passed =
            (0..packets).filter(|number| policer.admits(from + gap * *number as u32, class, 1000));
        passed.count() as u64 * 8000
    }

    #[test]
    fn what_stays_below_the_limit_passes_whole_and_what_does_not_passes_at_the_limit() {
        let now = Instant::now();
        let mut policer = Policer::new(LIMIT);
        assert_eq!(offer(&mut policer, now, Class::Video, 900_000), 9_000_000);
        assert!(!policer.is_over(now + Duration::from_secs(10)));
        let later = now + Duration::from_secs(20);
        let passed = offer(&mut policer, later, Class::Video, 73_000_000);
        assert!((10_000_000..=10_500_000).contains(&passed), "{passed}");
        assert!(policer.is_over(later + Duration::from_secs(10)));
        assert!(!policer.is_over(later + Duration::from_secs(16)));
    }

    #[test]
    fn sound_passes_whole_beside_a_flood_of_video_and_rtcp_beside_a_flood_of_sound() {
        for (flood, dear) in [(Class::Video, Class::Audio), (Class::Audio, Class::Rtcp)] {
            let now = Instant::now();
            let mut policer = Policer::new(LIMIT);
            let (mut passed, mut flooded) = (0, 0);
            for milli in 0..10_000 {
                let at = now + Duration::from_millis(milli);
                for _ in 0..10 {
                    flooded += u32::from(policer.admits(at, flood, 1000));
                }
                if milli % 20 == 0 {
                    passed += u32::from(policer.admits(at, dear, 160));
                }
            }
            assert_eq!(passed, 500, "{dear:?} beside {flood:?}");
            assert!(flooded > 1000, "{flooded} of {flood:?}");
        }
    }

    #[test]
    fn an_operator_is_told_once_a_window_with_the_sum() {
        let now = Instant::now();
        let mut policer = Policer::new(LIMIT);
        let mut told = Vec::new();
        for milli in 0..25_000 {
            let at = now + Duration::from_millis(milli);
            policer.admits(at, Class::Video, 1400);
            told.extend(policer.news(at).map(|packets| (milli / 1000, packets)));
        }
        let seconds: Vec<_> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [0, 10, 20]);
        assert!(told[1].1 > 8000, "{told:?}");
    }

    #[test]
    fn small_steps_of_time_earn_as_much_as_a_large_one() {
        let now = Instant::now();
        let limit = IngressLimit {
            bits_per_second: 100_003,
            burst: Duration::from_secs(2),
        };
        let mut policer = Policer::new(limit);
        while policer.admits(now, Class::Rtcp, 1) {}
        for step in 0..100_001 {
            policer.fill(now + Duration::from_micros(10) * step);
        }
        assert!(
            (99_950..=100_011).contains(&policer.bits),
            "{}",
            policer.bits
        );
    }
}
