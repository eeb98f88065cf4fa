//! The dynamic table (RFC 7541, sections 2.3.2 and 4), for both directions.
//!
//! Entries sit in a ring; their bytes sit in one buffer in order of insertion, value after name, so
//! that each field is one slice. Eviction only moves the beginning of the live bytes; when the
//! buffer is full the live bytes are moved to its front. The buffer is at least twice as large as
//! what lives in it, so a byte is moved at most once per insertion of as many bytes. Both grow with
//! what is used, not with what is allowed: an idle connection pays for its few entries only.
//!
//! `M` is what each direction keeps with an entry.

use super::field::{FIELD_OVERHEAD_BYTES, field_bytes};

/// One entry: where its bytes are, and what goes with it.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry<M> {
    /// Position in the sequence of all bytes ever inserted.
    start: u64,
    name_len: u32,
    /// By section 4.1, so with 32 more than the bytes of name and value.
    size: u32,
    pub(super) meta: M,
}

/// What a table holds: entries leave in the order in which they came, so two numbers tell.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Contents {
    inserted: u64,
    len: u32,
}

/// A FIFO of fields bounded by their size.
#[derive(Clone)]
pub(super) struct DynamicTable<M> {
    /// Power-of-two ring, indexed by the sequence number of an entry.
    ring: Vec<Entry<M>>,
    bytes: Vec<u8>,
    /// The position of `bytes[0]` in the sequence of all bytes ever inserted.
    bytes_base: u64,
    /// How many entries were ever inserted. The newest has this sequence number.
    inserted: u64,
    len: u32,
    size: u32,
    size_max: u32,
}

impl<M: Copy + Default> DynamicTable<M> {
    pub(super) fn new(size_max: u32) -> Self {
        Self {
            ring: Vec::new(),
            bytes: Vec::new(),
            bytes_base: 0,
            inserted: 0,
            len: 0,
            size: 0,
            size_max,
        }
    }

    /// The number of entries.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The sum of the sizes of the entries (section 4.1).
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The bound on `size` in force (section 4.2).
    #[inline]
    pub(super) fn size_max(&self) -> u32 {
        self.size_max
    }

    /// The sequence number of the newest entry; 0 if there never was one.
    #[inline]
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Tells what is in the table from everything that was or will be in it.
    #[inline]
    pub(super) fn contents(&self) -> Contents {
        Contents { inserted: self.inserted, len: self.len }
    }

    /// The entry inserted `age` insertions before the newest.
    #[inline]
    pub(super) fn entry(&self, age: u32) -> Option<&Entry<M>> {
        if age >= self.len {
            return None;
        }
        self.ring.get(self.slot(self.inserted.wrapping_sub(u64::from(age))))
    }

    /// The bytes of a live entry, value after name.
    #[inline]
    pub(super) fn bytes_of(&self, entry: &Entry<M>) -> &[u8] {
        let start = self.offset(entry);
        self.bytes.get(start..start + entry.joined_len()).unwrap_or_default()
    }

    /// The entry at `age`, as name, value and what is kept with it.
    #[inline]
    pub(super) fn field(&self, age: u32) -> Option<(&[u8], &[u8], &M)> {
        let entry = self.entry(age)?;
        let (name, value) = self.bytes_of(entry).split_at_checked(entry.name_len())?;
        Some((name, value, &entry.meta))
    }

    /// All fields, newest first.
    #[cfg(test)]
    pub(super) fn fields(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let ages = (0..).map_while(|age| self.field(age));
        ages.map(|(name, value, _)| (name.into(), value.into())).collect()
    }

    /// Changes the bound, evicting as needed (section 4.3).
    pub(super) fn resize(&mut self, size_max: u32) {
        self.size_max = size_max;
        self.evict_to(size_max);
    }

    /// Inserts a field, evicting as needed (section 4.4). `false` if the field alone is larger than
    /// the table, which is then empty.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], meta: M) -> bool {
        let size = field_bytes(name.len().saturating_add(value.len()));
        let Some(room) = self.size_max.checked_sub(size) else {
            self.evict_to(0);
            return false;
        };
        self.evict_to(room);
        let start = self.append(name, value);
        if self.len as usize == self.ring.len() {
            self.grow_ring();
        }
        self.inserted += 1;
        self.len += 1;
        self.size += size;
        let slot = self.slot(self.inserted);
        // No longer than `size_max`, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        let name_len = name.len() as u32;
        if let Some(place) = self.ring.get_mut(slot) {
            *place = Entry { start, name_len, size, meta };
        }
        true
    }

    fn evict_to(&mut self, size: u32) {
        while self.size > size {
            let oldest = self.inserted + 1 - u64::from(self.len);
            let Some(entry) = self.ring.get(self.slot(oldest)) else { return };
            self.size -= entry.size;
            self.len -= 1;
        }
    }

    /// Appends the bytes of a field and returns their position in the sequence of all bytes.
    fn append(&mut self, name: &[u8], value: &[u8]) -> u64 {
        if self.bytes.capacity() - self.bytes.len() < name.len() + value.len() {
            self.make_room(name.len() + value.len());
        }
        let start = self.bytes_base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        start
    }

    /// Moves the live bytes to the front, into a larger buffer if this one would be filled by more
    /// than half.
    #[cold]
    fn make_room(&mut self, more: usize) {
        let dead = match self.oldest() {
            Some(entry) => self.offset(entry),
            None => self.bytes.len(),
        };
        self.bytes.drain(..dead);
        self.bytes_base += dead as u64;
        let wanted = (self.bytes.len() + more) * 2;
        if wanted > self.bytes.capacity() {
            let capacity = wanted.max(BYTES_CAPACITY_MIN);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// Doubles the ring, keeping each entry at the slot of its sequence number.
    #[cold]
    fn grow_ring(&mut self) {
        let slots = (self.ring.len() * 2).max(RING_SLOTS_MIN);
        let mut ring = vec![Entry::default(); slots];
        for sequence in self.inserted + 1 - u64::from(self.len)..=self.inserted {
            let to = slot_of(sequence, slots);
            if let (Some(to), Some(from)) = (ring.get_mut(to), self.ring.get(self.slot(sequence))) {
                *to = *from;
            }
        }
        self.ring = ring;
    }

    fn oldest(&self) -> Option<&Entry<M>> {
        self.entry(self.len.checked_sub(1)?)
    }

    #[inline]
    fn slot(&self, sequence: u64) -> usize {
        slot_of(sequence, self.ring.len())
    }

    /// The buffer is smaller than `usize::MAX`, and so is any offset of a live entry in it.
    #[inline]
    #[allow(clippy::cast_possible_truncation)]
    fn offset(&self, entry: &Entry<M>) -> usize {
        entry.start.wrapping_sub(self.bytes_base) as usize
    }
}

impl<M> Entry<M> {
    #[inline]
    pub(super) fn name_len(&self) -> usize {
        self.name_len as usize
    }

    /// The bytes of name and value.
    #[inline]
    pub(super) fn joined_len(&self) -> usize {
        self.size.saturating_sub(FIELD_OVERHEAD_BYTES) as usize
    }

    /// By section 4.1.
    #[inline]
    pub(super) fn size(&self) -> u32 {
        self.size
    }
}

/// The ring's length is a power of two, and only its low bits of the sequence number are kept.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn slot_of(sequence: u64, slots: usize) -> usize {
    sequence as usize & slots.wrapping_sub(1)
}

/// The first ring has this many entries.
const RING_SLOTS_MIN: usize = 4;

/// The first buffer has this many bytes.
const BYTES_CAPACITY_MIN: usize = 64;
