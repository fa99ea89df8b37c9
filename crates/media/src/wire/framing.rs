//! Datagrams in a byte stream, each behind its length (RFC 4571 §2, as RFC 6544 §3 frames what ICE brings over TCP).

use std::ops::Range;

/// Bytes of a length.
pub const HEADER: usize = 2;

/// The longest frame that is taken: more than any datagram of an Ethernet. What is longer is skipped as it comes.
pub const MAX_FRAME: usize = 2048;

/// Bytes that one connection keeps at most: a frame that has all but its last byte.
pub const MAX_KEPT: usize = HEADER + MAX_FRAME - 1;

/// Writes a frame's length in front of it: `frame` begins with room for that, and has `len` bytes behind it.
pub fn write_header(frame: &mut [u8; HEADER], len: u16) {
    *frame = len.to_be_bytes();
}

/// What a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame: where it is in what was read.
    Frame(Range<usize>),
    /// The head of a frame of so many bytes, which is longer than any that is taken; its bytes are skipped.
    TooLong(usize),
}

/// Reads frames out of a stream in whatever pieces it comes. It keeps no bytes itself: what is left over at the end of a
/// piece is to stand in front of the next one, [`MAX_KEPT`] bytes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Bytes still to be skipped of a frame that is too long.
    skips: usize,
}

impl Framing {
    /// Goes on at `at` in `piece`: what comes next there and the place behind it. None: the rest, which is from the
    /// returned place on, is not whole yet.
    pub fn next(&mut self, piece: &[u8], at: usize) -> (Option<Found>, usize) {
        let skipped = self.skips.min(piece.len().saturating_sub(at));
        self.skips -= skipped;
        let at = at + skipped;
        let Some(head) = piece
            .get(at..)
            .and_then(|rest| rest.first_chunk::<HEADER>())
        else {
            return (None, at);
        };
        let (len, begins) = (usize::from(u16::from_be_bytes(*head)), at + HEADER);
        if len > MAX_FRAME {
            self.skips = len;
            return (Some(Found::TooLong(len)), begins);
        }
        match begins + len <= piece.len() {
            true => (Some(Found::Frame(begins..begins + len)), begins + len),
            false => (None, at),
        }
    }

    /// How many bytes the frame has that begins in what is left over; none while not even its head is there.
    pub fn awaited(left: &[u8]) -> Option<usize> {
        let head = left.first_chunk::<HEADER>()?;
        Some(usize::from(u16::from_be_bytes(*head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of a stream that comes in pieces of these lengths, and the lengths of those that were too long.
    fn read(stream: &[u8], mut pieces: impl Iterator<Item = usize>) -> (Vec<Vec<u8>>, Vec<usize>) {
        let mut framing = Framing::default();
        let (mut frames, mut too_long) = (Vec::new(), Vec::new());
        let (mut left, mut rest) = (Vec::new(), stream);
        while !rest.is_empty() {
            let len = pieces.next().unwrap_or(rest.len()).clamp(1, rest.len());
            left.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            let mut at = 0;
            loop {
                let (found, next) = framing.next(&left, at);
                at = next;
                match found {
                    Some(Found::Frame(range)) => frames.push(left[range].to_vec()),
                    Some(Found::TooLong(len)) => too_long.push(len),
                    None => break,
                }
            }
            left.drain(..at);
            assert!(left.len() <= MAX_KEPT, "{} bytes are kept", left.len());
        }
        (frames, too_long)
    }

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        let framed = frames.iter().flat_map(|frame| {
            let mut head = [0; HEADER];
            write_header(&mut head, frame.len() as u16);
            [&head[..], frame].concat()
        });
        framed.collect()
    }

    fn frame(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + len) as u8).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames: Vec<Vec<u8>> = [0, 1, 2, 3, 1200, 0, MAX_FRAME, 7].map(frame).to_vec();
        let stream = framed(&frames);
        for piece in [1, 2, 3, 5, 700, 2049, 2050, 9999] {
            let read = read(&stream, std::iter::repeat(piece));
            assert_eq!(read, (frames.clone(), vec![]), "pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_skipped_whole_and_what_follows_it_is_read() {
        let long = [MAX_FRAME + 1, 65_535];
        for len in long {
            let stream = framed(&[frame(4), frame(len), frame(5)]);
            for piece in [1, 2, 1000, 80_000] {
                let read = read(&stream, std::iter::repeat(piece));
                assert_eq!(read, (vec![frame(4), frame(5)], vec![len]), "{piece}");
            }
        }
    }

    #[test]
    fn what_is_awaited_is_known_from_the_head_on() {
        assert_eq!(Framing::awaited(&[]), None);
        assert_eq!(Framing::awaited(&[4]), None);
        assert_eq!(Framing::awaited(&[4, 1, 9]), Some(1025));
    }
}
