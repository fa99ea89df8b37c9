//! The numbers of frames in dependency descriptors towards one subscriber. What is left out may leave gaps, since a frame
//! names those that it refers to by their distance; but numbers that went back would be older frames to a decoder.

use crate::wire::num::SeqNo;

/// The state of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frames {
    shift: u16,
    /// The newest that was given; none: none ever was.
    newest: Option<SeqNo>,
}

impl Frames {
    /// It begins with this frame: of another source, or of the same one anew. The first one is passed on as it is.
    pub(crate) fn begin(&mut self, frame: u16) {
        if let Some(newest) = self.newest {
            self.shift = newest.0.wrapping_add(1).wrapping_sub(frame);
        }
    }

    /// The number that a frame is sent with.
    pub(crate) fn number(&mut self, frame: u16) -> u16 {
        let given = self.given_to(frame);
        let is_newer = |newest: SeqNo| newest.distance_to(SeqNo(given)) > 0;
        if self.newest.is_none_or(is_newer) {
            self.newest = Some(SeqNo(given));
        }
        given
    }

    /// The number that a frame was sent with.
    pub(crate) fn given_to(&self, frame: u16) -> u16 {
        frame.wrapping_add(self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_sources_and_keep_their_gaps_within_one() {
        let mut frames = Frames::default();
        frames.begin(65_534);
        let numbers = [65_534, 65_535, 1, 0, 4].map(|frame| frames.number(frame));
        assert_eq!(numbers, [65_534, 65_535, 1, 0, 4]);
        for (first, next) in [(60_000, 5), (3, 8), (8, 11)] {
            frames.begin(first);
            assert_eq!(frames.number(first), next);
            assert_eq!(frames.number(first.wrapping_add(2)), next + 2);
            assert_eq!(frames.given_to(first), next);
        }
    }
}
