//! Where the router writes in a test: it keeps what is sent, and can have a fault.

use parlour_media::{Path, TransmitSink};
use std::net::SocketAddr;
use std::ops::Range;

/// What goes there and is of that kind makes a panic, where packets are sealed, the deepest point of the work.
pub type Fault = (SocketAddr, fn(&[u8]) -> bool);

/// Takes what the router sends without allocating for it, as a shard's arena does.
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(Path, Range<usize>)>,
    open: Option<(Path, usize)>,
    /// What makes a panic, if anything.
    pub fault: Option<Fault>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            bytes: vec![0; 1 << 22],
            datagrams: Vec::with_capacity(1 << 14),
            open: None,
            fault: None,
        }
    }
}

impl Outbox {
    fn end(&self) -> usize {
        self.datagrams.last().map_or(0, |(_, range)| range.end)
    }

    /// Whether nothing was sent that is not drained.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// What was sent, oldest first.
    pub fn drain(&mut self) -> Vec<(Path, Vec<u8>)> {
        let bytes = &self.bytes;
        self.datagrams
            .drain(..)
            .map(|(path, range)| (path, bytes[range].to_vec()))
            .collect()
    }
}

impl TransmitSink for Outbox {
    fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        self.open = Some((path, max_len));
        let start = self.end();
        &mut self.bytes[start..start + max_len]
    }

    fn commit(&mut self, len: usize) {
        let (path, max_len) = self.open.take().expect("a buffer was asked for");
        assert!(len <= max_len);
        let start = self.end();
        if let Some((to, is_faulty)) = self.fault
            && to == path.remote
            && is_faulty(&self.bytes[start..start + len])
        {
            panic!("a panic that a test asked for");
        }
        self.datagrams.push((path, start..start + len));
    }
}
