//! The sums of a [`World`]: nothing is unaccounted for.

use crate::subscription::{Fate, Subscription};
use crate::world::{Track, Weather, World};
use parlour_media::DropReason;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

impl World {
    /// The end of a call: everybody's link is fine and nothing changes; what is published then reaches everybody who
    /// wants it. At last all sums are drawn.
    pub(super) fn finish(&mut self) {
        for participant in &mut self.participants {
            (participant.up, participant.down) = (Weather::FINE, Weather::FINE);
        }
        self.run(Duration::from_secs(2), |_| {});
        let marks: Vec<u64> = self.tracks.iter().map(|it| it.publisher.count()).collect();
        self.run(Duration::from_millis(500), |_| {});
        self.is_silent = true;
        self.run(Duration::from_millis(200), |_| {});
        let subscriptions = std::mem::take(&mut self.subscriptions);
        for subscription in subscriptions.values() {
            self.draw_sum(subscription, true);
            let who = format!("{:?}", subscription.spec.consumer);
            let Track {
                publisher,
                arrivals,
                ..
            } = &self.tracks[subscription.track];
            let since = marks[subscription.track]..publisher.count();
            assert!(
                since.end > since.start + 10,
                "{who}: its publisher is silent"
            );
            for id in since {
                let expected = match subscription.fates.get(&(arrivals.epoch, id)) {
                    Some(Fate::Sent(out)) => subscription.delivered.contains(out),
                    Some(Fate::Dropped(DropReason::Paused)) => subscription.paused,
                    Some(Fate::Dropped(reason)) => *reason == DropReason::PaddingOnly,
                    None => false,
                };
                assert!(expected, "{who} misses packet {id} on links without loss");
            }
        }
        self.subscriptions = subscriptions;
    }

    /// What was published was sent or has a reason; what was sent was delivered or was lost on the link. That is
    /// known when all of it `is_all_here`: nothing is under way any more.
    pub(super) fn draw_sum(&mut self, subscription: &Subscription, is_all_here: bool) {
        let who = format!("{:?}", subscription.spec.consumer);
        let Track {
            publisher,
            arrivals,
            ..
        } = &self.tracks[subscription.track];
        for taken in &arrivals.taken {
            assert_ne!(
                subscription.before.contains(taken),
                subscription.fates.contains_key(taken),
                "{who}: packet {taken:?} has no fate, or came before"
            );
        }
        let (before, after) = (subscription.before.len(), subscription.fates.len());
        assert_eq!(before + after, arrivals.taken.len(), "{who}: what came");
        let came: HashSet<u64> = arrivals.taken.iter().map(|(_, id)| *id).collect();
        let never_came = publisher.count() - came.len() as u64;
        let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
        for fate in subscription.fates.values() {
            let name = match fate {
                Fate::Sent(_) => "sent",
                Fate::Dropped(reason) => reason.name(),
            };
            *tally.entry(name).or_default() += 1;
        }
        assert_eq!(
            tally.get("sent").copied().unwrap_or(0),
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
        let published = publisher.count();
        for (name, count) in tally {
            self.count(name, count);
        }
        self.count("published", published);
        self.count("lost before the router", never_came);
        self.count("taken in before the subscription", before as u64);
        let repaired = subscription.repaired.intersection(&subscription.lost);
        self.count("repaired", repaired.count() as u64);
    }
}
