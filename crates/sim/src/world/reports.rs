//! What a subscriber tells of what came: receiver reports, and transport-wide feedback as browsers send it, or its own
//! estimate, or neither.

use crate::TWCC_EXTENSION;
use crate::world::World;
use crate::world::link::What;
use parlour_media::num::{Rng, Ssrc};
use parlour_media::rtcp::{self, ReportBlock};
use parlour_media::rtp::RtpView;
use parlour_media::twcc::TwccRecorder;
use std::time::{Duration, Instant};

const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Who says so.
const SENDER: Ssrc = Ssrc(9);

/// Between two estimates, and what is said of what came: a quarter more may come.
const ESTIMATE_INTERVAL: Duration = Duration::from_millis(500);
const MORE: u64 = 5;

/// What a subscriber tells besides its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// When each packet came.
    Feedback,
    /// How much may come.
    Estimate,
    Nothing,
}

impl Tells {
    /// Most tell when each packet came; all do where it makes no difference.
    pub(crate) fn random(adapts: bool, rng: &mut Rng) -> Tells {
        match rng.below(8) {
            0 if adapts => Tells::Nothing,
            1 | 2 if adapts => Tells::Estimate,
            _ => Tells::Feedback,
        }
    }
}

/// What one subscriber keeps for its reports.
pub(crate) struct Reports {
    tells: Tells,
    bytes: u64,
    next_estimate: Instant,
    recorder: TwccRecorder,
    started: Instant,
    next_feedback: Instant,
    next_report: Instant,
}

impl Reports {
    pub(crate) fn new(tells: Tells, now: Instant) -> Reports {
        Reports {
            tells,
            bytes: 0,
            next_estimate: now,
            recorder: TwccRecorder::new(),
            started: now,
            next_feedback: now,
            next_report: now,
        }
    }

    /// Where its packets have their transport-wide number, if they have one.
    pub(crate) fn twcc_extension(&self) -> Option<u8> {
        (self.tells == Tells::Feedback).then_some(TWCC_EXTENSION)
    }

    /// A packet came, and opens.
    pub(crate) fn note(&mut self, now: Instant, plain: &[u8]) {
        self.bytes += plain.len() as u64;
        if self.tells != Tells::Feedback {
            return;
        }
        let view = RtpView::parse(plain).expect("RTP");
        let number = view.extension(TWCC_EXTENSION).and_then(<[u8]>::first_chunk);
        let number = u16::from_be_bytes(*number.expect("it was agreed on"));
        self.recorder.on_packet(number, now - self.started);
    }
}

impl World {
    fn subscriptions_of(&self, who: usize) -> Vec<Ssrc> {
        let all = self.subscriptions.iter();
        all.filter(|(_, it)| it.subscriber == who)
            .map(|(of, _)| *of)
            .collect()
    }

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
        if reports.tells == Tells::Estimate && reports.next_estimate <= self.now {
            reports.next_estimate = self.now + ESTIMATE_INTERVAL;
            let came = std::mem::take(&mut reports.bytes);
            let a_second = came * 8 * (Duration::from_secs(1).as_millis() as u64)
                / ESTIMATE_INTERVAL.as_millis() as u64;
            let all: Vec<Ssrc> = self.subscriptions_of(who);
            let estimate = (a_second * MORE / 4).max(50_000);
            let len = rtcp::write_remb(&mut buffer, SENDER, estimate, &all);
            if len > 0 {
                self.count("estimates", 1);
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
