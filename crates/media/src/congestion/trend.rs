//! Whether packets take longer and longer: a line through the delays of groups of packets, after the idea of
//! draft-ietf-rmcat-gcc-02 §5. What its slope is held against adapts (§5.4), so that a path that swings by itself is
//! not taken for a full one, and a flow beside ours that fills the queue does not starve us at once.

/// Packets that were sent within so many microseconds are one group (draft §5.2): their distance is the sender's doing.
const GROUP: i64 = 5_000;

/// A burst that the path held back comes within this time, in microseconds, and is no longer than that.
const BURST_GAP: i64 = 5_000;
const BURST: i64 = 100_000;

/// Groups that the line goes through.
const POINTS: usize = 20;

/// Weight of what was in the smoothed delay.
const SMOOTHING: f64 = 0.9;

/// The slope becomes comparable to a threshold in milliseconds by the number of groups, this many at most, and a gain.
const MOST_COUNTED: f64 = 60.0;
const GAIN: f64 = 4.0;

/// The threshold in milliseconds, and its bounds (draft §5.4).
const THRESHOLD: f64 = 12.5;
const LEAST_THRESHOLD: f64 = 6.0;
const MOST_THRESHOLD: f64 = 600.0;
/// How fast it follows the trend up, and down, in each millisecond (draft §5.4).
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
/// What is this far off, in milliseconds, is a burst and not the path's way.
const OUTLIER: f64 = 15.0;

/// Milliseconds above the threshold after which it counts (draft §5.3).
const PERSISTENCE: f64 = 10.0;

/// What the delays say of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// They stay as they are.
    #[default]
    Normal,
    /// They grow: a queue fills.
    Over,
    /// They fall: a queue empties.
    Under,
}

/// Packets that were sent together, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrived: i64,
    last_arrived: i64,
}

/// The line through the delays.
#[derive(Debug)]
pub(super) struct Trend {
    group: Option<Group>,
    before: Option<Group>,
    /// Milliseconds that groups took longer than the first one, and the same smoothed.
    delay: f64,
    smoothed: f64,
    /// Milliseconds of arrival and the smoothed delay then.
    points: [(f64, f64); POINTS],
    count: usize,
    since: Option<i64>,
    threshold: f64,
    last_trend: f64,
    updated: Option<i64>,
    over_for: f64,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Trend {
            group: None,
            before: None,
            delay: 0.0,
            smoothed: 0.0,
            points: [(0.0, 0.0); POINTS],
            count: 0,
            since: None,
            threshold: THRESHOLD,
            last_trend: 0.0,
            updated: None,
            over_for: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// A packet arrived, later ones after earlier ones; both times in microseconds.
    pub(super) fn on_arrival(&mut self, sent: i64, arrived: i64) {
        let Some(group) = &mut self.group else {
            self.group = Some(Group {
                first_sent: sent,
                last_sent: sent,
                first_arrived: arrived,
                last_arrived: arrived,
            });
            return;
        };
        // One that overtook those before it would tell of a delay that nobody had.
        if sent < group.first_sent || arrived < group.first_arrived {
            return;
        }
        let held_back = arrived - group.last_arrived < sent - group.last_sent
            && arrived - group.last_arrived <= BURST_GAP
            && arrived - group.first_arrived < BURST;
        if sent - group.first_sent <= GROUP || held_back {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrived = group.last_arrived.max(arrived);
            return;
        }
        let done = std::mem::replace(
            group,
            Group {
                first_sent: sent,
                last_sent: sent,
                first_arrived: arrived,
                last_arrived: arrived,
            },
        );
        if let Some(before) = self.before.replace(done) {
            let sent = done.last_sent - before.last_sent;
            let arrived = done.last_arrived - before.last_arrived;
            self.on_group(sent as f64 / 1e3, arrived as f64 / 1e3, done.last_arrived);
        }
    }

    /// A group was sent and arrived so many milliseconds after the one before.
    fn on_group(&mut self, sent: f64, arrived: f64, at: i64) {
        self.delay += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let since = *self.since.get_or_insert(at);
        self.points[self.count % POINTS] = ((at - since) as f64 / 1e3, self.smoothed);
        self.count += 1;
        let slope = match self.count < POINTS {
            true => 0.0,
            false => slope(&self.points),
        };
        let trend = slope * (self.count as f64).min(MOST_COUNTED) * GAIN;
        self.judge(trend, sent);
        self.adapt(trend, at);
        self.last_trend = trend;
    }

    fn judge(&mut self, trend: f64, sent: f64) {
        if trend > self.threshold {
            self.over_for += sent;
            if self.over_for > PERSISTENCE && trend >= self.last_trend {
                self.usage = Usage::Over;
            }
            return;
        }
        self.over_for = 0.0;
        self.usage = match trend < -self.threshold {
            true => Usage::Under,
            false => Usage::Normal,
        };
    }

    fn adapt(&mut self, trend: f64, at: i64) {
        let passed = self.updated.replace(at).map_or(0, |before| at - before);
        if trend.abs() > self.threshold + OUTLIER {
            return;
        }
        let follow = match trend.abs() < self.threshold {
            true => FALL,
            false => RISE,
        };
        let passed = (passed as f64 / 1e3).clamp(0.0, 100.0);
        self.threshold += follow * (trend.abs() - self.threshold) * passed;
        self.threshold = self.threshold.clamp(LEAST_THRESHOLD, MOST_THRESHOLD);
    }
}

/// The slope of the line with the least squares through the points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let sum = points
        .iter()
        .fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
    let mean = (sum.0 / count, sum.1 / count);
    let (mut up, mut along) = (0.0, 0.0);
    for (time, delay) in points {
        up += (time - mean.0) * (delay - mean.1);
        along += (time - mean.0) * (time - mean.0);
    }
    if along == 0.0 { 0.0 } else { up / along }
}
