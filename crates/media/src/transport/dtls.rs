//! The DTLS side of a transport: always the server (`setup:passive`), always DTLS 1.2, so that we pick
//! the SRTP profile (RFC 5764).

mod certificate;
pub(crate) mod flight;
pub(crate) mod records;

use crate::reasons::CloseReason;
use crate::reasons::DropReason;
use crate::transport::budget::Budget;
use crate::transport::srtp::SrtpProfile;
use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, Output};
use flight::{Found, Judge, MAX_SEALED, Messages, OwnFlight, UnprovenFlight, in_one_datagram};
use records::{
    CLIENT_HELLO, Phase, Pieces, SECOND_FLIGHT, fragments, framed, is_client_hello, is_sealed,
    record, records, sift,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use certificate::fingerprint;

/// From the first ClientHello to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// ClientHellos that are well-formed but cannot be answered, at once and a second: each costs us a key.
const HELLO_BURST: f64 = 96.0;
const HELLO_RATE: f64 = 20.0;

/// Datagrams of sealed records, and of what was said before, at once and a second: each costs us a decryption.
const ROUTINE_BURST: f64 = 9600.0;
const ROUTINE_RATE: f64 = 2000.0;

/// Larger than the flights dimpl makes at its default MTU and than any record it hands up.
const POLL_BUFFER: usize = 2048;

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

impl Progress {
    /// What came of two datagrams, one after the other.
    fn and(self, next: Progress) -> Progress {
        match (&self, &next) {
            (Progress::None, _) | (_, Progress::Closed(_)) => next,
            _ => self,
        }
    }
}

/// What costs public-key cryptography, and so waits for a turn.
#[derive(Debug)]
pub(crate) enum Job {
    /// To answer a ClientHello, without its header.
    Hello(Vec<u8>),
    /// To see whether messages are the client's second flight.
    Flight(Messages),
}

/// One DTLS association. Nothing is allocated before the first datagram from a validated address.
pub(crate) struct DtlsSession {
    dtls: Option<Dtls>,
    timer: Option<Instant>,
    /// What came of a ClientHello before we answered one.
    pieces: Pieces,
    answered: bool,
    /// The ClientHello that was answered, without its header.
    hello: Vec<u8>,
    own: OwnFlight,
    /// Until the client has proven itself.
    unproven: UnprovenFlight,
    /// The client's ClientKeyExchange once it has, without its header.
    key_exchange: Option<Vec<u8>>,
    finished: bool,
    peer_fingerprint: Option<[u8; 32]>,
    hellos: Budget,
    routine: Budget,
}

impl DtlsSession {
    pub(crate) fn new() -> Self {
        DtlsSession {
            dtls: None,
            timer: None,
            pieces: Pieces::default(),
            answered: false,
            hello: Vec::new(),
            own: OwnFlight::default(),
            unproven: UnprovenFlight::new(),
            key_exchange: None,
            finished: false,
            peer_fingerprint: None,
            hellos: Budget::new(HELLO_BURST, HELLO_RATE),
            routine: Budget::new(ROUTINE_BURST, ROUTINE_RATE),
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
    pub(crate) fn sift(&self, datagram: &[u8]) -> Vec<u8> {
        let phase = match () {
            () if self.finished => Phase::Finished,
            () if self.answered => Phase::Answered,
            () => Phase::BeforeHello,
        };
        sift(datagram, phase)
    }

    /// Takes in a sifted datagram from a validated address; `announced` is the SHA-256 of the peer's certificate, once
    /// that is known. `send` gets what is to be sent back. Returns what is to be worked on in its turn, too. What comes
    /// to nothing is an error; that ends nothing.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        announced: Option<[u8; 32]>,
        mut send: impl FnMut(&[u8]),
    ) -> Result<(Progress, Vec<Job>), DropReason> {
        if !self.answered {
            let hello = self.take_hello(now, datagram)?;
            return Ok((Progress::None, hello.map(Job::Hello).into_iter().collect()));
        }
        let again = self.repeated(datagram);
        if again.is_none() && self.key_exchange.is_none() {
            return match self.unproven.take_in(now, datagram, announced) {
                Found::Flights(flights) => {
                    let jobs = flights.into_iter().map(Job::Flight).collect();
                    Ok((Progress::None, jobs))
                }
                Found::Nothing => Err(DropReason::DtlsOutOfTurn),
                Found::TooMany => Err(DropReason::DtlsTooMany),
            };
        }
        let sealed = records(datagram).filter(|record| is_sealed(record));
        let sealed: Vec<&[u8]> = match self.key_exchange {
            Some(_) => sealed.take(MAX_SEALED).collect(),
            None => Vec::new(),
        };
        if again.is_none() && sealed.is_empty() {
            return Err(DropReason::DtlsOutOfTurn);
        }
        if !self.routine.take(now) {
            return Err(DropReason::DtlsTooMany);
        }
        let mut progress = Progress::None;
        for record in again.as_deref().into_iter().chain(sealed) {
            progress = progress.and(self.feed(now, record, &mut send));
        }
        Ok((progress, Vec::new()))
    }

    fn take_hello(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let pieces = &mut self.pieces;
        let whole = fragments(datagram).filter_map(|piece| pieces.add(&piece));
        match whole.last() {
            Some(hello) if !is_client_hello(&hello) => Err(DropReason::DtlsOutOfTurn),
            Some(_) if !self.hellos.take(now) => Err(DropReason::DtlsTooMany),
            hello => Ok(hello),
        }
    }

    /// Works on something whose turn it is. It comes to nothing when another was first.
    pub(crate) fn work(
        &mut self,
        now: Instant,
        job: &Job,
        settings: &DtlsSettings,
        mut send: impl FnMut(&[u8]),
    ) -> Progress {
        match job {
            Job::Hello(hello) if !self.answered => {
                // Nothing was promised to anybody yet: each whole ClientHello begins anew, whatever broke the one
                // before.
                let (config, certificate) = (settings.config.clone(), &settings.certificate);
                self.dtls = Some(Dtls::new_12(config, certificate.clone(), now));
                self.own = OwnFlight::default();
                self.hello.clone_from(hello);
                let record = record(22, 0, &framed(CLIENT_HELLO, hello));
                let progress = self.feed(now, &record, send);
                if self.answered {
                    self.pieces = Pieces::default();
                }
                progress
            }
            Job::Flight(messages) if self.key_exchange.is_none() => {
                let judge = Judge {
                    hello: &framed(CLIENT_HELLO, &self.hello),
                    own: &self.own,
                    verifier: settings.config.crypto_provider().signature_verification,
                };
                if !judge.finds_good(messages) {
                    return Progress::None;
                }
                self.key_exchange = Some(messages[1].clone());
                let sealed = std::mem::replace(&mut self.unproven, UnprovenFlight::new()).sealed;
                let mut progress = self.feed(now, &in_one_datagram(messages), &mut send);
                for record in sealed {
                    progress = progress.and(self.feed(now, &record, &mut send));
                }
                progress
            }
            _ => Progress::None,
        }
    }

    /// What of a datagram was said before and asks for our answer again: as it was, not as it came.
    fn repeated(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let key_exchange = SECOND_FLIGHT[1];
        let (message, body) = fragments(datagram).find_map(|piece| {
            let before = match (piece.kind, piece.seq) {
                CLIENT_HELLO => Some(&self.hello),
                message if message == key_exchange => self.key_exchange.as_ref(),
                _ => None,
            };
            let before = before.filter(|message| piece.repeats(message))?;
            Some(((piece.kind, piece.seq), before))
        })?;
        Some(record(22, 0, &framed(message, body)))
    }

    /// Lets the handshake work on records that it may hear.
    fn feed(&mut self, now: Instant, datagram: &[u8], send: impl FnMut(&[u8])) -> Progress {
        let Some(dtls) = self.dtls.as_mut() else {
            return Progress::None;
        };
        let result = dtls
            .handle_timeout(now)
            .and_then(|()| dtls.handle_packet(datagram));
        self.after(result, send)
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
                    self.own.take_in(packet);
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
