//! The router's way out: an arena in front of the socket, and beside it the connections of those who come by TCP.

use crate::arena::Arena;
use crate::socket;
use crate::stats::SendStats;
use crate::tcp::Connections;
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
    connections: Option<Connections>,
    /// Where the datagram goes that is being written.
    way_out: WayOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayOut {
    Arena,
    Connection,
    None,
}

impl Outlet<'_> {
    /// In front of that socket, whose kernel cuts runs if it `segments` and can.
    pub(crate) fn new(
        socket: &UdpSocket,
        segments: bool,
        connections: Option<Connections>,
    ) -> Outlet<'_> {
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
            connections,
            way_out: WayOut::None,
        }
    }

    /// Send what waits.
    pub(crate) fn flush(&mut self) {
        self.flush_datagrams();
        if let Some(connections) = &mut self.connections {
            connections.flush();
        }
    }

    fn flush_datagrams(&mut self) {
        if !self.arena.is_empty() {
            self.transmitter.flush(self.socket.as_fd(), &mut self.arena);
        }
    }

    /// The connections, if media may come over TCP.
    pub(crate) fn connections(&mut self) -> Option<&mut Connections> {
        self.connections.as_mut()
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
        self.way_out = match (path.is_tcp(), path.can_be_answered()) {
            (true, _) if self.connections.is_some() => WayOut::Connection,
            (false, true) => WayOut::Arena,
            _ => WayOut::None,
        };
        if self.way_out != WayOut::Connection && !self.arena.has_room(max_len) {
            self.flush_datagrams();
        }
        match &mut self.connections {
            Some(connections) if path.is_tcp() => connections.buffer(path, max_len),
            _ => self.arena.open(path, max_len),
        }
    }

    fn commit(&mut self, len: usize) {
        // The router takes nothing from there, so this is a fault of ours; the kernel need not see it.
        match self.way_out {
            WayOut::Arena => self.arena.commit(len),
            WayOut::None => self.transmitter.stats.unreachable += 1,
            WayOut::Connection => {
                if let Some(connections) = &mut self.connections {
                    connections.commit(len);
                }
            }
        }
    }

    fn waiting(&mut self, path: Path) -> usize {
        let connections = self.connections.as_mut();
        connections.map_or(0, |connections| connections.waiting(path))
    }
}
