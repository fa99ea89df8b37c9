//! From a publisher's packet to its track.

use crate::ingress::cache::{AUDIO_BYTES, MAX_PAYLOAD, Meta};
use crate::ingress::reception::Arrival;
use crate::ingress::track::Track;
use crate::reasons::DropReason;
use crate::router::Router;
use crate::router::event::Event;
use crate::slab::{TrackKey, TransportKey};
use crate::transport::Stream;
use crate::transport::sink::TransmitSink;
use crate::wire::codecs;
use crate::wire::layers::Layers;
use crate::wire::num::{ExtSeqNo, RtpTime};
use crate::wire::red;
use crate::wire::rtp::{self, RtpView};
use std::time::Instant;

/// Packets of one track that wait for the end of a turn at most: fewer than its cache holds whatever their size.
const MOST_IN_ONE_TURN: u64 = 16;

const _: () = assert!(MOST_IN_ONE_TURN as usize * MAX_PAYLOAD + MAX_PAYLOAD < AUDIO_BYTES);

/// A media packet of a track, freed of how it came.
pub(super) struct Media<'a> {
    pub(super) ext: ExtSeqNo,
    pub(super) marker: bool,
    pub(super) timestamp: RtpTime,
    /// Its dependency descriptor, if it is passed on.
    pub(super) descriptor: &'a [u8],
    pub(super) payload: &'a [u8],
    /// Whether a keyframe begins with it.
    pub(super) keyframe: bool,
    pub(super) layers: Layers,
    /// How much of the payload is copies of what was before, with their headers.
    pub(super) copies: u16,
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
        let arrival = self.came.saturating_duration_since(self.started);
        if let Some(due) = transport.record_arrival(now, arrival, &view) {
            self.wake(index, due);
        }
        let stream = self.find_stream(now, index, &view)?;
        match stream.rtx {
            false => self.receive_media_packet(now, stream.track, &view, sink),
            true => self.receive_retransmission(now, stream.track, &view, sink),
        }
    }

    /// The negotiated stream of a packet: by SSRC, else by the MID extension (RFC 8843 §9.2), and by that of the RID where
    /// several encodings share a MID (RFC 8853 §5.5), else by a payload type that only one track has.
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
                .filter(|(_, track)| track.spec.rid_fits(view))
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
        let came = self.came;
        let track = self
            .tracks
            .get_mut(index)
            .ok_or(DropReason::UnknownStream)?;
        let level = track.listen(now, view).map(|level| Event::ProducerLevel {
            producer: track.spec.producer,
            transport: track.spec.transport,
            level,
        });
        let stream = track.stream.as_mut().ok_or(DropReason::UnknownStream)?;
        let arrival = stream.on_packet(came, view.seq(), view.timestamp());
        if let Some(level) = level {
            self.emit(level);
        }
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
            .map_err(|_| DropReason::RtxUseless)?;
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
        let is_red = Some(view.payload_type()) == track.spec.red_payload_type;
        let copies = match is_red && !payload.is_empty() {
            true => match red::primary(payload) {
                Some((payload_type, at)) if payload_type == track.spec.payload_type => at as u16,
                _ => return Err(DropReason::RedMalformed),
            },
            false => 0,
        };
        let (descriptor, layers) = track.read_layers(view, payload);
        track.on_accepted(now, ext, gap, layers.lowest(), payload.len());
        let media = Media {
            ext,
            marker: view.marker(),
            timestamp: view.timestamp(),
            descriptor,
            payload,
            keyframe: codecs::is_keyframe_start(track.spec.codec, payload),
            layers,
            copies,
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
            track.on_keyframe(media.ext, media.timestamp);
        }
        let wants = [track.nack_due(), track.keyframe_due(now)];
        let wants = wants.into_iter().flatten().min();
        let transport = track.transport;
        if !media.payload.is_empty() {
            track.on_media(now, media.timestamp);
        }
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
        self.keep(now, index, media, sink);
    }

    /// Keeps a packet for all who consume the track, until the end of the turn and for repair.
    fn keep(
        &mut self,
        now: Instant,
        index: TrackKey,
        media: &Media<'_>,
        sink: &mut impl TransmitSink,
    ) {
        let waits = |track: &Track| track.fed_from.map_or(0, |from| track.next_arrival() - from);
        if self
            .tracks
            .get(index)
            .is_some_and(|track| waits(track) >= MOST_IN_ONE_TURN)
        {
            self.forward(now, sink);
        }
        let came_us = self.latency.moment(self.came);
        let Some(track) = self.tracks.get_mut(index) else {
            return;
        };
        if track.consumers.is_empty() {
            return;
        }
        let meta = Meta {
            epoch: track.epoch,
            ext: media.ext,
            timestamp: media.timestamp,
            marker: media.marker,
            keyframe: media.keyframe,
            layers: media.layers,
            copies: media.copies,
            came_us,
        };
        let arrival = track.next_arrival();
        if !track.keep(now, meta, media.descriptor, media.payload) {
            let transport = self.transports.get_mut(track.transport);
            return self.drops.count_for(transport, DropReason::TooLarge, 1);
        }
        let longest = if track.fed_from.is_some() {
            track.longest
        } else {
            0
        };
        track.longest = longest.max(media.payload.len() as u16);
        if track.fed_from.is_none() {
            track.fed_from = Some(arrival);
            self.fed.push(index);
            self.fed_since.get_or_insert(now);
        }
    }
}
