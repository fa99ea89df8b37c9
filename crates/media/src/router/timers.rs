//! When each transport wants to be served: a binary heap that knows the place of each entry, so that moving one is as
//! cheap as adding one, and nothing is looked at that is not due. Nothing is allocated for a transport that was in it.

use crate::slab::TransportKey;
use std::time::Instant;

/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

/// One moment for each index at most.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: Vec<(Instant, TransportKey)>,
    /// The place in the heap of each index.
    places: Vec<u32>,
}

impl Timers {
    /// The earliest moment.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Sets the moment of an index, earlier or later than it was; none takes it out.
    pub(super) fn set(&mut self, index: TransportKey, at: Option<Instant>) {
        let Some(at) = at else {
            return self.take_out(index);
        };
        match self.place(index) {
            Some(place) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
            None => {
                if self.places.len() <= index.index() {
                    self.places.resize(index.index() + 1, NOWHERE);
                }
                self.heap.push((at, index));
                self.places[index.index()] = (self.heap.len() - 1) as u32;
                self.settle(self.heap.len() - 1);
            }
        }
    }

    /// Sets the moment of an index unless it has an earlier one.
    pub(super) fn bring_forward(&mut self, index: TransportKey, at: Instant) {
        let is_earlier = self
            .place(index)
            .is_none_or(|place| at < self.heap[place].0);
        if is_earlier {
            self.set(index, Some(at));
        }
    }

    /// Takes out one index whose moment has come, the earliest first.
    pub(super) fn pop(&mut self, now: Instant) -> Option<TransportKey> {
        let (_, index) = self.heap.first().filter(|(at, _)| *at <= now)?;
        let index = *index;
        self.take_out(index);
        Some(index)
    }

    /// Gives back the room that nothing ever stood in; returns the bytes of the rest.
    #[cfg(feature = "sim")]
    pub(super) fn shrink(&mut self) -> usize {
        self.heap.shrink_to_fit();
        self.places.shrink_to_fit();
        size_of::<(Instant, TransportKey)>() * self.heap.len()
            + size_of::<u32>() * self.places.len()
    }

    fn place(&self, index: TransportKey) -> Option<usize> {
        let place = self
            .places
            .get(index.index())
            .filter(|place| **place != NOWHERE)?;
        Some(*place as usize)
    }

    fn take_out(&mut self, index: TransportKey) {
        let Some(place) = self.place(index) else {
            return;
        };
        self.heap.swap_remove(place);
        self.places[index.index()] = NOWHERE;
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Moves what stands at a place to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let in_heap = children.into_iter().filter(|at| *at < self.heap.len());
            let Some(first) = in_heap.min_by_key(|at| self.heap[*at].0) else {
                break;
            };
            if self.heap[place].0 <= self.heap[first].0 {
                break;
            }
            self.swap(place, first);
            place = first;
        }
        self.places[self.heap[place].1.index()] = place as u32;
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            self.places[self.heap[place].1.index()] = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use crate::wire::num::Rng;
    use std::collections::HashMap;
    use std::time::Duration;

    #[test]
    fn whatever_is_set_moved_and_taken_out_comes_when_it_is_due_and_in_order() {
        for seed in 0..50 {
            let (mut rng, start) = (Rng::new(seed), Instant::now());
            let (mut timers, mut expected) = (Timers::default(), HashMap::new());
            let mut now = start;
            let mut slab = Slab::new();
            let keys: Vec<TransportKey> = (0..60).map(|_| slab.insert(())).collect();
            for _ in 0..2000 {
                let index = keys[rng.below(60) as usize];
                let at = now + Duration::from_millis(rng.below(500));
                match rng.below(5) {
                    0 => {
                        timers.set(index, None);
                        expected.remove(&index);
                    }
                    1 | 2 => {
                        timers.set(index, Some(at));
                        expected.insert(index, at);
                    }
                    3 => {
                        timers.bring_forward(index, at);
                        let kept = expected.entry(index).or_insert(at);
                        *kept = at.min(*kept);
                    }
                    _ => {
                        now += Duration::from_millis(rng.below(100));
                        let mut last = start;
                        while let Some(index) = timers.pop(now) {
                            let at = expected.remove(&index).expect("one that was set");
                            assert!(at >= last && at <= now, "seed {seed}");
                            last = at;
                        }
                        assert!(expected.values().all(|at| *at > now), "seed {seed}");
                    }
                }
                assert_eq!(
                    timers.next(),
                    expected.values().min().copied(),
                    "seed {seed}"
                );
            }
        }
    }
}
