//! A publisher of one picture in several sizes, and what a subscriber of it gets.

use parlour_media::num::{RtpTime, SeqNo};
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::rtp::{self, RtpView};
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, Kind, PayloadType, ProducerId, ProducerSpec, Ssrc,
};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{Sim, VIDEO_PT, vp8};
use std::time::Duration;

pub(crate) const BIG: u32 = 1000;
pub(crate) const SMALL: u32 = 1010;
pub(crate) const FORWARDED: u32 = 3000;
/// The header extension of dependency descriptors, of all peers.
pub(crate) const DESCRIPTOR: u8 = 5;

/// What a subscriber got of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptor: Option<Vec<u8>>,
}

/// A publisher with a big and a small picture, and a subscriber.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) publisher: RawPeer,
    pub(crate) subscriber: RawPeer,
    pub(crate) seqs: [u16; 2],
    pub(crate) got: Vec<Got>,
    /// Keyframe requests, by SSRC.
    pub(crate) asked: Vec<u32>,
}

impl Stage {
    pub(crate) fn new(specs: [ProducerSpec; 2], wanted: usize) -> Stage {
        Stage::with(specs, |spec| ConsumerSpec {
            source: wanted,
            ..spec
        })
    }

    /// One with what a subscriber negotiated beside the usual.
    pub(crate) fn with(
        specs: [ProducerSpec; 2],
        negotiate: impl FnOnce(ConsumerSpec) -> ConsumerSpec,
    ) -> Stage {
        let mut sim = Sim::with_peers(1, 0);
        let publisher = RawPeer::connect(&mut sim, 1);
        let subscriber = RawPeer::connect(&mut sim, 2);
        let spec = negotiate(ConsumerSpec {
            producers: specs.iter().map(|it| it.producer).collect(),
            ..consumer(subscriber.transport, &specs[0], FORWARDED)
        });
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

    pub(crate) fn both(wanted: usize) -> Stage {
        let [big, small] = [(1, BIG), (2, SMALL)].map(|(id, ssrc)| ProducerSpec {
            producer: ProducerId(id),
            mid: ssrc.to_string(),
            ssrc: Some(Ssrc(ssrc)),
            ..producer(parlour_media::TransportId(1), Kind::Video)
        });
        Stage::new([big, small], wanted)
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.sim.sent = Some(Vec::new());
        self.sim.run(Duration::from_millis(ms));
        let sent = self.sim.sent.take().unwrap_or_default();
        self.take(sent);
    }

    pub(crate) fn want(&mut self, source: usize) {
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

    pub(crate) fn take(&mut self, sent: Vec<(std::net::SocketAddr, Vec<u8>)>) {
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
                    descriptor: view.extension(DESCRIPTOR).map(<[u8]>::to_vec),
                });
            }
        }
    }

    /// One packet that is a whole frame; what came of it.
    pub(crate) fn frame(&mut self, source: usize, keyframe: bool, name: u8) -> Option<u8> {
        let payload = vp8(keyframe, true, &[name]);
        self.part(source, true, &payload)
    }

    pub(crate) fn part(&mut self, source: usize, marker: bool, payload: &[u8]) -> Option<u8> {
        let ssrc = [BIG, SMALL][source];
        let time = [7_000_u32, 4_000_000_000][source].wrapping_add(self.ms() * 90);
        let mut packet = rtp_packet(VIDEO_PT, self.seqs[source], time, ssrc, payload);
        packet[1] &= 0x7f | u8::from(marker) << 7;
        self.send(source, &packet)
    }

    /// One packet with a dependency descriptor.
    pub(crate) fn described(&mut self, source: usize, descriptor: &[u8], payload: &[u8]) {
        let ssrc = [BIG, SMALL][source];
        let time = 7_000_u32.wrapping_add(self.ms() * 90);
        let mut packet = vec![0; 1400];
        let (pt, seq) = (PayloadType(VIDEO_PT), SeqNo(self.seqs[source]));
        let extensions: [(u8, &[u8]); 2] = [(1, b"0"), (DESCRIPTOR, descriptor)];
        let (time, ssrc) = (RtpTime(time), Ssrc(ssrc));
        let len = rtp::write_header(&mut packet, true, pt, seq, time, ssrc, &extensions);
        packet.truncate(len);
        packet.extend(payload);
        self.send(source, &packet);
    }

    fn send(&mut self, source: usize, packet: &[u8]) -> Option<u8> {
        self.seqs[source] = self.seqs[source].wrapping_add(1);
        let before = self.got.len();
        let sent = self.publisher.send_rtp(&mut self.sim, packet);
        self.take(sent);
        self.wait(0);
        self.got.get(before)?.payload.get(2).copied()
    }

    pub(crate) fn ms(&self) -> u32 {
        (self.sim.now - self.sim.started).as_millis() as u32
    }

    /// Frames of both for so long.
    pub(crate) fn run(&mut self, frames: u32) {
        for _ in 0..frames {
            self.wait(33);
            self.frame(0, false, b'.');
            self.frame(1, false, b',');
        }
    }

    /// Numbers without a gap, and time that goes on.
    pub(crate) fn assert_unbroken(&self) {
        for pair in self.got.windows(2) {
            assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{pair:?}");
            let later = pair[1].time.wrapping_sub(pair[0].time);
            assert!((0..0x8000_0000).contains(&later), "{pair:?}");
        }
    }
}
