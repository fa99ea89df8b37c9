//! Many runs with one system call: sendmmsg, each message a run that the kernel segments.

use crate::address::RawAddress;
use crate::arena::{Arena, MAX_RUN};
use crate::stats::SendStats;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Messages of one call.
const BATCH: usize = 64;

/// How long a full socket buffer may hold up a shard, once a flush.
const FULL_BUFFER_WAIT_MS: libc::c_int = 1;

/// Room for the control message that carries the segment size, aligned as control messages want it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 32]);

/// A place in the arena: a run and a datagram of it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    run: usize,
    datagram: usize,
}

/// The datagrams of one message.
#[derive(Clone, Copy)]
struct Span {
    from: Cursor,
    count: usize,
    bytes: usize,
    pieces: usize,
}

/// What sendmmsg wants to be pointed at. Belongs to the shard's thread.
pub(crate) struct Transmitter {
    ipv6: bool,
    gso: bool,
    spans: Vec<Span>,
    names: Vec<(RawAddress, libc::socklen_t)>,
    controls: Vec<Control>,
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    pub(crate) stats: SendStats,
}

impl Transmitter {
    /// For a socket of that family.
    pub(crate) fn new(ipv6: bool) -> Transmitter {
        Transmitter {
            ipv6,
            gso: true,
            spans: Vec::with_capacity(BATCH),
            names: Vec::with_capacity(BATCH),
            controls: Vec::with_capacity(BATCH),
            pieces: Vec::with_capacity(BATCH * MAX_RUN),
            headers: Vec::with_capacity(BATCH),
            stats: SendStats::default(),
        }
    }

    /// Whether the kernel still segments for us.
    pub(crate) fn gso(&self) -> bool {
        self.gso
    }

    /// Send all that waits in the arena and empty it. What cannot be sent is counted and dropped.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>, arena: &mut Arena) {
        let mut cursor = Cursor::default();
        let mut may_wait = true;
        while self.gather(arena, cursor) {
            self.stats.calls += 1;
            // SAFETY: `gather` pointed the headers at names, controls and pieces in `self` and at
            // bytes of the arena; none of them is touched before the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    self.headers.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent > 0 {
                self.stats.messages += sent as u64;
                for span in &self.spans[..sent as usize] {
                    self.stats.datagrams += span.count as u64;
                    self.stats.bytes += span.bytes as u64;
                    cursor = span.after(arena);
                }
                continue;
            }
            let first = self.spans[0];
            let count = first.count as u64;
            match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
                libc::EINTR => continue,
                libc::EAGAIN | libc::ENOBUFS => {
                    if may_wait {
                        may_wait = false;
                        wait_writable(socket);
                        continue;
                    }
                    self.stats.buffer_full += waiting(arena, cursor);
                    break;
                }
                libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP if first.count > 1 => {
                    self.gso = false;
                    arena.stop_coalescing();
                    continue;
                }
                libc::EMSGSIZE => self.stats.too_large += count,
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EPERM
                | libc::EACCES
                | libc::ENETDOWN
                | libc::EADDRNOTAVAIL => self.stats.unreachable += count,
                _ => self.stats.failed += count,
            }
            cursor = first.after(arena);
        }
        arena.clear();
    }

    /// Describe the messages from the cursor on, up to a batch. False when there are none.
    fn gather(&mut self, arena: &Arena, mut cursor: Cursor) -> bool {
        self.spans.clear();
        self.names.clear();
        self.controls.clear();
        self.pieces.clear();
        self.headers.clear();
        while self.spans.len() < BATCH
            && let Some(run) = arena.runs().get(cursor.run)
        {
            let count = if self.gso {
                run.len() - cursor.datagram
            } else {
                1
            };
            let before = self.pieces.len();
            let mut bytes = 0;
            let mut end = usize::MAX;
            for index in cursor.datagram..cursor.datagram + count {
                let (offset, len) = run.datagram(index);
                bytes += len;
                if offset == end
                    && let Some(piece) = self.pieces.last_mut()
                {
                    piece.iov_len += len;
                } else {
                    let start = &arena.bytes()[offset..offset + len];
                    self.pieces.push(libc::iovec {
                        iov_base: start.as_ptr().cast_mut().cast(),
                        iov_len: len,
                    });
                }
                end = offset + len;
            }
            let span = Span {
                from: cursor,
                count,
                bytes,
                pieces: self.pieces.len() - before,
            };
            self.spans.push(span);
            self.names
                .push(RawAddress::encode(run.destination(), self.ipv6));
            self.controls.push(Control([0; 32]));
            cursor = span.after(arena);
        }
        // The vectors are complete and move no more: now they can be pointed at.
        let mut piece = 0;
        for (index, span) in self.spans.iter().enumerate() {
            // SAFETY: an all-zero mmsghdr is a valid one that points nowhere.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.names[index].0).cast();
            header.msg_namelen = self.names[index].1;
            header.msg_iov = &raw mut self.pieces[piece];
            header.msg_iovlen = span.pieces;
            if span.count > 1 {
                let segment = arena.runs()[span.from.run].segment();
                write_segment_size(header, &mut self.controls[index], segment);
            }
            piece += span.pieces;
            self.headers.push(message);
        }
        !self.headers.is_empty()
    }
}

impl Span {
    /// The place behind it.
    fn after(&self, arena: &Arena) -> Cursor {
        let datagram = self.from.datagram + self.count;
        if datagram < arena.runs()[self.from.run].len() {
            Cursor {
                run: self.from.run,
                datagram,
            }
        } else {
            Cursor {
                run: self.from.run + 1,
                datagram: 0,
            }
        }
    }
}

/// Datagrams from the cursor to the end.
fn waiting(arena: &Arena, cursor: Cursor) -> u64 {
    let runs = &arena.runs()[cursor.run..];
    let all: usize = runs.iter().map(crate::arena::Run::len).sum();
    (all - cursor.datagram) as u64
}

/// Tell the kernel where to cut the message (UDP_SEGMENT, a 16-bit number).
fn write_segment_size(header: &mut libc::msghdr, control: &mut Control, segment: u16) {
    const SIZE: libc::c_uint = size_of::<u16>() as libc::c_uint;
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(SIZE) } as usize;
    debug_assert!(header.msg_controllen <= control.0.len());
    // SAFETY: the control buffer has room for one message with a u16 (the line above) and the
    // alignment of a cmsghdr, so CMSG_FIRSTHDR is not null and CMSG_DATA is inside it.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(SIZE) as usize;
        libc::CMSG_DATA(message)
            .cast::<u16>()
            .write_unaligned(segment);
    }
}

/// Give the network a moment to take what is in the socket's buffer.
fn wait_writable(socket: BorrowedFd<'_>) {
    let mut wanted = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd that outlives the call. Its result does not matter: the next send tells.
    unsafe { libc::poll(&mut wanted, 1, FULL_BUFFER_WAIT_MS) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::Receiver;
    use crate::socket;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;

    fn loopback() -> UdpSocket {
        socket::bind(([127, 0, 0, 1], 0).into()).unwrap()
    }

    fn put(arena: &mut Arena, destination: SocketAddr, first: u8, len: usize) {
        let datagram = arena.open(destination, len);
        datagram.fill(first.wrapping_mul(31));
        datagram[0] = first;
        arena.commit(len);
    }

    fn wait_readable(socket: &UdpSocket) {
        let mut wanted = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd that outlives the call.
        let ready = unsafe { libc::poll(&mut wanted, 1, 5000) };
        assert_eq!(ready, 1, "nothing came");
    }

    /// Receive until `count` datagrams are there: (first byte, length); and in how many messages.
    fn collect(socket: &UdpSocket, count: usize) -> (Vec<(u8, usize)>, u64) {
        let mut receiver = Receiver::new();
        let mut got = Vec::new();
        while got.len() < count {
            wait_readable(socket);
            receiver.receive(socket.as_fd()).unwrap();
            receiver.for_each(|_, datagram| {
                assert!(
                    datagram[1..]
                        .iter()
                        .all(|byte| *byte == datagram[0].wrapping_mul(31))
                );
                got.push((datagram[0], datagram.len()));
            });
        }
        (got, receiver.stats.messages)
    }

    #[test]
    fn runs_are_segmented_by_the_kernel_and_coalesced_for_the_receiver() {
        let (from, to, other) = (loopback(), loopback(), loopback());
        let mut arena = Arena::new(1 << 20);
        let mut expected = Vec::new();
        for index in 0..20_u8 {
            let len = if index % 10 == 9 { 700 } else { 1100 };
            put(&mut arena, to.local_addr().unwrap(), index, len);
            put(&mut arena, other.local_addr().unwrap(), index, 90);
            expected.push((index, len));
        }
        let mut transmitter = Transmitter::new(false);
        transmitter.flush(from.as_fd(), &mut arena);
        let sent = &transmitter.stats;
        assert!(arena.is_empty());
        assert!(transmitter.gso());
        assert_eq!((sent.datagrams, sent.calls), (40, 1));
        assert_eq!(
            sent.messages,
            2 + 2,
            "two runs of ten, one of sixteen, one of four"
        );
        assert_eq!(sent.bytes, 18 * 1100 + 2 * 700 + 20 * 90);

        assert_eq!(collect(&to, 20), (expected, 2));
        let small: Vec<_> = (0..20).map(|index| (index, 90)).collect();
        assert_eq!(collect(&other, 20), (small, 2));
    }

    #[test]
    fn a_socket_that_refuses_segmentation_sends_everything_singly_from_then_on() {
        let (from, to) = (loopback(), loopback());
        // The kernel answers EINVAL to segmentation on a socket without checksums.
        socket::set(&from, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let mut arena = Arena::new(1 << 20);
        let mut transmitter = Transmitter::new(false);
        for round in 0..2_u8 {
            let expected: Vec<_> = (0..8).map(|index| (round * 8 + index, 500)).collect();
            for (first, len) in &expected {
                put(&mut arena, to.local_addr().unwrap(), *first, *len);
            }
            transmitter.flush(from.as_fd(), &mut arena);
            assert!(!transmitter.gso());
            assert_eq!(collect(&to, 8).0, expected);
        }
        let stats = &transmitter.stats;
        assert_eq!((stats.datagrams, stats.messages), (16, 16));
    }

    #[test]
    fn one_destination_that_cannot_be_reached_costs_the_others_nothing() {
        let (from, to) = (loopback(), loopback());
        let mut arena = Arena::new(1 << 20);
        let to_address = to.local_addr().unwrap();
        put(&mut arena, to_address, 1, 100);
        // A socket bound to loopback has no way out.
        put(&mut arena, ([192, 0, 2, 1], 9).into(), 2, 100);
        put(&mut arena, ([192, 0, 2, 1], 9).into(), 3, 100);
        put(&mut arena, ([127, 0, 0, 1], 0).into(), 4, 100);
        put(&mut arena, to_address, 5, 200);
        let mut transmitter = Transmitter::new(false);
        transmitter.flush(from.as_fd(), &mut arena);
        assert_eq!(collect(&to, 2).0, [(1, 100), (5, 200)]);
        let stats = &transmitter.stats;
        assert_eq!(stats.datagrams, 2);
        assert_eq!(stats.unreachable + stats.failed, 3);
    }

    #[test]
    fn more_runs_than_a_batch_all_arrive_in_order() {
        let (from, to) = (loopback(), loopback());
        let mut arena = Arena::new(1 << 20);
        let expected: Vec<_> = (0..200_u8)
            .map(|index| (index, 300 + usize::from(index)))
            .collect();
        for (first, len) in &expected {
            put(&mut arena, to.local_addr().unwrap(), *first, *len);
        }
        let mut transmitter = Transmitter::new(false);
        transmitter.flush(from.as_fd(), &mut arena);
        assert_eq!(collect(&to, 200).0, expected);
        assert_eq!(transmitter.stats.datagrams, 200);
    }

    #[test]
    fn an_ipv6_socket_reaches_ipv4_and_names_it_so() {
        let Ok(from) = socket::bind("[::]:0".parse().unwrap()) else {
            eprintln!("no IPv6 here");
            return;
        };
        let to = loopback();
        let mut arena = Arena::new(1 << 16);
        put(&mut arena, to.local_addr().unwrap(), 1, 50);
        Transmitter::new(true).flush(from.as_fd(), &mut arena);
        assert_eq!(collect(&to, 1).0, [(1, 50)]);

        let port = from.local_addr().unwrap().port();
        to.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        wait_readable(&from);
        let mut receiver = Receiver::new();
        receiver.receive(from.as_fd()).unwrap();
        let mut sources = Vec::new();
        receiver.for_each(|source, _| sources.push(source));
        assert_eq!(sources, [to.local_addr().unwrap()]);
    }
}
