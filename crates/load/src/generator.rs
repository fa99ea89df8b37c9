//! The thread of the peers, and what its owner may ask of it.

use crate::clock;
use crate::dtls::{DtlsClient, Identity};
use crate::ice::Ice;
use crate::outgoing::OutgoingSpec;
use crate::peer::{IncomingSpec, Peer, SecureSpec, Security, State, Sums, Tools};
use crate::reflector::Hello;
use crate::socket::{Receiver, Sender};
use crate::tally::StreamReport;
use crate::times::Quantiles;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use parlour_media::num::Rng;
use parlour_shard::socket::kernel_drops;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{self, Receiver as Inbox, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Receivers are emptied so often. Arrivals are stamped by the kernel, so that this is in no time that is told.
const TICK: Duration = Duration::from_millis(1);
/// Peers of one generator, a limit of ours: what a process may have of descriptors.
const MOST_PEERS: usize = 30_000;
/// Events of one poll; more come with the next.
const EVENTS: usize = 1_024;

/// Where a peer goes.
#[derive(Clone, Debug)]
pub enum LinkSpec {
    /// To a room server.
    Secure(SecureSpec),
    /// To a reflector: a room of it, and whether to receive what others send there.
    Plain {
        /// The room.
        room: u32,
        /// Receive rather than send.
        subscribe: bool,
    },
}

/// What is told of a peer.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// Its number.
    pub peer: usize,
    /// How far it is.
    pub state: State,
    /// CLOCK_MONOTONIC when ICE and DTLS were through.
    pub connected_at: Option<Duration>,
    /// CLOCK_MONOTONIC when a keyframe had begun and a frame's last packet came, for the first time.
    pub first_picture_at: Option<Duration>,
    /// Packets that it sent.
    pub sent: u64,
    /// What came of each stream.
    pub streams: Vec<StreamReport>,
}

/// What all peers together have done since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Media packets sent, and their bytes before encryption.
    pub sent: u64,
    /// See `sent`.
    pub sent_bytes: u64,
    /// Media packets received, each once.
    pub received: u64,
    /// Missing between the first and the newest of each stream.
    pub missing: u64,
    /// Received again.
    pub duplicates: u64,
    /// Sampled packets that could not be opened, or were none of ours.
    pub undecryptable: u64,
    /// Not taken by a socket for sending.
    pub unsent: u64,
    /// Dropped by the kernel because a receiver's socket was full.
    pub socket_drops: u64,
    /// RTCP packets sent.
    pub feedback: u64,
    /// RTP that was malformed, or of more streams than are counted.
    pub strangers: u64,
}

struct Core {
    poll: Poll,
    peers: Vec<Option<Peer>>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    sending: Vec<usize>,
    identity: Identity,
    patience: Duration,
    rng: Rng,
    tools: Tools,
    /// Of peers that are gone.
    gone: Totals,
}

type Ask = Box<dyn FnOnce(&mut Core) + Send>;

/// Many peers in one thread. Dropping it ends them.
pub struct Generator {
    asks: Option<mpsc::Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    fingerprint: [u8; 32],
}

impl Generator {
    /// Starts the thread; `seed` is for numbers that may be guessed, `patience` is what a server has to answer a peer.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left, or no certificate can be made.
    pub fn start(seed: u64, patience: Duration) -> io::Result<Generator> {
        let identity = Identity::new().map_err(io::Error::other)?;
        let fingerprint = identity.fingerprint();
        let core = Core {
            poll: Poll::new()?,
            peers: Vec::new(),
            timers: BinaryHeap::new(),
            sending: Vec::new(),
            identity,
            patience,
            rng: Rng::new(seed),
            tools: Tools {
                receiver: Receiver::new(),
                sender: Sender::new(),
                sums: Sums::default(),
            },
            gone: Totals::default(),
        };
        let (asks, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("parlour-load".into())
            .spawn(move || core.run(&inbox))?;
        Ok(Generator {
            asks: Some(asks),
            thread: Some(thread),
            fingerprint,
        })
    }

    /// SHA-256 of the certificate of all peers.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Adds a peer that connects at once; returns its number.
    ///
    /// # Errors
    /// When there is no socket for it.
    pub fn connect(
        &self,
        remote: SocketAddr,
        link: LinkSpec,
        outgoing: Vec<OutgoingSpec>,
        incoming: IncomingSpec,
    ) -> io::Result<usize> {
        self.ask(move |core| core.connect(remote, link, outgoing, incoming))?
    }

    /// Lets these peers send, or stops them. Numbers that are gone are passed over.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn set_sending(&self, peers: Vec<usize>, on: bool) -> io::Result<()> {
        self.ask(move |core| core.set_sending(&peers, on))
    }

    /// Ends these peers without a goodbye. Numbers that are gone are passed over.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn remove(&self, peers: Vec<usize>) -> io::Result<()> {
        self.ask(move |core| core.remove(&peers))
    }

    /// How far a peer is; one that is gone has failed.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn state(&self, peer: usize) -> io::Result<State> {
        self.ask(move |core| match core.peers.get(peer) {
            Some(Some(peer)) => peer.state.clone(),
            _ => State::Failed("the peer was removed".into()),
        })
    }

    /// What is told of each peer.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn reports(&self) -> io::Result<Vec<PeerReport>> {
        self.ask(Core::reports)
    }

    /// The sums over all peers.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn totals(&self) -> io::Result<Totals> {
        self.ask(Core::totals)
    }

    /// Times from a packet's sending to its arrival, and how late packets were sent, both since the last call.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn take_times(&self) -> io::Result<(Quantiles, Quantiles)> {
        self.ask(|core| {
            let sums = &mut core.tools.sums;
            (sums.times.take(), sums.lateness.take())
        })
    }

    /// Ends all peers and the thread. Idempotent.
    pub fn close(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> io::Result<T> {
        let closed = || io::Error::other("the load generator is closed");
        let (reply, answer) = mpsc::sync_channel(1);
        let ask: Ask = Box::new(move |core| {
            // Who asked may have given up; then nobody reads the reply.
            let _ = reply.send(call(core));
        });
        let asks = self.asks.as_ref().ok_or_else(closed)?;
        asks.send(ask).map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    fn run(mut self, inbox: &Inbox<Ask>) {
        // SAFETY: this call takes numbers only. It makes sleeping as exact as the machine can.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
        let mut events = Events::with_capacity(EVENTS);
        let mut next_tick = clock::monotonic();
        loop {
            loop {
                match inbox.try_recv() {
                    Ok(ask) => ask(&mut self),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if clock::monotonic() >= next_tick {
                next_tick = clock::monotonic() + TICK;
                self.receive(&mut events);
                self.run_timers();
            }
            let due = self.send_due().unwrap_or(next_tick).min(next_tick);
            std::thread::sleep(due.saturating_sub(clock::monotonic()));
        }
    }

    fn receive(&mut self, events: &mut Events) {
        if self.poll.poll(events, Some(Duration::ZERO)).is_err() {
            return; // interrupted: the next tick finds what waits
        }
        let now = Instant::now();
        for event in events.iter() {
            if let Some(Some(peer)) = self.peers.get_mut(event.token().0) {
                peer.receive(now, &mut self.tools);
            }
        }
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, index))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(Some(peer)) = self.peers.get_mut(index) {
                let next = peer.on_timer(now, &mut self.tools);
                self.timers.push(Reverse((next, index)));
            }
        }
    }

    /// Sends what is due; returns when something is next.
    fn send_due(&mut self) -> Option<Duration> {
        let mut next = None;
        for &index in &self.sending {
            let Some(Some(peer)) = self.peers.get_mut(index) else {
                continue;
            };
            if peer.due().is_some_and(|due| due <= clock::monotonic()) {
                peer.send_due(&mut self.tools);
            }
            next = [next, peer.due()].into_iter().flatten().min();
        }
        next
    }

    fn connect(
        &mut self,
        remote: SocketAddr,
        link: LinkSpec,
        outgoing: Vec<OutgoingSpec>,
        incoming: IncomingSpec,
    ) -> io::Result<usize> {
        let index = self.peers.len();
        if index == MOST_PEERS {
            return Err(io::Error::other(format!(
                "a load generator has at most {MOST_PEERS} connections in its life"
            )));
        }
        let now = Instant::now();
        let security = match link {
            LinkSpec::Plain { room, subscribe } => Security::Plain(Hello { room, subscribe }),
            LinkSpec::Secure(spec) => Security::Secure {
                ice: Box::new(Ice::new(
                    (&spec.local.0, &spec.local.1),
                    (&spec.remote.0, &spec.remote.1),
                    remote,
                    self.rng.next_u64(),
                    now,
                )),
                dtls: Some(Box::new(DtlsClient::new(
                    &self.identity,
                    spec.fingerprint,
                    now,
                ))),
                srtp: None,
            },
        };
        let peer = Peer::new(
            remote,
            security,
            outgoing,
            incoming,
            &mut self.rng,
            self.patience,
        )?;
        let descriptor = peer.socket.as_raw_fd();
        self.poll.registry().register(
            &mut SourceFd(&descriptor),
            Token(index),
            Interest::READABLE,
        )?;
        self.peers.push(Some(peer));
        self.timers.push(Reverse((now, index)));
        Ok(index)
    }

    fn set_sending(&mut self, peers: &[usize], on: bool) {
        let now = clock::monotonic();
        for &index in peers {
            let Some(Some(peer)) = self.peers.get_mut(index) else {
                continue;
            };
            for stream in &mut peer.outgoing {
                if on { stream.start(now) } else { stream.stop() }
            }
            self.sending.retain(|&other| other != index);
            if on {
                self.sending.push(index);
            }
        }
    }

    fn remove(&mut self, peers: &[usize]) {
        for &index in peers {
            let Some(peer) = self.peers.get_mut(index).and_then(Option::take) else {
                continue;
            };
            add(&mut self.gone, &peer);
            self.sending.retain(|&other| other != index);
            // The descriptor leaves the poll with its closing.
        }
    }

    fn reports(&mut self) -> Vec<PeerReport> {
        let peers = self.peers.iter().enumerate();
        peers
            .filter_map(|(index, peer)| Some((index, peer.as_ref()?)))
            .map(|(index, peer)| PeerReport {
                peer: index,
                state: peer.state.clone(),
                connected_at: peer.connected_at,
                first_picture_at: peer.first_picture_at,
                sent: peer.outgoing.iter().map(|stream| stream.packets).sum(),
                streams: peer.reports().collect(),
            })
            .collect()
    }

    fn totals(&mut self) -> Totals {
        let sums = &self.tools.sums;
        let mut totals = Totals {
            undecryptable: sums.undecryptable,
            unsent: sums.unsent,
            feedback: sums.feedback,
            strangers: sums.strangers,
            ..self.gone
        };
        for peer in self.peers.iter().flatten() {
            add(&mut totals, peer);
        }
        totals
    }
}

fn add(totals: &mut Totals, peer: &Peer) {
    for stream in &peer.outgoing {
        totals.sent += stream.packets;
        totals.sent_bytes += stream.bytes;
    }
    for report in peer.reports() {
        totals.received += report.received;
        totals.missing += report.missing;
        totals.duplicates += report.duplicates;
    }
    totals.socket_drops += kernel_drops(peer.socket.as_fd());
}
