//! Things that keep their place: an index stays valid until its thing is removed.

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    /// How often something in it was looked at.
    #[cfg(test)]
    visits: std::cell::Cell<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
            #[cfg(test)]
            visits: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.slots[index] = Some(value);
                index
            }
            None => {
                self.slots.push(Some(value));
                self.slots.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.slots.get_mut(index)?.take();
        if value.is_some() {
            self.free.push(index);
        }
        value
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.note_visits(1);
        self.slots.get(index)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.note_visits(1);
        self.slots.get_mut(index)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.note_visits(self.len());
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.as_ref().map(|value| (index, value)))
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
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_freed_place_is_used_again_and_others_stay() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        assert_eq!((slab.insert("c"), slab.get(b)), (a, Some(&"b")));
        assert_eq!((slab.len(), slab.slots.len()), (2, 2));
    }
}
