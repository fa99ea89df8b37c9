//! How long packets stand in a queue. Both clocks are unknown to each other, so what a packet takes is known only beside
//! what the fastest one took; and since jitter only adds, the least of several packets says what stands (compare the
//! base delay of RFC 8698 §4.2 and RFC 6817 §2.4.2).

/// Microseconds that a base holds before it is measured anew: a route that changed, clocks that drift apart (100 ppm of
/// this is one millisecond).
const GENERATION: i64 = 10_000_000;

/// The least of so many microseconds, and of so many packets, is what stands.
const BUCKET: i64 = 100_000;
const BUCKET_PACKETS: u32 = 5;

/// Packets whose least is the newest that is known.
const NEWEST: usize = 5;

/// The queue on the way, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The least delay of this generation and of the one before.
    base: Option<(i64, i64)>,
    generation: i64,
    bucket: Option<Bucket>,
    standing: i64,
    newest: [i64; NEWEST],
    at: usize,
}

#[derive(Debug)]
struct Bucket {
    since: i64,
    least: i64,
    packets: u32,
}

impl Queue {
    /// A packet arrived at that time and took so long, both in microseconds and of unknown origin.
    pub(super) fn on_arrival(&mut self, arrived: i64, delay: i64) {
        let base = match &mut self.base {
            None => {
                self.generation = arrived;
                self.newest = [delay; NEWEST];
                self.base.insert((delay, delay))
            }
            Some(base) => base,
        };
        if arrived - self.generation > GENERATION {
            *base = (delay, base.0);
            self.generation = arrived;
        }
        base.0 = base.0.min(delay);
        let base = base.0.min(base.1);
        self.newest[self.at] = delay;
        self.at = (self.at + 1) % NEWEST;
        let bucket = self.bucket.get_or_insert(Bucket {
            since: arrived,
            least: delay,
            packets: 0,
        });
        bucket.least = bucket.least.min(delay);
        bucket.packets += 1;
        if arrived - bucket.since >= BUCKET && bucket.packets >= BUCKET_PACKETS {
            self.standing = bucket.least - base;
            self.bucket = None;
        }
    }

    /// What stands is the way and not a queue: it has become longer.
    pub(super) fn rebase(&mut self) {
        let Some(least) = self.newest.iter().min().copied() else {
            return;
        };
        self.base = Some((least, least));
        (self.bucket, self.standing) = (None, 0);
    }

    /// Microseconds that every packet of late stood.
    pub(super) fn standing(&self) -> i64 {
        self.standing
    }

    /// Microseconds that the newest packets stood.
    pub(super) fn newest(&self) -> i64 {
        let least = self.newest.iter().min().copied().unwrap_or_default();
        self.base.map_or(0, |base| least - base.0.min(base.1))
    }
}
