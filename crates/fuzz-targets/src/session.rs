//! A router with two peers, driven by bytes: datagrams from anywhere, time, and media that is really sealed. A panic
//! that the router would survive by closing a transport ends the fuzzer all the same, since its hook runs first.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use parlour_media::dtls::DtlsRole;
use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtp::{RtpHeader, is_rtcp, is_rtp_or_rtcp, write_header};
use parlour_media::srtp::{SRTP_OVERHEAD, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use parlour_media::stun::{
    BindingRequest, StunMessage, is_stun, write_binding_request, write_binding_success,
};
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, Event, IngressLimit, Kind, ProducerId, ProducerSpec,
    Router, RouterConfig, TransportId, VecSink,
};
use parlour_sim::ledger::Ledger;

mod answer;
mod handshake;
mod sources;

pub use answer::answer;
pub use handshake::handshake;
pub use sources::sources;

const UFRAGS: [&str; 2] = ["fuzzedufrag0", "fuzzedufrag1"];
const PASSWORDS: [&str; 2] = ["a-password-of-24-letters", "another-one-of-24-letter"];
/// Of the peers.
const PASSWORD: &str = "password-of-the-fuzzers-peers";
const LEVEL: u8 = 5;
const VIDEO: Ssrc = Ssrc(1000);
const VIDEO_RTX: Ssrc = Ssrc(1001);
const AUDIO: Ssrc = Ssrc(1002);
/// What the subscriber receives.
const FORWARDED: [(Ssrc, Ssrc); 2] = [(Ssrc(2000), Ssrc(2001)), (Ssrc(2002), Ssrc(2003))];
/// The video once more, without RTX.
const PLAIN: Ssrc = Ssrc(2004);

fn certificate() -> DtlsCertificate {
    static CERTIFICATE: OnceLock<DtlsCertificate> = OnceLock::new();
    let make = || dimpl::certificate::generate_self_signed_certificate().expect("a certificate");
    CERTIFICATE.get_or_init(make).clone()
}

/// What came of the peer's handshake.
#[derive(Default)]
struct Peer {
    address: Option<SocketAddr>,
    srtp: Option<SrtpSender>,
    /// All that the router ever sealed for it.
    ledger: Option<Ledger>,
    /// The rollover counter and the last number of each of its streams.
    sent: Vec<(Ssrc, u32, SeqNo)>,
}

/// The router and its peers.
pub struct Session {
    router: Router,
    sink: VecSink,
    now: Instant,
    peers: [Peer; 2],
    events: Vec<Event>,
}

fn address(of: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1 + of as u8], 5000))
}

impl Session {
    /// Two transports, each with an address that a check has validated. Both peers have the same certificate, which is
    /// ours as well: making more of them would be all that the fuzzer did.
    pub fn new() -> Self {
        Session::with_role(DtlsRole::Server)
    }

    fn with_role(role: DtlsRole) -> Self {
        let now = Instant::now();
        let certificate = certificate();
        let fingerprint = parlour_media::dtls::fingerprint(&certificate.certificate);
        let config = RouterConfig {
            certificate,
            seed: 1,
            secret: [1; 32],
            started: now,
            ingress: IngressLimit::default(),
            adapts: true,
        };
        let mut session = Session {
            router: Router::new(config),
            sink: VecSink::default(),
            now,
            peers: Default::default(),
            events: Vec::new(),
        };
        for of in 0..2 {
            let transport = TransportId(of as u64);
            let (local_ufrag, local_pwd) = (UFRAGS[of].to_owned(), PASSWORDS[of].to_owned());
            session.command(Command::AddTransport {
                transport,
                local_ufrag,
                local_pwd,
            });
            session.command(Command::SetRemote {
                transport,
                remote_ufrag: "peer".to_owned(),
                remote_pwd: PASSWORD.to_owned(),
                fingerprint,
                role,
            });
            session.check(of, [of as u8; 12], address(of), true);
            let (_, answer) = session
                .sink
                .sent
                .pop_front()
                .expect("an answer to the check");
            assert!(StunMessage::parse(&answer).is_ok_and(|answer| answer.is_binding_success()));
            session.peers[of].address = Some(address(of));
        }
        session
    }

    fn command(&mut self, command: Command) {
        self.router
            .handle_command(self.now, command, &mut self.sink);
        self.drain_events();
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
        }
    }

    /// An authentic connectivity check.
    fn check(&mut self, of: usize, transaction: [u8; 12], source: SocketAddr, nominate: bool) {
        let username = format!("{}:peer", UFRAGS[of]);
        let request = BindingRequest {
            username: &username,
            priority: 1,
            tie_breaker: 1,
            controlling: true,
            nominate,
        };
        let mut buf = [0; 160];
        let len = write_binding_request(&mut buf, transaction, &request, PASSWORDS[of].as_bytes());
        self.datagram(source, &mut buf[..len]);
    }

    /// Answers a check of the router's from where the peer is.
    fn answer(&mut self, of: usize, datagram: &[u8]) {
        let Some(request) = StunMessage::parse(datagram)
            .ok()
            .filter(StunMessage::is_binding_request)
        else {
            return;
        };
        let mut buf = [0; 160];
        let (transaction, source) = (request.transaction_id(), address(of));
        let len = write_binding_success(&mut buf, transaction, source, PASSWORD.as_bytes());
        self.datagram(source, &mut buf[..len]);
    }

    fn datagram(&mut self, source: SocketAddr, datagram: &mut [u8]) {
        self.router
            .handle_datagram(self.now, self.now, source, datagram, &mut self.sink);
        // What waits for the next turn of the router gets it at once: time stands still here.
        while self.router.next_timeout().is_some_and(|at| at <= self.now) {
            self.router.handle_timeout(self.now, &mut self.sink);
        }
        self.drain_events();
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.router.handle_timeout(self.now, &mut self.sink);
        assert!(
            self.router.next_timeout().is_none_or(|at| at > self.now),
            "the router would spin"
        );
        self.drain_events();
    }

    /// Shakes hands as both peers and sets up what they exchange: peer 0 publishes video and audio to peer 1.
    fn connect(&mut self) {
        for of in 0..2 {
            let config = Config::builder().build().expect("the default settings");
            let mut dtls = Dtls::new_12(Arc::new(config), certificate(), self.now);
            dtls.set_active(true);
            dtls.handle_timeout(self.now).expect("a ClientHello");
            let mut buf = [0; 2048];
            loop {
                let mut flight = Vec::new();
                loop {
                    match dtls.poll_output(&mut buf) {
                        Output::Packet(packet) => flight.push(packet.to_vec()),
                        Output::KeyingMaterial(material, profile) => {
                            assert_eq!(profile, dimpl::SrtpProfile::AEAD_AES_256_GCM);
                            let keys =
                                SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &material)
                                    .expect("keys");
                            let sender = SrtpSender::new(&keys.client).expect("keys");
                            let receiver = SrtpReceiver::new(&keys.server).expect("keys");
                            self.peers[of].srtp = Some(sender);
                            self.peers[of].ledger = Some(Ledger::new(receiver));
                        }
                        Output::Timeout(_) => break,
                        _ => {}
                    }
                }
                flight
                    .iter_mut()
                    .for_each(|packet| self.datagram(address(of), packet));
                if self.sink.sent.is_empty() {
                    break;
                }
                // What waited for an answer comes when that is given.
                while let Some((to, packet)) = self.sink.sent.pop_front() {
                    // As soon as it is connected it may send feedback as well.
                    if to.remote != address(of) || is_rtp_or_rtcp(&packet) {
                        continue;
                    }
                    if is_stun(&packet) {
                        self.answer(of, &packet);
                        continue;
                    }
                    dtls.handle_packet(&packet)
                        .expect("what a DTLS server says");
                }
            }
            assert!(self.peers[of].srtp.is_some(), "{:?}", self.events);
        }
        for (at, (kind, codec, ssrc)) in [
            (Kind::Video, Codec::Vp8, VIDEO),
            (Kind::Audio, Codec::Opus, AUDIO),
        ]
        .into_iter()
        .enumerate()
        {
            let video = kind == Kind::Video;
            let producer = ProducerId(at as u64);
            self.command(Command::AddProducer(ProducerSpec {
                producer,
                transport: TransportId(0),
                kind,
                codec,
                mid: at.to_string(),
                rid: String::new(),
                payload_type: PayloadType(96 + at as u8),
                red_payload_type: (!video).then_some(PayloadType(99)),
                rtx_payload_type: video.then_some(PayloadType(98)),
                ssrc: video.then_some(ssrc),
                rtx_ssrc: video.then_some(VIDEO_RTX),
                mid_extension: Some(4),
                rid_extension: None,
                repaired_rid_extension: None,
                twcc_extension: Some(3),
                dependency_descriptor_extension: None,
                level_extension: (!video).then_some(LEVEL),
                nack: video,
                pli: video,
                remb: false,
            }));
            self.command(Command::WatchLevel {
                producer,
                every: Some(Duration::ZERO),
            });
            let (ssrc, rtx_ssrc) = FORWARDED[at];
            self.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(at as u64),
                transport: TransportId(1),
                producers: vec![producer],
                source: 0,
                temporal: None,
                mid: at.to_string(),
                payload_type: PayloadType(96 + at as u8),
                red_payload_type: (!video).then_some(PayloadType(99)),
                rtx_payload_type: video.then_some(PayloadType(98)),
                ssrc,
                rtx_ssrc: video.then_some(rtx_ssrc),
                mid_extension: Some(4),
                twcc_extension: None,
                dependency_descriptor_extension: None,
                pads: true,
                rank: 0,
                cname: "publisher".to_owned(),
            }));
        }
        self.command(Command::AddConsumer(ConsumerSpec {
            consumer: ConsumerId(2),
            transport: TransportId(1),
            producers: vec![ProducerId(0)],
            source: 0,
            temporal: None,
            mid: "2".to_owned(),
            payload_type: PayloadType(96),
            red_payload_type: None,
            rtx_payload_type: None,
            ssrc: PLAIN,
            rtx_ssrc: None,
            mid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            pads: true,
            rank: 0,
            cname: "publisher".to_owned(),
        }));
        self.nothing_is_refused();
    }

    fn nothing_is_refused(&self) {
        let refused = self
            .events
            .iter()
            .find(|event| matches!(event, Event::CommandRefused { .. }));
        assert!(refused.is_none(), "{refused:?}");
    }

    /// Seals a packet as its peer would and delivers it. The numbers of a stream go on as they are, over the wrap.
    fn seal(&mut self, of: usize, plain: &[u8]) {
        let Peer {
            address: Some(source),
            srtp: Some(sender),
            sent,
            ..
        } = &mut self.peers[of]
        else {
            return;
        };
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + SRTP_OVERHEAD, 0);
        let len = if is_rtcp(plain) {
            sender.protect_rtcp(&mut packet, plain.len())
        } else {
            let Ok(header) = RtpHeader::parse(plain) else {
                return;
            };
            let known = sent.iter_mut().find(|(ssrc, ..)| *ssrc == header.ssrc);
            let roc = match known {
                None => {
                    sent.push((header.ssrc, 0, header.seq));
                    0
                }
                Some((_, roc, newest)) if header.seq.newer_than(*newest) => {
                    *roc += u32::from(header.seq.0 < newest.0);
                    *newest = header.seq;
                    *roc
                }
                Some((_, roc, newest)) => roc.saturating_sub(u32::from(header.seq.0 > newest.0)),
            };
            sender.protect_rtp(&mut packet, plain.len(), roc)
        };
        let (Ok(len), source) = (len, *source) else {
            return;
        };
        self.datagram(source, &mut packet[..len]);
    }

    /// Everything the router sent: only to addresses that were validated, authentic, and no index used twice.
    fn take_sent(&mut self) {
        for (to, datagram) in self.sink.sent.drain(..) {
            let Some(peer) = self
                .peers
                .iter_mut()
                .find(|peer| peer.address == Some(to.remote))
            else {
                assert!(is_check(&datagram), "{datagram:?} goes to {to}");
                continue;
            };
            if let Some(ledger) = peer.ledger.as_mut().filter(|_| is_rtp_or_rtcp(&datagram)) {
                ledger.enter(&datagram);
            }
        }
    }
}

/// Whether it answers a check or is one, which is all that goes to an address that is not a peer's own.
fn is_check(datagram: &[u8]) -> bool {
    StunMessage::parse(datagram)
        .is_ok_and(|it| it.is_binding_success() || it.is_binding_error() || it.is_binding_request())
}

/// Takes a record from the bytes: what is to be done, a byte for it, and data behind a length byte.
fn record<'a>(data: &mut &'a [u8]) -> Option<(u8, u8, &'a [u8])> {
    let (&[what, with, len], rest) = data.split_first_chunk()?;
    let (taken, rest) = rest.split_at(usize::from(len).min(rest.len()));
    *data = rest;
    Some((what, with, taken))
}

/// Datagrams of any kind from anybody, to a router that waits for its peers to shake hands.
pub fn router(mut data: &[u8]) {
    let mut session = Session::new();
    for _ in 0..64 {
        let Some((what, with, taken)) = record(&mut data) else {
            break;
        };
        let source = address(usize::from(with % 4));
        let mut datagram = taken.to_vec();
        match what % 4 {
            0 => session.datagram(source, &mut datagram),
            1 => session.advance(Duration::from_millis(u64::from(with) * 40)),
            2 => {
                datagram.resize(12, 0);
                let transaction = *datagram.first_chunk().unwrap_or(&[0; 12]);
                session.check(usize::from(with >> 7), transaction, source, with & 8 != 0);
            }
            _ => {
                // A DTLS record around the data, so that not only its header is fuzzed.
                let kind = 20 + (with >> 2) % 6;
                let mut record = vec![
                    kind,
                    0xfe,
                    0xfd,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    with,
                    0,
                    taken.len() as u8,
                ];
                record.extend(taken);
                session.datagram(source, &mut record);
            }
        }
        session.sink.sent.clear();
    }
    assert!(!session.router.snapshot().to_json().is_empty());
}

/// Media and reports that are authentic, whatever they say, through a router with a publisher and a subscriber.
pub fn media(mut data: &[u8]) {
    let mut session = Session::new();
    session.connect();
    session.take_sent();
    let mut next = [100u16; 4];
    for _ in 0..128 {
        let Some((what, with, taken)) = record(&mut data) else {
            break;
        };
        let of = usize::from(with & 1);
        match what % 8 {
            0 => session.seal(of, taken),
            1 => {
                let mut report = taken.to_vec();
                if let [first, second, ..] = &mut report[..] {
                    (*first, *second) = (0x80 | *first & 0x3f, 200 + *second % 8);
                }
                session.seal(of, &report);
            }
            2 => session.advance(Duration::from_millis(
                u64::from(with) * u64::from(with) / 16,
            )),
            3 => session.command(Command::SetConsumerPaused {
                consumer: ConsumerId(u64::from(with & 1)),
                paused: with & 2 != 0,
            }),
            4 => {
                session.check(
                    of,
                    [what, with, taken.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    address(of),
                    true,
                );
            }
            _ => {
                // A packet of one of the publisher's streams; its number goes on, stays, goes back or jumps.
                let (ssrc, payload_type) =
                    [(VIDEO, 96), (VIDEO_RTX, 98), (AUDIO, 97), (Ssrc(77), 96)]
                        [usize::from(with & 3)];
                let seq = &mut next[usize::from(with & 3)];
                *seq = match with >> 5 {
                    0..4 => seq.wrapping_add(1),
                    4 => seq.wrapping_sub(3),
                    5 => seq.wrapping_add(40),
                    6 => seq.wrapping_add(4000),
                    _ => *seq,
                };
                let mut packet = [0; 400];
                let timestamp = RtpTime(u32::from(*seq).wrapping_mul(960));
                let transport_wide = [what, *seq as u8];
                let (mid, marker) = ([b'0' + (with & 3) / 2], with & 4 != 0);
                let extensions: [(u8, &[u8]); 2] = [(4, &mid), (3, &transport_wide)];
                let used = if with & 8 != 0 { &extensions[..] } else { &[] };
                let len = write_header(
                    &mut packet,
                    marker,
                    PayloadType(payload_type),
                    SeqNo(*seq),
                    timestamp,
                    ssrc,
                    used,
                );
                packet[len..len + taken.len()].copy_from_slice(taken);
                session.seal(0, &packet[..len + taken.len()]);
            }
        }
        session.take_sent();
    }
}
