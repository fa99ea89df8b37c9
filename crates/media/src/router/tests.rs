//! What no honest part of the router does, and what stands below it.

use super::{Router, RouterConfig, TICK};
use crate::egress::rewrite::Rewriter;
use crate::egress::spec::ConsumerSpec;
use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::ingress::keyframe_requests::Need;
use crate::ingress::spec::ProducerSpec;
use crate::reasons::{CloseReason, DropReason};
use crate::router::command::Command;
use crate::router::event::Event;
use crate::router::intake::Media;
use crate::slab::TransportKey;
use crate::transport::dtls::DtlsRole;
use crate::transport::path::Path;
use crate::transport::policer::IngressLimit;
use crate::transport::sink::VecSink;
use crate::transport::srtp::{KeySalt, SrtpProfile, SrtpReceiver, SrtpSender};
use crate::transport::{ICE_TIMEOUT, Srtp};
use crate::wire::codecs::{Codec, Kind};
use crate::wire::layers::Layers;
use crate::wire::num::{ExtSeqNo, PayloadType, RtpTime, SeqNo, Ssrc};
use crate::wire::rtp;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const OPUS: PayloadType = PayloadType(111);
const VP8: PayloadType = PayloadType(96);

fn router(now: Instant) -> Router {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    Router::new(RouterConfig {
        certificate,
        seed: 1,
        secret: [1; 32],
        started: now,
        ingress: IngressLimit::default(),
        adapts: true,
    })
}

/// A transport as it is after its handshake.
fn connect(router: &mut Router, now: Instant, number: u64, sink: &mut VecSink) -> TransportKey {
    let transport = TransportId(number);
    let add = Command::AddTransport {
        transport,
        local_ufrag: format!("ufrag{number}"),
        local_pwd: "a password of enough letters".into(),
    };
    router.handle_command(now, add, sink);
    let index = router.transport_ids[&transport];
    let path = Path::from(SocketAddr::from(([192, 0, 2, number as u8], 7000)));
    let profile = SrtpProfile::AeadAes128Gcm;
    let keys = KeySalt::new(profile, &[number as u8; 16], &[7; 12]).unwrap();
    let transport = router.transports.get_mut(index).unwrap();
    transport.ice.on_check(now, path, 100, [0; 12], (1, true));
    assert!(transport.ice.on_handshake(now, 0.5, path));
    transport.srtp = Some(Srtp {
        profile,
        receiver: SrtpReceiver::new(&keys).unwrap(),
        sender: SrtpSender::new(&keys).unwrap(),
    });
    index
}

/// A track of the first transport, and what the second gets of it.
fn specs(kind: Kind) -> (ProducerSpec, ConsumerSpec) {
    let is_video = kind == Kind::Video;
    let payload_type = if is_video { VP8 } else { OPUS };
    let track = ProducerSpec {
        producer: ProducerId(2000),
        transport: TransportId(1),
        kind,
        codec: if is_video { Codec::Vp8 } else { Codec::Opus },
        mid: "0".into(),
        rid: String::new(),
        payload_type,
        red_payload_type: None,
        rtx_payload_type: None,
        ssrc: (!is_video).then_some(Ssrc(2000)),
        rtx_ssrc: None,
        mid_extension: None,
        rid_extension: None,
        repaired_rid_extension: None,
        twcc_extension: None,
        dependency_descriptor_extension: None,
        level_extension: None,
        nack: is_video,
        pli: is_video,
        remb: false,
    };
    let subscription = ConsumerSpec {
        consumer: ConsumerId(3000),
        transport: TransportId(2),
        producers: vec![ProducerId(2000)],
        source: 0,
        temporal: None,
        mid: "0".into(),
        payload_type,
        red_payload_type: None,
        rtx_payload_type: None,
        ssrc: Ssrc(3000),
        rtx_ssrc: None,
        mid_extension: None,
        twcc_extension: None,
        dependency_descriptor_extension: None,
        pads: false,
        rank: 0,
        cname: "c".into(),
    };
    (track, subscription)
}

/// Twenty packets of sound; the numbers under which they went on.
fn talk(
    router: &mut Router,
    now: Instant,
    publisher: TransportKey,
    from: u16,
    sink: &mut VecSink,
) -> Vec<u16> {
    for number in from..from + 20 {
        let mut packet = [0; 52];
        let time = RtpTime(u32::from(number) * 960);
        rtp::write_header(
            &mut packet,
            false,
            OPUS,
            SeqNo(number),
            time,
            Ssrc(2000),
            &[],
        );
        router.receive_rtp(now, publisher, &packet, sink).unwrap();
    }
    router.forward(now, sink);
    let sent = sink.sent.drain(..).map(|(_, datagram)| datagram);
    let media = sent.filter(|it| rtp::is_rtp_or_rtcp(it) && !rtp::is_rtcp(it));
    media.map(|it| u16::from_be_bytes([it[2], it[3]])).collect()
}

/// What numbers packets may have a fault one day: it costs packets, and never the keystream of two.
#[test]
fn a_second_packet_under_a_used_index_is_refused_below_whatever_numbered_it() {
    let (now, mut sink) = (Instant::now(), VecSink::default());
    let mut router = router(now);
    let publisher = connect(&mut router, now, 1, &mut sink);
    connect(&mut router, now, 2, &mut sink);
    let (track, subscription) = specs(Kind::Audio);
    router.handle_command(now, Command::AddProducer(track), &mut sink);
    router.handle_command(now, Command::AddConsumer(subscription), &mut sink);
    let before = talk(&mut router, now, publisher, 0, &mut sink);
    assert_eq!(before.len(), 20);
    // Somebody begins to number anew with the first number.
    let consumer = router.consumer_ids[&ConsumerId(3000)];
    let consumer = router.consumers.get_mut(consumer).unwrap();
    consumer.rewriter = Rewriter::new(48_000, before[0], 0);
    assert_eq!(talk(&mut router, now, publisher, 20, &mut sink), []);
    let refused = router.snapshot().drops.get(DropReason::IndexUsed);
    assert_eq!(refused, 20);
    // What is new goes on.
    assert_eq!(talk(&mut router, now, publisher, 40, &mut sink).len(), 20);
}

#[test]
fn what_is_not_due_is_not_looked_at_however_many_transports_there_are() {
    let (start, mut sink) = (Instant::now(), VecSink::default());
    let mut router = router(start);
    for number in 1..=1000 {
        let transport = TransportId(number);
        let add = Command::AddTransport {
            transport,
            local_ufrag: format!("ufrag{number}"),
            local_pwd: "a password of enough letters".into(),
        };
        router.handle_command(start, add, &mut sink);
        // From here it has a time: its peer is waited for.
        let name = Command::SetRemote {
            transport,
            remote_ufrag: "theirs".into(),
            remote_pwd: "another password of theirs".into(),
            fingerprint: [0; 32],
            role: DtlsRole::Server,
        };
        router.handle_command(start, name, &mut sink);
    }
    let busy = router.transport_ids[&TransportId(500)];
    let mut now = start + Duration::from_secs(1);
    router.handle_timeout(now, &mut sink);
    router.transports.take_visits();
    for _ in 0..100 {
        now += TICK;
        router.wake(busy, now);
        router.handle_timeout(now, &mut sink);
    }
    let visits = router.transports.take_visits();
    assert!((100..2500).contains(&visits), "{visits} in 100 turns");
    // All of them are when their time has come, in one turn.
    router.handle_timeout(start + ICE_TIMEOUT, &mut sink);
    let closed = std::iter::from_fn(|| router.poll_event());
    let timed_out = closed.filter(|event| {
        matches!(event, Event::TransportClosed { reason, .. } if *reason == CloseReason::IceTimeout)
    });
    assert_eq!(timed_out.count(), 1000);
    assert_eq!(router.next_timeout(), None);
}

/// As one is that another shard passes on.
#[test]
fn a_track_without_a_stream_is_forwarded_and_repaired_from_what_it_keeps() {
    let (now, mut sink) = (Instant::now(), VecSink::default());
    let mut router = router(now);
    for number in [1, 2] {
        connect(&mut router, now, number, &mut sink);
    }
    let (track, subscription) = specs(Kind::Video);
    router.handle_command(now, Command::AddProducer(track), &mut sink);
    router.handle_command(now, Command::AddConsumer(subscription), &mut sink);
    let track = router.track_ids[&ProducerId(2000)];
    let consumer = router.consumer_ids[&ConsumerId(3000)];
    assert!(router.tracks.get(track).unwrap().stream.is_none());
    sink.sent.clear();
    for number in 0..3 {
        let media = Media {
            ext: ExtSeqNo(0x1_0000 + number),
            marker: true,
            timestamp: RtpTime(3000 * number as u32),
            descriptor: &[],
            payload: &[0x10, 0, number as u8],
            layers: Layers::NONE,
            keyframe: number == 0,
            copies: 0,
        };
        router.feed(now, track, &media, &mut sink);
    }
    assert!(sink.sent.is_empty(), "the turn is not over");
    router.forward(now, &mut sink);
    let sent: Vec<_> = sink.sent.drain(..).map(|(_, datagram)| datagram).collect();
    assert_eq!(sent.len(), 3);
    let lost = SeqNo(u16::from_be_bytes([sent[1][2], sent[1][3]]));
    router.resend(now, consumer, lost, &mut sink).unwrap();
    let again = sink.sent.pop_front().map(|(_, datagram)| datagram);
    assert_eq!(again.as_ref(), Some(&sent[1]));
    // Nobody here is asked for a keyframe or for what is lost: there is no SSRC to name.
    router.want_keyframe(now, track, Need::Repair);
    router.handle_timeout(now + Duration::from_secs(2), &mut sink);
    let snapshot = router.snapshot();
    let track = &snapshot.producers[0];
    let asked = (track.keyframe_requests, track.nacks_sent);
    assert_eq!((track.ssrc, asked), (None, (0, 0)));
}
