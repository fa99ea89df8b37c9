//! Which temporal layers a consumer gets. Fewer from any frame on; more from where a decoder can follow. What is wanted and
//! what may be had are told by others; a frame gets one answer, in whatever order its packets come.

use crate::wire::layers::{Layers, MAX_TEMPORAL};
use crate::wire::num::RtpTime;

/// Changes that are remembered, for packets that come late: more than happen while one is waited for.
const CHANGES: usize = 8;

/// One change: the layer that was the highest before it, and the frame from which on it is not.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    since: RtpTime,
    before: u8,
}

/// The state of one subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temporal {
    pub(crate) wanted: u8,
    pub(crate) allowed: u8,
    current: u8,
    /// The last ones since it began, the newest first, and how many there are.
    changes: [Change; CHANGES],
    changed: u8,
    newest: RtpTime,
    /// The highest layer that came while not all are sent.
    highest: u8,
}

impl Temporal {
    pub(crate) fn new(wanted: Option<u8>) -> Self {
        Temporal {
            wanted: wanted.unwrap_or(MAX_TEMPORAL).min(MAX_TEMPORAL),
            allowed: MAX_TEMPORAL,
            current: MAX_TEMPORAL,
            changes: [Change::default(); CHANGES],
            changed: 0,
            newest: RtpTime(0),
            highest: 0,
        }
    }

    /// The highest layer it gets.
    pub(crate) fn current(&self) -> u8 {
        self.current
    }

    /// The highest layer it should get.
    pub(crate) fn target(&self) -> u8 {
        self.wanted.min(self.allowed).min(MAX_TEMPORAL)
    }

    /// The highest layer that may be had of those that are wanted; all when that is all of them.
    pub(crate) fn most(&self) -> u8 {
        match self.allowed < self.wanted {
            true => self.allowed,
            false => MAX_TEMPORAL,
        }
    }

    /// Layers up to that one are wanted, or all.
    pub(crate) fn want(&mut self, highest: Option<u8>) {
        self.wanted = highest.unwrap_or(MAX_TEMPORAL).min(MAX_TEMPORAL);
    }

    /// Whether more is wanted than it gets, and there is more.
    pub(crate) fn falls_short(&self) -> bool {
        self.current < self.wanted.min(self.highest)
    }

    /// A keyframe begins it anew: all layers follow from there.
    pub(crate) fn begin(&mut self, timestamp: RtpTime) {
        self.newest = timestamp;
        self.current = self.target();
        self.changed = 0;
    }

    /// Whether the subscriber gets a packet of these layers.
    pub(crate) fn takes(&mut self, layers: &Layers, timestamp: RtpTime) -> bool {
        if timestamp.newer_than(self.newest) {
            self.newest = timestamp;
            let target = self.target();
            if self.current != target {
                self.highest = self.highest.max(layers.lowest());
                self.change(layers, target);
            }
        }
        let changes = &self.changes[..usize::from(self.changed)];
        let later = changes
            .iter()
            .take_while(|it| it.since.newer_than(timestamp));
        let highest = later.last().map_or(self.current, |it| it.before);
        layers.needed >> highest & 1 != 0
    }

    fn change(&mut self, layers: &Layers, target: u8) {
        let mut next = self.current.min(target);
        // Each layer is opened by itself: one above it may depend on what was left out of it.
        while next < target && layers.opens >> (next + 1) & 1 != 0 {
            next += 1;
        }
        if next != self.current {
            self.changes.rotate_right(1);
            self.changes[0] = Change {
                since: self.newest,
                before: self.current,
            };
            self.changed = (self.changed + 1).min(CHANGES as u8);
            self.current = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vp8::PictureIds;

    fn layers(temporal: u8, opens: bool) -> Layers {
        Layers {
            needed: 0xff << temporal,
            opens: u8::from(opens) << temporal,
            ids: PictureIds::NONE,
        }
    }

    #[test]
    fn layers_go_at_any_frame_and_come_back_where_each_is_opened() {
        let mut temporal = Temporal::new(None);
        temporal.begin(RtpTime(0));
        let mut time = 0;
        let mut takes = |temporal: &mut Temporal, layer, opens| {
            time += 10;
            temporal.takes(&layers(layer, opens), RtpTime(time))
        };
        assert!(takes(&mut temporal, 2, false));
        temporal.wanted = 0;
        assert!(!takes(&mut temporal, 1, true));
        assert!(takes(&mut temporal, 0, false));
        temporal.wanted = 7;
        assert!(!takes(&mut temporal, 2, true), "the one below is not there");
        assert!(!takes(&mut temporal, 1, false));
        assert!(takes(&mut temporal, 1, true));
        assert!(!takes(&mut temporal, 2, false));
        assert!(takes(&mut temporal, 2, true));
        temporal.allowed = 1;
        assert!(!takes(&mut temporal, 2, true));
        assert!(takes(&mut temporal, 1, false));
    }

    #[test]
    fn a_frame_gets_one_answer_in_whatever_order_its_packets_come() {
        let mut temporal = Temporal::new(None);
        temporal.begin(RtpTime(0));
        assert!(temporal.takes(&layers(2, false), RtpTime(10)));
        temporal.wanted = 0;
        assert!(
            temporal.takes(&layers(2, false), RtpTime(10)),
            "the rest of it"
        );
        assert!(temporal.takes(&layers(0, false), RtpTime(20)));
        assert!(!temporal.takes(&layers(2, false), RtpTime(30)));
        assert!(
            temporal.takes(&layers(2, false), RtpTime(10)),
            "a late part of it"
        );
        temporal.wanted = 7;
        assert!(!temporal.takes(&layers(2, false), RtpTime(30)));
        assert!(temporal.takes(&layers(1, true), RtpTime(40)));
        assert!(!temporal.takes(&layers(2, false), RtpTime(30)));
    }

    /// However often it changes while packets of a frame are under way: what was sent of it is sent to its end.
    #[test]
    fn a_frame_from_before_several_changes_gets_the_answer_it_got() {
        let mut temporal = Temporal::new(None);
        temporal.begin(RtpTime(0));
        let mut answers = Vec::new();
        for frame in 1..=10 {
            temporal.wanted = if frame % 4 < 2 { 0 } else { 7 };
            let of_frame = layers(1 + frame % 2, true);
            let taken = temporal.takes(&of_frame, RtpTime(u32::from(frame) * 10));
            answers.push((of_frame, RtpTime(u32::from(frame) * 10), taken));
        }
        let taken = answers.iter().filter(|(.., taken)| *taken).count();
        assert!((3..9).contains(&taken), "{answers:?}");
        for (layers, time, taken) in answers {
            assert_eq!(temporal.takes(&layers, time), taken, "{time:?}");
        }
    }
}
