//! Asking publishers for as much of their pictures as the paths of their viewers carry.

use crate::ingress::demand::{Best, Limit, Offered};
use crate::router::Router;
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::sink::TransmitSink;
use crate::wire::codecs::Kind;
use crate::wire::layers::MAX_TEMPORAL;
use std::time::{Duration, Instant};

/// Between two looks at one publisher: one costs as much as its pictures have viewers.
const INTERVAL: Duration = Duration::from_millis(100);

/// Nothing can be known of a path for so long after its first picture was asked for.
pub(super) const NEW: Duration = Duration::from_secs(3);

/// What stands on the way to us for longer than this is asked to go, until it stands for no longer than that: the publisher
/// is to send this share of what comes, and not less than so much.
const TOO_LONG: Duration = Duration::from_millis(200);
const LITTLE: Duration = Duration::from_millis(60);
const DRAINING: f64 = 0.7;
const LEAST_UP: u64 = 60_000;
/// It is tried for so long at a time, in which so much of it has to go.
const TRIED: Duration = Duration::from_secs(4);
const LESS: f64 = 0.8;

impl Router {
    /// What a path has for a picture of somebody's may have changed what they are to send.
    pub(super) fn look_at_demand(&mut self, now: Instant, publisher: TransportKey) {
        let Some(transport) = self.transports.get_mut(publisher) else {
            return;
        };
        let earliest = transport.demand_looked_at.map(|at| at + INTERVAL);
        let at = earliest.map_or(now, |at| at.max(now));
        if transport.look_at_demand.is_none_or(|due| due > at) {
            transport.look_at_demand = Some(at);
            self.wake(publisher, at);
        }
    }

    /// Looks how much of a publisher's pictures is of use to anybody, when that is due, and tells it.
    pub(super) fn serve_demand(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.look_at_demand.is_none_or(|at| at > now) {
            return;
        }
        (transport.look_at_demand, transport.demand_looked_at) = (None, Some(now));
        let of_use = self.limit_of(now, index);
        let carried = self.limit_of_uplink(now, index);
        let limit = of_use.into_iter().chain(carried).min();
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.demanded.tell(now, limit) {
            let all = transport.policer.bits_per_second();
            self.send_estimate(index, limit.unwrap_or(all), sink);
        }
    }

    /// How much of what a publisher sends goes over its own path without standing in front of it; none: nothing stands.
    fn limit_of_uplink(&mut self, now: Instant, index: TransportKey) -> Option<u64> {
        let stands = self.stands(now, index);
        let transport = self.transports.get_mut(index)?;
        let (drains, is_in_vain) = match (transport.drains, stands) {
            (None, Some(stands)) if stands > TOO_LONG => (Some((now, stands)), false),
            (None, _) => (None, false),
            (Some(_), Some(stands)) if stands <= LITTLE => (None, false),
            (Some((since, stood)), stands) if now.saturating_duration_since(since) >= TRIED => {
                let is_less = stands.filter(|stands| *stands < stood.mul_f64(LESS));
                (is_less.map(|stands| (now, stands)), is_less.is_none())
            }
            (drains, _) => (drains, false),
        };
        transport.drains = drains;
        if is_in_vain {
            self.take_for_the_way(index);
        }
        drains?;
        let transport = self.transports.get(index)?;
        let mut comes = 0;
        for key in &transport.tracks {
            let track = self.tracks.get_mut(*key)?;
            let rate = track.bits_per_second(now, MAX_TEMPORAL);
            comes += rate.unwrap_or_default();
        }
        let bits = (comes as f64 * DRAINING) as u64;
        (comes > 0).then(|| bits.max(LEAST_UP))
    }

    /// What stands does not go though less is sent: it is no queue, but a longer way or a sender who was asleep.
    fn take_for_the_way(&mut self, index: TransportKey) {
        let Some(transport) = self.transports.get(index) else {
            return;
        };
        for key in &transport.tracks {
            let stream = self.tracks.get_mut(*key).and_then(|it| it.stream.as_mut());
            if let Some(stream) = stream {
                stream.standing = stream.standing.renewed();
            }
        }
    }

    /// How long all that a publisher sends stands on its way to us; none while that is not to be known. One stream alone may
    /// be late by itself, so there have to be sound and a picture.
    fn stands(&self, now: Instant, index: TransportKey) -> Option<Duration> {
        let tracks = self.transports.get(index).map(|it| &it.tracks);
        let tracks = tracks.into_iter().flatten();
        let mut least = [None; 2];
        for track in tracks.filter_map(|key| self.tracks.get(*key)) {
            let queue = track.stream.as_ref().and_then(|it| it.standing.queue(now));
            let kind = usize::from(track.is_video());
            least[kind] = least[kind].into_iter().chain(queue).min();
        }
        let [sound, picture] = least;
        sound.zip(picture).map(|(one, other)| one.min(other))
    }

    /// Looks once a second whether anything is to be told to a publisher.
    pub(super) fn look_at_publisher(&mut self, now: Instant, index: TransportKey) {
        let Some(transport) = self.transports.get(index) else {
            return;
        };
        let mut tracks = transport.tracks.iter();
        let heeds = |key: &TrackKey| self.tracks.get(*key).is_some_and(|it| it.spec.remb);
        if tracks.any(heeds)
            && (transport.demanded.is_held() || self.stands(now, index) > Some(TOO_LONG))
        {
            self.look_at_demand(now, index);
        }
    }

    /// How much of all that a publisher sends is of use; none: all of it. An estimate is of everything together, so nothing
    /// can be asked for less while a picture is to stay as it is.
    fn limit_of(&mut self, now: Instant, index: TransportKey) -> Option<u64> {
        let mut all = Some(0);
        let mut is_asked_for_less = false;
        for at in 0.. {
            let transport = self.transports.get(index);
            let Some(key) = transport.and_then(|it| it.tracks.get(at).copied()) else {
                break;
            };
            let Some(track) = self.tracks.get_mut(key) else {
                continue;
            };
            let rate = track.bits_per_second(now, MAX_TEMPORAL);
            let rate = rate.unwrap_or_default();
            let enough = track.limit.is_none().then_some(rate);
            let best = self.best_path_for(now, key, enough);
            let Some(track) = self.tracks.get_mut(key) else {
                continue;
            };
            let bits = match track.spec.kind {
                Kind::Audio => Some(rate),
                Kind::Video => {
                    let best = best.filter(|_| track.spec.remb);
                    track.limit = Limit::after(now, track.limit, rate, best);
                    is_asked_for_less |= track.limit.is_some();
                    let silent = (rate == 0).then_some(0);
                    track.limit.map(|it| it.asked()).or(silent)
                }
            };
            all = all.zip(bits).map(|(all, bits)| all + bits);
        }
        all.filter(|_| is_asked_for_less)
    }

    /// What the best path of those who get a picture has for it; none: somebody's has all, or nobody gets it. Who came a
    /// moment ago, and whose path nobody can know yet, gets what the others get. One that has `enough` settles it.
    fn best_path_for(&self, now: Instant, key: TrackKey, enough: Option<u64>) -> Option<Best> {
        let track = self.tracks.get(key)?;
        let mut best: Option<Best> = None;
        for consumer in &track.consumers {
            let Some(consumer) = self.consumers.get(*consumer).filter(|it| !it.paused) else {
                continue;
            };
            let to = self.transports.get(consumer.transport);
            if to.is_some_and(|it| it.srtp.is_some()) {
                if consumer.offered.is_none() && consumer.new_until.is_some_and(|at| now < at) {
                    continue;
                }
                let (offered, goes) = (consumer.offered?, !consumer.starved);
                if enough.is_some_and(|enough| offered.bits >= enough) {
                    return None;
                }
                if best.is_none_or(|best| offered.bits > best.offered.bits) {
                    best = Some(Best { offered, goes });
                }
            }
        }
        best
    }

    /// A path had so much for that picture in its division. Returns what it would be sent with if it was not asked for
    /// less.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        offered: Option<Offered>,
    ) -> Option<u64> {
        let consumer = self.consumers.get_mut(index)?;
        consumer.offered = offered.filter(|_| !consumer.sources.are_several());
        let offered = consumer.offered;
        let track = self.tracks.get_mut(consumer.track)?;
        let rate = track.bits_per_second(now, MAX_TEMPORAL);
        let is_less = offered.is_some_and(|it| rate.is_some_and(|rate| it.bits < rate));
        let (limit, publisher) = (track.limit, track.transport);
        if track.spec.remb && (is_less || limit.is_some()) {
            self.look_at_demand(now, publisher);
        }
        limit.map(|it| it.full)
    }
}
