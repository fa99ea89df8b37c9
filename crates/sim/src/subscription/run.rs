//! From a packet that a decoder can begin with to the next stop: which number each packet of it leaves with, which each
//! picture, and which temporal layers are in it.

use crate::layered::Picture;
use std::collections::BTreeMap;

/// A run of one number space of one source.
pub(super) struct Run {
    /// Which source, by its place.
    pub(super) place: usize,
    /// Which of its number spaces.
    pub(super) epoch: u32,
    /// The id of the packet it begins with.
    pub(super) first: u64,
    /// The number that gets; none until the router has chosen.
    pub(super) first_out: Option<u64>,
    pub(super) newest: u64,
    /// Packets that were left out before anything behind them came, so that what follows closes up.
    pub(super) left_out: Vec<u64>,
    pub(super) layers: LayerChoice,
    pub(super) pictures: Option<Numbering>,
}

impl Run {
    /// A packet of that picture is sent or left out.
    pub(super) fn see(&mut self, picture: Option<&Picture>, left_out: bool) {
        if let Some((pictures, picture)) = self.pictures.as_mut().zip(picture) {
            pictures.see(picture, left_out);
        }
    }

    /// The number that a packet of this run leaves with.
    pub(super) fn number_of(&self, id: u64) -> Option<u64> {
        if self.left_out.contains(&id) {
            return None;
        }
        let closed_up = self.left_out.iter().filter(|at| **at < id).count() as u64;
        Some(self.first_out? + (id - self.first) - closed_up)
    }
}

/// Which temporal layers are sent, from which frame on.
#[derive(Default)]
pub(super) struct LayerChoice {
    changes: BTreeMap<u64, u8>,
    newest: u64,
}

impl LayerChoice {
    /// With all that is wanted from this frame on.
    pub(super) fn new(frame: u64, wanted: u8) -> LayerChoice {
        LayerChoice {
            changes: BTreeMap::from([(frame, wanted)]),
            newest: frame,
        }
    }

    /// Whether a frame is sent. It is decided once, when the first packet of it comes: less from any frame on, and one layer
    /// more from one that says that it can be decoded from there.
    pub(super) fn takes(&mut self, picture: &Picture, wanted: u8) -> bool {
        let Picture { frame, layer, .. } = *picture;
        let (layer, opens) = layer.map_or((0, false), |(_, layer, opens)| (layer, opens));
        if frame > self.newest {
            self.newest = frame;
            let before = self.changes.last_key_value().map_or(wanted, |(_, it)| *it);
            let opened = before + u8::from(opens && layer == before + 1);
            let after = opened.min(wanted);
            if after != before {
                self.changes.insert(frame, after);
            }
        }
        let since = self.changes.range(..=frame).next_back();
        since.is_none_or(|(_, highest)| layer <= *highest)
    }
}

/// The numbers of the pictures of a run: they go on without a gap but for what is missing.
#[derive(Clone)]
pub(super) struct Numbering {
    first: u64,
    first_out: u64,
    newest: u64,
    left_out: Vec<u64>,
    /// What the number of the last picture of the lowest layer is shifted by, and what was given last.
    shift: u8,
    lowest: u8,
}

impl Numbering {
    /// Behind what was given `before`; the very first ones are passed on as they are.
    pub(super) fn behind(before: Option<&Numbering>, picture: &Picture) -> Option<Numbering> {
        let (number, _) = picture.number?;
        let lowest = picture.layer.map_or(0, |(lowest, ..)| lowest);
        let (first_out, shift) = match before {
            None => (u64::from(number), 0),
            Some(it) => (it.next(), it.lowest.wrapping_add(1).wrapping_sub(lowest)),
        };
        Some(Numbering {
            first: picture.frame,
            first_out,
            newest: picture.frame,
            left_out: Vec::new(),
            shift,
            lowest: lowest.wrapping_add(shift),
        })
    }

    fn next(&self) -> u64 {
        self.first_out + (self.newest - self.first + 1) - self.left_out.len() as u64
    }

    /// A packet of a picture is sent or left out.
    pub(super) fn see(&mut self, picture: &Picture, left_out: bool) {
        if picture.frame <= self.newest {
            return;
        }
        self.newest = picture.frame;
        if left_out {
            self.left_out.push(picture.frame);
        } else {
            self.lowest = self.lowest_of(picture);
        }
    }

    fn lowest_of(&self, picture: &Picture) -> u8 {
        let lowest = picture.layer.map_or(0, |(lowest, ..)| lowest);
        lowest.wrapping_add(self.shift)
    }

    /// What a picture of the run is sent with.
    pub(super) fn of(&self, picture: &Picture) -> (u16, u8) {
        let at = picture.frame;
        let closed_up = self.left_out.iter().filter(|it| **it < at).count() as u64;
        let number = self.first_out + (at - self.first) - closed_up;
        (number as u16 & 0x7fff, self.lowest_of(picture))
    }
}
