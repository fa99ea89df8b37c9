//! Two peers without sockets, in a time of their own; the network between them can lose datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlour_client::{
    CloseReason, Codec, Event, Frame, Kind, Mid, OutgoingFrame, Peer, PeerConfig,
};

/// A frame with the two payload header bytes that tell a VP8 keyframe from another (RFC 6386 §9.1).
fn vp8_frame(keyframe: bool, number: u8, len: usize) -> Arc<[u8]> {
    let mut data = vec![number; len];
    data[0] = u8::from(!keyframe);
    if keyframe {
        data[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        data[6..10].copy_from_slice(&[0x80, 0x02, 0x68, 0x01]);
    }
    data.into()
}

/// An access unit in Annex B form: parameter sets and IDR, or one other slice.
fn h264_frame(keyframe: bool, number: u8, len: usize) -> Arc<[u8]> {
    let mut data = Vec::new();
    if keyframe {
        data.extend_from_slice(&[
            0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0, 0, 0, 1, 0x68, 0xce, 0x38, 0x80,
        ]);
    }
    data.extend_from_slice(&[0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x88]);
    data.resize(data.len() + len, number | 0x80);
    data.into()
}

struct Pair {
    now: Instant,
    sender: Peer,
    receiver: Peer,
    sender_events: Vec<Event>,
    receiver_events: Vec<Event>,
    /// Of the datagrams of at least 200 bytes to the receiver, one in so many is lost; 0: none.
    lose_one_in: u32,
    large: u32,
    /// An address that is nobody's any more.
    gone: Option<SocketAddr>,
}

impl Pair {
    fn new(codecs: &[Codec]) -> Pair {
        let now = Instant::now();
        let peer = |address: &str| {
            let local = vec![address.parse::<SocketAddr>().unwrap()];
            Peer::new(
                now,
                &PeerConfig {
                    codecs: codecs.to_vec(),
                    local,
                },
            )
            .unwrap()
        };
        let (sender, receiver) = (peer("192.0.2.1:5000"), peer("192.0.2.2:6000"));
        Pair {
            now,
            sender,
            receiver,
            sender_events: vec![],
            receiver_events: vec![],
            lose_one_in: 0,
            large: 0,
            gone: None,
        }
    }

    fn publish(&mut self, kinds: &[Kind]) -> Vec<Mid> {
        let offer = self.sender.create_offer(self.now, kinds, &[]).unwrap();
        let answer = self.receiver.accept_offer(self.now, &offer.sdp).unwrap();
        assert!(
            answer.contains("a=setup:active"),
            "the answerer is the DTLS client"
        );
        self.sender.accept_answer(self.now, &answer).unwrap();
        offer.mids
    }

    /// Let `duration` pass, with 10 ms from one side to the other.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let mut to_receiver = vec![];
            let mut to_sender = vec![];
            while let Some(datagram) = self.sender.poll_transmit() {
                self.large += u32::from(datagram.contents.len() >= 200);
                let lost = self.lose_one_in > 0
                    && datagram.contents.len() >= 200
                    && self.large.is_multiple_of(self.lose_one_in);
                if !lost && Some(datagram.source) != self.gone {
                    to_receiver.push(datagram);
                }
            }
            while let Some(datagram) = self.receiver.poll_transmit() {
                if Some(datagram.destination) != self.gone {
                    to_sender.push(datagram);
                }
            }
            self.now += Duration::from_millis(10);
            for d in to_receiver {
                self.receiver
                    .handle_datagram(self.now, d.source, d.destination, &d.contents);
            }
            for d in to_sender {
                self.sender
                    .handle_datagram(self.now, d.source, d.destination, &d.contents);
            }
            for peer in [&mut self.sender, &mut self.receiver] {
                if peer.next_timeout().is_some_and(|at| at <= self.now) {
                    peer.handle_timeout(self.now);
                }
            }
            self.sender_events
                .extend(std::iter::from_fn(|| self.sender.poll_event()));
            self.receiver_events
                .extend(std::iter::from_fn(|| self.receiver.poll_event()));
        }
    }

    fn connect(&mut self) {
        self.run(Duration::from_secs(2));
        assert!(self.sender.is_connected() && self.receiver.is_connected());
        assert!(self.sender_events.contains(&Event::Connected));
    }

    fn write(&mut self, mid: Mid, codec: Codec, timestamp: u64, data: Arc<[u8]>) -> bool {
        self.sender
            .write_frame(
                self.now,
                OutgoingFrame {
                    mid,
                    codec,
                    level: None,
                    timestamp,
                    data,
                },
            )
            .unwrap()
    }

    fn frames(&self, kind: Kind) -> Vec<&Frame> {
        let frames = self.receiver_events.iter().filter_map(|event| match event {
            Event::Frame(frame) if frame.kind == kind => Some(frame),
            _ => None,
        });
        frames.collect()
    }
}

#[test]
fn frames_of_both_kinds_arrive_whole_and_in_order() {
    let mut pair = Pair::new(&[Codec::Opus, Codec::Vp8]);
    let mids = pair.publish(&[Kind::Audio, Kind::Video]);
    pair.connect();
    for n in 0..50u8 {
        assert!(pair.write(mids[0], Codec::Opus, u64::from(n) * 960, vec![n; 80].into()));
        assert!(pair.write(
            mids[1],
            Codec::Vp8,
            u64::from(n) * 1800,
            vp8_frame(n == 0, n, 4000)
        ));
        pair.run(Duration::from_millis(20));
    }
    pair.run(Duration::from_millis(500));
    let audio = pair.frames(Kind::Audio);
    assert_eq!(
        audio.iter().map(|f| f.data[0]).collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
    assert!(
        audio
            .windows(2)
            .all(|w| w[1].timestamp - w[0].timestamp == 960 && w[0].clock_rate == 48_000)
    );
    let video = pair.frames(Kind::Video);
    assert_eq!(
        video.iter().map(|f| f.data[20]).collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
    assert!(video[0].keyframe && !video[1].keyframe);
    assert!(
        video
            .iter()
            .skip(1)
            .all(|f| f.contiguous && f.data.len() == 4000 && f.mid == mids[1])
    );
    assert!(
        video
            .windows(2)
            .all(|w| w[1].timestamp - w[0].timestamp == 1800 && w[0].clock_rate == 90_000)
    );
}

#[test]
fn a_peer_that_is_at_another_address_goes_on_after_an_ice_restart() {
    let mut pair = Pair::new(&[Codec::Opus]);
    let mids = pair.publish(&[Kind::Audio]);
    pair.connect();
    let mut here: SocketAddr = "192.0.2.1:5000".parse().unwrap();
    for restart in 0..2u16 {
        let heard = pair.frames(Kind::Audio).len();
        pair.gone = Some(here);
        here = SocketAddr::from(([192, 0, 2, 7], 5007 + restart));
        pair.sender.move_to(pair.now, here).unwrap();
        let offer = pair.sender.create_ice_restart(pair.now).unwrap();
        let answer = pair.receiver.accept_offer(pair.now, &offer).unwrap();
        pair.sender.accept_answer(pair.now, &answer).unwrap();
        pair.run(Duration::from_millis(500));
        for n in 0..10u8 {
            let at = u64::from(restart) * 10_000 + u64::from(n) * 960;
            assert!(pair.write(mids[0], Codec::Opus, at, vec![n; 80].into()));
            pair.run(Duration::from_millis(20));
        }
        pair.run(Duration::from_millis(300));
        assert_eq!(pair.frames(Kind::Audio).len(), heard + 10, "at {here}");
    }
}

#[test]
fn h264_arrives_in_annex_b_form() {
    let mut pair = Pair::new(&[Codec::H264]);
    let mids = pair.publish(&[Kind::Video]);
    pair.connect();
    for n in 0..10u8 {
        assert!(pair.write(
            mids[0],
            Codec::H264,
            u64::from(n) * 3000,
            h264_frame(n == 0, n, 3000)
        ));
        pair.run(Duration::from_millis(40));
    }
    let video = pair.frames(Kind::Video);
    assert_eq!(video.len(), 10);
    assert!(video[0].keyframe && video[0].codec == Codec::H264);
    assert!(video.iter().all(|f| f.data.starts_with(&[0, 0, 0, 1])));
}

#[test]
fn lost_packets_are_sent_again() {
    let mut pair = Pair::new(&[Codec::Vp8]);
    let mids = pair.publish(&[Kind::Video]);
    pair.connect();
    pair.lose_one_in = 20;
    for n in 0..100u8 {
        assert!(pair.write(
            mids[0],
            Codec::Vp8,
            u64::from(n) * 3000,
            vp8_frame(n == 0, n, 6000)
        ));
        pair.run(Duration::from_millis(30));
    }
    pair.run(Duration::from_secs(1));
    assert!(pair.large > 500, "enough was sent for losses to matter");
    assert_eq!(pair.frames(Kind::Video).len(), 100);
}

#[test]
fn a_keyframe_request_reaches_the_sender_at_most_twice_a_second() {
    let mut pair = Pair::new(&[Codec::Vp8]);
    let mids = pair.publish(&[Kind::Video]);
    pair.connect();
    assert!(
        !pair.receiver.request_keyframe(pair.now, "none".into()),
        "no such track"
    );
    pair.write(mids[0], Codec::Vp8, 0, vp8_frame(true, 0, 500));
    pair.run(Duration::from_millis(100));
    assert!(pair.receiver.request_keyframe(pair.now, mids[0]));
    assert!(!pair.receiver.request_keyframe(pair.now, mids[0]));
    pair.run(Duration::from_millis(500));
    assert!(pair.receiver.request_keyframe(pair.now, mids[0]));
    pair.run(Duration::from_millis(100));
    let requests = pair
        .sender_events
        .iter()
        .filter(|e| **e == Event::KeyframeRequest { mid: mids[0] })
        .count();
    assert_eq!(requests, 2);
}

#[test]
fn a_second_stream_is_added_and_the_first_one_stopped() {
    let mut pair = Pair::new(&[Codec::Opus, Codec::Vp8]);
    let first = pair.publish(&[Kind::Video]);
    pair.connect();
    pair.write(first[0], Codec::Vp8, 0, vp8_frame(true, 1, 500));
    pair.run(Duration::from_millis(100));
    let offer = pair
        .sender
        .create_offer(pair.now, &[Kind::Video], &first)
        .unwrap();
    let answer = pair.receiver.accept_offer(pair.now, &offer.sdp).unwrap();
    pair.sender.accept_answer(pair.now, &answer).unwrap();
    pair.run(Duration::from_millis(100));
    let refused = OutgoingFrame {
        mid: first[0],
        codec: Codec::Vp8,
        level: None,
        timestamp: 9000,
        data: vp8_frame(true, 2, 500),
    };
    assert!(pair.sender.write_frame(pair.now, refused).is_err());
    assert!(pair.write(offer.mids[0], Codec::Vp8, 9000, vp8_frame(true, 3, 500)));
    pair.run(Duration::from_millis(100));
    assert_eq!(
        pair.frames(Kind::Video)
            .iter()
            .map(|f| f.data[20])
            .collect::<Vec<_>>(),
        [1, 3]
    );
    let stopped = Event::Track {
        mid: first[0],
        kind: Kind::Video,
        receiving: false,
    };
    assert!(pair.receiver_events.contains(&stopped));
}

#[test]
fn closing_tells_the_other_side() {
    let mut pair = Pair::new(&[Codec::Opus]);
    pair.publish(&[Kind::Audio]);
    pair.connect();
    pair.sender.close(pair.now);
    pair.run(Duration::from_millis(200));
    assert_eq!(
        pair.sender_events.last(),
        Some(&Event::Closed(CloseReason::Local))
    );
    assert_eq!(
        pair.receiver_events.last(),
        Some(&Event::Closed(CloseReason::Remote))
    );
    assert!(
        pair.sender
            .create_offer(pair.now, &[Kind::Audio], &[])
            .is_err()
    );
    assert_eq!(pair.sender.next_timeout(), None);
}

#[test]
fn nonsense_is_refused_with_a_sentence_or_ignored() {
    let mut pair = Pair::new(&[Codec::Opus]);
    assert!(
        pair.receiver
            .accept_offer(pair.now, "v=0\r\nnonsense")
            .unwrap_err()
            .0
            .starts_with("unreadable offer")
    );
    assert!(pair.sender.accept_answer(pair.now, "").is_err());
    assert!(pair.sender.create_offer(pair.now, &[], &[]).is_err());
    pair.publish(&[Kind::Audio]);
    pair.connect();
    let (from, to) = (
        "192.0.2.1:5000".parse().unwrap(),
        "192.0.2.2:6000".parse().unwrap(),
    );
    let mut noise = 1u32;
    for len in 0..300 {
        let datagram: Vec<u8> = (0..len)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        pair.receiver.handle_datagram(pair.now, from, to, &datagram);
    }
    pair.run(Duration::from_secs(1));
    assert!(pair.receiver.is_connected());
}

/// An offer of one video line as an SFU writes it.
fn sfu_offer(direction: &str, codec: &str, pt: u8, track: Option<(&str, u32)>) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let source = track.map_or(String::new(), |(id, ssrc)| {
        format!("a=msid:{id} {id}-v\r\na=ssrc:{ssrc} cname:c\r\n")
    });
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\na={direction}\r\n\
         a=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghabcdefghabcdefgh\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.9 9000 typ host\r\n{source}a=rtcp-mux\r\n\
         a=rtpmap:{pt} {codec}/90000\r\n"
    )
}

#[test]
fn an_m_line_used_again_for_another_codec_is_taken() {
    let now = Instant::now();
    let local = vec!["192.0.2.1:5000".parse().unwrap()];
    let mut peer = Peer::new(
        now,
        &PeerConfig {
            codecs: vec![Codec::Vp8, Codec::H264],
            local,
        },
    )
    .unwrap();
    peer.accept_offer(now, &sfu_offer("sendonly", "VP8", 96, Some(("ann", 1))))
        .unwrap();
    peer.accept_offer(now, &sfu_offer("inactive", "VP8", 96, None))
        .unwrap();
    let h264 = sfu_offer("sendonly", "H264", 98, Some(("ben", 2)))
        + "a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
    let answer = peer.accept_offer(now, &h264).unwrap();
    assert!(
        answer.contains("a=recvonly") && answer.contains("a=rtpmap:98 H264/90000"),
        "{answer}"
    );
    assert!(!answer.contains("VP8"));
}
