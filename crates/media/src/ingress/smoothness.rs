//! Frames of a video and the gaps between them: what a server can tell of freezes.
//!
//! A freeze is a gap between two frames that is longer than three times the usual one and longer than that by 150 ms, as
//! the Web's statistics have it (`freezeCount` of "Identifiers for WebRTC's Statistics API"). Here it is one between frames
//! that came, or that were sent on: what a jitter buffer hides of it, or a decoder adds, nobody but the receiver knows.

use crate::wire::num::RtpTime;
use std::time::{Duration, Instant};

/// Frames that are seen before a gap is judged.
const WARM_UP: u32 = 5;

/// The weight of a gap in the usual one.
const WEIGHT: u32 = 16;

const LEAST_FREEZE: Duration = Duration::from_millis(150);

/// A publisher that sends nothing for longer does so on purpose, as far as can be told: a picture that is muted, a screen
/// on which nothing moves.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// The frames of one video, as they come or leave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Smoothness {
    newest: Option<RtpTime>,
    last: Option<Instant>,
    usual: Duration,
    seen: u32,
    pub(crate) frames: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen: Duration,
}

impl Smoothness {
    /// A packet with payload of a publisher, who pauses on purpose when nothing comes for [`PAUSE`].
    #[inline]
    pub(crate) fn on_packet(&mut self, now: Instant, timestamp: RtpTime) {
        // Others are of the same frame, or of one before it.
        if self
            .newest
            .is_none_or(|newest| timestamp.newer_than(newest))
        {
            self.newest = Some(timestamp);
            self.on_frame(now, |_| true);
        }
    }

    /// A frame begins. `paused_since`: whether a gap of [`PAUSE`] that began at that moment is the publisher's.
    #[inline]
    pub(crate) fn on_frame(&mut self, now: Instant, paused_since: impl FnOnce(Instant) -> bool) {
        self.frames += 1;
        let Some(at) = self.last.replace(now) else {
            return;
        };
        let gap = now.saturating_duration_since(at);
        let is_long = gap > (self.usual * 3).max(self.usual + LEAST_FREEZE);
        if self.seen >= WARM_UP && is_long {
            if gap < PAUSE || !paused_since(at) {
                self.freezes += 1;
                self.frozen += gap;
            }
            return;
        }
        self.seen = self.seen.saturating_add(1);
        self.usual = match self.usual.is_zero() {
            true => gap,
            false => (self.usual * (WEIGHT - 1) + gap) / WEIGHT,
        };
    }

    /// What comes next follows nothing: another time line, or one that was paused on purpose.
    pub(crate) fn stop(&mut self) {
        (self.newest, self.last) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that come at these times in milliseconds, each of three packets, and leave at once.
    fn seen(times: impl IntoIterator<Item = u64>, paused: bool) -> Smoothness {
        let start = Instant::now();
        let (mut came, mut left) = (Smoothness::default(), Smoothness::default());
        for ms in times {
            let timestamp = RtpTime(u32::MAX).wrapping_add((ms * 90) as u32);
            let now = start + Duration::from_millis(ms);
            for _ in 0..3 {
                came.on_packet(now, timestamp);
            }
            left.on_frame(now, |_| paused);
        }
        assert_eq!(came.frames, left.frames);
        assert!(!paused || (came.freezes, came.frozen) == (left.freezes, left.frozen));
        left
    }

    #[test]
    fn frames_are_counted_once_and_a_steady_picture_does_not_freeze() {
        for gap in [16, 33, 66, 200, 1000] {
            let steady = seen((0..100).map(|frame| frame * gap), false);
            assert_eq!((steady.frames, steady.freezes), (100, 0), "{gap} ms");
        }
    }

    #[test]
    fn a_gap_is_a_freeze_by_the_rule_of_the_web_statistics() {
        let with_gap = |gap: u64| {
            let after = (0..30).map(move |frame| 29 * 33 + gap + frame * 33);
            seen((0..30).map(|frame| frame * 33).chain(after), false)
        };
        assert_eq!(with_gap(180).freezes, 0, "33 + 150 is the bound");
        let frozen = with_gap(190);
        assert_eq!((frozen.freezes, frozen.frozen.as_millis()), (1, 190));
        let slow = (0..30).map(|frame| frame * 100);
        let after = (0..30).map(|frame| 2900 + 290 + frame * 100);
        assert_eq!(seen(slow.chain(after), false).freezes, 0, "3 × 100 is");
    }

    #[test]
    fn a_long_gap_is_a_pause_where_the_publisher_paused_and_a_freeze_where_it_did_not() {
        let times = || {
            (0..30)
                .map(|frame| frame * 33)
                .chain((0..30).map(|frame| 7000 + frame * 33))
        };
        assert_eq!(seen(times(), true).freezes, 0);
        let frozen = seen(times(), false);
        assert_eq!((frozen.freezes, frozen.frozen.as_millis()), (1, 6043));
    }

    #[test]
    fn what_follows_a_stop_follows_nothing() {
        let (start, mut smoothness) = (Instant::now(), Smoothness::default());
        for frame in 0..30u64 {
            let at = start + Duration::from_millis(33 * frame);
            smoothness.on_packet(at, RtpTime(3000 * frame as u32));
        }
        smoothness.stop();
        smoothness.on_packet(start + Duration::from_secs(3), RtpTime(7));
        assert_eq!((smoothness.frames, smoothness.freezes), (31, 0));
    }
}
