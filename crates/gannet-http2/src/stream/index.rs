//! From stream identifier to slab index: a hash table that needs no hash.
//!
//! The identifiers of live streams are mostly neighbours, so their low bits spread them perfectly.
//! A peer can choose identifiers that meet in one place; a lookup then walks past at most as many
//! entries as there are live streams, which the stream limit bounds.

/// Open addressing with linear probing; deletion moves entries back, so there are no tombstones.
#[derive(Debug, Default)]
pub(super) struct IdIndex {
    entries: Vec<Entry>,
    len: usize,
    /// Entries that are not at their home. While there is none, nothing moves when one goes.
    displaced: usize,
}

/// `id` 0 is an empty place: stream 0 is the connection.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    id: u32,
    index: u32,
}

impl IdIndex {
    const PLACES_MIN: usize = 8;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<u32> {
        let place = self.place_of(id)?;
        Some(self.entries[place].index)
    }

    /// Adds an identifier that is not there.
    #[inline]
    pub(super) fn insert(&mut self, id: u32, index: u32) {
        debug_assert!(id != 0 && self.find(id).is_none());
        if (self.len + 1) * 2 > self.entries.len() {
            self.grow();
        }
        let home = self.home(id);
        let mut place = home;
        while self.entries[place].id != 0 {
            place = self.after(place);
        }
        self.displaced += usize::from(place != home);
        self.entries[place] = Entry { id, index };
        self.len += 1;
    }

    #[inline]
    pub(super) fn remove(&mut self, id: u32) {
        let Some(mut hole) = self.place_of(id) else { return };
        self.len -= 1;
        self.displaced -= usize::from(hole != self.home(id));
        let mut place = hole;
        while self.displaced > 0 {
            place = self.after(place);
            let entry = self.entries[place];
            if entry.id == 0 {
                break;
            }
            // An entry may move back into the hole unless its home lies behind the hole.
            let mask = self.entries.len() - 1;
            let from_home = place.wrapping_sub(self.home(entry.id)) & mask;
            let from_hole = place.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.entries[hole] = entry;
                self.displaced -= usize::from(from_home != 0 && from_home == from_hole);
                hole = place;
            }
        }
        self.entries[hole].id = 0;
    }

    #[inline]
    fn place_of(&self, id: u32) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let mut place = self.home(id);
        loop {
            match self.entries[place].id {
                0 => return None,
                found if found == id => return Some(place),
                _ => place = self.after(place),
            }
        }
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.entries.len() - 1)
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.entries.len() - 1)
    }

    fn grow(&mut self) {
        let places = (self.entries.len() * 2).max(Self::PLACES_MIN);
        let old = std::mem::replace(&mut self.entries, vec![Entry::default(); places]);
        (self.len, self.displaced) = (0, 0);
        for entry in old.into_iter().filter(|entry| entry.id != 0) {
            self.insert(entry.id, entry.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_as_a_map(
            steps in proptest::collection::vec((any::<bool>(), 1u32..60, 0u32..4), 1..400)
        ) {
            let mut index = IdIndex::default();
            let mut model = HashMap::new();
            for (insert, low, high) in steps {
                // Few low bits and distant high bits, so that many meet in one place.
                let id = (low * 2 + 1) | high << 20;
                if insert {
                    if model.insert(id, low).is_none() {
                        index.insert(id, low);
                    }
                } else {
                    model.remove(&id);
                    index.remove(id);
                }
                prop_assert_eq!(index.len(), model.len());
                for low in 1..60 {
                    for high in 0..4 {
                        let id = (low * 2 + 1) | high << 20;
                        prop_assert_eq!(index.find(id), model.get(&id).copied());
                    }
                }
            }
        }
    }
}
