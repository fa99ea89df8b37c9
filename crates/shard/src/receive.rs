//! Many datagrams with one system call: recvmmsg into a slab, with receive offload.

use crate::address::RawAddress;
use crate::control::{self, Control};
use crate::stats::ReceiveStats;
use parlour_media::Path;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
            stats: ReceiveStats::default(),
        }
    }

    /// Take what waits, up to a batch. `WouldBlock` when nothing does.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
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
            return Err(io::Error::last_os_error());
        }
        self.received = count as usize;
        self.stats.calls += 1;
        self.stats.messages += count as u64;
        Ok(())
    }

    /// Every datagram of the last batch, in the order of arrival; coalesced ones are split again.
    pub(crate) fn for_each(&mut self, mut take: impl FnMut(Path, &mut [u8])) {
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
            let path = Path { local, remote };
            let segment = arrived.segment.unwrap_or(message_bytes.len()).max(1);
            for datagram in message_bytes.chunks_mut(segment) {
                stats.datagrams += 1;
                take(path, datagram);
            }
        }
    }
}
