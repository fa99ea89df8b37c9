//! After warm-up nothing is allocated on the packet path: not for media, repair, reports, checks or keyframe requests.
//! The global allocator of this test counts while the router works on a datagram or on what is due.

use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::{Command, Event, Kind, ProducerId, ProducerSpec, rtp};
use parlour_sim::raw::{RAW_PASSWORD, RawPeer, producer};
use parlour_sim::{AUDIO_PT, Camera, Hop, Sim};
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::time::Duration;

struct Counting;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Where the first ones happened, for the message.
    static PLACES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note() {
    if COUNTS.replace(false) {
        COUNT.set(COUNT.get() + 1);
        PLACES.with_borrow_mut(|places| {
            if places.len() < 3 {
                places.push(Backtrace::force_capture().to_string());
            }
        });
        COUNTS.set(true);
    }
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A call of one who sends picture and sound and four who see and hear them.
struct Call {
    sim: Sim,
    camera: Camera,
    spoken: u64,
}

impl Call {
    fn new() -> Call {
        let mut sim = Sim::with_peers(11, 5);
        let video = sim.publish(0, Kind::Video, 1000);
        let audio = sim.publish(0, Kind::Audio, 2000);
        for peer in 1..5 {
            sim.subscribe(peer, video, Kind::Video, 3000 + 10 * peer as u32);
            sim.subscribe(peer, audio, Kind::Audio, 4000 + 10 * peer as u32);
        }
        let camera = Camera::new(0, 1000, 65_000, 90_000);
        Call {
            sim,
            camera,
            spoken: 0,
        }
    }

    /// Seconds of it, a keyframe at the start of each.
    fn go_on(&mut self, seconds: usize) {
        for frame in 0..30 * seconds {
            let (seq, time) = (self.spoken, self.spoken as u32 * 1584);
            self.sim
                .send((0, 2000), AUDIO_PT, seq, time, false, vec![0xfc; 80]);
            self.spoken += 1;
            self.camera.frame(&mut self.sim, frame % 30 == 0);
        }
    }

    /// The same, counted.
    fn counted(&mut self, seconds: usize) -> usize {
        COUNT.set(0);
        self.sim.probe = |works| COUNTS.set(works);
        self.go_on(seconds);
        self.sim.probe = |_| {};
        COUNT.get()
    }
}

/// A datagram of media or RTCP.
fn is_media(datagram: &[u8]) -> bool {
    (128..192).contains(&datagram[0])
}

#[test]
fn after_warm_up_nothing_is_allocated_for_media_repair_reports_and_checks() {
    let mut call = Call::new();
    // Lossy from the start, so that lists of lost numbers have been as long as they will be.
    call.sim.filter = Box::new(|hop, datagram, rng| match hop {
        Hop::Up(0) | Hop::Down(_) if is_media(datagram) => rng.below(20) != 0,
        _ => true,
    });
    call.go_on(40);
    let before = call.sim.router.snapshot();
    let count = call.counted(20);
    let after = call.sim.router.snapshot();
    assert_eq!(
        count,
        0,
        "allocated {count} times:\n{}",
        PLACES.take().join("\n---\n")
    );
    // All of it happened while it was counted.
    let repaired = |snapshot: &parlour_media::Snapshot| -> u64 {
        snapshot.consumers.iter().map(|one| one.retransmitted).sum()
    };
    assert!(repaired(&after) > repaired(&before) + 100);
    assert!(after.traffic.packets_in > before.traffic.packets_in + 20 * 150);
}

/// Of one who speaks and is watched.
#[test]
fn after_warm_up_nothing_is_allocated_to_follow_how_loud_a_track_is() {
    let mut sim = Sim::new(1);
    let mut peer = RawPeer::connect(&mut sim, 1);
    let (watched, every) = (ProducerId(1), Some(Duration::from_millis(50)));
    sim.command(Command::AddProducer(ProducerSpec {
        level_extension: Some(2),
        ..producer(peer.transport, Kind::Audio)
    }));
    sim.command(Command::WatchLevel {
        producer: watched,
        every,
    });
    let mut number = 0;
    let mut speak = |sim: &mut Sim, packets| {
        for _ in 0..packets {
            number += 1;
            let mut packet = vec![9; 100];
            let time = RtpTime(u32::from(number) * 960);
            let (kind, seq) = (PayloadType(AUDIO_PT), SeqNo(number));
            let level = (2, &[(number % 40) as u8][..]);
            rtp::write_header(&mut packet, false, kind, seq, time, Ssrc(1000), &[level]);
            peer.send_rtp(sim, &packet);
            sim.sent = Some(Vec::new());
            sim.run(Duration::from_millis(20));
            for (_, datagram) in sim.sent.take().unwrap_or_default() {
                peer.answer(sim, &datagram, RAW_PASSWORD);
            }
        }
    };
    speak(&mut sim, 500);
    sim.events.clear();
    COUNT.set(0);
    sim.probe = |works| COUNTS.set(works);
    speak(&mut sim, 1000);
    sim.probe = |_| {};
    let told = |event: &&Event| matches!(event, Event::ProducerLevel { .. });
    assert!(sim.events.iter().filter(told).count() > 200);
    let count = COUNT.get();
    assert_eq!(count, 0, "{}", PLACES.take().join("\n---\n"));
}

#[test]
fn the_counter_sees_an_allocation_and_counts_only_while_the_router_works() {
    let mut call = Call::new();
    call.go_on(1);
    assert_eq!(COUNT.get(), 0);
    COUNTS.set(true);
    drop(std::hint::black_box(vec![1_u8; 100]));
    COUNTS.set(false);
    assert_eq!(COUNT.take(), 1);
    PLACES.take();
}
