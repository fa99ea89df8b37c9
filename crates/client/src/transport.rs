//! A peer with its sockets and its thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use str0m::media::Mid;

use crate::codec::Codec;
use crate::event::{CloseReason, Event, Kind};
use crate::peer::{Error, Offer, OutgoingFrame, Peer, PeerConfig};

/// Ours: the token that wakes the thread for commands; sockets have their index.
const WAKE: Token = Token(usize::MAX);
/// Ours: commands that may wait for the thread. Over two seconds of audio and video.
const COMMAND_QUEUE: usize = 256;
/// Ours: sockets of one transport, one for each address that it ever had.
const MAX_SOCKETS: usize = 16;
/// Ours: events that may wait for the owner before frames are dropped.
const EVENT_QUEUE: usize = 1024;
/// The largest UDP payload; a buffer of this size never cuts a datagram.
const DATAGRAM: usize = 65_535;

/// How a transport is made.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Local addresses to bind one UDP socket each to.
    pub addresses: Vec<IpAddr>,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
}

/// Counters of a transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Datagrams handed to the sockets.
    pub datagrams_sent: u64,
    /// Datagrams that the sockets did not take (buffer full, no route).
    pub datagrams_unsent: u64,
    /// Datagrams that arrived.
    pub datagrams_received: u64,
    /// Frames accepted by [`Transport::write_frame`] and sent.
    pub frames_sent: u64,
    /// Frames that were not sent: nobody connected yet, or the codec was not agreed.
    pub frames_unsent: u64,
    /// Frames that arrived.
    pub frames_received: u64,
    /// Frames that arrived and were dropped because the owner does not fetch its events.
    pub frames_dropped: u64,
}

enum Command {
    CreateOffer {
        add: Vec<Kind>,
        stop: Vec<Mid>,
        reply: SyncSender<Result<Offer, Error>>,
    },
    AcceptAnswer {
        sdp: String,
        reply: SyncSender<Result<(), Error>>,
    },
    AcceptOffer {
        sdp: String,
        reply: SyncSender<Result<String, Error>>,
    },
    CreateIceRestart {
        reply: SyncSender<Result<String, Error>>,
    },
    MoveTo {
        address: IpAddr,
        reply: SyncSender<Result<(), Error>>,
    },
    Frame(OutgoingFrame),
    Keyframe(Mid),
    Close,
}

/// What the thread hands to the owner. A byte waits in the wake stream while `events` is not empty.
struct Outbox {
    events: VecDeque<Event>,
    stats: TransportStats,
    wake: UnixStream,
    over: bool,
}

impl Outbox {
    fn push(&mut self, event: Event) {
        if self.events.is_empty() {
            // The stream is empty too, so that one byte always fits; if the reader is gone nobody waits.
            let _ = self.wake.write(&[1]);
        }
        self.over |= matches!(event, Event::Closed(_));
        self.events.push_back(event);
    }
}

/// A peer connection that runs: UDP sockets and one thread. Dropping it closes it.
pub struct Transport {
    commands: SyncSender<Command>,
    waker: Waker,
    outbox: Arc<Mutex<Outbox>>,
    ready: UnixStream,
    local: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl Transport {
    /// Bind the sockets and start the thread.
    ///
    /// # Errors
    /// When an address cannot be bound, or the system has no more descriptors or threads.
    pub fn open(config: &TransportConfig) -> io::Result<Transport> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let mut sockets = Vec::new();
        for (index, address) in config.addresses.iter().enumerate() {
            let mut socket = UdpSocket::bind(SocketAddr::new(*address, 0))?;
            poll.registry()
                .register(&mut socket, Token(index), Interest::READABLE)?;
            sockets.push((socket.local_addr()?, socket));
        }
        let local: Vec<SocketAddr> = sockets.iter().map(|(address, _)| *address).collect();
        let peer = Peer::new(
            Instant::now(),
            &PeerConfig {
                codecs: config.codecs.clone(),
                local: local.clone(),
            },
        )
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (ready, wake) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let outbox = Arc::new(Mutex::new(Outbox {
            events: VecDeque::new(),
            stats: TransportStats::default(),
            wake,
            over: false,
        }));
        let (commands, inbox) = mpsc::sync_channel(COMMAND_QUEUE);
        let worker = Worker {
            poll,
            sockets,
            peer,
            inbox,
            outbox: Arc::clone(&outbox),
            starved: HashSet::new(),
        };
        let thread = std::thread::Builder::new()
            .name("parlour-client".into())
            .spawn(move || worker.run())?;
        Ok(Transport {
            commands,
            waker,
            outbox,
            ready,
            local,
            thread: Some(thread),
        })
    }

    /// The local addresses, each with the port it got.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local
    }

    /// A descriptor that is readable while events wait.
    pub fn event_fd(&self) -> RawFd {
        self.ready.as_raw_fd()
    }

    /// All waiting events, oldest first.
    pub fn drain_events(&self) -> Vec<Event> {
        let mut outbox = lock(&self.outbox);
        let mut byte = [0u8; 8];
        while matches!((&self.ready).read(&mut byte), Ok(n) if n > 0) {}
        outbox.events.drain(..).collect()
    }

    /// Counters.
    pub fn stats(&self) -> TransportStats {
        lock(&self.outbox).stats
    }

    /// See [`Peer::create_offer`].
    ///
    /// # Errors
    /// As there, and when the transport is closed.
    pub fn create_offer(&self, add: Vec<Kind>, stop: Vec<Mid>) -> Result<Offer, Error> {
        self.ask(|reply| Command::CreateOffer { add, stop, reply })
    }

    /// See [`Peer::accept_answer`].
    ///
    /// # Errors
    /// As there, and when the transport is closed.
    pub fn accept_answer(&self, sdp: String) -> Result<(), Error> {
        self.ask(|reply| Command::AcceptAnswer { sdp, reply })
    }

    /// See [`Peer::accept_offer`].
    ///
    /// # Errors
    /// As there, and when the transport is closed.
    pub fn accept_offer(&self, sdp: String) -> Result<String, Error> {
        self.ask(|reply| Command::AcceptOffer { sdp, reply })
    }

    /// See [`Peer::create_ice_restart`].
    ///
    /// # Errors
    /// As there, and when the transport is closed.
    pub fn create_ice_restart(&self) -> Result<String, Error> {
        self.ask(|reply| Command::CreateIceRestart { reply })
    }

    /// Be at another local address from the next ICE restart on, with a socket of its own.
    ///
    /// # Errors
    /// When the address cannot be bound, or there were too many of them.
    pub fn move_to(&self, address: IpAddr) -> Result<(), Error> {
        self.ask(|reply| Command::MoveTo { address, reply })
    }

    /// Queue a frame for sending. False when the queue is full or the transport closed: then it is dropped.
    pub fn write_frame(&self, frame: OutgoingFrame) -> bool {
        self.post(Command::Frame(frame))
    }

    /// Ask for a keyframe of a track that is received. False when the queue is full or the transport closed.
    pub fn request_keyframe(&self, mid: Mid) -> bool {
        self.post(Command::Keyframe(mid))
    }

    /// Say goodbye, stop the thread and free the ports. Idempotent.
    pub fn close(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A full queue is emptied by the thread; a thread that is gone has closed already.
        let _ = self.commands.send(Command::Close);
        let _ = self.waker.wake();
        let _ = thread.join();
    }

    fn post(&self, command: Command) -> bool {
        match self.commands.try_send(command) {
            Ok(()) => self.waker.wake().is_ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(SyncSender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let closed = || Error("the peer connection is closed".into());
        let (reply, answer) = mpsc::sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| closed())?;
        self.waker
            .wake()
            .map_err(|error| Error(format!("the transport's thread cannot be woken: {error}")))?;
        answer.recv().map_err(|_| closed())?
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(outbox: &Mutex<Outbox>) -> std::sync::MutexGuard<'_, Outbox> {
    // Nothing panics while it is held; a queue is valid at every point anyway.
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    poll: Poll,
    sockets: Vec<(SocketAddr, UdpSocket)>,
    peer: Peer,
    inbox: Receiver<Command>,
    outbox: Arc<Mutex<Outbox>>,
    /// Tracks of which a frame was dropped here: the next one is not contiguous.
    starved: HashSet<Mid>,
}

impl Worker {
    fn run(mut self) {
        // However the thread ends, its owner hears of it.
        let _last_word = LastWord(Arc::clone(&self.outbox));
        let mut events = Events::with_capacity(16);
        let mut datagram = vec![0; DATAGRAM];
        loop {
            self.deliver();
            let Some(timeout) = self.peer.next_timeout() else {
                break;
            };
            let wait = timeout.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            for event in &events {
                if event.token() != WAKE {
                    self.receive(event.token().0, &mut datagram);
                }
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.command(command);
            }
            let now = Instant::now();
            if self.peer.next_timeout().is_some_and(|at| at <= now) {
                self.peer.handle_timeout(now);
            }
        }
    }

    fn receive(&mut self, index: usize, datagram: &mut [u8]) {
        let Some((local, _)) = self.sockets.get(index) else {
            return;
        };
        let local = *local;
        // An error here is an ICMP report of an earlier datagram: the next read may succeed.
        loop {
            match self.sockets[index].1.recv_from(datagram) {
                Ok((len, source)) => {
                    lock(&self.outbox).stats.datagrams_received += 1;
                    self.peer
                        .handle_datagram(Instant::now(), source, local, &datagram[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        // Who asked may have given up; then nobody reads the reply.
        match command {
            Command::CreateOffer { add, stop, reply } => {
                let _ = reply.send(self.peer.create_offer(now, &add, &stop));
            }
            Command::AcceptAnswer { sdp, reply } => {
                let _ = reply.send(self.peer.accept_answer(now, &sdp));
            }
            Command::AcceptOffer { sdp, reply } => {
                let _ = reply.send(self.peer.accept_offer(now, &sdp));
            }
            Command::CreateIceRestart { reply } => {
                let _ = reply.send(self.peer.create_ice_restart(now));
            }
            Command::MoveTo { address, reply } => {
                let _ = reply.send(self.move_to(now, address));
            }
            Command::Frame(frame) => {
                let sent = matches!(self.peer.write_frame(now, frame), Ok(true));
                let stats = &mut lock(&self.outbox).stats;
                if sent {
                    stats.frames_sent += 1
                } else {
                    stats.frames_unsent += 1
                }
            }
            Command::Keyframe(mid) => {
                self.peer.request_keyframe(now, mid);
            }
            Command::Close => self.peer.close(now),
        }
    }

    fn move_to(&mut self, now: Instant, address: IpAddr) -> Result<(), Error> {
        if self.sockets.len() >= MAX_SOCKETS {
            return Err(Error(format!(
                "a connection has had {MAX_SOCKETS} addresses; make a new one"
            )));
        }
        let failed = |error: io::Error| Error(format!("{address} cannot be bound: {error}"));
        let mut socket = UdpSocket::bind(SocketAddr::new(address, 0)).map_err(failed)?;
        let token = Token(self.sockets.len());
        let registry = self.poll.registry();
        registry
            .register(&mut socket, token, Interest::READABLE)
            .map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        self.peer.move_to(now, local)?;
        self.sockets.push((local, socket));
        Ok(())
    }

    /// Hand out what the peer made: datagrams to the sockets, events to the owner.
    fn deliver(&mut self) {
        let sockets: HashMap<SocketAddr, &UdpSocket> =
            self.sockets.iter().map(|(local, s)| (*local, s)).collect();
        let (mut sent, mut unsent) = (0, 0);
        while let Some(transmit) = self.peer.poll_transmit() {
            let socket = sockets.get(&transmit.source);
            // A datagram that cannot be sent is lost like one in the network: ICE and NACK repair it.
            match socket.map(|socket| socket.send_to(&transmit.contents, transmit.destination)) {
                Some(Ok(_)) => sent += 1,
                _ => unsent += 1,
            }
        }
        let mut ask = Vec::new();
        let mut outbox = lock(&self.outbox);
        outbox.stats.datagrams_sent += sent;
        outbox.stats.datagrams_unsent += unsent;
        while let Some(event) = self.peer.poll_event() {
            let Event::Frame(mut frame) = event else {
                outbox.push(event);
                continue;
            };
            outbox.stats.frames_received += 1;
            if outbox.events.len() >= EVENT_QUEUE {
                outbox.stats.frames_dropped += 1;
                self.starved.insert(frame.mid);
                continue;
            }
            if self.starved.remove(&frame.mid) {
                frame.contiguous = false;
                if frame.kind == Kind::Video && !frame.keyframe {
                    ask.push(frame.mid);
                }
            }
            outbox.push(Event::Frame(frame));
        }
        drop(outbox);
        for mid in ask {
            self.peer.request_keyframe(Instant::now(), mid);
        }
    }
}

/// Tells the owner that the thread is over, also when it panicked.
struct LastWord(Arc<Mutex<Outbox>>);

impl Drop for LastWord {
    fn drop(&mut self) {
        let mut outbox = lock(&self.0);
        if !outbox.over {
            outbox.push(Event::Closed(CloseReason::Failed(
                "the transport's thread ended unexpectedly".into(),
            )));
        }
    }
}
