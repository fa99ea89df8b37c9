//! One function for each parser of network input: it takes any bytes and must neither panic nor break what it asserts.
//! `fuzz/` makes a binary of each; the tests of this crate run them over the committed seeds without a fuzzer.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use parlour_media::codecs::{Codec, is_keyframe_start};
use parlour_media::dependency_descriptor::Structure;
use parlour_media::framing::{self, Found, Framing};
use parlour_media::num::{SeqNo, Ssrc};
use parlour_media::red;
use parlour_media::rtcp::{Rtcp, parse_compound, write_nack, write_remb};
use parlour_media::rtp::{RtpHeader, RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::srtp::{KeySalt, SRTP_OVERHEAD, SrtpProfile, SrtpReceiver, SrtpSender};
use parlour_media::stun::{self, StunMessage, is_stun};
use parlour_media::twcc::TwccRecorder;

mod allocation;
mod bandwidth;
mod session;

pub use allocation::{allocation, pacer};
pub use bandwidth::bandwidth;
pub use session::{answer, handshake, media, router, sources};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Every target with its name: the name of its binary behind `fuzz_`, of its folder of seeds, and of its function.
pub const TARGETS: &[(&str, Target)] = &[
    ("stun", stun),
    ("framing", framing),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("twcc", twcc),
    ("bandwidth", bandwidth),
    ("allocation", allocation),
    ("pacer", pacer),
    ("srtp", srtp),
    ("keyframe", keyframe),
    ("descriptor", descriptor),
    ("router", router),
    ("answer", answer),
    ("handshake", handshake),
    ("media", media),
    ("sources", sources),
];

/// The password of the seeds, which is that of RFC 5769.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// STUN: what is parsed can be asked everything, and the answer is no longer than 1.2 times the request that may have
/// one, so that nobody is amplified.
pub fn stun(data: &[u8]) {
    let Ok(message) = StunMessage::parse(data) else {
        return;
    };
    assert!(is_stun(data) && !is_rtp_or_rtcp(data));
    assert!(message.unknown_required().len() <= 8);
    black_box((
        message.ice_controlled(),
        message.ice_controlling(),
        message.priority(),
        message.use_candidate(),
    ));
    black_box((
        message.xor_mapped_address(),
        message.error_code(),
        message.has_valid_fingerprint(),
    ));
    let mut buf = [0; stun::MAX_WRITTEN_LEN];
    if message.verify_integrity(PASSWORD)
        && message.is_binding_request()
        && message.username().is_some()
    {
        let source = "203.0.113.9:40000".parse().expect("an address");
        let len = stun::write_binding_success(&mut buf, message.transaction_id(), source, PASSWORD);
        let answer = StunMessage::parse(&buf[..len]).expect("our own answer");
        assert!(answer.verify_integrity(PASSWORD) && answer.xor_mapped_address() == Some(source));
        assert!(
            len * 10 <= data.len() * 12,
            "{len} bytes answer {}",
            data.len()
        );
    }
    let unknown = message.unknown_required();
    let len = stun::write_binding_error(&mut buf, message.transaction_id(), 420, PASSWORD, unknown);
    assert_eq!(
        StunMessage::parse(&buf[..len])
            .expect("our own answer")
            .error_code(),
        Some(420)
    );
}

/// Frames of a TCP stream: however it is cut, the same frames come out of it and no more is kept than one of them.
pub fn framing(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(whole, frames(stream, 1 + usize::from(*cut)));
    let bytes: usize = whole
        .iter()
        .map(|frame| framing::HEADER + frame.len())
        .sum();
    assert!(bytes <= stream.len());
}

/// What a stream in pieces of that length has in it.
fn frames(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut framing = Framing::default();
    let (mut frames, mut left) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        left.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (found, next) = framing.next(&left, at);
            assert!((at..=left.len()).contains(&next));
            at = next;
            match found {
                None => break,
                Some(Found::Frame(range)) => frames.push(left[range].to_vec()),
                Some(Found::TooLong(len)) => assert!(len > framing::MAX_FRAME),
            }
        }
        left.drain(..at);
        assert!(left.len() <= framing::MAX_KEPT);
    }
    frames
}

/// RTP: header, payload and padding are the packet; every extension lies within the header.
pub fn rtp(data: &[u8]) {
    let header = RtpHeader::parse(data);
    let Ok(view) = RtpView::parse(data) else {
        return;
    };
    assert_eq!(Ok(view.header()), header.as_ref());
    assert_eq!(
        view.header_len() + view.payload().len() + view.padding_len(),
        data.len()
    );
    assert_eq!(&data[view.payload_range()], view.payload());
    if let Some((_, begins)) = red::primary(view.payload()) {
        assert!((1..=view.payload().len()).contains(&begins));
    }
    let mut len = 12;
    for (id, value) in view.extensions() {
        assert!(id != 0);
        assert!(view.extension(id).is_some());
        len += 1 + value.len();
    }
    assert!(len <= view.header_len().max(12));
}

/// RTCP: no part yields more than its bytes hold, and lost packets can be asked for again.
pub fn rtcp(data: &[u8]) {
    let _ = black_box(is_rtcp(data));
    let mut parts = 0;
    for part in parse_compound(data) {
        parts += 1;
        match part {
            Ok(Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. }) => {
                assert!(blocks.count() <= 31)
            }
            Ok(Rtcp::Sdes(names)) => {
                assert!(names.map(|(_, name)| 2 + name.len()).sum::<usize>() <= data.len())
            }
            Ok(Rtcp::Bye(sources)) => assert!(sources.count() <= 31),
            Ok(Rtcp::Remb {
                sender,
                bitrate,
                sources,
            }) => remb(sender, bitrate, sources.collect()),
            Ok(Rtcp::Fir { requests, .. }) => assert!(requests.count() * 8 <= data.len()),
            Ok(Rtcp::Nack {
                sender,
                media,
                lost,
            }) => nack(data, sender, media, lost.collect()),
            Ok(Rtcp::Twcc(feedback)) => assert_eq!(
                feedback.packets().count(),
                usize::from(feedback.status_count)
            ),
            Ok(Rtcp::Xr { echoes, .. }) => assert!(echoes.count() <= data.len() / 12),
            Ok(Rtcp::Pli { .. } | Rtcp::Other { .. }) | Err(_) => {}
        }
    }
    assert!(parts * 4 <= data.len() + 4);
}

/// The same packets come back, if not in their order: pairs may go back and forth, and what we write ascends.
fn nack(data: &[u8], sender: Ssrc, media: Ssrc, lost: Vec<SeqNo>) {
    assert!(lost.len() * 4 <= data.len() * 17);
    let mut buf = vec![0; 12 + 4 * lost.len()];
    let len = write_nack(&mut buf, sender, media, &lost);
    let numbers =
        |lost: &mut dyn Iterator<Item = SeqNo>| lost.map(|seq| seq.0).collect::<BTreeSet<_>>();
    let again = match parse_compound(&buf[..len]).next() {
        None => BTreeSet::new(),
        Some(Ok(Rtcp::Nack { mut lost, .. })) => numbers(&mut lost),
        other => panic!("{other:?}"),
    };
    assert_eq!(again, numbers(&mut lost.into_iter()));
}

/// An estimate that was read is written and read as the same again.
fn remb(sender: Ssrc, bitrate: u64, sources: Vec<Ssrc>) {
    assert!(sources.len() <= 255);
    let mut buf = [0; 20 + 4 * 255];
    let len = write_remb(&mut buf, sender, bitrate, &sources);
    match parse_compound(&buf[..len]).next() {
        None => assert!(sources.is_empty()),
        Some(Ok(Rtcp::Remb {
            sender: from,
            bitrate: rate,
            sources: of,
        })) => {
            assert!(from == sender && of.eq(sources));
            // What is too large for 64 bits was read as the largest that they hold, and is written with 18 of them.
            assert!(rate == bitrate || bitrate == u64::MAX && rate == bitrate >> 46 << 46);
        }
        other => panic!("{other:?}"),
    }
}

/// Transport-wide feedback, both ways: the bytes are read as feedback, and as arrivals that must come back exactly.
pub fn twcc(data: &[u8]) {
    let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    packet.extend(data.iter().take(4 * 1000));
    packet.resize(packet.len().next_multiple_of(4), 0);
    let words = (packet.len() / 4 - 1) as u16;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    if let Some(Ok(Rtcp::Twcc(feedback))) = parse_compound(&packet).next() {
        assert_eq!(
            feedback.packets().count(),
            usize::from(feedback.status_count)
        );
    }

    let (mut recorder, mut at) = (TwccRecorder::new(), Duration::from_secs(1));
    let mut buf = [0; 400];
    for arrival in data.chunks_exact(5) {
        let [a, b, c, d, report] = *arrival else {
            return;
        };
        at += 250 * Duration::from_micros(u64::from(u16::from_be_bytes([c, d])));
        recorder.on_packet(u16::from_be_bytes([a, b]), at);
        if report < 16 {
            while let Some(len) =
                recorder.build(&mut buf[..20 + 20 * usize::from(report)], Ssrc(1), Ssrc(2))
            {
                let Some(Ok(Rtcp::Twcc(feedback))) = parse_compound(&buf[..len]).next() else {
                    panic!("our own feedback cannot be read")
                };
                let packets: Vec<_> = feedback.packets().collect();
                assert_eq!(packets.len(), usize::from(feedback.status_count));
                assert!(packets.iter().any(|(_, at)| at.is_some()));
            }
        }
    }
}

/// SRTP: nothing that we did not seal is opened, and nothing leaves state; what we seal is opened once.
pub fn srtp(data: &[u8]) {
    for profile in [
        SrtpProfile::Aes128CmSha1_80,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
    ] {
        let (key, salt) = ([7; 32], [9; 14]);
        let keys = KeySalt::new(
            profile,
            &key[..profile.key_len()],
            &salt[..profile.salt_len()],
        )
        .expect("the lengths");
        let mut sender = SrtpSender::new(&keys).expect("keys");
        let mut receiver = SrtpReceiver::new(&keys).expect("keys");
        let mut packet = data.to_vec();
        let opened = (
            receiver.unprotect_rtp(&mut packet).is_ok(),
            receiver.unprotect_rtcp(&mut data.to_vec()).is_ok(),
        );
        // The seeds hold packets sealed with these keys; a fuzzer does not find others.
        assert_eq!(
            usize::from(opened.0) + usize::from(opened.1),
            receiver.stream_count()
        );

        packet = data.to_vec();
        packet.resize(data.len() + SRTP_OVERHEAD, 0);
        if let Ok(len) = sender.protect_rtp(&mut packet, data.len(), 0) {
            let mut receiver = SrtpReceiver::new(&keys).expect("keys");
            assert_eq!(
                receiver.unprotect_rtp(&mut packet[..len].to_vec()),
                Ok(data.len())
            );
            assert!(receiver.unprotect_rtp(&mut packet[..len].to_vec()).is_err());
            receiver = SrtpReceiver::new(&keys).expect("keys");
            receiver
                .unprotect_rtp(&mut packet[..len])
                .expect("our own packet");
            assert_eq!(&packet[..data.len()], data);
        }
        packet = data.to_vec();
        packet.resize(data.len() + SRTP_OVERHEAD, 0);
        if let Ok(len) = sender.protect_rtcp(&mut packet, data.len()) {
            let mut receiver = SrtpReceiver::new(&keys).expect("keys");
            assert_eq!(receiver.unprotect_rtcp(&mut packet[..len]), Ok(data.len()));
            assert_eq!(&packet[..data.len()], data);
        }
    }
}

/// Keyframes: any payload is one or is not.
pub fn keyframe(data: &[u8]) {
    for codec in [Codec::Opus, Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1] {
        black_box(is_keyframe_start(codec, data));
    }
}

/// Dependency descriptors of one stream, each behind its length: layers are in their range, who gets more layers needs no
/// fewer frames, and what cannot be read leaves the structure as it was.
pub fn descriptor(mut data: &[u8]) {
    let mut structure = Structure::default();
    while let Some((len, rest)) = data.split_first() {
        let (one, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        data = rest;
        let before = structure.clone();
        match structure.read(one) {
            Err(_) => assert_eq!(structure, before),
            Ok(said) => {
                assert!(said.spatial < 4 && said.temporal < 8 && one.len() >= 3);
                let needed = said.layers.needed;
                assert_eq!(needed, 0xff << needed.trailing_zeros());
                assert_eq!(said.layers.opens & !(needed << 1), 0);
                assert_eq!(structure.clone().read(one), Ok(said));
            }
        }
    }
}
