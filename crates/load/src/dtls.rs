//! The DTLS client of a peer, until it has its keys.

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use parlour_media::SrtpProfile;
use parlour_media::dtls::fingerprint;
use parlour_media::srtp::{SrtpKeys, SrtpReceiver, SrtpSender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As Chromium has it: a server that hears of ICE's success a moment later misses the first flight.
const FIRST_REPEAT: Duration = Duration::from_millis(50);
const POLL_BUFFER: usize = 2048; // above the MTU of dimpl

/// What all peers of a generator share: one certificate, made at start.
pub(crate) struct Identity {
    config: Arc<Config>,
    certificate: DtlsCertificate,
}

impl Identity {
    pub(crate) fn new() -> Result<Identity, String> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| format!("no certificate can be made: {error}"))?;
        let config = Config::builder()
            .flight_start_rto(FIRST_REPEAT)
            .build()
            .map_err(|error| format!("these settings are none for DTLS: {error}"))?;
        Ok(Identity {
            config: Arc::new(config),
            certificate,
        })
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate.certificate)
    }
}

/// A SHA-256 as `a=fingerprint` has it (RFC 8122 §5).
pub fn fingerprint_text(digest: &[u8; 32]) -> String {
    let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    digits.join(":")
}

/// How media goes to the server and comes from it.
pub(crate) struct Srtp {
    pub(crate) sender: SrtpSender,
    pub(crate) receiver: SrtpReceiver,
    pub(crate) profile: SrtpProfile,
}

pub(crate) struct DtlsClient {
    dtls: Dtls,
    expected: [u8; 32],
    seen: Option<[u8; 32]>,
    srtp: Option<Srtp>,
    connected: bool,
    pub(crate) next: Instant,
}

impl DtlsClient {
    pub(crate) fn new(identity: &Identity, expected: [u8; 32], now: Instant) -> DtlsClient {
        let config = Arc::clone(&identity.config);
        let mut dtls = Dtls::new_12(config, identity.certificate.clone(), now);
        dtls.set_active(true);
        DtlsClient {
            dtls,
            expected,
            seen: None,
            srtp: None,
            connected: false,
            next: now,
        }
    }

    /// Sends what time makes due; the first call begins the handshake.
    pub(crate) fn on_timer(
        &mut self,
        now: Instant,
        send: impl FnMut(&[u8]),
    ) -> Result<Option<Srtp>, String> {
        if now < self.next {
            return Ok(None);
        }
        let failed = |error| format!("the DTLS handshake failed: {error}");
        self.dtls.handle_timeout(now).map_err(failed)?;
        self.drain(send)
    }

    pub(crate) fn on_datagram(
        &mut self,
        datagram: &[u8],
        send: impl FnMut(&[u8]),
    ) -> Result<Option<Srtp>, String> {
        let failed = |error| format!("the DTLS handshake failed: {error}");
        self.dtls.handle_packet(datagram).map_err(failed)?;
        self.drain(send)
    }

    fn drain(&mut self, mut send: impl FnMut(&[u8])) -> Result<Option<Srtp>, String> {
        let mut buffer = [0; POLL_BUFFER];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => send(packet),
                Output::PeerCert(der) => self.seen = Some(fingerprint(der)),
                Output::Connected => self.connected = true,
                Output::KeyingMaterial(material, profile) => {
                    self.srtp = Some(srtp(&material, profile)?);
                }
                Output::CloseNotify => return Err("the server closed the DTLS connection".into()),
                Output::BufferTooSmall { needed } => {
                    return Err(format!("a DTLS record of {needed} bytes is too long"));
                }
                Output::Timeout(at) => {
                    self.next = at;
                    break;
                }
                _ => {}
            }
        }
        if !self.connected || self.srtp.is_none() {
            return Ok(None);
        }
        if self.seen != Some(self.expected) {
            return Err("the server's certificate is not the one its SDP announced".into());
        }
        Ok(self.srtp.take())
    }
}

fn srtp(material: &[u8], profile: dimpl::SrtpProfile) -> Result<Srtp, String> {
    let profile = match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
        other => return Err(format!("the SRTP profile {other:?} is not known here")),
    };
    let failed = |error| format!("the SRTP keys cannot be used: {error:?}");
    let keys = SrtpKeys::from_exporter(profile, material).map_err(failed)?;
    Ok(Srtp {
        sender: SrtpSender::new(&keys.client).map_err(failed)?,
        receiver: SrtpReceiver::new(&keys.server).map_err(failed)?,
        profile,
    })
}
