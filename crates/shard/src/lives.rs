//! How the shards are: what each costs, and what becomes of one that died.
//!
//! A panic in a turn is caught there, so a shard dies of what no turn can go on from: a descriptor that is gone, a fault
//! outside of them. Its rooms are lost; everybody in them is told, and a new shard takes its place and its port.

use crate::engine::Engine;
use crate::error::{CommandError, StartError};
use crate::events::EventSender;
use crate::ports;
use parlour_media::{CloseReason, Event};
use std::net::SocketAddr;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Tells when a shard's thread ends though it was not told to.
pub(crate) struct Obituary {
    pub(crate) shard: usize,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) events: EventSender,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if !self.stop.load(Ordering::Acquire) {
            self.events.push_death(self.shard);
            self.events.signal();
        }
    }
}

/// What a thread that was not joined yet has worked so far.
pub(crate) fn processor_time(thread: &JoinHandle<()>) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: an all-zero timespec is a valid one.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the handle is neither joined nor detached, so the thread's id is its own; both calls write to what outlives
    // them.
    let done = unsafe {
        libc::pthread_getcpuclockid(thread.as_pthread_t(), &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    done.then(|| Duration::new(seconds, time.tv_nsec as u32))
}

impl Engine {
    /// How long each shard's thread has worked so far: zero for one that died. Never waits for a shard.
    pub fn processor_times(&self) -> Result<Vec<Duration>, CommandError> {
        let state = self.usable()?;
        let times = state
            .threads
            .iter()
            .map(|running| processor_time(&running.thread));
        Ok(times.map(Option::unwrap_or_default).collect())
    }

    /// The shards that died since this was asked last, each with a closing for everything that was on it. They take
    /// commands again once they are revived; until then those are refused with [`CommandError::ShardDied`].
    pub fn drain_deaths(&self) -> Vec<(usize, Vec<Event>)> {
        let mut state = self.state();
        let Some(events) = &state.events else {
            return Vec::new();
        };
        let mut dead = Vec::new();
        for shard in events.drain_deaths() {
            let lost = state.directory.remove_shard(shard);
            let closed = lost.into_iter().map(|transport| Event::TransportClosed {
                transport,
                reason: CloseReason::ShardDied,
            });
            dead.push((shard, closed.collect()));
        }
        dead
    }

    /// Start a new shard in the place and on the port of one that died.
    pub fn revive(&self, shard: usize) -> Result<(), StartError> {
        let closed = |_| StartError::Invalid("the media engine is closed".into());
        let events = self
            .usable()
            .map_err(closed)?
            .events
            .as_ref()
            .map(|it| it.sender());
        let (Some(events), Some(port)) = (events, self.ports().get(shard)) else {
            return Err(StartError::Invalid(format!("there is no shard {shard}")));
        };
        let address = SocketAddr::new(self.bind(), *port);
        let sockets = ports::bind(address, self.takes_connections())?;
        let system = |source| StartError::System {
            what: "a media thread",
            source,
        };
        let (handle, running) = self.start_shard(shard, sockets, events).map_err(system)?;
        let mut state = self.state();
        if state.events.is_none() {
            // Closed meanwhile: what was just started is to end with the rest.
            handle.stop.store(true, Ordering::Release);
            let _ = handle.waker.wake();
            return Ok(());
        }
        state.shards[shard] = handle;
        state.threads[shard] = running;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineConfig, SnapshotError};
    use parlour_media::{IngressLimit, TransportId};
    use std::net::Ipv4Addr;
    use std::time::Instant;

    fn two_shards() -> Engine {
        Engine::start(EngineConfig {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            shards: 2,
            max_transports: 100,
            ingress: IngressLimit::default(),
            adapts: true,
            segments: true,
            tcp: None,
        })
        .unwrap()
    }

    fn add(engine: &Engine, shard: usize, id: u64) -> Result<(), CommandError> {
        let (ufrag, pwd) = (format!("ufrag{id:08}"), "p".repeat(24));
        engine.add_transport(shard, TransportId(id), ufrag, pwd)
    }

    #[test]
    fn a_shard_that_stands_still_holds_up_no_other_and_is_named_by_who_waits_for_it() {
        let engine = two_shards();
        let held = engine.block(0);
        // The router of the other refuses such a user fragment, which it says by an event.
        engine
            .add_transport(1, TransportId(7), "u".into(), "p".repeat(24))
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let closed = |event: &Event| matches!(event, Event::TransportClosed { transport, .. } if *transport == TransportId(7));
        while !engine.drain_events().iter().any(closed) {
            assert!(Instant::now() < deadline, "the other one goes on");
            std::thread::yield_now();
        }
        let timeout = Duration::from_millis(20);
        let late = SnapshotError::Timeout { shard: 0, timeout };
        assert_eq!(engine.snapshot(timeout).unwrap_err(), late);
        // What is meant for it waits, and is done when it goes on.
        add(&engine, 0, 8).unwrap();
        drop(held);
        let told = engine.snapshot(Duration::from_secs(30)).unwrap().to_json();
        assert!(told.contains("\"id\":8,"), "{told}");
    }

    #[test]
    fn who_was_on_a_shard_that_died_is_told_and_a_new_one_takes_its_place_and_its_port() {
        let engine = two_shards();
        let ports = engine.ports().to_vec();
        add(&engine, 0, 1).unwrap();
        add(&engine, 1, 2).unwrap();
        engine.snapshot(Duration::from_secs(30)).unwrap();
        engine.kill(1);
        let deadline = Instant::now() + Duration::from_secs(30);
        let dead = loop {
            let dead = engine.drain_deaths();
            if !dead.is_empty() {
                break dead;
            }
            assert!(Instant::now() < deadline, "its end is told");
            std::thread::yield_now();
        };
        let lost = Event::TransportClosed {
            transport: TransportId(2),
            reason: CloseReason::ShardDied,
        };
        assert_eq!(dead, [(1, vec![lost])]);
        assert_eq!(engine.drain_deaths(), []);
        // Until it is there again it is to be tried again; the other one is as it was.
        assert_eq!(
            add(&engine, 1, 3),
            Err(CommandError::ShardDied { shard: 1 })
        );
        add(&engine, 0, 4).unwrap();
        engine.revive(1).unwrap();
        assert_eq!(engine.ports(), ports);
        add(&engine, 1, 3).unwrap();
        let told = engine.snapshot(Duration::from_secs(30)).unwrap().to_json();
        assert!(told.contains("\"shard\":1,"), "{told}");
        assert_eq!(engine.processor_times().unwrap().len(), 2);
        assert!(engine.close());
        for port in ports {
            std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
        }
    }
}
