//! Which of its sources a consumer gets. It stays with the one it has until a keyframe of the other begins, and stands in the
//! lists of both meanwhile. However often that changes, each change is a place in a list, and keyframes are asked for as
//! seldom as ever.

use crate::egress::consumer::Consumer;
use crate::egress::sources::Next;
use crate::ingress::keyframe_requests::Need;
use crate::ingress::track::Presence;
use crate::reasons::{DropReason, Shortfall};
use crate::router::event::Event;
use crate::router::{Decision, Router};
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::sink::TransmitSink;
use std::time::{Duration, Instant};

/// How often it is looked whether a source is missing, or there again.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A keyframe of another source waits no longer than this for the end of a frame of the one before.
const LONGEST_FRAME: Duration = Duration::from_millis(100);

impl Router {
    /// Sends a subscription all that waits for it, of the source it gets and, from a keyframe on, of the one that follows.
    pub(super) fn send_sources(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        sink: &mut impl TransmitSink,
    ) {
        self.send_waiting(now, index, sink);
        if self.next_begins(now, index) {
            self.switch_source(index);
            self.tell_source(now, index);
            self.send_waiting(now, index, sink);
        }
    }

    /// Whether the source that follows is to be sent from here on. What came of it before a keyframe is passed over.
    fn next_begins(&mut self, now: Instant, index: ConsumerKey) -> bool {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return false;
        };
        let Some(next) = &mut consumer.next else {
            return false;
        };
        if !consumer.rewriter.is_flowing() {
            return true;
        }
        let Some(track) = self.tracks.get(next.track) else {
            return false;
        };
        let Some(cache) = &track.cache else {
            return false;
        };
        let from = next.cursor;
        let mut begins = None;
        while next.cursor < cache.end() && begins.is_none() {
            begins = cache.arrival(next.cursor).filter(|it| it.meta.keyframe);
            next.cursor += u64::from(begins.is_none());
        }
        let passed = next.cursor - from;
        let transport = self.transports.get_mut(consumer.transport);
        self.drops
            .count_for(transport, DropReason::AwaitingKeyframe, passed);
        // The frame that is under way of the one before is not cut in two, if its end comes.
        begins.is_some_and(|kept| {
            let waits = now.saturating_duration_since(kept.at);
            !consumer.in_frame || waits >= LONGEST_FRAME
        })
    }

    /// A subscription goes on with the source that follows.
    fn switch_source(&mut self, index: ConsumerKey) {
        let Some(consumer) = self.consumers.get(index) else {
            return;
        };
        let Some(next) = consumer.next else {
            return;
        };
        self.note(index, Decision::Switches);
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        let before = consumer.track;
        if let Some(track) = self.tracks.get(before) {
            let left = track.next_arrival() - consumer.cursor;
            let transport = self.transports.get_mut(consumer.transport);
            self.drops
                .count_for(transport, DropReason::LeftBehind, left);
        }
        let clocks = self.tracks.get(before).filter(|it| {
            // Only of the number space whose time line was carried on.
            !consumer.rewriter.is_waiting(it.epoch)
        });
        let clocks = clocks.and_then(|it| it.clock);
        let clocks = clocks.zip(self.tracks.get(next.track).and_then(|it| it.clock));
        let place = consumer.switch_to(next, clocks.map(|(one, other)| [one, other]));
        self.take_out_of_track(before, place);
    }

    /// The control plane wants that source of a subscription, and its temporal layers up to that one or all.
    pub(super) fn want_source(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        source: usize,
        temporal: Option<u8>,
    ) {
        let transport = self.consumers.get(index).map(|it| it.transport);
        let known = transport.and_then(|transport| self.known(now, transport));
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        consumer.sources.want(source);
        let before = consumer.temporal.wanted;
        consumer.temporal.want(temporal);
        if let Some(transport) = transport.filter(|_| known.is_some()) {
            if consumer.is_video() && consumer.temporal.wanted > before {
                // What was not wanted before comes when there is room for it.
                let highest = consumer.temporal.allowed.min(before);
                self.allow_layers(index, highest);
            }
            self.divide(now, transport);
        }
        self.choose_source(now, index);
    }

    /// Sees to it that a subscription gets what it should: called whenever what is wanted, allowed or there has changed.
    pub(crate) fn choose_source(&mut self, now: Instant, index: ConsumerKey) {
        self.prepare_source(now, index);
        self.tell_source(now, index);
    }

    /// Tells the control plane what a subscription gets and why, once that has come about: a source that is to follow is
    /// told when it follows.
    fn tell_source(&mut self, now: Instant, index: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        let told = match (consumer.starved, consumer.next) {
            (true, _) => (None, Some(Shortfall::Bandwidth)),
            (false, Some(_)) => return,
            (false, None) => {
                let layers = |why: &Shortfall| *why != Shortfall::AwaitingLayer;
                let why = consumer.shortfall().filter(layers);
                (Some(consumer.sources.current()), why)
            }
        };
        if std::mem::replace(&mut consumer.told, told) == told {
            return;
        }
        let wanted = consumer.sources.track(consumer.sources.wanted());
        let track = wanted.and_then(|key| self.tracks.get_mut(key));
        let needed = track.and_then(|it| it.bits_per_second(now, consumer.temporal.wanted));
        let transport = self.transports.get(consumer.transport);
        let event = Event::ConsumerSource {
            transport: consumer.spec.transport,
            consumer: consumer.spec.consumer,
            source: told.0,
            why: told.1,
            needed: needed.unwrap_or_default(),
            available: transport.map_or(0, |it| it.division.available),
        };
        self.emit(event);
    }

    fn prepare_source(&mut self, now: Instant, index: ConsumerKey) {
        let Some(consumer) = self.consumers.get(index) else {
            return;
        };
        let tracks = &self.tracks;
        let presence = |track: TrackKey| {
            let track = tracks.get(track);
            track.map_or(Presence::Gone, |it| it.presence(now))
        };
        let Some(target) = consumer.sources.target(presence) else {
            return;
        };
        let current = consumer.sources.current();
        if consumer.next.is_some_and(|next| next.place == target) {
            return;
        }
        self.leave_next(index);
        if target == current {
            return;
        }
        let needs = self.enter_next(index, target);
        let Some((consumer, needs)) = self.consumers.get(index).zip(needs) else {
            return;
        };
        // Without a picture there is nothing to stay with.
        let need = match consumer.rewriter.is_flowing() {
            true => Need::Repair,
            false => {
                self.switch_source(index);
                Need::FirstPicture
            }
        };
        if self.is_shown(index) {
            self.want_keyframe(now, needs, need);
        }
    }

    /// Whether a subscription is on and has somebody who gets it.
    fn is_shown(&self, index: ConsumerKey) -> bool {
        let is_on = |it: &&Consumer| !it.paused && !it.starved;
        let consumer = self.consumers.get(index).filter(is_on);
        let transport = consumer.and_then(|it| self.transports.get(it.transport));
        transport.is_some_and(|it| it.srtp.is_some())
    }

    /// Lists a subscription with the source that is to follow. Returns the track of that.
    fn enter_next(&mut self, index: ConsumerKey, place: usize) -> Option<TrackKey> {
        let key = self.consumers.get(index)?.sources.track(place)?;
        self.note(index, Decision::Follows(place));
        let consumer = self.consumers.get_mut(index)?;
        let track = self.tracks.get_mut(key)?;
        consumer.next = Some(Next {
            place,
            track: key,
            at_track: track.consumers.len(),
            cursor: track.next_arrival(),
        });
        track.consumers.push(index);
        Some(key)
    }

    /// The source that was to follow does not.
    fn leave_next(&mut self, index: ConsumerKey) {
        if self
            .consumers
            .get(index)
            .is_some_and(|it| it.next.is_some())
        {
            self.note(index, Decision::Stays);
        }
        let consumer = self.consumers.get_mut(index);
        if let Some(next) = consumer.and_then(|it| it.next.take()) {
            self.take_out_of_track(next.track, next.at_track);
        }
    }

    /// A source of a subscription is gone, of which so many packets came: it goes on with another. False when there is none.
    pub(super) fn lose_source(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        (gone, came): (TrackKey, u64),
    ) -> bool {
        let Some(consumer) = self.consumers.get(index) else {
            return true;
        };
        let loses = consumer.track == gone;
        if consumer.next.is_some_and(|next| next.track == gone) {
            self.note(index, Decision::Stays);
        }
        if loses {
            self.note(index, Decision::Loses);
        }
        let Some(consumer) = self.consumers.get_mut(index) else {
            return true;
        };
        if consumer.next.is_some_and(|next| next.track == gone) {
            consumer.next = None;
        }
        if !loses {
            return true;
        }
        let transport = self.transports.get_mut(consumer.transport);
        let left = came - consumer.cursor;
        self.drops
            .count_for(transport, DropReason::LeftBehind, left);
        consumer.cursor = came;
        // There is no picture to stay with, and no frame to be ended.
        consumer.rewriter.stop();
        if consumer.next.is_some() {
            self.switch_source(index);
            // A keyframe of it may be there already, which waited for the end of a frame, and nothing else may come.
            self.serve_soon(now, index);
        }
        self.choose_source(now, index);
        let consumer = self.consumers.get(index);
        consumer.is_none_or(|it| it.track != gone)
    }

    /// Looks which sources of a transport's subscriptions are missing, or there again.
    pub(super) fn serve_sources(&mut self, now: Instant, index: TransportKey) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.look_at_sources.is_none_or(|at| at > now) {
            return;
        }
        let count = transport.consumers.len();
        let mut are_several = false;
        for at in 0..count {
            let transport = self.transports.get(index);
            let Some(key) = transport.and_then(|it| it.consumers.get(at).copied()) else {
                break;
            };
            let consumer = self.consumers.get(key);
            if consumer.is_some_and(|it| it.sources.are_several()) {
                are_several = true;
                self.choose_source(now, key);
            }
        }
        if let Some(transport) = self.transports.get_mut(index) {
            transport.look_at_sources = are_several.then_some(now + LOOK_INTERVAL);
        }
    }
}

impl Consumer {
    /// Where it says that it stands in that track's list.
    pub(super) fn place_at(&mut self, track: TrackKey) -> Option<&mut usize> {
        if self.track == track {
            return Some(&mut self.places.at_track);
        }
        let next = self.next.as_mut().filter(|it| it.track == track);
        next.map(|it| &mut it.at_track)
    }
}
