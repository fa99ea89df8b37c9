//! Temporal layers of VP8, and the numbers of its pictures.

use super::stage::{BIG, FORWARDED, Got, Stage};
use parlour_media::num::SeqNo;
use parlour_media::{Command, ConsumerId, DropReason, Ssrc};
use parlour_sim::VIDEO_PT;
use parlour_sim::raw::rtp_packet;

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

/// A publisher that uses numbers twice, and some of seven bits among those of fifteen: what is asked for again is what it was.
#[test]
fn what_is_asked_for_again_has_the_numbers_it_had_whatever_the_publisher_did_since() {
    let mut stage = Stage::both(0);
    let mut video = Layered::new(0, 0, 5);
    video.send(&mut stage, true);
    for picture in [101, 3, 9_000, 102, 1] {
        video.picture = picture;
        video.send(&mut stage, false);
        // The picture 21, in seven bits.
        stage.part(0, true, &[0x90, 0x80, 21, 1, b's']);
    }
    let shown = stage.got.iter().filter(|it| !it.payload.is_empty());
    let numbers: Vec<SeqNo> = shown.map(|it| SeqNo(it.seq)).collect();
    assert!(numbers.len() >= 8, "{}", numbers.len());
    stage.wait(100);
    let mut nack = [0; 200];
    let len = parlour_media::rtcp::write_nack(&mut nack, Ssrc(9), Ssrc(FORWARDED), &numbers);
    for datagram in stage.subscriber.send_rtcp(&mut stage.sim, &nack[..len]) {
        stage.subscriber.open(&datagram);
    }
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::IndexUsed), 0);
    assert_eq!(stage.subscriber.ledger().repeated, numbers.len());
}
