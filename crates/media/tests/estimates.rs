//! A peer that has no transport-wide feedback is told in bits a second what it may send (REMB).

use parlour_media::num::PayloadType;
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::{
    Codec, Command, IngressLimit, Kind, ProducerId, ProducerSpec, Ssrc, TransportId,
};
use parlour_sim::raw::{RawPeer, rtp_packet};
use parlour_sim::{AUDIO_PT, Sim, TWCC_EXTENSION, VIDEO_PT};
use std::time::Duration;

const LIMIT: IngressLimit = IngressLimit {
    bits_per_second: 2_000_000,
    burst: Duration::from_millis(500),
};
/// Bytes of the authentication tag behind each packet.
const TAG: u64 = 16;
const HEADER: u64 = 12;
/// Timers fire on a grid of 10 ms.
const GRID: u64 = 10;

/// When, in milliseconds, which rate of which streams was told.
type Told = (u64, u64, Vec<u32>);

struct Sender {
    sim: Sim,
    peer: RawPeer,
    milli: u64,
    seq: u16,
    told: Vec<Told>,
}

fn spec(number: u64, payload_type: u8) -> ProducerSpec {
    let audio = payload_type == AUDIO_PT;
    ProducerSpec {
        producer: ProducerId(number),
        transport: TransportId(1),
        kind: if audio { Kind::Audio } else { Kind::Video },
        codec: if audio { Codec::Opus } else { Codec::Vp8 },
        mid: format!("u{number}"),
        rid: String::new(),
        payload_type: PayloadType(payload_type),
        red_payload_type: None,
        rtx_payload_type: None,
        ssrc: Some(Ssrc(number as u32)),
        rtx_ssrc: None,
        mid_extension: None,
        rid_extension: None,
        repaired_rid_extension: None,
        twcc_extension: None,
        dependency_descriptor_extension: None,
        level_extension: None,
        nack: !audio,
        pli: !audio,
        remb: !audio,
    }
}

impl Sender {
    fn new(specs: impl IntoIterator<Item = ProducerSpec>) -> Sender {
        let mut sim = Sim::limited(8, LIMIT);
        let peer = RawPeer::connect(&mut sim, 1);
        for spec in specs {
            sim.command(Command::AddProducer(spec));
        }
        let (milli, seq, told) = (0, 0, Vec::new());
        Sender {
            sim,
            peer,
            milli,
            seq,
            told,
        }
    }

    fn send(&mut self, payload_type: u8, ssrc: u32, bytes: usize) {
        self.seq = self.seq.wrapping_add(1);
        let time = self.milli as u32 * 90;
        let packet = rtp_packet(payload_type, self.seq, time, ssrc, &vec![0x10; bytes]);
        self.peer.send_rtp(&mut self.sim, &packet);
    }

    /// For so many seconds, a packet of video of 1200 bytes each so many milliseconds, and 50 of sound a second.
    fn run(&mut self, seconds: u64, video_each: u64) {
        for _ in 0..1000 * seconds {
            if self.milli.is_multiple_of(video_each) {
                self.send(VIDEO_PT, 100, 1200);
            }
            if self.milli.is_multiple_of(20) {
                self.send(AUDIO_PT, 200, 100);
            }
            self.sim.sent = Some(Vec::new());
            self.sim.run(Duration::from_millis(1));
            self.milli += 1;
            self.hear();
        }
    }

    fn hear(&mut self) {
        for datagram in self.peer.answers(&mut self.sim) {
            let Some(packet) = self.peer.open(&datagram) else {
                continue;
            };
            for part in parse_compound(&packet) {
                if let Rtcp::Remb {
                    bitrate, sources, ..
                } = part.unwrap()
                {
                    let sources = sources.map(|ssrc| ssrc.0).collect();
                    self.told.push((self.milli, bitrate, sources));
                }
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.sim.router.snapshot().transports[0].policed
    }

    /// Since when packets have been dropped, in milliseconds; it runs until that happens.
    fn run_until_dropped(&mut self) -> u64 {
        while self.dropped() == 0 {
            self.send(VIDEO_PT, 100, 1200);
            if self.dropped() > 0 {
                break;
            }
            self.sim.sent = Some(Vec::new());
            self.sim.run(Duration::from_millis(1));
            self.milli += 1;
            self.hear();
        }
        self.milli
    }
}

/// The rate that is told beside so much sound: an eighteen-bit number times a power of two.
fn expected(packets_of_sound: u64) -> u64 {
    let sound = packets_of_sound * 8 * (100 + HEADER + TAG);
    (LIMIT.bits_per_second * 15 / 16 - sound) >> 3 << 3
}

fn assert_each_second(told: &[Told]) {
    for pair in told.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!((1000..=1000 + GRID).contains(&gap), "{told:?}");
    }
}

#[test]
fn a_sender_without_feedback_about_packets_is_told_its_bound_at_once_and_each_second_until_it_obeys()
 {
    let mut sender = Sender::new([spec(100, VIDEO_PT), spec(200, AUDIO_PT)]);
    let began = sender.run_until_dropped();
    assert!(sender.told.is_empty(), "{:?}", sender.told);
    sender.run(3, 1); // 9.8 Mbit/s
    let first = sender.told[0].0;
    assert!(first - began <= GRID, "{first}, {began}");
    assert_eq!(sender.told.len(), 3, "{:?}", sender.told);
    assert_each_second(&sender.told);
    // As soon as a whole second of sound has been seen.
    for (_, rate, sources) in &sender.told[2..] {
        assert_eq!((*rate, sources.as_slice()), (expected(50), &[100][..]));
    }
    // 1.64 Mbit/s of video and 51 kbit/s of sound are what it was told: nothing is dropped any more, and it goes on
    // hearing what it may send because it is near.
    sender.run(1, 6);
    let dropped = sender.dropped();
    sender.run(9, 6);
    assert_eq!(sender.dropped(), dropped);
    assert_eq!(sender.told.len(), 13, "{:?}", sender.told);
    assert_each_second(&sender.told);
    // At half of that there is nothing to tell.
    sender.run(3, 12);
    let told = sender.told.len();
    sender.run(5, 12);
    assert_eq!(sender.told.len(), told, "{:?}", sender.told);
    // Whoever floods again hears of it as fast as the first time.
    let before = sender.dropped();
    let mut began = None;
    while sender.told.len() == told {
        sender.send(VIDEO_PT, 100, 1200);
        if sender.dropped() > before {
            began.get_or_insert(sender.milli);
        }
        sender.sim.sent = Some(Vec::new());
        sender.sim.run(Duration::from_millis(1));
        sender.milli += 1;
        sender.hear();
    }
    let waited = sender.milli - began.expect("told because packets are dropped");
    assert!(waited <= GRID, "{waited} ms");
}

#[test]
fn who_comes_near_its_bound_is_told_before_anything_is_dropped_and_who_does_not_is_not() {
    for (each, near) in [(6, true), (8, false)] {
        let mut sender = Sender::new([spec(100, VIDEO_PT), spec(200, AUDIO_PT)]);
        sender.run(5, each);
        assert_eq!(sender.dropped(), 0);
        assert_eq!(!sender.told.is_empty(), near, "{:?}", sender.told);
        assert_each_second(&sender.told);
    }
}

#[test]
fn an_estimate_names_the_streams_it_is_for_and_no_others() {
    const SECOND_PT: u8 = 98;
    const THIRD_PT: u8 = 99;
    let unsignalled = ProducerSpec {
        ssrc: None,
        ..spec(102, SECOND_PT)
    };
    let without = ProducerSpec {
        remb: false,
        ..spec(104, THIRD_PT)
    };
    let silent = ProducerSpec {
        ssrc: None,
        ..spec(106, 97)
    };
    let mut sender = Sender::new([spec(100, VIDEO_PT), unsignalled, without, silent]);
    sender.send(SECOND_PT, 4_000_000_000, 100);
    sender.send(THIRD_PT, 104, 100);
    sender.run(2, 1);
    assert_eq!(sender.told[0].2, [100, 4_000_000_000]);
}

#[test]
fn who_has_feedback_about_each_packet_is_not_told_what_it_may_send() {
    for remb in [false, true] {
        let mut sender = Sender::new([ProducerSpec {
            twcc_extension: Some(TWCC_EXTENSION),
            remb,
            ..spec(100, VIDEO_PT)
        }]);
        sender.run(3, 1);
        assert!(sender.dropped() > 1000);
        assert_eq!(sender.told, []);
    }
}
