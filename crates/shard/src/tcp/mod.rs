//! Media over TCP (RFC 6544): a shard listens on the number of its UDP port, and what comes by a connection is a datagram to
//! the router like any other, on a path of its own. All of it belongs to the shard's thread, and nothing in it blocks.
//!
//! A stranger costs a descriptor and some hundred bytes for ten seconds at most; `doorkeeper` says how many there are.

mod connection;
mod doorkeeper;
pub(crate) mod listener;
mod queue;
mod serve;
mod stats;

pub use doorkeeper::TcpLimits;
pub(crate) use serve::take_frames;
pub(crate) use stats::{TcpStats, Told};

use connection::{Connection, Got, SCRATCH};
use doorkeeper::{Doorkeeper, Verdict};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use parlour_media::{ConnectionEnd, Path};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Connections taken in one turn: each costs a few system calls.
const ACCEPTED_PER_TURN: usize = 16;

/// After the system had no descriptor left.
const AFTER_NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// Written before the end of the turn when so much waits, so that what is known to wait is what the system did not take.
const EARLY: usize = parlour_media::MOST_WAITING;

/// What waits for one peer at most. Little but sound comes here, and a quarter of a minute of ten voices is no more.
const MOST_QUEUED: usize = 1 << 20;

/// The connections of one shard.
pub(crate) struct Connections {
    listener: TcpListener,
    registry: Registry,
    first_token: usize,
    door: Doorkeeper,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_path: HashMap<Path, usize>,
    by_number: HashMap<u64, usize>,
    /// When each is looked at.
    deadlines: BTreeSet<(Instant, usize)>,
    readable: VecDeque<usize>,
    dirty: Vec<usize>,
    /// Whose datagram is being written.
    open: Option<usize>,
    nowhere: Vec<u8>,
    scratch: Vec<u8>,
    /// Of connections that were known: the router is to hear of it.
    ended: Vec<Path>,
    accepts: bool,
    accepts_not_before: Option<Instant>,
    numbers: u64,
    flushes: u64,
    stats: TcpStats,
    told: Told,
}

impl Connections {
    /// On that listener, whose events have the token below `first_token`.
    pub(crate) fn new(
        listener: TcpListener,
        registry: Registry,
        first_token: usize,
        limits: TcpLimits,
    ) -> Connections {
        Connections {
            listener,
            registry,
            first_token,
            door: Doorkeeper::new(limits),
            slots: Vec::new(),
            free: Vec::new(),
            by_path: HashMap::new(),
            by_number: HashMap::new(),
            deadlines: BTreeSet::new(),
            readable: VecDeque::new(),
            dirty: Vec::new(),
            open: None,
            nowhere: Vec::new(),
            scratch: vec![0; SCRATCH],
            ended: Vec::new(),
            accepts: false,
            accepts_not_before: None,
            numbers: 0,
            flushes: 0,
            stats: TcpStats::default(),
            told: Told::default(),
        }
    }

    /// Somebody wants to come in.
    pub(crate) fn on_listener(&mut self) {
        self.accepts = true;
    }

    /// Something can be done with a connection.
    pub(crate) fn on_event(&mut self, token: Token, readable: bool, writable: bool) {
        let slot = token.0.wrapping_sub(self.first_token);
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if readable && !std::mem::replace(&mut connection.is_readable, true) {
            self.readable.push_back(slot);
        }
        if writable && connection.is_blocked() {
            self.write(slot);
        }
    }

    /// Whether something can be done at once.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        let may_accept = self.accepts_not_before.is_none_or(|at| at <= now);
        (self.accepts && may_accept) || !self.readable.is_empty()
    }

    /// When something is to be done though nothing comes.
    pub(crate) fn due(&self) -> Option<Instant> {
        let accepts = self.accepts_not_before.filter(|_| self.accepts);
        let first = self.deadlines.first().map(|(at, _)| *at);
        let due = [accepts, first, self.told.due(&self.stats)];
        due.into_iter().flatten().min()
    }

    /// Let some of those in that wait.
    pub(crate) fn accept(&mut self, now: Instant) {
        if !self.accepts || self.accepts_not_before.is_some_and(|at| at > now) {
            return;
        }
        self.accepts_not_before = None;
        for _ in 0..ACCEPTED_PER_TURN {
            match self.listener.accept() {
                Ok((stream, remote)) => {
                    let remote = listener::plain(remote);
                    let local = stream.local_addr().map(listener::plain);
                    let path = Path::tcp(local.ok().map(|it| it.ip()), remote);
                    self.enter(now, stream, path);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepts = false;
                    return;
                }
                Err(error) => {
                    let number = error.raw_os_error().unwrap_or_default();
                    if [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&number) {
                        self.stats.ended(ConnectionEnd::NoDescriptor);
                        self.accepts_not_before = Some(now + AFTER_NO_DESCRIPTOR);
                        return;
                    }
                    // It was gone before it was taken (accept(2)); the next one may be there.
                }
            }
        }
    }

    fn enter(&mut self, now: Instant, stream: TcpStream, path: Path) {
        if !path.can_be_answered() || stream.set_nonblocking(true).is_err() {
            return self.stats.ended(ConnectionEnd::Broken);
        }
        // The system would not have it twice: the one before is over, and nobody said so yet.
        if let Some(before) = self.by_path.get(&path) {
            self.end(*before, ConnectionEnd::Broken);
        }
        match self.door.judge(path.remote.ip().into()) {
            Verdict::Admit => {}
            Verdict::Instead(oldest) => {
                if let Some(slot) = self.by_number.get(&oldest) {
                    self.end(*slot, ConnectionEnd::MadeRoom);
                }
            }
            Verdict::Refuse(reason) => return self.stats.ended(reason),
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let token = Token(self.first_token + slot);
        let wanted = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .registry
            .register(&mut SourceFd(&stream.as_raw_fd()), token, wanted);
        if registered.is_err() {
            self.free.push(slot);
            return self.stats.ended(ConnectionEnd::Broken);
        }
        self.numbers += 1;
        let connection = Connection::new(now, stream, self.numbers, path);
        self.door.enter(connection.number, connection.source);
        self.by_path.insert(path, slot);
        self.by_number.insert(connection.number, slot);
        self.deadlines.insert((connection.due, slot));
        self.slots[slot] = Some(connection);
        self.stats.accepted += 1;
    }

    fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// A genuine check came by it.
    fn welcome(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        connection.welcome();
        self.door.welcome(connection.number);
    }

    /// Close a connection.
    fn end(&mut self, slot: usize, reason: ConnectionEnd) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.door.leave(connection.number, connection.source);
        self.by_path.remove(&connection.path);
        self.by_number.remove(&connection.number);
        self.deadlines.remove(&(connection.due, slot));
        // Whoever gets its place begins with lists in which it does not stand.
        if connection.is_readable {
            self.readable.retain(|other| *other != slot);
        }
        if connection.is_dirty {
            self.dirty.retain(|other| *other != slot);
        }
        if self.open == Some(slot) {
            self.open = None;
        }
        self.free.push(slot);
        self.stats.ended(reason);
        if !connection.is_stranger {
            self.ended.push(connection.path);
        }
    }

    /// The router has no use for that connection any more.
    pub(crate) fn release(&mut self, path: Path) {
        if let Some(slot) = self.by_path.get(&path) {
            self.end(*slot, ConnectionEnd::Released);
        }
    }

    /// A connection that was somebody's path and is gone.
    pub(crate) fn poll_ended(&mut self) -> Option<Path> {
        self.ended.pop()
    }

    /// Close what has come to its end.
    pub(crate) fn look_at_deadlines(&mut self, now: Instant) {
        while let Some((due, slot)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(due, slot));
            let Some(connection) = self.get(slot) else {
                continue;
            };
            match connection.judge(now) {
                Err(reason) => self.end(slot, reason),
                Ok(next) => {
                    connection.due = next;
                    self.deadlines.insert((next, slot));
                }
            }
        }
    }

    /// Room for one datagram to that connection. Where there is none, it goes nowhere.
    pub(crate) fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        self.open = self.by_path.get(&path).copied();
        if let Some(slot) = self.open
            && let Some(connection) = self.get(slot)
            && connection.queue.len() >= EARLY
            && !connection.is_blocked()
        {
            self.write(slot);
        }
        match self.open.and_then(|slot| self.slots[slot].as_mut()) {
            Some(connection) => connection.queue.open(max_len),
            None => {
                self.nowhere.resize(max_len, 0);
                &mut self.nowhere
            }
        }
    }

    /// That datagram has so many bytes.
    pub(crate) fn commit(&mut self, len: usize) {
        let Some(slot) = self.open.take() else {
            self.stats.gone += 1;
            return;
        };
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if connection.queue.len() > MOST_QUEUED {
            connection.queue.commit(0);
            self.stats.full += 1;
            return self.end(slot, ConnectionEnd::Stuck);
        }
        if !connection.queue.commit(len) {
            return;
        }
        self.stats.frames_out += 1;
        self.stats.bytes_out += len as u64;
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Bytes that wait for that connection.
    pub(crate) fn waiting(&mut self, path: Path) -> usize {
        let flushes = self.flushes;
        let slot = self.by_path.get(&path).copied();
        let connection = slot.and_then(|slot| self.get(slot));
        connection.map_or(0, |connection| connection.waiting(flushes))
    }

    /// Write what waits, as far as the system takes it.
    pub(crate) fn flush(&mut self) {
        self.flushes += 1;
        while let Some(slot) = self.dirty.pop() {
            if let Some(connection) = self.get(slot) {
                connection.is_dirty = false;
                if !connection.is_blocked() {
                    self.write(slot);
                }
            }
        }
    }

    fn write(&mut self, slot: usize) {
        if self.get(slot).is_some_and(|connection| !connection.write()) {
            self.end(slot, ConnectionEnd::Broken);
        }
    }

    /// The next reason that is to be told.
    pub(crate) fn poll_told(&mut self, now: Instant) -> Option<(ConnectionEnd, u64)> {
        self.told.next(now, &self.stats)
    }

    /// All counters.
    pub(crate) fn stats(&self) -> TcpStats {
        let (open, strangers) = self.door.counts();
        let there = self.slots.iter().flatten();
        TcpStats {
            open,
            strangers,
            waiting: there.map(|connection| connection.queue.len()).sum(),
            ..self.stats.clone()
        }
    }
}
