//! Fitting what goes to a peer into what its path carries: who gets how much, and what waits.

use crate::allocation::{self, MOST_CHOICES, Means, ROUGH_SLACK, SLACK, Video};
use crate::congestion::{Basis, Known};
use crate::egress::consumer::Consumer;
use crate::egress::spec::MAX_SOURCES;
use crate::ingress::demand::Offered;
use crate::ingress::keyframe_requests::Need;
use crate::reasons::DropReason;
use crate::router::forward::{MOST_WAIT, MOST_WAIT_FOR_LESS};
use crate::router::{Decision, Router};
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::Transport;
use crate::transport::pacer::ABOVE_GIVEN;
use crate::transport::sink::TransmitSink;
use crate::wire::layers::MAX_TEMPORAL;
use std::time::{Duration, Instant};

/// Between two divisions of one path while somebody lacks something: one costs as much as it has consumers.
const INTERVAL: Duration = Duration::from_millis(100);

/// So many times what a picture was sent with is looked for while it is sent with less.
const GROWTH: f64 = 1.2;

/// Packets that stand on the way for so long are a queue.
const QUEUE: Duration = Duration::from_millis(150);

/// A video that is to be given its part: its choices are its sources, the smallest first, and the temporal layers of that
/// one. Of a bigger one none are left out: the smaller one with all its frames is worth more than half of them.
pub(super) struct Claim {
    consumer: ConsumerKey,
    video: Video,
    /// Which source each choice is, and up to which temporal layer.
    sends: [(u8, u8); MOST_CHOICES],
    /// What it has before it is given anything.
    level: usize,
}

impl Claim {
    /// The source of a level, and its highest temporal layer; none: it is paused.
    fn sends(&self, level: usize) -> Option<(usize, u8)> {
        let at = level.checked_sub(1)?;
        let (place, temporal) = *self.sends.get(at)?;
        Some((usize::from(place), temporal))
    }

    /// The most of its choices that a consumer may be sent which has that source and that temporal layer at most: one of
    /// them at least, so that nobody is paused because choices are gone that it did not have.
    fn level_of(&self, biggest: usize, highest: u8) -> usize {
        let fits = |&level: &usize| {
            self.sends(level)
                .is_some_and(|(place, temporal)| (biggest, temporal) <= (place, highest))
        };
        let count = self.video.count;
        (1..=count).rev().find(fits).unwrap_or(1).min(count)
    }

    /// One choice more, which needs so many bits a second.
    fn add(&mut self, bits: u64, place: usize, temporal: u8) {
        let Video { choices, count, .. } = &mut self.video;
        // A publisher may send what it calls the smaller one at a higher rate.
        let least = choices[..*count].last().copied().unwrap_or_default();
        (choices[*count], self.sends[*count]) = (bits.max(least), (place as u8, temporal));
        *count += 1;
    }
}

impl AsMut<Video> for Claim {
    fn as_mut(&mut self) -> &mut Video {
        &mut self.video
    }
}

impl Router {
    /// What is held back for: nothing where the router does not adapt.
    pub(super) fn known(&self, now: Instant, index: TransportKey) -> Option<Known> {
        let bandwidth = self.transports.get(index)?.bandwidth.as_ref()?;
        self.adapts.then(|| bandwidth.known(now)).flatten()
    }

    /// The peer said something of its path.
    pub(crate) fn on_path_news(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let known = self.known(now, index);
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        transport.pace(now, known);
        let last = &transport.division;
        let is_tight = last.lacks || known.is_some_and(|it| it.carried < last.given);
        let soon = last
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < INTERVAL);
        if is_tight && !soon {
            self.divide(now, index);
        }
        self.serve_probe(now, index, sink);
    }

    /// Divides what a path carries among what goes over it. To be called once a second, and when it became tight.
    pub(crate) fn divide(&mut self, now: Instant, index: TransportKey) {
        let known = self.known(now, index);
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.bandwidth.is_none() {
            return;
        }
        transport.division.at = Some(now);
        let mut claims = std::mem::take(&mut self.claims);
        claims.clear();
        let mut sound = 0;
        for at in 0..transport.consumers.len() {
            let transport = self.transports.get(index);
            let Some(key) = transport.and_then(|it| it.consumers.get(at).copied()) else {
                break;
            };
            let Some(consumer) = self.consumers.get(key).filter(|it| !it.paused) else {
                continue;
            };
            if consumer.is_video() {
                self.look_for_speaker(now, key);
                claims.extend(self.claim(now, key));
            } else if let Some(track) = self.tracks.get_mut(consumer.track) {
                sound += track.bits_per_second(now, 0).unwrap_or_default();
            }
        }
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let consumers = &self.consumers;
        claims.sort_unstable_by_key(|claim| consumers.get(claim.consumer).map(Consumer::rank));
        // Nothing is known of the path: it carries all.
        let left = |it: Known| it.carried.saturating_sub(sound) as f64;
        let means = Means {
            available: known.map_or(f64::INFINITY, left),
            slack: known.map_or(SLACK, slack),
            queued: transport.is_queued(),
            probes: known.is_some_and(|it| it.basis == Basis::Feedback),
        };
        let mut division = allocation::divide(now, means, &mut claims);
        transport.division.given = sound + division.given as u64;
        transport.division.available = means.available as u64;
        let holds = known
            .and_then(|it| it.held)
            .map(|bits| bits.saturating_sub(sound) as f64);
        let more = self.offer_all(now, means, holds, &claims);
        division.wanted = division.wanted.or(more.map(|more| division.given + more));
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        transport.division.lacks = division.wanted.is_some();
        if let Some(bandwidth) = transport.bandwidth.as_mut() {
            bandwidth.set_wanted(division.wanted.map(|bits| bits as u64 + sound));
        }
        transport.pace(now, known);
        for claim in &claims {
            self.apply(now, claim);
        }
        self.claims = claims;
    }

    /// Tells the pictures what the path has for each of them. Returns how much more there would have to be for the first of
    /// them that is sent with less than it might be, since no path carries more. `holds`: what is known to fill no queue.
    fn offer_all(
        &mut self,
        now: Instant,
        means: Means,
        holds: Option<f64>,
        claims: &[Claim],
    ) -> Option<f64> {
        let is_known = means.probes && means.available.is_finite();
        let available = holds.unwrap_or(means.available);
        let fair = available / claims.len().max(1) as f64;
        let least = |claim: &Claim| fair.min(claim.video.whole() as f64);
        let taken: f64 = claims.iter().map(least).sum();
        let mut more = None;
        for claim in claims {
            let offered = Offered {
                bits: (available - taken + least(claim)) as u64,
                holds: holds.is_some(),
            };
            let full = self.offer(now, claim.consumer, is_known.then_some(offered));
            let full = full.map(|full| full as f64 * GROWTH - claim.video.whole() as f64);
            more = more.or(full.filter(|more| *more > 0.0));
        }
        more
    }

    /// Whether a video shows somebody who speaks now: whose sound comes on the same transport.
    fn look_for_speaker(&mut self, now: Instant, index: ConsumerKey) {
        let publisher = self
            .consumers
            .get(index)
            .and_then(|consumer| self.tracks.get(consumer.track))
            .and_then(|track| self.transports.get(track.transport));
        let tracks = publisher.map_or(&[][..], |it| &it.tracks);
        let mut tracks = tracks.iter().filter_map(|key| self.tracks.get(*key));
        let speaks = tracks.any(|track| track.speaks(now));
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        if !std::mem::replace(&mut consumer.shows_speaker, speaks) && speaks {
            consumer.share.prefer();
        }
    }

    /// Gives a video what it was given.
    fn apply(&mut self, now: Instant, claim: &Claim) {
        let Some(consumer) = self.consumers.get_mut(claim.consumer) else {
            return;
        };
        let level = claim.video.share.level(claim.video.count);
        consumer.share = claim.video.share;
        if level != claim.level {
            self.set_level(now, claim, level);
        }
    }

    /// What a video may be sent as, and what that costs.
    fn claim(&mut self, now: Instant, index: ConsumerKey) -> Option<Claim> {
        let consumer = self.consumers.get(index)?;
        let mut claim = Claim {
            consumer: index,
            video: Video {
                share: consumer.share,
                choices: [0; MOST_CHOICES],
                count: 0,
                adapts: self.is_adapting(now, index),
            },
            sends: [(0, 0); MOST_CHOICES],
            level: 0,
        };
        let wanted = consumer.temporal.wanted;
        for place in (consumer.sources.wanted()..MAX_SOURCES).rev() {
            let track = consumer.sources.track(place);
            let Some(track) = track.and_then(|key| self.tracks.get_mut(key)) else {
                continue;
            };
            let bits = track.bits_per_second(now, wanted);
            let Some(bits) = bits.filter(|bits| *bits > 0) else {
                continue;
            };
            if claim.video.count == 0 && consumer.leaves_out {
                for temporal in 0..track.highest_layer().min(wanted) {
                    let bits = track.bits_per_second(now, temporal);
                    claim.add(bits.unwrap_or_default(), place, temporal);
                }
            }
            claim.add(bits, place, MAX_TEMPORAL);
        }
        let count = claim.video.count;
        if !consumer.starved {
            let highest = consumer.temporal.most();
            claim.level = claim.level_of(consumer.sources.allowed(), highest);
        }
        claim.video.share.settle(count, claim.level);
        (count > 0).then_some(claim)
    }

    /// A picture waited too long for the path: what is next to be sent of it is what comes, when it has a part again.
    pub(super) fn give_up_waiting(&mut self, now: Instant, index: ConsumerKey) {
        let Some(consumer) = self.consumers.get(index) else {
            return;
        };
        let Some(track) = self.tracks.get(consumer.track) else {
            return;
        };
        let end = track.next_arrival();
        self.note(index, Decision::GivesUp);
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        let transport = self.transports.get_mut(consumer.transport);
        let reason = match transport
            .as_ref()
            .is_some_and(|it| it.waits_for_connection())
        {
            true => DropReason::ConnectionFull,
            false => DropReason::WaitedTooLong,
        };
        self.drops
            .count_for(transport, reason, end - consumer.cursor);
        consumer.cursor = end;
        consumer.rewriter.stop();
        let (transport, track) = (consumer.transport, consumer.track);
        if self.is_adapting(now, index) {
            // What follows needs less.
            return self.want_keyframe(now, track, Need::Repair);
        }
        // While a queue empties less is sent than the path carries: that a picture waits says nothing of its part then.
        if self
            .known(now, transport)
            .is_some_and(|it| it.is_emptying())
        {
            return;
        }
        let Some(mut claim) = self.claim(now, index) else {
            return;
        };
        claim.video.share.give_up(now, claim.video.count);
        self.apply(now, &claim);
        self.divide(now, transport);
    }

    /// Temporal layers up to that one may be sent.
    pub(super) fn allow_layers(&mut self, index: ConsumerKey, highest: u8) {
        let before = self.consumers.get(index).map(|it| it.temporal.allowed);
        if before != Some(highest) {
            self.note(index, Decision::Layers(highest));
        }
        if let Some(consumer) = self.consumers.get_mut(index) {
            consumer.temporal.allowed = highest;
        }
    }

    fn set_level(&mut self, now: Instant, claim: &Claim, level: usize) {
        let sends = claim.sends(level);
        let (place, temporal) = sends.unwrap_or((MAX_SOURCES, MAX_TEMPORAL));
        self.allow_layers(claim.consumer, temporal);
        let was_starved = self.consumers.get(claim.consumer).map(|it| it.starved);
        match (was_starved, sends) {
            (Some(false), None) => self.note(claim.consumer, Decision::Starves),
            (Some(true), Some(_)) => self.note(claim.consumer, Decision::Resumes),
            _ => {}
        }
        let Some(consumer) = self.consumers.get_mut(claim.consumer) else {
            return;
        };
        let resumes = std::mem::replace(&mut consumer.starved, sends.is_none()) && sends.is_some();
        if sends.is_none() {
            consumer.rewriter.stop();
        }
        consumer.sources.allow(place);
        let track = consumer.track;
        self.choose_source(now, claim.consumer);
        if resumes {
            self.want_keyframe(now, track, Need::FirstPicture);
        }
    }

    /// What waits of a subscription is looked at with the next tick.
    pub(super) fn serve_soon(&mut self, now: Instant, index: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        let to = consumer.transport;
        if let Some(transport) = self.transports.get_mut(to) {
            transport.let_wait(index, consumer);
        }
        self.wake(to, now);
    }

    /// How long the next packet of a picture may wait for the path.
    fn most_wait(&self, now: Instant, consumer: &Consumer) -> Duration {
        match self.adapts(now, consumer.track) && consumer.rewriter.is_flowing() {
            true => MOST_WAIT_FOR_LESS,
            false => MOST_WAIT,
        }
    }

    /// Until when a packet that came then may wait.
    pub(super) fn wait_ends(
        &self,
        now: Instant,
        index: ConsumerKey,
        came: Option<Instant>,
    ) -> Instant {
        let consumer = self.consumers.get(index);
        let most = consumer.map(|it| self.most_wait(now, it));
        came.zip(most).map_or(now, |(came, most)| came + most)
    }

    /// Whether the publisher of what a subscription gets was asked a moment ago to send less of it.
    fn is_adapting(&self, now: Instant, index: ConsumerKey) -> bool {
        let consumer = self.consumers.get(index);
        consumer.is_some_and(|it| self.adapts(now, it.track))
    }

    fn adapts(&self, now: Instant, track: TrackKey) -> bool {
        let Some(track) = self.tracks.get(track) else {
            return false;
        };
        let publisher = self.transports.get(track.transport);
        publisher.is_some_and(|it| it.demanded.less().is_some())
            && track.limit.is_some_and(|it| it.is_news(now))
    }

    /// When something that waits for the path may leave, or has waited long enough, though nothing of its track comes.
    pub(super) fn waiting_due(&self, now: Instant, transport: &Transport) -> Option<Instant> {
        let given_up = transport.waiting.iter().filter_map(|key| {
            let consumer = self.consumers.get(*key)?;
            let cache = self.tracks.get(consumer.track)?.cache.as_ref()?;
            Some(cache.arrival(consumer.cursor)?.at + self.most_wait(now, consumer))
        });
        let opens = (!transport.waiting.is_empty()).then(|| transport.pacer.opens_at(now));
        opens.into_iter().chain(given_up).min()
    }

    /// Sends what waits for the path, as far as it carries it now.
    pub(crate) fn serve_waiting(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.waiting.is_empty() {
            return;
        }
        transport.ready.append(&mut transport.waiting);
        for key in &transport.ready {
            if let Some(consumer) = self.consumers.get_mut(*key) {
                consumer.is_waiting_for_path = false;
            }
        }
        self.send_ready(now, index, true, sink);
    }
}

/// How many times an estimate what is sent may need.
fn slack(known: Known) -> f64 {
    match known.basis {
        Basis::Feedback => SLACK,
        Basis::Remb => ROUGH_SLACK,
    }
}

impl Transport {
    /// What waits of a subscription is looked at when the path opens; it stands in the list once.
    pub(super) fn let_wait(&mut self, index: ConsumerKey, consumer: &mut Consumer) {
        if !std::mem::replace(&mut consumer.is_waiting_for_path, true) {
            self.waiting.push(index);
        }
    }

    /// Whether packets stand on the way.
    fn is_queued(&self) -> bool {
        self.bandwidth.as_ref().is_some_and(|it| it.queue() > QUEUE)
    }

    /// Sets how fast pictures may leave in the long run: what is given out is not held back by this, unless it stands in a
    /// queue then, in which sound would stand with it.
    fn pace(&mut self, now: Instant, known: Option<Known>) {
        let queued = self.is_queued();
        let given = self.division.given;
        let rate = known.map(|it| {
            let bits = it.bits_per_second;
            match queued {
                true => (bits as f64 / ABOVE_GIVEN) as u64,
                false => bits.max(given.min((bits as f64 * slack(it)) as u64)),
            }
        });
        self.pacer.set_rate(now, rate);
        if known.is_some_and(|it| it.is_emptying()) {
            self.pacer.forgo();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    #[test]
    fn a_consumer_has_the_most_of_the_choices_that_it_may_be_sent_and_one_at_least() {
        let mut claim = Claim {
            consumer: Slab::new().insert(()),
            video: Video {
                share: allocation::Share::default(),
                choices: [0; MOST_CHOICES],
                count: 0,
                adapts: false,
            },
            sends: [(0, 0); MOST_CHOICES],
            level: 0,
        };
        assert_eq!(claim.level_of(0, MAX_TEMPORAL), 0, "of none");
        for (place, temporal) in [(1, 0), (1, 1), (1, MAX_TEMPORAL), (0, MAX_TEMPORAL)] {
            claim.add(1, place, temporal);
        }
        let cases = [
            ((0, MAX_TEMPORAL), 4),
            ((0, 1), 3),
            ((1, MAX_TEMPORAL), 3),
            ((1, 1), 2),
            ((1, 0), 1),
            ((2, MAX_TEMPORAL), 1),
        ];
        for ((biggest, highest), level) in cases {
            assert_eq!(
                claim.level_of(biggest, highest),
                level,
                "{biggest} {highest}"
            );
        }
    }
}
