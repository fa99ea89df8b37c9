//! Whatever a publisher and its subscribers do: no two packets are sealed under one index of a subscriber's key
//! (RFC 3711 §9.1). Each test keeps the exact set of indices and the packet of each.

use parlour_media::num::{Rng, SeqNo, Ssrc};
use parlour_media::rtcp;
use parlour_media::rtp::is_rtp_or_rtcp;
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, DropReason, Event, IngressLimit, Kind, PayloadType,
    ProducerId, ProducerSpec,
};
use parlour_sim::raw::{RawPeer, rtp_packet};
use parlour_sim::{Sim, VIDEO_PT, VIDEO_RTX_PT, vp8};
use std::time::Duration;

const IN: u32 = 1000;
const OUT: u32 = 3000;

/// A publisher of video with RTX, and subscribers of it: the first has RTX, the second has not.
struct Stage {
    sim: Sim,
    publisher: RawPeer,
    subscribers: Vec<RawPeer>,
}

impl Stage {
    fn new() -> Stage {
        // Time stands still in most of these tests: what they send would be more than anybody may.
        let mut sim = Sim::limited(
            1,
            IngressLimit {
                bits_per_second: u64::from(u32::MAX),
                burst: Duration::from_secs(60),
            },
        );
        let publisher = RawPeer::connect(&mut sim, 1);
        let subscribers = vec![RawPeer::connect(&mut sim, 2), RawPeer::connect(&mut sim, 3)];
        sim.command(Command::AddProducer(ProducerSpec {
            producer: ProducerId(1),
            transport: publisher.transport,
            kind: Kind::Video,
            codec: Codec::Vp8,
            mid: "0".into(),
            rid: String::new(),
            payload_type: PayloadType(VIDEO_PT),
            red_payload_type: None,
            rtx_payload_type: Some(PayloadType(VIDEO_RTX_PT)),
            ssrc: None,
            rtx_ssrc: None,
            mid_extension: None,
            rid_extension: None,
            repaired_rid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            level_extension: None,
            nack: true,
            pli: true,
            remb: false,
        }));
        let mut stage = Stage {
            sim,
            publisher,
            subscribers,
        };
        stage.consume(0, OUT);
        stage.consume(1, OUT);
        stage.check();
        stage
    }

    fn consume(&mut self, subscriber: usize, ssrc: u32) {
        let with_rtx = subscriber == 0;
        let spec = ConsumerSpec {
            consumer: ConsumerId(subscriber as u64),
            transport: self.subscribers[subscriber].transport,
            producers: vec![ProducerId(1)],
            source: 0,
            temporal: None,
            mid: "7".into(),
            payload_type: PayloadType(VIDEO_PT),
            red_payload_type: None,
            rtx_payload_type: with_rtx.then_some(PayloadType(VIDEO_RTX_PT)),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: with_rtx.then_some(Ssrc(ssrc + 1)),
            mid_extension: Some(4),
            twcc_extension: Some(3),
            dependency_descriptor_extension: None,
            pads: false,
            rank: 0,
            cname: "c".into(),
        };
        self.sim.sent.get_or_insert_with(Vec::new);
        self.sim.command(Command::AddConsumer(spec));
    }

    /// The publisher sends a packet.
    fn seal(&mut self, packet: &[u8]) {
        let sent = self.publisher.send_rtp(&mut self.sim, packet);
        self.sim.sent = Some(sent);
        self.check();
    }

    fn media(&mut self, ssrc: u32, seq: u64, payload: &[u8]) {
        let time = (seq as u32).wrapping_mul(3000);
        self.seal(&rtp_packet(VIDEO_PT, seq as u16, time, ssrc, payload));
    }

    /// A retransmission: its own number, and that of the packet it says it is (RFC 4588 §4).
    fn rtx(&mut self, seq: u64, original: u64, payload: &[u8]) {
        let body = [&(original as u16).to_be_bytes()[..], payload].concat();
        let time = (original as u32).wrapping_mul(3000);
        let packet = rtp_packet(VIDEO_RTX_PT, seq as u16, time, IN + 1, &body);
        self.seal(&packet);
    }

    /// A subscriber misses these packets of what it got.
    fn nack(&mut self, subscriber: usize, ssrc: u32, numbers: &[SeqNo]) {
        let mut buffer = [0; 1400];
        let len = rtcp::write_nack(&mut buffer, Ssrc(9), Ssrc(ssrc), numbers);
        let peer = &mut self.subscribers[subscriber];
        let answers = peer.send_rtcp(&mut self.sim, &buffer[..len]);
        for answer in answers.iter().filter(|answer| is_rtp_or_rtcp(answer)) {
            peer.ledger_mut().enter(answer);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.sim.sent = Some(Vec::new());
        self.sim.now += time;
        self.sim.run(Duration::from_millis(1));
        self.check();
    }

    /// Enters what the router has just sent.
    fn check(&mut self) {
        for (to, datagram) in self.sim.sent.replace(Vec::new()).unwrap_or_default() {
            let peer = self.subscribers.iter_mut().find(|peer| peer.address == to);
            if let Some(peer) = peer.filter(|_| is_rtp_or_rtcp(&datagram)) {
                peer.ledger_mut().enter(&datagram);
            }
        }
    }

    fn count(&self, subscriber: usize, ssrc: u32) -> usize {
        self.subscribers[subscriber].ledger().count(Ssrc(ssrc))
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.sim.router.snapshot().drops.get(reason)
    }
}

#[test]
fn retransmissions_far_behind_do_not_restart_the_numbers_so_no_index_is_sealed_twice() {
    let mut stage = Stage::new();
    for seq in [100, 101, 102, 3102] {
        stage.media(IN, seq, &vp8(true, true, &[seq as u8; 20]));
    }
    // Two in a row, far behind, look like a restart; then a number that was used, with another payload.
    for (seq, original) in [(1, 100), (2, 101), (3, 102), (4, 103)] {
        stage.rtx(seq, original, &vp8(true, true, &[0xee; 20]));
    }
    for seq in 3103..3110 {
        stage.media(IN, seq, &vp8(false, true, &[seq as u8; 20]));
    }
    for subscriber in [0, 1] {
        assert_eq!(stage.count(subscriber, OUT), 4 + 7);
    }
    assert_eq!(stage.drops(DropReason::RtxUseless), 4);
    assert_eq!(stage.drops(DropReason::IndexUsed), 0);
}

#[test]
fn an_honest_publisher_with_late_retransmissions_over_a_wrap_never_uses_an_index_twice() {
    let mut stage = Stage::new();
    let (first, count, mut rtx) = (60_000u64, 70_000u64, 1);
    for number in 0..count {
        let seq = first + number;
        stage.media(IN, seq, &vp8(number == 0, true, &number.to_be_bytes()));
        // The repairs of a network that held them for long: two in a row each time.
        if number % 9000 == 8999 {
            for back in [4001, 4000, 3999] {
                stage.rtx(rtx, seq - back, &vp8(false, true, b"repaired"));
                rtx += 1;
            }
        }
    }
    for subscriber in [0, 1] {
        assert_eq!(stage.count(subscriber, OUT), count as usize);
        let ledger = stage.subscribers[subscriber].ledger();
        let (newest, oldest) = ledger.span(Ssrc(OUT)).unwrap();
        assert_eq!((newest - oldest, oldest >> 16), (count - 1, 0));
        assert!(newest >> 16 >= 1, "our own numbers wrap");
    }
    assert_eq!(stage.drops(DropReason::IndexUsed), 0);
}

#[test]
fn a_retransmission_is_taken_inside_the_window_and_not_ahead_of_the_newest() {
    let mut stage = Stage::new();
    for seq in [100, 101, 104] {
        stage.media(IN, seq, &vp8(true, true, &[seq as u8; 20]));
    }
    stage.rtx(1, 105, &vp8(false, true, b"ahead"));
    stage.rtx(2, 103, &vp8(false, true, b"missing"));
    stage.rtx(3, 103, &vp8(false, true, b"again"));
    stage.rtx(4, 99, &vp8(false, true, b"before the beginning"));
    stage.media(IN, 105, &vp8(false, true, b"itself"));
    for subscriber in [0, 1] {
        assert_eq!(stage.count(subscriber, OUT), 5);
    }
    assert_eq!(stage.drops(DropReason::RtxUseless), 3);
}

#[test]
fn a_lost_packet_without_rtx_comes_again_bit_for_bit() {
    let mut stage = Stage::new();
    for seq in 100..140 {
        stage.media(IN, seq, &vp8(seq == 100, true, &[seq as u8; 20]));
    }
    let (newest, _) = stage.subscribers[1].ledger().span(Ssrc(OUT)).unwrap();
    let numbers: Vec<SeqNo> = (0..40).map(|back| SeqNo((newest - back) as u16)).collect();
    stage.nack(1, OUT, &numbers);
    assert_eq!(stage.subscribers[1].ledger().repeated, 40);
    assert_eq!(stage.count(1, OUT), 40);
    stage.nack(0, OUT, &numbers);
    assert_eq!(stage.subscribers[0].ledger().repeated, 0);
    assert_eq!(stage.drops(DropReason::IndexUsed), 0);
}

/// Everything at once: jumps and restarts under the same and under new SSRCs, goodbyes, padding, retransmissions of
/// any number with any payload, pauses, subscriptions that end and begin anew, losses on both sides.
#[test]
fn no_index_is_sealed_twice_whatever_publisher_and_subscribers_do() {
    let (mut sealed_in_all, mut resent) = (0, 0);
    for seed in 0..60 {
        let mut stage = Stage::new();
        let mut rng = Rng::new(seed);
        let (mut ssrc, mut seq, mut rtx) = (IN, 60_000 + rng.below(9000), 1);
        let mut out = [OUT, OUT];
        for step in 0..1500u64 {
            let payload = vp8(rng.below(6) == 0, true, &rng.next_u64().to_be_bytes());
            let subscriber = rng.below(2) as usize;
            match rng.below(200) {
                0 => seq += 2900 + rng.below(300),
                1 => seq += 20_000 + rng.below(20_000),
                2 => {
                    ssrc += 10 * (1 + rng.below(4) as u32);
                    seq = rng.below(0x1_0000);
                }
                3 => ssrc = IN + 10 * rng.below(5) as u32,
                4 => {
                    let mut bye = [0; 64];
                    let len = rtcp::write_bye(&mut bye, Ssrc(ssrc));
                    stage.publisher.send_rtcp(&mut stage.sim, &bye[..len]);
                }
                5 => stage.sim.command(Command::RemoveConsumer {
                    consumer: ConsumerId(subscriber as u64),
                }),
                6..9 => {
                    out[subscriber] += 2;
                    stage.sim.command(Command::RemoveConsumer {
                        consumer: ConsumerId(subscriber as u64),
                    });
                    stage.consume(subscriber, out[subscriber]);
                }
                9..13 => stage.sim.command(Command::SetConsumerPaused {
                    consumer: ConsumerId(subscriber as u64),
                    paused: rng.below(2) == 0,
                }),
                13..43 => {
                    let back = [8, 1100, 4000, 70_000][rng.below(4) as usize];
                    let first = seq.wrapping_sub(rng.below(back));
                    for number in 0..1 + rng.below(3) {
                        stage.rtx(rtx, first.wrapping_add(number), &payload);
                        rtx += 1 + rng.below(2);
                    }
                }
                43..58 => {
                    let Some((newest, _)) = stage.subscribers[subscriber]
                        .ledger()
                        .span(Ssrc(out[subscriber]))
                    else {
                        continue;
                    };
                    let wanted: Vec<SeqNo> = (0..10)
                        .map(|_| SeqNo((newest + 3).saturating_sub(rng.below(60)) as u16))
                        .collect();
                    stage.nack(subscriber, out[subscriber], &wanted);
                }
                58..66 => {
                    seq += 1;
                    let mut padding = rtp_packet(VIDEO_PT, seq as u16, 0, ssrc, &[0, 0, 0, 4]);
                    padding[0] |= 0x20;
                    stage.seal(&padding);
                }
                66..76 => stage.media(ssrc, seq.wrapping_sub(1 + rng.below(30)), &payload),
                76..80 => stage.wait(Duration::from_millis(rng.below(300))),
                _ => {
                    // Some are lost on the way.
                    seq += 1 + u64::from(rng.below(10) == 0);
                    stage.media(ssrc, seq, &payload);
                }
            }
            stage.sim.now += Duration::from_millis(step % 3);
        }
        for subscriber in [0, 1] {
            let ledger = stage.subscribers[subscriber].ledger();
            let sealed: usize = (OUT..=out[subscriber])
                .step_by(2)
                .map(|ssrc| ledger.count(Ssrc(ssrc)))
                .sum();
            sealed_in_all += sealed;
            resent += ledger.repeated;
        }
        // The guard is there for faults; a router without faults never meets it.
        assert_eq!(stage.drops(DropReason::IndexUsed), 0, "seed {seed}");
        let closed = stage
            .sim
            .events
            .iter()
            .any(|event| matches!(event, Event::TransportClosed { .. }));
        assert!(!closed, "seed {seed}: {:?}", stage.sim.events);
    }
    assert!(
        sealed_in_all > 20_000 && resent > 100,
        "{sealed_in_all} {resent}"
    );
}
