//! All shards of a process, as one thing to start, command, listen to and stop.

use crate::directory::{Directory, Passed};
use crate::error::{CommandError, SnapshotError, StartError};
use crate::events::{self, EventReceiver, EventSender};
use crate::lives::Obituary;
use crate::ports::{self, Sockets, bind_block};
use crate::shard::{Order, Shard};
use crate::stats::{EngineSnapshot, ShardStats};
use crate::tcp::TcpLimits;
use dimpl::DtlsCertificate;
use dimpl::certificate::generate_self_signed_certificate;
use mio::{Poll, Waker};
use parlour_media::router::MAX_TRANSPORTS;
use parlour_media::{Command, Event, IngressLimit, RouterConfig, TransportId};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Commands that may wait for one shard. The rings are the standard library's bounded channels:
/// `try_send` never blocks, any thread may send, and at some hundred commands a second a
/// single-producer ring without locks would gain nothing measurable.
pub const COMMAND_RING: usize = 4096;

/// How long a stop waits for the threads. A turn takes less than a millisecond.
const JOIN_DEADLINE: Duration = Duration::from_secs(3);

/// What an engine is made of.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// The address of all sockets.
    pub bind: IpAddr,
    /// The port of the first shard; the others follow. 0: any block that is free.
    pub port: u16,
    /// How many shards.
    pub shards: usize,
    /// Transports that one shard takes; [`MAX_TRANSPORTS`] at most.
    pub max_transports: usize,
    /// What each transport may send.
    pub ingress: IngressLimit,
    /// Whether what goes to a peer is fitted into what its path carries.
    pub adapts: bool,
    /// Whether the kernel may cut runs of datagrams (UDP_SEGMENT), where it can. Otherwise each leaves as a message of its own.
    pub segments: bool,
    /// How many connections a shard takes on the number of its UDP port (RFC 6544); none: it does not listen.
    pub tcp: Option<TcpLimits>,
}

/// The running shards.
pub struct Engine {
    config: EngineConfig,
    certificate: DtlsCertificate,
    fingerprint: String,
    ports: Vec<u16>,
    state: Mutex<State>,
    process: u32,
}

pub(crate) struct Handle {
    orders: SyncSender<Order>,
    pub(crate) waker: Waker,
    pub(crate) stop: Arc<AtomicBool>,
}

/// What a stop takes away, file descriptors included: none of it waits for the engine to be dropped.
pub(crate) struct State {
    pub(crate) directory: Directory,
    pub(crate) shards: Vec<Handle>,
    pub(crate) threads: Vec<Running>,
    pub(crate) events: Option<EventReceiver>,
}

/// A thread, and a channel that hangs up when the thread ends.
pub(crate) struct Running {
    pub(crate) thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Engine {
    /// Bind all ports, then start all threads; either everything runs or nothing does.
    pub fn start(config: EngineConfig) -> Result<Engine, StartError> {
        let system = |what| move |source| StartError::System { what, source };
        let sockets = bind_block(&config, |address| {
            let sockets = ports::bind(address, config.tcp.is_some())?;
            let bound = sockets.0.local_addr();
            let port = bound.map_err(system("the address of a socket"))?.port();
            Ok((sockets, port))
        })?;
        let certificate = generate_self_signed_certificate()
            .map_err(|error| system("the DTLS certificate")(io::Error::other(error.to_string())))?;
        let (sender, events) = events::ring().map_err(system("the event ring"))?;
        let engine = Engine {
            config: EngineConfig {
                max_transports: config.max_transports.min(MAX_TRANSPORTS),
                ..config
            },
            fingerprint: certificate.fingerprint_str(),
            certificate,
            ports: sockets.iter().map(|(_, port)| *port).collect(),
            state: Mutex::new(State {
                directory: Directory::default(),
                shards: Vec::new(),
                threads: Vec::new(),
                events: Some(events),
            }),
            process: std::process::id(),
        };
        for (shard, (sockets, _)) in sockets.into_iter().enumerate() {
            // A failure drops the engine, which stops what was started.
            let started = engine.start_shard(shard, sockets, sender.clone());
            let (handle, running) = started.map_err(system("a media thread"))?;
            let mut state = engine.state();
            state.shards.push(handle);
            state.threads.push(running);
        }
        Ok(engine)
    }

    /// Start the thread of a shard.
    pub(crate) fn start_shard(
        &self,
        number: usize,
        (socket, listener): Sockets,
        events: EventSender,
    ) -> io::Result<(Handle, Running)> {
        let poll = Poll::new()?;
        let waker = Shard::register(&poll, &socket)?;
        let connections = listener
            .zip(self.config.tcp)
            .map(|(listener, limits)| Shard::listen(&poll, listener, limits))
            .transpose()?;
        let (orders, ring) = mpsc::sync_channel(COMMAND_RING);
        let stop = Arc::new(AtomicBool::new(false));
        let obituary = Obituary {
            shard: number,
            stop: stop.clone(),
            events: events.clone(),
        };
        let shard = Shard {
            socket,
            connections,
            poll,
            orders: ring,
            events,
            stop: stop.clone(),
            segments: self.config.segments,
            config: RouterConfig {
                certificate: self.certificate.clone(),
                seed: u64::from_ne_bytes(random()?),
                secret: random()?,
                started: Instant::now(),
                ingress: self.config.ingress,
                adapts: self.config.adapts,
            },
        };
        let (alive, ended) = mpsc::sync_channel::<()>(0);
        let thread = std::thread::Builder::new()
            .name(format!("parlour-shard-{number}"))
            .spawn(move || {
                // Dropped in the opposite order, and after the shard: its port is free when its end is told.
                let (_alive, _obituary) = (alive, obituary);
                shard.run();
            })?;
        let handle = Handle {
            orders,
            waker,
            stop,
        };
        Ok((handle, Running { thread, ended }))
    }

    /// Whether media may come over TCP.
    pub(crate) fn takes_connections(&self) -> bool {
        self.config.tcp.is_some()
    }

    /// The address of all sockets.
    pub(crate) fn bind(&self) -> IpAddr {
        self.config.bind
    }

    /// Have a shard stand still until what is returned is dropped.
    #[cfg(test)]
    pub(crate) fn block(&self, shard: usize) -> SyncSender<()> {
        let (held, gone) = mpsc::sync_channel(0);
        self.state().pass(shard, Order::Block(gone)).unwrap();
        held
    }

    /// Have a shard die as if it could wait for nothing any more.
    #[cfg(test)]
    pub(crate) fn kill(&self, shard: usize) {
        self.state().pass(shard, Order::Die).unwrap();
    }

    /// SHA-256 of the DTLS certificate as SDP writes it (RFC 8122 §5).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The port of each shard.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// A descriptor that is readable while events wait; gone after [`Engine::close`].
    pub fn event_descriptor(&self) -> Result<RawFd, CommandError> {
        let state = self.state();
        let events = state.events.as_ref().ok_or(CommandError::Closed)?;
        Ok(events.descriptor().as_raw_fd())
    }

    /// All waiting events, each shard's in their order. None once closed. None is ever lost: while
    /// [`EVENT_BACKLOG`](crate::EVENT_BACKLOG) of them wait, commands are refused.
    pub fn drain_events(&self) -> Vec<Event> {
        let mut state = self.state();
        let events = state
            .events
            .as_ref()
            .map_or_else(Vec::new, EventReceiver::drain);
        for event in &events {
            if let Event::TransportClosed { transport, .. } = event {
                state.directory.remove_transport(*transport);
            }
        }
        events
    }

    /// Make a transport on a shard. Never blocks.
    pub fn add_transport(
        &self,
        shard: usize,
        transport: TransportId,
        local_ufrag: String,
        local_pwd: String,
    ) -> Result<(), CommandError> {
        let mut state = self.usable()?;
        let shards = state.shards.len();
        if shard >= shards {
            return Err(CommandError::NoSuchShard { shard, shards });
        }
        state.keep_up()?;
        if state.directory.has_transport(transport) {
            return Err(CommandError::DuplicateId(transport.0));
        }
        if state.directory.transports_on(shard) >= self.config.max_transports {
            return Err(CommandError::ShardFull {
                shard,
                transports: self.config.max_transports,
            });
        }
        let command = Command::AddTransport {
            transport,
            local_ufrag,
            local_pwd,
        };
        state.pass(shard, Order::Router(command))?;
        state.directory.add_transport(transport, shard);
        Ok(())
    }

    /// Any command but `AddTransport`, to the shard of what it names. Never blocks. Removing what is
    /// gone is no error.
    pub fn submit(&self, command: Command) -> Result<(), CommandError> {
        let mut state = self.usable()?;
        if command.adds() {
            state.keep_up()?;
        }
        let Some(shard) = state.directory.route(&command)? else {
            return Ok(());
        };
        let change = Passed::from(&command);
        state.pass(shard, Order::Router(command))?;
        state.directory.taken(&change);
        Ok(())
    }

    /// All counters. Waits for the shards, at most that long.
    pub fn snapshot(&self, timeout: Duration) -> Result<EngineSnapshot, SnapshotError> {
        let asked = Instant::now();
        let state = self.usable().map_err(SnapshotError::Refused)?;
        let events_waiting = state.events.as_ref().map_or(0, EventReceiver::waiting);
        let mut replies = Vec::with_capacity(state.shards.len());
        for shard in 0..state.shards.len() {
            let (reply, answer) = mpsc::channel();
            state
                .pass(shard, Order::Snapshot(reply))
                .map_err(SnapshotError::Refused)?;
            replies.push(answer);
        }
        drop(state);
        let mut shards = Vec::with_capacity(replies.len());
        for (shard, answer) in replies.into_iter().enumerate() {
            let mut stats = ShardStats::default();
            loop {
                let left = timeout.saturating_sub(asked.elapsed());
                let part = answer.recv_timeout(left).map_err(|error| match error {
                    RecvTimeoutError::Timeout => SnapshotError::Timeout { shard, timeout },
                    RecvTimeoutError::Disconnected => {
                        let closed = self.usable().err();
                        SnapshotError::Refused(closed.unwrap_or(CommandError::ShardDied { shard }))
                    }
                })?;
                let is_last = part.is_last;
                stats.extend(part);
                if is_last {
                    break;
                }
            }
            shards.push((self.ports[shard], stats));
        }
        Ok(EngineSnapshot {
            events_waiting,
            shards,
        })
    }

    /// Stop the threads and free the ports. What was commanded before is still done. False when a
    /// thread did not end in time; it is left to itself then. In a fork there is nothing to stop.
    pub fn close(&self) -> bool {
        if self.process != std::process::id() {
            return true;
        }
        let (shards, threads, events) = {
            let mut state = self.state();
            (
                std::mem::take(&mut state.shards),
                std::mem::take(&mut state.threads),
                state.events.take(),
            )
        };
        for shard in &shards {
            shard.stop.store(true, Ordering::Release);
            // The thread ends by itself when there is nothing left to wake.
            let _ = shard.waker.wake();
        }
        let deadline = Instant::now() + JOIN_DEADLINE;
        let mut all = true;
        for running in threads {
            let left = deadline.saturating_duration_since(Instant::now());
            if running.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                all = false;
            } else {
                // A panic of the thread was printed by the panic hook already.
                let _ = running.thread.join();
            }
        }
        drop(events);
        all
    }

    pub(crate) fn usable(&self) -> Result<MutexGuard<'_, State>, CommandError> {
        if self.process != std::process::id() {
            return Err(CommandError::OtherProcess);
        }
        let state = self.state();
        if state.events.is_none() {
            return Err(CommandError::Closed);
        }
        Ok(state)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every command may cause events, so none is taken while too many wait.
    fn keep_up(&self) -> Result<(), CommandError> {
        match &self.events {
            Some(events) if events.is_behind() => Err(CommandError::EventsWait(events.waiting())),
            _ => Ok(()),
        }
    }

    fn pass(&self, shard: usize, order: Order) -> Result<(), CommandError> {
        let handle = &self.shards[shard];
        handle.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => CommandError::RingFull {
                shard,
                waiting: COMMAND_RING,
            },
            TrySendError::Disconnected(_) => CommandError::ShardDied { shard },
        })?;
        // An eventfd refuses only at 2^64 - 1, and is readable then.
        let _ = handle.waker.wake();
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
