//! ClientHellos before their client has proven itself. Anybody who knows the peer's address can write one. The first is
//! answered as it is, so that an honest join costs no further round trip; but once anything was seen that no honest
//! peer sends, none is answered that does not bring our cookie, and asking for that keeps nothing in mind.

use super::cookies::cookie_of;
use super::records::{
    CLIENT_HELLO, Fragment, HELLO_AGAIN, Pieces, framed, is_client_hello, record,
};
use crate::transport::budget::Budget;
use std::time::Instant;

/// ClientHellos that are well-formed but cannot be answered, at once and a second: each costs us a key.
const HELLO_BURST: f64 = 96.0;
const HELLO_RATE: f64 = 20.0;

/// Requests for a cookie, at once and a second: each is 60 bytes to the peer, shorter than what asks for it. Whichever
/// reaches the peer serves it, so a flood of forged hellos cannot use up what it needs.
const ASK_BURST: f64 = 64.0;
const ASK_RATE: f64 = 500.0;

/// A whole ClientHello, without its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// 0 for one without a cookie, 1 for one with it (RFC 6347 §4.2.2).
    pub(crate) seq: u16,
    pub(crate) body: Vec<u8>,
}

impl Hello {
    /// As one record, in one piece.
    pub(crate) fn as_record(&self) -> Vec<u8> {
        record(22, 0, &framed((CLIENT_HELLO.0, self.seq), &self.body))
    }
}

/// What the piece of one comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A piece that is kept, or part of what is known.
    Part,
    /// It is to be answered.
    Whole(Hello),
    /// The one that was answered is repeated.
    Again,
    /// Its client is to bring a cookie.
    Ask,
    /// Nothing that a peer says.
    OutOfTurn,
    TooMany,
}

/// What was heard of them.
#[derive(Debug)]
pub(crate) struct Hellos {
    /// Something was seen that no honest peer sends.
    wary: bool,
    pieces: Pieces,
    /// The one without a cookie, once it is whole.
    plain: Option<Vec<u8>>,
    /// The beginning of the newest one with our cookie, and its length.
    begun: Option<(usize, Vec<u8>)>,
    /// The one with our cookie, once it is whole.
    proven: Option<Vec<u8>>,
    hellos: Budget,
    asks: Budget,
}

impl Hellos {
    pub(crate) fn new() -> Self {
        Hellos {
            wary: false,
            pieces: Pieces::default(),
            plain: None,
            begun: None,
            proven: None,
            hellos: Budget::new(HELLO_BURST, HELLO_RATE),
            asks: Budget::new(ASK_BURST, ASK_RATE),
        }
    }

    /// No hello is answered without a cookie from now on.
    pub(crate) fn be_wary(&mut self) {
        self.wary = true;
        self.pieces = Pieces::default();
    }

    pub(crate) fn is_wary(&self) -> bool {
        self.wary
    }

    /// Takes in a piece; `answered` is the number of the hello that was answered last, `is_ours` tells our cookies.
    pub(crate) fn take_in(
        &mut self,
        now: Instant,
        piece: &Fragment<'_>,
        answered: Option<u16>,
        is_ours: impl FnOnce(&[u8]) -> bool,
    ) -> Heard {
        match (piece.kind, piece.seq) {
            HELLO_AGAIN => self.take_in_with_cookie(now, piece, answered == Some(1), is_ours),
            // Its client went on to one with a cookie.
            CLIENT_HELLO if answered == Some(1) => Heard::OutOfTurn,
            CLIENT_HELLO => self.take_in_plain(now, piece, answered == Some(0)),
            _ => Heard::OutOfTurn,
        }
    }

    fn take_in_plain(&mut self, now: Instant, piece: &Fragment<'_>, is_answered: bool) -> Heard {
        let fits = match &self.plain {
            Some(hello) => piece.is_part_of(hello),
            None => self.pieces.agree_with(piece),
        };
        if !fits {
            self.be_wary();
        }
        if self.wary {
            return match self.asks.take(now) {
                true => Heard::Ask,
                false => Heard::TooMany,
            };
        }
        let whole = match &self.plain {
            Some(hello) if piece.repeats(hello) && is_answered => return Heard::Again,
            Some(hello) if piece.repeats(hello) => hello.clone(),
            Some(_) => return Heard::Part,
            None => match self.pieces.add(piece) {
                Some(whole) => whole,
                None => return Heard::Part,
            },
        };
        if !is_client_hello(&whole) {
            self.be_wary();
            return Heard::OutOfTurn;
        }
        self.plain = Some(whole.clone());
        self.whole(now, 0, whole)
    }

    /// Only what begins with our cookie is kept. What follows the beginning counts when it comes behind it: what came
    /// before may be anybody's, and the peer sends it again. The first that makes it whole is it.
    fn take_in_with_cookie(
        &mut self,
        now: Instant,
        piece: &Fragment<'_>,
        is_answered: bool,
        is_ours: impl FnOnce(&[u8]) -> bool,
    ) -> Heard {
        if piece.offset == 0 {
            if !cookie_of(piece.bytes).is_some_and(is_ours) {
                return Heard::OutOfTurn;
            }
            self.begun = Some((piece.length, piece.bytes.to_vec()));
            self.pieces = Pieces::default();
        }
        let Some((length, bytes)) = &self.begun else {
            return Heard::OutOfTurn;
        };
        if piece.length != *length || bytes.len() == *length && piece.offset > 0 {
            return Heard::OutOfTurn;
        }
        // It is among the newest pieces, however many forged ones came meanwhile.
        let beginning = Fragment {
            offset: 0,
            bytes,
            ..*piece
        };
        let mut whole = self.pieces.add(&beginning);
        if piece.offset > 0 {
            whole = self.pieces.add(piece);
        }
        let Some(whole) = whole else {
            return Heard::Part;
        };
        match &self.proven {
            Some(hello) if *hello == whole && is_answered => return Heard::Again,
            Some(hello) if *hello == whole => {}
            Some(hello) if hello.starts_with(bytes) => return Heard::OutOfTurn,
            _ if !is_client_hello(&whole) => return Heard::OutOfTurn,
            _ => self.proven = Some(whole.clone()),
        }
        self.whole(now, 1, whole)
    }

    fn whole(&mut self, now: Instant, seq: u16, body: Vec<u8>) -> Heard {
        match self.hellos.take(now) {
            true => Heard::Whole(Hello { seq, body }),
            false => Heard::TooMany,
        }
    }
}
