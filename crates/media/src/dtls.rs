//! The DTLS side of a transport: always the server (`setup:passive`), always DTLS 1.2, so that we pick
//! the SRTP profile (RFC 5764).

use crate::budget::Budget;
use crate::dtls_records::{HelloPieces, Phase, Sifted, sift};
use crate::event::CloseReason;
use crate::srtp::SrtpProfile;
use aws_lc_rs::digest;
use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From the first ClientHello to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Datagrams of a peer that may move a handshake, and so cost cryptography, at once and a second after that. A handshake
/// takes about ten, with retransmissions of a bad network three times as many. What comes to nothing takes none of it:
/// else a stranger's junk from the peer's address would use up the peer's.
const COSTLY_BURST: f64 = 96.0;
const COSTLY_RATE: f64 = 20.0;

/// Datagrams of any content, each of which costs microseconds at least.
const DATAGRAM_BURST: f64 = 128.0;
const DATAGRAM_RATE: f64 = 1000.0;

/// Larger than the flights dimpl makes at its default MTU and than any record it hands up.
const POLL_BUFFER: usize = 2048;

/// The certificate's SHA-256, as `a=fingerprint` has it (RFC 8122 §5).
pub fn fingerprint(certificate_der: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, certificate_der).as_ref());
    hash
}

/// What all transports of a router share.
pub(crate) struct DtlsSettings {
    config: Arc<Config>,
    certificate: DtlsCertificate,
}

impl DtlsSettings {
    /// The cookie exchange is left out: ICE has proven the address already.
    pub(crate) fn new(certificate: DtlsCertificate) -> Self {
        let config = Config::builder()
            .use_server_cookie(false)
            .flight_start_rto(Duration::from_millis(500))
            .flight_retries(6)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()
            .expect("these DTLS settings are constants that dimpl accepts");
        DtlsSettings {
            config: Arc::new(config),
            certificate,
        }
    }
}

/// What the peer has proven at the end of a handshake.
pub(crate) struct Handshake {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) profile: SrtpProfile,
    pub(crate) keys: KeyingMaterial,
}

/// What a drive of the state machine came to.
pub(crate) enum Progress {
    /// Nothing to tell.
    None,
    /// The handshake ended; the keys may be used when the fingerprint is the announced one.
    Finished(Box<Handshake>),
    /// The connection is over.
    Closed(CloseReason),
}

/// One DTLS association. Nothing is allocated before the first datagram from a validated address.
pub(crate) struct DtlsSession {
    dtls: Option<Dtls>,
    timer: Option<Instant>,
    /// What came of a ClientHello before we answered one.
    pieces: HelloPieces,
    answered: bool,
    finished: bool,
    peer_fingerprint: Option<[u8; 32]>,
    costly: Budget,
    datagrams: Budget,
}

impl DtlsSession {
    pub(crate) fn new() -> Self {
        DtlsSession {
            dtls: None,
            timer: None,
            pieces: HelloPieces::default(),
            answered: false,
            finished: false,
            peer_fingerprint: None,
            costly: Budget::new(COSTLY_BURST, COSTLY_RATE),
            datagrams: Budget::new(DATAGRAM_BURST, DATAGRAM_RATE),
        }
    }

    /// Whether the peer has begun to shake hands.
    pub(crate) fn has_begun(&self) -> bool {
        self.dtls.is_some()
    }

    /// When [`DtlsSession::handle_timeout`] is due.
    pub(crate) fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// The SHA-256 of the certificate the peer showed, once it did.
    pub(crate) fn peer_fingerprint(&self) -> Option<[u8; 32]> {
        self.peer_fingerprint
    }

    /// What of a datagram a client may say at this point of the handshake; empty: nothing.
    pub(crate) fn sift(&self, datagram: &[u8]) -> Sifted {
        let phase = match () {
            () if self.finished => Phase::Finished,
            () if self.answered => Phase::Answered,
            () => Phase::BeforeHello,
        };
        sift(datagram, phase)
    }

    /// Whether a datagram is within what the peer may send.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.costly.is_left(now) && self.datagrams.take(now)
    }

    /// Takes in a datagram from a validated address; `send` gets what is to be sent back.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        settings: &DtlsSettings,
        mut send: impl FnMut(&[u8]),
    ) -> Progress {
        let whole;
        let datagram = if self.answered {
            datagram
        } else {
            // Nothing was promised to anybody yet: each whole ClientHello begins anew, whatever broke the one before.
            // The budget of datagrams bounds how often.
            let Some(hello) = self.pieces.take_in(datagram) else {
                return Progress::None;
            };
            self.dtls = None;
            whole = hello;
            &whole
        };
        let dtls = self.dtls.get_or_insert_with(|| {
            Dtls::new_12(settings.config.clone(), settings.certificate.clone(), now)
        });
        let result = dtls
            .handle_timeout(now)
            .and_then(|()| dtls.handle_packet(datagram));
        let mut cost = result.is_err();
        let progress = self.after(result, |packet| {
            cost = true;
            send(packet);
        });
        if cost {
            self.costly.take(now);
        }
        progress
    }

    /// Does what is due: retransmissions, and giving up.
    pub(crate) fn handle_timeout(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Progress {
        if self.timer.is_none_or(|at| at > now) {
            return Progress::None;
        }
        let Some(dtls) = self.dtls.as_mut() else {
            return Progress::None;
        };
        let result = dtls.handle_timeout(now);
        self.after(result, send)
    }

    /// Says goodbye, when there is a connection to say it on.
    pub(crate) fn close(&mut self, send: impl FnMut(&[u8])) {
        if let Some(dtls) = self.dtls.as_mut()
            && dtls.close().is_ok()
        {
            self.drain(send);
        }
    }

    fn after(&mut self, result: Result<(), dimpl::Error>, send: impl FnMut(&[u8])) -> Progress {
        match result {
            Ok(()) => self.drain(send),
            Err(dimpl::Error::Timeout(_)) => Progress::Closed(CloseReason::HandshakeTimeout),
            Err(dimpl::Error::ConnectionClosed) => Progress::Closed(CloseReason::PeerClosed),
            Err(_) if !self.answered => {
                self.dtls = None;
                self.timer = None;
                Progress::None
            }
            // Until the peer has proven itself, nobody's word ends it: not a record that does not decrypt, not one
            // too many. The association is as it was, the peer sends its flight again, and the timeout is the end.
            Err(_) if !self.finished => self.drain(send),
            Err(dimpl::Error::ReceiveQueueFull) => self.drain(send),
            Err(_) => Progress::Closed(CloseReason::DtlsFailed),
        }
    }

    fn drain(&mut self, mut send: impl FnMut(&[u8])) -> Progress {
        let Some(dtls) = self.dtls.as_mut() else {
            return Progress::None;
        };
        let mut buffer = [0; POLL_BUFFER];
        let mut connected = false;
        let mut keys = None;
        loop {
            match dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    self.answered = true;
                    send(packet);
                }
                Output::PeerCert(der) => self.peer_fingerprint = Some(fingerprint(der)),
                Output::Connected => connected = true,
                Output::KeyingMaterial(material, profile) => keys = Some((material, profile)),
                Output::CloseNotify => return Progress::Closed(CloseReason::PeerClosed),
                Output::Timeout(at) => {
                    self.timer = Some(at);
                    break;
                }
                Output::BufferTooSmall { .. } => return Progress::Closed(CloseReason::DtlsFailed),
                // Data channels are not spoken here.
                _ => {}
            }
        }
        if !connected || self.finished {
            return Progress::None;
        }
        self.finished = true;
        let (Some(fingerprint), Some((keys, profile))) = (self.peer_fingerprint, keys) else {
            return Progress::Closed(CloseReason::NoSrtpProfile);
        };
        match srtp_profile(profile) {
            Some(profile) => Progress::Finished(Box::new(Handshake {
                fingerprint,
                profile,
                keys,
            })),
            None => Progress::Closed(CloseReason::NoSrtpProfile),
        }
    }
}

fn srtp_profile(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        _ => None,
    }
}
