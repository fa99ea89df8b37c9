//! Transport-wide numbers on what a subscriber gets, and what the router makes of its feedback.

use parlour_media::num::{SeqNo, Ssrc};
use parlour_media::rtcp;
use parlour_media::rtp::{RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::twcc::TwccRecorder;
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, DropReason, Kind, PayloadType, ProducerId, ProducerSpec,
};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{Sim, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT};
use std::time::Duration;

const IN: u32 = 1000;
const WITH_RTX: u32 = 3000;
const PLAIN: u32 = 4000;
const UNNUMBERED: u32 = 5000;

/// A publisher and a subscriber of its picture.
struct Stage {
    sim: Sim,
    publisher: RawPeer,
    subscriber: RawPeer,
    next: u16,
}

/// What the subscriber got: SSRC, sequence number, transport-wide number.
type Got = (u32, u16, Option<u16>);

impl Stage {
    fn new(specs: impl Fn(&RawPeer, &ProducerSpec) -> Vec<ConsumerSpec>) -> Stage {
        let mut sim = Sim::new(1);
        let [publisher, subscriber] = [1, 2].map(|number| RawPeer::connect(&mut sim, number));
        let track = producer(publisher.transport, Kind::Video);
        sim.command(Command::AddProducer(track.clone()));
        for spec in specs(&subscriber, &track) {
            sim.command(Command::AddConsumer(spec));
        }
        Stage {
            sim,
            publisher,
            subscriber,
            next: 10,
        }
    }

    /// The picture goes on by one packet; a keyframe, so that everybody may begin with it.
    fn film(&mut self) -> Vec<Got> {
        let seq = self.next;
        self.next += 1;
        self.sim.now += Duration::from_millis(5);
        let packet = rtp_packet(
            VIDEO_PT,
            seq,
            u32::from(seq) * 3000,
            IN,
            &[0x10, 0, 0, 0, 0],
        );
        let sent = self.publisher.send_rtp(&mut self.sim, &packet);
        let ours = sent
            .into_iter()
            .filter(|(to, _)| *to == self.subscriber.address);
        let ours: Vec<_> = ours.map(|(_, datagram)| datagram).collect();
        self.read(&ours)
    }

    fn read(&mut self, datagrams: &[Vec<u8>]) -> Vec<Got> {
        let media = datagrams
            .iter()
            .filter(|it| is_rtp_or_rtcp(it) && !is_rtcp(it));
        let plain = media.filter_map(|it| self.subscriber.open(it));
        let got = plain.map(|plain| {
            let view = RtpView::parse(&plain).unwrap();
            let number = view.extension(TWCC_EXTENSION);
            let number = number.map(|it| u16::from_be_bytes([it[0], it[1]]));
            (view.ssrc().0, view.seq().0, number)
        });
        got.collect()
    }

    /// The subscriber misses a packet; what it gets then, as datagrams.
    fn miss(&mut self, ssrc: u32, seq: u16) -> Vec<Vec<u8>> {
        self.sim.now += Duration::from_millis(100);
        let mut buffer = [0; 100];
        let len = rtcp::write_nack(&mut buffer, Ssrc(9), Ssrc(ssrc), &[SeqNo(seq)]);
        self.subscriber.send_rtcp(&mut self.sim, &buffer[..len])
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.sim.router.snapshot().drops.get(reason)
    }

    fn bandwidth(&self) -> parlour_media::BandwidthStats {
        let transports = self.sim.router.snapshot().transports;
        let mut ours = transports
            .into_iter()
            .filter(|it| it.id == self.subscriber.transport);
        ours.next().and_then(|it| it.bandwidth).unwrap()
    }
}

fn with_rtx(subscriber: &RawPeer, track: &ProducerSpec) -> ConsumerSpec {
    ConsumerSpec {
        rtx_payload_type: Some(PayloadType(VIDEO_RTX_PT)),
        rtx_ssrc: Some(Ssrc(WITH_RTX + 1)),
        twcc_extension: Some(TWCC_EXTENSION),
        ..consumer(subscriber.transport, track, WITH_RTX)
    }
}

fn plain(subscriber: &RawPeer, track: &ProducerSpec) -> ConsumerSpec {
    ConsumerSpec {
        consumer: ConsumerId(2),
        twcc_extension: Some(TWCC_EXTENSION),
        ..consumer(subscriber.transport, track, PLAIN)
    }
}

#[test]
fn numbers_are_the_transports_and_go_on_over_streams_and_retransmissions() {
    let mut stage = Stage::new(|peer, track| vec![with_rtx(peer, track), plain(peer, track)]);
    let mut numbers = Vec::new();
    let mut first = None;
    for _ in 0..5 {
        for (ssrc, seq, number) in stage.film() {
            if ssrc == WITH_RTX {
                first.get_or_insert(seq);
            }
            numbers.push(number.unwrap());
        }
    }
    let missed = stage.miss(WITH_RTX, first.unwrap());
    let again = stage.read(&missed);
    assert!(
        matches!(again[..], [(ssrc, _, Some(_))] if ssrc == WITH_RTX + 1),
        "{again:?}"
    );
    numbers.extend(again.iter().filter_map(|it| it.2));
    numbers.extend(stage.film().iter().filter_map(|it| it.2));
    assert_eq!(numbers, (0..numbers.len() as u16).collect::<Vec<_>>());
    assert_eq!(numbers.len(), 13);
}

/// Another number would be another packet under the same SRTP index: who holds both reads the difference.
#[test]
fn what_is_sent_again_under_its_index_has_the_number_it_had() {
    let mut stage = Stage::new(|peer, track| vec![with_rtx(peer, track), plain(peer, track)]);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.extend(stage.film().into_iter().filter(|it| it.0 == PLAIN));
    }
    for (ssrc, seq, _) in sent {
        for _ in 0..2 {
            let again = stage.miss(ssrc, seq);
            assert_eq!(again.len(), 1);
            // The ledger of the subscriber knows it bit for bit, or it would panic, and says nothing new.
            assert_eq!(stage.read(&again), []);
        }
    }
    assert_eq!(stage.dropped(DropReason::IndexUsed), 0);
    // No number was used up by that.
    let next: Vec<_> = stage.film().iter().filter_map(|it| it.2).collect();
    assert_eq!(next, [10, 11]);
}

#[test]
fn who_does_not_report_on_numbers_gets_none() {
    let mut stage = Stage::new(|peer, track| vec![consumer(peer.transport, track, UNNUMBERED)]);
    for _ in 0..3 {
        assert!(matches!(stage.film()[..], [(UNNUMBERED, _, None)]));
    }
}

#[test]
fn an_extension_that_is_the_mids_or_cannot_be_written_is_refused() {
    let mut stage = Stage::new(|_, _| Vec::new());
    let track = producer(stage.publisher.transport, Kind::Video);
    for twcc_extension in [Some(0), Some(15), Some(4)] {
        let spec = ConsumerSpec {
            mid_extension: Some(4),
            twcc_extension,
            ..consumer(stage.subscriber.transport, &track, 7000)
        };
        stage.sim.command(Command::AddConsumer(spec));
    }
    let refused = stage.sim.events.iter();
    let refused = refused.filter(|it| matches!(it, parlour_media::Event::CommandRefused { .. }));
    assert_eq!(refused.count(), 3);
    assert_eq!(track.producer, ProducerId(1));
}

#[test]
fn feedback_reaches_the_snapshot() {
    let mut stage = Stage::new(|peer, track| vec![with_rtx(peer, track)]);
    let mut recorder = TwccRecorder::new();
    let mut buffer = [0; 1200];
    for _ in 0..50 {
        for _ in 0..10 {
            for number in stage.film().iter().filter_map(|it| it.2) {
                recorder.on_packet(number, stage.sim.now - stage.sim.started);
            }
        }
        let len = recorder
            .build(&mut buffer, Ssrc(9), Ssrc(WITH_RTX))
            .unwrap();
        stage.sim.now += Duration::from_millis(30);
        stage.subscriber.send_rtcp(&mut stage.sim, &buffer[..len]);
    }
    let seen = stage.bandwidth();
    // 10 packets of some 50 bytes in 80 ms.
    let acknowledged = seen.acknowledged.unwrap();
    assert!((40_000..60_000).contains(&acknowledged), "{seen:?}");
    assert!((29.0..80.0).contains(&seen.rtt_ms.unwrap()), "{seen:?}");
    assert_eq!((seen.loss, seen.estimate), (0.0, 600_000));
    let json = stage.sim.router.snapshot().to_json();
    assert!(
        json.contains("\"bandwidth\":{\"estimate\":600000,\"acknowledged\":"),
        "{json}"
    );
    assert!(
        json.contains("\"bandwidth\":null"),
        "the publisher is sent nothing: {json}"
    );
}

/// Sixteen bytes that claim 65,535 packets, of which nothing was ever sent (attack 20).
fn claim(received: bool) -> Vec<u8> {
    let mut part = vec![0x8f, 205, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9];
    part.extend([0x40, 0, 0xff, 0xff, 0, 0, 0, 0]);
    let mut told = 0xffff_u16;
    let mut deltas = 0;
    while told > 0 {
        let run = told.min(0x1fff);
        let symbol = u16::from(received && deltas < 400) << 13;
        let run = if symbol > 0 { run.min(400) } else { run };
        deltas += if symbol > 0 { usize::from(run) } else { 0 };
        part.extend((symbol | run).to_be_bytes());
        told -= run;
    }
    part.resize(part.len() + deltas, 1);
    part.resize(part.len().next_multiple_of(4), 0);
    let words = (part.len() / 4 - 1) as u16;
    part[2..4].copy_from_slice(&words.to_be_bytes());
    part
}

#[test]
fn feedback_that_claims_what_was_never_sent_is_counted_within_a_budget_and_changes_nothing() {
    let mut stage = Stage::new(|peer, track| vec![with_rtx(peer, track)]);
    stage.film();
    let before = stage.bandwidth();
    stage.subscriber.send_rtcp(&mut stage.sim, &claim(true));
    let told = stage.dropped(DropReason::FeedbackNeverSent);
    let rest = stage.dropped(DropReason::FeedbackForgotten);
    // Half of all numbers lie ahead of any, and a few behind it are those of what was sent.
    assert!(told + rest >= 65_000, "{told} and {rest}");
    // As often as it likes: from then on nothing is looked at.
    let storm = claim(false).repeat(20);
    for _ in 0..20 {
        stage.subscriber.send_rtcp(&mut stage.sim, &storm);
    }
    assert!(stage.dropped(DropReason::RtcpOverBudget) >= 19);
    let looked = stage.dropped(DropReason::FeedbackNeverSent);
    assert!(looked + stage.dropped(DropReason::FeedbackForgotten) < 2 * 65_536);
    assert_eq!(stage.bandwidth().estimate, before.estimate);
    assert_eq!(stage.bandwidth().acknowledged, None);
}

#[test]
fn an_estimate_of_two_to_the_sixty_three_is_not_believed_and_one_that_is_is_taken() {
    let mut stage = Stage::new(|peer, track| vec![consumer(peer.transport, track, UNNUMBERED)]);
    let mut say = |bits| {
        for _ in 0..100 {
            stage.film();
        }
        let mut buffer = [0; 100];
        let len = rtcp::write_remb(&mut buffer, Ssrc(9), bits, &[Ssrc(UNNUMBERED)]);
        stage.subscriber.send_rtcp(&mut stage.sim, &buffer[..len]);
        stage.bandwidth().estimate
    };
    assert_eq!(say(1 << 63), 600_000, "no more than was tried");
    assert_eq!(say(u64::MAX), 600_000);
    assert_eq!(say(123_904), 123_904);
    assert_eq!(say(0), 30_000);
}
