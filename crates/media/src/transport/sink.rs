//! Where outgoing datagrams are written.

use crate::transport::path::Path;

/// Where packets go: they are sealed straight into the sender's arena, so that nothing is copied
/// between the router and the socket.
pub trait TransmitSink {
    /// Exactly `max_len` bytes in which one datagram is built. It leaves from the local address of `path`
    /// to the remote one.
    fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8];

    /// Send the first `len` bytes of the buffer asked for last. Without a commit nothing is sent.
    fn commit(&mut self, len: usize);

    /// Bytes that wait for the connection that `path` is to take them, those in the system's buffers included. A path that
    /// is none has nothing waiting.
    fn waiting(&mut self, path: Path) -> usize {
        let _ = path;
        0
    }
}

/// Every datagram on a heap of its own: for tests and for callers to whom speed means nothing.
#[derive(Debug, Default)]
pub struct VecSink {
    /// The committed datagrams, oldest first.
    pub sent: std::collections::VecDeque<(Path, Vec<u8>)>,
    open: Option<(Path, Vec<u8>)>,
}

impl TransmitSink for VecSink {
    fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        &mut self.open.insert((path, vec![0; max_len])).1
    }

    fn commit(&mut self, len: usize) {
        if let Some((path, mut datagram)) = self.open.take() {
            datagram.truncate(len);
            self.sent.push_back((path, datagram));
        }
    }
}

/// Sends a datagram as it is.
pub(crate) fn send_plain(sink: &mut impl TransmitSink, path: Option<Path>, packet: &[u8]) {
    let Some(path) = path else { return };
    sink.buffer(path, packet.len()).copy_from_slice(packet);
    sink.commit(packet.len());
}
