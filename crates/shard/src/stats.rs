//! What a shard counts about its socket, beside what the router counts: plain numbers of one thread,
//! copied out on demand.

use crate::tcp::TcpStats;
use parlour_media::Snapshot;
use std::fmt::Write as _;

/// What came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveStats {
    /// Datagrams given to the router.
    pub(crate) datagrams: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Messages they came in; fewer than the datagrams when the kernel coalesced.
    pub(crate) messages: u64,
    /// Calls of recvmmsg that gave something.
    pub(crate) calls: u64,
    /// Messages longer than a slot of the slab.
    pub(crate) truncated: u64,
    /// Times of arrival that a jump of the wall clock made useless.
    pub(crate) clamped: u64,
}

/// What left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendStats {
    /// Datagrams the kernel took.
    pub(crate) datagrams: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Messages they left in; fewer than the datagrams with segmentation offload.
    pub(crate) messages: u64,
    /// Calls of sendmmsg.
    pub(crate) calls: u64,
    /// Runs that were refused and sent one by one.
    pub(crate) split_runs: u64,
    /// Datagrams not sent because the socket's buffer stayed full, or the system had no memory for them.
    pub(crate) buffer_full: u64,
    /// Datagrams not sent because the network has no way to their destination.
    pub(crate) unreachable: u64,
    /// Datagrams not sent because they are longer than the interface takes.
    pub(crate) too_large: u64,
    /// Datagrams not sent for any other error.
    pub(crate) failed: u64,
}

/// Everything about one socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketStats {
    /// What came.
    pub(crate) received: ReceiveStats,
    /// What left.
    pub(crate) sent: SendStats,
    /// Whether the kernel still segments for us.
    pub(crate) gso: bool,
    /// Datagrams the kernel dropped because the shard did not read them in time.
    pub(crate) overrun: u64,
    /// Faults of ours that were caught.
    pub(crate) panics: u64,
}

/// A part of a shard's counters, as it comes out of its thread. The first one has the socket's.
#[derive(Clone, Debug)]
pub(crate) struct ShardPart {
    pub(crate) socket: Option<SocketStats>,
    pub(crate) tcp: Option<TcpStats>,
    pub(crate) router: Snapshot,
    pub(crate) is_last: bool,
}

/// One shard's counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardStats {
    pub(crate) socket: SocketStats,
    /// None: media does not come over TCP.
    pub(crate) tcp: Option<TcpStats>,
    pub(crate) router: Snapshot,
}

impl ShardStats {
    /// Takes in the next part.
    pub(crate) fn extend(&mut self, part: ShardPart) {
        match part.socket {
            Some(socket) => {
                (self.socket, self.tcp) = (socket, part.tcp);
                self.router = part.router;
            }
            None => self.router.extend(part.router),
        }
    }

    /// The members `socket` and `tcp` of a JSON object.
    pub(crate) fn write_sockets(&self, out: &mut String) {
        out.push_str("\"socket\":");
        self.socket.write_json(out);
        out.push_str(",\"tcp\":");
        match &self.tcp {
            Some(tcp) => tcp.write_json(out),
            None => out.push_str("null"),
        }
    }
}

/// The counters of all shards at about one moment.
#[derive(Clone, Debug)]
pub struct EngineSnapshot {
    pub(crate) events_waiting: usize,
    /// Each shard's port and counters.
    pub(crate) shards: Vec<(u16, ShardStats)>,
}

impl EngineSnapshot {
    /// As one JSON object. Formatted by the thread that calls this: none of it happens on a shard.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(4096);
        let _ = write!(
            out,
            "{{\"events_waiting\":{},\"shards\":[",
            self.events_waiting
        );
        for (number, (port, shard)) in self.shards.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(out, "{comma}{{\"shard\":{number},\"port\":{port},");
            shard.write_sockets(&mut out);
            let _ = write!(out, ",\"router\":{}}}", shard.router.to_json());
        }
        out.push_str("]}");
        out
    }
}

impl SocketStats {
    pub(crate) fn write_json(&self, out: &mut String) {
        let SocketStats {
            received,
            sent,
            gso,
            overrun,
            panics,
        } = self;
        let _ = write!(
            out,
            "{{\"datagrams_in\":{},\"bytes_in\":{},\"messages_in\":{},\"receive_calls\":{},\
             \"clamped_times\":{},\"datagrams_out\":{},\"bytes_out\":{},\"messages_out\":{},\"send_calls\":{},\
             \"gso\":{gso},\"split_runs\":{},\"panics\":{panics},\"drops\":{{",
            received.datagrams,
            received.bytes,
            received.messages,
            received.calls,
            received.clamped,
            sent.datagrams,
            sent.bytes,
            sent.messages,
            sent.calls,
            sent.split_runs
        );
        let drops = [
            ("receive-buffer-full", *overrun),
            ("receive-truncated", received.truncated),
            ("send-buffer-full", sent.buffer_full),
            ("send-unreachable", sent.unreachable),
            ("send-too-large", sent.too_large),
            ("send-failed", sent.failed),
        ];
        write_counts(out, drops.into_iter());
        out.push_str("}}");
    }
}

/// The members of a JSON object: what happened, with its count. Every name in it is ours and needs no escaping.
pub(crate) fn write_counts(out: &mut String, counts: impl Iterator<Item = (&'static str, u64)>) {
    let happened = counts.filter(|(_, count)| *count > 0);
    for (index, (name, count)) in happened.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{name}\":{count}");
    }
}
