//! How fast packets arrived.

use super::history::Sent;

/// A span ends when it is this long, in microseconds: two frames of video, or five packets of audio, are told apart.
const SPAN: i64 = 25_000;

/// Spans that are remembered: 800 ms at least.
const SPANS: usize = 32;

/// Silence of the application for so long, in microseconds, is not part of any rate.
const IDLE: i64 = 2_000_000;

/// Rates of less time than this, in microseconds, say nothing.
const LEAST: i64 = 50_000;

/// Bytes that arrived, and the time in which they were sent and in which they arrived, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    bytes: u64,
    sent: i64,
    arrived: i64,
}

impl Span {
    /// The slower of both decides: what a receiver says cannot be more than what was sent, and packets that waited
    /// together and come together are no faster path.
    fn length(&self) -> i64 {
        self.sent.max(self.arrived)
    }

    fn add(&mut self, other: &Span) {
        self.bytes += other.bytes;
        self.sent += other.sent;
        self.arrived += other.arrived;
    }
}

/// Measures the rate of what is acknowledged.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    spans: [Span; SPANS],
    at: usize,
    open: Span,
    /// When the last packet was sent and when it arrived.
    last: Option<(i64, i64)>,
}

impl Delivery {
    /// A packet arrived, later ones after earlier ones. `follows`: what became of all packets since the last one is known,
    /// so that nothing arrived between them that was not told of.
    pub(super) fn on_arrival(&mut self, sent: &Sent, arrived: i64, follows: bool) {
        let last = self.last.replace((sent.at, arrived));
        let Some((last_sent, last_arrived)) = last.filter(|_| follows) else {
            return;
        };
        let passed = (sent.at - last_sent, arrived - last_arrived);
        if passed.0 > IDLE {
            return;
        }
        self.open.add(&Span {
            bytes: sent.bytes as u64,
            sent: passed.0,
            arrived: passed.1,
        });
        if self.open.length() >= SPAN {
            self.spans[self.at] = std::mem::take(&mut self.open);
            self.at = (self.at + 1) % SPANS;
        }
    }

    /// The receiver's clock jumped: spans across that say nothing.
    pub(super) fn on_jump(&mut self) {
        self.last = None;
        self.open = Span::default();
    }

    /// Bits a second over about so many microseconds of the last.
    pub(super) fn rate(&self, window: i64) -> Option<f64> {
        let mut sum = self.open;
        for back in 1..=SPANS {
            if sum.length() >= window {
                break;
            }
            sum.add(&self.spans[(self.at + SPANS - back) % SPANS]);
        }
        let length = sum.length();
        (length >= LEAST).then(|| sum.bytes as f64 * 8e6 / length as f64)
    }
}
