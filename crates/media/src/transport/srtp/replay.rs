//! Which indices of which streams have been accepted (RFC 3711 §3.3.2).

use super::{MAX_STREAMS, SrtpError};
use crate::wire::num::Ssrc;

/// RFC 3711 §3.3.2 asks for 64 at least. A packet that is sent again under its own number, where there is no RTX, is that
/// old: two round trips of video at 5 Mbit/s, or as long as its sender keeps it.
const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

struct Stream {
    ssrc: Ssrc,
    newest: u64,
    /// Whether an index of the window has been accepted, each in the place that its lowest bits name.
    seen: [u64; WORDS],
}

impl Stream {
    fn new(ssrc: Ssrc, index: u64) -> Self {
        let mut stream = Stream {
            ssrc,
            newest: index,
            seen: [0; WORDS],
        };
        stream.set(index);
        stream
    }

    fn word(index: u64) -> usize {
        (index % WINDOW / 64) as usize
    }

    fn set(&mut self, index: u64) {
        self.seen[Self::word(index)] |= 1 << (index % 64);
    }

    fn is_seen(&self, index: u64) -> bool {
        self.seen[Self::word(index)] >> (index % 64) & 1 == 1
    }

    /// The window moves to end with `index`: what was before it has no place there any more.
    fn advance(&mut self, index: u64) {
        let ahead = index - self.newest;
        if ahead >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for skipped in self.newest + 1..index {
                self.seen[Self::word(skipped)] &= !(1 << (skipped % 64));
            }
        }
        self.newest = index;
        self.set(index);
    }
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
            Some(_) if stream.is_seen(index) => Err(SrtpError::Replayed),
            _ => Ok((index, Place::Known(at))),
        }
    }

    /// Remembers an index that `check` let pass and whose packet proved authentic. True: all that the stream had before
    /// is older.
    pub(super) fn accept(&mut self, place: Place, ssrc: Ssrc, index: u64) -> bool {
        let Place::Known(at) = place else {
            self.0.push(Stream::new(ssrc, index));
            return false;
        };
        let stream = &mut self.0[at];
        let is_newest = index > stream.newest;
        match is_newest {
            true => stream.advance(index),
            false => stream.set(index),
        }
        is_newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(7);

    fn take(streams: &mut Streams, index: u64) -> Result<bool, SrtpError> {
        let (index, place) = streams.check(SSRC, |_| index)?;
        Ok(streams.accept(place, SSRC, index))
    }

    #[test]
    fn the_window_has_exactly_its_width() {
        let (mut streams, newest) = (Streams::default(), 100_000);
        take(&mut streams, newest).unwrap();
        assert_eq!(take(&mut streams, newest - WINDOW), Err(SrtpError::TooOld));
        for age in [WINDOW - 1, WINDOW - 2, 64, 63, 1] {
            assert_eq!(take(&mut streams, newest - age), Ok(false), "{age}");
            let again = take(&mut streams, newest - age);
            assert_eq!(again, Err(SrtpError::Replayed), "{age}");
        }
        // One step further the oldest of them is out of it.
        assert_eq!(take(&mut streams, newest + 1), Ok(true));
        let oldest = take(&mut streams, newest - (WINDOW - 1));
        assert_eq!(oldest, Err(SrtpError::TooOld));
        let next = take(&mut streams, newest - (WINDOW - 2));
        assert_eq!(next, Err(SrtpError::Replayed));
    }

    #[test]
    fn a_place_in_the_window_is_free_when_another_index_takes_it() {
        for ahead in [
            1,
            2,
            63,
            64,
            65,
            WINDOW - 1,
            WINDOW,
            WINDOW + 1,
            10 * WINDOW,
        ] {
            let (mut streams, first) = (Streams::default(), 5 * WINDOW);
            for index in first..first + WINDOW {
                take(&mut streams, index).unwrap();
            }
            let newest = first + WINDOW - 1 + ahead;
            assert_eq!(take(&mut streams, newest), Ok(true), "{ahead}");
            // Each index of the window is known or taken once, and nothing else is.
            for index in newest - (WINDOW - 1)..newest {
                let known = index < first + WINDOW;
                let expected = match known {
                    true => Err(SrtpError::Replayed),
                    false => Ok(false),
                };
                assert_eq!(take(&mut streams, index), expected, "{ahead}: {index}");
            }
        }
    }

    #[test]
    fn it_accepts_what_a_set_of_all_indices_would() {
        let mut rng = crate::wire::num::Rng::new(5);
        let (mut streams, mut seen) = (Streams::default(), std::collections::HashSet::new());
        let mut newest = 50_000;
        take(&mut streams, newest).unwrap();
        seen.insert(newest);
        for _ in 0..50_000 {
            let index = (newest + 40).saturating_sub(rng.below(WINDOW + 100));
            let expected = match index {
                old if old + WINDOW <= newest => Err(SrtpError::TooOld),
                index if !seen.insert(index) => Err(SrtpError::Replayed),
                index => Ok(index > newest),
            };
            assert_eq!(take(&mut streams, index), expected);
            newest = newest.max(index);
        }
    }
}
