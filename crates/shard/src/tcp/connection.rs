//! One connection of a peer.

use crate::tcp::doorkeeper::Source;
use crate::tcp::listener;
use crate::tcp::queue::SendQueue;
use parlour_media::Path;
use parlour_media::framing::{Framing, MAX_FRAME};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a stranger may take until a genuine check comes: a connection and a check on a network that loses some packets.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames of a stranger: more checks than any peer repeats in that time.
const STRANGERS_FRAMES: u32 = 256;

/// A connection that nothing comes by for so long is not kept: consent (RFC 7675) has ended twice then.
const IDLE: Duration = Duration::from_secs(60);

/// A peer that takes nothing of what waits for it for so long takes nothing any more.
const STUCK: Duration = Duration::from_secs(15);

/// Bytes read at once from somebody who is known, and from a stranger.
const READ: usize = 32 * 1024;
const READ_OF_STRANGER: usize = MAX_FRAME;

/// Where the bytes of one read come to lie, behind what was left over of those before.
pub(super) const SCRATCH: usize = READ + MAX_FRAME + 2;

/// What a read gave.
#[derive(Debug)]
pub(super) enum Got {
    /// So many bytes are in the scratch now, those that were left over in front.
    Bytes(usize),
    /// Nothing more for now.
    Nothing,
    /// The peer closed it.
    End,
    /// It is broken.
    Broken,
}

/// Its socket, what came of a frame, and what waits to be sent.
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) number: u64,
    pub(super) path: Path,
    pub(super) source: Source,
    /// No genuine check came by it yet.
    pub(super) is_stranger: bool,
    frames: u32,
    pub(super) framing: Framing,
    /// What came of a frame that is not whole; empty without memory while there is none.
    left: Vec<u8>,
    pub(super) queue: SendQueue,
    opened: Instant,
    heard: Instant,
    /// Since when the system takes nothing.
    blocked: Option<Instant>,
    /// What the system had not sent, and when that was asked, by the count of flushes.
    unsent: (u64, usize),
    /// When it is looked at next.
    pub(super) due: Instant,
    /// Whether it stands in the list of those to be read, and of those to be written.
    pub(super) is_readable: bool,
    pub(super) is_dirty: bool,
}

impl Connection {
    pub(super) fn new(now: Instant, stream: TcpStream, number: u64, path: Path) -> Connection {
        Connection {
            stream,
            number,
            path,
            source: path.remote.ip().into(),
            is_stranger: true,
            frames: 0,
            framing: Framing::default(),
            left: Vec::new(),
            queue: SendQueue::default(),
            opened: now,
            heard: now,
            blocked: None,
            unsent: (0, 0),
            due: now + CHECK_TIMEOUT,
            is_readable: false,
            is_dirty: false,
        }
    }

    /// A genuine check came by it.
    pub(super) fn welcome(&mut self) {
        self.is_stranger = false;
        listener::prepare(&self.stream);
    }

    /// Whether a stranger may say one more thing.
    pub(super) fn may_say_more(&mut self) -> bool {
        self.frames += 1;
        self.frames <= STRANGERS_FRAMES
    }

    pub(super) fn read(&mut self, now: Instant, scratch: &mut [u8]) -> Got {
        let kept = self.left.len();
        scratch[..kept].copy_from_slice(&self.left);
        let most = if self.is_stranger {
            READ_OF_STRANGER
        } else {
            READ
        };
        match self.stream.read(&mut scratch[kept..kept + most]) {
            Ok(0) => Got::End,
            Ok(len) => {
                self.heard = now;
                self.left.clear();
                Got::Bytes(kept + len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Got::Bytes(kept),
            Err(_) => Got::Broken,
        }
    }

    /// What is not whole yet stands in front of what is read next.
    pub(super) fn keep(&mut self, framing: Framing, left: &[u8]) {
        self.framing = framing;
        self.left.clear();
        self.left.extend_from_slice(left);
        if left.is_empty() {
            self.left = Vec::new();
        }
    }

    /// Write what waits, as far as the system takes it. False: it is broken.
    pub(super) fn write(&mut self) -> bool {
        while !self.queue.is_empty() {
            match self.stream.write(self.queue.waiting()) {
                Ok(0) => return false,
                Ok(len) => {
                    self.queue.advance(len);
                    self.blocked = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.get_or_insert_with(Instant::now);
                    return true;
                }
                Err(_) => return false,
            }
        }
        self.blocked = None;
        true
    }

    /// Whether the system said that it takes nothing for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Bytes that wait here and in the system, which is asked once between two flushes.
    pub(super) fn waiting(&mut self, flushes: u64) -> usize {
        if self.unsent.0 != flushes {
            self.unsent = (flushes, listener::unsent(&self.stream));
        }
        self.queue.len() + self.unsent.1
    }

    /// Whether it has come to its end, or when to look again.
    pub(super) fn judge(&mut self, now: Instant) -> Result<Instant, parlour_media::ConnectionEnd> {
        use parlour_media::ConnectionEnd as End;
        if self.is_stranger {
            let until = self.opened + CHECK_TIMEOUT;
            return if until <= now {
                Err(End::NoCheck)
            } else {
                Ok(until)
            };
        }
        let stuck = self.blocked.map(|since| since + STUCK);
        if stuck.is_some_and(|at| at <= now) {
            return Err(End::Stuck);
        }
        let idle = self.heard + IDLE;
        if idle <= now {
            return Err(End::Idle);
        }
        // It may become stuck at any time.
        Ok(idle.min(stuck.unwrap_or(now + STUCK)))
    }
}
