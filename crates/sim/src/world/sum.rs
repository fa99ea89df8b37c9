//! The sums of a [`World`]: nothing is unaccounted for.

use crate::subscription::{Fate, Subscription};
use crate::world::{Track, Weather, World};
use parlour_media::DropReason;
use std::collections::BTreeMap;
use std::time::Duration;

impl World {
    /// The end: everybody's link is fine and nothing changes; what is published then reaches everybody who wants it.
    /// At last all sums are drawn.
    pub fn finish(&mut self) {
        for participant in &mut self.participants {
            (participant.up, participant.down) = (Weather::FINE, Weather::FINE);
        }
        self.run(Duration::from_secs(2), false);
        let published =
            |track: &Track| track.publisher.first + track.publisher.published.len() as u64;
        let marks: Vec<u64> = self.tracks.iter().map(published).collect();
        self.run(Duration::from_millis(500), false);
        self.is_silent = true;
        self.run(Duration::from_millis(200), false);
        let subscriptions = std::mem::take(&mut self.subscriptions);
        for subscription in &subscriptions {
            self.draw_sum(subscription, true);
            let who = format!("{:?}", subscription.spec.consumer);
            let end = published(&self.tracks[subscription.track]);
            assert!(
                end > marks[subscription.track] + 10,
                "{who}: its publisher is silent"
            );
            for number in marks[subscription.track]..end {
                let expected = match subscription.fates.get(&number) {
                    Some(Fate::Sent(out)) => subscription.delivered.contains(out),
                    Some(Fate::Dropped(DropReason::Paused)) => subscription.paused,
                    other => *other.expect("a fate") == Fate::Dropped(DropReason::PaddingOnly),
                };
                assert!(
                    expected,
                    "{who} misses packet {number} on links without loss"
                );
            }
        }
        self.subscriptions = subscriptions;
    }

    /// What was published was sent or has a reason; what was sent was delivered or was lost on the link.
    pub(crate) fn draw_sum(&mut self, subscription: &Subscription, is_over: bool) {
        let who = format!("{:?}", subscription.spec.consumer);
        let Track {
            publisher,
            arrivals,
            ..
        } = &self.tracks[subscription.track];
        let (mut never_came, mut before) = (0, 0);
        for at in 0..publisher.published.len() as u64 {
            let number = publisher.first + at;
            let came = arrivals.came.contains(&number);
            let earlier = subscription.before.contains(&number);
            let fate = subscription.fates.get(&number);
            assert_eq!(
                came && !earlier,
                fate.is_some(),
                "{who}: packet {number} has no fate"
            );
            never_came += u64::from(!came);
            before += u64::from(earlier);
        }
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
            "{who}"
        );
        let named: u64 = tally.values().sum();
        assert_eq!(
            named + never_came + before,
            publisher.published.len() as u64,
            "{who}"
        );
        if is_over {
            let of_link = subscription.delivered.len()
                + subscription.lost.len()
                + subscription.by_repair.len();
            assert_eq!(
                of_link,
                subscription.sent.len(),
                "{who}: sent = delivered + lost on the link"
            );
            assert!(
                subscription.delivered.is_disjoint(&subscription.lost),
                "{who}"
            );
        }
        for (name, count) in tally {
            self.count(name, count);
        }
        self.count("published", named + never_came + before);
        self.count("lost before the router", never_came);
        self.count("published before the subscription", before);
        self.count("repaired", subscription.repaired.len() as u64);
    }
}
