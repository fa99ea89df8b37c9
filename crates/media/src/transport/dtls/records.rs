//! Which DTLS records are worth a look. Until the handshake is done nothing of it is authenticated, and whoever can send
//! from the peer's address can write records; what no honest client sends at that point goes no further.

use std::collections::VecDeque;

const HEADER_LEN: usize = 13; // RFC 6347 §4.1
const HANDSHAKE_HEADER_LEN: usize = 12; // RFC 6347 §4.2.2

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The messages of a DTLS 1.2 client with a certificate in clear: type and number (RFC 6347 §4.2.4). Whoever was asked
/// for a cookie says hello again, and what follows has one number more.
pub(crate) const CLIENT_HELLO: (u8, u16) = (1, 0);
pub(crate) const HELLO_AGAIN: (u8, u16) = (1, 1);
const SECOND_FLIGHT: [(u8, u16); 3] = [(11, 1), (16, 2), (15, 3)];

/// What follows the ClientHello of that number: Certificate, ClientKeyExchange and CertificateVerify.
pub(crate) fn second_flight(hello: u16) -> [(u8, u16); 3] {
    SECOND_FLIGHT.map(|(kind, seq)| (kind, seq + hello))
}

/// Longer than any certificate of a browser; a message that claims more is a claim on our memory.
const MAX_MESSAGE: usize = 16_384;

/// So much of a message cannot be guessed: the random of a ClientHello is in it, half a point of a ClientKeyExchange.
const UNGUESSED: usize = 34;

/// Pieces kept. Chromium's ClientHello has two.
const MAX_PIECES: usize = 32;

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was answered.
    BeforeHello,
    /// Our first flight is out.
    Answered,
    /// Keys are there.
    Finished,
}

/// Leaves out the records that no honest client sends in this phase: plain alerts above all, which anybody can write
/// (RFC 6347 §4.1.2.7 lets invalid records be dropped in silence). A datagram that breaks off is cut there.
pub(crate) fn sift(datagram: &[u8], phase: Phase) -> Vec<u8> {
    let mut sifted = Vec::new();
    for record in records(datagram) {
        let body = &record[HEADER_LEN..];
        let fits = match (record[0], epoch(record)) {
            (CHANGE_CIPHER_SPEC, 0) => phase == Phase::Answered && body == [1],
            (HANDSHAKE, 0) => are_expected(body, phase),
            (ALERT | HANDSHAKE | APPLICATION_DATA, 1) => phase != Phase::BeforeHello,
            _ => false,
        };
        if fits {
            sifted.extend_from_slice(record);
        }
    }
    sifted
}

/// The whole records of a datagram, each with its header.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<HEADER_LEN>()?;
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (record, after) = rest.split_at_checked(HEADER_LEN + len)?;
        rest = after;
        Some(record)
    })
}

fn epoch(record: &[u8]) -> u16 {
    u16::from_be_bytes([record[3], record[4]])
}

/// Whether a whole record is encrypted.
pub(crate) fn is_sealed(record: &[u8]) -> bool {
    epoch(record) != 0
}

/// A record in clear; nobody looks at the number of one but to tell it from others in a datagram.
pub(crate) fn record(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    let header = [kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, number];
    [&header[..], &len, body].concat()
}

/// A handshake message in one piece, with its header: how it goes into the transcript (RFC 6347 §4.2.6).
pub(crate) fn framed((kind, seq): (u8, u16), body: &[u8]) -> Vec<u8> {
    let len = &(body.len() as u32).to_be_bytes()[1..];
    [&[kind][..], len, &seq.to_be_bytes(), &[0, 0, 0], len, body].concat()
}

/// A piece of a handshake message, or a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    pub(crate) seq: u16,
    pub(crate) length: usize,
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(body: &'a [u8]) -> Option<(Fragment<'a>, &'a [u8])> {
        let (header, after) = body.split_first_chunk::<HANDSHAKE_HEADER_LEN>()?;
        let number = |at: usize| {
            usize::from(header[at]) << 16
                | usize::from(header[at + 1]) << 8
                | usize::from(header[at + 2])
        };
        let (bytes, rest) = after.split_at_checked(number(9))?;
        let fragment = Fragment {
            kind: header[0],
            seq: u16::from_be_bytes([header[4], header[5]]),
            length: number(1),
            offset: number(6),
            bytes,
        };
        Some((fragment, rest))
    }

    /// Whether it is sent by one who has sent `message` before: the beginning of it, long enough not to be guessed.
    pub(crate) fn repeats(&self, message: &[u8]) -> bool {
        self.length == message.len()
            && self.offset == 0
            && self.bytes.len() >= message.len().min(UNGUESSED)
            && message.starts_with(self.bytes)
    }

    /// Whether it says nothing but what `message` says.
    pub(crate) fn is_part_of(&self, message: &[u8]) -> bool {
        let rest = message.get(self.offset..);
        self.length == message.len() && rest.is_some_and(|rest| rest.starts_with(self.bytes))
    }
}

/// The pieces of handshake messages in the clear records of a datagram.
pub(crate) fn fragments(datagram: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let clear = records(datagram).filter(|record| record[0] == HANDSHAKE && !is_sealed(record));
    clear.flat_map(|record| {
        let mut body = &record[HEADER_LEN..];
        std::iter::from_fn(move || {
            let (fragment, rest) = Fragment::parse(body)?;
            body = rest;
            Some(fragment)
        })
    })
}

/// Whether a record in clear holds messages, or pieces of them, that a client may send.
fn are_expected(mut body: &[u8], phase: Phase) -> bool {
    while !body.is_empty() {
        let Some((piece, rest)) = Fragment::parse(body) else {
            return false;
        };
        let message = (piece.kind, piece.seq);
        let follows = |hello| second_flight(hello).contains(&message);
        let known = matches!(message, CLIENT_HELLO | HELLO_AGAIN)
            || phase != Phase::BeforeHello && (follows(0) || follows(1));
        if !known || piece.length > MAX_MESSAGE || piece.offset + piece.bytes.len() > piece.length {
            return false;
        }
        body = rest;
    }
    true
}

/// Whether a message has the form of a ClientHello (RFC 5246 §7.4.1.2, RFC 6347 §4.2.1) that can be answered: of DTLS
/// 1.2, without compression, with an extended master secret (RFC 7627).
pub(crate) fn is_client_hello(message: &[u8]) -> bool {
    fn vector<const N: usize>(rest: &mut &[u8]) -> Option<Vec<u8>> {
        let (len, after) = rest.split_first_chunk::<N>()?;
        let len = len
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (vector, after) = after.split_at_checked(len)?;
        *rest = after;
        Some(vector.to_vec())
    }
    fn can_be_answered(message: &[u8]) -> Option<bool> {
        let mut rest = message.strip_prefix(&[254, 253])?.get(32..)?;
        let (session, _cookie) = (vector::<1>(&mut rest)?, vector::<1>(&mut rest)?);
        let (suites, compression) = (vector::<2>(&mut rest)?, vector::<1>(&mut rest)?);
        let extensions = vector::<2>(&mut rest)?;
        let mut left = extensions.as_slice();
        let mut extended = false;
        while let Some((kind, after)) = left.split_first_chunk::<2>() {
            extended |= *kind == [0, 23];
            left = after;
            vector::<2>(&mut left)?;
        }
        let has_form = session.len() <= 32 && !suites.is_empty() && suites.len() % 2 == 0;
        let ends = rest.is_empty() && left.is_empty();
        Some(has_form && ends && extended && compression.contains(&0))
    }
    can_be_answered(message) == Some(true)
}

/// The pieces of messages that came, of real ones and of forged ones.
#[derive(Debug, Default)]
pub(crate) struct Pieces(VecDeque<Piece>);

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    message: (u8, u16),
    length: usize,
    offset: usize,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Takes in a piece. Returns the whole message, without a header, when this completes it: put together from the
    /// newest pieces that fit, so that a forged one does not take the place of the real one for longer than until
    /// that is sent again.
    pub(crate) fn add(&mut self, piece: &Fragment<'_>) -> Option<Vec<u8>> {
        if piece.bytes.len() == piece.length {
            return Some(piece.bytes.to_vec());
        }
        if piece.bytes.is_empty() {
            return None;
        }
        let piece = Piece {
            message: (piece.kind, piece.seq),
            length: piece.length,
            offset: piece.offset,
            bytes: piece.bytes.to_vec(),
        };
        self.0.retain(|other| *other != piece);
        self.0.truncate(MAX_PIECES - 1);
        let (message, length) = (piece.message, piece.length);
        self.0.push_front(piece);
        let mut whole = Vec::new();
        while whole.len() < length {
            let next = self.0.iter().find(|piece| {
                piece.message == message && piece.length == length && piece.offset == whole.len()
            })?;
            whole.extend_from_slice(&next.bytes);
        }
        self.0
            .retain(|piece| piece.message != message || piece.length != length);
        Some(whole)
    }

    /// Whether a piece contradicts none of the same message: in its length, and where both have something to say.
    pub(crate) fn agree_with(&self, piece: &Fragment<'_>) -> bool {
        let ends = |offset: usize, bytes: &[u8]| offset + bytes.len();
        let message = (piece.kind, piece.seq);
        self.0.iter().filter(|it| it.message == message).all(|it| {
            let from = it.offset.max(piece.offset);
            let to = ends(it.offset, &it.bytes).min(ends(piece.offset, piece.bytes));
            let same = from >= to
                || it.bytes[from - it.offset..to - it.offset]
                    == piece.bytes[from - piece.offset..to - piece.offset];
            it.length == piece.length && same
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut record = super::record(kind, 9, body);
        record[4] = epoch;
        record
    }

    fn message(kind: u8, seq: u8, length: u8, offset: u8, fragment: u8) -> Vec<u8> {
        let header = [kind, 0, 0, length, 0, seq, 0, 0, offset, 0, 0, fragment];
        [&header[..], &vec![7; usize::from(fragment)]].concat()
    }

    #[test]
    fn plain_alerts_and_messages_out_of_turn_are_left_out_and_the_rest_stays() {
        let (hello, verify) = (message(1, 0, 9, 0, 9), message(15, 3, 9, 3, 6));
        let (fatal, goodbye) = (record(21, 0, &[2, 40]), record(21, 0, &[1, 0]));
        let (ccs, sealed) = (record(20, 0, &[1]), record(22, 1, &[5; 40]));
        let all = [
            fatal.clone(),
            record(22, 0, &hello),
            goodbye.clone(),
            record(22, 0, &verify),
            ccs.clone(),
            sealed.clone(),
            record(23, 0, b"plain"),
            record(22, 2, &hello),
            record(22, 0, &message(2, 0, 9, 0, 9)),
            record(22, 0, &message(11, 9, 9, 0, 9)),
            record(22, 0, &message(11, 1, 9, 5, 9)),
        ]
        .concat();
        let left = |phase| sift(&all, phase);
        assert_eq!(left(Phase::BeforeHello), record(22, 0, &hello));
        let answered = [
            record(22, 0, &hello),
            record(22, 0, &verify),
            ccs,
            sealed.clone(),
        ];
        assert_eq!(left(Phase::Answered), answered.concat());
        let finished = [record(22, 0, &hello), record(22, 0, &verify), sealed];
        assert_eq!(left(Phase::Finished), finished.concat());
    }

    #[test]
    fn a_hello_is_put_together_among_forged_pieces_once_its_own_are_the_newest() {
        let piece = |length, offset: u8, filling: u8, count: u8| {
            let mut message = message(1, 0, length, offset, count);
            message[12..].fill(filling);
            record(22, 0, &message)
        };
        let mut pieces = Pieces::default();
        let mut take_in = |datagram: &[u8]| {
            let whole = fragments(datagram).filter_map(|piece| pieces.add(&piece));
            (whole.last(), pieces.0.len())
        };
        // Of other lengths, overlapping, and in the place of the real ones.
        for forged in [piece(9, 0, 6, 5), piece(8, 0, 6, 3), piece(9, 2, 6, 3)] {
            assert_eq!(take_in(&forged).0, None);
        }
        assert_eq!(take_in(&piece(9, 0, 1, 5)).0, None);
        let whole = take_in(&piece(9, 5, 2, 4)).0.expect("it is complete");
        assert_eq!(whole, [1, 1, 1, 1, 1, 2, 2, 2, 2]);
        let again = super::record(HANDSHAKE, 0, &framed(CLIENT_HELLO, &whole));
        assert_eq!(sift(&again, Phase::BeforeHello), again);
        assert!(fragments(&again).all(|piece| piece.repeats(&whole)));
        for _ in 0..1000 {
            take_in(&piece(200, 3, 9, 1));
        }
        let both = [piece(4, 2, 2, 2), piece(4, 0, 1, 2)].concat();
        let (whole, kept) = take_in(&both);
        assert!(whole.is_some() && kept <= MAX_PIECES);
    }

    #[test]
    fn a_datagram_cut_anywhere_keeps_its_whole_records() {
        let hello = record(22, 0, &message(1, 0, 9, 0, 9));
        let twice = [hello.clone(), hello.clone()].concat();
        for len in 0..twice.len() {
            let left = sift(&twice[..len], Phase::BeforeHello);
            assert_eq!(left.len(), len / hello.len() * hello.len());
        }
    }
}
