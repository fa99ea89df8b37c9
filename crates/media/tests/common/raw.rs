//! A peer that says exactly what a test wants: DTLS by dimpl, everything else by the wire modules. Time stands
//! still while it shakes hands.

use super::{Sim, password, ufrag};
use dimpl::{Config, Dtls, Output};
use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtp;
use parlour_media::srtp::{SrtpKeys, SrtpReceiver, SrtpSender};
use parlour_media::stun::{self, BindingRequest};
use parlour_media::{Command, SrtpProfile, TransportId};
use std::net::SocketAddr;
use std::sync::Arc;

pub struct RawPeer {
    pub address: SocketAddr,
    pub transport: TransportId,
    dtls: Dtls,
    srtp: Option<(SrtpSender, SrtpReceiver)>,
    transactions: u8,
    number: u64,
}

impl RawPeer {
    /// Adds a transport of this number, which no other peer has, and connects to it.
    pub fn connect(sim: &mut Sim, number: u64) -> RawPeer {
        let transport = TransportId(number);
        let address = SocketAddr::from(([203, 0, 113, number as u8], 7000));
        sim.command(Command::AddTransport {
            transport,
            local_ufrag: ufrag(number),
            local_pwd: password(number),
        });
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let fingerprint = parlour_media::dtls::fingerprint(&certificate.certificate);
        sim.command(Command::SetRemote {
            transport,
            remote_ufrag: "rawraw".into(),
            fingerprint,
        });
        let mut dtls = Dtls::new_12(Arc::new(Config::default()), certificate, sim.now);
        dtls.set_active(true);
        dtls.handle_timeout(sim.now).unwrap();
        let mut peer = RawPeer {
            address,
            transport,
            dtls,
            srtp: None,
            transactions: 0,
            number,
        };
        peer.check(sim, true, true);
        for _ in 0..10 {
            peer.drive(sim);
        }
        assert!(peer.srtp.is_some(), "the handshake ends: {:?}", sim.events);
        peer
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
        let mut buffer = [0; 2048];
        let mut out = Vec::new();
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => out.push(packet.to_vec()),
                Output::KeyingMaterial(material, dimpl::SrtpProfile::AEAD_AES_256_GCM) => {
                    let keys =
                        SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &material).unwrap();
                    let sender = SrtpSender::new(&keys.client).unwrap();
                    self.srtp = Some((sender, SrtpReceiver::new(&keys.server).unwrap()));
                }
                Output::Timeout(_) => break,
                _ => {}
            }
        }
        for datagram in out {
            for answer in self.exchange(sim, &datagram) {
                self.dtls.handle_packet(&answer).unwrap();
            }
        }
    }

    /// Sends RTP as it is given, whatever it is; returns all that the router sent, to whomever.
    pub fn send_rtp(&mut self, sim: &mut Sim, plain: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + 32, 0);
        let (sender, _) = self.srtp.as_ref().unwrap();
        let len = sender.protect_rtp(&mut packet, plain.len(), 0).unwrap();
        sim.sent = Some(Vec::new());
        sim.inject(self.address, &packet[..len]);
        sim.sent.take().unwrap()
    }

    pub fn send_rtcp(&mut self, sim: &mut Sim, plain: &[u8]) -> Vec<Vec<u8>> {
        let mut packet = plain.to_vec();
        packet.resize(plain.len() + 32, 0);
        let (sender, _) = self.srtp.as_mut().unwrap();
        let len = sender.protect_rtcp(&mut packet, plain.len()).unwrap();
        self.exchange(sim, &packet[..len])
    }

    /// Opens what the router sent; None for what is neither RTP nor RTCP, or came before.
    pub fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut packet = datagram.to_vec();
        let (_, receiver) = self.srtp.as_mut().unwrap();
        if !rtp::is_rtp_or_rtcp(&packet) {
            return None;
        }
        let opened = match rtp::is_rtcp(&packet) {
            true => receiver.unprotect_rtcp(&mut packet),
            false => receiver.unprotect_rtp(&mut packet),
        };
        packet.truncate(opened.ok()?);
        Some(packet)
    }
}

/// A plain RTP packet.
pub fn rtp_packet(payload_type: u8, seq: u16, time: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    let (pt, ssrc) = (PayloadType(payload_type), Ssrc(ssrc));
    rtp::write_header(&mut packet, true, pt, SeqNo(seq), RtpTime(time), ssrc, &[]);
    packet.extend(payload);
    packet
}
