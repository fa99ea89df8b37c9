//! What a subscriber tells of what came: transport-wide feedback and receiver reports, as every client sends them.

use crate::TWCC_EXTENSION;
use crate::world::World;
use crate::world::link::What;
use parlour_media::num::Ssrc;
use parlour_media::rtcp::{self, ReportBlock};
use parlour_media::rtp::RtpView;
use parlour_media::twcc::TwccRecorder;
use std::time::{Duration, Instant};

const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Who says so.
const SENDER: Ssrc = Ssrc(9);

/// What one subscriber keeps for its reports.
pub(crate) struct Reports {
    recorder: TwccRecorder,
    started: Instant,
    next_feedback: Instant,
    next_report: Instant,
}

impl Reports {
    pub(crate) fn new(now: Instant) -> Reports {
        Reports {
            recorder: TwccRecorder::new(),
            started: now,
            next_feedback: now,
            next_report: now,
        }
    }

    /// A packet came, and opens.
    pub(crate) fn note(&mut self, now: Instant, plain: &[u8]) {
        let view = RtpView::parse(plain).expect("RTP");
        let number = view.extension(TWCC_EXTENSION).and_then(<[u8]>::first_chunk);
        let number = u16::from_be_bytes(*number.expect("it was agreed on"));
        self.recorder.on_packet(number, now - self.started);
    }
}

impl World {
    /// Sends what is due.
    pub(crate) fn report(&mut self, who: usize) {
        let reports = &mut self.participants[who].reports;
        let mut buffer = [0; 1200];
        if reports.next_feedback <= self.now {
            reports.next_feedback = self.now + FEEDBACK_INTERVAL;
            if let Some(len) = reports.recorder.build(&mut buffer, SENDER, SENDER) {
                self.count("feedback", 1);
                let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
                self.send(who, What::Rtcp, sealed);
            }
        }
        let reports = &mut self.participants[who].reports;
        if reports.next_report <= self.now {
            reports.next_report = self.now + REPORT_INTERVAL;
            let of = self
                .subscriptions
                .values()
                .filter(|it| it.subscriber == who);
            let blocks: Vec<_> = of.filter_map(block).take(31).collect();
            let len = rtcp::write_receiver_report(&mut buffer, SENDER, &blocks);
            let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
            self.send(who, What::Rtcp, sealed);
        }
    }
}

/// What is told of one stream.
fn block(of: &crate::subscription::Subscription) -> Option<ReportBlock> {
    let (newest, oldest) = (of.delivered.iter().max()?, of.delivered.iter().min()?);
    let expected = newest - oldest + 1;
    let lost = expected - of.delivered.len() as u64;
    Some(ReportBlock {
        ssrc: of.spec.ssrc,
        fraction_lost: (lost * 255 / expected) as u8,
        cumulative_lost: lost as i32,
        highest_seq: *newest as u32,
        ..ReportBlock::default()
    })
}
