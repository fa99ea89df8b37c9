//! What subscribers see while sources come, go, pause and fail.

use parlour_media::{Command, Kind, TransportId};
use parlour_sim::{Camera, Hop, Sim, VIDEO_PT};
use std::collections::HashMap;
use std::time::Duration;
use str0m::rtp::RtpPacket;

/// The picture packets of a peer, in the order of their numbers, each once.
fn pictures(sim: &Sim, peer: usize, ssrc: u32) -> Vec<&RtpPacket> {
    let received = sim.peers[peer].received.iter();
    let mut packets: Vec<_> = received
        .filter(|packet| packet.header.ssrc == ssrc.into())
        .collect();
    packets.sort_by_key(|packet| packet.seq_no);
    packets.dedup_by_key(|packet| packet.seq_no);
    packets
}

fn assert_unbroken(packets: &[&RtpPacket]) {
    for pair in packets.windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1, "a gap");
        assert!(
            pair[1].time.numer() >= pair[0].time.numer(),
            "time ran backwards"
        );
    }
}

fn is_media(datagram: &[u8]) -> bool {
    datagram[0] >= 128 && !(192..224).contains(&datagram[1])
}

#[test]
fn losses_of_the_publisher_are_repaired_before_anyone_asks() {
    let mut sim = Sim::with_peers(1, 2);
    let video = sim.publish(0, Kind::Video, 1000);
    sim.subscribe(1, video, Kind::Video, 3000);
    let mut camera = Camera::new(0, 1000, 30_000, 90_000);
    camera.frame(&mut sim, true);
    sim.filter = Box::new(|hop, datagram, rng| {
        !(hop == Hop::Up(0) && is_media(datagram)) || rng.below(20) != 0
    });
    for _ in 0..200 {
        camera.frame(&mut sim, false);
    }
    sim.filter = Box::new(|_, _, _| true);
    camera.frame(&mut sim, false);
    sim.run(Duration::from_secs(1));
    let packets = pictures(&sim, 1, 3000);
    assert_eq!(packets.len(), camera.sent.len());
    assert!(
        packets
            .iter()
            .zip(&camera.sent)
            .all(|(got, sent)| &got.payload[..] == sent)
    );
    let snapshot = sim.router.snapshot();
    assert!(
        snapshot.producers[0].repaired >= 20,
        "{:?}",
        snapshot.producers
    );
    assert_eq!(snapshot.producers[0].lost, 0);
}

#[test]
fn a_pause_and_a_new_source_leave_no_trace_in_the_numbers() {
    let mut sim = Sim::with_peers(3, 2);
    let video = sim.publish(0, Kind::Video, 1000);
    let consumer = sim.subscribe(1, video, Kind::Video, 3000);
    let mut camera = Camera::new(0, 1000, 100, u32::MAX - 9000);
    for number in 0..20 {
        camera.frame(&mut sim, number == 0);
    }
    sim.command(Command::SetConsumerPaused {
        consumer,
        paused: true,
    });
    for _ in 0..20 {
        camera.frame(&mut sim, false);
    }
    sim.command(Command::SetConsumerPaused {
        consumer,
        paused: false,
    });
    sim.run(Duration::from_millis(50));
    assert!(
        !sim.peers[0].keyframe_requests.is_empty(),
        "going on needs a keyframe"
    );
    // Not a keyframe yet: it must not be shown.
    camera.frame(&mut sim, false);
    for number in 0..20 {
        camera.frame(&mut sim, number == 0);
    }
    // The publisher starts anew under another SSRC; the MID says that it is the same track.
    let mut direct = sim.peers[0].rtc.direct_api();
    direct.remove_stream_tx(1000.into());
    direct
        .declare_stream_tx(7000.into(), Some(7001.into()), "u1000".into(), None)
        .set_unpaced(true);
    let mut second = Camera::new(0, 7000, 9, 5);
    second.frame(&mut sim, false);
    for number in 0..20 {
        second.frame(&mut sim, number == 0);
    }
    sim.run(Duration::from_millis(100));

    let packets = pictures(&sim, 1, 3000);
    assert_unbroken(&packets);
    let expected = camera.sent[..20 * 4]
        .iter()
        .chain(&camera.sent[41 * 4..])
        .chain(&second.sent[4..]);
    let got: Vec<&[u8]> = packets.iter().map(|packet| &packet.payload[..]).collect();
    assert_eq!(
        got,
        expected.map(|payload| &payload[..]).collect::<Vec<_>>()
    );
    let snapshot = sim.router.snapshot();
    assert_eq!(snapshot.producers[0].ssrc, Some(7000));
}

#[test]
fn a_storm_of_keyframe_requests_reaches_the_publisher_as_two_a_second() {
    let mut sim = Sim::with_peers(4, 4);
    let video = sim.publish(0, Kind::Video, 1000);
    for (peer, ssrc) in [(1, 3000), (2, 4000), (3, 5000)] {
        sim.subscribe(peer, video, Kind::Video, ssrc);
    }
    let mut camera = Camera::new(0, 1000, 100, 0);
    camera.frame(&mut sim, true);
    sim.run(Duration::from_secs(1));
    sim.peers[0].keyframe_requests.clear();
    let started = sim.now;
    while sim.now < started + Duration::from_secs(10) {
        for (peer, ssrc) in [(1, 3000u32), (2, 4000), (3, 5000)] {
            sim.peers[peer]
                .rtc
                .direct_api()
                .send_pli_feedback(1.into(), ssrc.into());
        }
        sim.run(Duration::from_millis(5));
    }
    let asked = sim.peers[0].keyframe_requests.len();
    assert!(
        (18..=21).contains(&asked),
        "{asked} requests in ten seconds"
    );
    // A keyframe ends it.
    camera.frame(&mut sim, true);
    sim.run(Duration::from_millis(100));
    let asked = sim.peers[0].keyframe_requests.len();
    sim.run(Duration::from_secs(3));
    assert!(sim.peers[0].keyframe_requests.len() <= asked + 1);
}

/// Under one key, one SSRC and one number there is one packet: were there two, their keystream would be the same
/// and their difference could be read. Checked on what is on the wire, with repairs sent as copies (no RTX).
#[test]
fn no_number_is_used_for_two_different_packets() {
    for seed in 0..6 {
        let mut sim = Sim::with_peers(seed, 2);
        sim.sent = Some(Vec::new());
        let video = sim.publish(0, Kind::Video, 1000);
        let mut spec = sim.consumer_spec(1, video, Kind::Video, 3000);
        let with_rtx = seed % 2 == 0;
        if !with_rtx {
            (spec.rtx_ssrc, spec.rtx_payload_type) = (None, None);
        }
        let consumer = spec.consumer;
        sim.command(Command::AddConsumer(spec));
        let mut direct = sim.peers[1].rtc.direct_api();
        direct.declare_media("d3000".into(), str0m::media::MediaKind::Video);
        let rtx = with_rtx.then(|| 3001.into());
        direct.expect_stream_rx(3000.into(), rtx, "d3000".into(), None);
        sim.filter = Box::new(|_, datagram, rng| !is_media(datagram) || rng.below(10) != 0);
        let mut ssrc = 1000;
        let mut camera = Camera::new(0, ssrc, 65_400, 0);
        let mut paused = false;
        for _ in 0..400 {
            match sim.rng.below(30) {
                0 => {
                    paused = !paused;
                    sim.command(Command::SetConsumerPaused { consumer, paused });
                }
                1 => {
                    let mut direct = sim.peers[0].rtc.direct_api();
                    direct.remove_stream_tx(ssrc.into());
                    ssrc += 10;
                    let rtx = Some((ssrc + 1).into());
                    direct
                        .declare_stream_tx(ssrc.into(), rtx, "u1000".into(), None)
                        .set_unpaced(true);
                    camera = Camera::new(0, ssrc, sim.rng.below(60_000), sim.rng.next_u32());
                }
                _ => {}
            }
            let keyframe = sim.rng.below(8) == 0;
            camera.frame(&mut sim, keyframe);
        }
        let to = sim.peers[1].address;
        let mut seen: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut repeated = 0;
        for (destination, datagram) in sim.sent.take().unwrap() {
            if destination != to || !is_media(&datagram) {
                continue;
            }
            // Fewer than 65536 packets a stream, so the number alone stands for number and rollover counter.
            let key = [&datagram[8..12], &datagram[2..4]].concat();
            if let Some(before) = seen.insert(key, datagram.clone()) {
                assert_eq!(
                    before, datagram,
                    "seed {seed}: two packets under one number"
                );
                repeated += 1;
            }
        }
        assert!(seen.len() > 200, "seed {seed}: {} packets", seen.len());
        assert_eq!(
            repeated > 0,
            !with_rtx,
            "seed {seed}: copies are what repairs without RTX are made of"
        );
    }
}

#[test]
fn an_ssrc_is_never_given_to_a_second_consumer_under_the_same_key() {
    let mut sim = Sim::with_peers(7, 2);
    let video = sim.publish(0, Kind::Video, 1000);
    let first = sim.consumer_spec(1, video, Kind::Video, 3000);
    let consumer = first.consumer;
    sim.command(Command::AddConsumer(first.clone()));
    sim.command(Command::RemoveConsumer { consumer });
    sim.events.clear();
    sim.command(Command::AddConsumer(first));
    let expected = parlour_media::Event::CommandRefused {
        transport: TransportId(2),
        object: consumer.0,
        reason: parlour_media::RefuseReason::DuplicateSsrc,
    };
    assert_eq!(sim.events, [expected]);
}

#[test]
fn packets_find_their_track_by_mid_when_no_ssrc_was_signalled() {
    let mut sim = Sim::with_peers(8, 2);
    for (ssrc, consumer) in [(1000, 3000), (2000, 4000)] {
        let mut spec = sim.producer_spec(0, Kind::Video, ssrc);
        (spec.ssrc, spec.rtx_ssrc) = (None, None);
        let (mid, producer) = (spec.mid.clone(), spec.producer);
        sim.command(Command::AddProducer(spec));
        let mut direct = sim.peers[0].rtc.direct_api();
        direct.declare_media(mid.as_str().into(), str0m::media::MediaKind::Video);
        direct
            .declare_stream_tx(
                ssrc.into(),
                Some((ssrc + 1).into()),
                mid.as_str().into(),
                None,
            )
            .set_unpaced(true);
        sim.subscribe(1, producer, Kind::Video, consumer);
    }
    for number in 0..10u64 {
        for ssrc in [1000u32, 2000] {
            let payload = parlour_sim::vp8(number == 0, true, &ssrc.to_be_bytes());
            sim.send(
                (0, ssrc),
                VIDEO_PT,
                number,
                number as u32 * 3000,
                true,
                payload,
            );
        }
        sim.run(Duration::from_millis(33));
    }
    for (ssrc, consumer) in [(1000u32, 3000), (2000, 4000)] {
        let packets = pictures(&sim, 1, consumer);
        assert_eq!(packets.len(), 10, "{:?}", sim.router.snapshot().drops);
        assert!(
            packets
                .iter()
                .all(|packet| packet.payload[2..] == ssrc.to_be_bytes())
        );
    }
}

#[test]
fn what_is_gone_already_is_removed_without_a_word() {
    let mut sim = Sim::with_peers(11, 2);
    let producer = sim.publish(0, Kind::Video, 1000);
    let consumer = sim.subscribe(1, producer, Kind::Video, 3000);
    let transport = TransportId(1);
    sim.command(Command::RemoveTransport { transport });
    sim.events.clear();
    // Whoever leaves just then has not heard of it, and ends all one by one.
    for command in [
        Command::RemoveConsumer { consumer },
        Command::RemoveProducer { producer },
        Command::RemoveTransport { transport },
    ] {
        sim.command(command);
    }
    assert!(sim.events.is_empty(), "{:?}", sim.events);
    assert_eq!(sim.router.snapshot().transports.len(), 1);
}
