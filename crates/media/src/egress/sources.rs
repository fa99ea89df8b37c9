//! What a consumer may be sent: the encodings of one picture, from the biggest to the smallest. Which of them it gets, which
//! is wanted of it and which may be had are three things: the last two are told by others and change at any time, the
//! first changes where a decoder can follow.

use crate::egress::consumer::Consumer;
use crate::egress::spec::MAX_SOURCES;
use crate::ingress::track::{Presence, SenderClock};
use crate::reasons::Shortfall;
use crate::slab::TrackKey;

/// One that is to follow as soon as a keyframe of it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    /// Its place among the sources.
    pub(crate) place: usize,
    pub(crate) track: TrackKey,
    /// Where the consumer stands in the track's list.
    pub(crate) at_track: usize,
    /// The arrival of the track that is looked at next.
    pub(crate) cursor: u64,
}

/// All of them, and which is what.
#[derive(Debug)]
pub(crate) struct Sources {
    tracks: [Option<TrackKey>; MAX_SOURCES],
    count: u8,
    current: u8,
    wanted: u8,
    /// The biggest that may be sent.
    allowed: u8,
}

impl Sources {
    /// From the biggest to the smallest; none for one that is not there. It begins with the one that is wanted.
    pub(crate) fn new(from: &[Option<TrackKey>], wanted: usize) -> Self {
        let mut tracks = [None; MAX_SOURCES];
        let count = from.len().min(MAX_SOURCES);
        tracks[..count].copy_from_slice(&from[..count]);
        let mut sources = Sources {
            tracks,
            count: count as u8,
            current: 0,
            wanted: 0,
            allowed: 0,
        };
        sources.want(wanted);
        sources.current = sources.wanted;
        sources
    }

    /// Whether there is anything to choose from.
    pub(crate) fn are_several(&self) -> bool {
        self.count > 1
    }

    /// The place of the one it gets.
    pub(crate) fn current(&self) -> usize {
        usize::from(self.current)
    }

    /// It gets that one from here on.
    pub(crate) fn set_current(&mut self, place: usize) {
        self.current = self.clamped(place);
    }

    /// The place of the one that is wanted.
    pub(crate) fn wanted(&self) -> usize {
        usize::from(self.wanted)
    }

    /// The place of the biggest that may be sent.
    pub(crate) fn allowed(&self) -> usize {
        usize::from(self.allowed)
    }

    pub(crate) fn track(&self, place: usize) -> Option<TrackKey> {
        *self.tracks.get(place)?
    }

    /// What the control plane wants. One beyond the end is the smallest.
    pub(crate) fn want(&mut self, place: usize) {
        self.wanted = self.clamped(place);
    }

    /// Nothing bigger than this may be sent.
    pub(crate) fn allow(&mut self, place: usize) {
        self.allowed = self.clamped(place);
    }

    fn clamped(&self, place: usize) -> u8 {
        place.min(usize::from(self.count).saturating_sub(1)) as u8
    }

    /// Which one it should get: what is wanted and may be had, and while that is missing the next smaller one that is
    /// sent, then the next bigger one. None: all are gone.
    ///
    /// A pause alone does not make a source missing, since a screen on which nothing moves is not sent: only one that is
    /// silent while another is sent steadily, or has been for long, or never began.
    pub(crate) fn target(&self, presence: impl Fn(TrackKey) -> Presence) -> Option<usize> {
        let presence = |place: usize| self.track(place).map_or(Presence::Gone, &presence);
        let ideal = usize::from(self.wanted.max(self.allowed));
        let smaller = ideal + 1..usize::from(self.count);
        let others = smaller.chain((0..ideal).rev());
        let needs_steady = match presence(ideal) {
            Presence::Sent { .. } => return Some(ideal),
            Presence::Silent { long } => !long,
            Presence::Unstarted | Presence::Gone => false,
        };
        let is_better = |place: &usize| match presence(*place) {
            Presence::Sent { steadily } => steadily || !needs_steady,
            _ => false,
        };
        let is_there = |place: &usize| presence(*place) != Presence::Gone;
        // Where nothing is sent, waiting goes on where it was.
        let waiting = [ideal, self.current()].into_iter();
        let mut better = others.clone().filter(is_better);
        better
            .next()
            .or_else(|| waiting.chain(others).find(is_there))
    }
}

impl Consumer {
    /// Why it does not get the source that is wanted, if it does not.
    pub(crate) fn shortfall(&self) -> Option<Shortfall> {
        let sources = &self.sources;
        let wanted = sources.wanted();
        if sources.current() == wanted && self.next.is_none() {
            let temporal = &self.temporal;
            // Some layers are allowed only where there are more.
            return match temporal.allowed < temporal.wanted {
                true => Some(Shortfall::Bandwidth),
                false => temporal.falls_short().then_some(Shortfall::AwaitingLayer),
            };
        }
        if self.next.is_some_and(|next| next.place == wanted) {
            return Some(Shortfall::AwaitingKeyframe);
        }
        if sources.allowed() > wanted {
            return Some(Shortfall::Bandwidth);
        }
        Some(Shortfall::Missing)
    }

    /// It goes on with another source, whose packets come from that arrival on. Returns where it stood in the list of the one
    /// before. `clocks` are those of both senders, as far as they are known.
    pub(crate) fn switch_to(&mut self, next: Next, clocks: Option<[SenderClock; 2]>) -> usize {
        self.rewriter.change_source(clocks);
        self.track = next.track;
        self.cursor = next.cursor;
        self.sources.set_current(next.place);
        self.next = None;
        self.in_frame = false;
        std::mem::replace(&mut self.places.at_track, next.at_track)
    }
}
