//! Which indices of which streams have been accepted (RFC 3711 §3.3.2).

use super::{MAX_STREAMS, SrtpError};
use crate::wire::num::Ssrc;

const WINDOW: u64 = 128; // RFC 3711 §3.3.2 asks for 64 at least

struct Stream {
    ssrc: Ssrc,
    newest: u64,
    /// Bit n says that index `newest - n` has been accepted.
    seen: u128,
}

/// The replay windows of one receiver.
#[derive(Default)]
pub(super) struct Streams(Vec<Stream>);

/// Where the stream of a checked packet is, or will be.
pub(super) enum Place {
    Known(usize),
    New,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The index of a packet and whether it may be accepted; it changes no stream.
    pub(super) fn check(
        &mut self,
        ssrc: Ssrc,
        index_from_newest: impl FnOnce(Option<u64>) -> u64,
    ) -> Result<(u64, Place), SrtpError> {
        let Some(mut at) = self.0.iter().position(|stream| stream.ssrc == ssrc) else {
            if self.0.len() >= MAX_STREAMS {
                return Err(SrtpError::TooManyStreams);
            }
            return Ok((index_from_newest(None), Place::New));
        };
        if at >= 4 {
            // The streams in use drift to the front, so that those that ended do not make the search long.
            self.0.swap(at, at / 2);
            at /= 2;
        }
        let stream = &self.0[at];
        let index = index_from_newest(Some(stream.newest));
        match stream.newest.checked_sub(index) {
            Some(age) if age >= WINDOW => Err(SrtpError::TooOld),
            Some(age) if stream.seen >> age & 1 == 1 => Err(SrtpError::Replayed),
            _ => Ok((index, Place::Known(at))),
        }
    }

    /// Remembers an index that `check` let pass and whose packet proved authentic. True: all that the stream had before
    /// is older.
    pub(super) fn accept(&mut self, place: Place, ssrc: Ssrc, index: u64) -> bool {
        let Place::Known(at) = place else {
            self.0.push(Stream {
                ssrc,
                newest: index,
                seen: 1,
            });
            return false;
        };
        let stream = &mut self.0[at];
        match index.checked_sub(stream.newest) {
            Some(ahead) => {
                stream.seen = u32::try_from(ahead)
                    .ok()
                    .and_then(|n| stream.seen.checked_shl(n))
                    .unwrap_or(0)
                    | 1;
                stream.newest = index;
                true
            }
            None => {
                stream.seen |= 1u128
                    .checked_shl((stream.newest - index) as u32)
                    .unwrap_or(0);
                false
            }
        }
    }
}
