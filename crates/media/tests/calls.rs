//! Two str0m peers call each other through a router.

use parlour_media::{Event, Kind, SrtpProfile};
use parlour_sim::{AUDIO_PT, Camera, Hop, Sim, VIDEO_RTX_PT};
use std::time::Duration;

#[test]
fn media_arrives_as_it_was_sent() {
    let mut sim = Sim::with_peers(1, 2);
    let connected = sim.events.iter().filter(|event| {
        matches!(
            event,
            Event::TransportConnected {
                profile: SrtpProfile::AeadAes256Gcm,
                ..
            }
        )
    });
    assert_eq!(connected.count(), 2, "{:?}", sim.events);
    let video = sim.publish(0, Kind::Video, 1000);
    let audio = sim.publish(0, Kind::Audio, 2000);
    sim.subscribe(1, video, Kind::Video, 3000);
    sim.subscribe(1, audio, Kind::Audio, 4000);

    let mut camera = Camera::new(0, 1000, 500, 90_000);
    let mut speech = Vec::new();
    for number in 0..90u64 {
        for half in 0..2 {
            let payload = vec![0xfc, number as u8, half as u8, 7, 7, 7];
            let (seq, time) = (2 * number + half, (2 * number + half) as u32 * 960);
            sim.send((0, 2000), AUDIO_PT, seq, time, false, payload.clone());
            speech.push(payload);
        }
        camera.frame(&mut sim, number == 0);
    }
    sim.run(Duration::from_millis(200));

    let received = &sim.peers[1].received;
    let of = |ssrc: u32| {
        received
            .iter()
            .filter(move |packet| packet.header.ssrc == ssrc.into())
    };
    let pictures: Vec<&[u8]> = of(3000).map(|packet| &packet.payload[..]).collect();
    assert_eq!(pictures.len(), camera.sent.len());
    assert!(
        pictures
            .iter()
            .zip(&camera.sent)
            .all(|(got, sent)| got == sent)
    );
    let heard: Vec<&[u8]> = of(4000).map(|packet| &packet.payload[..]).collect();
    assert_eq!(heard, speech);
    let numbers: Vec<u64> = of(3000).map(|packet| *packet.seq_no).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "a gap in {numbers:?}"
    );
    let mid = of(3000).next().unwrap().header.ext_vals.mid.unwrap();
    assert_eq!(&*mid, "d3000");
    let started = sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::ProducerStarted { .. }));
    assert_eq!(started.count(), 2);
}

#[test]
fn a_link_that_loses_a_tenth_is_repaired_from_the_cache() {
    let mut sim = Sim::with_peers(2, 2);
    let video = sim.publish(0, Kind::Video, 1000);
    sim.subscribe(1, video, Kind::Video, 3000);
    let mut camera = Camera::new(0, 1000, 65_000, 90_000);
    // The first packet arrives, so that the receiver knows the stream; after that a tenth is lost, repairs too.
    camera.frame(&mut sim, true);
    sim.filter = Box::new(|hop, datagram, rng| {
        let media = datagram[0] >= 128 && !(192..224).contains(&datagram[1]);
        !(hop == Hop::Down(1) && media) || rng.below(10) != 0
    });
    for _ in 0..299 {
        camera.frame(&mut sim, false);
    }
    sim.filter = Box::new(|_, _, _| true);
    camera.frame(&mut sim, false);
    sim.run(Duration::from_secs(1));

    let mut got: Vec<_> = sim.peers[1]
        .received
        .iter()
        .map(|packet| (*packet.seq_no, &packet.payload))
        .collect();
    got.sort();
    got.dedup();
    let payloads: Vec<&[u8]> = got.iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(payloads.len(), camera.sent.len());
    assert!(
        payloads
            .iter()
            .zip(&camera.sent)
            .all(|(got, sent)| got == sent)
    );
    let snapshot = sim.router.snapshot();
    let consumer = &snapshot.consumers[0];
    assert!(consumer.retransmitted > 80, "{consumer:?}");
    let rtt = consumer.rtt_ms.expect("a round trip time");
    assert!((15.0..40.0).contains(&rtt), "{consumer:?}");
}

#[test]
fn the_share_that_a_link_loses_is_known_from_the_subscribers_reports() {
    let mut sim = Sim::with_peers(2, 2);
    let video = sim.publish(0, Kind::Video, 1000);
    sim.subscribe(1, video, Kind::Video, 3000);
    let mut camera = Camera::new(0, 1000, 500, 90_000);
    camera.frame(&mut sim, true);
    // No repair arrives: a subscriber counts what was repaired as received.
    sim.filter = Box::new(|hop, datagram, rng| {
        let payload_type = datagram[1] & 0x7f;
        let media = datagram[0] >= 128 && !(64..96).contains(&payload_type);
        let lost = payload_type == VIDEO_RTX_PT || rng.below(10) == 0;
        !(hop == Hop::Down(1) && media && lost)
    });
    let mut reported = Vec::new();
    for frame in 0..600 {
        camera.frame(&mut sim, false);
        if frame % 30 == 29 {
            reported.push(sim.router.snapshot().consumers[0].fraction_lost);
        }
    }
    // A hundred packets or so between two reports; the first has seen less.
    let mean = reported[1..].iter().sum::<f64>() / (reported.len() - 1) as f64;
    assert!((0.05..0.2).contains(&mean), "{reported:?}");
}
