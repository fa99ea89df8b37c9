//! What a shard counts about its connections.

use crate::stats::write_counts;
use parlour_media::ConnectionEnd;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Between two events about one reason.
const WINDOW: Duration = Duration::from_secs(10);

/// Reasons that a stranger, or a peer that does not read, can bring about as often as it likes.
const TOLD: [ConnectionEnd; 9] = [
    ConnectionEnd::NoCheck,
    ConnectionEnd::NotAsked,
    ConnectionEnd::FrameTooLong,
    ConnectionEnd::TooManyChecks,
    ConnectionEnd::MadeRoom,
    ConnectionEnd::SourceFull,
    ConnectionEnd::Full,
    ConnectionEnd::Stuck,
    ConnectionEnd::NoDescriptor,
];

/// Plain numbers of one thread, copied out on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpStats {
    /// Connections there are, and those of them without a genuine check.
    pub(crate) open: usize,
    pub(crate) strangers: usize,
    /// Connections there were.
    pub(crate) accepted: u64,
    /// Frames given to the router, and their bytes.
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
    /// Frames that connections took over from the router, and their bytes.
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    /// Bytes that wait.
    pub(crate) waiting: usize,
    /// Frames that were skipped because they are longer than any datagram.
    pub(crate) too_long: u64,
    /// Datagrams that were for a connection which is gone.
    pub(crate) gone: u64,
    /// Datagrams that did not fit behind what the peer does not take.
    pub(crate) full: u64,
    /// What became of connections, by [`ConnectionEnd`].
    pub(crate) ends: [u64; ConnectionEnd::ALL.len()],
}

impl TcpStats {
    pub(super) fn ended(&mut self, reason: ConnectionEnd) {
        self.ends[reason as usize] += 1;
    }

    /// As a JSON object.
    pub(crate) fn write_json(&self, out: &mut String) {
        let _ = write!(
            out,
            "{{\"open\":{},\"strangers\":{},\"accepted\":{},\"frames_in\":{},\"bytes_in\":{},\"frames_out\":{},\
             \"bytes_out\":{},\"waiting\":{},\"ended\":{{",
            self.open,
            self.strangers,
            self.accepted,
            self.frames_in,
            self.bytes_in,
            self.frames_out,
            self.bytes_out,
            self.waiting
        );
        let ends = ConnectionEnd::ALL.iter().zip(self.ends);
        write_counts(out, ends.map(|(reason, count)| (reason.name(), count)));
        out.push_str("},\"drops\":{");
        let drops = [
            ("frame-too-long", self.too_long),
            ("connection-gone", self.gone),
            ("connection-full", self.full),
        ];
        write_counts(out, drops.into_iter());
        out.push_str("}}");
    }
}

/// Says what strangers cause once in a while, however often they do.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Of each reason: how many were told, and when.
    last: [(u64, Option<Instant>); TOLD.len()],
}

impl Told {
    /// The next reason that is to be told, and how many there were since the last time.
    pub(crate) fn next(&mut self, now: Instant, stats: &TcpStats) -> Option<(ConnectionEnd, u64)> {
        let mut both = TOLD.iter().zip(&mut self.last);
        both.find_map(|(reason, (told, at))| {
            let count = stats.ends[*reason as usize] - *told;
            let waits = at.is_some_and(|at| now.saturating_duration_since(at) < WINDOW);
            if count == 0 || waits {
                return None;
            }
            (*told, *at) = (*told + count, Some(now));
            Some((*reason, count))
        })
    }

    /// When there is something to tell that waits now.
    pub(crate) fn due(&self, stats: &TcpStats) -> Option<Instant> {
        let both = TOLD.iter().zip(self.last);
        let waiting = both.filter(|(reason, (told, _))| stats.ends[**reason as usize] > *told);
        waiting.filter_map(|(_, (_, at))| Some(at? + WINDOW)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_at_once_and_then_once_in_a_window_with_how_many_there_were() {
        let start = Instant::now();
        let (mut told, mut stats) = (Told::default(), TcpStats::default());
        assert_eq!((told.next(start, &stats), told.due(&stats)), (None, None));
        stats.ended(ConnectionEnd::PeerClosed);
        assert_eq!(told.next(start, &stats), None, "that is no news");
        stats.ended(ConnectionEnd::NoCheck);
        let first = Some((ConnectionEnd::NoCheck, 1));
        assert_eq!(told.next(start, &stats), first);
        for _ in 0..1000 {
            stats.ended(ConnectionEnd::NoCheck);
            stats.ended(ConnectionEnd::MadeRoom);
        }
        let other = Some((ConnectionEnd::MadeRoom, 1000));
        assert_eq!(told.next(start, &stats), other);
        assert_eq!(told.next(start, &stats), None);
        assert_eq!(told.due(&stats), Some(start + WINDOW));
        let later = start + WINDOW;
        let rest = Some((ConnectionEnd::NoCheck, 1000));
        assert_eq!(told.next(later, &stats), rest);
        assert_eq!((told.next(later, &stats), told.due(&stats)), (None, None));
    }
}
