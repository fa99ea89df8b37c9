//! Which DTLS records are worth a look. Until the handshake is done nothing of it is authenticated, and whoever can send
//! from the peer's address can write records; what no honest client sends at that point goes no further.

use std::collections::VecDeque;

const HEADER_LEN: usize = 13; // RFC 6347 §4.1
const HANDSHAKE_HEADER_LEN: usize = 12; // RFC 6347 §4.2.2

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The messages of a DTLS 1.2 client with a certificate, without a cookie, in clear: type and number (RFC 6347 §4.2.4).
const CLIENT_HELLO: (u8, u16) = (1, 0);
const SECOND_FLIGHT: [(u8, u16); 3] = [(11, 1), (16, 2), (15, 3)];

/// Longer than any certificate of a browser; a message that claims more is a claim on our memory.
const MAX_MESSAGE: usize = 16_384;

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

/// What is left of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    pub(crate) datagram: Vec<u8>,
    /// Whether there is more in it than records that cost a decryption at most.
    pub(crate) handshake: bool,
}

/// Leaves out the records that no honest client sends in this phase: plain alerts above all, which anybody can write
/// (RFC 6347 §4.1.2.7 lets invalid records be dropped in silence). A datagram that breaks off is cut there.
pub(crate) fn sift(datagram: &[u8], phase: Phase) -> Sifted {
    let mut sifted = Sifted::default();
    let mut rest = datagram;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let Some((record, after)) = rest.split_at_checked(HEADER_LEN + len) else {
            break;
        };
        rest = after;
        let epoch = u16::from_be_bytes([header[3], header[4]]);
        let body = &record[HEADER_LEN..];
        let fits = match (header[0], epoch) {
            (CHANGE_CIPHER_SPEC, 0) => phase == Phase::Answered && body == [1],
            (HANDSHAKE, 0) => are_expected(body, phase),
            (ALERT | HANDSHAKE | APPLICATION_DATA, 1) => phase != Phase::BeforeHello,
            _ => false,
        };
        if fits {
            sifted.datagram.extend_from_slice(record);
            sifted.handshake |= epoch == 0;
        }
    }
    sifted
}

/// Whether a record in clear holds messages, or fragments of them, that a client may send.
fn are_expected(mut body: &[u8], phase: Phase) -> bool {
    while !body.is_empty() {
        let Some(header) = body.first_chunk::<HANDSHAKE_HEADER_LEN>() else {
            return false;
        };
        let number = |at: usize| {
            usize::from(header[at]) << 16
                | usize::from(header[at + 1]) << 8
                | usize::from(header[at + 2])
        };
        let message = (header[0], u16::from_be_bytes([header[4], header[5]]));
        let (length, offset, fragment) = (number(1), number(6), number(9));
        let known = message == CLIENT_HELLO
            || phase != Phase::BeforeHello && SECOND_FLIGHT.contains(&message);
        if !known || length > MAX_MESSAGE || offset + fragment > length {
            return false;
        }
        let Some(after) = body.get(HANDSHAKE_HEADER_LEN + fragment..) else {
            return false;
        };
        body = after;
    }
    true
}

/// The pieces of ClientHellos that came, of the real one and of forged ones.
#[derive(Debug, Default)]
pub(crate) struct HelloPieces(VecDeque<Piece>);

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    length: usize,
    offset: usize,
    bytes: Vec<u8>,
}

impl HelloPieces {
    /// Takes in the pieces of a sifted datagram. Returns a whole ClientHello, in one record, when one of these
    /// completes it: put together from the newest pieces that fit, so that a forged one does not take the place of
    /// the real one for longer than until that is sent again.
    pub(crate) fn take_in(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut rest = datagram;
        let mut whole = None;
        while let Some((_, message)) = rest.split_at_checked(HEADER_LEN) {
            let len = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
            let mut body = message.get(..len)?;
            rest = &message[len..];
            while let Some((header, after)) = body.split_first_chunk::<HANDSHAKE_HEADER_LEN>() {
                let number = |at: usize| {
                    usize::from(header[at]) << 16
                        | usize::from(header[at + 1]) << 8
                        | usize::from(header[at + 2])
                };
                let (bytes, next) = after.split_at_checked(number(9))?;
                body = next;
                let piece = Piece {
                    length: number(1),
                    offset: number(6),
                    bytes: bytes.to_vec(),
                };
                whole = self.add(piece).or(whole);
            }
        }
        whole
    }

    fn add(&mut self, piece: Piece) -> Option<Vec<u8>> {
        self.0.retain(|other| *other != piece);
        if self.0.len() >= MAX_PIECES {
            self.0.pop_back();
        }
        let length = piece.length;
        self.0.push_front(piece);
        let mut message = Vec::new();
        while message.len() < length {
            let next = self.0.iter().find(|piece| {
                piece.length == length && piece.offset == message.len() && !piece.bytes.is_empty()
            })?;
            message.extend_from_slice(&next.bytes);
        }
        self.0.clear();
        let size = &(length as u32).to_be_bytes()[1..];
        let record_len = ((HANDSHAKE_HEADER_LEN + length) as u16).to_be_bytes();
        let record = [HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0];
        let header = [&[CLIENT_HELLO.0], size, &[0, 0, 0, 0, 0], size].concat();
        Some([&record[..], &record_len[..], &header[..], &message[..]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let len = [0, body.len() as u8];
        [
            &[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9],
            &len[..],
            body,
        ]
        .concat()
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
        let left = |phase| sift(&all, phase).datagram;
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
        let mut pieces = HelloPieces::default();
        // Of other lengths, overlapping, and in the place of the real ones.
        for forged in [piece(9, 0, 6, 5), piece(8, 0, 6, 3), piece(9, 2, 6, 3)] {
            assert_eq!(pieces.take_in(&forged), None);
        }
        assert_eq!(pieces.take_in(&piece(9, 0, 1, 5)), None);
        let whole = pieces.take_in(&piece(9, 5, 2, 4)).expect("it is complete");
        let body = [1, 1, 1, 1, 1, 2, 2, 2, 2];
        assert_eq!(whole[13..25], [1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(whole[25..], body);
        assert_eq!(sift(&whole, Phase::BeforeHello).datagram, whole);
        for _ in 0..1000 {
            pieces.take_in(&piece(200, 3, 9, 1));
        }
        let both = [piece(4, 2, 2, 2), piece(4, 0, 1, 2)].concat();
        assert!(pieces.take_in(&both).is_some() && pieces.0.len() <= MAX_PIECES);
    }

    #[test]
    fn a_datagram_cut_anywhere_keeps_its_whole_records() {
        let hello = record(22, 0, &message(1, 0, 9, 0, 9));
        let twice = [hello.clone(), hello.clone()].concat();
        for len in 0..twice.len() {
            let left = sift(&twice[..len], Phase::BeforeHello);
            assert_eq!(left.datagram.len(), len / hello.len() * hello.len());
            assert_eq!(left.handshake, len >= hello.len());
        }
    }
}
