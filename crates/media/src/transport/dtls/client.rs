//! The client's side, for a peer that waits for our ClientHello. What the server answers is in clear, so whoever can send
//! from its address can write it; but the signature in it covers our random (RFC 8422 §5.4), and the certificate is the
//! announced one, so that nobody else can answer who has not seen our hello. The server's flight is put together outside
//! the handshake, which hears of it once that signature is good. What follows is sealed.
//!
//! Two things in it are not signed until the very end: a HelloVerifyRequest, and what is asked of our certificate. The
//! first is believed while nothing odd was seen, and otherwise when our hello is due again and no flight has begun; the
//! second where it came beside the signed key exchange. What is left to somebody who can write the peer's address and sees
//! nothing: a first datagram in the one round trip between our hello and its answer.

use super::DtlsSession;
use super::flight::{leaf, signature};
use super::records::{
    CLIENT_HELLO, Fragment, Pieces, fragments, framed, is_sealed, record, records,
};
use super::{DtlsRole, DtlsSettings, Job, POLL_BUFFER, Progress, Taken, fingerprint};
use crate::reasons::{CloseReason, DropReason};
use crate::transport::budget::Budget;
use dimpl::Dtls;
use dimpl::crypto::{SignatureAlgorithm, SignatureVerifier};
use std::collections::VecDeque;
use std::time::Instant;

const HELLO: usize = 0;
const CERTIFICATE: usize = 1;
const KEY_EXCHANGE: usize = 2;
const REQUEST: usize = 3;

/// Messages with something in them.
const KINDS: usize = 4;

/// The messages of a DTLS 1.2 server that asks for a certificate (RFC 5246 §7.3), as every peer of a call has to (RFC 8827
/// §6.5): type and number. Where it asked for a cookie before, they have one number more (RFC 6347 §4.2.2).
const FLIGHT: [(u8, u16); KINDS + 1] = [(2, 0), (11, 1), (12, 2), (13, 3), (14, 4)];

const HELLO_VERIFY_REQUEST: (u8, u16) = (3, 0);

/// Larger than an ECDSA certificate with its chain.
const MAX_MESSAGE: usize = 8192;

/// Versions of each message kept, and combinations of them tried when another one comes.
const MAX_KEPT: usize = 4;
const MAX_TRIES: usize = 4;

/// Signatures looked at, at once and a second: of flights in one datagram with the announced certificate, which a spoofer
/// does not know, and of others. One takes about a tenth of a millisecond.
const WHOLE_BURST: f64 = 16.0;
const WHOLE_RATE: f64 = 8.0;
const LOOSE_BURST: f64 = 8.0;
const LOOSE_RATE: f64 = 8.0;

/// What follows the ClientHello of that number.
fn flight(hello: u16) -> [(u8, u16); KINDS + 1] {
    FLIGHT.map(|(kind, seq)| (kind, seq + hello))
}

/// A ServerHello, a Certificate, a ServerKeyExchange and a CertificateRequest, without their headers.
pub(crate) type ServerMessages = [Vec<u8>; KINDS];

/// What a client knows of its handshake.
#[derive(Debug)]
pub(crate) struct Client {
    /// SHA-256 of the peer's certificate.
    announced: [u8; 32],
    /// The number of our newest ClientHello, and its random.
    hello: u16,
    random: Vec<u8>,
    /// Something was seen that no honest peer sends.
    wary: bool,
    /// The newest cookie that was asked for and not believed yet.
    asked: Option<Vec<u8>>,
    flight: UnprovenServer,
    /// Whether the server has proven that it answers our hello.
    pub(super) proven: bool,
}

/// What came of the server and is not proven yet.
#[derive(Debug)]
struct UnprovenServer {
    pieces: Pieces,
    /// Whether there was a certificate that is not the announced one. Anybody can send one, so nothing ends by it.
    saw_other: bool,
    /// The newest first. Of certificates only the announced one.
    kept: [VecDeque<Vec<u8>>; KINDS],
    /// Which ServerKeyExchange each kept CertificateRequest came with.
    beside: VecDeque<Option<Vec<u8>>>,
    /// Whether the flight has ended.
    done: bool,
    whole: Budget,
    loose: Budget,
}

/// What a datagram came to.
enum Found {
    Nothing,
    Pieces,
    Flights(Vec<ServerMessages>),
    TooMany,
}

impl Client {
    fn new(announced: [u8; 32]) -> Client {
        Client {
            announced,
            hello: 0,
            random: Vec::new(),
            wary: false,
            asked: None,
            flight: UnprovenServer::new(),
            proven: false,
        }
    }

    /// Notes what we say ourselves.
    pub(super) fn note(&mut self, packet: &[u8]) {
        for piece in fragments(packet).filter(|piece| piece.kind == CLIENT_HELLO.0) {
            if self.random.is_empty() || piece.seq != self.hello {
                self.random = piece.bytes.get(2..34).unwrap_or_default().to_vec();
                self.hello = piece.seq;
                self.flight = UnprovenServer::new();
            }
        }
    }

    /// Whether a record of the server's may come now.
    fn expects(&self, record: &[u8]) -> bool {
        const HANDSHAKE: u8 = 22;
        match is_sealed(record) {
            true => self.proven && matches!(record[0], 21..=23) && record[3..5] == [0, 1],
            // That it changes the cipher is known: what follows opens, or does not.
            false => {
                let mut pieces = fragments(record);
                !self.proven && record[0] == HANDSHAKE && pieces.all(|piece| self.knows(&piece))
            }
        }
    }

    fn knows(&self, piece: &Fragment<'_>) -> bool {
        let message = (piece.kind, piece.seq);
        let known = flight(self.hello).contains(&message)
            || message == HELLO_VERIFY_REQUEST && self.hello == 0;
        known && piece.length <= MAX_MESSAGE && piece.offset + piece.bytes.len() <= piece.length
    }

    /// Takes in a datagram of the handshake's; `again` is a request for a cookie that is to be followed.
    fn take_in(&mut self, now: Instant, datagram: &[u8]) -> (Found, Option<Vec<u8>>) {
        let mut again = None;
        for piece in fragments(datagram) {
            if (piece.kind, piece.seq) != HELLO_VERIFY_REQUEST || piece.bytes.len() != piece.length
            {
                continue;
            }
            if !is_request_for_a_cookie(piece.bytes) || self.flight.has_begun() {
                continue;
            }
            if self
                .asked
                .as_ref()
                .is_some_and(|asked| asked != piece.bytes)
            {
                self.wary = true;
            }
            self.asked = Some(piece.bytes.to_vec());
        }
        if !self.wary {
            again = self.asked.take();
        }
        let found = self
            .flight
            .take_in(now, datagram, self.hello, self.announced);
        match found {
            Found::Nothing if again.is_some() || self.asked.is_some() => (Found::Pieces, again),
            found => (found, again),
        }
    }

    /// Whether the server's signature is good (RFC 8422 §5.4): over both randoms and its half of the key exchange.
    fn finds_good(&self, verifier: &dyn SignatureVerifier, messages: &ServerMessages) -> bool {
        let [hello, certificate, key_exchange, _] = messages;
        let exchange = split_key_exchange(key_exchange);
        let (Some(leaf), Some((params, signed))) = (leaf(certificate), exchange) else {
            return false;
        };
        let (Some(random), Some((hash, signature))) = (hello.get(2..34), signature(signed)) else {
            return false;
        };
        let content = [&self.random[..], random, params].concat();
        let ecdsa = SignatureAlgorithm::ECDSA;
        self.random.len() == 32
            && verifier
                .verify_signature(leaf, &content, signature, hash, ecdsa)
                .is_ok()
    }
}

impl UnprovenServer {
    fn new() -> UnprovenServer {
        UnprovenServer {
            pieces: Pieces::default(),
            saw_other: false,
            kept: Default::default(),
            beside: VecDeque::new(),
            done: false,
            whole: Budget::new(WHOLE_BURST, WHOLE_RATE),
            loose: Budget::new(LOOSE_BURST, LOOSE_RATE),
        }
    }

    /// Whether the peer shows a certificate, and never the announced one.
    fn shows_another(&self) -> bool {
        self.saw_other && self.kept[CERTIFICATE].is_empty()
    }

    fn has_begun(&self) -> bool {
        !self.kept[HELLO].is_empty() || !self.kept[CERTIFICATE].is_empty()
    }

    fn take_in(&mut self, now: Instant, datagram: &[u8], hello: u16, announced: [u8; 32]) -> Found {
        let mut found = Found::Nothing;
        let mut fresh: [Option<Vec<u8>>; KINDS] = Default::default();
        let mut ended = false;
        for piece in fragments(datagram) {
            let message = (piece.kind, piece.seq);
            let Some(place) = flight(hello).iter().position(|known| *known == message) else {
                continue;
            };
            if place == KINDS {
                ended |= !self.done;
                self.done = true;
                found = Found::Pieces;
                continue;
            }
            if piece.bytes.is_empty() {
                continue;
            }
            found = Found::Pieces;
            let whole = self.pieces.add(&piece);
            if place == CERTIFICATE
                && let Some(message) = &whole
            {
                let other = leaf(message).is_some_and(|leaf| fingerprint(leaf) != announced);
                self.saw_other |= other;
            }
            if let Some(message) = whole.filter(|message| has_form(place, message, announced)) {
                fresh[place] = Some(message);
            }
        }
        let is_whole = fresh[..REQUEST].iter().all(Option::is_some);
        let is_fresh = fresh.each_ref().map(Option::is_some);
        let exchange = fresh[KEY_EXCHANGE].clone();
        for (place, message) in fresh.into_iter().enumerate() {
            let Some(message) = message else { continue };
            let kept = &mut self.kept[place];
            if let Some(before) = kept.iter().position(|other| *other == message) {
                kept.remove(before);
                if place == REQUEST {
                    self.beside.remove(before);
                }
            }
            kept.truncate(MAX_KEPT - 1);
            kept.push_front(message);
            if place == REQUEST {
                self.beside.truncate(MAX_KEPT - 1);
                self.beside.push_front(exchange.clone());
            }
        }
        if !self.done || self.kept.iter().any(VecDeque::is_empty) {
            return found;
        }
        let mut flights = Vec::new();
        for [hello, exchange] in self.combinations(is_fresh, ended) {
            let budget = match [hello, exchange] {
                [0, 0] if is_whole => &mut self.whole,
                _ => &mut self.loose,
            };
            if !budget.take(now) {
                return match flights.is_empty() {
                    true => Found::TooMany,
                    false => Found::Flights(flights),
                };
            }
            flights.push(self.messages(hello, exchange));
        }
        match flights.is_empty() {
            true => found,
            false => Found::Flights(flights),
        }
    }

    /// Places of ServerHellos and key exchanges, with something fresh in them: those of the newest messages first.
    fn combinations(&self, is_fresh: [bool; KINDS], ended: bool) -> Vec<[usize; 2]> {
        // What was not signed is tried with the newest alone.
        let anything = ended || is_fresh[CERTIFICATE] || is_fresh[REQUEST];
        let mut all = Vec::new();
        for hello in 0..self.kept[HELLO].len() {
            for exchange in 0..self.kept[KEY_EXCHANGE].len() {
                let fresh =
                    hello == 0 && is_fresh[HELLO] || exchange == 0 && is_fresh[KEY_EXCHANGE];
                if fresh || anything {
                    all.push([hello, exchange]);
                }
            }
        }
        all.sort_by_key(|places| places.iter().sum::<usize>());
        all.truncate(MAX_TRIES);
        all
    }

    fn messages(&self, hello: usize, exchange: usize) -> ServerMessages {
        let key_exchange = self.kept[KEY_EXCHANGE][exchange].clone();
        let mut beside = self.beside.iter();
        let request = beside.position(|it| it.as_ref() == Some(&key_exchange));
        [
            self.kept[HELLO][hello].clone(),
            self.kept[CERTIFICATE][0].clone(),
            key_exchange,
            self.kept[REQUEST][request.unwrap_or(0)].clone(),
        ]
    }
}

fn has_form(place: usize, message: &[u8], announced: [u8; 32]) -> bool {
    match place {
        // DTLS 1.2, a random, and more.
        HELLO => message.starts_with(&[254, 253]) && message.len() >= 38,
        // dimpl hands it up in one piece.
        CERTIFICATE => leaf(message)
            .is_some_and(|leaf| leaf.len() <= POLL_BUFFER && fingerprint(leaf) == announced),
        KEY_EXCHANGE => split_key_exchange(message).is_some_and(|(_, it)| signature(it).is_some()),
        _ => !message.is_empty(),
    }
}

/// A ServerKeyExchange (RFC 8422 §5.4): a named curve with a point on it, and the signature.
fn split_key_exchange(message: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAMED_CURVE: u8 = 3;
    let point = usize::from(*message.get(3)?);
    let (params, signed) = message.split_at_checked(4 + point)?;
    (params[0] == NAMED_CURVE && point > 0).then_some((params, signed))
}

/// A HelloVerifyRequest (RFC 6347 §4.2.1), of whichever version.
fn is_request_for_a_cookie(body: &[u8]) -> bool {
    match body {
        [254, 253 | 255, len, cookie @ ..] => {
            cookie.len() == usize::from(*len) && !cookie.is_empty()
        }
        _ => false,
    }
}

impl DtlsSession {
    /// The side that says hello, to a peer with a certificate of that SHA-256; it does so in
    /// [`DtlsSession::begin_as_client`].
    pub(crate) fn as_client(announced: [u8; 32]) -> Self {
        DtlsSession {
            client: Some(Box::new(Client::new(announced))),
            ..DtlsSession::new()
        }
    }

    pub(crate) fn is_client(&self) -> bool {
        self.client.is_some()
    }

    /// Our side of it.
    pub(crate) fn role(&self) -> DtlsRole {
        match self.is_client() {
            true => DtlsRole::Client,
            false => DtlsRole::Server,
        }
    }

    /// Says hello, unless that is the peer's part or was said already.
    pub(crate) fn begin_as_client(
        &mut self,
        now: Instant,
        settings: &DtlsSettings,
        send: impl FnMut(&[u8]),
    ) -> Progress {
        if !self.is_client() || self.has_begun() {
            return Progress::None;
        }
        let mut dtls = Dtls::new_12(settings.config.clone(), settings.certificate.clone(), now);
        dtls.set_active(true);
        let result = dtls.handle_timeout(now);
        self.dtls = Some(dtls);
        self.after(result, send)
    }

    /// What to call it when the handshake does not end in time.
    pub(crate) fn reason_of_timeout(&self) -> CloseReason {
        match &self.client {
            Some(client) if client.flight.shows_another() => CloseReason::FingerprintMismatch,
            _ => CloseReason::HandshakeTimeout,
        }
    }

    /// Of a datagram what a server may say at this point.
    pub(super) fn sift_of_server(&mut self, datagram: &[u8]) -> Vec<u8> {
        let Some(client) = self.client.as_deref_mut().filter(|_| self.dtls.is_some()) else {
            return Vec::new();
        };
        let expected = records(datagram).filter(|record| client.expects(record));
        let sifted: Vec<u8> = expected.flatten().copied().collect();
        client.wary |= !client.proven && sifted.len() < datagram.len();
        sifted
    }

    /// Somebody speaks in the peer's name.
    pub(super) fn be_wary_as_client(&mut self) {
        if let Some(client) = self.client.as_deref_mut() {
            client.wary = true;
        }
    }

    /// Takes in a sifted datagram of the server's.
    pub(super) fn handle_of_server(
        &mut self,
        now: Instant,
        datagram: &[u8],
        mut send: impl FnMut(&[u8]),
    ) -> Result<Taken, DropReason> {
        let mut taken = Taken::default();
        let Some(client) = self.client.as_deref_mut() else {
            return Err(DropReason::DtlsOutOfTurn);
        };
        if client.proven {
            if !self.routine.take(now) {
                return Err(DropReason::DtlsTooMany);
            }
            for record in records(datagram).take(super::MAX_SEALED) {
                taken.progress = taken.progress.and(self.feed(now, record, &mut send));
            }
            return Ok(taken);
        }
        let (found, again) = client.take_in(now, datagram);
        if let Some(request) = again {
            taken.progress = self.follow(now, &request, send);
        }
        match found {
            Found::Nothing => return Err(DropReason::DtlsOutOfTurn),
            Found::TooMany => return Err(DropReason::DtlsTooMany),
            Found::Pieces => {}
            Found::Flights(flights) => taken.jobs.extend(flights.into_iter().map(Job::Server)),
        }
        Ok(taken)
    }

    /// Says hello again with the cookie that was asked for.
    fn follow(&mut self, now: Instant, request: &[u8], send: impl FnMut(&[u8])) -> Progress {
        let datagram = record(22, 0, &framed(HELLO_VERIFY_REQUEST, request));
        self.feed(now, &datagram, send)
    }

    /// Follows a request for a cookie that was not believed at first, when nothing better has come until the hello is due
    /// again.
    pub(super) fn follow_at_last(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Progress {
        let waiting = self.client.as_deref_mut().and_then(|client| {
            let is_due = client.hello == 0 && !client.flight.has_begun();
            client.asked.take().filter(|_| is_due)
        });
        waiting.map_or(Progress::None, |request| self.follow(now, &request, send))
    }

    /// Looks at a server's signature, and goes on with its flight when that is good.
    pub(super) fn work_on_server(
        &mut self,
        now: Instant,
        messages: &ServerMessages,
        settings: &DtlsSettings,
        send: impl FnMut(&[u8]),
    ) -> Progress {
        let verifier = settings.config.crypto_provider().signature_verification;
        let Some(client) = self.client.as_deref_mut().filter(|client| !client.proven) else {
            return Progress::None;
        };
        if !client.finds_good(verifier, messages) {
            return Progress::None;
        }
        client.proven = true;
        client.flight = UnprovenServer::new();
        let done: &[u8] = &[];
        let bodies = messages.iter().map(Vec::as_slice).chain([done]);
        let mut datagram = Vec::new();
        for (number, (which, body)) in flight(client.hello).into_iter().zip(bodies).enumerate() {
            datagram.extend(record(22, 1 + number as u8, &framed(which, body)));
        }
        // The ChangeCipherSpec is ours: it has no content, and what follows it does not open unless it is the server's.
        datagram.extend(record(20, 9, &[1]));
        self.feed(now, &datagram, send)
    }
}
