//! One picture in several sizes: which of them a subscriber gets, and that it sees one unbroken stream.

use parlour_media::num::SeqNo;
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::rtp::{self, RtpView};
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, DropReason, Event, Kind, ProducerId, ProducerSpec, Ssrc,
};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{Sim, VIDEO_PT, vp8};
use std::time::Duration;

const BIG: u32 = 1000;
const SMALL: u32 = 1010;
const FORWARDED: u32 = 3000;

/// What a subscriber got of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    seq: u16,
    time: u32,
    payload: Vec<u8>,
}

/// A publisher with a big and a small picture, and a subscriber.
struct Stage {
    sim: Sim,
    publisher: RawPeer,
    subscriber: RawPeer,
    seqs: [u16; 2],
    got: Vec<Got>,
    /// Keyframe requests, by SSRC.
    asked: Vec<u32>,
}

impl Stage {
    fn new(specs: [ProducerSpec; 2], wanted: usize) -> Stage {
        let mut sim = Sim::with_peers(1, 0);
        let publisher = RawPeer::connect(&mut sim, 1);
        let subscriber = RawPeer::connect(&mut sim, 2);
        let spec = ConsumerSpec {
            producers: specs.iter().map(|it| it.producer).collect(),
            source: wanted,
            ..consumer(subscriber.transport, &specs[0], FORWARDED)
        };
        for spec in specs {
            sim.command(Command::AddProducer(ProducerSpec {
                transport: publisher.transport,
                ..spec
            }));
        }
        sim.command(Command::AddConsumer(spec));
        let seqs = [5000, 60_000];
        let (got, asked) = (Vec::new(), Vec::new());
        let mut stage = Stage {
            sim,
            publisher,
            subscriber,
            seqs,
            got,
            asked,
        };
        stage.wait(0);
        stage
    }

    fn both(wanted: usize) -> Stage {
        let [big, small] = [(1, BIG), (2, SMALL)].map(|(id, ssrc)| ProducerSpec {
            producer: ProducerId(id),
            mid: ssrc.to_string(),
            ssrc: Some(Ssrc(ssrc)),
            ..producer(parlour_media::TransportId(1), Kind::Video)
        });
        Stage::new([big, small], wanted)
    }

    fn wait(&mut self, ms: u64) {
        self.sim.sent = Some(Vec::new());
        self.sim.run(Duration::from_millis(ms));
        let sent = self.sim.sent.take().unwrap_or_default();
        self.take(sent);
    }

    fn want(&mut self, source: usize) {
        let consumer = ConsumerId(1);
        self.sim.sent = Some(Vec::new());
        self.sim.command(Command::SetConsumerSource {
            consumer,
            source,
            temporal: None,
        });
        let sent = self.sim.sent.take().unwrap_or_default();
        self.take(sent);
    }

    fn take(&mut self, sent: Vec<(std::net::SocketAddr, Vec<u8>)>) {
        for (to, datagram) in sent {
            if to == self.publisher.address {
                let Some(plain) = self.publisher.open(&datagram) else {
                    continue;
                };
                for part in parse_compound(&plain).flatten() {
                    if let Rtcp::Pli { media, .. } = part {
                        self.asked.push(media.0);
                    }
                }
            } else if let Some(plain) = self.subscriber.open(&datagram)
                && !rtp::is_rtcp(&plain)
            {
                let view = RtpView::parse(&plain).expect("RTP");
                self.got.push(Got {
                    seq: view.seq().0,
                    time: view.timestamp().0,
                    payload: view.payload().to_vec(),
                });
            }
        }
    }

    /// One packet that is a whole frame; what came of it.
    fn frame(&mut self, source: usize, keyframe: bool, name: u8) -> Option<u8> {
        let payload = vp8(keyframe, true, &[name]);
        self.part(source, true, &payload)
    }

    fn part(&mut self, source: usize, marker: bool, payload: &[u8]) -> Option<u8> {
        let ssrc = [BIG, SMALL][source];
        let time = [7_000_u32, 4_000_000_000][source].wrapping_add(self.ms() * 90);
        let mut packet = rtp_packet(VIDEO_PT, self.seqs[source], time, ssrc, payload);
        packet[1] &= 0x7f | u8::from(marker) << 7;
        self.seqs[source] = self.seqs[source].wrapping_add(1);
        let before = self.got.len();
        let sent = self.publisher.send_rtp(&mut self.sim, &packet);
        self.take(sent);
        self.wait(0);
        self.got.get(before)?.payload.get(2).copied()
    }

    fn ms(&self) -> u32 {
        (self.sim.now - self.sim.started).as_millis() as u32
    }

    /// Frames of both for so long.
    fn run(&mut self, frames: u32) {
        for _ in 0..frames {
            self.wait(33);
            self.frame(0, false, b'.');
            self.frame(1, false, b',');
        }
    }

    /// Numbers without a gap, and time that goes on.
    fn assert_unbroken(&self) {
        for pair in self.got.windows(2) {
            assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{pair:?}");
            let later = pair[1].time.wrapping_sub(pair[0].time);
            assert!((0..0x8000_0000).contains(&later), "{pair:?}");
        }
    }
}

#[test]
fn a_subscriber_stays_with_what_it_has_until_a_keyframe_of_the_other_begins() {
    let mut stage = Stage::both(0);
    assert_eq!(stage.frame(0, true, b'B'), Some(b'B'));
    assert_eq!(stage.frame(1, true, b'S'), None);
    stage.run(20);
    stage.asked.clear();
    stage.want(1);
    stage.wait(600);
    assert_eq!(stage.asked.first(), Some(&SMALL), "the other is asked");
    assert_eq!(stage.frame(0, false, b'b'), Some(b'b'));
    assert_eq!(stage.frame(1, false, b's'), None);
    assert_eq!(stage.frame(1, true, b'K'), Some(b'K'));
    assert_eq!(stage.frame(0, false, b'b'), None);
    assert_eq!(stage.frame(1, false, b's'), Some(b's'));
    stage.run(20);
    stage.want(0);
    assert_eq!(stage.frame(0, true, b'B'), Some(b'B'));
    stage.assert_unbroken();
}

#[test]
fn a_frame_that_is_under_way_is_not_cut_in_two() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    stage.want(1);
    assert_eq!(stage.part(0, false, &vp8(false, true, b"1")), Some(b'1'));
    assert_eq!(stage.frame(1, true, b'S'), None);
    assert_eq!(stage.frame(1, false, b's'), None);
    let before = stage.got.len();
    stage.part(0, true, &vp8(false, false, b"2"));
    let names: Vec<u8> = stage.got[before..].iter().map(|it| it.payload[2]).collect();
    assert_eq!(names, b"2Ss");
    stage.assert_unbroken();
    // Its end may never come.
    stage.want(0);
    assert_eq!(stage.part(1, false, &vp8(false, true, b"1")), Some(b'1'));
    assert_eq!(stage.frame(0, true, b'B'), None);
    stage.wait(120);
    stage.frame(0, false, b'b');
    let last = stage.got.last().map(|it| it.payload[2]);
    assert_eq!(last, Some(b'b'));
    stage.assert_unbroken();
}

#[test]
fn the_other_one_comes_while_one_is_missing_and_the_wanted_one_when_it_is_there_again() {
    let mut stage = Stage::both(1);
    // The small one has not begun.
    for _ in 0..20 {
        stage.wait(33);
        stage.frame(0, true, b'B');
    }
    assert_eq!(stage.got.last().map(|it| it.payload[2]), Some(b'B'));
    stage.frame(1, true, b'S');
    stage.wait(300);
    assert_eq!(stage.frame(1, true, b'S'), Some(b'S'));
    // It ends without a word.
    for _ in 0..40 {
        stage.wait(33);
        stage.frame(0, true, b'B');
    }
    assert_eq!(stage.frame(0, false, b'b'), Some(b'b'));
    stage.assert_unbroken();
}

#[test]
fn a_producer_that_ends_leaves_the_subscriber_to_another_and_the_last_one_ends_it() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    let remove = |id| Command::RemoveProducer {
        producer: ProducerId(id),
    };
    stage.sim.command(remove(1));
    assert_eq!(stage.frame(1, false, b's'), None);
    assert_eq!(stage.frame(1, true, b'S'), Some(b'S'));
    stage.assert_unbroken();
    stage.want(0);
    assert_eq!(stage.frame(1, false, b's'), Some(b's'));
    stage.sim.command(remove(2));
    let snapshot = stage.sim.router.snapshot();
    assert!(snapshot.consumers.is_empty() && snapshot.producers.is_empty());
}

#[test]
fn ten_thousand_switches_a_second_ask_for_few_keyframes_and_break_nothing() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    stage.asked.clear();
    let mut count = 0;
    for round in 0..100 {
        for _ in 0..100 {
            count += 1;
            stage.want(count % 2);
        }
        stage.wait(10);
        let is_keyframe = round % 10 == 9;
        stage.frame(0, is_keyframe, b'b');
        stage.frame(1, is_keyframe, b's');
    }
    assert!(stage.asked.len() <= 8, "{:?}", stage.asked);
    assert!(
        stage.got.len() >= 100,
        "a picture goes on: {}",
        stage.got.len()
    );
    stage.assert_unbroken();
    let snapshot = stage.sim.router.snapshot();
    let listed: Vec<usize> = snapshot.producers.iter().map(|it| it.consumers).collect();
    assert!(listed.iter().all(|it| *it <= 1), "{listed:?}");
}

#[test]
fn encodings_that_share_a_mid_are_told_apart_by_their_rid_for_good() {
    const MID: u8 = 4;
    const RID: u8 = 10;
    const REPAIRED: u8 = 11;
    const RTX: u8 = 97;
    let [high, low] = [(1, "h"), (2, "l")].map(|(id, rid)| ProducerSpec {
        producer: ProducerId(id),
        mid: "0".into(),
        rid: rid.into(),
        ssrc: None,
        mid_extension: Some(MID),
        rid_extension: Some(RID),
        repaired_rid_extension: Some(REPAIRED),
        rtx_payload_type: Some(parlour_media::PayloadType(RTX)),
        ..producer(parlour_media::TransportId(1), Kind::Video)
    });
    let mut stage = Stage::new([high, low], 0);
    let packet = |pt: u8, ssrc: u32, seq: u16, extensions: &[(u8, &[u8])], body: &[u8]| {
        let mut packet = vec![0; 64];
        let (pt, seq) = (parlour_media::PayloadType(pt), SeqNo(seq));
        let time = parlour_media::num::RtpTime(1);
        let len = rtp::write_header(&mut packet, true, pt, seq, time, Ssrc(ssrc), extensions);
        packet.truncate(len);
        [&packet, body].concat()
    };
    let keyframe = vp8(true, true, b"k");
    let named = |rid: &'static [u8]| [(MID, &b"0"[..]), (RID, rid)];
    let mut send = |packet: Vec<u8>| {
        stage.publisher.send_rtp(&mut stage.sim, &packet);
        let snapshot = stage.sim.router.snapshot();
        let told = snapshot
            .producers
            .iter()
            .map(|it| (it.ssrc, it.packets, it.repaired));
        (told.collect::<Vec<_>>(), snapshot.drops)
    };
    let (told, drops) = send(packet(VIDEO_PT, 1, 10, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (None, 0, 0)], "{drops:?}");
    let (told, _) = send(packet(VIDEO_PT, 2, 10, &named(b"l"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 1, 0)]);
    // A third one, one without a RID and one of a wrong MID are nobody's.
    for (ssrc, extensions) in [
        (3, &named(b"x")[..]),
        (4, &named(b"h")[..1]),
        (5, &[(MID, &b"9"[..]), (RID, b"h")][..]),
    ] {
        let (told, drops) = send(packet(VIDEO_PT, ssrc, 10, extensions, &keyframe));
        assert_eq!(told, [(Some(1), 1, 0), (Some(2), 1, 0)]);
        assert_eq!(drops.get(DropReason::UnknownStream), u64::from(ssrc) - 2);
    }
    // One that is known stays what it is, whatever it says later.
    let (told, _) = send(packet(VIDEO_PT, 2, 12, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 2, 0)]);
    // A retransmission names what it repairs.
    let repairs = [(MID, &b"0"[..]), (REPAIRED, b"l")];
    let body = [&11_u16.to_be_bytes()[..], &keyframe].concat();
    let (told, drops) = send(packet(RTX, 20, 1, &repairs, &body));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 3, 1)], "{drops:?}");
    // By a restart under another SSRC only that one goes on anew.
    let (told, _) = send(packet(VIDEO_PT, 30, 500, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(30), 2, 0), (Some(2), 3, 1)]);
    let rids: Vec<String> = stage
        .sim
        .router
        .snapshot()
        .producers
        .into_iter()
        .map(|it| it.rid)
        .collect();
    assert_eq!(rids, ["h", "l"]);
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let mut stage = Stage::both(0);
    let audio = ProducerSpec {
        producer: ProducerId(3),
        ssrc: Some(Ssrc(77)),
        ..producer(stage.publisher.transport, Kind::Audio)
    };
    stage.sim.command(Command::AddProducer(audio.clone()));
    let template = consumer(stage.subscriber.transport, &audio, 9000);
    for (at, producers) in [vec![], vec![1, 1], vec![1, 3], vec![1, 2, 8, 9], vec![8, 9]]
        .into_iter()
        .enumerate()
    {
        stage.sim.command(Command::AddConsumer(ConsumerSpec {
            consumer: ConsumerId(10),
            producers: producers.into_iter().map(ProducerId).collect(),
            ..template.clone()
        }));
        let is_refused = |it: &&Event| matches!(it, Event::CommandRefused { .. });
        let refused = stage.sim.events.iter().filter(is_refused).count();
        assert_eq!(refused, at + 1);
    }
}

/// A frame of VP8 in three temporal layers as libvpx makes them (0 2 1 2), with the numbers of its pictures.
struct Layered {
    source: usize,
    frame: u64,
    picture: u16,
    lowest: u8,
}

impl Layered {
    fn new(source: usize, picture: u16, lowest: u8) -> Layered {
        Layered {
            source,
            frame: 0,
            picture,
            lowest,
        }
    }

    /// Its payload and its temporal layer. The middle layer opens every second time.
    fn next(&mut self, keyframe: bool) -> (Vec<u8>, u8) {
        if keyframe {
            self.frame = 0;
        }
        let (layer, opens) =
            [(0, false), (2, true), (1, true), (2, false)][self.frame as usize % 4];
        let opens = opens && self.frame % 8 < 4;
        self.frame += 1;
        self.picture = (self.picture + 1) & 0x7fff;
        self.lowest = self.lowest.wrapping_add(u8::from(layer == 0));
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let tid = layer << 6 | u8::from(opens) << 5;
        let header = u8::from(!keyframe);
        (
            vec![
                0x90,
                0xe0,
                high,
                low,
                self.lowest,
                tid,
                header,
                b'0' + layer,
            ],
            layer,
        )
    }

    /// Sends one, in as many packets; returns what layer it was of.
    fn send(&mut self, stage: &mut Stage, keyframe: bool) -> u8 {
        let (payload, layer) = self.next(keyframe);
        stage.wait(10);
        stage.part(self.source, true, &payload);
        layer
    }
}

/// The numbers of the pictures that were got, and their layers; asserts that both numbers go on by one.
fn assert_pictures(got: &[Got]) -> Vec<u8> {
    let read = |it: &Got| {
        let read = parlour_media::vp8::parse(&it.payload).expect("VP8");
        let (layer, _) = read.temporal.expect("a layer");
        (read.ids.picture, read.ids.lowest, layer)
    };
    for pair in got.windows(2) {
        let (before, after) = (read(&pair[0]), read(&pair[1]));
        assert_eq!(after.0, (before.0 + 1) & 0x7fff, "{pair:?}");
        let lowest = before.1.wrapping_add(u8::from(after.2 == 0));
        assert_eq!(after.1, lowest, "{pair:?}");
    }
    got.iter().map(|it| read(it).2).collect()
}

#[test]
fn temporal_layers_are_left_out_without_a_gap_and_come_back_where_they_open() {
    let mut stage = Stage::both(0);
    let mut video = Layered::new(0, 0x7ff0, 250);
    for at in 0..16 {
        video.send(&mut stage, at == 0);
    }
    assert_eq!(assert_pictures(&stage.got), [0, 2, 1, 2].repeat(4));
    for (highest, expected) in [
        (Some(0), vec![0, 0]),
        (Some(1), vec![0, 1, 0, 1]),
        (None, [0, 2, 1, 2].repeat(2)),
        (Some(1), vec![0, 1, 0, 1]),
        (Some(0), vec![0, 0]),
    ] {
        let before = stage.got.len();
        let consumer = ConsumerId(1);
        let temporal = highest;
        stage.sim.command(Command::SetConsumerSource {
            consumer,
            source: 0,
            temporal,
        });
        for _ in 0..8 {
            video.send(&mut stage, false);
        }
        assert_eq!(
            assert_pictures(&stage.got[before..]),
            expected,
            "{highest:?}"
        );
    }
    assert_pictures(&stage.got);
    stage.assert_unbroken();
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::LayerLeftOut), 6 + 4 + 4 + 6);
}

#[test]
fn pictures_are_numbered_on_over_switches_of_layered_sources() {
    let mut stage = Stage::both(0);
    let mut videos = [Layered::new(0, 5, 5), Layered::new(1, 30_000, 200)];
    let mut wanted = 0;
    for at in 0..400 {
        if at % 37 == 0 {
            wanted = 1 - wanted;
            let temporal = [None, Some(0), Some(1)][at / 37 % 3];
            let consumer = ConsumerId(1);
            stage.sim.command(Command::SetConsumerSource {
                consumer,
                source: wanted,
                temporal,
            });
        }
        for video in &mut videos {
            video.send(&mut stage, at % 16 == 0);
        }
    }
    assert!(stage.got.len() > 100);
    assert_pictures(&stage.got);
    stage.assert_unbroken();
}

#[test]
fn a_late_packet_of_a_layer_that_is_left_out_closes_the_hole_that_was_kept_for_it() {
    let mut stage = Stage::both(0);
    let mut video = Layered::new(0, 5, 5);
    let consumer = ConsumerId(1);
    video.send(&mut stage, true);
    stage.sim.command(Command::SetConsumerSource {
        consumer,
        source: 0,
        temporal: Some(0),
    });
    let (late, _) = video.next(false);
    stage.seqs[0] += 1;
    video.next(false);
    stage.seqs[0] += 1;
    video.next(false);
    stage.seqs[0] += 1;
    video.send(&mut stage, false);
    let back = stage.seqs[0];
    stage.seqs[0] -= 4;
    stage.part(0, true, &late);
    stage.seqs[0] = back;
    let numbers: Vec<(u16, usize)> = stage
        .got
        .iter()
        .map(|it| (it.seq, it.payload.len()))
        .collect();
    let first = numbers[0].0;
    assert_eq!(numbers, [(first, 8), (first + 4, 8), (first + 1, 0)]);
    // Asked for again, it is what it was.
    let mut nack = [0; 64];
    let lost = [SeqNo(first + 1), SeqNo(first + 4)];
    let len = parlour_media::rtcp::write_nack(&mut nack, Ssrc(9), Ssrc(FORWARDED), &lost);
    stage.wait(100);
    let again = stage.subscriber.send_rtcp(&mut stage.sim, &nack[..len]);
    assert_eq!(again.len(), 2);
    for datagram in &again {
        stage.subscriber.open(datagram);
    }
    assert_eq!(stage.subscriber.ledger().repeated, 2, "bit for bit");
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::LayerLeftOut), 1);
}

#[test]
fn descriptors_that_end_too_soon_and_numbers_that_jump_are_counted_and_stop_nobody() {
    let mut stage = Stage::both(0);
    let mut video = Layered::new(0, 5, 5);
    video.send(&mut stage, true);
    for broken in [
        &[0x90][..],
        &[0x90, 0x80],
        &[0x90, 0xc0, 0x91, 0x22],
        &[0x80, 0xff, 0x80, 0, 0],
    ] {
        let before = stage.got.len();
        let sent = stage.publisher.send_rtp(
            &mut stage.sim,
            &rtp_packet(VIDEO_PT, stage.seqs[0], 7_000 + 90 * 11, BIG, broken),
        );
        stage.seqs[0] += 1;
        stage.take(sent);
        assert_eq!(stage.got.len(), before);
    }
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::DescriptorMalformed), 4);
    for picture in [20_000, 3, 9_999, 2, 1, 30_000] {
        video.picture = picture;
        video.send(&mut stage, false);
    }
    video.send(&mut stage, false);
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(
        drops.get(DropReason::PictureUnknown),
        1,
        "the one that goes back by one"
    );
    stage.assert_unbroken();
    assert_eq!(stage.got.last().map(|it| it.payload.len()), Some(8));
}
