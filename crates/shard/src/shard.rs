//! One shard: a thread that owns a socket, a listener, a router and nothing that anyone else has.

use crate::arrivals::Clocks;
use crate::events::EventSender;
use crate::outlet::Outlet;
use crate::receive::Receiver;
use crate::socket::kernel_drops;
use crate::stats::{ShardPart, SocketStats};
use crate::tcp::{Connections, TcpLimits, take_frames};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parlour_media::{Command, Copied, Event, Router, RouterConfig};
use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
const LISTENER: Token = Token(2);
const FIRST_CONNECTION: usize = 3;

/// What is looked at of one wait; what is more comes with the next.
const EVENTS: usize = 256;

/// Commands taken in one turn, so that a burst of them does not hold up packets.
const COMMANDS_PER_TURN: usize = 256;

/// A timer that panicked is not tried again sooner than this.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// What comes down a shard's ring.
pub(crate) enum Order {
    /// For the router.
    Router(Command),
    /// All counters, as they are, a part in each turn: whoever asks puts them together and makes a text of them.
    Snapshot(Sender<ShardPart>),
    /// To end, with nobody asking for it.
    #[cfg(test)]
    Die,
    /// To do nothing until the other end is gone.
    #[cfg(test)]
    Block(mpsc::Receiver<()>),
}

/// What a shard is made of; made where errors can still be told, moved into the thread.
pub(crate) struct Shard {
    pub(crate) socket: UdpSocket,
    pub(crate) connections: Option<Connections>,
    pub(crate) poll: Poll,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) events: EventSender,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) segments: bool,
    pub(crate) config: RouterConfig,
}

impl Shard {
    /// Wait on the socket and on a waker, which is returned.
    pub(crate) fn register(poll: &Poll, socket: &UdpSocket) -> io::Result<Waker> {
        let registry = poll.registry();
        registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            SOCKET,
            Interest::READABLE,
        )?;
        Waker::new(registry, WAKER)
    }

    /// Wait on a listener, too.
    pub(crate) fn listen(
        poll: &Poll,
        listener: TcpListener,
        limits: TcpLimits,
    ) -> io::Result<Connections> {
        let registry = poll.registry();
        registry.register(
            &mut SourceFd(&listener.as_raw_fd()),
            LISTENER,
            Interest::READABLE,
        )?;
        let registry = registry.try_clone()?;
        Ok(Connections::new(
            listener,
            registry,
            FIRST_CONNECTION,
            limits,
        ))
    }

    /// The thread's whole life. Returns when told to stop; the port is free then.
    pub(crate) fn run(self) {
        block_signals();
        let Shard {
            socket,
            connections,
            mut poll,
            orders,
            events,
            stop,
            segments,
            config,
        } = self;
        let mut turn = Turn {
            router: Router::new(config),
            outlet: Outlet::new(&socket, segments, connections),
            receiver: Receiver::new(),
            events,
            timer_not_before: None,
            panics: 0,
            copies: VecDeque::new(),
        };
        let mut ready = Events::with_capacity(EVENTS);
        let (mut readable, mut more_orders) = (true, false);
        loop {
            let timeout = if readable || more_orders || turn.is_busy() {
                Some(Duration::ZERO)
            } else {
                turn.until_timeout()
            };
            match poll.poll(&mut ready, timeout) {
                Ok(()) => readable |= turn.look_at(&ready),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing can be waited for any more: not a state that epoll is ever in.
                Err(_) => return,
            }
            // Before the orders: what was sent before the stop is still done.
            let stopping = stop.load(Ordering::Acquire);
            more_orders = turn.take_orders(&orders, stopping);
            if stopping {
                turn.outlet.flush();
                turn.pass_events();
                return;
            }
            if readable {
                readable = turn.take_datagrams(&socket);
            }
            turn.take_connections();
            turn.run_timer();
            turn.flush();
            turn.end_connections();
            turn.copy_counters(&socket);
            turn.pass_events();
        }
    }
}

/// The state of a turn of the loop.
struct Turn<'a> {
    router: Router,
    outlet: Outlet<'a>,
    receiver: Receiver,
    events: EventSender,
    timer_not_before: Option<Instant>,
    panics: u64,
    /// Who is being given the counters, and how far that is.
    copies: VecDeque<(Sender<ShardPart>, Copied)>,
}

impl Turn<'_> {
    /// Send what this turn wrote.
    fn flush(&mut self) {
        self.outlet.flush();
        self.router.on_flushed(Instant::now);
    }

    /// Give the next part of the counters to the first who asked. What led to them can be fetched before they are seen.
    fn copy_counters(&mut self, socket: &UdpSocket) {
        let Some((reply, mut copied)) = self.copies.pop_front() else {
            return;
        };
        self.pass_events();
        let is_first = copied == Copied::default();
        let part = ShardPart {
            socket: is_first.then(|| self.socket_stats(socket)),
            tcp: match self.outlet.connections() {
                Some(connections) if is_first => Some(connections.stats()),
                _ => None,
            },
            router: self.router.copy_counters(&mut copied),
            is_last: copied.is_all(),
        };
        // Nobody waits any more if it cannot be sent.
        if reply.send(part).is_ok() && !copied.is_all() {
            self.copies.push_front((reply, copied));
        }
    }

    /// How long nothing is due.
    fn until_timeout(&mut self) -> Option<Duration> {
        let due = self.router.next_timeout();
        let due = due.map(|due| {
            self.timer_not_before
                .map_or(due, |earliest| due.max(earliest))
        });
        let of_connections = self.outlet.connections().and_then(|it| it.due());
        let due = due.into_iter().chain(of_connections).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// What happened. True: datagrams came.
    fn look_at(&mut self, ready: &Events) -> bool {
        let mut readable = false;
        for event in ready {
            match event.token() {
                SOCKET => readable = true,
                WAKER => {}
                token => {
                    if let Some(connections) = self.outlet.connections() {
                        match token {
                            LISTENER => connections.on_listener(),
                            _ => connections.on_event(
                                token,
                                event.is_readable(),
                                event.is_writable(),
                            ),
                        }
                    }
                }
            }
        }
        readable
    }

    /// Whether there is something to do at once, for connections or for who wants the counters.
    fn is_busy(&mut self) -> bool {
        let connections = self.outlet.connections();
        let busy = connections.is_some_and(|connections| connections.is_busy(Instant::now()));
        busy || !self.copies.is_empty()
    }

    /// Take what came by connections, and those who come.
    fn take_connections(&mut self) {
        let now = Instant::now();
        let Some(connections) = self.outlet.connections() else {
            return;
        };
        connections.look_at_deadlines(now);
        connections.accept(now);
        self.panics += take_frames(now, &mut self.router, &mut self.outlet);
        let (router, outlet) = (&mut self.router, &mut self.outlet);
        let done = catch_unwind(AssertUnwindSafe(|| router.forward(now, outlet)));
        self.panics += u64::from(done.is_err());
    }

    /// Tell the router which connections are gone, and close those that it has no use for, now that what it said last is
    /// written.
    fn end_connections(&mut self) {
        let now = Instant::now();
        let Some(connections) = self.outlet.connections() else {
            return;
        };
        while let Some(path) = self.router.poll_released() {
            connections.release(path);
        }
        while let Some(path) = connections.poll_ended() {
            let router = &mut self.router;
            let done = catch_unwind(AssertUnwindSafe(|| router.handle_closed(now, path)));
            self.panics += u64::from(done.is_err());
        }
        while let Some((reason, count)) = connections.poll_told(now) {
            self.events.push(Event::ConnectionsEnded { reason, count });
            self.events.signal();
        }
    }

    /// Do what was ordered. True when more waits.
    fn take_orders(&mut self, orders: &mpsc::Receiver<Order>, all: bool) -> bool {
        let now = Instant::now();
        let limit = if all { usize::MAX } else { COMMANDS_PER_TURN };
        for _ in 0..limit {
            match orders.try_recv() {
                Ok(Order::Router(command)) => {
                    let (router, outlet) = (&mut self.router, &mut self.outlet);
                    let done = catch_unwind(AssertUnwindSafe(|| {
                        router.handle_command(now, command, outlet);
                    }));
                    self.panics += u64::from(done.is_err());
                }
                Ok(Order::Snapshot(reply)) => self.copies.push_back((reply, Copied::default())),
                #[cfg(test)]
                Ok(Order::Block(held)) => {
                    let _ = held.recv();
                }
                #[cfg(test)]
                Ok(Order::Die) => panic!("a shard that a test has die"),
                Err(_) => return false,
            }
        }
        true
    }

    /// Take one batch. True when more may wait.
    fn take_datagrams(&mut self, socket: &UdpSocket) -> bool {
        if let Err(error) = self.receiver.receive(socket.as_fd()) {
            return error.kind() != io::ErrorKind::WouldBlock;
        }
        let clocks = Clocks::read();
        let (router, outlet) = (&mut self.router, &mut self.outlet);
        self.receiver.for_each(clocks, |path, came, datagram| {
            let done = catch_unwind(AssertUnwindSafe(|| {
                router.handle_datagram(clocks.now, came, path, datagram, outlet);
            }));
            self.panics += u64::from(done.is_err());
        });
        // Here and not with the timers, which rest after a panic.
        let done = catch_unwind(AssertUnwindSafe(|| router.forward(clocks.now, outlet)));
        self.panics += u64::from(done.is_err());
        true
    }

    fn run_timer(&mut self) {
        let now = Instant::now();
        if self.timer_not_before.is_some_and(|earliest| earliest > now) {
            return;
        }
        // Even when nothing is due: this is what ends a turn for the router.
        let (router, outlet) = (&mut self.router, &mut self.outlet);
        let done = catch_unwind(AssertUnwindSafe(|| router.handle_timeout(now, outlet)));
        self.timer_not_before = done.is_err().then(|| now + AFTER_PANIC);
        self.panics += u64::from(done.is_err());
    }

    fn pass_events(&mut self) {
        let mut any = false;
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
            any = true;
        }
        if any {
            self.events.signal();
        }
    }

    fn socket_stats(&self, socket: &UdpSocket) -> SocketStats {
        SocketStats {
            received: self.receiver.stats.clone(),
            sent: self.outlet.stats().clone(),
            gso: self.outlet.gso(),
            overrun: kernel_drops(socket.as_fd()),
            panics: self.panics,
        }
    }
}

/// Signals are for the threads of the program that embeds us.
fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before it is used, and both calls only touch it
    // and this thread's mask.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}
