//! From a publisher's packet to the packets of its subscribers.

use crate::egress::consumer::{Consumer, Resend};
use crate::egress::rewrite::Incoming;
use crate::ingress::keyframe_requests::Need;
use crate::ingress::reception::Arrival;
use crate::ingress::track::Track;
use crate::reasons::DropReason;
use crate::router::Router;
use crate::router::event::Event;
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::sink::TransmitSink;
use crate::transport::{OutgoingHeader, Stream};
use crate::wire::codecs;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo};
use crate::wire::rtp::{self, RtpView};
use std::time::Instant;

/// A media packet of a track, freed of how it came.
pub(super) struct Media<'a> {
    pub(super) ext: ExtSeqNo,
    pub(super) marker: bool,
    pub(super) timestamp: RtpTime,
    pub(super) payload: &'a [u8],
    /// Whether a keyframe begins with it.
    pub(super) keyframe: bool,
}

impl Router {
    /// Takes in an authentic RTP packet.
    pub(crate) fn receive_rtp(
        &mut self,
        now: Instant,
        index: TransportKey,
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
            false => self.receive_media_packet(now, stream.track, &view, sink),
            true => self.receive_retransmission(now, stream.track, &view, sink),
        }
    }

    /// The negotiated stream of a packet: by SSRC, else by the MID extension (RFC 8843 §9.2), else by a payload
    /// type that only one track has.
    fn find_stream(
        &mut self,
        now: Instant,
        index: TransportKey,
        view: &RtpView<'_>,
    ) -> Result<Stream, DropReason> {
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        let (ssrc, payload_type) = (view.ssrc(), view.payload_type());
        let rtx_of = |track: &Track| track.spec.is_rtx(payload_type);
        if let Some(known) = transport.stream(ssrc) {
            let track = self
                .tracks
                .get(known.track)
                .ok_or(DropReason::UnknownStream)?;
            // A signalled SSRC is what was signalled; retransmissions never hide in the media's.
            return match rtx_of(track) == Some(known.rtx) {
                true => Ok(known),
                false => Err(DropReason::UnknownPayloadType),
            };
        }
        let candidates = || {
            transport
                .tracks
                .iter()
                .filter_map(|at| Some((*at, self.tracks.get(*at)?)))
        };
        let named = |track: &Track| {
            let mid = track.spec.mid_extension.and_then(|id| view.extension(id));
            mid.is_some_and(|mid| !mid.is_empty() && mid == track.spec.mid.as_bytes())
        };
        let carries_mid = candidates().any(|(_, track)| {
            track
                .spec
                .mid_extension
                .is_some_and(|id| view.extension(id).is_some())
        });
        let found = match carries_mid {
            true => candidates().find(|(_, track)| named(track)),
            false => {
                let mut fitting = candidates().filter(|(_, track)| rtx_of(track).is_some());
                let first = fitting.next();
                first.filter(|_| fitting.next().is_none())
            }
        };
        let (track_index, track) = found.ok_or(DropReason::UnknownStream)?;
        let rtx = rtx_of(track).ok_or(DropReason::UnknownPayloadType)?;
        let stream = Stream {
            ssrc,
            track: track_index,
            rtx,
        };
        let track = self
            .tracks
            .get_mut(track_index)
            .ok_or(DropReason::UnknownStream)?;
        if !rtx && !track.accepts_stream(now, ssrc) {
            return Err(DropReason::UnknownStream);
        }
        // What the track was before is forgotten, so that a publisher that restarts often stays within its bounds.
        transport
            .streams
            .retain(|_, known| known.track != track_index || known.rtx != rtx);
        if !transport.set_stream(stream) {
            return Err(DropReason::TooManySources);
        }
        if !rtx {
            track.switch_stream(ssrc);
        }
        Ok(stream)
    }

    fn receive_media_packet(
        &mut self,
        now: Instant,
        index: TrackKey,
        view: &RtpView<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let track = self.tracks.get_mut(index);
        let stream = track
            .and_then(|track| track.stream.as_mut())
            .ok_or(DropReason::UnknownStream)?;
        let arrival = stream.on_packet(now, view.seq(), view.timestamp());
        self.accept(now, index, arrival, view, view.payload(), sink)
    }

    /// A retransmission carries the number and the payload of another packet (RFC 4588 §4).
    fn receive_retransmission(
        &mut self,
        now: Instant,
        index: TrackKey,
        view: &RtpView<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        // Without even the number it is a probe.
        let original = rtp::rtx_original_seq(view.payload()).ok_or(DropReason::PaddingOnly)?;
        let track = self
            .tracks
            .get_mut(index)
            .ok_or(DropReason::UnknownStream)?;
        let stream = track.stream.as_mut().ok_or(DropReason::RtxUseless)?;
        let ext = stream
            .on_retransmission(original)
            .ok_or(DropReason::RtxUseless)?;
        track.repaired += 1;
        let arrival = Arrival::Late { ext };
        self.accept(now, index, arrival, view, &view.payload()[2..], sink)
    }

    /// What a stream makes of a packet: its place in the track, or why it has none.
    fn accept(
        &mut self,
        now: Instant,
        index: TrackKey,
        arrival: Arrival,
        view: &RtpView<'_>,
        payload: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let track = self
            .tracks
            .get_mut(index)
            .ok_or(DropReason::UnknownStream)?;
        let (ext, gap) = match arrival {
            Arrival::Newest { ext, gap } => (ext, gap),
            Arrival::Late { ext } => (ext, 0),
            Arrival::Restarted { ext } => {
                track.restart();
                (ext, 0)
            }
            Arrival::Duplicate => return Err(DropReason::Replayed),
            Arrival::TooOld => return Err(DropReason::TooOld),
            Arrival::Jump => return Err(DropReason::SequenceJump),
        };
        track.on_accepted(now, ext, gap, payload.len());
        let media = Media {
            ext,
            marker: view.marker(),
            timestamp: view.timestamp(),
            payload,
            keyframe: codecs::is_keyframe_start(track.spec.codec, payload),
        };
        self.feed(now, index, &media, sink);
        Ok(())
    }

    /// A track goes on by one packet, wherever that comes from.
    pub(super) fn feed(
        &mut self,
        now: Instant,
        index: TrackKey,
        media: &Media<'_>,
        sink: &mut impl TransmitSink,
    ) {
        let Some(track) = self.tracks.get_mut(index) else {
            return;
        };
        if media.keyframe {
            track.on_keyframe(media.timestamp);
        }
        let wants = [track.nack_due(), track.keyframe_due(now)];
        let wants = wants.into_iter().flatten().min();
        let transport = track.transport;
        if !track.started && !media.payload.is_empty() {
            track.started = true;
            let event = Event::ProducerStarted {
                producer: track.spec.producer,
                transport: track.spec.transport,
            };
            self.emit(event);
        }
        if let Some(at) = wants {
            self.wake(transport, at);
        }
        self.fan_out(now, index, media, sink);
    }

    /// Forwards one packet to everybody who consumes the track.
    fn fan_out(
        &mut self,
        now: Instant,
        index: TrackKey,
        media: &Media<'_>,
        sink: &mut impl TransmitSink,
    ) {
        let Some(track) = self.tracks.get_mut(index) else {
            return;
        };
        track.keep(now, media.ext, media.marker, media.timestamp, media.payload);
        let any = Consumer::starts_anywhere(track.spec.kind);
        let video = track.is_video();
        let incoming = Incoming {
            epoch: track.epoch,
            ext: media.ext,
            timestamp: media.timestamp,
            starts: any || media.keyframe,
            empty: media.payload.is_empty(),
        };
        let mut keyframe_wanted = false;
        for at in 0..track.consumers.len() {
            let Some(consumer) = self.consumers.get_mut(track.consumers[at]) else {
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
        } = consumer.on_nack(now, seq)?;
        let track = self
            .tracks
            .get(consumer.track)
            .ok_or(DropReason::UnknownStream)?;
        let cache = track.cache.as_ref().ok_or(DropReason::NackTooOld)?;
        if consumer.rewriter.is_waiting(track.epoch) {
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
