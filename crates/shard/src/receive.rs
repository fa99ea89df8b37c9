//! Many datagrams with one system call: recvmmsg into a slab, with receive offload, and when each came. Datagrams that the
//! kernel coalesced have one time together.

use crate::address::RawAddress;
use crate::arrivals::{Arrivals, Clocks};
use crate::control::{self, Control};
use crate::stats::ReceiveStats;
use parlour_media::Path;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Messages of one call.
const BATCH: usize = 32;

/// Bytes of one message: what the kernel coalesces into one at most.
const SLOT: usize = 65_536;

/// The slab, and what recvmmsg wants to be pointed at. Belongs to the shard's thread.
pub(crate) struct Receiver {
    slab: Vec<u8>,
    names: Vec<RawAddress>,
    controls: Vec<Control>,
    slots: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
    arrivals: Arrivals,
    pub(crate) stats: ReceiveStats,
}

impl Receiver {
    /// A slab whose memory is touched only as far as it is ever filled.
    pub(crate) fn new() -> Receiver {
        // SAFETY: an all-zero mmsghdr is a valid one that points nowhere.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let nowhere = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Receiver {
            slab: vec![0; BATCH * SLOT],
            names: vec![RawAddress::unspecified(); BATCH],
            controls: vec![Control::new(); BATCH],
            slots: vec![nowhere; BATCH],
            headers: vec![header; BATCH],
            received: 0,
            arrivals: Arrivals::new(Instant::now()),
            stats: ReceiveStats::default(),
        }
    }

    /// Take what waits, up to a batch. `WouldBlock` when nothing does.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let asked = Instant::now();
        self.received = 0;
        for (index, slot) in self.slab.chunks_exact_mut(SLOT).enumerate() {
            self.slots[index] = libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: SLOT,
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = RawAddress::SIZE;
            header.msg_iov = &raw mut self.slots[index];
            header.msg_iovlen = 1;
            self.controls[index].receive_into(header);
            header.msg_flags = 0;
        }
        // SAFETY: the headers point at names, slots and control buffers that live in `self` and are
        // as long as the headers say; nothing of them moves before the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                self.arrivals.on_empty(asked);
            }
            return Err(error);
        }
        self.received = count as usize;
        self.stats.calls += 1;
        self.stats.messages += count as u64;
        Ok(())
    }

    /// Every datagram of the last batch, which was read at `clocks`: the path and the time it came by, in the order of
    /// arrival; coalesced ones are split again.
    pub(crate) fn for_each(
        &mut self,
        clocks: Clocks,
        mut take: impl FnMut(Path, Instant, &mut [u8]),
    ) {
        let stats = &mut self.stats;
        let messages = self.headers[..self.received].iter();
        for (index, (message, slot)) in messages.zip(self.slab.chunks_exact_mut(SLOT)).enumerate() {
            if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                stats.truncated += 1;
                continue;
            }
            let Some(remote) = self.names[index].decode() else {
                continue;
            };
            let message_bytes = &mut slot[..message.msg_len as usize];
            stats.bytes += message_bytes.len() as u64;
            // SAFETY: recvmmsg filled this header, whose control buffer lives in `self`.
            let arrived = unsafe { control::read(&message.msg_hdr) };
            let local = arrived.local;
            let path = Path::udp(local, remote);
            let came = self.arrivals.moment(clocks, arrived.stamp);
            let segment = arrived.segment.unwrap_or(message_bytes.len()).max(1);
            for datagram in message_bytes.chunks_mut(segment) {
                stats.datagrams += 1;
                take(path, came, datagram);
            }
        }
        stats.clamped = self.arrivals.clamped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// Reads what waits on a socket: what each datagram says first, and when it came.
    fn read(receiver: &mut Receiver, socket: &UdpSocket) -> Vec<(u8, Instant)> {
        let mut came = Vec::new();
        while receiver.receive(socket.as_fd()).is_ok() {
            receiver.for_each(Clocks::read(), |_, at, datagram| {
                came.push((datagram[0], at));
            });
        }
        came
    }

    #[test]
    fn what_was_sent_five_milliseconds_apart_and_is_read_in_one_batch_keeps_its_distance() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let socket = socket::bind(address).unwrap();
            let port = socket.local_addr().unwrap().port();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut receiver = Receiver::new();
            // The kernel begins to stamp a moment after it was asked to; until then a packet has the time of its reading.
            let stamps = (0..2000).any(|_| {
                sender.send_to(&[0; 50], ("127.0.0.1", port)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                let asked = Instant::now();
                read(&mut receiver, &socket)[0].1 < asked
            });
            assert!(stamps, "{address}: the kernel stamps what comes");
            receiver.stats.calls = 0;
            let mut sent = Vec::new();
            for number in 0..6 {
                let before = Instant::now();
                sender.send_to(&[number; 50], ("127.0.0.1", port)).unwrap();
                sent.push((before, Instant::now()));
                std::thread::sleep(Duration::from_millis(5));
            }
            let came = read(&mut receiver, &socket);
            assert_eq!(came.len(), sent.len(), "{address}");
            assert_eq!(receiver.stats.calls, 1, "one batch");
            // The clocks are read one after the other, and the difference changes a little while a clock is disciplined.
            let slack = Duration::from_millis(1);
            for ((number, at), (before, after)) in came.into_iter().zip(sent) {
                assert!(
                    before <= at + slack && at <= after + slack,
                    "{address}: {number} came {:?} after it was sent",
                    at.saturating_duration_since(before)
                );
            }
            assert_eq!(receiver.stats.clamped, 0);
        }
    }

    #[test]
    fn without_stamps_packets_came_when_they_were_read() {
        let socket = socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket::set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut receiver = Receiver::new();
        sender.send_to(b"a", socket.local_addr().unwrap()).unwrap();
        receiver.receive(socket.as_fd()).unwrap();
        let clocks = Clocks::read();
        let mut came = Vec::new();
        receiver.for_each(clocks, |_, at, _| came.push(at));
        assert_eq!(came, [clocks.now]);
    }
}
