//! Reports that go out: on what a transport publishes, and on what it receives.

use crate::ingress::reception::to_ntp;

use crate::router::Router;
use crate::slab::{TrackKey, TransportKey};
use crate::transport::sink::TransmitSink;
use crate::transport::{MAX_RTCP, REPORT_INTERVAL};
use crate::wire::codecs::Kind;
use crate::wire::rtcp::{self, ReportBlock, SenderInfo};
use crate::wire::xr;
use std::time::Instant;

/// Report blocks of one receiver report (RFC 3550 §6.4.1).
const MAX_BLOCKS: usize = 31;

/// Room that one sender report with its description takes at most: 28 bytes, and a CNAME of 255.
const REPORT_ROOM: usize = 28 + 4 + 4 + 2 + 255 + 4;

/// Of loss beyond this on the way to one subscriber nobody is told: correction for it would cost the others more of the
/// sound than it gives to that one.
const MOST_LOST_BY_ONE: f64 = 0.1;

/// Copies of sound go over paths of so many bits a second at least, as they double what it takes.
const ROOM_FOR_COPIES: u64 = 300_000;

impl Router {
    /// Sends the reports of a transport when they are due: on what it publishes and on what it receives.
    pub(crate) fn serve_reports(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.next_report.is_none_or(|at| at > now) {
            return;
        }
        transport.next_report = Some(now + REPORT_INTERVAL);
        if let Some(bandwidth) = &mut transport.bandwidth {
            bandwidth.on_tick(now);
            self.divide(now, index);
        }
        self.send_receiver_report(now, index, sink);
        self.send_sender_reports(now, index, sink);
        self.fit_copies(index);
        self.look_at_publisher(now, index);
    }

    /// Decides which of a transport's sound needs the copies that its publisher sends with it.
    fn fit_copies(&mut self, index: TransportKey) {
        let Some(transport) = self.transports.get(index) else {
            return;
        };
        let bandwidth = transport.bandwidth.as_ref();
        let downlink = bandwidth.map_or(0.0, |it| it.missed());
        // What is lost for want of room is not to be made up for by sending more.
        let is_full = bandwidth.is_some_and(|it| it.estimate() < ROOM_FOR_COPIES);
        for consumer in &transport.consumers {
            let consumer = self.consumers.get_mut(*consumer);
            let Some(consumer) = consumer.filter(|it| it.spec.red_payload_type.is_some()) else {
                continue;
            };
            let track = self.tracks.get(consumer.track);
            let stream = track.and_then(|it| it.stream.as_ref());
            let uplink = stream.map_or(0.0, |it| it.share_lost());
            let next = consumer.rewriter.next_number();
            let share = if is_full { 0.0 } else { uplink + downlink };
            consumer.copies.on_loss(share, next);
        }
    }

    fn send_receiver_report(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let mut blocks = [ReportBlock::default(); MAX_BLOCKS];
        let (mut at, mut count) = (0, 0);
        while let Some(key) = self.transports.get(index).and_then(|it| it.tracks.get(at)) {
            let block = self.report_on(now, *key);
            at += 1;
            let Some(block) = block else { continue };
            if count == MAX_BLOCKS
                && let Some(transport) = self.transports.get_mut(index)
            {
                let sender = transport.feedback_ssrc;
                transport.send_rtcp(sink, |buf| {
                    rtcp::write_receiver_report(buf, sender, &blocks)
                });
                count = 0;
            }
            blocks[count] = block;
            count += 1;
        }
        let transport = self.transports.get_mut(index).filter(|_| count > 0);
        if let Some(transport) = transport {
            let sender = transport.feedback_ssrc;
            // With our time, which the peer echoes: a receiver has no sender reports of its own to be echoed.
            let ntp = to_ntp(now.saturating_duration_since(self.started));
            transport.send_rtcp(sink, |buf| {
                let len = rtcp::write_receiver_report(buf, sender, &blocks[..count]);
                len + xr::write_reference_time(&mut buf[len..], sender, ntp)
            });
        }
    }

    /// What is reported on a track to its publisher; nothing before its first packet.
    ///
    /// Of sound the fraction lost (RFC 3550 §6.4.1) is what those who hear it miss: an encoder of Opus measures by it how
    /// much of each packet it puts into the next one (RFC 6716 §2.1.7), and neither repair in time, which sound seldom
    /// waits for, nor our being in the middle changes what is missing where it is played. The sums are our own.
    fn report_on(&mut self, now: Instant, key: TrackKey) -> Option<ReportBlock> {
        let track = self.tracks.get_mut(key)?;
        let stream = track.stream.as_mut()?;
        let (ssrc, (report, lost_on_the_way)) = (stream.ssrc, stream.report(now)?);
        let fraction_lost = match track.spec.kind {
            Kind::Video => report.fraction_lost,
            Kind::Audio => {
                let downlink = self.most_lost_of(key).min(MOST_LOST_BY_ONE);
                let missing = lost_on_the_way + downlink * (1.0 - lost_on_the_way);
                (missing * 256.0).min(255.0) as u8
            }
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: report.cumulative_lost as i32,
            highest_seq: report.highest,
            jitter: report.jitter,
            last_sr: report.last_sr,
            delay_since_last_sr: report.delay_since_sr,
        })
    }

    /// The largest share that is lost on the way to one who gets the track.
    fn most_lost_of(&self, key: TrackKey) -> f64 {
        let Some(track) = self.tracks.get(key) else {
            return 0.0;
        };
        let losses = track.consumers.iter().filter_map(|consumer| {
            let consumer = self.consumers.get(*consumer).filter(|it| !it.paused)?;
            let bandwidth = self.transports.get(consumer.transport)?.bandwidth.as_ref();
            bandwidth.map(|it| it.missed())
        });
        losses.fold(0.0, f64::max)
    }

    /// A sender report and a description of each consumer, as many to a datagram as fit.
    fn send_sender_reports(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        let mut at = 0;
        while at < transport.consumers.len() {
            let consumers = &transport.consumers[at..];
            let mut taken = 0;
            let mut compound = [0; MAX_RTCP];
            let mut len = 0;
            for consumer in consumers {
                if len + REPORT_ROOM > MAX_RTCP {
                    break;
                }
                taken += 1;
                let Some(consumer) = self.consumers.get_mut(*consumer) else {
                    continue;
                };
                let Some(track) = self.tracks.get(consumer.track) else {
                    continue;
                };
                let Some(report) = consumer.sender_report(now, track.epoch, track.clock) else {
                    continue;
                };
                let info = SenderInfo {
                    ntp: report.ntp,
                    rtp_time: report.rtp,
                    packets: report.packets,
                    octets: report.octets,
                };
                let ssrc = consumer.spec.ssrc;
                len += rtcp::write_sender_report(&mut compound[len..], ssrc, &info, &[]);
                len += rtcp::write_sdes_cname(&mut compound[len..], ssrc, &consumer.spec.cname);
            }
            at += taken;
            transport.send_rtcp(sink, |buf| {
                buf[..len].copy_from_slice(&compound[..len]);
                len
            });
        }
    }
}
