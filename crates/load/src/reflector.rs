//! The null reflector: a server that does nothing but receive and fan out, without a word of any protocol. What the
//! generator reaches there is all it can do, and what that costs is the least that forwarding can cost.

use crate::socket::{BATCH, DATAGRAM, Receiver};
use parlour_media::rtp::{RtpHeader, is_rtp_or_rtcp};
use parlour_shard::socket::enlarge_buffers;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Packets of one run at most: what the best servers send at a time.
const MOST_IN_RUN: usize = 8;
/// A run whose frame is open may wait so long for the rest of it.
const HOLD: Duration = Duration::from_millis(1);
/// As our shards ask for, since all publishers share this socket.
const BUFFER_BYTES: libc::c_int = 4 << 20;
/// How soon the end is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// Addresses it knows, a limit of ours.
const MOST_GUESTS: usize = 30_000;

const MAGIC: [u8; 4] = *b"PLRH";

/// The greeting of a peer in the clear; it comes back when the peer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) room: u32,
    pub(crate) subscribe: bool,
}

impl Hello {
    pub(crate) fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = u8::from(self.subscribe);
        bytes[5..].copy_from_slice(&self.room.to_be_bytes());
        bytes
    }

    pub(crate) fn parse(datagram: &[u8]) -> Option<Hello> {
        let (magic, rest) = datagram.split_first_chunk::<4>()?;
        let (&role, room) = rest.split_first()?;
        (*magic == MAGIC && role < 2).then_some(Hello {
            room: u32::from_be_bytes(room.try_into().ok()?),
            subscribe: role == 1,
        })
    }
}

/// What a reflector has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReflectorStats {
    /// Media packets that came.
    pub received: u64,
    /// Copies that left.
    pub forwarded: u64,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    forwarded: AtomicU64,
}

/// A reflector with its thread. Dropping it ends it.
pub struct Reflector {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reflector {
    /// Binds a free port of that address and starts.
    ///
    /// # Errors
    /// When there is no socket or thread for it.
    pub fn start(address: IpAddr) -> io::Result<Reflector> {
        let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
        socket.set_nonblocking(true)?;
        enlarge_buffers(&socket, BUFFER_BYTES);
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            socket,
            receiver: Receiver::new(),
            guests: HashMap::new(),
            rooms: HashMap::new(),
            run: Run::default(),
            stop: Arc::clone(&stop),
            counters: Arc::clone(&counters),
        };
        let thread = std::thread::Builder::new()
            .name("parlour-reflect".into())
            .spawn(move || worker.work())?;
        Ok(Reflector {
            address,
            stop,
            counters,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done.
    pub fn stats(&self) -> ReflectorStats {
        ReflectorStats {
            received: self.counters.received.load(Ordering::Relaxed),
            forwarded: self.counters.forwarded.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where to: as the kernel takes it.
#[derive(Clone, Copy)]
struct Address(libc::sockaddr_storage, libc::socklen_t);

impl Address {
    fn key(&self) -> Vec<u8> {
        // SAFETY: the kernel filled the first bytes of the storage, as many as the length says.
        unsafe { std::slice::from_raw_parts((&raw const self.0).cast(), self.1 as usize).to_vec() }
    }
}

/// Packets of one publisher that leave together. All but the last have the same length.
#[derive(Default)]
struct Run {
    room: u32,
    segment: usize,
    bytes: Vec<u8>,
    packets: usize,
    since: Option<Instant>,
}

struct Worker {
    socket: UdpSocket,
    receiver: Receiver,
    guests: HashMap<Vec<u8>, Hello>,
    rooms: HashMap<u32, Vec<Address>>,
    run: Run,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Worker {
    fn work(mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let count = self.receiver.receive(&self.socket);
            for index in 0..count {
                let (source, len) = self.receiver.source(index);
                let datagram = self.receiver.datagram(index).0.to_vec();
                self.take(Address(source, len), &datagram);
            }
            let held = self.run.since.map(|since| since.elapsed());
            if held.is_some_and(|held| held >= HOLD) {
                self.flush();
            } else if count < BATCH {
                self.wait(held.map_or(LOOK, |held| HOLD - held))?;
            }
        }
        Ok(())
    }

    /// Waits for a datagram, so long at most.
    fn wait(&self, time: Duration) -> io::Result<()> {
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: one descriptor and a time, which outlive the call; no signal mask.
        let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
        match ready {
            0.. => Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }

    fn take(&mut self, source: Address, datagram: &[u8]) {
        if let Some(hello) = Hello::parse(datagram) {
            self.greet(source, hello, datagram);
            return;
        }
        let Some(&Hello {
            room,
            subscribe: false,
        }) = self.guests.get(&source.key())
        else {
            return;
        };
        if !is_rtp_or_rtcp(datagram) {
            return;
        }
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        // Only a run's last packet may be shorter (udp(7), UDP_SEGMENT).
        if self.run.packets > 0 && (self.run.room != room || self.run.segment != datagram.len()) {
            self.flush();
        }
        self.run.room = room;
        self.run.segment = datagram.len();
        self.run.bytes.extend_from_slice(datagram);
        self.run.packets += 1;
        self.run.since.get_or_insert_with(Instant::now);
        // Sound is told by its short packets: each is a frame of its own, and its marker says something else.
        let frame_is_open = RtpHeader::parse(datagram).is_ok_and(|header| {
            !header.marker && header.payload_type.0 >= 96 && datagram.len() > DATAGRAM / 4
        });
        if !frame_is_open || self.run.packets == MOST_IN_RUN {
            self.flush();
        }
    }

    fn greet(&mut self, source: Address, hello: Hello, datagram: &[u8]) {
        if self.guests.len() == MOST_GUESTS {
            return;
        }
        self.place(source, hello);
        // SAFETY: address and datagram are as long as said and outlive the call. A lost answer is asked for again.
        unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                datagram.as_ptr().cast(),
                datagram.len(),
                libc::MSG_DONTWAIT,
                (&raw const source.0).cast(),
                source.1,
            )
        };
    }

    /// An address may have been that of an earlier peer, since ports come again.
    fn place(&mut self, source: Address, hello: Hello) {
        let key = source.key();
        let before = self.guests.insert(key.clone(), hello);
        if before == Some(hello) {
            return;
        }
        if let Some(there) = before.and_then(|old| self.rooms.get_mut(&old.room)) {
            there.retain(|address| address.key() != key);
        }
        if hello.subscribe {
            self.rooms.entry(hello.room).or_default().push(source);
        }
    }

    /// Sends the run to everybody in its room: a message each, cut into packets by the kernel.
    fn flush(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        self.send(&run);
        run.bytes.clear();
        self.run.bytes = run.bytes; // for its memory
    }

    fn send(&self, run: &Run) {
        let Some(addresses) = self.rooms.get(&run.room) else {
            return;
        };
        let mut piece = libc::iovec {
            iov_base: run.bytes.as_ptr().cast_mut().cast(),
            iov_len: run.bytes.len(),
        };
        let mut control = SegmentControl::new(run.segment);
        for addresses in addresses.chunks(BATCH) {
            let mut headers: Vec<libc::mmsghdr> = addresses
                .iter()
                .map(|address| {
                    // SAFETY: an all-zero header is a valid one that points nowhere.
                    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    header.msg_hdr.msg_name = (&raw const address.0).cast_mut().cast();
                    header.msg_hdr.msg_namelen = address.1;
                    header.msg_hdr.msg_iov = &raw mut piece;
                    header.msg_hdr.msg_iovlen = 1;
                    if run.packets > 1 {
                        header.msg_hdr.msg_control = (&raw mut control).cast();
                        header.msg_hdr.msg_controllen = size_of::<SegmentControl>() as _;
                    }
                    header
                })
                .collect();
            let mut at = 0;
            while at < headers.len() {
                // SAFETY: the headers point at addresses, piece and control above, which outlive the call.
                let sent = unsafe {
                    libc::sendmmsg(
                        self.socket.as_raw_fd(),
                        headers[at..].as_mut_ptr(),
                        (headers.len() - at) as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                };
                let forwarded = usize::try_from(sent).unwrap_or(0);
                let packets = (forwarded * run.packets) as u64;
                self.counters
                    .forwarded
                    .fetch_add(packets, Ordering::Relaxed);
                // What the kernel does not take is lost, as on a server.
                at += forwarded.max(1);
            }
        }
    }
}

/// A control message with UDP_SEGMENT (linux/udp.h).
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: [u8; 8],
}

impl SegmentControl {
    fn new(segment: usize) -> SegmentControl {
        // SAFETY: an all-zero control message header is a valid one.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        // SAFETY: this only computes a length.
        header.cmsg_len = unsafe { libc::CMSG_LEN(2) } as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&(segment as u16).to_ne_bytes());
        SegmentControl {
            header,
            segment: bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_read_back_and_nothing_else_is_one() {
        let hello = Hello {
            room: 0xdead_beef,
            subscribe: true,
        };
        let bytes = hello.to_bytes();
        assert_eq!(Hello::parse(&bytes), Some(hello));
        for len in 0..bytes.len() {
            assert_eq!(Hello::parse(&bytes[..len]), None);
        }
        assert_eq!(Hello::parse(&[0x80; 9]), None);
    }

    #[test]
    fn a_port_that_comes_again_is_in_its_new_room_alone() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut worker = Worker {
            socket,
            receiver: Receiver::new(),
            guests: HashMap::new(),
            rooms: HashMap::new(),
            run: Run::default(),
            stop: Arc::default(),
            counters: Arc::default(),
        };
        // SAFETY: an all-zero address is a valid one, of no family.
        let address = Address(unsafe { std::mem::zeroed() }, 16);
        let place = |worker: &mut Worker, room, subscribe| {
            worker.place(address, Hello { room, subscribe });
            [1, 2].map(|room| worker.rooms.get(&room).map_or(0, Vec::len))
        };
        assert_eq!(place(&mut worker, 1, true), [1, 0]);
        assert_eq!(place(&mut worker, 1, true), [1, 0], "a repeated greeting");
        assert_eq!(place(&mut worker, 2, true), [0, 1]);
        assert_eq!(place(&mut worker, 2, false), [0, 0], "it sends now");
    }
}
