//! What the router of a [`World`] did in one step, packet by packet and subscription by subscription. What it decides by
//! what it measured it tells (`Router::poll_decision`): that is followed, if it may be decided so. All else is known before.

use crate::arrivals::Taken;
use crate::memory::metered;
use crate::subscription::{Arrival, Expected, Fate, Subscription};
use crate::world::{Sent, Track, World, nearest};
use parlour_media::num::Ssrc;
use parlour_media::router::{Decision, Standing};
use parlour_media::rtp::{RtpHeader, RtpView};
use parlour_media::{DropReason, Drops, Kind};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// What AES-GCM adds to a packet (RFC 7714 §8.3).
const TAG: usize = 16;

/// How far ahead of a packet the router looks for what overtook it, and how old that may be.
const FARTHEST: u64 = 512;
const OLDEST: Duration = Duration::from_secs(2);

/// What waits for the path is given up after this time, and waits no longer than a timer takes to notice it.
const MOST_WAIT: Duration = Duration::from_millis(800);
/// And of one whose publisher was told to send less so short a time ago.
const MOST_WAIT_FOR_LESS: Duration = Duration::from_millis(300);
const TOLD_LESS: Duration = Duration::from_millis(2_600);
const TIMERS: Duration = Duration::from_millis(30);
const TICK: Duration = Duration::from_millis(11);

/// A frame that is not whole is not waited for any longer when a keyframe of another source is there.
const LONGEST_FRAME: Duration = Duration::from_millis(100);

/// A subscription gets the source that it should after this time at most: between two looks, and a timer.
const LOOKS: Duration = Duration::from_millis(280);

/// What was sent in one step and what was dropped, as far as it is accounted for.
pub(super) struct Step {
    now: Instant,
    /// Of each subscription, in the order of the sending, with the place in all that was sent.
    sent: BTreeMap<Ssrc, VecDeque<(usize, Vec<u8>)>>,
    reasons: Vec<DropReason>,
    overtook: u64,
    /// In the order of the sending: to whom parts of pictures went, how many bytes each, and whether they could have waited.
    pub(super) pictures: BTreeMap<usize, (usize, usize, bool)>,
}

/// What overtook a packet: numbers of its epoch behind its own that came before it, in their order. The router finds them by
/// their numbers, and no longer when a later number space has one for the same place.
fn overtakers(track: &Track, now: Instant, (epoch, id): Taken, before: usize) -> Vec<Taken> {
    let behind = track.places.range((epoch, id + 1)..=(epoch, id + FARTHEST));
    let came = behind.filter(|(_, at)| **at < before && now - track.kept[**at].1 <= OLDEST);
    let place = |id: u64| track.publisher.published[id as usize].sender.number % FARTHEST;
    let later = track.places.range((epoch + 1, 0)..);
    let taken: HashSet<u64> = later.map(|((_, id), _)| place(*id)).collect();
    came.filter(|((_, id), _)| !taken.contains(&place(*id)))
        .map(|(taken, _)| *taken)
        .collect()
}

impl Step {
    /// What becomes of a packet for one subscription.
    fn judge(
        &mut self,
        of: &mut Subscription,
        it: Arrival,
        tracks: &[Track],
        connected: bool,
        waits: bool,
    ) -> Fate {
        let ssrc = of.spec.ssrc;
        let publisher = &tracks[of.sources[it.place]].publisher;
        let packet = &publisher.published[it.taken.1 as usize];
        let (expected, emptied) = match of.expect(it, packet, connected) {
            Expected::Dropped(reason) => {
                self.reasons.push(reason);
                return Fate::Dropped(reason);
            }
            Expected::Emptied(out, reason) => {
                self.reasons.push(reason);
                (Some(out), true)
            }
            Expected::First => (None, false),
            Expected::Number(out) => (Some(out), false),
        };
        let plain = self.sent.get_mut(&ssrc).and_then(VecDeque::pop_front);
        let (place, plain) =
            plain.unwrap_or_else(|| panic!("packet {it:?} does not go out to {ssrc:?}"));
        let view = RtpView::parse(&plain).expect("RTP");
        let newest = of.sent.last_key_value();
        let newest = newest.map_or(u64::from(view.seq().0), |(out, _)| *out);
        let out = nearest(newest, view.seq());
        of.on_sent(self.now, it, packet, (expected, emptied), out, &view);
        if publisher.spec.kind == Kind::Video {
            let len = plain.len() + TAG;
            self.pictures.insert(place, (of.subscriber, len, waits));
        }
        Fate::Sent(out)
    }

    /// A subscription is served up to that arrival of its source.
    fn serve(&mut self, of: &mut Subscription, tracks: &[Track], connected: bool, up_to: usize) {
        let track = &tracks[of.track()];
        assert!(
            (of.cursor..=track.kept.len()).contains(&up_to),
            "{:?} is served up to {up_to}, from {} of {}",
            of.spec.consumer,
            of.cursor,
            track.kept.len()
        );
        let place = of.source;
        while of.cursor < up_to {
            let (taken, _) = track.kept[of.cursor];
            of.cursor += 1;
            let it = Arrival { place, taken };
            let fate = self.judge(of, it, tracks, connected, true);
            of.settle(it, fate, false);
            if track.publisher.spec.kind == Kind::Video && of.begins_with(taken) {
                // At once behind it, in their order: they were not given to it when they came.
                for taken in overtakers(track, self.now, taken, of.cursor) {
                    let it = Arrival { place, taken };
                    let fate = self.judge(of, it, tracks, connected, false);
                    of.settle(it, fate, true);
                    self.overtook += 1;
                }
            }
        }
    }

    /// All that waits of its source is dropped.
    fn drop_waiting(&mut self, of: &mut Subscription, tracks: &[Track], reason: DropReason) {
        let place = of.source;
        let kept = &tracks[of.track()].kept;
        for (taken, _) in &kept[of.cursor..] {
            let taken = *taken;
            of.settle(Arrival { place, taken }, Fate::Dropped(reason), false);
            self.reasons.push(reason);
        }
        of.cursor = kept.len();
    }

    /// What came of the source that is to follow is passed over up to there: no keyframe begins in it.
    fn pass_over(&mut self, of: &mut Subscription, tracks: &[Track], up_to: usize) {
        let Some((place, from)) = of.next else { return };
        let track = &tracks[of.sources[place]];
        for (taken, _) in &track.kept[from..up_to] {
            let starts = track.publisher.published[taken.1 as usize].starts;
            assert!(
                !starts,
                "{:?} passes over a keyframe: {taken:?}",
                of.spec.consumer
            );
            let (it, reason) = (
                Arrival {
                    place,
                    taken: *taken,
                },
                DropReason::AwaitingKeyframe,
            );
            of.settle(it, Fate::Dropped(reason), false);
            self.reasons.push(reason);
        }
        of.next = Some((place, up_to));
    }
}

impl Track {
    /// Which number space it has, and what its clock showed at the beginning, if it told that of this one.
    fn clock_now(&self) -> Option<(u32, u32)> {
        let is_now = |clock: &(u32, u32)| self.live && clock.0 == self.arrivals.epoch;
        self.clock.filter(is_now)
    }
}

impl World {
    /// What the router did since: each packet of each subscription has the fate that it must have, and nothing else
    /// happened. `reasons` are of what was dropped before it was anybody's; `is_over`: the turn is.
    pub(super) fn settle(
        &mut self,
        before: &Drops,
        reasons: Vec<DropReason>,
        sent: Sent,
        is_over: bool,
    ) {
        let mut step = Step {
            now: self.now,
            sent: BTreeMap::new(),
            reasons,
            overtook: 0,
            pictures: BTreeMap::new(),
        };
        self.note_told_less();
        self.sort(sent, &mut step);
        while let Some((standing, decision)) = metered(|| self.router.poll_decision()) {
            self.follow(&standing, &mut step);
            self.decide(standing, decision, &mut step);
        }
        self.follow_all(&mut step, is_over);
        let left = step.sent.iter().find(|(_, rest)| !rest.is_empty());
        assert_eq!(left, None, "goes to who must not have it");
        let mut dropped = self.dropped(before);
        let mut reasons = std::mem::take(&mut step.reasons);
        dropped.sort_by_key(|reason| *reason as usize);
        reasons.sort_by_key(|reason| *reason as usize);
        assert_eq!(dropped, reasons, "each drop has its reason");
        self.count("overtook the first", step.overtook);
        self.judge_pace(&step);
        self.judge_said();
    }

    /// Where all subscriptions stand now. Who stands where it stood is looked at when something came, and now and then.
    fn follow_all(&mut self, step: &mut Step, is_over: bool) {
        let before = std::mem::take(&mut self.standings);
        let standings: Vec<Standing> = self.router.standings().collect();
        let is_due = self.has_kept || self.millisecond().is_multiple_of(8);
        for (at, standing) in standings.iter().enumerate() {
            let is_same = before.get(at) == Some(standing);
            if is_due || !is_same {
                self.follow(standing, step);
                self.is_served(standing, is_over);
            }
        }
        self.has_kept &= !is_over;
        self.standings = standings;
    }

    /// Puts what was sent to its subscriptions: to each peer sound before pictures. What is left is padding that probes.
    fn sort(&mut self, sent: Sent, step: &mut Step) {
        let mut shown = Vec::new();
        for (place, (who, plain)) in sent.into_iter().enumerate() {
            let header = RtpHeader::parse(&plain).expect("RTP");
            let Some(subscription) = self.subscriptions.get(&header.ssrc) else {
                self.judge_probe(who, &plain);
                continue;
            };
            match self.tracks[subscription.track()].publisher.spec.kind {
                Kind::Video => shown.push(who),
                Kind::Audio => assert!(!shown.contains(&who), "sound behind a picture"),
            }
            let to = step.sent.entry(header.ssrc).or_default();
            to.push_back((place, plain));
        }
    }

    /// Padding is of a subscription's retransmissions, to somebody who tells what came.
    fn judge_probe(&mut self, who: usize, plain: &[u8]) {
        let view = RtpView::parse(plain).expect("RTP");
        let mut all = self.subscriptions.values();
        let is_its = all.any(|it| {
            it.subscriber == who
                && it.spec.rtx_ssrc == Some(view.ssrc())
                && it.spec.twcc_extension.is_some()
        });
        assert!(
            is_its && view.payload().is_empty() && self.adapts,
            "something goes to {who} under {:?} that is nobody's",
            view.ssrc()
        );
        self.count("padding of probes", 1);
    }

    /// A subscription stands there now: what it was served meanwhile is what it had to be.
    fn follow(&mut self, to: &Standing, step: &mut Step) {
        let of = Ssrc(to.consumer.0 as u32);
        let it = self.subscriptions.get_mut(&of).expect("a subscription");
        let connected = self.participants[it.subscriber].connected;
        let next = it.next.map(|(place, _)| place);
        let places = (it.source, next, it.starved, it.layers.0);
        let next = to.next.map(|(place, _)| place);
        let expected = (to.source, next, to.starved, to.layers);
        assert_eq!(
            expected, places,
            "{of:?}: its sources, whether it has room, and for which layers"
        );
        if it.cursor != to.cursor as usize {
            step.serve(it, &self.tracks, connected, to.cursor as usize);
        }
        if let Some((_, up_to)) = to.next {
            step.pass_over(it, &self.tracks, up_to as usize);
        }
        it.allowed = to.allowed;
    }

    /// The router decided something, which has to be right.
    fn decide(&mut self, standing: Standing, decision: Decision, step: &mut Step) {
        let ssrc = Ssrc(standing.consumer.0 as u32);
        let it = self.subscriptions.get_mut(&ssrc).expect("a subscription");
        let transport = self.participants[it.subscriber].client.transport;
        let is_held = self.router.known_path(self.now, transport).is_some();
        let track = &self.tracks[it.track()];
        let is_video = track.publisher.spec.kind == Kind::Video;
        let is_gone = !track.live;
        match decision {
            Decision::Starves => {
                assert!(
                    is_video && is_held,
                    "{ssrc:?} has no room on a path that nobody knows"
                );
                it.starved = true;
                it.stop(step.now);
                self.count("pictures for which there was no room", 1);
            }
            Decision::Resumes => it.starved = false,
            Decision::Layers(highest) => {
                // More may come at any time, and none are left out of what is not known to be too much.
                let is_less = highest < it.layers.0;
                assert!(
                    is_video && (is_held || !is_less),
                    "{ssrc:?} has no room for its layers on a path that nobody knows"
                );
                it.layers = (highest, step.now);
                self.count("layers for which there was no room", u64::from(is_less));
            }
            Decision::GivesUp => {
                let waited = step.now - track.kept[it.cursor].1;
                let told = self.participants[track.owner].told_less;
                let most = match told.is_some_and(|at| step.now - at <= TOLD_LESS) {
                    true => MOST_WAIT_FOR_LESS,
                    false => MOST_WAIT,
                };
                assert!(
                    is_video && is_held && waited >= most,
                    "{ssrc:?} is given up after {waited:?}"
                );
                step.drop_waiting(it, &self.tracks, DropReason::WaitedTooLong);
                it.stop(step.now);
            }
            Decision::Follows(place) => {
                assert!(
                    it.next.is_none() && place != it.source,
                    "{ssrc:?} follows {place}"
                );
                it.next = Some((place, self.tracks[it.sources[place]].kept.len()));
            }
            Decision::Stays => it.next = None,
            Decision::Switches => {
                let (place, cursor) = it.next.take().expect("one that follows");
                if it.is_flowing() {
                    let next = &self.tracks[it.sources[place]];
                    let (taken, at) = next.kept[cursor];
                    let starts = next.publisher.published[taken.1 as usize].starts;
                    assert!(starts, "{ssrc:?} goes over without a keyframe");
                    assert!(
                        !it.in_frame || step.now - at >= LONGEST_FRAME,
                        "{ssrc:?} goes over in the middle of a frame"
                    );
                }
                step.drop_waiting(it, &self.tracks, DropReason::LeftBehind);
                let [before, after] =
                    [it.source, place].map(|it_is| &self.tracks[it.sources[it_is]]);
                let clocks = before.clock_now().zip(after.clock_now());
                let clocks = clocks.filter(|_| before.ahead == after.ahead);
                it.switch_to(step.now, (place, cursor), clocks);
                self.count("changes of a source", 1);
            }
            Decision::Loses => {
                assert!(is_gone, "{ssrc:?} loses a source that is there");
                step.drop_waiting(it, &self.tracks, DropReason::LeftBehind);
                it.stop(step.now);
                self.count("sources that were lost", 1);
            }
        }
    }

    /// At the end of a step: a subscription got all that it may have by now.
    fn is_served(&self, standing: &Standing, is_over: bool) {
        let ssrc = Ssrc(standing.consumer.0 as u32);
        let it = &self.subscriptions[&ssrc];
        let track = &self.tracks[it.track()];
        if is_over && it.cursor < track.kept.len() {
            let transport = self.participants[it.subscriber].client.transport;
            let is_video = track.publisher.spec.kind == Kind::Video;
            // What follows a source that was lost is sent by a timer.
            let is_new = self.now - it.stopped <= TICK;
            assert!(
                is_video && (is_new || self.router.known_path(self.now, transport).is_some()),
                "{ssrc:?} waits at {} of {} for nothing",
                it.cursor,
                track.kept.len()
            );
            let waited = self.now - track.kept[it.cursor].1;
            assert!(
                it.paused || it.starved || waited <= MOST_WAIT + TIMERS,
                "{ssrc:?} waits for {waited:?}"
            );
        }
        if is_over
            && let Some((place, cursor)) = it.next
            && it.is_flowing()
            && cursor < self.tracks[it.sources[place]].kept.len()
        {
            assert!(it.in_frame, "{ssrc:?} does not go over at a keyframe");
        }
        let told = match (it.starved, it.next) {
            (true, _) => None,
            (false, None) => Some(it.source),
            (false, Some(_)) => return,
        };
        let is_new = self.now - it.began <= LOOKS;
        assert!(
            it.told == told || is_new,
            "{ssrc:?} gets {told:?}, and {:?} was told",
            it.told
        );
    }

    /// Each subscription has the source that it should have, or waits for it, soon after that is so. To be called each
    /// moment.
    pub(super) fn judge_sources(&mut self) {
        let World {
            subscriptions,
            tracks,
            now,
            ..
        } = self;
        for it in subscriptions.values_mut().filter(|it| it.sources.len() > 1) {
            let target = target(it, tracks, *now);
            if it.due.0 != target {
                it.due = (target, *now);
            }
            let got = it.next.map_or(it.source, |(place, _)| place);
            let is_late = *now - it.due.1 > LOOKS;
            assert!(
                target == Some(got) || !is_late,
                "{:?} gets source {got} where {target:?} is to be got: {:?} wanted, {:?} allowed",
                it.spec.consumer,
                it.wanted,
                it.allowed
            );
        }
    }
}

/// Which source a subscription should have: the wanted one, or the biggest that there is room for; while that one pauses and
/// another is sent without a pause, or when it never began or is silent for long, the next smaller one, else the next bigger.
pub(super) fn target(of: &Subscription, tracks: &[Track], now: Instant) -> Option<usize> {
    const PAUSE: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_secs(5);
    let track = |place: usize| &tracks[of.sources[place]];
    let is_sent = |place: usize| {
        let media = track(place).media.filter(|_| track(place).live);
        media.filter(|(_, last)| now - *last < PAUSE)
    };
    let is_steady = |place: usize| is_sent(place).is_some_and(|(since, _)| now - since >= PAUSE);
    let ideal = of.wanted.max(of.allowed);
    if is_sent(ideal).is_some() {
        return Some(ideal);
    }
    let others: Vec<usize> = (ideal + 1..of.sources.len())
        .chain((0..ideal).rev())
        .collect();
    let last = track(ideal).media.filter(|_| track(ideal).live);
    let is_short = last.is_some_and(|(_, last)| now - last < LONG);
    let better = others.iter().copied().find(|place| match is_short {
        true => is_steady(*place),
        false => is_sent(*place).is_some(),
    });
    let waiting = [ideal, of.source].into_iter().chain(others.iter().copied());
    let mut there = waiting.filter(|place| track(*place).live);
    better.or_else(|| there.next())
}
