//! What a peer with valid keys may do, and what must not come of it.

use parlour_media::num::{Rng, SeqNo, Ssrc};
use parlour_media::rtcp::{self, Rtcp};
use parlour_media::rtp::{RtpHeader, RtpView};
use parlour_media::{Command, ConsumerSpec, DropReason, Event, Kind, PayloadType};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Sim, VIDEO_PT, vp8};
use std::time::Duration;

/// A publisher and a subscriber that say what the test wants, with one video track between them.
struct Pair {
    sim: Sim,
    publisher: RawPeer,
    subscriber: RawPeer,
}

const IN: u32 = 1000;
const OUT: u32 = 3000;

impl Pair {
    fn new(with_rtx: bool) -> Pair {
        let mut sim = Sim::new(1);
        let publisher = RawPeer::connect(&mut sim, 1);
        let subscriber = RawPeer::connect(&mut sim, 2);
        let track = producer(publisher.transport, Kind::Video);
        sim.command(Command::AddProducer(track.clone()));
        sim.command(Command::AddConsumer(ConsumerSpec {
            rtx_payload_type: with_rtx.then_some(PayloadType(97)),
            rtx_ssrc: with_rtx.then_some(Ssrc(OUT + 1)),
            ..consumer(subscriber.transport, &track, OUT)
        }));
        Pair {
            sim,
            publisher,
            subscriber,
        }
    }

    /// Publishes; returns what the subscriber got, opened.
    fn publish(&mut self, plain: &[u8]) -> Vec<Vec<u8>> {
        let subscriber = self.subscriber.address;
        let sent = self.publisher.send_rtp(&mut self.sim, plain);
        let ours = sent.into_iter().filter(|(to, _)| *to == subscriber);
        ours.filter_map(|(_, datagram)| self.subscriber.open(&datagram))
            .collect()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.sim.router.snapshot().drops.get(reason)
    }
}

fn seq_of(packet: &[u8]) -> u16 {
    RtpView::parse(packet).unwrap().seq().0
}

#[test]
fn padding_is_not_forwarded_and_leaves_no_gap() {
    let mut pair = Pair::new(true);
    let first = pair.publish(&rtp_packet(VIDEO_PT, 10, 0, IN, &vp8(true, true, b"a")));
    let first = seq_of(&first[0]);
    let mut padding = rtp_packet(VIDEO_PT, 11, 0, IN, &[0, 0, 0, 4]);
    padding[0] |= 0x20;
    assert!(pair.publish(&padding).is_empty());
    // Padding behind a payload is taken off.
    let mut padded = rtp_packet(
        VIDEO_PT,
        12,
        0,
        IN,
        &[&vp8(false, false, b"b")[..], &[0, 0, 3]].concat(),
    );
    padded[0] |= 0x20;
    let second = pair.publish(&padded);
    assert_eq!(seq_of(&second[0]), first.wrapping_add(1));
    assert_eq!(
        RtpView::parse(&second[0]).unwrap().payload(),
        vp8(false, false, b"b")
    );
    assert_eq!(pair.drops(DropReason::PaddingOnly), 1);
}

/// CVE-2025-49140 was a packet whose padding is longer than the packet.
#[test]
fn v17_2_4_padding_that_lies_is_dropped() {
    let mut pair = Pair::new(true);
    pair.publish(&rtp_packet(VIDEO_PT, 10, 0, IN, &vp8(true, true, b"a")));
    for (seq, last) in [(11, 0u8), (12, 200), (13, 255)] {
        let mut lying = rtp_packet(VIDEO_PT, seq, 0, IN, &[1, 2, last]);
        lying[0] |= 0x20;
        assert!(pair.publish(&lying).is_empty());
    }
    let mut empty = rtp_packet(VIDEO_PT, 14, 0, IN, &[]);
    empty[0] |= 0x20;
    assert!(pair.publish(&empty).is_empty());
    assert_eq!(pair.drops(DropReason::RtpMalformed), 4);
    assert_eq!(
        pair.publish(&rtp_packet(VIDEO_PT, 15, 0, IN, &vp8(false, true, b"z")))
            .len(),
        1
    );
}

#[test]
fn sources_that_were_not_negotiated_are_dropped_and_bounded() {
    let mut pair = Pair::new(true);
    for ssrc in 0..10_000 {
        assert!(
            pair.publish(&rtp_packet(AUDIO_PT, 1, 0, 50_000 + ssrc, b"x"))
                .is_empty()
        );
    }
    assert!(pair.drops(DropReason::UnknownStream) > 0);
    assert!(pair.drops(DropReason::TooManySources) > 9_000);
    let started = pair
        .sim
        .events
        .iter()
        .any(|event| matches!(event, Event::ProducerStarted { .. }));
    assert!(!started);
    // The negotiated payload type, but of the other track's kind, under the track's own SSRC.
    assert!(
        pair.publish(&rtp_packet(AUDIO_PT, 1, 0, IN, b"x"))
            .is_empty()
    );
}

fn nack(numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    let numbers: Vec<SeqNo> = numbers.map(SeqNo).collect();
    let mut buffer = vec![0; 1400];
    let len = rtcp::write_nack(&mut buffer, Ssrc(9), Ssrc(OUT), &numbers);
    buffer.truncate(len);
    buffer
}

#[test]
fn a_storm_of_nacks_is_answered_within_a_budget() {
    for with_rtx in [true, false] {
        let mut pair = Pair::new(with_rtx);
        let mut first = None;
        for number in 0..300u16 {
            let payload = vp8(number == 0, true, &[number as u8; 1000]);
            let got = pair.publish(&rtp_packet(
                VIDEO_PT,
                number,
                u32::from(number) * 3000,
                IN,
                &payload,
            ));
            first.get_or_insert(seq_of(&got[0]));
        }
        let first = first.unwrap();
        let mut bytes = 0;
        for _ in 0..1000 {
            pair.sim.now += Duration::from_millis(1);
            let all = nack((0..300).map(|number| first.wrapping_add(number)));
            let answers = pair.subscriber.send_rtcp(&mut pair.sim, &all);
            bytes += answers.iter().map(Vec::len).sum::<usize>();
        }
        assert!(
            (1000..200_000).contains(&bytes),
            "{bytes} bytes for a second of NACKs"
        );
        assert!(
            pair.drops(DropReason::NackTooSoon) > 0 && pair.drops(DropReason::NackOverBudget) > 0
        );
    }
}

#[test]
fn a_repair_carries_the_number_and_payload_of_the_lost_packet() {
    let mut pair = Pair::new(true);
    let got = pair.publish(&rtp_packet(
        VIDEO_PT,
        65_535,
        77,
        IN,
        &vp8(true, true, b"first"),
    ));
    let lost = RtpView::parse(&got[0]).unwrap();
    let answers = pair
        .subscriber
        .send_rtcp(&mut pair.sim, &nack([lost.seq().0].into_iter()));
    let repair = pair.subscriber.open(&answers[0]).unwrap();
    let repair = RtpView::parse(&repair).unwrap();
    assert_eq!(
        (repair.ssrc(), repair.payload_type()),
        (Ssrc(OUT + 1), PayloadType(97))
    );
    assert_eq!(repair.timestamp(), lost.timestamp());
    assert_eq!(
        repair.payload(),
        [&lost.seq().0.to_be_bytes()[..], lost.payload()].concat()
    );
    // Of somebody else's stream, and of numbers never sent: nothing.
    let mut other = nack([lost.seq().0].into_iter());
    other[8..12].copy_from_slice(&IN.to_be_bytes());
    assert!(pair.subscriber.send_rtcp(&mut pair.sim, &other).is_empty());
    let ahead = nack((1..100).map(|number| lost.seq().0.wrapping_add(number)));
    assert!(pair.subscriber.send_rtcp(&mut pair.sim, &ahead).is_empty());
}

#[test]
fn authentic_rtcp_of_any_content_never_panics() {
    let mut pair = Pair::new(true);
    pair.publish(&rtp_packet(VIDEO_PT, 1, 0, IN, &vp8(true, true, b"a")));
    let mut rng = Rng::new(5);
    for _ in 0..20_000 {
        let mut plain = vec![0; 8 + 4 * rng.below(40) as usize];
        plain
            .iter_mut()
            .for_each(|byte| *byte = rng.next_u32() as u8);
        plain[0] = 0x80 | (rng.next_u32() as u8 & 0x3f);
        plain[1] = 200 + rng.below(8) as u8;
        plain[2] = 0;
        plain[3] = rng.below(plain.len() as u64 / 4) as u8;
        plain[4..8].copy_from_slice(&OUT.to_be_bytes());
        if rng.below(2) == 0 {
            pair.subscriber.send_rtcp(&mut pair.sim, &plain);
        } else {
            pair.publisher.send_rtcp(&mut pair.sim, &plain);
        }
    }
    let panicked = pair
        .sim
        .events
        .iter()
        .any(|event| matches!(event, Event::TransportClosed { .. }));
    assert!(!panicked, "{:?}", pair.sim.events);
}

#[test]
fn v17_2_4_authentic_rtp_of_any_content_never_panics() {
    let mut pair = Pair::new(true);
    let mut rng = Rng::new(6);
    let authentic = |pair: &Pair| {
        let transports = pair.sim.router.snapshot().transports;
        let mut transports = transports.iter();
        let publisher = transports.find(|it| it.id == pair.publisher.transport);
        publisher.expect("it is there").traffic.packets_in
    };
    let before = authentic(&pair);
    let (mut number, mut sent, mut lying, mut forwarded) = (0u32, 0, 0, 0);
    for _ in 0..20_000 {
        // Lost packets, and far jumps ahead: the rollover counter goes on with them.
        number += match rng.below(200) {
            0 => 1 + rng.below(10_000) as u32,
            1..10 => 2,
            _ => 1,
        };
        let keyframe = rng.below(100) == 0;
        let mut plain = rtp_packet(VIDEO_PT, number as u16, rng.next_u32(), IN, &[]);
        if keyframe {
            plain.extend(vp8(true, true, b"k"));
        } else {
            let len = rng.below(60) as usize;
            plain.extend((0..len).map(|_| rng.next_u32() as u8));
            // Padding, extensions, contributing sources: whatever can be sealed is fair.
            plain[0] = 0x80 | (rng.next_u32() as u8 & 0x3f);
        }
        if RtpHeader::parse(&plain).is_err() {
            continue;
        }
        pair.sim.now += Duration::from_millis(1);
        sent += 1;
        lying += u64::from(RtpView::parse(&plain).is_err());
        forwarded += pair.publish(&plain).len();
    }
    let closed = pair
        .sim
        .events
        .iter()
        .any(|event| matches!(event, Event::TransportClosed { .. }));
    assert!(!closed, "{:?}", pair.sim.events);
    // All of it was authentic and came to the parser, which refused what lies about its padding; much of it went on.
    assert_eq!(authentic(&pair) - before, sent);
    let drops = pair.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::BadTag), 0, "{drops:?}");
    assert_eq!(drops.get(DropReason::RtpMalformed), lying);
    assert!(
        sent > 5000 && lying > 1000 && forwarded > 1000,
        "{sent} {lying} {forwarded}"
    );
}

#[test]
fn a_peer_that_wants_to_be_controlled_is_told_of_the_conflict() {
    let mut sim = Sim::new(9);
    let mut peer = RawPeer::connect(&mut sim, 1);
    let answers = peer.check(&mut sim, false, true);
    let error = parlour_media::stun::StunMessage::parse(&answers[0]).unwrap();
    assert!(error.is_binding_error());
    assert_eq!(error.error_code(), Some(487));
}

#[test]
fn a_goodbye_of_the_publisher_ends_the_asking_for_what_is_missing() {
    let mut pair = Pair::new(true);
    pair.publish(&rtp_packet(VIDEO_PT, 1, 0, IN, &vp8(true, true, b"a")));
    pair.publish(&rtp_packet(VIDEO_PT, 5, 0, IN, &vp8(false, true, b"b")));
    let nacks = |pair: &mut Pair| {
        pair.sim.sent = Some(Vec::new());
        pair.sim.run(Duration::from_millis(200));
        let answers = pair.publisher.answers(&mut pair.sim);
        let opened: Vec<_> = answers
            .iter()
            .filter_map(|datagram| pair.publisher.open(datagram))
            .collect();
        let parts = opened
            .iter()
            .flat_map(|packet| rtcp::parse_compound(packet));
        parts
            .filter(|part| matches!(part, Ok(Rtcp::Nack { .. })))
            .count()
    };
    assert!(nacks(&mut pair) > 0);
    let mut bye = [0; 64];
    let len = rtcp::write_bye(&mut bye, Ssrc(IN));
    pair.publisher.send_rtcp(&mut pair.sim, &bye[..len]);
    assert_eq!(nacks(&mut pair), 0);
}

/// A publisher that leaves out every other packet and answers no request.
#[test]
fn who_leaves_holes_without_end_is_asked_for_a_bounded_number_of_packets_a_second() {
    let mut pair = Pair::new(false);
    let mut asked = 0;
    pair.sim.sent = Some(Vec::new());
    const SECONDS: u32 = 4;
    for milli in 0..1000 * SECONDS {
        for half in 0..2 {
            let number = (4 * milli + 2 * half) as u16;
            let packet = rtp_packet(VIDEO_PT, number, 90 * milli, IN, &vp8(false, true, b"film"));
            pair.publisher.send_rtp(&mut pair.sim, &packet);
        }
        pair.sim.sent = Some(Vec::new());
        pair.sim.run(Duration::from_millis(1));
        for datagram in pair.publisher.answers(&mut pair.sim) {
            let Some(packet) = pair.publisher.open(&datagram) else {
                continue;
            };
            for part in rtcp::parse_compound(&packet) {
                if let Rtcp::Nack { lost, .. } = part.unwrap() {
                    asked += lost.count();
                }
            }
        }
    }
    let most = 512 * (1 + SECONDS as usize);
    assert!((512..=most).contains(&asked), "{asked} were asked for");
}

/// Sound has no RTX: what was lost of it comes again under its own number, bit for bit, while it is of use.
#[test]
fn lost_sound_comes_again_as_it_was() {
    let mut sim = Sim::new(1);
    let mut publisher = RawPeer::connect(&mut sim, 1);
    let mut subscriber = RawPeer::connect(&mut sim, 2);
    let track = producer(publisher.transport, Kind::Audio);
    sim.command(Command::AddProducer(track.clone()));
    let taken = consumer(subscriber.transport, &track, OUT);
    sim.command(Command::AddConsumer(taken));
    let mut sent = Vec::new();
    for number in 0..100u16 {
        let packet = rtp_packet(
            AUDIO_PT,
            number,
            960 * u32::from(number),
            IN,
            &[number as u8; 60],
        );
        let out = publisher.send_rtp(&mut sim, &packet);
        let [(_, datagram)] = &out[..] else {
            panic!("{} datagrams", out.len());
        };
        let plain = subscriber.open(datagram).unwrap();
        sent.push((seq_of(&plain), datagram.clone()));
        sim.now += Duration::from_millis(20);
    }
    for (seq, datagram) in &sent[90..] {
        let answers = subscriber.send_rtcp(&mut sim, &nack([*seq].into_iter()));
        assert_eq!(answers, std::slice::from_ref(datagram));
        let too_soon = subscriber.send_rtcp(&mut sim, &nack([*seq].into_iter()));
        assert!(too_soon.is_empty());
    }
    let (oldest, _) = sent[0];
    let answers = subscriber.send_rtcp(&mut sim, &nack([oldest].into_iter()));
    assert!(answers.is_empty(), "two seconds later nobody plays it");
}
