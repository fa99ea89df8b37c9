//! The sockets of peers: many datagrams with one system call, each with the time at which the kernel had it.

use parlour_shard::socket::{enlarge_buffers, set};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams of one call.
pub(crate) const BATCH: usize = 64;
/// Longer ones than any link takes are not expected.
pub(crate) const DATAGRAM: usize = 2_048;
/// Asked for in both directions; over a second of video. The kernel may give less.
const BUFFER_BYTES: libc::c_int = 1 << 20;
/// Room for one SCM_TIMESTAMPNS.
const CONTROL: usize = 64;

/// Nanoseconds of CLOCK_REALTIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

/// A socket that speaks to one address.
pub(crate) fn open(remote: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(remote)?;
    socket.set_nonblocking(true)?;
    enlarge_buffers(&socket, BUFFER_BYTES);
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    Ok(socket)
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Buffers for one call of recvmmsg. One serves all sockets of a thread.
pub(crate) struct Receiver {
    slab: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    slots: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in it lead to its own vectors and are set anew before each call.
unsafe impl Send for Receiver {}

impl Receiver {
    pub(crate) fn new() -> Receiver {
        // SAFETY: all-zero headers and addresses are valid ones that point nowhere.
        let (header, name) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let nowhere = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Receiver {
            slab: vec![0; BATCH * DATAGRAM],
            names: vec![name; BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            slots: vec![nowhere; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Takes what waits, up to `BATCH`; 0 when nothing does. An error of an earlier datagram (ICMP) is passed over.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> usize {
        for (index, slot) in self.slab.chunks_exact_mut(DATAGRAM).enumerate() {
            self.slots[index] = libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: DATAGRAM,
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.slots[index];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.controls[index]).cast();
            header.msg_controllen = CONTROL as _;
            header.msg_flags = 0;
        }
        // SAFETY: the headers point at names, slots and control buffers of `self` that are as long as the headers
        // say; nothing of them moves before the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// The datagram with that number of the last call, and when it came.
    pub(crate) fn datagram(&mut self, index: usize) -> (&mut [u8], Option<Stamp>) {
        let message = &self.headers[index];
        let len = (message.msg_len as usize).min(DATAGRAM);
        // SAFETY: recvmmsg filled this header, whose control buffer lives in `self`.
        let stamp = unsafe { stamp(&message.msg_hdr) };
        (&mut self.slab[index * DATAGRAM..][..len], stamp)
    }

    /// Where that datagram came from, for a socket that is not connected.
    pub(crate) fn source(&self, index: usize) -> (libc::sockaddr_storage, libc::socklen_t) {
        (self.names[index], self.headers[index].msg_hdr.msg_namelen)
    }
}

/// The time stamp beside a datagram.
///
/// # Safety
/// The header was filled by a call that received it, and its control buffer is still there.
unsafe fn stamp(header: &libc::msghdr) -> Option<Stamp> {
    // SAFETY: as the caller promises; the kernel wrote well-formed control messages.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_TIMESTAMPNS
            {
                let time: libc::timespec = libc::CMSG_DATA(at)
                    .cast::<libc::timespec>()
                    .read_unaligned();
                return Some(Stamp(
                    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs(),
                ));
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    None
}

/// Datagrams for one call of sendmmsg on a connected socket.
pub(crate) struct Sender {
    slab: Vec<u8>,
    slots: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    waiting: usize,
}

// SAFETY: the pointers in it lead to its own vectors and are set anew before each call.
unsafe impl Send for Sender {}

impl Sender {
    pub(crate) fn new() -> Sender {
        // SAFETY: an all-zero header is a valid one that points nowhere.
        let header = unsafe { std::mem::zeroed() };
        let nowhere = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Sender {
            slab: vec![0; BATCH * DATAGRAM],
            slots: vec![nowhere; BATCH],
            headers: vec![header; BATCH],
            waiting: 0,
        }
    }

    /// A place for the next datagram; `None` when it is time to flush.
    pub(crate) fn slot(&mut self) -> Option<&mut [u8]> {
        self.slab.chunks_exact_mut(DATAGRAM).nth(self.waiting)
    }

    /// The datagram in the last slot has that many bytes.
    pub(crate) fn push(&mut self, len: usize) {
        self.slots[self.waiting].iov_len = len;
        self.waiting += 1;
    }

    /// Sends all; returns how many the kernel did not take.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> u64 {
        let count = std::mem::take(&mut self.waiting);
        for index in 0..count {
            self.slots[index].iov_base = self.slab[index * DATAGRAM..].as_mut_ptr().cast();
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.slots[index];
            header.msg_iovlen = 1;
        }
        let (mut at, mut lost) = (0, 0);
        while at < count {
            // SAFETY: the headers point at slots and slab of `self`, which nothing touches before the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers[at..].as_mut_ptr(),
                    (count - at) as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) => at += sent,
                // The first one is lost like one in the network; the others are tried.
                Err(_) => (at, lost) = (at + 1, lost + 1),
            }
        }
        lost
    }
}
