//! A client without a handshake: its keys are injected, its ICE is real. It answers checks, seals and opens.

use crate::memory::metered;
use crate::{AUDIO_PT, MID_EXTENSION, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT, password, ufrag};
use parlour_media::dtls::DtlsRole;
use parlour_media::num::{Rng, SeqNo};
use parlour_media::srtp::{SRTP_OVERHEAD, SrtpKeys, SrtpReceiver, SrtpSender};
use parlour_media::stun::{self, BindingRequest, StunMessage};
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, DtlsCertificate, IngressLimit, Kind, PayloadType,
    ProducerId, ProducerSpec, Router, RouterConfig, SrtpProfile, Ssrc, TransmitSink, TransportId,
};
use std::net::SocketAddr;
use std::time::Instant;

/// The password of every such client.
const PASSWORD: &str = "password-of-a-keyed-client";
const UFRAG: &str = "keyed";

/// A router for such clients. Nobody shakes hands with it, so it has no certificate.
pub fn keyed_router(seed: u64, now: Instant, adapts: bool) -> Router {
    Router::new(RouterConfig {
        certificate: DtlsCertificate {
            certificate: Vec::new(),
            private_key: Vec::new(),
        },
        seed,
        secret: [seed as u8; 32],
        started: now,
        ingress: IngressLimit::default(),
        adapts,
    })
}

/// One client.
pub struct KeyedClient {
    /// Its transport in the router.
    pub transport: TransportId,
    /// Where it is.
    pub address: SocketAddr,
    keys: SrtpKeys,
    sender: SrtpSender,
    /// Opens what comes.
    pub receiver: SrtpReceiver,
    transactions: u64,
    /// ICE restarts; each gave both sides new credentials.
    restarts: u32,
}

impl KeyedClient {
    /// Adds a transport of this number, below 2^16, which no other client has. [`KeyedClient::check`] makes the router
    /// ask back; once that is answered the address is proven, and [`KeyedClient::connect`] may follow.
    pub fn join(
        router: &mut Router,
        now: Instant,
        sink: &mut impl TransmitSink,
        number: u64,
        rng: &mut Rng,
    ) -> KeyedClient {
        let transport = TransportId(number);
        let [_, _, _, _, _, _, high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 0, high, low], 10_000));
        let mut material = [0; 88];
        material
            .iter_mut()
            .for_each(|byte| *byte = rng.next_u32() as u8);
        let profile = SrtpProfile::AeadAes256Gcm;
        let keys = SrtpKeys::from_exporter(profile, &material).expect("88 bytes");
        let add = Command::AddTransport {
            transport,
            local_ufrag: ufrag(number),
            local_pwd: password(number),
        };
        let name = Command::SetRemote {
            transport,
            remote_ufrag: UFRAG.into(),
            remote_pwd: PASSWORD.into(),
            fingerprint: [0; 32],
            role: DtlsRole::Server,
        };
        // The router keeps what a command names: that is made where it is counted.
        metered(|| router.handle_command(now, add.clone(), sink));
        metered(|| router.handle_command(now, name.clone(), sink));
        KeyedClient {
            transport,
            address,
            sender: SrtpSender::new(&keys.client).expect("keys"),
            receiver: SrtpReceiver::new(&keys.server).expect("keys"),
            keys,
            transactions: 0,
            restarts: 0,
        }
    }

    /// Gives the router the keys, as the end of a handshake does.
    pub fn connect(&self, router: &mut Router, now: Instant) {
        let known = router.inject_keys(now, self.transport, &self.keys);
        assert_eq!(known, Ok(true));
    }

    /// Another receiver of what the router seals for it, for a ledger.
    pub fn second_receiver(&self) -> SrtpReceiver {
        SrtpReceiver::new(&self.keys.server).expect("keys")
    }

    /// It is at another port from now on, as behind a NAT that lost its binding.
    pub fn rebind(&mut self) {
        let port = self.address.port();
        self.address.set_port(port.checked_add(1).unwrap_or(10_000));
    }

    /// New credentials for both sides (RFC 8445 §9): what the router is to be told.
    pub fn restart(&mut self) -> [Command; 2] {
        self.restarts += 1;
        let (local_ufrag, local_pwd, remote_ufrag, remote_pwd) = self.credentials(self.restarts);
        let begin = Command::RestartIce {
            transport: self.transport,
            local_ufrag,
            local_pwd,
        };
        let name = Command::SetRemote {
            transport: self.transport,
            remote_ufrag,
            remote_pwd,
            fingerprint: [0; 32],
            role: DtlsRole::Server,
        };
        [begin, name]
    }

    /// The router's fragment and password and the client's, after so many restarts.
    fn credentials(&self, restarts: u32) -> (String, String, String, String) {
        let number = self.transport.0;
        let suffix = match restarts {
            0 => String::new(),
            _ => format!("-{restarts}"),
        };
        (
            ufrag(number) + &suffix,
            password(number) + &suffix,
            format!("{UFRAG}{suffix}"),
            format!("{PASSWORD}{suffix}"),
        )
    }

    /// A connectivity check that nominates the address it comes from.
    pub fn check(&mut self) -> Vec<u8> {
        self.check_of(self.restarts)
    }

    /// The same under the credentials of an earlier time, after so many restarts.
    pub fn check_of(&mut self, restarts: u32) -> Vec<u8> {
        let (ours, pwd, theirs, _) = self.credentials(restarts);
        let request = BindingRequest {
            username: &format!("{ours}:{theirs}"),
            priority: 1,
            tie_breaker: 1,
            controlling: true,
            nominate: true,
        };
        self.transactions += 1;
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = [0; 256];
        let len = stun::write_binding_request(&mut buffer, transaction, &request, pwd.as_bytes());
        buffer[..len].to_vec()
    }

    /// The answer to a check of the router's, if this is one.
    pub fn answer(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let request = StunMessage::parse(datagram).ok()?;
        if !request.is_binding_request() {
            return None;
        }
        // A restart leaves the credentials before it good for a while.
        let all = (0..=self.restarts).map(|restarts| self.credentials(restarts));
        let mut all = all
            .filter(|(ours, _, theirs, _)| request.username() == Some(&format!("{theirs}:{ours}")));
        let (_, _, _, pwd) = all.next_back().expect("a check for this client");
        assert!(request.verify_integrity(pwd.as_bytes()));
        let mut buffer = [0; 160];
        let transaction = request.transaction_id();
        let pwd = pwd.as_bytes();
        let len = stun::write_binding_success(&mut buffer, transaction, self.address, pwd);
        Some(buffer[..len].to_vec())
    }

    /// Seals an RTP packet under an index of 48 bits.
    pub fn seal(&self, plain: &[u8], index: u64) -> Vec<u8> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + SRTP_OVERHEAD, 0);
        let roc = (index >> 16) as u32;
        let len = self.sender.protect_rtp(&mut packet, plain.len(), roc);
        packet.truncate(len.expect("a packet that can be sealed"));
        packet
    }

    /// Seals RTCP.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + SRTP_OVERHEAD, 0);
        let len = self.sender.protect_rtcp(&mut packet, plain.len());
        packet.truncate(len.expect("RTCP that can be sealed"));
        packet
    }

    /// A track of this client: its SSRCs may change, the MID tells them apart. Video has RTX.
    pub fn producer(&self, producer: ProducerId, kind: Kind) -> ProducerSpec {
        let video = kind == Kind::Video;
        ProducerSpec {
            producer,
            transport: self.transport,
            kind,
            codec: if video { Codec::Vp8 } else { Codec::Opus },
            mid: if video { "v".into() } else { "a".into() },
            rid: String::new(),
            payload_type: PayloadType(if video { VIDEO_PT } else { AUDIO_PT }),
            red_payload_type: None,
            rtx_payload_type: video.then_some(PayloadType(VIDEO_RTX_PT)),
            ssrc: None,
            rtx_ssrc: None,
            mid_extension: Some(MID_EXTENSION),
            rid_extension: None,
            repaired_rid_extension: None,
            twcc_extension: Some(TWCC_EXTENSION),
            dependency_descriptor_extension: None,
            level_extension: None,
            nack: video,
            pli: video,
            remb: true,
        }
    }

    /// What this client gets of a producer under an SSRC; `rtx`: under the next one, repairs.
    pub fn consumer(
        &self,
        consumer: ConsumerId,
        producer: &ProducerSpec,
        ssrc: u32,
        rtx: bool,
    ) -> ConsumerSpec {
        let rtx = rtx && producer.kind == Kind::Video;
        ConsumerSpec {
            consumer,
            transport: self.transport,
            producers: vec![producer.producer],
            source: 0,
            temporal: None,
            mid: format!("d{ssrc}"),
            payload_type: producer.payload_type,
            red_payload_type: None,
            rtx_payload_type: rtx.then_some(PayloadType(VIDEO_RTX_PT)),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: rtx.then_some(Ssrc(ssrc + 1)),
            mid_extension: Some(MID_EXTENSION),
            twcc_extension: Some(TWCC_EXTENSION),
            dependency_descriptor_extension: None,
            pads: true,
            rank: 0,
            cname: "someone".into(),
        }
    }
}

/// A plain RTP packet with the extensions that a browser sends: MID and the transport-wide number.
pub fn packet(spec: &ProducerSpec, header: &Header, transport_wide: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 64];
    let number = transport_wide.to_be_bytes();
    // A retransmission names what it repairs by another extension (RFC 8852).
    let is_rtx = Some(header.payload_type) == spec.rtx_payload_type;
    let rid = match is_rtx {
        true => spec.repaired_rid_extension,
        false => spec.rid_extension,
    };
    let extensions: [(u8, &[u8]); 3] = [
        (MID_EXTENSION, spec.mid.as_bytes()),
        (TWCC_EXTENSION, &number),
        (rid.unwrap_or_default(), spec.rid.as_bytes()),
    ];
    let named = if rid.is_some() { 3 } else { 2 };
    let len = parlour_media::rtp::write_header(
        &mut packet,
        header.marker,
        header.payload_type,
        SeqNo(header.number as u16),
        parlour_media::num::RtpTime(header.timestamp),
        header.ssrc,
        &extensions[..named],
    );
    packet.truncate(len);
    packet.extend(body);
    packet
}

/// What differs from packet to packet of a track.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The payload type: of the media or of its retransmissions.
    pub payload_type: PayloadType,
    /// The SSRC.
    pub ssrc: Ssrc,
    /// The sequence number, unwrapped.
    pub number: u64,
    /// The timestamp.
    pub timestamp: u32,
    /// Whether it ends a frame.
    pub marker: bool,
}
