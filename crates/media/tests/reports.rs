//! What publishers and subscribers learn from our reports, as str0m understands them.

use parlour_media::num::{PayloadType, RtpTime, SeqNo};
use parlour_media::router::MAX_PRODUCERS;
use parlour_media::rtcp::{self, Rtcp, SenderInfo};
use parlour_media::rtp;
use parlour_media::{Command, Kind, ProducerId, ProducerSpec, Ssrc};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Hop, Sim, TWCC_EXTENSION, VIDEO_PT, vp8};
use std::time::{Duration, SystemTime};
use str0m::rtp::RtpPacket;

/// A call of ten seconds with sound and pictures, both of which carry the number of the 20 ms they are from.
fn call(sim: &mut Sim) {
    let video = sim.publish(0, Kind::Video, 1000);
    let audio = sim.publish(0, Kind::Audio, 2000);
    sim.subscribe(1, video, Kind::Video, 3000);
    sim.subscribe(1, audio, Kind::Audio, 4000);
    for number in 0..500u64 {
        let label = (number as u16).to_be_bytes();
        let picture = vp8(number % 50 == 0, true, &label);
        let (time, sound_time) = (number as u32 * 1800, 777_777 + number as u32 * 960);
        sim.send((0, 1000), VIDEO_PT, number, time, true, picture);
        sim.send(
            (0, 2000),
            AUDIO_PT,
            number,
            sound_time,
            false,
            [&[0, 0], &label[..]].concat(),
        );
        sim.run(Duration::from_millis(20));
    }
}

/// When a packet was captured on the publisher's clock, according to the last sender report before it.
fn captured_at(packet: &RtpPacket, clock_rate: f64) -> Option<SystemTime> {
    let info = packet.last_sender_info?;
    let ticks = (packet.header.timestamp as i64) - (info.rtp_time.numer() as u32 as i64);
    let seconds = ticks as i32 as f64 / clock_rate;
    Some(match seconds >= 0.0 {
        true => info.ntp_time + Duration::from_secs_f64(seconds),
        false => info.ntp_time - Duration::from_secs_f64(-seconds),
    })
}

#[test]
fn each_of_as_many_tracks_as_a_transport_may_have_is_reported_on() {
    let mut sim = Sim::new(3);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    let ssrcs: Vec<u32> = (1000..).take(MAX_PRODUCERS).collect();
    for ssrc in &ssrcs {
        sim.command(Command::AddProducer(ProducerSpec {
            producer: ProducerId(u64::from(*ssrc)),
            ssrc: Some(Ssrc(*ssrc)),
            mid: ssrc.to_string(),
            ..producer(publisher.transport, Kind::Audio)
        }));
        publisher.send_rtp(&mut sim, &rtp_packet(AUDIO_PT, 1, 0, *ssrc, b"hello"));
    }
    sim.sent = Some(Vec::new());
    sim.run(Duration::from_secs(2));
    let sent = publisher.answers(&mut sim);
    let opened: Vec<_> = sent.iter().filter_map(|it| publisher.open(it)).collect();
    let mut reported: Vec<u32> = Vec::new();
    for part in opened
        .iter()
        .flat_map(|packet| rtcp::parse_compound(packet))
    {
        if let Ok(Rtcp::ReceiverReport { blocks, .. }) = part {
            reported.extend(blocks.map(|block| block.ssrc.0));
        }
    }
    reported.sort_unstable();
    reported.dedup();
    assert_eq!(reported, ssrcs);
}

#[test]
fn sound_and_pictures_stay_together_by_the_sender_reports() {
    let mut sim = Sim::with_peers(1, 2);
    call(&mut sim);
    let received = &sim.peers[1].received;
    let of = |ssrc: u32| {
        received
            .iter()
            .filter(move |packet| packet.header.ssrc == ssrc.into())
    };
    let mut compared = 0;
    for picture in of(3000) {
        let sound = of(4000).find(|sound| sound.payload[2..] == picture.payload[2..]);
        let Some(sound) = sound else { continue };
        let (Some(seen), Some(heard)) =
            (captured_at(picture, 90_000.0), captured_at(sound, 48_000.0))
        else {
            continue;
        };
        let apart = seen
            .duration_since(heard)
            .unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_millis(5), "{apart:?} apart");
        compared += 1;
    }
    assert!(compared > 200, "{compared} pairs compared");
}

#[test]
fn the_publisher_learns_round_trip_and_loss_of_its_own_link() {
    let mut sim = Sim::with_peers(2, 2);
    // A fifth of the sound is lost on the way up; nobody repairs sound.
    sim.filter = Box::new(|hop, datagram, rng| {
        let sound = datagram[0] >= 128 && datagram[1] & 0x7f == AUDIO_PT;
        !(hop == Hop::Up(0) && sound) || rng.below(5) != 0
    });
    call(&mut sim);
    let stats = &sim.peers[0].egress_stats;
    let sound: Vec<f32> = stats
        .iter()
        .filter(|it| &*it.mid == "u2000")
        .filter_map(|it| it.loss)
        .collect();
    let mean = sound.iter().sum::<f32>() / sound.len() as f32;
    assert!(sound.len() >= 5 && (0.1..0.3).contains(&mean), "{sound:?}");
    let rtts: Vec<Duration> = stats.iter().filter_map(|it| it.rtt).collect();
    assert!(!rtts.is_empty());
    assert!(
        rtts.iter().all(|rtt| (15..45).contains(&rtt.as_millis())),
        "{rtts:?}"
    );
}

/// Sound of which every twentieth packet comes so many milliseconds late; what is reported of losses in the second half.
fn reported_of_late_sound(late_by: u64) -> Vec<u8> {
    let mut sim = Sim::new(5);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    sim.command(Command::AddProducer(ProducerSpec {
        producer: ProducerId(1),
        ssrc: Some(Ssrc(2000)),
        nack: true,
        ..producer(publisher.transport, Kind::Audio)
    }));
    let (mut coming, mut fractions) = (Vec::new(), Vec::new());
    for milli in 0..8000u64 {
        if milli % 20 == 0 {
            let number = (milli / 20) as u16;
            let packet = rtp_packet(AUDIO_PT, number, milli as u32 * 48, 2000, b"hello");
            let late = if number % 20 == 10 { late_by } else { 0 };
            coming.push((milli + late, packet));
        }
        for (_, packet) in coming.extract_if(.., |(at, _)| *at <= milli) {
            publisher.send_rtp(&mut sim, &packet);
        }
        sim.sent = Some(Vec::new());
        sim.run(Duration::from_millis(1));
        for datagram in publisher.answers(&mut sim) {
            let plain = publisher.open(&datagram).unwrap_or_default();
            for part in rtcp::parse_compound(&plain).flatten() {
                if let Rtcp::ReceiverReport { blocks, .. } = part {
                    let of_half = blocks.filter(|_| milli >= 4000);
                    fractions.extend(of_half.map(|it| it.fraction_lost));
                }
            }
        }
    }
    fractions
}

#[test]
fn sound_that_is_repaired_counts_as_lost_on_the_way_and_sound_that_was_overtaken_does_not() {
    let overtaken = reported_of_late_sound(25);
    assert!(
        overtaken.len() >= 3 && overtaken.iter().all(|it| *it == 0),
        "{overtaken:?}"
    );
    let repaired = reported_of_late_sound(125);
    let expected = (256 / 20 - 6)..=(256 / 20 + 6);
    assert!(
        repaired.len() >= 3 && repaired.iter().all(|it| expected.contains(&i32::from(*it))),
        "{repaired:?}"
    );
}

#[test]
fn the_publisher_gets_transport_wide_feedback() {
    let mut sim = Sim::with_peers(3, 2);
    sim.filter = Box::new(|hop, datagram, rng| {
        let media = datagram[0] >= 128 && !(192..224).contains(&datagram[1]);
        !(hop == Hop::Up(0) && media) || rng.below(4) != 0
    });
    call(&mut sim);
    let losses: Vec<f32> = sim.peers[0]
        .stats
        .iter()
        .filter_map(|it| it.egress_loss_fraction)
        .collect();
    let mean = losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(
        losses.len() >= 5 && (0.15..0.35).contains(&mean),
        "{losses:?}"
    );
}

#[test]
fn an_idle_call_wakes_the_router_seldom() {
    let mut sim = Sim::with_peers(4, 2);
    let mut wakes = 0;
    let end = sim.now + Duration::from_secs(10);
    while sim.now < end {
        wakes += u32::from(
            sim.router
                .next_timeout()
                .is_some_and(|at| at <= sim.now + parlour_sim::STEP),
        );
        sim.step();
    }
    assert!(
        (10..60).contains(&wakes),
        "{wakes} wakes in ten idle seconds of two transports"
    );
}

/// Packets come every 20 ms and are read late, by what a busy shard took for its last batch: what is told of the network
/// is when they came.
#[test]
fn how_late_a_packet_is_read_is_neither_jitter_nor_delay_of_the_network() {
    let mut sim = Sim::new(3);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    sim.command(Command::AddProducer(ProducerSpec {
        twcc_extension: Some(TWCC_EXTENSION),
        ..producer(publisher.transport, Kind::Audio)
    }));
    let start = sim.now;
    for number in 0..100u16 {
        sim.waited = Duration::from_millis(u64::from(number % 3) * 6);
        sim.now = start + Duration::from_millis(20) * u32::from(number) + sim.waited;
        let mut packet = vec![0; 20];
        rtp::write_header(
            &mut packet,
            false,
            PayloadType(AUDIO_PT),
            SeqNo(number),
            RtpTime(960 * u32::from(number)),
            Ssrc(1000),
            &[(TWCC_EXTENSION, &number.to_be_bytes())],
        );
        packet.extend(b"sound");
        publisher.send_rtp(&mut sim, &packet);
    }
    assert_eq!(sim.router.snapshot().producers[0].jitter, 0);
    sim.waited = Duration::ZERO;
    sim.sent = Some(Vec::new());
    sim.run(Duration::from_millis(200));
    let mut came = Vec::new();
    for datagram in publisher.answers(&mut sim) {
        let Some(packet) = publisher.open(&datagram) else {
            continue;
        };
        for part in rtcp::parse_compound(&packet) {
            if let Rtcp::Twcc(feedback) = part.unwrap() {
                came.extend(feedback.packets().filter_map(|(_, at)| at));
            }
        }
    }
    assert!(came.len() > 2, "{came:?}");
    // Times are told in quarters of a millisecond.
    let apart = came.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.into_iter().all(|us| us == 20_000), "{came:?}");
}

/// A sender report of this track at this NTP time, as the first part or the only one of a compound packet.
fn sender_report(ntp_seconds: u64, rtp_time: u32) -> Vec<u8> {
    let info = SenderInfo {
        ntp: ntp_seconds << 32,
        rtp_time: RtpTime(rtp_time),
        packets: 1,
        octets: 1,
    };
    let mut report = vec![0; 100];
    let len = rtcp::write_sender_report(&mut report, Ssrc(1000), &info, &[]);
    report.truncate(len);
    report
}

#[test]
fn a_report_from_before_a_restart_does_not_move_the_time_line_after_it() {
    let mut sim = Sim::new(3);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    let mut subscriber = RawPeer::connect(&mut sim, 2);
    let track = producer(publisher.transport, Kind::Audio);
    sim.command(Command::AddProducer(track.clone()));
    sim.command(Command::AddConsumer(consumer(
        subscriber.transport,
        &track,
        3000,
    )));
    let mut told = |sim: &mut Sim| {
        sim.sent = Some(Vec::new());
        sim.run(Duration::from_millis(1100));
        let mut told = None;
        for datagram in subscriber.answers(sim) {
            let Some(packet) = subscriber.open(&datagram).filter(|it| rtp::is_rtcp(it)) else {
                continue;
            };
            for part in rtcp::parse_compound(&packet) {
                if let Rtcp::SenderReport { info, .. } = part.unwrap() {
                    told = Some((info.ntp >> 32, info.rtp_time.0));
                }
            }
        }
        told
    };
    let packet = |seq, time| rtp_packet(AUDIO_PT, seq, time, 1000, b"sound");
    publisher.send_rtp(&mut sim, &packet(1, 48_000));
    publisher.send_rtcp(&mut sim, &sender_report(100, 48_000));
    let (ntp, first) = told(&mut sim).expect("a time line");
    assert!((100..103).contains(&ntp));
    // Another number space and another clock; then what was under way still, and only then its own report.
    publisher.send_rtp(&mut sim, &packet(20_000, 900_000_000));
    publisher.send_rtp(&mut sim, &packet(20_001, 900_000_960));
    publisher.send_rtcp(&mut sim, &sender_report(101, 96_000));
    assert_eq!(told(&mut sim), None, "a time line that has ended");
    publisher.send_rtcp(&mut sim, &sender_report(103, 900_050_000));
    let (ntp, second) = told(&mut sim).expect("a time line");
    assert!((103..106).contains(&ntp));
    let ticks = second.wrapping_sub(first);
    assert!(
        (48_000..48_000 * 6).contains(&ticks),
        "{ticks} ticks went by"
    );
}

/// The round trip to the only transport, in milliseconds.
fn round_trip(sim: &Sim) -> f64 {
    sim.router.snapshot().transports[0].rtt_ms.unwrap()
}

#[test]
fn the_round_trip_to_a_publisher_is_measured_before_it_is_needed() {
    let mut sim = Sim::with_peers(3, 2);
    sim.run(Duration::from_secs(1));
    assert!(
        (20.0..30.0).contains(&round_trip(&sim)),
        "{}",
        round_trip(&sim)
    );
    sim.delay = Duration::from_millis(60);
    sim.run(Duration::from_secs(90));
    // Some eighteen checks, each of which counts an eighth.
    assert!(
        (95.0..130.0).contains(&round_trip(&sim)),
        "{}",
        round_trip(&sim)
    );
}

#[test]
fn a_publisher_that_echoes_our_time_is_measured_each_second_and_one_that_lies_is_not() {
    let mut sim = Sim::new(3);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    sim.command(Command::AddProducer(producer(
        publisher.transport,
        Kind::Audio,
    )));
    let mut number = 0;
    let mut echo = |sim: &mut Sim, publisher: &mut RawPeer, lie: u32| {
        publisher.send_rtp(sim, &rtp_packet(AUDIO_PT, number, 0, 1000, b"sound"));
        number += 1;
        sim.sent = Some(Vec::new());
        sim.run(Duration::from_millis(1000));
        let mut ours = None;
        for datagram in publisher.answers(sim) {
            let Some(packet) = publisher.open(&datagram) else {
                continue;
            };
            // The time is the last block of the report that goes with it.
            if packet[1] == 201 {
                let at = packet.len() - 20;
                assert_eq!(&packet[at..at + 2], &[0x80, 207]);
                ours = Some((
                    packet[at + 4..at + 8].to_vec(),
                    packet[at + 14..at + 18].to_vec(),
                ));
            }
        }
        let (sender, middle) = ours.expect("a report each second");
        // It was sent at most a second ago, and the peer had it for all but 80 ms of that.
        sim.now += Duration::from_millis(80);
        let mut report = vec![0x80, 207, 0, 5, 0, 0, 0, 9, 5, 0, 0, 3];
        report.extend(&sender);
        report.extend(&middle);
        report.extend(lie.to_be_bytes());
        publisher.send_rtcp(sim, &report);
    };
    for _ in 0..20 {
        echo(&mut sim, &mut publisher, 0);
    }
    let honest = round_trip(&sim);
    assert!((70.0..1080.0).contains(&honest), "{honest}");
    for lie in [1 << 31, 3 * 65536, 2 * 65536] {
        echo(&mut sim, &mut publisher, lie);
    }
    assert_eq!(round_trip(&sim), honest, "answers from the future");
}
