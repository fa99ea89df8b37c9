//! What waits in front of a peer's connection. A network loses what it has no room for; TCP (RFC 6544) makes its sender wait
//! instead, and what is sent meanwhile comes late, the sound behind the pictures. So pictures are not sent while more than
//! a little waits: they stay in the cache of their track, where they can be given up, and the congestion control hears how
//! much the connection took.

use crate::transport::Transport;
use crate::transport::path::Path;
use crate::transport::sink::TransmitSink;
use std::time::{Duration, Instant};

/// Pictures are not sent while so many bytes wait, a third of a second at 400 kbit/s.
pub const MOST_WAITING: usize = 16 * 1024;

/// What a connection takes is measured over so long a time, from its being full on and as long as half of that waits: so long
/// it always has something to take.
const MEASURED: Duration = Duration::from_millis(200);
const STILL_WAITING: usize = MOST_WAITING / 2;

/// Since when a connection is measured, and how much it had taken then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    taken: u64,
}

/// Whether a connection is full, and what it takes then. Of another one nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    of: Option<Path>,
    is_full: bool,
    mark: Option<Mark>,
}

impl Backlog {
    /// `waiting` of the bytes that were `sent` in all wait for a connection. Returns what it takes, in bits a second, once
    /// that was measured for long enough.
    fn look(&mut self, now: Instant, path: Path, sent: u64, waiting: usize) -> Option<u64> {
        if self.of != Some(path) {
            (self.of, self.mark) = (Some(path), None);
        }
        self.is_full = waiting >= MOST_WAITING;
        if waiting < STILL_WAITING || !(self.is_full || self.mark.is_some()) {
            self.mark = None;
            return None;
        }
        let taken = sent.saturating_sub(waiting as u64);
        let mark = *self.mark.get_or_insert(Mark { at: now, taken });
        let passed = now.saturating_duration_since(mark.at);
        if passed < MEASURED {
            return None;
        }
        self.mark = Some(Mark { at: now, taken });
        let bits = taken.saturating_sub(mark.taken) as f64 * 8.0;
        Some((bits / passed.as_secs_f64()) as u64)
    }

    /// Whether that connection was full when it was looked at last.
    fn is_full(&self, path: Path) -> bool {
        self.is_full && self.of == Some(path)
    }
}

impl Transport {
    /// Whether its path is a connection with so much waiting in front of it that pictures have to wait, too. What it takes
    /// meanwhile is told to the congestion control.
    pub(crate) fn is_backed_up(&mut self, now: Instant, sink: &mut impl TransmitSink) -> bool {
        let Some(path) = self.ice.path().filter(Path::is_tcp) else {
            return false;
        };
        let sent = self.traffic.bytes_out;
        if let Some(taken) = self.backlog.look(now, path, sent, sink.waiting(path))
            && let Some(bandwidth) = &mut self.bandwidth
        {
            bandwidth.on_backlog(now, taken);
        }
        self.backlog.is_full(path)
    }

    /// Whether it was so when it was looked at last, and media goes there still.
    pub(crate) fn waits_for_connection(&self) -> bool {
        self.ice
            .path()
            .is_some_and(|path| self.backlog.is_full(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_full_is_measured_by_what_it_took_and_one_that_is_not_is_not() {
        let start = Instant::now();
        let path = Path::tcp(None, "192.0.2.7:40000".parse().unwrap());
        let mut backlog = Backlog::default();
        assert_eq!(backlog.look(start, path, 1_000_000, MOST_WAITING - 1), None);
        assert!(!backlog.is_full(path));
        assert_eq!(backlog.look(start, path, 1_000_000, 20_000), None);
        assert!(backlog.is_full(path));
        let soon = start + MEASURED / 2;
        assert_eq!(backlog.look(soon, path, 1_010_000, 20_000), None);
        // 25 kB were sent, and 5 kB more wait: 20 kB in 200 ms.
        let then = start + MEASURED;
        assert_eq!(backlog.look(then, path, 1_025_000, 25_000), Some(800_000));
        // It was not full for a moment, and never empty.
        let half = then + MEASURED / 2;
        assert_eq!(backlog.look(half, path, 1_025_000, 15_000), None);
        assert!(!backlog.is_full(path));
        let full = then + MEASURED;
        assert_eq!(backlog.look(full, path, 1_040_000, 20_000), Some(800_000));
        // And nothing since then.
        let then = full;
        let later = then + MEASURED;
        assert_eq!(backlog.look(later, path, 1_040_000, 20_000), Some(0));
        assert_eq!(backlog.look(later, path, 1_040_000, 0), None);
        assert!(!backlog.is_full(path));
    }

    #[test]
    fn what_is_known_of_a_connection_is_not_known_of_the_path_that_media_takes_next() {
        let start = Instant::now();
        let [path, other] =
            ["192.0.2.7:40000", "192.0.2.7:40001"].map(|it| Path::tcp(None, it.parse().unwrap()));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.look(start, path, 1_000_000, 20_000), None);
        assert!(backlog.is_full(path));
        assert!(!backlog.is_full(other));
        // Nor is what one took measured from what the other had taken.
        let then = start + MEASURED;
        assert_eq!(backlog.look(then, other, 1_100_000, 20_000), None);
        assert!(backlog.is_full(other) && !backlog.is_full(path));
        let later = then + MEASURED;
        assert_eq!(backlog.look(later, other, 1_120_000, 20_000), Some(800_000));
    }
}
