//! The slab of streams, with generation keys and the index by stream identifier.

use super::index::IdIndex;
use super::{RecvHalf, SendHalf, Stream, StreamKey};

/// Slots that are made room for together, at least.
const SLOTS_MORE_MIN: usize = 4;

/// All live streams of a connection.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Vec<Slot>,
    /// Generation of new slots: above all that the keys of released ones have.
    first_generation: u32,
    free: Vec<u32>,
    by_id: IdIndex,
    /// The stream looked up last: HEADERS is mostly followed by DATA of the same stream.
    last: Option<(u32, StreamKey)>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    live: bool,
    stream: Stream,
}

impl Store {
    /// Adds a stream, in a recycled slot if there is one.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        id: u32,
        recv: RecvHalf,
        send: SendHalf,
    ) -> (StreamKey, &mut Stream) {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("below the stream limits");
                let stream = Stream::new(id, recv, send);
                let generation = self.first_generation;
                if self.slots.len() == self.slots.capacity() {
                    // Streams may stay open for long: less to spare than a vector makes by itself.
                    self.slots.reserve_exact((self.slots.len() / 4).max(SLOTS_MORE_MIN));
                }
                self.slots.push(Slot { generation, live: true, stream });
                index
            }
        };
        self.by_id.insert(id, index);
        let slot = &mut self.slots[index as usize];
        slot.live = true;
        slot.stream.restart(id, recv, send);
        let key = StreamKey { index, generation: slot.generation };
        self.last = Some((id, key));
        (key, &mut slot.stream)
    }

    /// Takes a stream out; its key is stale from here on.
    #[inline]
    pub(crate) fn remove(&mut self, key: StreamKey) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if !slot.live || slot.generation != key.generation {
            return;
        }
        slot.live = false;
        slot.generation = slot.generation.wrapping_add(1);
        if !slot.stream.queue.is_unused() {
            slot.stream.queue.clear();
        }
        self.by_id.remove(slot.stream.id);
        self.last = None;
        self.free.push(key.index);
    }

    #[inline]
    pub(crate) fn find(&mut self, id: u32) -> Option<StreamKey> {
        if let Some((last_id, key)) = self.last
            && last_id == id
        {
            return Some(key);
        }
        let index = self.by_id.find(id)?;
        let key = StreamKey { index, generation: self.slots[index as usize].generation };
        self.last = Some((id, key));
        Some(key)
    }

    /// A stream by its identifier, with its key.
    #[inline]
    pub(crate) fn find_mut(&mut self, id: u32) -> Option<(StreamKey, &mut Stream)> {
        let key = self.find(id)?;
        Some((key, &mut self.slots[key.index as usize].stream))
    }

    /// As `find`, but not a stream that is over and only waits to be forgotten.
    pub(crate) fn find_open(&mut self, id: u32) -> Option<StreamKey> {
        let key = self.find(id)?;
        (!self.slots[key.index()].stream.is_closed()).then_some(key)
    }

    #[inline]
    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.live && slot.generation == key.generation).then_some(&slot.stream)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.live && slot.generation == key.generation).then_some(&mut slot.stream)
    }

    /// Gives all storage back, if there is no stream. Keys that were given out stay stale.
    pub(crate) fn release(&mut self) {
        if self.len() > 0 {
            return;
        }
        let used = self.slots.iter().map(|slot| slot.generation).max();
        self.first_generation = used.unwrap_or(self.first_generation);
        self.slots = Vec::new();
        self.free = Vec::new();
        self.by_id = IdIndex::default();
        self.last = None;
    }

    /// How many streams there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The keys of all streams, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = StreamKey> + '_ {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.live).map(|(index, slot)| {
            let index = u32::try_from(index).expect("insert checked");
            StreamKey { index, generation: slot.generation }
        })
    }

    /// Slots, and how many of them are free.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn slots(&self) -> (usize, usize) {
        (self.slots.len(), self.free.len())
    }

    /// All streams.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> + '_ {
        self.slots.iter_mut().filter(|slot| slot.live).map(|slot| &mut slot.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(store: &mut Store, id: u32) -> StreamKey {
        store.insert(id, RecvHalf::Body, SendHalf::Head).0
    }

    #[test]
    fn keys_stay_stale_when_the_storage_is_released() {
        let mut store = Store::default();
        let insert = |store: &mut Store, id| store.insert(id, RecvHalf::Body, SendHalf::Head).0;
        let mut stale = Vec::new();
        for round in 0..5 {
            for id in 0..4 {
                let key = insert(&mut store, 1 + 8 * round + 2 * id);
                store.release();
                assert!(store.get(key).is_some(), "a live stream stays");
                stale.push(key);
                if id % 2 == 0 {
                    store.remove(key);
                }
            }
            for key in &stale {
                store.remove(*key);
            }
            store.release();
            assert_eq!(store.slots(), (0, 0));
        }
        let key = insert(&mut store, 99);
        assert!(stale.iter().all(|old| *old != key && store.get(*old).is_none()));
    }

    #[test]
    fn a_stale_key_never_names_another_stream() {
        let mut store = Store::default();
        let first = open(&mut store, 1);
        store.remove(first);
        let second = open(&mut store, 3);
        assert_eq!(first.index(), second.index());
        assert!(store.get(first).is_none());
        assert_eq!(store.get(second).map(|s| s.id), Some(3));
        store.remove(first);
        assert_eq!(store.len(), 1);
        assert_eq!(store.find(1), None);
        assert_eq!(store.find(3), Some(second));
    }
}
