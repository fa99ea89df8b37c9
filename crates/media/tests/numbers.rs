//! What the counters say of a call: how long packets are here, frames and freezes, drops of each transport; and that a
//! copy of them is made in parts.

use parlour_media::{
    Command, ConsumerId, Copied, DropReason, Kind, LATENCY_BOUNDS, Snapshot, TransportId,
};
use parlour_sim::{Camera, Hop, Sim};
use std::time::Duration;

/// One who sends a picture to some others.
struct Filmed {
    sim: Sim,
    camera: Camera,
    consumers: Vec<ConsumerId>,
}

impl Filmed {
    fn new(subscribers: usize) -> Filmed {
        let mut sim = Sim::with_peers(7, 1 + subscribers);
        let video = sim.publish(0, Kind::Video, 1000);
        let subscribe = |peer| sim.subscribe(peer, video, Kind::Video, 3000 + 10 * peer as u32);
        let consumers = (1..=subscribers).map(subscribe).collect();
        Filmed {
            sim,
            camera: Camera::new(0, 1000, 65_000, 90_000),
            consumers,
        }
    }

    /// So many frames, 33 ms each.
    fn film(&mut self, frames: usize) -> Snapshot {
        for frame in 0..frames {
            self.camera.frame(&mut self.sim, frame % 30 == 0);
        }
        self.sim.router.snapshot()
    }

    fn cut(&mut self, cut: bool) {
        self.sim.filter = Box::new(move |hop, datagram, _| {
            !(cut && hop == Hop::Up(0) && (128..192).contains(&datagram[0]))
        });
    }
}

#[test]
fn a_publisher_whose_packets_stay_away_freezes_for_itself_and_for_its_subscribers() {
    let mut call = Filmed::new(2);
    let smooth = call.film(60);
    assert!((58..=60).contains(&smooth.producers[0].smoothness.frames));
    assert_eq!(smooth.producers[0].smoothness.freezes, 0);
    call.cut(true);
    call.film(30);
    call.cut(false);
    let frozen = call.film(60);
    let came = frozen.producers[0].smoothness;
    assert_eq!(came.freezes, 1, "{came:?}");
    assert!((900..1300).contains(&came.frozen_ms), "{came:?}");
    for consumer in &frozen.consumers {
        let left = consumer.smoothness;
        assert!(left.freezes >= 1, "{left:?}");
        assert!((900..2500).contains(&left.frozen_ms), "{left:?}");
    }
}

#[test]
fn a_subscriber_that_pauses_drops_for_itself_alone_and_does_not_freeze() {
    let mut call = Filmed::new(2);
    call.film(60);
    let consumer = call.consumers[0];
    let paused = |paused| Command::SetConsumerPaused { consumer, paused };
    call.sim.command(paused(true));
    let during = call.film(60);
    call.sim.command(paused(false));
    let after = call.film(60);
    let dropped = |shot: &Snapshot| -> Vec<u64> {
        let of = |drops: &[(DropReason, u64)]| {
            let paused = drops.iter().find(|(why, _)| *why == DropReason::Paused);
            paused.map_or(0, |(_, count)| *count)
        };
        shot.transports.iter().map(|it| of(&it.drops)).collect()
    };
    let dropped = dropped(&after);
    assert_eq!(dropped.iter().sum::<u64>(), 60 * 4);
    assert_eq!(dropped.iter().filter(|count| **count > 0).count(), 1);
    assert_eq!(after.drops.get(DropReason::Paused), 60 * 4);
    let frames = |shot: &Snapshot| shot.consumers.iter().map(|it| it.smoothness.frames).min();
    assert!(frames(&after) > frames(&during));
    assert!(after.consumers.iter().all(|it| it.smoothness.freezes == 0));
}

#[test]
fn packets_are_here_as_long_as_they_waited_in_the_socket() {
    for (waited, least) in [(0, 0), (3_000, 2_000), (30_000, 20_000)] {
        let mut call = Filmed::new(2);
        call.sim.read_late = Duration::from_micros(waited);
        let before = call.film(30).latency;
        let after = call.film(30).latency;
        let packets: Vec<u64> = after
            .counts
            .iter()
            .zip(before.counts)
            .map(|(after, before)| after - before)
            .collect();
        let total: u64 = packets.iter().sum();
        assert!(total >= 2 * 4 * 28, "{waited} µs: {packets:?}");
        // A step of the simulation is a turn: nothing waits but in the socket, or for the pacer.
        let place = LATENCY_BOUNDS.partition_point(|bound| *bound <= least);
        assert!(
            packets[place..place + 2].iter().sum::<u64>() * 10 >= total * 9,
            "{waited} µs: {packets:?}"
        );
        let mean = (after.sum_us - before.sum_us) / total;
        assert!(
            (waited..waited + 4_000).contains(&mean),
            "{waited} µs: {mean}"
        );
    }
}

#[test]
fn a_copy_in_parts_is_whole_however_many_there_are_and_each_part_is_small() {
    let mut call = Filmed::new(3);
    call.film(10);
    for id in 0..700 {
        call.sim.command(Command::AddTransport {
            transport: TransportId(10_000 + id),
            local_ufrag: format!("ufrag{id:08}"),
            local_pwd: "p".repeat(24),
        });
    }
    let (mut copied, mut whole, mut parts) = (Copied::default(), Snapshot::default(), 0);
    while !copied.is_all() {
        let part = call.sim.router.copy_counters(&mut copied);
        let rows = [
            part.transports.len(),
            part.producers.len(),
            part.consumers.len(),
        ];
        assert!(rows.iter().sum::<usize>() <= 256, "{rows:?}");
        match parts {
            0 => whole = part,
            _ => whole.extend(part),
        }
        parts += 1;
    }
    let at_once = call.sim.router.snapshot();
    assert_eq!(whole.to_json(), at_once.to_json());
    assert!(whole.transports.len() > 700 && whole.consumers.len() == 3);
    assert_eq!(parts, 1 + 3 + 1 + 1);
}
