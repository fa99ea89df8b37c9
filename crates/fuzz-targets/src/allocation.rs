//! Who gets how much of a path, and how fast that may leave, fed with any sequence of needs, of what there is and of time.
//! Both are driven as they are: behind a router an estimate would smooth what a fuzzer says.

use parlour_media::allocation::{MOST_CHOICES, Means, ROUGH_SLACK, SLACK, Share, Video, divide};
use parlour_media::pacer::{ABOVE_GIVEN, Pacer};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Pictures that share the path at most.
const MOST: usize = 6;

/// More is given out only where so many times its need is there.
const MARGIN: f64 = 1.1;

/// It has to be too much for so long, and for so long when packets stand in a queue; then nothing more is tried for so long.
const PATIENCE: Duration = Duration::from_millis(1_200);
const LITTLE_PATIENCE: Duration = Duration::from_millis(300);
const WAIT: Duration = Duration::from_secs(2);

/// Between two divisions.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// What is known of one picture beside what the allocator knows.
#[derive(Clone, Copy)]
struct Seen {
    video: Video,
    /// When it was last given less.
    lowered: Option<Instant>,
}

impl AsMut<Video> for Seen {
    fn as_mut(&mut self) -> &mut Video {
        &mut self.video
    }
}

impl Seen {
    fn level(&self) -> usize {
        self.video.share.level(self.video.count)
    }

    fn cost(&self, level: usize) -> f64 {
        level
            .checked_sub(1)
            .map_or(0.0, |at| self.video.choices[at] as f64)
    }

    fn least(&self) -> f64 {
        self.cost(self.video.count.min(1))
    }

    /// It needs so much, in rising steps.
    fn need(&mut self, count: u8, first: u8, step: u8) {
        let count = 1 + usize::from(count) % MOST_CHOICES;
        let mut bits = 1_000 + u64::from(first) * 4_000;
        for choice in &mut self.video.choices[..count] {
            *choice = bits;
            bits += u64::from(step) * 4_000;
        }
        self.video.count = count;
    }
}

/// The path and who shares it.
struct Shared {
    now: Instant,
    available: f64,
    rough: bool,
    queued: bool,
    seen: Vec<Seen>,
    /// When anything else than time last changed, or somebody was given more or less.
    settled: Instant,
    /// When all of it fitted last, and what was given more did, and when a queue was last seen.
    fitted: Instant,
    was_queued: Option<Instant>,
}

impl Shared {
    fn slack(&self) -> f64 {
        if self.rough { ROUGH_SLACK } else { SLACK }
    }

    /// Divides, and judges what came of it.
    fn divide(&mut self) {
        let (now, available) = (self.now, self.available);
        let all_least: f64 = self.seen.iter().map(Seen::least).sum();
        if self.queued {
            self.was_queued = Some(now);
        }
        let before: Vec<usize> = self.seen.iter().map(Seen::level).collect();
        let means = Means {
            available,
            slack: self.slack(),
            queued: self.queued,
            probes: !self.rough,
        };
        let division = divide(now, means, &mut self.seen);
        let (mut given, mut needed) = (0.0, 0.0);
        let mut rest = all_least;
        // Whether one that comes first is given more, which those behind give up at once.
        let mut displaced = false;
        let mut lacks = false;
        for (at, was) in before.into_iter().enumerate() {
            let it = self.seen[at];
            let level = it.level();
            let cost = it.cost(level);
            rest -= it.least();
            lacks |= level < it.video.count;
            if level < was {
                let patience = match self.was_queued {
                    Some(at) if now - at <= PATIENCE => LITTLE_PATIENCE,
                    _ => PATIENCE,
                };
                assert!(
                    displaced || now - self.fitted >= patience,
                    "less though it fitted a moment ago"
                );
                self.seen[at].lowered = Some(now);
            }
            if level != was {
                self.settled = now;
            }
            if level > was {
                displaced = true;
                assert!(!self.queued, "more while packets stand on the way");
                let early = it.lowered.is_some_and(|at| now - at < WAIT);
                assert!(!early, "more right after it was too much");
                // While there is enough for all to begin, more for one leaves that to those behind it.
                let is_measured = !self.rough && all_least * MARGIN <= available;
                assert!(
                    level < 2
                        || !is_measured
                        || given + cost * MARGIN + rest <= available * 1.000_001,
                    "more for one before all have begun"
                );
            }
            given += cost;
            needed += cost.max(it.cost(was)).max(it.least());
        }
        if needed <= available {
            self.fitted = now;
        }
        assert!((given - division.given).abs() <= given * 1e-9, "the sum");
        assert_eq!(division.wanted.is_some(), lacks);
        assert!(division.wanted.is_none_or(|wanted| wanted >= given));
        assert!(
            self.seen.iter().any(|it| it.video.adapts)
                || given <= self.slack() * available
                || now - self.settled <= PATIENCE + 2 * LONGEST_STEP,
            "{given} of {available} is given out for good"
        );
    }
}

/// Any bytes are a sequence of things that happen: a kind and three bytes each.
pub fn allocation(data: &[u8]) {
    let now = Instant::now();
    let mut shared = Shared {
        now,
        available: 1_000_000.0,
        rough: false,
        queued: false,
        seen: Vec::new(),
        settled: now,
        fitted: now,
        was_queued: None,
    };
    for happens in data.chunks_exact(4) {
        let [kind, a, b, c] = *happens else { return };
        let at = usize::from(a) % MOST;
        shared.settled = if kind % 8 < 2 {
            shared.settled
        } else {
            shared.now
        };
        let now = shared.now;
        match kind % 8 {
            // Time passes, as between two divisions at most.
            0 | 1 => {
                for _ in 0..=a % 16 {
                    shared.now += MS * (1 + u32::from(b) % 100);
                    shared.divide();
                }
            }
            2 => shared.available = f64::from(u32::from_be_bytes([0, a, b, c])),
            3 => shared.queued = a & 1 != 0,
            4 => {
                shared.rough = a & 1 != 0;
                let adapts = |it: &mut Seen| it.video.adapts = a & 2 != 0;
                shared.seen.iter_mut().for_each(adapts);
            }
            _ if at >= shared.seen.len() => {
                let mut seen = Seen {
                    video: Video {
                        share: Share::default(),
                        choices: [0; MOST_CHOICES],
                        count: 0,
                        adapts: false,
                    },
                    lowered: None,
                };
                seen.need(b, c, a);
                shared.seen.push(seen);
            }
            5 => shared.seen[at].need(b, c, a),
            6 => {
                let seen = &mut shared.seen[at];
                seen.video.share.give_up(now, seen.video.count);
                seen.lowered = Some(now);
            }
            _ => drop(shared.seen.remove(at)),
        }
    }
}

/// What may leave at once, in bytes and in seconds.
const BURST: f64 = 15_000.0;
const SECONDS: f64 = 0.04;

/// Any bytes are a sequence of rates, of time and of packets: a kind and two bytes each.
pub fn pacer(data: &[u8]) {
    let mut now = Instant::now();
    let mut pacer = Pacer::default();
    // The most that may have been saved up, reckoned anew and without what was owed: a bound from above.
    let (mut rate, mut saved) = (None, 0.0_f64);
    for happens in data.chunks_exact(3) {
        let [kind, a, b] = *happens else { return };
        let word = u16::from_be_bytes([a, b]);
        match kind % 5 {
            0 => {
                let bits = 1_u64 << (a % 30) | u64::from(b) << 9;
                let other = (a != 0xff).then_some(bits);
                pacer.set_rate(now, other);
                let other = other.map(|bits| bits as f64 / 8.0 * ABOVE_GIVEN);
                let burst = |rate: f64| BURST.max(rate * SECONDS);
                saved = match (rate, other) {
                    (None, Some(new)) => burst(new),
                    (Some(_), Some(new)) => saved.min(burst(new)),
                    (_, None) => 0.0,
                };
                rate = other;
            }
            1 => {
                let passed = MS * u32::from(word % 2_000);
                now += passed;
                if let Some(rate) = rate {
                    saved = (saved + passed.as_secs_f64() * rate).min(BURST.max(rate * SECONDS));
                }
            }
            // What can wait, until it has to.
            2 => {
                pacer.earn(now);
                let mut count = 0;
                while pacer.is_open() && count < 64 {
                    let bytes = 40 + usize::from(b) * 5;
                    pacer.spend(bytes);
                    count += 1;
                    if rate.is_some() {
                        assert!(saved > -1e-6 * BURST, "more leaves than was saved up");
                        saved -= bytes as f64;
                    }
                }
                assert!(rate.is_some() || count == 64, "held for no path");
                if !pacer.is_open() {
                    let at = pacer.opens_at(now);
                    assert!(at > now, "it waits for a moment that has passed");
                    let rate = rate.expect("what holds has a rate");
                    let passed = (at - now).as_secs_f64();
                    let most = 1.0 + (BURST.max(rate * SECONDS) + 2.0) / rate;
                    assert!(
                        passed <= most,
                        "{passed} s for what {rate} bytes a second earn"
                    );
                    if kind >= 128 {
                        now = at;
                        saved = (saved + passed * rate).min(BURST.max(rate * SECONDS));
                        pacer.earn(now);
                        assert!(pacer.is_open(), "closed at the moment that it told");
                    }
                }
            }
            // What cannot wait.
            3 => pacer.spend(usize::from(word % 1_500)),
            _ => {
                pacer.earn(now);
                assert!(!pacer.is_exhausted() || !pacer.is_open());
            }
        }
    }
}
