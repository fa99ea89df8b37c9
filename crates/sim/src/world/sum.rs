//! The sums of a [`World`]: nothing is unaccounted for.

use crate::subscription::{Fate, Subscription};
use crate::world::{Track, Weather, World};
use parlour_media::{DropReason, Ssrc};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// A keyframe comes in that time after it was needed, on links without loss: each request has to be earned.
const KEYFRAME: Duration = Duration::from_millis(1_500);

/// What the router decided of a subscription.
#[derive(PartialEq)]
struct Decided {
    source: usize,
    switches: u64,
    starved: bool,
    given_up: usize,
    layers: u8,
}

impl Decided {
    fn of(it: &Subscription) -> Decided {
        let is_given_up = |fate: &&Fate| **fate == Fate::Dropped(DropReason::WaitedTooLong);
        Decided {
            source: it.source,
            switches: it.switches,
            starved: it.starved,
            given_up: it.fates.values().filter(is_given_up).count(),
            layers: it.layers.0,
        }
    }
}

impl World {
    /// The end of a call: everybody's link is fine and nothing changes; what is published then reaches everybody who
    /// wants it. At last all sums are drawn.
    pub(super) fn finish(&mut self) {
        for who in 0..self.participants.len() {
            let participant = &mut self.participants[who];
            (participant.up, participant.down) = (Weather::FINE, Weather::FINE);
            self.change_narrow(who, true);
        }
        for track in &mut self.tracks {
            track.silent_until = self.now;
        }
        self.run(Duration::from_secs(2), |_| {});
        let marked = self.now;
        let marks: Vec<u64> = self.tracks.iter().map(|it| it.publisher.count()).collect();
        let decided: BTreeMap<Ssrc, Decided> = self
            .subscriptions
            .iter()
            .map(|(of, it)| (*of, Decided::of(it)))
            .collect();
        self.run(Duration::from_millis(500), |_| {});
        self.is_silent = true;
        // What waits for the path goes out meanwhile or is given up.
        let rest = if self.adapts { 900 } else { 200 };
        self.run(Duration::from_millis(rest), |_| {});
        let subscriptions = std::mem::take(&mut self.subscriptions);
        for (of, subscription) in &subscriptions {
            self.draw_sum(subscription, true);
            let who = format!("{:?}", subscription.spec.consumer);
            let track = &self.tracks[subscription.track()];
            let published = marks[subscription.track()];
            let end = track.publisher.count();
            assert!(end > published + 10, "{who}: its publisher is silent");
            // What depends on what is known of the path is judged where it is decided. Who was given up has to wait for a
            // keyframe first.
            let waits = subscription.stopped.max(subscription.layers.1) + KEYFRAME > marked;
            if waits || subscription.starved || decided[of] != Decided::of(subscription) {
                self.count("subscriptions that changed until the end", 1);
                continue;
            }
            for id in published..end {
                let taken = (track.arrivals.epoch, id);
                let fate = subscription.fates.get(&(subscription.track(), taken));
                let expected = match fate {
                    Some(Fate::Sent(out)) => subscription.delivered.contains(out),
                    Some(Fate::Dropped(DropReason::Paused)) => subscription.paused,
                    Some(Fate::Dropped(DropReason::PaddingOnly)) => true,
                    Some(Fate::Dropped(DropReason::LayerLeftOut)) => subscription.highest() < 2,
                    Some(Fate::Dropped(_)) => false,
                    // It waits for the path.
                    None => track.places.get(&taken) >= Some(&subscription.cursor),
                };
                assert!(
                    expected,
                    "{who} misses packet {taken:?} on links without loss: {fate:?}"
                );
            }
        }
        self.subscriptions = subscriptions;
    }

    /// What came to be served was sent or has a reason; what was sent was delivered or was lost on the link. That is
    /// known when all of it `is_all_here`: nothing is under way any more.
    pub(super) fn draw_sum(&mut self, subscription: &Subscription, is_all_here: bool) {
        let who = format!("{:?}", subscription.spec.consumer);
        let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
        for fate in subscription.fates.values() {
            let name = match fate {
                Fate::Sent(_) => "sent",
                Fate::Dropped(reason) => reason.name(),
            };
            *tally.entry(name).or_default() += 1;
        }
        assert_eq!(
            tally.get("sent").copied().unwrap_or(0) + subscription.again,
            subscription.sent.len() as u64,
            "{who}: each number is one packet's"
        );
        if is_all_here {
            let Subscription {
                delivered, lost, ..
            } = subscription;
            assert!(delivered.is_disjoint(lost), "{who}");
            assert_eq!(
                delivered.len() + lost.len(),
                subscription.sent.len(),
                "{who}: sent = delivered + lost on the link"
            );
        }
        let (mut published, mut never_came) = (0, 0);
        for track in &subscription.sources {
            let Track {
                publisher,
                arrivals,
                ..
            } = &self.tracks[*track];
            let came: HashSet<u64> = arrivals.taken.iter().map(|(_, id)| *id).collect();
            published += publisher.count();
            never_came += publisher.count() - came.len() as u64;
        }
        for (name, count) in tally {
            self.count(name, count);
        }
        self.count("published", published);
        self.count("lost before the router", never_came);
        let repaired = subscription.repaired.intersection(&subscription.lost);
        self.count("repaired", repaired.count() as u64);
    }
}
