//! Many runs with one system call: sendmmsg, each message a run that the kernel segments.

use crate::address::RawAddress;
use crate::arena::{Arena, MAX_RUN};
use crate::control::Control;
use crate::stats::SendStats;
use parlour_media::Path;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Messages of one call.
const BATCH: usize = 64;

/// How long a full socket buffer may hold up a shard, once a flush.
const FULL_BUFFER_WAIT_MS: libc::c_int = 1;

/// Paths in a row that took their datagrams one by one but not as a run, after which the fault is
/// taken to be this machine's. One alone, or several among others that take runs, have a small MTU or
/// a tunnel in the way.
const GIVE_UP_AFTER: usize = 8;

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

/// What is to be done about a message that the kernel did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Try at once.
    Again,
    /// The socket's buffer is full: nothing goes anywhere now.
    Wait,
    /// It may be the segmentation: send the run one by one.
    Split,
    /// This message is lost, and the others are not concerned.
    Drop(Loss),
}

/// How a message was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    NoBuffer,
    TooLarge,
    Unreachable,
    Failed,
}

/// What an error number of sendmmsg says about the first message it was given.
fn verdict(errno: libc::c_int, datagrams: usize) -> Verdict {
    match errno {
        libc::EINTR => Verdict::Again,
        libc::EAGAIN => Verdict::Wait,
        // Too large a segment for the MTU, no checksum offload on the way out, IPsec.
        libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP if datagrams > 1 => {
            Verdict::Split
        }
        libc::EMSGSIZE => Verdict::Drop(Loss::TooLarge),
        libc::ENOBUFS | libc::ENOMEM => Verdict::Drop(Loss::NoBuffer),
        // EINVAL of a single datagram: our address on that path is none of this machine's any more.
        libc::EINVAL
        | libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::EPERM
        | libc::EACCES
        | libc::ENETDOWN
        | libc::EADDRNOTAVAIL
        | libc::ECONNREFUSED => Verdict::Drop(Loss::Unreachable),
        _ => Verdict::Drop(Loss::Failed),
    }
}

/// What sendmmsg wants to be pointed at. Belongs to the shard's thread.
pub(crate) struct Transmitter {
    ipv6: bool,
    gso: bool,
    /// Paths that refused a run and took its datagrams, since any path took a run.
    suspects: Vec<Path>,
    spans: Vec<Span>,
    names: Vec<(RawAddress, libc::socklen_t)>,
    controls: Vec<Control>,
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    pub(crate) stats: SendStats,
}

impl Transmitter {
    /// For a socket of that family, whose kernel cuts runs with `gso`.
    pub(crate) fn new(ipv6: bool, gso: bool) -> Transmitter {
        Transmitter {
            ipv6,
            gso,
            suspects: Vec::new(),
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
                cursor = self.count_sent(sent as usize, arena);
                continue;
            }
            let first = self.spans[0];
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            match verdict(errno, first.count) {
                Verdict::Again => {}
                Verdict::Wait if may_wait => {
                    may_wait = false;
                    wait_writable(socket);
                }
                Verdict::Wait => {
                    self.stats.buffer_full += waiting(arena, cursor);
                    break;
                }
                Verdict::Split => {
                    self.stats.split_runs += 1;
                    arena.split(first.from.run);
                }
                Verdict::Drop(loss) => {
                    let counter = match loss {
                        Loss::NoBuffer => &mut self.stats.buffer_full,
                        Loss::TooLarge => &mut self.stats.too_large,
                        Loss::Unreachable => &mut self.stats.unreachable,
                        Loss::Failed => &mut self.stats.failed,
                    };
                    *counter += first.count as u64;
                    cursor = first.after(arena);
                }
            }
        }
        arena.clear();
        if arena.has_singles() {
            arena.forget_singles(Instant::now());
        }
    }

    /// Count the first messages of the batch, which the kernel took. Returns the place behind them.
    fn count_sent(&mut self, messages: usize, arena: &mut Arena) -> Cursor {
        self.stats.messages += messages as u64;
        for at in 0..messages {
            let span = self.spans[at];
            self.stats.datagrams += span.count as u64;
            self.stats.bytes += span.bytes as u64;
            if span.count > 1 {
                self.suspects.clear();
            } else if arena.runs()[span.from.run].is_sent_singly() {
                self.suspect(span.from.run, arena);
            }
        }
        self.spans[messages - 1].after(arena)
    }

    /// A datagram left alone whose run was refused: the path is sound, and takes no runs.
    fn suspect(&mut self, run: usize, arena: &mut Arena) {
        let (path, segment) = (arena.runs()[run].path(), arena.runs()[run].segment());
        arena.mark_single(path, segment, Instant::now());
        if self.suspects.contains(&path) {
            return;
        }
        self.suspects.push(path);
        if self.suspects.len() >= GIVE_UP_AFTER {
            self.gso = false;
            self.suspects.clear();
            arena.stop_coalescing();
        }
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
            let count = if self.gso && !run.is_sent_singly() {
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
                .push(RawAddress::encode(run.path().remote, self.ipv6));
            self.controls.push(Control::new());
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
            let run = &arena.runs()[span.from.run];
            let segment = (span.count > 1).then(|| run.segment());
            self.controls[index].write(header, run.path().local, self.ipv6, segment);
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
mod tests;
