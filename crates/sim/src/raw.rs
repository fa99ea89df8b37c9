//! A peer that says exactly what a test wants: DTLS by dimpl, everything else by the wire modules. Time stands
//! still while it shakes hands.

use crate::ledger::Ledger;
use crate::{AUDIO_PT, Sim, VIDEO_PT, password, ufrag};
use dimpl::{Config, Dtls, Output};
use parlour_media::dtls::DtlsRole;
use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtp::{self, RtpHeader};
use parlour_media::srtp::{SrtpKeys, SrtpReceiver, SrtpSender};
use parlour_media::stun::{self, BindingRequest, StunMessage};
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, Kind, ProducerId, ProducerSpec, SrtpProfile,
    TransportId,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The password of every such peer.
pub const RAW_PASSWORD: &str = "password-of-a-raw-peer";

/// A track of a raw peer as most tests want it: producer 1, SSRC 1000, with nothing beside it. Video repairs.
pub fn producer(transport: TransportId, kind: Kind) -> ProducerSpec {
    let is_video = kind == Kind::Video;
    ProducerSpec {
        producer: ProducerId(1),
        transport,
        kind,
        codec: if is_video { Codec::Vp8 } else { Codec::Opus },
        mid: "0".into(),
        rid: String::new(),
        payload_type: PayloadType(if is_video { VIDEO_PT } else { AUDIO_PT }),
        red_payload_type: None,
        rtx_payload_type: None,
        ssrc: Some(Ssrc(1000)),
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
    }
}

/// What a peer gets of `producer`, under an SSRC: consumer 1, with nothing beside it.
pub fn consumer(transport: TransportId, producer: &ProducerSpec, ssrc: u32) -> ConsumerSpec {
    ConsumerSpec {
        consumer: ConsumerId(1),
        transport,
        producers: vec![producer.producer],
        source: 0,
        temporal: None,
        mid: "0".into(),
        payload_type: producer.payload_type,
        red_payload_type: None,
        rtx_payload_type: None,
        ssrc: Ssrc(ssrc),
        rtx_ssrc: None,
        mid_extension: None,
        twcc_extension: None,
        dependency_descriptor_extension: None,
        pads: true,
        rank: 0,
        cname: "c".into(),
    }
}

/// A peer without a stack of its own.
pub struct RawPeer {
    /// Where it is.
    pub address: SocketAddr,
    /// Its transport in the router.
    pub transport: TransportId,
    dtls: Dtls,
    srtp: Option<SrtpSender>,
    ledger: Option<Ledger>,
    transactions: u8,
    /// Whether it answers checks while it connects.
    answers_checks: bool,
    number: u64,
    /// The newest index of each stream it sends.
    newest: HashMap<Ssrc, u64>,
    /// Whether it waits for the router's ClientHello.
    is_passive: bool,
    /// Whether its handshake came to nothing.
    has_failed: bool,
}

impl RawPeer {
    /// Adds a transport of this number, which no other peer has, and connects to it.
    pub fn connect(sim: &mut Sim, number: u64) -> RawPeer {
        RawPeer::connect_as(sim, number, true)
    }

    /// The same for a peer that leaves our checks unanswered, or does not.
    pub fn connect_as(sim: &mut Sim, number: u64, answers_checks: bool) -> RawPeer {
        let mut peer = RawPeer::new(sim, number, answers_checks, None, own_certificate());
        peer.begin(sim);
        peer
    }

    /// Adds a transport whose peer announces and shows this certificate, and lets them shake hands. Says whether that
    /// came to its end.
    pub fn shows(sim: &mut Sim, number: u64, certificate: dimpl::DtlsCertificate) -> bool {
        let mut peer = RawPeer::new(sim, number, true, None, certificate);
        peer.shake_hands(sim);
        peer.srtp.is_some()
    }

    /// The same for a peer that waits for the router's ClientHello, and asks it for a cookie or does not.
    pub fn connect_passive(sim: &mut Sim, number: u64, asks_for_cookie: bool) -> RawPeer {
        let asks = Some(asks_for_cookie);
        let mut peer = RawPeer::new(sim, number, true, asks, own_certificate());
        peer.begin(sim);
        peer
    }

    fn new(
        sim: &mut Sim,
        number: u64,
        answers_checks: bool,
        passive: Option<bool>,
        certificate: dimpl::DtlsCertificate,
    ) -> RawPeer {
        let transport = TransportId(number);
        let address = SocketAddr::from(([203, 0, 113, number as u8], 7000));
        sim.command(Command::AddTransport {
            transport,
            local_ufrag: ufrag(number),
            local_pwd: password(number),
        });
        let fingerprint = parlour_media::dtls::fingerprint(&certificate.certificate);
        sim.command(Command::SetRemote {
            transport,
            remote_ufrag: "rawraw".into(),
            remote_pwd: RAW_PASSWORD.into(),
            fingerprint,
            role: match passive {
                Some(_) => DtlsRole::Client,
                None => DtlsRole::Server,
            },
        });
        let config = Config::builder().use_server_cookie(passive == Some(true));
        let mut dtls = Dtls::new_12(Arc::new(config.build().unwrap()), certificate, sim.now);
        dtls.set_active(passive.is_none());
        dtls.handle_timeout(sim.now).unwrap();
        RawPeer {
            address,
            transport,
            dtls,
            srtp: None,
            ledger: None,
            transactions: 0,
            answers_checks,
            number,
            newest: HashMap::new(),
            is_passive: passive.is_some(),
            has_failed: false,
        }
    }

    fn begin(&mut self, sim: &mut Sim) {
        self.shake_hands(sim);
        assert!(self.srtp.is_some(), "the handshake ends: {:?}", sim.events);
    }

    fn shake_hands(&mut self, sim: &mut Sim) {
        // One that answers nothing has to earn our half of the handshake by what it sends, and one that says nothing else
        // the router's check.
        let is_heard = self.answers_checks && !self.is_passive;
        for _ in 0..if is_heard { 1 } else { 8 } {
            let came = self.check(sim, true, true);
            if self.is_passive {
                // What proves its address has the router say hello.
                self.take_all(sim, came);
            }
        }
        for _ in 0..10 {
            self.drive(sim);
        }
    }

    /// A connectivity check; returns what was answered.
    pub fn check(&mut self, sim: &mut Sim, controlling: bool, nominate: bool) -> Vec<Vec<u8>> {
        let username = format!("{}:rawraw", ufrag(self.number));
        let request = BindingRequest {
            username: &username,
            priority: 1,
            tie_breaker: 1,
            controlling,
            nominate,
        };
        self.transactions += 1;
        let mut buffer = [0; 256];
        let transaction = [self.transactions; 12];
        let pwd = password(self.number);
        let len = stun::write_binding_request(&mut buffer, transaction, &request, pwd.as_bytes());
        self.exchange(sim, &buffer[..len])
    }

    /// Answers a check of the router's, if this is one, with the password given.
    pub fn answer(&mut self, sim: &mut Sim, datagram: &[u8], pwd: &str) -> bool {
        let Ok(request) = StunMessage::parse(datagram) else {
            return false;
        };
        if !request.is_binding_request() {
            return false;
        }
        let name = format!("rawraw:{}", ufrag(self.number));
        assert_eq!(request.username(), Some(name.as_str()));
        assert!(request.verify_integrity(RAW_PASSWORD.as_bytes()));
        assert!(request.has_valid_fingerprint() && request.ice_controlled().is_some());
        let mut buffer = [0; 160];
        let transaction = request.transaction_id();
        let len =
            stun::write_binding_success(&mut buffer, transaction, self.address, pwd.as_bytes());
        sim.inject(self.address, &buffer[..len]);
        true
    }

    /// Sends a datagram; returns what came back at once.
    pub fn exchange(&mut self, sim: &mut Sim, datagram: &[u8]) -> Vec<Vec<u8>> {
        sim.sent = Some(Vec::new());
        sim.inject(self.address, datagram);
        self.answers(sim)
    }

    /// What the router sent to this peer since sending was recorded.
    pub fn answers(&self, sim: &mut Sim) -> Vec<Vec<u8>> {
        let sent = sim.sent.replace(Vec::new()).unwrap_or_default();
        let ours = sent.into_iter().filter(|(to, _)| *to == self.address);
        ours.map(|(_, datagram)| datagram).collect()
    }

    fn drive(&mut self, sim: &mut Sim) {
        if self.has_failed {
            return;
        }
        let mut buffer = [0; 2048];
        let mut out = Vec::new();
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => out.push(packet.to_vec()),
                Output::KeyingMaterial(material, dimpl::SrtpProfile::AEAD_AES_256_GCM) => {
                    let keys =
                        SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &material).unwrap();
                    let keys = if self.is_passive {
                        keys.swapped()
                    } else {
                        keys
                    };
                    self.srtp = Some(SrtpSender::new(&keys.client).unwrap());
                    self.ledger = Some(Ledger::new(SrtpReceiver::new(&keys.server).unwrap()));
                }
                Output::Timeout(_) => break,
                _ => {}
            }
        }
        for datagram in out {
            self.take(sim, &datagram);
        }
    }

    /// Sends a datagram and takes in what comes back. A check is answered if that is wanted.
    fn take(&mut self, sim: &mut Sim, datagram: &[u8]) {
        let came = self.exchange(sim, datagram);
        self.take_all(sim, came);
    }

    fn take_all(&mut self, sim: &mut Sim, all: Vec<Vec<u8>>) {
        for came in all {
            if !stun::is_stun(&came) {
                self.has_failed |= self.dtls.handle_packet(&came).is_err();
            } else if self.answers_checks && self.answer(sim, &came, RAW_PASSWORD) {
                // What waited for the proof comes now.
                for waited in self.answers(sim) {
                    self.has_failed |= self.dtls.handle_packet(&waited).is_err();
                }
            }
        }
    }

    /// Sends RTP as it is given, whatever it is; returns all that the router sent, to whomever. The rollover counter is
    /// the one that a receiver of all of it guesses (RFC 3711 §3.3.1).
    pub fn send_rtp(&mut self, sim: &mut Sim, plain: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let header = RtpHeader::parse(plain).unwrap();
        let (ssrc, first) = (header.ssrc, u64::from(header.seq.0));
        let newest = self.newest.entry(ssrc).or_insert(first);
        let ahead = i64::from(SeqNo(*newest as u16).distance_to(header.seq));
        let index = newest.checked_add_signed(ahead).unwrap_or(first);
        *newest = index.max(*newest);
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + 32, 0);
        let sender = self.srtp.as_ref().unwrap();
        let roc = (index >> 16) as u32;
        let len = sender.protect_rtp(&mut packet, plain.len(), roc).unwrap();
        sim.sent = Some(Vec::new());
        sim.inject(self.address, &packet[..len]);
        sim.sent.take().unwrap()
    }

    /// Seals and sends RTCP; returns what came back at once.
    pub fn send_rtcp(&mut self, sim: &mut Sim, plain: &[u8]) -> Vec<Vec<u8>> {
        let packet = self.seal_rtcp(plain);
        self.exchange(sim, &packet)
    }

    /// Seals RTCP without sending it.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + 32, 0);
        let sender = self.srtp.as_mut().unwrap();
        let len = sender.protect_rtcp(&mut packet, plain.len()).unwrap();
        packet.truncate(len);
        packet
    }

    /// Opens what the router sent; None for what is neither RTP nor RTCP, or came before bit for bit.
    pub fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if !rtp::is_rtp_or_rtcp(datagram) {
            return None;
        }
        self.ledger_mut().enter(datagram)
    }

    /// What was sealed for this peer, as far as it was opened.
    pub fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    /// The same, to enter what is not opened.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        self.ledger.as_mut().unwrap()
    }
}

/// A publisher and a subscriber, peers 1 and 2, with one video track of that codec between them, sent on as `ssrc`.
pub fn filmed(sim: &mut Sim, codec: Codec, ssrc: u32) -> (RawPeer, RawPeer) {
    let publisher = RawPeer::connect(sim, 1);
    let subscriber = RawPeer::connect(sim, 2);
    let mut track = producer(publisher.transport, Kind::Video);
    track.codec = codec;
    sim.command(Command::AddProducer(track.clone()));
    sim.command(Command::AddConsumer(consumer(
        subscriber.transport,
        &track,
        ssrc,
    )));
    (publisher, subscriber)
}

fn own_certificate() -> dimpl::DtlsCertificate {
    dimpl::certificate::generate_self_signed_certificate().unwrap()
}

/// A plain RTP packet.
pub fn rtp_packet(payload_type: u8, seq: u16, time: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    let (pt, ssrc) = (PayloadType(payload_type), Ssrc(ssrc));
    rtp::write_header(&mut packet, true, pt, SeqNo(seq), RtpTime(time), ssrc, &[]);
    packet.extend(payload);
    packet
}
