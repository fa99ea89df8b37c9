//! One shard: a thread that owns a socket, a router and nothing that anyone else has.

use crate::arrivals::Clocks;
use crate::events::EventSender;
use crate::outlet::Outlet;
use crate::receive::Receiver;
use crate::socket::kernel_drops;
use crate::stats::{ShardStats, SocketStats};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parlour_media::{Command, Router, RouterConfig};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::time::{Duration, Instant};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// Commands taken in one turn, so that a burst of them does not hold up packets.
const COMMANDS_PER_TURN: usize = 256;

/// A timer that panicked is not tried again sooner than this.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// What comes down a shard's ring.
pub(crate) enum Order {
    /// For the router.
    Router(Command),
    /// All counters, as they are: whoever asks makes a text of them.
    Snapshot(SyncSender<ShardStats>),
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

    /// The thread's whole life. Returns when told to stop; the port is free then.
    pub(crate) fn run(self) {
        block_signals();
        let Shard {
            socket,
            mut poll,
            orders,
            events,
            stop,
            segments,
            config,
        } = self;
        let mut turn = Turn {
            router: Router::new(config),
            outlet: Outlet::new(&socket, segments),
            receiver: Receiver::new(),
            events,
            timer_not_before: None,
            panics: 0,
        };
        let mut ready = Events::with_capacity(4);
        let (mut readable, mut more_orders) = (true, false);
        loop {
            let timeout = if readable || more_orders {
                Some(Duration::ZERO)
            } else {
                turn.until_timeout()
            };
            match poll.poll(&mut ready, timeout) {
                Ok(()) => readable |= ready.iter().any(|event| event.token() == SOCKET),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing can be waited for any more: not a state that epoll is ever in.
                Err(_) => return,
            }
            // Before the orders: what was sent before the stop is still done.
            let stopping = stop.load(Ordering::Acquire);
            more_orders = turn.take_orders(&orders, &socket, stopping);
            if stopping {
                turn.outlet.flush();
                turn.pass_events();
                return;
            }
            if readable {
                readable = turn.take_datagrams(&socket);
            }
            turn.run_timer();
            turn.outlet.flush();
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
}

impl Turn<'_> {
    /// How long nothing is due.
    fn until_timeout(&self) -> Option<Duration> {
        let due = self.router.next_timeout()?;
        let due = self
            .timer_not_before
            .map_or(due, |earliest| due.max(earliest));
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Do what was ordered. True when more waits.
    fn take_orders(
        &mut self,
        orders: &mpsc::Receiver<Order>,
        socket: &UdpSocket,
        all: bool,
    ) -> bool {
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
                Ok(Order::Snapshot(reply)) => {
                    // What led to these numbers can be fetched before they are seen.
                    self.pass_events();
                    // Nobody waits any more if it cannot be sent.
                    let _ = reply.try_send(self.snapshot(socket));
                }
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

    fn snapshot(&self, socket: &UdpSocket) -> ShardStats {
        ShardStats {
            socket: SocketStats {
                received: self.receiver.stats.clone(),
                sent: self.outlet.stats().clone(),
                gso: self.outlet.gso(),
                overrun: kernel_drops(socket.as_fd()),
                panics: self.panics,
            },
            router: self.router.snapshot(),
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
