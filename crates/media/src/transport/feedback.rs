//! When the packets of a publisher came, and when it is told: its congestion control works with that
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use crate::wire::num::Ssrc;
use crate::wire::rtp::RtpView;
use crate::wire::twcc::TwccRecorder;
use std::time::{Duration, Instant};

/// Feedback for congestion control waits this long for company, or this long when there is much to report.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);
const FEEDBACK_INTERVAL_BUSY: Duration = Duration::from_millis(50);
const FEEDBACK_BUSY: u32 = 20;

/// What is kept for the publisher's congestion control.
pub(crate) struct Feedback {
    recorder: TwccRecorder,
    extension: u8,
    media: Ssrc,
    waiting: u32,
    since: Option<Instant>,
}

impl Feedback {
    /// The packets' transport-wide numbers are in this header extension.
    pub(crate) fn new(extension: u8) -> Self {
        Feedback {
            recorder: TwccRecorder::new(),
            extension,
            media: Ssrc(0),
            waiting: 0,
            since: None,
        }
    }

    /// They are in this one from now on.
    pub(crate) fn read(&mut self, extension: u8) {
        self.extension = extension;
    }

    /// Notes when a packet came; returns when feedback is due. `arrival` is the time since the epoch of all arrivals.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        arrival: Duration,
        packet: &RtpView<'_>,
    ) -> Option<Instant> {
        let value = packet.extension(self.extension)?.first_chunk::<2>()?;
        self.recorder.on_packet(u16::from_be_bytes(*value), arrival);
        self.media = packet.ssrc();
        self.waiting += 1;
        self.since.get_or_insert(now);
        self.due()
    }

    /// When feedback is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let wait = if self.waiting >= FEEDBACK_BUSY {
            FEEDBACK_INTERVAL_BUSY
        } else {
            FEEDBACK_INTERVAL
        };
        Some(self.since? + wait)
    }

    /// Writes one packet of it; 0 when nothing is left to say.
    pub(crate) fn build(&mut self, buf: &mut [u8], sender: Ssrc) -> usize {
        self.recorder.build(buf, sender, self.media).unwrap_or(0)
    }

    /// All of it went out.
    pub(crate) fn on_sent(&mut self) {
        self.waiting = 0;
        self.since = None;
    }
}
