//! How long a subscriber waits for its first picture, to the millisecond of virtual time, and what publishers are
//! asked meanwhile.

use parlour_media::rtp::{RtpHeader, is_rtcp};
use parlour_media::{Codec, Command, ConsumerId, DropReason, Event, Kind};
use parlour_sim::raw::{filmed, rtp_packet};
use parlour_sim::{Camera, Sim, VIDEO_PT, vp8};
use std::time::{Duration, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A publisher of video that is connected and past its first keyframe, with nobody there to see it.
fn publisher(seed: u64) -> (Sim, Camera, parlour_media::ProducerId) {
    let mut sim = Sim::with_peers(seed, 1);
    let video = sim.publish(0, Kind::Video, 1000);
    let mut camera = Camera::new(0, 1000, 100, 0);
    camera.frame(&mut sim, true);
    camera.frame(&mut sim, false);
    sim.run(Duration::from_secs(2));
    (sim, camera, video)
}

/// Lets time pass until this many transports are connected; the moment the last one was.
fn connected(sim: &mut Sim, count: usize) -> Instant {
    sim.run_until(Duration::from_secs(5), |sim| {
        let connected = |event: &&Event| matches!(event, Event::TransportConnected { .. });
        sim.events.iter().filter(connected).count() == count
    });
    sim.now
}

/// The publisher hears of it after a way through the network, and not a millisecond later.
fn assert_asked_at_once(sim: &mut Sim, since: Instant) {
    let before = sim.peers[0].keyframe_requests.len();
    sim.run_until(Duration::from_secs(2), |sim| {
        sim.peers[0].keyframe_requests.len() > before
    });
    let waited = sim.peers[0]
        .keyframe_requests
        .get(before)
        .map(|at| *at - since);
    assert_eq!(waited, Some(sim.delay));
}

#[test]
fn a_keyframe_is_asked_for_when_the_subscriber_connects_and_not_before() {
    let (mut sim, mut camera, video) = publisher(1);
    let viewer = sim.add_peer();
    sim.subscribe(viewer, video, Kind::Video, 3000);
    let since = connected(&mut sim, 2);
    assert!(sim.peers[0].keyframe_requests.is_empty(), "for nobody");
    assert_asked_at_once(&mut sim, since);
    camera.frame(&mut sim, true);
    sim.run(sim.delay * 2);
    assert_eq!(sim.peers[viewer].received.len(), 4);
}

#[test]
fn subscribers_in_short_order_wait_for_no_throttle() {
    let (mut sim, mut camera, video) = publisher(2);
    for (at, ssrc) in [(1, 3000), (2, 4000), (3, 5000)] {
        let viewer = sim.add_peer();
        sim.subscribe(viewer, video, Kind::Video, ssrc);
        let since = connected(&mut sim, at + 1);
        assert_asked_at_once(&mut sim, since);
        camera.frame(&mut sim, true);
    }
    assert_eq!(sim.peers[0].keyframe_requests.len(), 3);
}

#[test]
fn a_subscription_on_a_connected_transport_and_one_that_goes_on_ask_at_once() {
    let (mut sim, mut camera, video) = publisher(3);
    let viewer = sim.add_peer();
    connected(&mut sim, 2);
    sim.run(Duration::from_millis(7));
    let consumer = sim.subscribe(viewer, video, Kind::Video, 3000);
    let since = sim.now;
    assert_asked_at_once(&mut sim, since);
    camera.frame(&mut sim, true);
    for paused in [true, false] {
        sim.command(Command::SetConsumerPaused { consumer, paused });
    }
    let since = sim.now;
    assert_asked_at_once(&mut sim, since);
}

#[test]
fn a_keyframe_under_way_serves_who_connects_meanwhile() {
    let (mut sim, mut camera, video) = publisher(4);
    sim.delay = Duration::from_millis(60);
    for ssrc in [3000, 4000] {
        let viewer = sim.add_peer();
        sim.subscribe(viewer, video, Kind::Video, ssrc);
        sim.run(Duration::from_millis(20));
    }
    connected(&mut sim, 3);
    sim.run(Duration::from_millis(61));
    assert_eq!(sim.peers[0].keyframe_requests.len(), 1);
    camera.frame(&mut sim, true);
    sim.run(Duration::from_millis(200));
    assert_eq!(sim.peers[0].keyframe_requests.len(), 1);
    for viewer in [1, 2] {
        assert_eq!(sim.peers[viewer].received.len(), 4);
    }
}

#[test]
fn a_request_that_is_lost_is_repeated_after_half_a_second() {
    let (mut sim, _, video) = publisher(5);
    let viewer = sim.add_peer();
    sim.subscribe(viewer, video, Kind::Video, 3000);
    sim.filter = Box::new(|hop, _, _| hop != parlour_sim::Hop::Down(0));
    let since = connected(&mut sim, 2);
    sim.run(Duration::from_millis(300));
    sim.filter = Box::new(|_, _, _| true);
    sim.run(Duration::from_millis(400));
    let asked = &sim.peers[0].keyframe_requests;
    let waited = asked.first().map(|at| *at - since - sim.delay);
    assert!(
        waited
            .is_some_and(|waited| waited >= Duration::from_millis(500)
                && waited <= Duration::from_millis(510)),
        "{waited:?}"
    );
}

/// Requests, joins, departures, pauses: all at once, and a publisher that answers each request with a keyframe.
#[test]
fn no_storm_asks_a_publisher_for_more_than_two_keyframes_a_second() {
    for answers in [true, false] {
        let (mut sim, mut camera, video) = publisher(6);
        for ssrc in [3000, 4000, 5000] {
            let viewer = sim.add_peer();
            sim.subscribe(viewer, video, Kind::Video, ssrc);
        }
        connected(&mut sim, 4);
        let (started, mut next) = (sim.now, 10_000u32);
        let mut flapping: Option<ConsumerId> = None;
        while sim.now < started + Duration::from_secs(10) {
            for (peer, ssrc) in [(1, 3000u32), (2, 4000), (3, 5000)] {
                let mut direct = sim.peers[peer].rtc.direct_api();
                direct.send_pli_feedback(1.into(), ssrc.into());
            }
            match sim.rng.below(4) {
                0 => {
                    if let Some(consumer) = flapping.take() {
                        sim.command(Command::RemoveConsumer { consumer });
                    }
                    next += 2;
                    let spec = sim.consumer_spec(3, video, Kind::Video, next);
                    flapping = Some(spec.consumer);
                    sim.command(Command::AddConsumer(spec));
                }
                1 => {
                    for paused in [true, false] {
                        let consumer = ConsumerId(4000);
                        sim.command(Command::SetConsumerPaused { consumer, paused });
                    }
                }
                _ => {}
            }
            let asked = sim.peers[0].keyframe_requests.len();
            sim.run(MILLISECOND * 3);
            if answers && sim.peers[0].keyframe_requests.len() > asked {
                camera.frame(&mut sim, true);
            }
        }
        let asked = sim.peers[0].keyframe_requests.len();
        assert!((15..=24).contains(&asked), "{asked} in ten seconds");
    }
}

/// A subscriber that asks for nothing again; what it gets of packets that come in this order: number and payload.
fn shown(codec: Codec, packets: &[(u16, Vec<u8>)]) -> (Sim, Vec<(u16, Vec<u8>)>) {
    let mut sim = Sim::new(7);
    let (mut publisher, mut viewer) = filmed(&mut sim, codec, 3000);
    // The end of the frame before.
    let before = rtp_packet(VIDEO_PT, 99, 6000, 1000, &[0x01; 50]);
    publisher.send_rtp(&mut sim, &before);
    let mut got = Vec::new();
    for (seq, payload) in packets {
        let packet = rtp_packet(VIDEO_PT, *seq, 9000, 1000, payload);
        for (to, datagram) in publisher.send_rtp(&mut sim, &packet) {
            if to == viewer.address && !is_rtcp(&datagram) {
                let opened = viewer.open(&datagram).unwrap();
                let header = RtpHeader::parse(&opened).unwrap();
                got.push((header.seq.0, opened[12..].to_vec()));
            }
        }
    }
    let first = got.first().map_or(0, |(seq, _)| *seq);
    got.iter_mut()
        .for_each(|(seq, _)| *seq = seq.wrapping_sub(first));
    // What overtook something is told of as all else that went out: how many there were, and how long each was here.
    let now = sim.now;
    sim.router.on_flushed(|| now);
    let snapshot = sim.router.snapshot();
    let sent: u64 = snapshot.consumers.iter().map(|it| it.packets).sum();
    let timed: u64 = snapshot.latency.counts.iter().sum();
    assert_eq!((sent, timed), (got.len() as u64, got.len() as u64));
    (sim, got)
}

#[test]
fn pieces_of_the_first_keyframe_that_overtook_its_beginning_are_not_waited_for() {
    let piece = |number: u16| (100 + number, vp8(true, number == 0, &[number as u8; 50]));
    let (sim, got) = shown(Codec::Vp8, &[2, 1, 4, 0, 3].map(piece));
    let expected = [0, 1, 2, 4, 3].map(|number| (number, piece(number).1));
    assert_eq!(got, expected);
    let drops = sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::AwaitingKeyframe), 1 + 3);
}

#[test]
fn a_slice_that_overtook_its_parameter_sets_is_shown_behind_them() {
    let (sets, slice, rest) = ([0x67, 0x42, 9], [0x7c, 0x85, 1], [0x7c, 0x45, 2]);
    let order = [
        (101, slice.to_vec()),
        (102, rest.to_vec()),
        (100, sets.to_vec()),
    ];
    let (_, got) = shown(Codec::H264, &order);
    let expected = [
        (0, slice.to_vec()),
        (1, rest.to_vec()),
        (2, sets.to_vec()),
        (3, slice.to_vec()),
        (4, rest.to_vec()),
    ];
    assert_eq!(got, expected);
}
