//! Storage of long messages, used again by the thread that is done with it.
//!
//! An allocator gives memory of this size back to the system as soon as it is free; then each page
//! of the next message costs a fault, and all of them together more than everything else that is
//! done with the message. So each thread keeps a few vectors that held long messages, up to
//! [`STORAGE_KEPT_BYTES_MAX`]. Short messages are left to the allocator.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::limits::{STORAGE_KEPT_BYTES_MAX, STORAGE_KEPT_BYTES_MIN};

/// Vectors kept by each thread.
const KEPT_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { vectors: Vec::new(), bytes: 0 }) };
}

struct Kept {
    vectors: Vec<Vec<u8>>,
    /// Capacity of all of them.
    bytes: usize,
}

/// Keeps the storage of a long message that is no longer needed, if there is room for it.
pub fn give(storage: Vec<u8>) {
    let bytes = storage.capacity();
    if bytes >= STORAGE_KEPT_BYTES_MIN {
        with(|kept| {
            if kept.bytes + bytes <= STORAGE_KEPT_BYTES_MAX && kept.vectors.len() < KEPT_MAX {
                kept.bytes += bytes;
                kept.vectors.push(storage);
            }
        });
    }
}

/// An empty vector with room for a message of `bytes`, if the thread has kept one that is not much
/// too large: a message that waits to be read must not hold the memory of many.
pub fn take(bytes: usize) -> Option<Vec<u8>> {
    if bytes < STORAGE_KEPT_BYTES_MIN {
        return None;
    }
    let mut storage = with(|kept| {
        // The last one that fits is the likeliest to be in a cache.
        let fits =
            |vector: &Vec<u8>| (bytes..=bytes.saturating_mul(2)).contains(&vector.capacity());
        let at = kept.vectors.iter().rposition(fits)?;
        let storage = kept.vectors.remove(at);
        kept.bytes -= storage.capacity();
        Some(storage)
    })??;
    storage.clear();
    Some(storage)
}

/// Whether the thread keeps none.
pub fn is_empty() -> bool {
    with(|kept| kept.vectors.is_empty()).unwrap_or(true)
}

/// Frees what the thread has kept: for a thread that has had nothing to do for a while.
pub fn release() {
    with(|kept| {
        kept.vectors = Vec::new();
        kept.bytes = 0;
    });
}

/// Whether a message has storage that is worth being used again.
pub fn is_long(message: &Vec<u8>) -> bool {
    message.capacity() >= STORAGE_KEPT_BYTES_MIN
}

/// Makes room for `more` bytes behind what `out` holds.
#[inline]
pub(crate) fn reserve(out: &mut Vec<u8>, more: usize) {
    if out.capacity() - out.len() < more {
        grow(out, more);
    }
}

#[cold]
fn grow(out: &mut Vec<u8>, more: usize) {
    if let Some(mut storage) = take(out.len().saturating_add(more)) {
        storage.extend_from_slice(out);
        give(std::mem::replace(out, storage));
    }
    out.reserve(more);
}

/// Makes bytes that can be shared of `message`; its storage is kept by the thread that drops the
/// last of them.
pub fn share(message: Vec<u8>) -> Bytes {
    if !is_long(&message) {
        return Bytes::from(message);
    }
    Bytes::from_owner(Stored(message))
}

/// A message whose storage is kept by the thread that drops it.
#[derive(Default)]
pub struct Stored(Vec<u8>);

impl From<Vec<u8>> for Stored {
    fn from(message: Vec<u8>) -> Stored {
        Stored(message)
    }
}

impl Deref for Stored {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Stored {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("bytes", &self.0.len()).finish()
    }
}

/// `None` where the thread is ending.
fn with<T>(act: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    KEPT.try_with(|kept| kept.try_borrow_mut().ok().map(|mut kept| act(&mut kept))).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = 1 << 20;

    #[test]
    fn long_storage_comes_back_and_short_does_not() {
        assert!(take(LONG).is_none());
        give(Vec::with_capacity(100));
        assert!(take(1).is_none());
        let message = vec![7; LONG];
        let place = message.as_ptr();
        drop(share(message).slice(10..20));
        assert!(take(LONG + 1).is_none(), "too short");
        assert!(take(LONG / 2 - 1).is_none(), "much too long");
        let mut again = take(LONG - 1).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(take(LONG).is_none(), "taken");
        again.push(1);
        drop(Stored::from(again));
        let mut out = vec![5];
        reserve(&mut out, LONG - 1);
        assert_eq!((out.as_ptr(), &out[..]), (place, &[5][..]));
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        let mut given = 0;
        while given < 4 * STORAGE_KEPT_BYTES_MAX {
            give(Vec::with_capacity(LONG));
            given += LONG;
        }
        let mut kept = 0;
        while let Some(storage) = take(LONG) {
            kept += storage.capacity();
        }
        assert!((LONG..=STORAGE_KEPT_BYTES_MAX).contains(&kept), "{kept}");
        for _ in 0..4 * KEPT_MAX {
            give(Vec::with_capacity(STORAGE_KEPT_BYTES_MIN));
        }
        assert_eq!(std::iter::from_fn(|| take(STORAGE_KEPT_BYTES_MIN)).count(), KEPT_MAX);
        give(Vec::with_capacity(LONG));
        release();
        assert!(take(LONG).is_none());
    }
}
