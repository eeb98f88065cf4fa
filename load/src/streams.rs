//! The streams that are open, by their identifiers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map that allocates nothing while it holds no more than it was made for.
pub(crate) type Streams<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// Streams for `count` at a time. Twice the room, so that what removals leave behind is tidied up
/// in place.
pub(crate) fn with_room<T>(count: usize) -> Streams<T> {
    Streams::with_capacity_and_hasher(2 * count + 2, BuildHasherDefault::default())
}

/// Spreads consecutive numbers; the peer gains nothing by choosing them badly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
