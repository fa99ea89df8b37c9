//! The DTLS side of a transport: the server wherever the peer lets us (`setup:passive`), so that we pick the SRTP profile
//! (RFC 5764), else the client; always DTLS 1.2.

mod certificate;
mod client;
pub(crate) mod cookies;
pub(crate) mod flight;
mod hello;
pub(crate) mod records;
mod role;

use crate::reasons::CloseReason;
use crate::reasons::DropReason;
use crate::transport::budget::Budget;
use crate::transport::srtp::SrtpProfile;
use client::{Client, ServerMessages};
use cookies::{CheckedCookie, Cookies, cookie_of, with_checked_cookie, without_cookie};
use dimpl::crypto::CryptoProvider;
use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, Output};
use flight::{Found, Judge, MAX_SEALED, Messages, OwnFlight, UnprovenFlight, in_one_datagram};
use hello::{Heard, Hello, Hellos};
use records::{
    CLIENT_HELLO, Phase, fragments, framed, is_sealed, record, records, second_flight, sift,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use certificate::fingerprint;
pub use role::DtlsRole;

/// From the first ClientHello to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Datagrams of sealed records, and of what was said before, at once and a second: each costs us a decryption.
const ROUTINE_BURST: f64 = 9600.0;
const ROUTINE_RATE: f64 = 2000.0;

/// Larger than the flights dimpl makes at its default MTU and than any record it hands up.
const POLL_BUFFER: usize = 2048;

/// What all transports of a router share.
pub(crate) struct DtlsSettings {
    config: Arc<Config>,
    /// For those who brought a cookie.
    cookie_config: Arc<Config>,
    certificate: DtlsCertificate,
    pub(crate) cookies: Cookies,
}

impl DtlsSettings {
    /// Who is asked for a cookie is not left to dimpl, which would ask everybody or nobody.
    pub(crate) fn new(certificate: DtlsCertificate, secret: &[u8; 32]) -> Self {
        let config = |with_cookie| {
            let provider = dimpl::crypto::aws_lc_rs::default_provider();
            let hmac_provider = match with_cookie {
                true => &CheckedCookie,
                false => provider.hmac_provider,
            };
            let provider = CryptoProvider {
                hmac_provider,
                ..provider
            };
            let config = Config::builder()
                .with_crypto_provider(provider)
                .use_server_cookie(with_cookie)
                .flight_start_rto(Duration::from_millis(500))
                .flight_retries(6)
                .handshake_timeout(HANDSHAKE_TIMEOUT)
                .build();
            Arc::new(config.expect("these DTLS settings are constants that dimpl accepts"))
        };
        DtlsSettings {
            config: config(false),
            cookie_config: config(true),
            certificate,
            cookies: Cookies::new(secret),
        }
    }

    /// The server's side, before it has heard this ClientHello.
    fn server(&self, now: Instant, hello: &Hello) -> Dtls {
        let certificate = self.certificate.clone();
        if hello.seq == 0 {
            return Dtls::new_12(self.config.clone(), certificate, now);
        }
        // It counts its messages from the one that asks for a cookie, which the client has from us.
        let mut dtls = Dtls::new_12(self.cookie_config.clone(), certificate, now);
        let before = framed(CLIENT_HELLO, &without_cookie(&hello.body));
        let heard = dtls
            .handle_timeout(now)
            .and_then(|()| dtls.handle_packet(&record(22, 0, &before)));
        let mut buffer = [0; POLL_BUFFER];
        while heard.is_ok() && !matches!(dtls.poll_output(&mut buffer), Output::Timeout(_)) {}
        dtls
    }
}

/// What the peer has proven at the end of a handshake.
pub(crate) struct Handshake {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) profile: SrtpProfile,
    pub(crate) keys: KeyingMaterial,
}

/// What a drive of the state machine came to.
#[derive(Default)]
pub(crate) enum Progress {
    /// Nothing to tell.
    #[default]
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
    /// To answer a ClientHello.
    Hello(Hello),
    /// To see whether messages are the client's second flight.
    Flight(Messages),
    /// To see whether messages are the server's flight.
    Server(ServerMessages),
}

/// What a datagram came to.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) progress: Progress,
    /// What is to be worked on in its turn.
    pub(crate) jobs: Vec<Job>,
    /// Whether the peer is to be asked for a cookie.
    pub(crate) asks: bool,
}

/// One DTLS association. Nothing is allocated before the first datagram from a validated address.
pub(crate) struct DtlsSession {
    /// There while we are the client.
    client: Option<Box<Client>>,
    dtls: Option<Dtls>,
    timer: Option<Instant>,
    hellos: Hellos,
    answered: bool,
    /// The ClientHello that was answered.
    hello: Hello,
    own: OwnFlight,
    /// Until the client has proven itself.
    unproven: UnprovenFlight,
    /// The client's ClientKeyExchange once it has, without its header.
    key_exchange: Option<Vec<u8>>,
    finished: bool,
    peer_fingerprint: Option<[u8; 32]>,
    routine: Budget,
}

impl DtlsSession {
    pub(crate) fn new() -> Self {
        DtlsSession {
            client: None,
            dtls: None,
            timer: None,
            hellos: Hellos::new(),
            answered: false,
            hello: Hello::default(),
            own: OwnFlight::new(0),
            unproven: UnprovenFlight::new(0),
            key_exchange: None,
            finished: false,
            peer_fingerprint: None,
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

    /// Whether the peer has proven that it answers us.
    pub(crate) fn is_proven(&self) -> bool {
        match &self.client {
            Some(client) => client.proven,
            None => self.key_exchange.is_some(),
        }
    }

    /// Somebody speaks in the peer's name: until the client is proven, only a cookie makes us answer.
    pub(crate) fn be_wary(&mut self) {
        self.be_wary_as_client();
        self.hellos.be_wary();
    }

    /// What of a datagram a peer may say at this point of the handshake; empty: nothing.
    pub(crate) fn sift(&mut self, datagram: &[u8]) -> Vec<u8> {
        if self.is_client() {
            return self.sift_of_server(datagram);
        }
        let phase = if self.finished {
            Phase::Finished
        } else if self.answered {
            Phase::Answered
        } else {
            Phase::BeforeHello
        };
        let sifted = sift(datagram, phase);
        if !self.is_proven() && sifted.len() < datagram.len() {
            self.be_wary();
        }
        sifted
    }

    /// Takes in a sifted datagram from an address that a check named; `announced` is the SHA-256 of the peer's certificate, once
    /// that is known, and `is_ours` tells our cookies. `send` gets what is to be sent back. What comes to nothing is an
    /// error; that ends nothing.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        announced: Option<[u8; 32]>,
        is_ours: impl Fn(&[u8]) -> bool,
        mut send: impl FnMut(&[u8]),
    ) -> Result<Taken, DropReason> {
        if self.is_client() {
            return self.handle_of_server(now, datagram, send);
        }
        let mut taken = Taken::default();
        let again = match self.is_proven() {
            true => self.repeated(datagram),
            false => {
                let heard = self.hear_hellos(now, datagram, is_ours);
                if heard.is_empty() {
                    taken.jobs = self.take_in_flight(now, datagram, announced)?;
                    return Ok(taken);
                }
                let again = self.take_hellos(heard, &mut taken)?;
                if again.is_none() {
                    return Ok(taken);
                }
                again
            }
        };
        let sealed = records(datagram).filter(|record| is_sealed(record));
        let sealed: Vec<&[u8]> = match self.is_proven() {
            true => sealed.take(MAX_SEALED).collect(),
            false => Vec::new(),
        };
        if again.is_none() && sealed.is_empty() {
            return Err(DropReason::DtlsOutOfTurn);
        }
        if !self.routine.take(now) {
            return Err(DropReason::DtlsTooMany);
        }
        for record in again.as_deref().into_iter().chain(sealed) {
            taken.progress = taken.progress.and(self.feed(now, record, &mut send));
        }
        Ok(taken)
    }

    /// What may be the client's second flight, or a piece of it.
    fn take_in_flight(
        &mut self,
        now: Instant,
        datagram: &[u8],
        announced: Option<[u8; 32]>,
    ) -> Result<Vec<Job>, DropReason> {
        if !self.answered {
            return Err(DropReason::DtlsOutOfTurn);
        }
        match self.unproven.take_in(now, datagram, announced) {
            Found::Flights(flights) => Ok(flights.into_iter().map(Job::Flight).collect()),
            Found::Nothing => Err(DropReason::DtlsOutOfTurn),
            Found::TooMany => Err(DropReason::DtlsTooMany),
        }
    }

    /// What each piece of a ClientHello in a datagram comes to.
    fn hear_hellos(
        &mut self,
        now: Instant,
        datagram: &[u8],
        is_ours: impl Fn(&[u8]) -> bool,
    ) -> Vec<Heard> {
        let answered = self.answered.then_some(self.hello.seq);
        let pieces = fragments(datagram).filter(|piece| piece.kind == CLIENT_HELLO.0);
        pieces
            .map(|piece| self.hellos.take_in(now, &piece, answered, &is_ours))
            .collect()
    }

    /// Notes what is to be done about hellos. Returns the one that asks for our answer again.
    fn take_hellos(
        &self,
        heard: Vec<Heard>,
        taken: &mut Taken,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let (mut again, mut refused) = (None, Err(DropReason::DtlsOutOfTurn));
        for one in heard {
            match one {
                Heard::OutOfTurn => continue,
                Heard::TooMany => {
                    refused = refused.or(Err(DropReason::DtlsTooMany));
                    continue;
                }
                Heard::Part => {}
                Heard::Whole(hello) => taken.jobs.push(Job::Hello(hello)),
                Heard::Again => again = Some(self.hello.as_record()),
                Heard::Ask => taken.asks = true,
            }
            refused = Ok(());
        }
        refused.map(|()| again)
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
            Job::Server(messages) => self.work_on_server(now, messages, settings, send),
            Job::Hello(hello) if self.may_answer(hello) => {
                // Nothing was proven by anybody yet: it begins anew, whatever was before.
                self.dtls = Some(settings.server(now, hello));
                self.answered = false;
                self.hello = hello.clone();
                self.own = OwnFlight::new(hello.seq);
                self.unproven = UnprovenFlight::new(hello.seq);
                let record = hello.as_record();
                let cookie = cookie_of(&hello.body).unwrap_or_default();
                with_checked_cookie(cookie, || self.feed(now, &record, send))
            }
            Job::Flight(messages) if self.key_exchange.is_none() => {
                let judge = Judge {
                    hello: &self.hello,
                    own: &self.own,
                    verifier: settings.config.crypto_provider().signature_verification,
                };
                if !judge.finds_good(messages) {
                    return Progress::None;
                }
                self.key_exchange = Some(messages[1].clone());
                let unproven = UnprovenFlight::new(self.hello.seq);
                let sealed = std::mem::replace(&mut self.unproven, unproven).sealed;
                let flight = in_one_datagram(self.hello.seq, messages);
                let mut progress = self.feed(now, &flight, &mut send);
                for record in sealed {
                    progress = progress.and(self.feed(now, &record, &mut send));
                }
                progress
            }
            _ => Progress::None,
        }
    }

    /// One with a cookie comes before one without, which may be anybody's.
    fn may_answer(&self, hello: &Hello) -> bool {
        let is_first = match hello.seq {
            0 => !self.answered && !self.hellos.is_wary(),
            _ => !self.answered || self.hello != *hello,
        };
        is_first && !self.is_proven()
    }

    /// What of a datagram was said before and asks for our answer again: as it was, not as it came.
    fn repeated(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let hello = (CLIENT_HELLO.0, self.hello.seq);
        let key_exchange = second_flight(self.hello.seq)[1];
        let (message, body) = fragments(datagram).find_map(|piece| {
            let before = match (piece.kind, piece.seq) {
                message if message == hello => Some(&self.hello.body),
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
    pub(crate) fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(&[u8])) -> Progress {
        if self.timer.is_none_or(|at| at > now) {
            return Progress::None;
        }
        let followed = self.follow_at_last(now, &mut send);
        let Some(dtls) = self.dtls.as_mut() else {
            return Progress::None;
        };
        let result = dtls.handle_timeout(now);
        followed.and(self.after(result, send))
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
        // Nothing is said to one who may be another while somebody speaks in the peer's name: a browser that waits for
        // our answer would take it for that, find its signature wrong and give up.
        let is_unproven = self.client.is_none() && self.key_exchange.is_none();
        let muted = self.hello.seq == 0 && self.hellos.is_wary() && is_unproven;
        let mut buffer = [0; POLL_BUFFER];
        let mut connected = false;
        let mut keys = None;
        loop {
            match dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    self.answered = true;
                    match self.client.as_deref_mut() {
                        Some(client) => client.note(packet),
                        None => self.own.take_in(packet),
                    }
                    if !muted {
                        send(packet);
                    }
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
