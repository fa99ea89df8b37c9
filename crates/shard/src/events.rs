//! The events of all shards on their way to whoever fetches them, and the file descriptor that is
//! readable while some wait.
//!
//! None is ever lost: a lost `TransportClosed` is a user who stays in a room for ever. Memory is bounded
//! all the same, because every event is the answer to a command (an object is added, starts, ends, each
//! once) and [`EventReceiver::is_behind`] makes the engine refuse commands while too many wait. Events
//! that may come again and again for one transport are kept once.

use parlour_media::{Event, ProducerId, TransportId};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that may wait before new commands are refused. A second of a join storm is some hundred.
pub const EVENT_BACKLOG: usize = 16_384;

/// A shard's end.
#[derive(Clone)]
pub(crate) struct EventSender(Arc<Shared>);

/// The fetching end.
pub(crate) struct EventReceiver(Arc<Shared>);

struct Shared {
    signal: File,
    // Held for a push or a swap, never while anything is done with events.
    waiting: Mutex<Waiting>,
}

/// Which of the events that may come again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Repeated {
    Policed,
    Silent,
}

#[derive(Default)]
struct Waiting {
    once: VecDeque<Event>,
    /// What may come again, the latest of each transport.
    repeated: HashMap<(TransportId, Repeated), Event>,
    /// The latest level of each track.
    levels: HashMap<ProducerId, Event>,
    /// Shards that ended by themselves.
    deaths: Vec<usize>,
}

/// Both ends for any number of shards.
pub(crate) fn ring() -> io::Result<(EventSender, EventReceiver)> {
    // SAFETY: eventfd has no memory arguments.
    let raw = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let signal = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
    let waiting = Mutex::default();
    let shared = Arc::new(Shared { signal, waiting });
    Ok((EventSender(shared.clone()), EventReceiver(shared)))
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSender {
    /// Put one in. Call [`EventSender::signal`] after the last of a turn.
    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.0.waiting();
        match event {
            Event::IngressPoliced { transport, .. } => {
                waiting
                    .repeated
                    .insert((transport, Repeated::Policed), event);
            }
            Event::PathSilent { transport } => {
                waiting
                    .repeated
                    .insert((transport, Repeated::Silent), event);
            }
            Event::ProducerLevel { producer, .. } => {
                waiting.levels.insert(producer, event);
            }
            Event::TransportClosed { transport, .. } => {
                for which in [Repeated::Policed, Repeated::Silent] {
                    waiting.repeated.remove(&(transport, which));
                }
                waiting.once.push_back(event);
            }
            _ => waiting.once.push_back(event),
        }
    }

    /// Say that a shard ended by itself.
    pub(crate) fn push_death(&self, shard: usize) {
        self.0.waiting().deaths.push(shard);
    }

    /// Make the descriptor readable.
    pub(crate) fn signal(&self) {
        // The only error is a counter at its limit, and then it is readable already.
        let _ = (&self.0.signal).write(&1_u64.to_ne_bytes());
    }
}

impl EventReceiver {
    /// All that wait, oldest first of each shard; what may come again is behind the rest, and a track's level may be behind
    /// the end of that track.
    pub(crate) fn drain(&self) -> Vec<Event> {
        // Reset first: an event pushed after this makes the descriptor readable again.
        let mut count = [0; 8];
        let _ = (&self.0.signal).read(&mut count);
        let waiting = {
            let mut waiting = self.0.waiting();
            let deaths = std::mem::take(&mut waiting.deaths);
            let taken = std::mem::take(&mut *waiting);
            waiting.deaths = deaths;
            taken
        };
        let repeated = waiting.repeated.into_values();
        Vec::from(waiting.once)
            .into_iter()
            .chain(repeated)
            .chain(waiting.levels.into_values())
            .collect()
    }

    /// The shards that ended by themselves since this was asked last.
    pub(crate) fn drain_deaths(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.waiting().deaths)
    }

    /// Another end to put events in.
    pub(crate) fn sender(&self) -> EventSender {
        EventSender(self.0.clone())
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.0.waiting();
        waiting.once.len() + waiting.repeated.len() + waiting.levels.len()
    }

    /// Whether so many wait that nothing more should be asked for before they are fetched.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting() >= EVENT_BACKLOG
    }

    /// Readable while events wait.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.signal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::{CloseReason, Level};
    use std::os::fd::AsRawFd;

    fn event(id: u64) -> Event {
        Event::TransportClosed {
            transport: TransportId(id),
            reason: CloseReason::PeerClosed,
        }
    }

    fn is_readable(receiver: &EventReceiver) -> bool {
        let mut wanted = libc::pollfd {
            fd: receiver.descriptor().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd that outlives the call.
        unsafe { libc::poll(&mut wanted, 1, 0) == 1 }
    }

    #[test]
    fn the_descriptor_is_readable_until_the_events_are_drained() {
        let (sender, receiver) = ring().unwrap();
        assert!(!is_readable(&receiver));
        sender.push(event(1));
        sender.clone().push(event(2));
        sender.signal();
        assert!(is_readable(&receiver));
        assert_eq!(receiver.drain(), [event(1), event(2)]);
        assert!(!is_readable(&receiver));
        assert!(receiver.drain().is_empty());
    }

    #[test]
    fn no_closing_is_lost_however_many_wait_and_nobody_fetches() {
        let (sender, receiver) = ring().unwrap();
        let many = 3 * EVENT_BACKLOG as u64;
        for id in 0..many {
            assert_eq!(receiver.is_behind(), id >= EVENT_BACKLOG as u64);
            sender.push(event(id));
        }
        let expected: Vec<_> = (0..many).map(event).collect();
        assert_eq!(receiver.drain(), expected);
        assert!(!receiver.is_behind());
    }

    #[test]
    fn what_comes_again_and_again_waits_once_a_transport_and_not_behind_its_end() {
        let (sender, receiver) = ring().unwrap();
        let policed = |id, packets| Event::IngressPoliced {
            transport: TransportId(id),
            packets,
            bits_per_second: 1,
        };
        for packets in 1..100_000 {
            sender.push(policed(1, packets));
            sender.push(policed(2, packets));
        }
        assert_eq!(receiver.waiting(), 2);
        sender.push(event(2));
        assert_eq!(receiver.drain(), [event(2), policed(1, 99_999)]);
    }

    #[test]
    fn levels_wait_once_a_track_whoever_fetches_them_and_when() {
        let (sender, receiver) = ring().unwrap();
        let level = |producer, spoken_ms| Event::ProducerLevel {
            producer: ProducerId(producer),
            transport: TransportId(1),
            level: Level {
                volume: 7,
                speaks: true,
                spoken_ms,
            },
        };
        for spoken in 0..10_000 {
            sender.push(level(1, spoken));
            sender.push(level(2, spoken));
        }
        assert_eq!(receiver.waiting(), 2);
        let drained = receiver.drain();
        assert_eq!(drained.len(), 2);
        assert!(drained.contains(&level(1, 9_999)) && drained.contains(&level(2, 9_999)));
    }
}
