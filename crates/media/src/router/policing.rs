//! Holding a peer to what it may send: what is too much is dropped, and the sender is told the bound.

use super::Router;
use super::event::Event;
use crate::reasons::DropReason;
use crate::slab::{TrackKey, TransportKey};
use crate::transport::policer::Class;
use crate::transport::sink::TransmitSink;
use crate::wire::codecs::Kind;
use crate::wire::num::Ssrc;
use crate::wire::rtcp::{self, MAX_REMB_SOURCES};
use crate::wire::rtp::RtpView;
use std::time::Instant;

impl Router {
    /// Lets an authentic packet pass, or drops it because its sender is over the limit. `wire_bytes` is the length
    /// of the datagram that it came in.
    pub(crate) fn police(
        &mut self,
        now: Instant,
        index: TransportKey,
        packet: &[u8],
        is_rtcp: bool,
        wire_bytes: usize,
    ) -> Result<(), DropReason> {
        let class = match is_rtcp {
            true => Class::Rtcp,
            false => self.class_of(index, packet),
        };
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        let was_over = transport.policer.is_over(now);
        let admitted = transport.policer.admits(now, class, wire_bytes);
        let begins = !admitted && !was_over;
        let policer = &transport.policer;
        let tell = transport.estimate.as_mut();
        let tell = tell.and_then(|it| it.on_packet(now, class, wire_bytes, begins, policer));
        if let Some(at) = tell {
            self.wake(index, at);
        }
        if admitted {
            return Ok(());
        }
        let Some(transport) = self.transports.get_mut(index) else {
            return Err(DropReason::UnknownSource);
        };
        let bits_per_second = transport.policer.bits_per_second();
        if let Some(packets) = transport.policer.news(now) {
            let transport = transport.id;
            self.emit(Event::IngressPoliced {
                transport,
                packets,
                bits_per_second,
            });
        }
        Err(DropReason::OverBitrate)
    }

    fn class_of(&self, index: TransportKey, packet: &[u8]) -> Class {
        let (Some(transport), Ok(view)) = (self.transports.get(index), RtpView::parse(packet))
        else {
            return Class::Video;
        };
        let is_audio = |at: &TrackKey| {
            let track = self.tracks.get(*at);
            track.is_some_and(|track| {
                let is_media = track.spec.is_rtx(view.payload_type()) == Some(false);
                track.spec.kind == Kind::Audio && is_media
            })
        };
        let audio = match transport.stream(view.ssrc()) {
            Some(stream) => !stream.rtx && is_audio(&stream.track),
            // The first packet of a stream that was not signalled.
            None => transport.tracks.iter().any(is_audio),
        };
        if audio { Class::Audio } else { Class::Video }
    }

    /// Sends an estimate when it is due.
    pub(crate) fn serve_estimate(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let estimate = transport.estimate.as_mut();
        if let Some(bitrate) = estimate.and_then(|it| it.take(now, &transport.policer)) {
            let less = transport.demanded.less();
            let bitrate = less.map_or(bitrate, |less| less.min(bitrate));
            self.send_estimate(index, bitrate, sink);
        }
    }

    /// Tells a peer how many bits a second it may send.
    pub(super) fn send_estimate(
        &mut self,
        index: TransportKey,
        bits_per_second: u64,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let of = transport.tracks.iter();
        let of = of.filter_map(|track| self.tracks.get(*track));
        let of = of.filter(|track| track.spec.remb);
        let mut sources = [Ssrc(0); MAX_REMB_SOURCES];
        let mut count = 0;
        for (place, ssrc) in sources.iter_mut().zip(of.filter_map(|track| track.ssrc())) {
            *place = ssrc;
            count += 1;
        }
        let sender = transport.feedback_ssrc;
        transport.send_rtcp(sink, |buf| {
            rtcp::write_remb(buf, sender, bits_per_second, &sources[..count])
        });
    }
}
