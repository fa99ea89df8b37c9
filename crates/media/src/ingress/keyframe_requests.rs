//! When a publisher is asked for a keyframe: at once for somebody who has no picture yet, seldom for everybody else.

use std::time::{Duration, Instant};

/// A request is taken for lost when no keyframe has begun within this time. It is also the least time between two
/// requests of subscribers that have a picture, and the time in which one request is earned: a keyframe is many times
/// larger than other frames, and one serves everybody.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Requests that may be saved up.
const BURST: u32 = 4;

/// Requests that only those without a picture may use, so that a storm of others does not make them wait.
const RESERVE: u32 = 2;

/// Who needs a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A subscriber that shows a picture, and says that it is broken; or packets were lost for good.
    Repair,
    /// A subscriber that has no picture: it is new, goes on after a pause, or the stream is another.
    FirstPicture,
}

/// What is wanted of one publisher's track, and what it was asked for.
#[derive(Debug, Default)]
pub(crate) struct KeyframeRequests {
    wanted: Option<Need>,
    asked_at: Option<Instant>,
    /// No keyframe has begun since the last request.
    unanswered: bool,
    /// The moment at which the whole burst is there again; none: it always was.
    full_at: Option<Instant>,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe.
    pub(crate) fn want(&mut self, need: Need) {
        self.wanted = self.wanted.max(Some(need));
    }

    /// A keyframe has begun to arrive: it serves whoever is there.
    pub(crate) fn on_keyframe(&mut self) {
        self.wanted = None;
        self.unanswered = false;
    }

    /// When to ask; none while nobody needs one. A request that is under way serves whoever comes meanwhile.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let need = self.wanted?;
        let last = self.asked_at.map(|at| at + KEYFRAME_REQUEST_INTERVAL);
        let apart = match need {
            Need::FirstPicture if !self.unanswered => None,
            _ => last,
        };
        let kept = match need {
            Need::FirstPicture => 1,
            Need::Repair => 1 + RESERVE,
        };
        // So much of the burst must be there; each part of it takes an interval to come back.
        let earned = self
            .full_at
            .and_then(|at| at.checked_sub(KEYFRAME_REQUEST_INTERVAL * (BURST - kept)));
        Some(apart.into_iter().chain(earned).fold(now, Instant::max))
    }

    /// Whether to ask now; true counts as asked. It stays wanted until a keyframe comes.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.due(now).is_none_or(|due| due > now) {
            return false;
        }
        self.asked_at = Some(now);
        self.unanswered = true;
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + KEYFRAME_REQUEST_INTERVAL);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, start: Instant) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_storm_of_repairs_asks_twice_a_second_and_again_until_a_keyframe_comes() {
        for answered in [false, true] {
            let (mut requests, start) = (KeyframeRequests::default(), Instant::now());
            let mut asked = 0;
            for ms in 0..10_000 {
                requests.want(Need::Repair);
                if requests.take(at(ms, start)) {
                    asked += 1;
                    if answered {
                        requests.on_keyframe();
                    }
                }
            }
            assert_eq!(asked, 20, "answered: {answered}");
        }
    }

    #[test]
    fn a_first_picture_is_asked_for_at_once_amid_a_storm_of_repairs() {
        let (mut requests, start) = (KeyframeRequests::default(), Instant::now());
        for ms in 0..10_000 {
            requests.want(Need::Repair);
            if requests.take(at(ms, start)) {
                requests.on_keyframe();
            }
            if ms % 2500 == 2499 {
                requests.want(Need::FirstPicture);
                assert!(requests.take(at(ms, start)), "at {ms} ms");
                requests.on_keyframe();
            }
        }
    }

    #[test]
    fn a_request_under_way_serves_whoever_comes_meanwhile_and_is_repeated_when_lost() {
        let (mut requests, start) = (KeyframeRequests::default(), Instant::now());
        requests.want(Need::FirstPicture);
        assert!(requests.take(start));
        for ms in 1..500 {
            requests.want(Need::FirstPicture);
            assert!(!requests.take(at(ms, start)), "at {ms} ms");
        }
        assert!(requests.take(at(500, start)));
        requests.on_keyframe();
        assert_eq!(requests.due(at(501, start)), None);
        requests.want(Need::FirstPicture);
        assert_eq!(requests.due(at(501, start)), Some(at(501, start)));
    }

    #[test]
    fn first_pictures_without_end_are_bounded_by_what_is_earned() {
        let (mut requests, start) = (KeyframeRequests::default(), Instant::now());
        let mut asked = 0;
        for ms in 0..10_000 {
            requests.want(Need::FirstPicture);
            if requests.take(at(ms, start)) {
                asked += 1;
                requests.on_keyframe();
            }
        }
        assert_eq!(asked, 20 + BURST - 1);
    }
}
