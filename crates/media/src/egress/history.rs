//! Which packet of the source each number of a subscriber's stood for.

use crate::ingress::cache::SLOTS;
use std::cmp::Ordering;
use std::ops::Range;

/// Numbers remembered with where they came from: what is older can be asked for in vain, since the cache of the source
/// does not hold it any more, either.
pub(super) const RING: u64 = SLOTS as u64;

/// In a slot: nothing is sent under that number.
const EMPTIED: u32 = 1 << 31;

/// Which incoming number each of the last outgoing ones stands for: a ring, in which both only grow. Numbers are in it
/// that were given to packets which have not come yet.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The low 31 bits of the incoming numbers, each in the slot of its outgoing number, and whether its packet was left out
    /// when it came. Empty before the first.
    slots: Vec<u32>,
    /// The first outgoing number, and one above the last.
    start: u64,
    end: u64,
    /// The incoming number that belongs to the last.
    newest: u64,
}

impl History {
    /// Forgets all; what comes next gets this number.
    pub(super) fn restart(&mut self, start: u64) {
        if self.slots.is_empty() {
            self.slots = vec![0; RING as usize];
        }
        (self.start, self.end) = (start, start);
    }

    /// Gives the next number to an incoming one, which is newer than all before.
    pub(super) fn push(&mut self, number: u64) -> u64 {
        let out = self.end;
        self.slots[(out % RING) as usize] = number as u32 & !EMPTIED;
        self.end += 1;
        self.newest = number;
        out
    }

    /// The same for all of a gap, of which the ring may hold the end only.
    pub(super) fn push_all(&mut self, numbers: Range<u64>) {
        let first = numbers.end.saturating_sub(RING).max(numbers.start);
        self.end += first - numbers.start;
        for number in first..numbers.end {
            self.push(number);
        }
    }

    /// Nothing is sent under that number.
    pub(super) fn empty(&mut self, out: u64) {
        if let Some(slot) = self.slots.get_mut((out % RING) as usize) {
            *slot |= EMPTIED;
        }
    }

    /// Whether nothing is sent under that number.
    pub(super) fn is_emptied(&self, out: u64) -> bool {
        let slot = self.slots.get((out % RING) as usize);
        slot.is_some_and(|slot| slot & EMPTIED != 0)
    }

    /// The incoming number behind one of ours; none when that is not remembered.
    pub(super) fn source_of(&self, out: u64) -> Option<u64> {
        let oldest = self.end.saturating_sub(RING).max(self.start);
        if !(oldest..self.end).contains(&out) {
            return None;
        }
        let low = self.slots[(out % RING) as usize];
        let behind = (self.newest as u32).wrapping_sub(low) & !EMPTIED;
        Some(self.newest - u64::from(behind))
    }

    /// The number that an incoming one got; none when it got none, or one that is not remembered.
    pub(super) fn number_of(&self, number: u64) -> Option<u64> {
        let (mut low, mut high) = (self.end.saturating_sub(RING).max(self.start), self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.source_of(middle)?.cmp(&number) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }
}
