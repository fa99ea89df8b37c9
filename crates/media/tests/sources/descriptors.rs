//! Layers of AV1 by dependency descriptors, of VP9 by its payloads, and the descriptors that a subscriber gets.

use super::stage::{BIG, DESCRIPTOR, FORWARDED, Got, SMALL, Stage};
use parlour_media::num::{PayloadType, SeqNo};
use parlour_media::rtcp::write_nack;
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, DropReason, Kind, ProducerId, ProducerSpec, Ssrc,
    TransportId,
};
use parlour_sim::raw::producer;
use parlour_sim::{MID_EXTENSION, TWCC_EXTENSION, VIDEO_RTX_PT};

/// The structure that Chromium sends with a keyframe in three temporal layers, behind the three bytes that all descriptors
/// have: too long for the one-byte form.
const STRUCTURE: &[u8] = b"\x80\x02\x14\xea\xa8\x60\x41\x4d\x14\x10\x20\x84\x27\x01\x3f\0\xb3";

/// A film in three temporal layers, a packet a frame.
struct Film {
    source: usize,
    codec: Codec,
    /// The number of its next frame.
    frame: u16,
    place: usize,
}

impl Film {
    fn new(source: usize, codec: Codec, frame: u16) -> Film {
        Film {
            source,
            codec,
            frame,
            place: 0,
        }
    }

    /// The next frame: its descriptor, its payload and its temporal layer.
    fn next(&mut self, keyframe: bool) -> (Vec<u8>, Vec<u8>, u8) {
        if keyframe {
            self.place = 0;
        }
        // Chromium's templates: one for keyframes and one for each place in the pattern.
        let (template, layer) = match self.place % 4 {
            0 if keyframe => (0, 0),
            at => [(1, 0), (3, 2), (2, 1), (4, 2)][at],
        };
        let [high, low] = self.frame.to_be_bytes();
        let mut descriptor = vec![0xc0 | template, high, low];
        let structure = if keyframe { STRUCTURE } else { &[] };
        descriptor.extend(structure);
        self.place += 1;
        self.frame = self.frame.wrapping_add(1);
        let payload = match self.codec {
            Codec::Vp9 => vec![if keyframe { 0x28 } else { 0x68 }, layer << 5 | 0x10, layer],
            _ => vec![if keyframe { 0x18 } else { 0x10 }, 0x0a, layer],
        };
        (descriptor, payload, layer)
    }

    fn send(&mut self, stage: &mut Stage, keyframe: bool) -> Vec<u8> {
        let (descriptor, payload, _) = self.next(keyframe);
        stage.wait(10);
        stage.described(self.source, &descriptor, &payload);
        descriptor
    }
}

fn stage(codec: Codec, negotiate: impl FnOnce(ConsumerSpec) -> ConsumerSpec) -> Stage {
    let specs = [(1, BIG), (2, SMALL)].map(|(id, ssrc)| ProducerSpec {
        producer: ProducerId(id),
        codec,
        mid: ssrc.to_string(),
        ssrc: Some(Ssrc(ssrc)),
        dependency_descriptor_extension: Some(DESCRIPTOR),
        ..producer(TransportId(1), Kind::Video)
    });
    Stage::with(specs, negotiate)
}

fn described(spec: ConsumerSpec) -> ConsumerSpec {
    ConsumerSpec {
        dependency_descriptor_extension: Some(DESCRIPTOR),
        mid_extension: Some(MID_EXTENSION),
        twcc_extension: Some(TWCC_EXTENSION),
        ..spec
    }
}

fn want(stage: &mut Stage, source: usize, temporal: Option<u8>) {
    stage.sim.command(Command::SetConsumerSource {
        consumer: ConsumerId(1),
        source,
        temporal,
    });
}

fn layers(got: &[Got]) -> Vec<u8> {
    got.iter().map(|it| it.payload[2]).collect()
}

#[test]
fn layers_go_at_any_frame_and_come_back_at_the_lowest_and_descriptors_are_as_they_were() {
    for codec in [Codec::Av1, Codec::Vp9] {
        let mut stage = stage(codec, described);
        let mut film = Film::new(0, codec, 65_530);
        let mut sent = Vec::new();
        for at in 0..8 {
            sent.push(film.send(&mut stage, at == 0));
        }
        let got: Vec<_> = stage.got.iter().map(|it| it.descriptor.clone()).collect();
        assert_eq!(got, sent.into_iter().map(Some).collect::<Vec<_>>());
        for (highest, expected) in [
            (Some(0), vec![0, 0]),
            (Some(1), vec![0, 1, 0, 1]),
            (None, [0, 2, 1, 2].repeat(2)),
        ] {
            let before = stage.got.len();
            want(&mut stage, 0, highest);
            let sent: Vec<_> = (0..8).map(|_| film.send(&mut stage, false)).collect();
            assert_eq!(layers(&stage.got[before..]), expected, "{highest:?}");
            for one in &stage.got[before..] {
                let descriptor = one.descriptor.as_ref().expect("a descriptor");
                assert!(sent.contains(descriptor), "{descriptor:?}");
            }
        }
        stage.assert_unbroken();
        let drops = stage.sim.router.snapshot().drops;
        assert_eq!(drops.get(DropReason::LayerLeftOut), 6 + 4);
    }
}

#[test]
fn more_layers_come_back_above_the_middle_one_as_soon_as_it_opens_them() {
    let mut stage = stage(Codec::Av1, described);
    let mut film = Film::new(0, Codec::Av1, 5);
    film.send(&mut stage, true);
    want(&mut stage, 0, Some(1));
    film.send(&mut stage, false);
    want(&mut stage, 0, None);
    film.send(&mut stage, false);
    film.send(&mut stage, false);
    assert_eq!(layers(&stage.got), [0, 1, 2]);
}

#[test]
fn who_takes_no_descriptors_gets_none_and_av1_whole() {
    for (codec, expected) in [
        (Codec::Av1, [0, 2, 1, 2].repeat(2)),
        (Codec::Vp9, vec![0, 0]),
    ] {
        let mut stage = stage(codec, |spec| spec);
        let mut film = Film::new(0, codec, 5);
        want(&mut stage, 0, Some(0));
        for at in 0..8 {
            film.send(&mut stage, at == 0);
        }
        assert_eq!(layers(&stage.got), expected);
        assert!(stage.got.iter().all(|it| it.descriptor.is_none()));
    }
}

#[test]
fn frames_are_numbered_on_over_another_source_and_the_same_one_anew() {
    let mut stage = stage(Codec::Av1, described);
    let mut films = [
        Film::new(0, Codec::Av1, 40_000),
        Film::new(1, Codec::Av1, 100),
    ];
    for turn in 0..12 {
        want(&mut stage, turn % 2, None);
        for at in 0..8 {
            if (turn, at) == (7, 4) {
                // While it is not sent on.
                films[0].frame = 3;
            }
            for film in &mut films {
                film.send(&mut stage, at == 0);
            }
        }
    }
    assert!(stage.got.len() >= 90, "{}", stage.got.len());
    let frames: Vec<u16> = stage
        .got
        .iter()
        .map(|it| it.descriptor.as_ref().expect("a descriptor"))
        .map(|it| u16::from_be_bytes([it[1], it[2]]))
        .collect();
    let steps: Vec<u16> = frames
        .windows(2)
        .map(|it| it[1].wrapping_sub(it[0]))
        .collect();
    assert!(steps.iter().all(|step| *step == 1), "{steps:?}");
    stage.assert_unbroken();
}

#[test]
fn what_is_asked_for_again_has_the_descriptor_that_it_had() {
    for rtx in [None, Some(PayloadType(VIDEO_RTX_PT))] {
        let mut stage = stage(Codec::Av1, |spec| ConsumerSpec {
            rtx_payload_type: rtx,
            rtx_ssrc: rtx.map(|_| Ssrc(FORWARDED + 1)),
            ..described(spec)
        });
        let mut films = [Film::new(1, Codec::Av1, 7), Film::new(0, Codec::Av1, 500)];
        want(&mut stage, 1, None);
        for film in &mut films {
            film.send(&mut stage, true);
        }
        // Over a change of the source, so that its frames have other numbers than it gave them.
        want(&mut stage, 0, None);
        for at in 0..4 {
            films[1].send(&mut stage, at == 0);
        }
        let asked: Vec<Got> = stage.got.split_off(stage.got.len() - 4);
        assert_eq!(asked[0].descriptor.as_ref().map(Vec::len), Some(20));
        assert_ne!(
            asked[0].descriptor.as_ref().map(|it| &it[1..3]),
            Some(&[1, 0xf5][..])
        );
        let lost: Vec<SeqNo> = asked.iter().map(|it| SeqNo(it.seq)).collect();
        let mut nack = [0; 64];
        let len = write_nack(&mut nack, Ssrc(9), Ssrc(FORWARDED), &lost);
        stage.wait(100);
        let before = stage.got.len();
        let again = stage.subscriber.send_rtcp(&mut stage.sim, &nack[..len]);
        let to = stage.subscriber.address;
        stage.take(again.into_iter().map(|it| (to, it)).collect());
        match rtx {
            None => assert_eq!(stage.subscriber.ledger().repeated, 4, "bit for bit"),
            Some(_) => {
                let again = stage.got[before..].iter().map(|it| &it.descriptor);
                assert!(again.eq(asked.iter().map(|it| &it.descriptor)));
            }
        }
    }
}

#[test]
fn descriptors_that_are_wrong_are_counted_and_ones_that_come_too_soon_are_passed_on() {
    let mut stage = stage(Codec::Av1, described);
    let mut film = Film::new(0, Codec::Av1, 5);
    film.send(&mut stage, true);
    want(&mut stage, 0, Some(0));
    for broken in [
        &b"\xc1"[..],
        b"\xc1\0\x06\x80\0",
        b"\xc1\0\x06\x80\x02\x14\xea\xa8",
    ] {
        stage.wait(10);
        stage.described(0, broken, &[0x10, 0x0a, 9]);
    }
    let drops = stage.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::DescriptorMalformed), 3);
    assert_eq!(layers(&stage.got), [0]);
    // Of a structure whose packet is still to come.
    stage.wait(10);
    stage.described(0, b"\xd9\0\x07", &[0x10, 0x0a, 7]);
    film.place = 0;
    film.send(&mut stage, false);
    film.send(&mut stage, false);
    assert_eq!(layers(&stage.got), [0, 7, 0]);
    stage.assert_unbroken();
}
