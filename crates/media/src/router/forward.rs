//! From a publisher's packet to the packets of its subscribers.

use crate::egress::consumer::{Consumer, Resend};
use crate::egress::rewrite::Incoming;
use crate::ingress::keyframe_requests::Need;
use crate::ingress::producer::Producer;
use crate::ingress::reception::Arrival;
use crate::reasons::DropReason;
use crate::router::Router;
use crate::router::event::Event;
use crate::transport::sink::TransmitSink;
use crate::transport::{OutgoingHeader, Stream};
use crate::wire::codecs;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo};
use crate::wire::rtp::{self, RtpView};
use std::time::Instant;

/// A media packet of a producer, freed of how it came.
struct Media<'a> {
    ext: ExtSeqNo,
    marker: bool,
    timestamp: RtpTime,
    payload: &'a [u8],
    /// Whether a keyframe begins with it.
    keyframe: bool,
}

impl Router {
    /// Takes in an authentic RTP packet.
    pub(crate) fn receive_rtp(
        &mut self,
        now: Instant,
        index: usize,
        packet: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let view = RtpView::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        let arrival = now.saturating_duration_since(self.started);
        if let Some(due) = transport.record_arrival(now, arrival, &view) {
            self.wake(index, due);
        }
        let stream = self.find_stream(now, index, &view)?;
        match stream.rtx {
            false => self.receive_media_packet(now, stream.producer, &view, sink),
            true => self.receive_retransmission(now, stream.producer, &view, sink),
        }
    }

    /// The negotiated stream of a packet: by SSRC, else by the MID extension (RFC 8843 §9.2), else by a payload
    /// type that only one track has.
    fn find_stream(
        &mut self,
        now: Instant,
        index: usize,
        view: &RtpView<'_>,
    ) -> Result<Stream, DropReason> {
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        let (ssrc, payload_type) = (view.ssrc(), view.payload_type());
        let rtx_of = |producer: &Producer| producer.spec.is_rtx(payload_type);
        if let Some(known) = transport.stream(ssrc) {
            let producer = self
                .producers
                .get(known.producer)
                .ok_or(DropReason::UnknownStream)?;
            // A signalled SSRC is what was signalled; retransmissions never hide in the media's.
            return match rtx_of(producer) == Some(known.rtx) {
                true => Ok(known),
                false => Err(DropReason::UnknownPayloadType),
            };
        }
        let candidates = || {
            transport
                .producers
                .iter()
                .filter_map(|at| Some((*at, self.producers.get(*at)?)))
        };
        let named = |producer: &Producer| {
            let mid = producer
                .spec
                .mid_extension
                .and_then(|id| view.extension(id));
            mid.is_some_and(|mid| !mid.is_empty() && mid == producer.spec.mid.as_bytes())
        };
        let carries_mid = candidates().any(|(_, producer)| {
            producer
                .spec
                .mid_extension
                .is_some_and(|id| view.extension(id).is_some())
        });
        let found = match carries_mid {
            true => candidates().find(|(_, producer)| named(producer)),
            false => {
                let mut fitting = candidates().filter(|(_, producer)| rtx_of(producer).is_some());
                let first = fitting.next();
                first.filter(|_| fitting.next().is_none())
            }
        };
        let (producer_index, producer) = found.ok_or(DropReason::UnknownStream)?;
        let rtx = rtx_of(producer).ok_or(DropReason::UnknownPayloadType)?;
        let stream = Stream {
            ssrc,
            producer: producer_index,
            rtx,
        };
        let producer = self
            .producers
            .get_mut(producer_index)
            .ok_or(DropReason::UnknownStream)?;
        if !rtx && !producer.accepts_stream(now, ssrc) {
            return Err(DropReason::UnknownStream);
        }
        // What the track was before is forgotten, so that a publisher that restarts often stays within its bounds.
        transport
            .streams
            .retain(|_, known| known.producer != producer_index || known.rtx != rtx);
        if !transport.set_stream(stream) {
            return Err(DropReason::TooManySources);
        }
        if !rtx {
            producer.switch_stream(ssrc);
        }
        Ok(stream)
    }

    fn receive_media_packet(
        &mut self,
        now: Instant,
        producer: usize,
        view: &RtpView<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let Some(known) = self.producers.get_mut(producer) else {
            return Err(DropReason::UnknownStream);
        };
        let arrival = known.reception.on_packet(view.seq());
        if matches!(arrival, Arrival::Newest { .. } | Arrival::Restarted { .. }) {
            known.reception.on_timing(now, view.timestamp());
        }
        self.accept(now, producer, arrival, view, view.payload(), sink)
    }

    /// A retransmission carries the number and the payload of another packet (RFC 4588 §4).
    fn receive_retransmission(
        &mut self,
        now: Instant,
        producer: usize,
        view: &RtpView<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        // Without even the number it is a probe.
        let original = rtp::rtx_original_seq(view.payload()).ok_or(DropReason::PaddingOnly)?;
        let known = self
            .producers
            .get_mut(producer)
            .ok_or(DropReason::UnknownStream)?;
        let ext = known
            .reception
            .on_retransmission(original)
            .ok_or(DropReason::RtxUseless)?;
        known.repaired += 1;
        let arrival = Arrival::Late { ext };
        self.accept(now, producer, arrival, view, &view.payload()[2..], sink)
    }

    fn accept(
        &mut self,
        now: Instant,
        index: usize,
        arrival: Arrival,
        view: &RtpView<'_>,
        payload: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let producer = self
            .producers
            .get_mut(index)
            .ok_or(DropReason::UnknownStream)?;
        let (ext, gap) = match arrival {
            Arrival::Newest { ext, gap } => (ext, gap),
            Arrival::Late { ext } => (ext, 0),
            Arrival::Restarted { ext } => {
                producer.restart();
                (ext, 0)
            }
            Arrival::Duplicate => return Err(DropReason::Replayed),
            Arrival::TooOld => return Err(DropReason::TooOld),
            Arrival::Jump => return Err(DropReason::SequenceJump),
        };
        producer.on_accepted(now, ext, gap, payload.len());
        let keyframe = codecs::is_keyframe_start(producer.spec.codec, payload);
        if keyframe {
            producer.on_keyframe(view.timestamp());
        }
        let wants = [producer.nack_due(), producer.keyframe_due(now)]
            .into_iter()
            .flatten()
            .min();
        let (transport, started) = (producer.transport, producer.started);
        let media = Media {
            ext,
            marker: view.marker(),
            timestamp: view.timestamp(),
            payload,
            keyframe,
        };
        if !started && !payload.is_empty() {
            producer.started = true;
            let event = Event::ProducerStarted {
                producer: producer.spec.producer,
                transport: producer.spec.transport,
            };
            self.emit(event);
        }
        if let Some(at) = wants {
            self.wake(transport, at);
        }
        self.fan_out(now, index, &media, sink);
        Ok(())
    }

    /// Forwards one packet to everybody who consumes the producer.
    fn fan_out(
        &mut self,
        now: Instant,
        index: usize,
        media: &Media<'_>,
        sink: &mut impl TransmitSink,
    ) {
        let Some(producer) = self.producers.get_mut(index) else {
            return;
        };
        producer.keep(now, media.ext, media.marker, media.timestamp, media.payload);
        let any = Consumer::starts_anywhere(producer.spec.kind);
        let video = producer.is_video();
        let incoming = Incoming {
            epoch: producer.epoch,
            ext: media.ext,
            timestamp: media.timestamp,
            starts: any || media.keyframe,
            empty: media.payload.is_empty(),
        };
        let mut keyframe_wanted = false;
        for at in 0..producer.consumers.len() {
            let Some(consumer) = self.consumers.get_mut(producer.consumers[at]) else {
                continue;
            };
            let Some(transport) = self.transports.get_mut(consumer.transport) else {
                continue;
            };
            if consumer.paused {
                self.drops.count(DropReason::Paused);
                continue;
            }
            if transport.srtp.is_none() {
                self.drops.count(DropReason::NotConnected);
                continue;
            }
            self.working_on = Some(consumer.transport);
            let sent = consumer.rewriter.rewrite(now, incoming).and_then(|out| {
                let spec = &consumer.spec;
                let header = OutgoingHeader {
                    marker: media.marker,
                    payload_type: spec.payload_type,
                    ext: out.ext,
                    timestamp: out.timestamp,
                    ssrc: spec.ssrc,
                    mid: spec.mid_extension.map(|id| (id, spec.mid.as_str())),
                    original: None,
                    repeatable: video && spec.rtx_ssrc.is_none(),
                };
                transport.send_rtp(sink, &header, media.payload)
            });
            match sent {
                Ok(_) => consumer.on_sent(media.payload.len()),
                Err(reason) => {
                    keyframe_wanted |= reason == DropReason::AwaitingKeyframe;
                    self.drops.count(reason);
                }
            }
        }
        if keyframe_wanted {
            self.want_keyframe(now, index, Need::FirstPicture);
        }
    }

    /// Asks a producer's publisher for a keyframe: before this turn ends, or as soon as the throttle lets it.
    pub(crate) fn want_keyframe(&mut self, now: Instant, index: usize, need: Need) {
        let Some(producer) = self.producers.get_mut(index) else {
            return;
        };
        producer.want_keyframe(need);
        let transport = producer.transport;
        match producer.keyframe_due(now) {
            Some(at) if at <= now => self.hurry(transport),
            Some(at) => self.wake(transport, at),
            None => {}
        }
    }

    /// All video that a transport receives has to start anew.
    pub(crate) fn want_keyframes(&mut self, now: Instant, index: usize) {
        let count = self
            .transports
            .get(index)
            .map_or(0, |transport| transport.consumers.len());
        for at in 0..count {
            let consumer = self
                .transports
                .get(index)
                .and_then(|transport| transport.consumers.get(at));
            let producer = consumer
                .and_then(|consumer| self.consumers.get(*consumer))
                .filter(|it| !it.paused)
                .map(|it| it.producer);
            if let Some(producer) = producer {
                self.want_keyframe(now, producer, Need::FirstPicture);
            }
        }
    }

    /// Answers one number of a subscriber's NACK (RFC 4585 §6.2.1).
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        index: usize,
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
        } = consumer.on_nack(now, seq)?;
        let producer = self
            .producers
            .get(consumer.producer)
            .ok_or(DropReason::UnknownStream)?;
        let cache = producer.cache.as_ref().ok_or(DropReason::NackTooOld)?;
        if consumer.rewriter.is_waiting(producer.epoch) {
            return Err(DropReason::NackTooOld);
        }
        let packet = cache.get_fresh(source, now).ok_or(DropReason::NackTooOld)?;
        let kept = RtpView::parse(packet).map_err(|_| DropReason::NackTooOld)?;
        let transport = self
            .transports
            .get_mut(consumer.transport)
            .ok_or(DropReason::NotConnected)?;
        // Without RTX the packet is sent again as it was, bit for bit: anything else under the same number would
        // use the keystream twice.
        let rtx = consumer.spec.rtx_payload_type.zip(consumer.spec.rtx_ssrc);
        let number = if rtx.is_some() {
            consumer.take_rtx_number()
        } else {
            original
        };
        let spec = &consumer.spec;
        let (payload_type, ssrc) = rtx.unwrap_or((spec.payload_type, spec.ssrc));
        let header = OutgoingHeader {
            marker: kept.marker(),
            payload_type,
            ext: number,
            timestamp: kept.timestamp().wrapping_add(timestamp_shift),
            ssrc,
            mid: spec.mid_extension.map(|id| (id, spec.mid.as_str())),
            original: rtx.map(|_| original.seq()),
            repeatable: rtx.is_none(),
        };
        let len = transport.send_rtp(sink, &header, kept.payload())?;
        consumer.on_resent(now, original, len);
        Ok(())
    }
}
