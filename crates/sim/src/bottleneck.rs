//! The narrowest link of a path: a rate that changes with time, a queue in front of it, a way behind it. What is sent
//! comes out in order; all that is random has a seed.

use parlour_media::num::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// What the link is like; times are since the beginning.
pub struct Conditions {
    /// Bits a second that it carries, piece by piece: from when on, and how much.
    pub rates: Vec<(Duration, u64)>,
    /// Bytes that fit into the queue.
    pub queue: usize,
    /// What the way takes, and how much more at most.
    pub delay: Duration,
    /// See above.
    pub jitter: Duration,
    /// Of a thousand packets, so many are lost at random.
    pub loss: u64,
}

impl Conditions {
    /// A link of that rate with a queue of half a second, 20 ms long.
    pub fn steady(rate: u64) -> Conditions {
        Conditions {
            rates: vec![(Duration::ZERO, rate)],
            queue: (rate / 16) as usize,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
        }
    }

    /// Bits a second at that time.
    pub fn rate(&self, at: Duration) -> u64 {
        let piece = self.rates.iter().rev().find(|(since, _)| *since <= at);
        piece.map_or(0, |(_, rate)| *rate)
    }

    /// Bits that it could have carried from then to then.
    pub fn capacity(&self, from: Duration, to: Duration) -> f64 {
        let ends = self.rates.iter().skip(1).map(|(since, _)| *since);
        let pieces = self.rates.iter().zip(ends.chain([Duration::MAX]));
        let of = pieces.map(|((since, rate), end)| {
            let length = end.min(to).saturating_sub((*since).max(from));
            *rate as f64 * length.as_secs_f64()
        });
        of.sum()
    }
}

/// A packet that came through.
pub struct Arrival<T> {
    /// When it came.
    pub at: Duration,
    /// How long it waited in the queue.
    pub waited: Duration,
    /// Bytes of it.
    pub bytes: usize,
    /// The packet.
    pub packet: T,
}

/// The link and what is on it.
pub struct Bottleneck<T> {
    /// What it is like.
    pub conditions: Conditions,
    /// Packets that found the queue full, and those that were lost at random.
    pub overflowed: u64,
    /// See above.
    pub lost: u64,
    rng: Rng,
    queue: VecDeque<(Duration, usize, T)>,
    queued: usize,
    free_at: Duration,
    underway: VecDeque<Arrival<T>>,
    last_at: Duration,
}

impl<T> Bottleneck<T> {
    /// A link with nothing on it.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Bottleneck {
            conditions,
            overflowed: 0,
            lost: 0,
            rng: Rng::new(seed),
            queue: VecDeque::new(),
            queued: 0,
            free_at: Duration::ZERO,
            underway: VecDeque::new(),
            last_at: Duration::ZERO,
        }
    }

    /// A packet is sent.
    pub fn send(&mut self, now: Duration, bytes: usize, packet: T) {
        self.advance(now);
        if self.rng.below(1000) < self.conditions.loss {
            self.lost += 1;
        } else if self.queued + bytes > self.conditions.queue {
            self.overflowed += 1;
        } else {
            self.queued += bytes;
            self.queue.push_back((now, bytes, packet));
        }
    }

    /// The next packet that came by now.
    pub fn receive(&mut self, now: Duration) -> Option<Arrival<T>> {
        self.advance(now);
        self.underway.front().filter(|first| first.at <= now)?;
        self.underway.pop_front()
    }

    fn advance(&mut self, now: Duration) {
        while let Some((since, bytes, _)) = self.queue.front() {
            let begins = self.free_at.max(*since);
            let rate = self.conditions.rate(begins).max(1);
            let takes = Duration::from_nanos(*bytes as u64 * 8_000_000_000 / rate);
            if begins + takes > now {
                return;
            }
            let Some((since, bytes, packet)) = self.queue.pop_front() else {
                return;
            };
            self.queued -= bytes;
            self.free_at = begins + takes;
            let jitter = self
                .rng
                .below(self.conditions.jitter.as_micros() as u64 + 1);
            let at = self.free_at + self.conditions.delay + Duration::from_micros(jitter);
            self.last_at = self.last_at.max(at);
            self.underway.push_back(Arrival {
                at: self.last_at,
                waited: begins - since,
                bytes,
                packet,
            });
        }
    }
}
