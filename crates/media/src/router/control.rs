//! RTCP in both directions: requests for packets and keyframes, feedback, and the reports that come.

use crate::ingress::keyframe_requests::Need;
use crate::ingress::reception::{from_q16, to_ntp};
use crate::ingress::repair::Timing;
use crate::ingress::track::SenderClock;
use crate::reasons::DropReason;
use crate::router::Router;
use crate::slab::{ConsumerKey, TrackKey, TransportKey};
use crate::transport::round_trip::RoundTrip;
use crate::transport::sink::TransmitSink;
use crate::wire::num::{SeqNo, Ssrc};
use crate::wire::rtcp::{self, ReportBlock, Rtcp, SenderInfo};
use crate::wire::twcc::Feedback;
use crate::wire::xr::ReferenceEcho;
use std::time::{Duration, Instant};

/// Sequence numbers that are looked at in one NACK. A packet of RTCP could name 17 for each 4 bytes; nobody
/// misses more than the cache holds.
const MAX_NACKED: usize = 512;

/// Packets that a feedback may tell of for each item of the RTCP budget: their work is less than that of others.
const STATUSES_PER_ITEM: u16 = 16;

/// Requests put into one NACK: each may need four bytes.
const NACKS_PER_PACKET: usize = 256;

/// What timers add to a round trip: ours, and those of the peer's pacer.
const TIMERS: Duration = Duration::from_millis(10);

impl Router {
    /// Takes in an authentic compound packet. What follows a malformed part is not looked at.
    pub(crate) fn receive_rtcp(
        &mut self,
        now: Instant,
        index: TransportKey,
        packet: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        for part in rtcp::parse_compound(packet) {
            let part = part.map_err(|_| DropReason::RtcpMalformed)?;
            self.spend_rtcp(now, index)?;
            match part {
                Rtcp::SenderReport { ssrc, info, blocks } => {
                    self.on_sender_report(index, ssrc, info);
                    self.on_reports(now, index, blocks)?;
                }
                Rtcp::ReceiverReport { blocks, .. } => self.on_reports(now, index, blocks)?,
                Rtcp::Nack { media, lost, .. } => self.on_nack(now, index, media, lost, sink)?,
                Rtcp::Pli { media, .. } => self.on_keyframe_request(now, index, media),
                Rtcp::Fir { requests, .. } => {
                    for (media, _) in requests {
                        self.spend_rtcp(now, index)?;
                        self.on_keyframe_request(now, index, media);
                    }
                }
                Rtcp::Xr { echoes, .. } => {
                    for echo in echoes {
                        self.spend_rtcp(now, index)?;
                        self.on_reference_echo(index, echo);
                    }
                }
                Rtcp::Bye(sources) => {
                    for ssrc in sources {
                        self.spend_rtcp(now, index)?;
                        self.on_bye(index, ssrc);
                    }
                }
                Rtcp::Twcc(feedback) => self.on_feedback(now, index, &feedback, sink)?,
                Rtcp::Remb { bitrate, .. } => self.on_remb(now, index, bitrate, sink),
                Rtcp::Sdes(_) | Rtcp::Other { .. } => {}
            }
        }
        Ok(())
    }

    /// One more thing that a peer's RTCP wants looked at. What follows it in the packet is not, once that is too much.
    fn spend_rtcp(&mut self, now: Instant, index: TransportKey) -> Result<(), DropReason> {
        let transport = self.transports.get_mut(index);
        match transport.is_some_and(|transport| transport.rtcp_budget.take(now)) {
            true => Ok(()),
            false => Err(DropReason::RtcpOverBudget),
        }
    }

    fn on_reports(
        &mut self,
        now: Instant,
        index: TransportKey,
        blocks: impl Iterator<Item = ReportBlock>,
    ) -> Result<(), DropReason> {
        for block in blocks {
            self.spend_rtcp(now, index)?;
            self.on_report(index, block);
        }
        Ok(())
    }

    /// The track whose media this SSRC of the transport is.
    fn track_of(&self, index: TransportKey, ssrc: Ssrc) -> Option<TrackKey> {
        let stream = self.transports.get(index)?.stream(ssrc)?;
        (!stream.rtx).then_some(stream.track)
    }

    /// The consumer that leaves on the transport under this SSRC.
    fn consumer_of(&self, index: TransportKey, ssrc: Ssrc) -> Option<ConsumerKey> {
        self.transports.get(index)?.outgoing.get(&ssrc).copied()
    }

    fn on_sender_report(&mut self, index: TransportKey, ssrc: Ssrc, info: SenderInfo) {
        let came = self.came;
        let track = self
            .track_of(index, ssrc)
            .and_then(|at| self.tracks.get_mut(at));
        if let Some(track) = track {
            // A report from before a restart may come after it.
            if let Some(stream) = &mut track.stream
                && !stream.on_sender_report(came, info.ntp, info.rtp_time)
            {
                return;
            }
            track.clock = Some(SenderClock {
                ntp: info.ntp,
                rtp: info.rtp_time,
                at: came,
            });
        }
    }

    fn on_report(&mut self, index: TransportKey, block: ReportBlock) {
        let came = self.came;
        let consumer = self
            .consumer_of(index, block.ssrc)
            .and_then(|at| self.consumers.get_mut(at));
        if let Some(consumer) = consumer {
            let told = consumer.on_report(came, &block);
            let Some(transport) = self.transports.get_mut(index) else {
                return;
            };
            if let Some(bandwidth) = transport.bandwidth.as_mut() {
                bandwidth.on_report(came, block.fraction_lost, told, consumer.rtt);
            }
            if let Some(sample) = consumer.rtt.filter(|_| block.last_sr != 0) {
                transport.round_trip.on_sample(sample);
            }
        }
    }

    /// A publisher tells how long ago it got our time (RFC 3611 §4.5). It may lie, and is asked too often or seldom then.
    fn on_reference_echo(&mut self, index: TransportKey, echo: ReferenceEcho) {
        let came = to_ntp(self.came.saturating_duration_since(self.started));
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if echo.ssrc != transport.feedback_ssrc || echo.last_reference == 0 {
            return;
        }
        let took = ((came >> 16) as u32)
            .wrapping_sub(echo.last_reference)
            .wrapping_sub(echo.delay);
        transport.round_trip.on_sample(from_q16(took));
    }

    fn on_nack(
        &mut self,
        now: Instant,
        index: TransportKey,
        media: Ssrc,
        mut lost: impl Iterator<Item = SeqNo>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let Some(consumer) = self.consumer_of(index, media) else {
            return Ok(());
        };
        for seq in lost.by_ref().take(MAX_NACKED) {
            self.spend_rtcp(now, index)?;
            if let Err(reason) = self.resend(now, consumer, seq, sink) {
                let transport = self.transports.get_mut(index);
                self.drops.count_for(transport, reason, 1);
            }
        }
        let transport = self.transports.get_mut(index);
        let more = lost.count() as u64;
        self.drops
            .count_for(transport, DropReason::NackTooMany, more);
        Ok(())
    }

    /// What a subscriber says of when our packets came.
    fn on_feedback(
        &mut self,
        now: Instant,
        index: TransportKey,
        feedback: &Feedback<'_>,
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let Some(transport) = self.transports.get_mut(index) else {
            return Ok(());
        };
        let Some(bandwidth) = transport.bandwidth.as_mut() else {
            return Ok(());
        };
        // A few bytes may claim 65,535 packets.
        for _ in 0..feedback.status_count / STATUSES_PER_ITEM {
            if !transport.rtcp_budget.take(now) {
                return Err(DropReason::RtcpOverBudget);
            }
        }
        let ignored = bandwidth.on_feedback(now, feedback);
        for (reason, count) in [
            (DropReason::FeedbackNeverSent, ignored.never_sent),
            (DropReason::FeedbackForgotten, ignored.forgotten),
        ] {
            self.drops.count_for(Some(transport), reason, count);
        }
        self.on_path_news(now, index, sink);
        Ok(())
    }

    /// A subscriber says what it can take, in bits a second.
    fn on_remb(
        &mut self,
        now: Instant,
        index: TransportKey,
        bits_per_second: u64,
        sink: &mut impl TransmitSink,
    ) {
        let transport = self.transports.get_mut(index);
        if let Some(bandwidth) = transport.and_then(|it| it.bandwidth.as_mut()) {
            bandwidth.on_remb(now, bits_per_second);
        }
        self.on_path_news(now, index, sink);
    }

    fn on_keyframe_request(&mut self, now: Instant, index: TransportKey, media: Ssrc) {
        let consumer = self
            .consumer_of(index, media)
            .and_then(|at| self.consumers.get_mut(at));
        let Some(consumer) = consumer else { return };
        consumer.keyframe_requests += 1;
        let (track, paused) = (consumer.track, consumer.paused);
        if !paused {
            self.want_keyframe(now, track, Need::Repair);
        }
    }

    /// The publisher ends a stream: what is missing of it will not come (RFC 3550 §6.6).
    fn on_bye(&mut self, index: TransportKey, ssrc: Ssrc) {
        let track = self
            .track_of(index, ssrc)
            .and_then(|at| self.tracks.get_mut(at));
        if let Some(track) = track {
            track.restart();
        }
    }

    /// Sends what a transport's tracks need: requests for packets and keyframes, feedback.
    pub(crate) fn serve_tracks(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        transport.send_feedback(now, sink);
        if transport.srtp.is_none() {
            return;
        }
        let sender = transport.feedback_ssrc;
        for at in 0..transport.tracks.len() {
            let Some(track) = self.tracks.get_mut(transport.tracks[at]) else {
                continue;
            };
            let Some(media) = track.ssrc() else {
                continue;
            };
            let (timing, budget) = (timing(&transport.round_trip), &mut transport.nack_budget);
            track.take_nacks(now, timing, || budget.take(now), &mut self.numbers);
            if transport.policer.is_over(now) {
                // What we dropped is not to be sent once more, on top of what is too much already.
                self.numbers.clear();
            }
            for numbers in self.numbers.chunks(NACKS_PER_PACKET) {
                transport.send_rtcp(sink, |buf| rtcp::write_nack(buf, sender, media, numbers));
            }
        }
        self.ask_for_keyframes(now, index, sink);
    }

    /// Sends the requests for keyframes that cannot wait for the next turn.
    pub(crate) fn ask_for_keyframes(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.srtp.is_none() {
            return;
        }
        let sender = transport.feedback_ssrc;
        let mut again = None;
        for at in 0..transport.tracks.len() {
            let track = self.tracks.get_mut(transport.tracks[at]);
            let Some((track, media)) = track.and_then(|it| it.ssrc().map(|ssrc| (it, ssrc))) else {
                continue;
            };
            if track.take_keyframe_request(now) {
                transport.send_rtcp(sink, |buf| rtcp::write_pli(buf, sender, media));
            }
            again = again.into_iter().chain(track.keyframe_due(now)).min();
        }
        if let Some(at) = again {
            self.wake(index, at);
        }
    }
}

/// When a publisher is asked again: a round trip and what that varies by after the last time, half as much again at most;
/// both ends look at their timers every few milliseconds.
fn timing(round_trip: &RoundTrip) -> Timing {
    let Some(smoothed) = round_trip.smoothed() else {
        return Timing::default();
    };
    let margin = (round_trip.deviation().unwrap_or_default() * 4).clamp(smoothed / 8, smoothed / 2);
    Timing {
        round_trip: smoothed,
        repeat_after: smoothed + margin + TIMERS,
    }
}
