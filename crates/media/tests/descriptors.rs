//! Payload descriptors that lie: cut anywhere, aggregates and fragments without an end, picture numbers that wrap. They come
//! with good keys, so nothing in front of the parsers stops them.

use parlour_media::Codec;
use parlour_media::num::Rng;
use parlour_media::rtp::RtpView;
use parlour_sim::raw::{RawPeer, filmed, rtp_packet};
use parlour_sim::{Sim, VIDEO_PT};

const IN: u32 = 1000;
const OUT: u32 = 3000;

/// What a descriptor may begin with in each codec: all there can be, so that each cut of it is a cut of something.
const HEADS: [(Codec, &[&[u8]]); 4] = [
    (
        Codec::Vp8,
        &[
            // X, I with 15 bits, L, T and K; and the 7-bit form.
            &[0x90, 0xf0, 0xff, 0xff, 0x01, 0xe1, 0x00],
            &[0x90, 0x80, 0x7f, 0x00],
        ],
    ),
    (
        Codec::Vp9,
        &[
            // I, P, L, F, B, E, V: three references, and a scalability structure of eight layers whose sizes follow.
            &[0xfe, 0xff, 0xff, 0x2f, 0x03, 0x05, 0x07, 0xf8, 0x00],
            &[0x8a, 0x7f, 0xff, 0xff, 0xff],
        ],
    ),
    (
        Codec::H264,
        &[
            // STAP-A: of nothing, of more than there is, and in itself; FU-A: a start that is an end, too.
            &[24, 0, 0, 0, 0, 0, 0],
            &[24, 0xff, 0xff, 5],
            &[24, 0, 4, 24, 0, 1, 5, 0, 1, 0x65],
            &[28, 0xc5, 0],
            &[28, 0x05, 0],
        ],
    ),
    (
        Codec::Av1,
        &[
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xb8, 0x00],
        ],
    ),
];

/// The first packet of a picture that can be begun with, of one packet.
fn keyframe(codec: Codec, number: u16) -> Vec<u8> {
    let id = [0x80 | (number >> 8) as u8, number as u8];
    match codec {
        Codec::Vp8 => [&[0x90, 0x80][..], &id, &[0, b'K']].concat(),
        Codec::Vp9 => [&[0x8c][..], &id, b"K"].concat(),
        Codec::H264 => [&[0x65][..], &id, b"K"].concat(),
        Codec::Av1 => [&[0x18][..], &id, b"K"].concat(),
        Codec::Opus => unreachable!("no descriptor"),
    }
}

struct Pair {
    sim: Sim,
    publisher: RawPeer,
    subscriber: RawPeer,
    seq: u16,
}

impl Pair {
    fn of(codec: Codec) -> Pair {
        let mut sim = Sim::new(1);
        let (publisher, subscriber) = filmed(&mut sim, codec, OUT);
        Pair {
            sim,
            publisher,
            subscriber,
            seq: 65_000,
        }
    }

    /// Publishes one packet; returns the numbers and payloads of what the subscriber gets for it.
    fn publish(&mut self, payload: &[u8]) -> Vec<(u16, Vec<u8>)> {
        self.seq = self.seq.wrapping_add(1);
        let time = u32::from(self.seq) * 3_000;
        let plain = rtp_packet(VIDEO_PT, self.seq, time, IN, payload);
        let to = self.subscriber.address;
        let sent = self.publisher.send_rtp(&mut self.sim, &plain);
        let ours = sent.into_iter().filter(|(whose, _)| *whose == to);
        let opened = ours.filter_map(|(_, datagram)| self.subscriber.open(&datagram));
        let views = opened.map(|it| {
            let view = RtpView::parse(&it).unwrap();
            (view.seq().0, view.payload().to_vec())
        });
        views.collect()
    }

    fn panics(&self) -> bool {
        // What panics ends with the transport that it is about.
        self.sim.router.snapshot().transports.len() != 2
    }
}

#[test]
fn descriptors_that_are_cut_nested_or_without_an_end_end_nothing_and_the_next_picture_is_whole() {
    for (codec, heads) in HEADS {
        let mut pair = Pair::of(codec);
        let mut last = None;
        let mut follow = |got: Vec<(u16, Vec<u8>)>| {
            for (seq, _) in got {
                let before = last.replace(seq);
                assert!(
                    before.is_none_or(|it: u16| it.wrapping_add(1) == seq),
                    "{codec:?}: {before:?}, {seq}"
                );
            }
        };
        let first = pair.publish(&keyframe(codec, 0x7ffe));
        assert_eq!(first.len(), 1, "{codec:?}");
        follow(first);
        let mut rng = Rng::new(codec as u64);
        for head in heads {
            for len in 1..=head.len() {
                follow(pair.publish(&head[..len]));
                let tail = (0..rng.below(1_100)).map(|_| rng.next_u64() as u8);
                let longer: Vec<u8> = head[..len].iter().copied().chain(tail).collect();
                follow(pair.publish(&longer));
            }
        }
        // Over the end of the picture numbers, of 15 bits.
        for number in [0x7fff, 0, 1] {
            let picture = keyframe(codec, number);
            let got = pair.publish(&picture);
            assert_eq!(got.len(), 1, "{codec:?}, {number}");
            assert_eq!(got[0].1.last(), Some(&b'K'), "{codec:?}, {number}");
            follow(got);
        }
        assert!(!pair.panics(), "{codec:?}");
    }
}

/// As many units as fit, each of no byte, and an aggregate that says it holds itself: read once, from front to back.
#[test]
fn an_aggregate_of_nothing_over_and_over_is_no_keyframe_and_is_read_once() {
    let mut pair = Pair::of(Codec::H264);
    assert_eq!(pair.publish(&keyframe(Codec::H264, 1)).len(), 1);
    let mut nothing = vec![24];
    nothing.resize(1_199, 0);
    let asked = pair.sim.router.snapshot().producers[0].keyframes;
    for _ in 0..500 {
        assert_eq!(pair.publish(&nothing).len(), 1);
    }
    assert_eq!(pair.sim.router.snapshot().producers[0].keyframes, asked);
    assert!(!pair.panics());
}
