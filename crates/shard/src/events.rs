//! The ring that carries events of all shards to whoever drains it, and the file descriptor that is
//! readable while some wait.

use parlour_media::Event;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

/// Events that may wait. A second of a join storm is some hundred; a full ring means that nobody
/// drains it, and then losing events is better than memory without bound or a shard that waits.
const CAPACITY: usize = 16_384;

/// A shard's end.
#[derive(Clone)]
pub(crate) struct EventSender {
    ring: SyncSender<Event>,
    shared: Arc<Shared>,
}

/// The draining end.
pub(crate) struct EventReceiver {
    ring: Mutex<Receiver<Event>>,
    shared: Arc<Shared>,
}

struct Shared {
    signal: File,
    dropped: AtomicU64,
}

/// A ring for any number of shards.
pub(crate) fn ring() -> io::Result<(EventSender, EventReceiver)> {
    // SAFETY: eventfd has no memory arguments.
    let raw = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let signal = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
    let shared = Arc::new(Shared {
        signal,
        dropped: AtomicU64::new(0),
    });
    let (sender, receiver) = mpsc::sync_channel(CAPACITY);
    let sender = EventSender {
        ring: sender,
        shared: shared.clone(),
    };
    let receiver = EventReceiver {
        ring: Mutex::new(receiver),
        shared,
    };
    Ok((sender, receiver))
}

impl EventSender {
    /// Put one in; never waits. What does not fit is counted. Call [`EventSender::signal`] after the
    /// last of a turn.
    pub(crate) fn push(&self, event: Event) {
        if self.ring.try_send(event).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Make the descriptor readable.
    pub(crate) fn signal(&self) {
        // The only error is a counter at its limit, and then it is readable already.
        let _ = (&self.shared.signal).write(&1_u64.to_ne_bytes());
    }
}

impl EventReceiver {
    /// All that wait, oldest first of each shard.
    pub(crate) fn drain(&self) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // Reset first: an event pushed after this makes the descriptor readable again.
        let mut count = [0; 8];
        let _ = (&self.shared.signal).read(&mut count);
        ring.try_iter().take(CAPACITY).collect()
    }

    /// Events that did not fit.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Readable while events wait.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::{CloseReason, TransportId};
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
    fn a_full_ring_counts_what_it_drops_and_keeps_the_oldest() {
        let (sender, receiver) = ring().unwrap();
        for id in 0..CAPACITY as u64 + 7 {
            sender.push(event(id));
        }
        assert_eq!(receiver.dropped(), 7);
        let drained = receiver.drain();
        assert_eq!(drained.len(), CAPACITY);
        assert_eq!(drained[0], event(0));
        sender.push(event(1));
        assert_eq!(receiver.drain(), [event(1)]);
    }
}
