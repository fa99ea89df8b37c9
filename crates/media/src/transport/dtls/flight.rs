//! The client's second flight, put together and proven before the handshake hears of it. Its Certificate,
//! ClientKeyExchange and CertificateVerify are in clear, so whoever can send from the peer's address can write them;
//! but the signature covers our own flight (RFC 5246 §7.4.8), which nobody can sign who has not seen it.

use super::certificate::fingerprint;
use super::hello::Hello;
use super::records::{
    Fragment, Pieces, fragments, framed, is_sealed, record, records, second_flight,
};
use crate::transport::budget::Budget;
use dimpl::crypto::{HashAlgorithm, SignatureAlgorithm, SignatureVerifier};
use std::collections::VecDeque;
use std::time::Instant;

const CERTIFICATE: usize = 0;
const KEY_EXCHANGE: usize = 1;
const VERIFY: usize = 2;

/// Flights with the announced certificate in one datagram, as browsers send them: a spoofer does not know it. One
/// signature takes about a tenth of a millisecond.
const WHOLE_BURST: f64 = 16.0;
const WHOLE_RATE: f64 = 8.0;

/// What else may be a flight: one in several datagrams, one of a peer that is not named yet or has another certificate.
const LOOSE_BURST: f64 = 8.0;
const LOOSE_RATE: f64 = 8.0;

/// Versions of each message kept, and combinations of them tried when another one comes.
const MAX_KEPT: usize = 4;
const MAX_TRIES: usize = 4;

/// Sealed records kept until there are keys: the client's Finished comes behind its flight.
pub(crate) const MAX_SEALED: usize = 8;

/// Larger than an ECDSA certificate with its chain; three of each kind are kept at most.
const MAX_MESSAGE: usize = 8192;

/// Our own messages, as the transcript has them.
#[derive(Debug)]
pub(crate) struct OwnFlight {
    messages: Vec<u8>,
    next: u16,
    partial: Vec<u8>,
}

impl OwnFlight {
    /// Of the answer to the ClientHello of that number.
    pub(crate) fn new(hello: u16) -> Self {
        OwnFlight {
            messages: Vec::new(),
            next: hello,
            partial: Vec::new(),
        }
    }

    /// Takes in a datagram of ours, first or repeated.
    pub(crate) fn take_in(&mut self, datagram: &[u8]) {
        for piece in fragments(datagram) {
            if piece.seq != self.next || piece.offset != self.partial.len() {
                continue;
            }
            self.partial.extend_from_slice(piece.bytes);
            if self.partial.len() == piece.length {
                let message = framed((piece.kind, piece.seq), &self.partial);
                self.messages.extend_from_slice(&message);
                self.partial.clear();
                self.next += 1;
            }
        }
    }
}

/// A Certificate, a ClientKeyExchange and a CertificateVerify, without their headers.
pub(crate) type Messages = [Vec<u8>; 3];

/// What a datagram came to.
pub(crate) enum Found {
    /// These may be the client's, the likeliest first; none: they may become so.
    Flights(Vec<Messages>),
    Nothing,
    /// There was no budget left to look closer.
    TooMany,
}

/// What is needed to tell a flight of the peer's from a forged one.
pub(crate) struct Judge<'a> {
    /// The ClientHello that was answered.
    pub(crate) hello: &'a Hello,
    pub(crate) own: &'a OwnFlight,
    pub(crate) verifier: &'a dyn SignatureVerifier,
}

/// What came after the ClientHello and is not proven yet.
#[derive(Debug)]
pub(crate) struct UnprovenFlight {
    /// The number of the ClientHello before it.
    hello: u16,
    pieces: Pieces,
    /// The newest first.
    kept: [VecDeque<Vec<u8>>; 3],
    /// Sealed records that came meanwhile, the oldest first.
    pub(crate) sealed: VecDeque<Vec<u8>>,
    whole: Budget,
    loose: Budget,
}

impl UnprovenFlight {
    /// What follows the ClientHello of that number.
    pub(crate) fn new(hello: u16) -> Self {
        UnprovenFlight {
            hello,
            pieces: Pieces::default(),
            kept: Default::default(),
            sealed: VecDeque::new(),
            whole: Budget::new(WHOLE_BURST, WHOLE_RATE),
            loose: Budget::new(LOOSE_BURST, LOOSE_RATE),
        }
    }

    /// Takes in a sifted datagram; `announced` is the SHA-256 of the peer's certificate, once that is known.
    pub(crate) fn take_in(
        &mut self,
        now: Instant,
        datagram: &[u8],
        announced: Option<[u8; 32]>,
    ) -> Found {
        let mut found = Found::Nothing;
        let was_announced = |certificate: &Vec<u8>| {
            announced.is_some() && leaf(certificate).map(fingerprint) == announced
        };
        let sealed = records(datagram).filter(|record| is_sealed(record));
        for record in sealed.take(MAX_SEALED) {
            if self.sealed.len() == MAX_SEALED {
                self.sealed.pop_front();
            }
            self.sealed.push_back(record.to_vec());
            found = Found::Flights(Vec::new());
        }
        let mut fresh: [Option<Vec<u8>>; 3] = Default::default();
        for piece in fragments(datagram) {
            if let Some(place) = place(&piece, self.hello) {
                found = Found::Flights(Vec::new());
                let message = self.pieces.add(&piece);
                if let Some(message) = message.filter(|message| has_form(place, message)) {
                    fresh[place] = Some(message);
                }
            }
        }
        let known = self.kept[CERTIFICATE].iter();
        if known.clone().any(was_announced) {
            fresh[CERTIFICATE].take_if(|it| !was_announced(it));
        }
        if fresh.iter().all(Option::is_none) {
            return found;
        }
        let is_whole = match &fresh {
            [Some(certificate), Some(_), Some(_)] => was_announced(certificate),
            _ => false,
        };
        let is_fresh = fresh.each_ref().map(Option::is_some);
        for (kept, message) in self.kept.iter_mut().zip(fresh) {
            let Some(message) = message else { continue };
            kept.retain(|other| *other != message);
            kept.truncate(MAX_KEPT - 1);
            kept.push_front(message);
        }
        // Once the announced certificate is there, no other is kept beside it.
        let certificates = &mut self.kept[CERTIFICATE];
        if certificates.iter().any(was_announced) {
            certificates.retain(was_announced);
        }
        let mut flights = Vec::new();
        for places in combinations(&self.kept, is_fresh) {
            let budget = match places {
                [0, 0, 0] if is_whole => &mut self.whole,
                _ => &mut self.loose,
            };
            if !budget.take(now) {
                found = Found::TooMany;
                break;
            }
            flights.push([0, 1, 2].map(|kind| self.kept[kind][places[kind]].clone()));
        }
        match flights.is_empty() {
            true => found,
            false => Found::Flights(flights),
        }
    }
}

impl Judge<'_> {
    /// Whether the signature is good over all messages so far (RFC 5246 §7.4.8), each with its header as if it had
    /// come in one piece (RFC 6347 §4.2.6).
    pub(crate) fn finds_good(&self, [certificate, key_exchange, verify]: &Messages) -> bool {
        let (Some(leaf), Some((hash, signature))) = (leaf(certificate), signature(verify)) else {
            return false;
        };
        let Hello { seq, body } = self.hello;
        let follows = second_flight(*seq);
        let transcript = [
            &framed((1, *seq), body)[..],
            &self.own.messages,
            &framed(follows[CERTIFICATE], certificate),
            &framed(follows[KEY_EXCHANGE], key_exchange),
        ]
        .concat();
        let ecdsa = SignatureAlgorithm::ECDSA;
        self.verifier
            .verify_signature(leaf, &transcript, signature, hash, ecdsa)
            .is_ok()
    }
}

/// Which message of the flight a piece is of.
fn place(piece: &Fragment<'_>, hello: u16) -> Option<usize> {
    let message = (piece.kind, piece.seq);
    let fits = piece.length <= MAX_MESSAGE && !piece.bytes.is_empty();
    second_flight(hello)
        .iter()
        .position(|known| fits && *known == message)
}

fn has_form(place: usize, message: &[u8]) -> bool {
    match place {
        CERTIFICATE => leaf(message).is_some(),
        KEY_EXCHANGE => message
            .split_first()
            .is_some_and(|(len, point)| usize::from(*len) == point.len() && !point.is_empty()),
        _ => signature(message).is_some(),
    }
}

/// The first certificate of a Certificate message (RFC 5246 §7.4.2), in DER.
pub(super) fn leaf(message: &[u8]) -> Option<&[u8]> {
    let (list_len, list) = message.split_first_chunk::<3>()?;
    let (len, rest) = list.split_first_chunk::<3>()?;
    let number =
        |it: &[u8; 3]| usize::from(it[0]) << 16 | usize::from(it[1]) << 8 | usize::from(it[2]);
    let leaf = rest.get(..number(len))?;
    (number(list_len) == list.len() && leaf.first() == Some(&0x30)).then_some(leaf)
}

/// What a CertificateVerify says (RFC 5246 §4.7). ECDSA is all that we ask clients for.
pub(super) fn signature(message: &[u8]) -> Option<(HashAlgorithm, &[u8])> {
    let ([hash, algorithm, high, low], signature) = message.split_first_chunk::<4>()?;
    let hash = match (hash, algorithm) {
        (4, 3) => HashAlgorithm::SHA256,
        (5, 3) => HashAlgorithm::SHA384,
        _ => return None,
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    (signature.len() == len && signature.first() == Some(&0x30)).then_some((hash, signature))
}

/// Places in what is kept, of combinations with something fresh in them: those of the newest messages first.
fn combinations(kept: &[VecDeque<Vec<u8>>; 3], is_fresh: [bool; 3]) -> Vec<[usize; 3]> {
    let mut all = Vec::new();
    for certificate in 0..kept[CERTIFICATE].len() {
        for key_exchange in 0..kept[KEY_EXCHANGE].len() {
            for verify in 0..kept[VERIFY].len() {
                let places = [certificate, key_exchange, verify];
                if (0..3).any(|kind| is_fresh[kind] && places[kind] == 0) {
                    all.push(places);
                }
            }
        }
    }
    all.sort_by_key(|places| places.iter().sum::<usize>());
    all.truncate(MAX_TRIES);
    all
}

/// A flight, a record a message. The ChangeCipherSpec is ours: it has no content, and what follows it does not open
/// unless it belongs to this flight.
pub(crate) fn in_one_datagram(hello: u16, messages: &Messages) -> Vec<u8> {
    let mut datagram = Vec::new();
    for (number, (which, body)) in second_flight(hello).into_iter().zip(messages).enumerate() {
        datagram.extend(record(22, 1 + number as u8, &framed(which, body)));
    }
    datagram.extend(record(20, 4, &[1]));
    datagram
}
