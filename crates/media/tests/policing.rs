//! A peer that sends more than it may: how much is passed on, what goes first, and who hears of it.

use parlour_media::num::{PayloadType, RtpTime, SeqNo};
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::rtp::{is_rtcp, peek_ssrc, write_header};
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, DropReason, Event, IngressLimit, Kind, ProducerId,
    ProducerSpec, Ssrc, TransportId,
};
use parlour_sim::raw::{RawPeer, rtp_packet};
use parlour_sim::{AUDIO_PT, Sim, TWCC_EXTENSION, VIDEO_PT};
use std::time::Duration;

const LIMIT: IngressLimit = IngressLimit {
    bits_per_second: 2_000_000,
    burst: Duration::from_millis(500),
};
const SECONDS: u64 = 6;

/// One publisher with sound and video, and how many subscribers of both.
struct Flood {
    sim: Sim,
    publisher: RawPeer,
    seq: [u16; 2],
    transport_seq: u16,
    /// Bytes of video and packets of sound that were passed on, to all together.
    video: u64,
    audio: u64,
    /// What feedback said: arrived and lost.
    arrived: u64,
    lost: u64,
    nacks: u64,
}

impl Flood {
    fn new(subscribers: u64) -> Flood {
        let mut sim = Sim::limited(7, LIMIT);
        let publisher = RawPeer::connect(&mut sim, 1);
        for (kind, codec, ssrc, pt) in [
            (Kind::Video, Codec::Vp8, 100, VIDEO_PT),
            (Kind::Audio, Codec::Opus, 200, AUDIO_PT),
        ] {
            sim.command(Command::AddProducer(ProducerSpec {
                producer: ProducerId(ssrc),
                transport: TransportId(1),
                kind,
                codec,
                mid: format!("u{ssrc}"),
                rid: String::new(),
                payload_type: PayloadType(pt),
                red_payload_type: None,
                rtx_payload_type: None,
                ssrc: Some(Ssrc(ssrc as u32)),
                rtx_ssrc: None,
                mid_extension: None,
                rid_extension: None,
                repaired_rid_extension: None,
                twcc_extension: Some(TWCC_EXTENSION),
                dependency_descriptor_extension: None,
                level_extension: None,
                nack: kind == Kind::Video,
                pli: false,
                remb: false,
            }));
            for number in 0..subscribers {
                if kind == Kind::Video {
                    RawPeer::connect(&mut sim, 10 + number);
                }
                sim.command(Command::AddConsumer(ConsumerSpec {
                    consumer: ConsumerId(1000 * (number + 1) + ssrc),
                    transport: TransportId(10 + number),
                    producers: vec![ProducerId(ssrc)],
                    source: 0,
                    temporal: None,
                    mid: format!("d{ssrc}"),
                    payload_type: PayloadType(pt),
                    red_payload_type: None,
                    rtx_payload_type: None,
                    ssrc: Ssrc(ssrc as u32 + 1),
                    rtx_ssrc: None,
                    mid_extension: None,
                    twcc_extension: None,
                    dependency_descriptor_extension: None,
                    pads: false,
                    rank: 0,
                    cname: "someone".into(),
                }));
            }
        }
        let (seq, transport_seq) = ([0; 2], 0);
        let (video, audio, arrived, lost, nacks) = (0, 0, 0, 0, 0);
        Flood {
            sim,
            publisher,
            seq,
            transport_seq,
            video,
            audio,
            arrived,
            lost,
            nacks,
        }
    }

    fn send(&mut self, payload_type: u8, ssrc: u32, payload: &[u8]) {
        let mut header = [0; 20];
        let extension = self.transport_seq.to_be_bytes();
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let seq = &mut self.seq[usize::from(ssrc == 200)];
        *seq += 1;
        let (pt, time) = (PayloadType(payload_type), RtpTime(u32::from(*seq) * 90));
        let extensions: &[(u8, &[u8])] = &[(TWCC_EXTENSION, &extension)];
        let len = write_header(
            &mut header,
            true,
            pt,
            SeqNo(*seq),
            time,
            Ssrc(ssrc),
            extensions,
        );
        let mut packet = header[..len].to_vec();
        packet.extend(payload);
        for (_, datagram) in self.publisher.send_rtp(&mut self.sim, &packet) {
            if !is_rtcp(&datagram) {
                match peek_ssrc(&datagram) {
                    Some(Ssrc(101)) => self.video += datagram.len() as u64,
                    Some(Ssrc(201)) => self.audio += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Lets time pass and reads what the publisher is told meanwhile.
    fn pass(&mut self, time: Duration) {
        self.sim.sent = Some(Vec::new());
        self.sim.run(time);
        for datagram in self.publisher.answers(&mut self.sim) {
            let Some(packet) = self.publisher.open(&datagram) else {
                continue;
            };
            for part in parse_compound(&packet) {
                match part.unwrap() {
                    Rtcp::Twcc(feedback) => {
                        for (_, at) in feedback.packets() {
                            self.arrived += u64::from(at.is_some());
                            self.lost += u64::from(at.is_none());
                        }
                    }
                    Rtcp::Nack { .. } => self.nacks += 1,
                    _ => {}
                }
            }
        }
    }

    /// Every millisecond so many packets of video of 1200 bytes, every 20 ms one of sound.
    fn run(&mut self, video_a_milli: u32) {
        // A keyframe of VP8, so that everybody begins with it.
        let mut video = vec![0x10, 0x00, 0x9d, 0x01, 0x2a];
        video.resize(1200, 7);
        for milli in 0..1000 * SECONDS {
            for _ in 0..video_a_milli {
                self.send(VIDEO_PT, 100, &video);
            }
            if milli % 20 == 0 {
                self.send(AUDIO_PT, 200, &[5; 100]);
            }
            self.pass(Duration::from_millis(1));
        }
    }
}

#[test]
fn v17_2_5_what_a_flood_becomes_is_bounded_before_it_is_multiplied_and_its_sound_survives() {
    let mut flood = Flood::new(3);
    flood.run(8); // 77 Mbit/s
    let each = flood.video * 8 / 3 / SECONDS;
    assert!((1_400_000..=2_200_000).contains(&each), "{each} bit/s");
    assert_eq!(flood.audio, 3 * SECONDS * 50, "every packet of sound");
    let drops = flood.sim.router.snapshot().drops;
    assert!(drops.get(DropReason::OverBitrate) > 40_000);
}

#[test]
fn the_sender_hears_of_what_was_dropped_as_of_loss_and_is_not_asked_to_repeat_it() {
    let mut flood = Flood::new(1);
    flood.run(1); // 9.6 Mbit/s
    let snapshot = flood.sim.router.snapshot();
    let policed = snapshot.transports.iter().map(|it| it.policed).max();
    let policed = policed.unwrap();
    assert!(policed > 3000, "{policed}");
    assert!(
        flood.lost > policed * 9 / 10 && flood.lost <= policed,
        "{} of {policed} are told as lost, {} as arrived",
        flood.lost,
        flood.arrived
    );
    assert!(flood.nacks <= 2, "{} requests", flood.nacks);
}

#[test]
fn the_operator_hears_of_it_once_a_window_whoever_floods() {
    let mut flood = Flood::new(1);
    flood.run(2);
    let policed: Vec<_> = flood
        .sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::IngressPoliced { .. }))
        .collect();
    assert_eq!(policed.len(), 1, "{policed:?}");
    let expected = Event::IngressPoliced {
        transport: TransportId(1),
        packets: 1,
        bits_per_second: LIMIT.bits_per_second,
    };
    assert_eq!(*policed[0], expected);
}

#[test]
fn v17_2_3_datagrams_that_do_not_authenticate_take_nothing_from_what_a_peer_may_send() {
    let mut flood = Flood::new(1);
    let (address, mut forged) = (
        flood.publisher.address,
        rtp_packet(VIDEO_PT, 1, 1, 100, &[9; 1200]),
    );
    forged.extend([3; 16]);
    for _ in 0..20_000 {
        flood.sim.inject(address, &forged);
    }
    // 2 Mbit/s times half a second is in the bucket, of which video may take three quarters.
    for _ in 0..70 {
        flood.send(VIDEO_PT, 100, &[7; 1200]);
    }
    let drops = flood.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::BadTag), 20_000);
    assert_eq!(drops.get(DropReason::OverBitrate), 0);
}
