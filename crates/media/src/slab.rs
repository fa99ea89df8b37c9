//! Things that keep their place, and the keys that lead to them: a key is of one sort of thing, and once its thing is
//! removed it leads nowhere, also when the place is taken by another.

use crate::ids::{ConsumerId, ProducerId, TransportId};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Leads to what the control plane calls by an `N`: cheaper than a look-up of its name, and as safe.
pub(crate) struct Key<N> {
    index: u32,
    generation: u32,
    named: PhantomData<fn() -> N>,
}

pub(crate) type TransportKey = Key<TransportId>;
pub(crate) type TrackKey = Key<ProducerId>;
pub(crate) type ConsumerKey = Key<ConsumerId>;

impl<N> Key<N> {
    /// Its place, which it shares with those that were there before.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

impl<N> Clone for Key<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Key<N> {}

impl<N> PartialEq for Key<N> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<N> Eq for Key<N> {}

impl<N> Hash for Key<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}

impl<N> fmt::Debug for Key<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[derive(Debug)]
struct Slot<T> {
    /// Counts the things that were here.
    generation: u32,
    value: Option<T>,
}

/// Places are made so many at a time, and stay where they are: a list that doubles would have half of its room empty, and
/// move everything while packets wait.
const CHUNK: usize = 16;

/// Places, and how many of them were ever taken.
#[derive(Debug)]
struct Slots<T> {
    chunks: Vec<Box<[Slot<T>; CHUNK]>>,
    made: usize,
}

impl<T> Slots<T> {
    /// The index of a place that was never taken.
    fn make(&mut self) -> u32 {
        if self.made.is_multiple_of(CHUNK) {
            let empty = |_| Slot {
                generation: 0,
                value: None,
            };
            let chunk: Box<[Slot<T>]> = (0..CHUNK).map(empty).collect();
            self.chunks.extend(chunk.try_into().ok());
        }
        self.made += 1;
        (self.made - 1) as u32
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&Slot<T>> {
        self.chunks.get(index / CHUNK).map(|it| &it[index % CHUNK])
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> Option<&mut Slot<T>> {
        let chunk = self.chunks.get_mut(index / CHUNK);
        chunk.map(|it| &mut it[index % CHUNK])
    }
}

/// Things of one sort, each called by an `N`.
#[derive(Debug)]
pub(crate) struct Slab<N, T> {
    slots: Slots<T>,
    free: Vec<u32>,
    named: PhantomData<fn() -> N>,
    /// How often something in it was looked at.
    #[cfg(test)]
    visits: std::cell::Cell<usize>,
}

impl<N, T> Slab<N, T> {
    pub(crate) fn new() -> Self {
        Slab {
            slots: Slots {
                chunks: Vec::new(),
                made: 0,
            },
            free: Vec::new(),
            named: PhantomData,
            #[cfg(test)]
            visits: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key<N> {
        let free = self.free.pop();
        let index = free.unwrap_or_else(|| self.slots.make());
        let slot = self.slots.get_mut(index as usize);
        let slot = slot.expect("a place that was made");
        slot.value = Some(value);
        Key {
            index,
            generation: slot.generation,
            named: PhantomData,
        }
    }

    pub(crate) fn remove(&mut self, key: Key<N>) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn get(&self, key: Key<N>) -> Option<&T> {
        self.note_visits(1);
        let slot = self.slots.get(key.index())?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key<N>) -> Option<&mut T> {
        self.note_visits(1);
        let slot = self.slots.get_mut(key.index())?;
        let is_here = slot.generation == key.generation;
        slot.value.as_mut().filter(|_| is_here)
    }

    /// The key of what is at that place now.
    pub(crate) fn key_at(&self, index: usize) -> Option<Key<N>> {
        let slot = self.slots.get(index).filter(|it| it.value.is_some())?;
        Some(Key {
            index: index as u32,
            generation: slot.generation,
            named: PhantomData,
        })
    }

    #[cfg(feature = "sim")]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.note_visits(self.len());
        let slots = self.slots.chunks.iter().flat_map(|it| it.iter());
        slots.filter_map(|slot| slot.value.as_ref())
    }

    /// What is in so many places from one on.
    pub(crate) fn window(&self, from: usize, places: usize) -> impl Iterator<Item = &T> {
        let end = from.saturating_add(places).min(self.slots.made);
        self.note_visits(end.saturating_sub(from));
        let window = (from..end).filter_map(|index| self.slots.get(index));
        window.filter_map(|slot| slot.value.as_ref())
    }

    /// How many places there are, taken or free.
    pub(crate) fn places(&self) -> usize {
        self.slots.made
    }

    #[inline]
    fn note_visits(&self, _count: usize) {
        #[cfg(test)]
        self.visits.set(self.visits.get() + _count);
    }

    /// How often something in it was looked at since this was asked last.
    #[cfg(test)]
    pub(crate) fn take_visits(&self) -> usize {
        self.visits.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.made - self.free.len()
    }

    /// Gives back the room that nothing ever stood in. Returns how many places there are, taken or free (they stay, for
    /// their generations), and the bytes of them.
    #[cfg(feature = "sim")]
    pub(crate) fn shrink(&mut self) -> (usize, usize) {
        self.slots.chunks.shrink_to_fit();
        self.free.shrink_to_fit();
        let (chunk, chunks) = (size_of::<[Slot<T>; CHUNK]>(), self.slots.chunks.len());
        let bytes = (chunk + size_of::<usize>()) * chunks + size_of::<u32>() * self.free.len();
        (self.slots.made, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_used_again_and_others_stay() {
        let mut slab: Slab<TransportId, &str> = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert("c");
        assert_eq!((c.index(), slab.get(b)), (a.index(), Some(&"b")));
        assert_eq!((slab.len(), slab.slots.made), (2, 2));
    }

    #[test]
    fn things_stay_where_they_are_however_many_come() {
        let mut slab: Slab<TransportId, usize> = Slab::new();
        let keys: Vec<_> = (0..100).map(|number| slab.insert(number)).collect();
        let first: *const usize = slab.get(keys[0]).unwrap();
        for (number, key) in keys.iter().enumerate() {
            assert_eq!((key.index(), slab.get(*key)), (number, Some(&number)));
            assert_eq!(slab.key_at(number), Some(*key));
        }
        assert_eq!(slab.key_at(100), None);
        assert!(slab.values().copied().eq(0..100));
        let many: Vec<_> = (0..10_000).map(|number| slab.insert(number)).collect();
        assert!(std::ptr::eq(first, slab.get(keys[0]).unwrap()));
        let room = slab.slots.chunks.len() * CHUNK;
        assert!(room < slab.len() + CHUNK, "{room} for {}", many.len());
    }

    #[test]
    fn the_key_of_what_is_gone_does_not_lead_to_what_took_its_place() {
        let mut slab: Slab<TransportId, &str> = Slab::new();
        let a = slab.insert("a");
        slab.remove(a);
        let b = slab.insert("b");
        assert_eq!((a.index(), slab.get(a)), (b.index(), None));
        assert_eq!(slab.get_mut(a), None);
        assert_eq!((slab.remove(a), slab.get(b)), (None, Some(&"b")));
        assert_eq!(slab.key_at(b.index()), Some(b));
    }
}
