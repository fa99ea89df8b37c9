//! The router's way out: an arena in front of the socket.

use crate::arena::Arena;
use crate::socket;
use crate::stats::SendStats;
use crate::transmit::Transmitter;
use parlour_media::{Path, TransmitSink};
use std::net::UdpSocket;
use std::os::fd::AsFd;

/// Room for one turn's datagrams: the largest fan-out of a burst of video packets that still leaves
/// as full runs. Memory is touched only as far as it is used.
const ARENA_BYTES: usize = 8 << 20;

/// A sink that sends when it is full and when it is told to.
pub(crate) struct Outlet<'a> {
    socket: &'a UdpSocket,
    arena: Arena,
    transmitter: Transmitter,
    /// Whether the datagram that is being written has somewhere to go.
    way_out: bool,
}

impl Outlet<'_> {
    /// In front of that socket, whose kernel cuts runs if it `segments` and can.
    pub(crate) fn new(socket: &UdpSocket, segments: bool) -> Outlet<'_> {
        let ipv6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let gso = segments && socket::can_segment(socket);
        let mut arena = Arena::new(ARENA_BYTES);
        if !gso {
            arena.stop_coalescing();
        }
        Outlet {
            socket,
            arena,
            transmitter: Transmitter::new(ipv6, gso),
            way_out: true,
        }
    }

    /// Send what waits.
    pub(crate) fn flush(&mut self) {
        if !self.arena.is_empty() {
            self.transmitter.flush(self.socket.as_fd(), &mut self.arena);
        }
    }

    /// What was sent and what was not.
    pub(crate) fn stats(&self) -> &SendStats {
        &self.transmitter.stats
    }

    /// Whether the kernel still segments for us.
    pub(crate) fn gso(&self) -> bool {
        self.transmitter.gso()
    }
}

impl TransmitSink for Outlet<'_> {
    fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        if !self.arena.has_room(max_len) {
            self.flush();
        }
        self.way_out = path.can_be_answered();
        self.arena.open(path, max_len)
    }

    fn commit(&mut self, len: usize) {
        // The router takes nothing from there, so this is a fault of ours; the kernel need not see it.
        if self.way_out {
            self.arena.commit(len);
        } else {
            self.transmitter.stats.unreachable += 1;
        }
    }
}
