//! Whether a subscriber gets sound with the copies of what was before it (RFC 2198): where some of it is lost, and nowhere
//! else, as they are as large as the sound itself.

use crate::wire::num::{ExtSeqNo, PayloadType};

/// Copies are sent from this share of loss on, and until less than that is lost.
const BEGIN: f64 = 0.01;
const END: f64 = 0.0025;

/// What leaves of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving<'a> {
    pub(crate) payload_type: PayloadType,
    pub(crate) payload: &'a [u8],
    /// The payload type that its blocks have, if it leaves with copies.
    pub(crate) blocks: Option<PayloadType>,
}

/// How sound leaves for one subscriber.
#[derive(Debug)]
pub(crate) struct Copies {
    payload_type: Option<PayloadType>,
    sent: bool,
    /// The first number under which packets leave as they leave now.
    since: ExtSeqNo,
}

impl Copies {
    /// `payload_type`: what the subscriber takes them under, if it does.
    pub(crate) fn new(payload_type: Option<PayloadType>) -> Self {
        Copies {
            payload_type,
            sent: false,
            since: ExtSeqNo(0),
        }
    }

    /// That share is lost between the publisher and the subscriber. `next`: the next number that is given out.
    pub(crate) fn on_loss(&mut self, share: f64, next: ExtSeqNo) {
        let sent = self.payload_type.is_some() && share >= if self.sent { END } else { BEGIN };
        if sent != self.sent {
            (self.sent, self.since) = (sent, next);
        }
    }

    /// How a packet leaves of whose payload that much is copies. `plain` is the type of what has none.
    pub(crate) fn leave<'a>(
        &self,
        plain: PayloadType,
        payload: &'a [u8],
        copies: u16,
    ) -> Leaving<'a> {
        match self.payload_type.filter(|_| self.sent && copies > 0) {
            Some(payload_type) => Leaving {
                payload_type,
                payload,
                blocks: Some(plain),
            },
            None => Leaving {
                payload_type: plain,
                payload: payload.get(usize::from(copies)..).unwrap_or_default(),
                blocks: None,
            },
        }
    }

    /// Whether a packet with that much of copies leaves once more as it left under that number.
    pub(crate) fn leaves_alike(&self, number: ExtSeqNo, copies: u16) -> bool {
        copies == 0 || number >= self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: PayloadType = PayloadType(111);
    const RED: PayloadType = PayloadType(63);
    const PAYLOAD: &[u8] = b"copiesown";

    #[test]
    fn copies_go_to_who_takes_them_and_loses_something() {
        let mut copies = Copies::new(Some(RED));
        let mut leave = |share: f64| {
            copies.on_loss(share, ExtSeqNo(1));
            copies.leave(PLAIN, PAYLOAD, 6)
        };
        let bare = Leaving {
            payload_type: PLAIN,
            payload: &PAYLOAD[6..],
            blocks: None,
        };
        let whole = Leaving {
            payload_type: RED,
            payload: PAYLOAD,
            blocks: Some(PLAIN),
        };
        let told = [0.0, 0.009, 0.01, 0.003, 0.0024, 0.009].map(&mut leave);
        assert_eq!(told, [bare, bare, whole, whole, bare, bare]);
        let mut without = Copies::new(None);
        without.on_loss(0.5, ExtSeqNo(1));
        assert_eq!(without.leave(PLAIN, PAYLOAD, 6), bare);
        copies.on_loss(0.5, ExtSeqNo(1));
        let none = Leaving {
            payload: PAYLOAD,
            ..bare
        };
        assert_eq!(copies.leave(PLAIN, PAYLOAD, 0), none);
    }

    #[test]
    fn what_left_otherwise_does_not_leave_under_the_same_number_again() {
        let mut copies = Copies::new(Some(RED));
        assert!(copies.leaves_alike(ExtSeqNo(5), 6));
        copies.on_loss(0.5, ExtSeqNo(10));
        assert!(!copies.leaves_alike(ExtSeqNo(9), 6));
        assert!(copies.leaves_alike(ExtSeqNo(9), 0));
        assert!(copies.leaves_alike(ExtSeqNo(10), 6));
        copies.on_loss(0.5, ExtSeqNo(12));
        assert!(copies.leaves_alike(ExtSeqNo(10), 6), "nothing changed");
        copies.on_loss(0.0, ExtSeqNo(14));
        assert!(!copies.leaves_alike(ExtSeqNo(13), 6));
    }
}
