//! From a track to the packets of its subscribers.
//!
//! A turn goes on subscriber by subscriber, so that the state of a subscription and the keys of its transport are
//! touched once for all packets of a batch, and what leaves for one peer is written in one piece.

use crate::egress::consumer::{Consumer, Resend};
use crate::egress::rewrite::Incoming;
use crate::egress::spec::ConsumerSpec;
use crate::ingress::cache::Kept;
use crate::ingress::keyframe_requests::Need;
use crate::ingress::track::Track;
use crate::reasons::{DropReason, Drops};
use crate::router::{Router, TICK};
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::Transport;
use crate::transport::header::{OutgoingDescriptor, OutgoingHeader};
use crate::transport::sink::TransmitSink;
use crate::wire::dependency_descriptor;
use crate::wire::layers::Layers;
use crate::wire::num::SeqNo;
use std::time::{Duration, Instant};

/// A picture does not wait longer for the path: what comes after it is of more use, and the cache is about to lose it.
pub(super) const MOST_WAIT: Duration = Duration::from_millis(800);
/// Nor so long where its publisher was asked for less, and what waits is what it sent before: what comes instead is smaller.
pub(super) const MOST_WAIT_FOR_LESS: Duration = Duration::from_millis(300);

/// Sends a packet on to one subscriber. `starts`: a decoder can begin with it. True: the subscriber does.
fn pass_on(
    now: Instant,
    consumer: &mut Consumer,
    transport: &mut Transport,
    kept: &Kept<'_>,
    starts: bool,
    longest: usize,
    sink: &mut impl TransmitSink,
) -> Result<bool, DropReason> {
    let waits = consumer.rewriter.is_waiting(kept.meta.epoch);
    let layers = match consumer.leaves_out {
        true => &kept.meta.layers,
        false => &Layers::NONE,
    };
    let plain = consumer.spec.payload_type;
    let leaving = consumer.copies.leave(plain, kept.payload, kept.meta.copies);
    let left_out = if leaving.payload.is_empty() {
        Some(DropReason::PaddingOnly)
    } else if waits || consumer.temporal.takes(layers, kept.meta.timestamp) {
        None
    } else {
        Some(match layers.needed {
            0 => DropReason::DescriptorMalformed,
            _ => DropReason::LayerLeftOut,
        })
    };
    let incoming = Incoming {
        epoch: kept.meta.epoch,
        ext: kept.meta.ext,
        timestamp: kept.meta.timestamp,
        starts,
        left_out,
    };
    let out = match consumer.rewriter.rewrite(now, incoming) {
        Err(reason) => {
            if reason == DropReason::LayerLeftOut && layers.ids.has_picture() {
                consumer.pictures.number(&layers.ids, true);
            }
            return Err(reason);
        }
        Ok(out) => out,
    };
    if out.begins {
        consumer.temporal.begin(kept.meta.timestamp);
        consumer.pictures.begin();
        if let Some(frame) = dependency_descriptor::frame(kept.descriptor) {
            consumer.frames.begin(frame);
        }
    }
    // A packet that has its number and is not to be sent leaves as one without a payload, so that nobody asks for it.
    let (mut payload, mut emptied) = (leaving.payload, left_out);
    let mut pictures = None;
    if layers.ids.has_picture() {
        let numbers = consumer.pictures.number(&layers.ids, left_out.is_some());
        pictures = numbers.map(|numbers| (layers.ids, numbers));
        if numbers.is_none() {
            emptied.get_or_insert(DropReason::PictureUnknown);
        }
    }
    let mut frame = dependency_descriptor::frame(kept.descriptor);
    if emptied.is_some() {
        (payload, pictures, frame) = (&[], None, None);
        consumer.rewriter.empty(out.ext);
    }
    let frame = frame.map(|frame| consumer.frames.number(frame));
    if let Some((_, numbers)) = pictures {
        consumer.pictures.on_sent(out.ext, numbers);
    }
    if consumer.rewriter.is_newest(out.ext) {
        consumer.in_frame = !kept.meta.marker;
    }
    let spec = &consumer.spec;
    let has_rtx = spec.rtx_ssrc.is_some();
    let len = payload.len();
    let header = OutgoingHeader {
        marker: kept.meta.marker,
        payload_type: leaving.payload_type,
        ext: out.ext,
        timestamp: out.timestamp,
        ssrc: spec.ssrc,
        extensions: &consumer.extensions,
        padding: u8::from(spec.pads && has_rtx && len > 0 && len + 1 == longest),
        original: None,
        repeatable: !has_rtx,
        pictures,
        blocks: leaving.blocks,
        descriptor: descriptor_of(spec, kept, frame),
    };
    transport.send_rtp(now, sink, &header, payload)?;
    consumer.on_sent(len);
    match emptied.filter(|reason| *reason != DropReason::PaddingOnly) {
        Some(reason) => Err(reason),
        None => Ok(out.begins),
    }
}

/// The descriptor of a packet whose frame has that number towards the subscriber, if that takes descriptors.
fn descriptor_of<'a>(
    spec: &ConsumerSpec,
    kept: &Kept<'a>,
    frame: Option<u16>,
) -> Option<OutgoingDescriptor<'a>> {
    let (id, frame) = spec.dependency_descriptor_extension.zip(frame)?;
    Some(OutgoingDescriptor {
        id,
        value: kept.descriptor,
        frame,
    })
}

/// Sends what overtook the packet that a subscriber began with: it was not given to it when it came, and to have it
/// asked for would cost a round trip.
fn catch_up<'a>(
    now: Instant,
    consumer: &mut Consumer,
    transport: &mut Transport,
    overtook: impl Iterator<Item = Kept<'a>>,
    mut sent: impl FnMut(&Kept<'a>),
    drops: &mut Drops,
    sink: &mut impl TransmitSink,
) {
    for kept in overtook {
        match pass_on(now, consumer, transport, &kept, false, 0, sink) {
            Ok(_) => sent(&kept),
            Err(reason) => drops.count_for(Some(transport), reason, 1),
        }
    }
}

impl Router {
    /// Sends on what came in this turn.
    pub fn forward(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        if self.fed_since.take().is_none() {
            return;
        }
        match self.fed[..] {
            [track] => self.forward_one(now, track, sink),
            _ => self.forward_several(now, sink),
        }
        self.serve_hurried(now, sink);
    }

    /// One track goes on: its subscribers in turn.
    fn forward_one(&mut self, now: Instant, track: TrackKey, sink: &mut impl TransmitSink) {
        self.fed.clear();
        let Some(track) = self.tracks.get_mut(track) else {
            return;
        };
        track.fed_from = None;
        // A copy, since a panic takes a subscriber out of the list.
        let mut consumers = std::mem::take(&mut self.receiving);
        consumers.clone_from(&track.consumers);
        self.for_each_isolated(&consumers, |router, consumer| {
            router.send_sources(now, *consumer, sink);
        });
        self.receiving = consumers;
    }

    /// Several tracks go on: each transport gets what all of them have for it.
    fn forward_several(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        for at in 0..self.fed.len() {
            let Some(track) = self.tracks.get_mut(self.fed[at]) else {
                continue;
            };
            track.fed_from = None;
            for consumer in &track.consumers {
                let to = self.consumers.get(*consumer).map(|it| it.transport);
                let Some((to, transport)) =
                    to.and_then(|to| Some((to, self.transports.get_mut(to)?)))
                else {
                    continue;
                };
                if transport.ready.is_empty() {
                    receivers.push(to);
                }
                transport.ready.push(*consumer);
            }
        }
        self.fed.clear();
        self.for_each_isolated(&receivers, |router, transport| {
            router.send_ready(now, *transport, false, sink);
        });
        self.receivers = receivers;
    }

    /// Does something for each of a list; a panic ends that one alone.
    fn for_each_isolated<T>(&mut self, list: &[T], mut work: impl FnMut(&mut Self, &T)) {
        let mut rest = list.iter();
        while rest.len() > 0 {
            let _panicked = self.isolated(|router| {
                for one in rest.by_ref() {
                    work(router, one);
                }
            });
        }
    }

    /// Sends a transport what its tracks have for it: sound before pictures, and keyframes before the rest of them where
    /// they waited.
    pub(super) fn send_ready(
        &mut self,
        now: Instant,
        index: TransportKey,
        waited: bool,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let mut ready = std::mem::take(&mut transport.ready);
        if ready.len() > 1 {
            let (consumers, tracks) = (&self.consumers, &self.tracks);
            let comes_next = |one: &Consumer| {
                let cache = tracks.get(one.track)?.cache.as_ref()?;
                cache.arrival(one.cursor)
            };
            ready.sort_unstable_by_key(|it| {
                consumers.get(*it).map(|one| {
                    let later = waited && !comes_next(one).is_some_and(|it| it.meta.keyframe);
                    (one.is_video(), later, one.places.at_transport)
                })
            });
        }
        for consumer in ready.drain(..) {
            self.send_sources(now, consumer, sink);
        }
        if let Some(transport) = self.transports.get_mut(index) {
            transport.ready = ready;
        }
    }

    /// Sends a subscription what waits for it: sound at once, pictures as the path carries them.
    pub(super) fn send_waiting(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        let source = self.tracks.get(consumer.track);
        let Some(cache) = source.and_then(|track| track.cache.as_ref()) else {
            return;
        };
        let Some(transport) = self.transports.get_mut(consumer.transport) else {
            return;
        };
        self.working_on = Some(consumer.transport);
        let end = cache.end();
        let in_vain = match (consumer.paused, transport.srtp.is_none(), consumer.starved) {
            (true, ..) => Some(DropReason::Paused),
            (_, true, _) => Some(DropReason::NotConnected),
            (.., true) => Some(DropReason::NoRoom),
            _ => None,
        };
        if let Some(reason) = in_vain {
            self.drops
                .count_for(Some(transport), reason, end - consumer.cursor);
            consumer.cursor = end;
            return;
        }
        let video = consumer.is_video();
        let longest = usize::from(source.map_or(0, |track| track.longest));
        let turn = self.latency.turn(now);
        let mut keyframe_wanted = false;
        let over_tcp = video && transport.ice.path().is_some_and(|path| path.is_tcp());
        transport.pacer.earn(now);
        while consumer.cursor < end {
            let kept = cache.arrival(consumer.cursor);
            if video && !transport.pacer.is_open() {
                break;
            }
            if over_tcp && transport.is_backed_up(now, sink) {
                break;
            }
            consumer.cursor += 1;
            let Some(kept) = kept else {
                self.drops
                    .count_for(Some(transport), DropReason::Overrun, 1);
                continue;
            };
            let starts = !video || kept.meta.keyframe;
            let begins_frame = video && !consumer.in_frame && !kept.payload.is_empty();
            match pass_on(now, consumer, transport, &kept, starts, longest, sink) {
                Ok(begins) => {
                    self.latency.note(turn, kept.meta.came_us);
                    if begins_frame {
                        let sent_since = source.and_then(Track::sent_since);
                        let paused_since = |at| sent_since.is_none_or(|since| since > at);
                        consumer.smoothness.on_frame(now, paused_since);
                    }
                    if begins && video {
                        let overtook = cache.overtakers(now, &kept.meta, consumer.cursor);
                        let sent = |kept: &Kept<'_>| self.latency.note(turn, kept.meta.came_us);
                        catch_up(
                            now,
                            consumer,
                            transport,
                            overtook,
                            sent,
                            &mut self.drops,
                            sink,
                        );
                    }
                }
                Err(reason) => {
                    keyframe_wanted |= reason == DropReason::AwaitingKeyframe;
                    self.drops.count_for(Some(transport), reason, 1);
                }
            }
        }
        let (track, to) = (consumer.track, consumer.transport);
        if consumer.cursor < end {
            let came = cache.arrival(consumer.cursor).map(|kept| kept.at);
            let until = self.wait_ends(now, index, came);
            if until <= now {
                return self.give_up_waiting(now, index);
            }
            let (Some(consumer), Some(transport)) =
                (self.consumers.get_mut(index), self.transports.get_mut(to))
            else {
                return;
            };
            transport.let_wait(index, consumer);
            let opens = match transport.waits_for_connection() {
                true => now + TICK,
                false => transport.pacer.opens_at(now),
            };
            let at = opens.min(until);
            self.wake(to, at);
        }
        if keyframe_wanted {
            self.want_keyframe(now, track, Need::FirstPicture);
        }
    }

    /// Asks a track's publisher for a keyframe: before this turn ends, or as soon as the throttle lets it.
    pub(crate) fn want_keyframe(&mut self, now: Instant, index: TrackKey, need: Need) {
        let Some(track) = self.tracks.get_mut(index) else {
            return;
        };
        track.want_keyframe(need);
        let transport = track.transport;
        match track.keyframe_due(now) {
            Some(at) if at <= now => self.hurry(transport),
            Some(at) => self.wake(transport, at),
            None => {}
        }
    }

    /// All video that a transport receives has to start anew.
    pub(crate) fn want_keyframes(&mut self, now: Instant, index: TransportKey) {
        let count = self
            .transports
            .get(index)
            .map_or(0, |transport| transport.consumers.len());
        for at in 0..count {
            let consumer = self
                .transports
                .get(index)
                .and_then(|transport| transport.consumers.get(at));
            let track = consumer
                .and_then(|consumer| self.consumers.get(*consumer))
                .filter(|it| !it.paused)
                .map(|it| it.track);
            if let Some(track) = track {
                self.want_keyframe(now, track, Need::FirstPicture);
            }
        }
    }

    /// Answers one number of a subscriber's NACK (RFC 4585 §6.2.1).
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        index: ConsumerKey,
        seq: SeqNo,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let consumer = self
            .consumers
            .get_mut(index)
            .ok_or(DropReason::UnknownStream)?;
        let Resend {
            source,
            original,
            timestamp_shift,
            emptied,
        } = consumer.on_nack(now, seq)?;
        let track = self
            .tracks
            .get(consumer.track)
            .ok_or(DropReason::UnknownStream)?;
        let cache = track.cache.as_ref().ok_or(DropReason::NackTooOld)?;
        if consumer.rewriter.is_waiting(track.epoch) {
            return Err(DropReason::NackTooOld);
        }
        let kept = cache.get_fresh(now, track.epoch, source);
        let kept = kept.ok_or(DropReason::NackTooOld)?;
        // Its number was kept for it, and it came late: it is still to be sent for the first time, if at all.
        if kept.arrival >= consumer.cursor {
            return Err(DropReason::NackTooSoon);
        }
        let copies = kept.meta.copies;
        if !consumer.copies.leaves_alike(original, copies) {
            return Err(DropReason::NackTooOld);
        }
        let plain = consumer.spec.payload_type;
        let leaving = consumer.copies.leave(plain, kept.payload, copies);
        let payload = if emptied { &[][..] } else { leaving.payload };
        let ids = kept.meta.layers.ids;
        let pictures = match ids.has_picture() && !emptied {
            true => {
                let numbers = consumer.pictures.sent_with(original);
                Some((ids, numbers.ok_or(DropReason::NackTooOld)?))
            }
            false => None,
        };
        let frame = dependency_descriptor::frame(kept.descriptor).filter(|_| !emptied);
        let frame = frame.map(|frame| consumer.frames.given_to(frame));
        let transport = self
            .transports
            .get_mut(consumer.transport)
            .ok_or(DropReason::NotConnected)?;
        transport.pacer.earn(now);
        if transport.pacer.is_exhausted() {
            return Err(DropReason::NackOverBudget);
        }
        if consumer.is_video() && transport.is_backed_up(now, sink) {
            return Err(DropReason::ConnectionFull);
        }
        // Without RTX the packet is sent again as it was, bit for bit: anything else under the same number would
        // use the keystream twice.
        let rtx = consumer.spec.rtx_payload_type.zip(consumer.spec.rtx_ssrc);
        let number = if rtx.is_some() {
            consumer.take_rtx_number()
        } else {
            original
        };
        let spec = &consumer.spec;
        let (payload_type, ssrc) = rtx.unwrap_or((leaving.payload_type, spec.ssrc));
        let header = OutgoingHeader {
            marker: kept.meta.marker,
            payload_type,
            ext: number,
            timestamp: kept.meta.timestamp.wrapping_add(timestamp_shift),
            ssrc,
            extensions: &consumer.extensions,
            padding: 0,
            original: rtx.map(|_| original.seq()),
            repeatable: rtx.is_none(),
            pictures,
            blocks: leaving.blocks,
            descriptor: descriptor_of(spec, &kept, frame),
        };
        let len = transport.send_rtp(now, sink, &header, payload)?;
        consumer.on_resent(now, original, len);
        Ok(())
    }
}
