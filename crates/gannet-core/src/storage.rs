//! Storage of long messages, used again by whoever needs some next.
//!
//! An allocator gives memory of this size back to the system as soon as it is free; then each page
//! of the next message costs a fault, and all of them together more than everything else that is
//! done with the message. So vectors that held long messages are kept, up to
//! [`STORAGE_KEPT_BYTES_MAX`] in the process. Each thread could keep its own; but a connection's
//! task moves between threads, and would find none where it wakes. Short messages are left to the
//! allocator.
//!
//! What lies unused goes back: connections ask for that now and then ([`release_unused`]), and the
//! last one that ends takes all with it ([`Lease`]).

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use crate::limits::{STORAGE_KEPT_BYTES_MAX, STORAGE_KEPT_BYTES_MIN};

/// That of the process.
static STORE: Store = Store::new();

/// Held by each connection; storage is kept as long as there is one.
#[derive(Debug)]
#[must_use = "dropped, it lets go of what is kept"]
pub struct Lease(());

impl Lease {
    /// For a connection that begins.
    #[allow(clippy::new_without_default, reason = "what counts connections has no default")]
    pub fn new() -> Lease {
        STORE.begin();
        Lease(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        STORE.end();
    }
}

/// Held by the one connection that wakes now and then to free what lies unused, when nobody else
/// does.
#[derive(Debug)]
#[must_use = "dropped, it lets another connection watch"]
pub struct Watch(());

impl Watch {
    /// For a connection that has nothing else to do; `None` where another one watches.
    pub fn claim() -> Option<Watch> {
        // Not `then_some`: a watch that is made and dropped ends that of another one.
        (!STORE.watched.swap(true, Ordering::Relaxed)).then(|| Watch(()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        STORE.watched.store(false, Ordering::Relaxed);
    }
}

/// Keeps the storage of a long message that is no longer needed, if there is room for it.
pub fn give(storage: Vec<u8>) {
    if is_long(&storage) {
        STORE.give(storage);
    }
}

/// An empty vector with room for a message of `bytes`, if one is kept that is not much too large: a
/// message that waits to be read must not hold the memory of many.
pub fn take(bytes: usize) -> Option<Vec<u8>> {
    if bytes < STORAGE_KEPT_BYTES_MIN {
        return None;
    }
    STORE.pool.get()?.take(bytes)
}

/// Whether none is kept.
#[inline]
pub fn is_empty() -> bool {
    STORE.pool.get().is_none_or(|pool| pool.bytes.load(Ordering::Relaxed) == 0)
}

/// Frees what was not used for as long as `unused`, or up to twice as long. For whoever has a
/// clock, at any time, and always with the same duration.
pub fn release_unused(now: Instant, unused: Duration) {
    if let Some(pool) = STORE.pool.get() {
        pool.release_unused(now, unused);
    }
}

/// Whether a message has storage that is worth being used again.
pub fn is_long(message: &Vec<u8>) -> bool {
    message.capacity() >= STORAGE_KEPT_BYTES_MIN
}

/// What a short message gets at least, bytes: a client puts the response where its request was. To
/// the allocator a smaller one would be the same (glibc has quick lists up to 120 bytes), and of
/// this size there is nothing else that each call has.
const SHORT_BYTES: usize = 104;

/// Makes room for `more` bytes behind what `out` holds.
#[inline]
pub(crate) fn reserve(out: &mut Vec<u8>, more: usize) {
    if out.capacity() - out.len() < more {
        grow(out, more);
    }
}

fn grow(out: &mut Vec<u8>, more: usize) {
    if let Some(mut storage) = take(out.len().saturating_add(more)) {
        storage.extend_from_slice(out);
        give(std::mem::replace(out, storage));
    } else if out.capacity() == 0 {
        *out = Vec::with_capacity(more.max(SHORT_BYTES));
    } else {
        out.reserve(more);
    }
}

/// Makes bytes that can be shared of `message`; its storage is kept when the last of them goes.
pub fn share(message: Vec<u8>) -> Bytes {
    if !is_long(&message) {
        return Bytes::from(message);
    }
    Bytes::from_owner(Stored(message))
}

/// A message whose storage is kept when it goes.
struct Stored(Vec<u8>);

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

/// What is kept, and for whom.
struct Store {
    /// Made for the first long message.
    pool: OnceLock<Pool>,
    /// Connections that there are.
    leases: AtomicUsize,
    /// Whether one of them watches over what is kept.
    watched: AtomicBool,
}

impl Store {
    const fn new() -> Store {
        Store {
            pool: OnceLock::new(),
            leases: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
        }
    }

    fn begin(&self) {
        self.leases.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.leases.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(pool) = self.pool.get()
        {
            pool.release(|_| true);
        }
    }

    fn give(&self, storage: Vec<u8>) {
        if self.leases.load(Ordering::SeqCst) == 0 {
            return;
        }
        let pool = self.pool.get_or_init(Pool::new);
        pool.give(storage);
        // The last connection may have let go of what was kept just before that.
        if self.leases.load(Ordering::SeqCst) == 0 {
            pool.release(|_| true);
        }
    }
}

/// Classes for each doubling of capacity.
const STEPS: usize = 4;
const DOUBLINGS: u32 = STORAGE_KEPT_BYTES_MAX.ilog2() - STORAGE_KEPT_BYTES_MIN.ilog2();
const CLASSES: usize = DOUBLINGS as usize * STEPS;
/// Vectors kept in each class.
const KEPT_MAX: usize = 32;
/// Vectors of a class that are looked at for one that is long enough.
const LOOKS_MAX: usize = 4;

/// Lock-free, and hardly a search: vectors lie by what they have room for.
struct Pool {
    classes: [ArrayQueue<Kept>; CLASSES],
    /// Capacity of all that are kept.
    bytes: AtomicUsize,
    /// Since when periods are counted, and how many have passed.
    start: OnceLock<Instant>,
    period: AtomicU64,
}

struct Kept {
    storage: Vec<u8>,
    /// In which it was used last.
    period: u64,
}

impl Pool {
    fn new() -> Pool {
        Pool {
            classes: std::array::from_fn(|_| ArrayQueue::new(KEPT_MAX)),
            bytes: AtomicUsize::new(0),
            start: OnceLock::new(),
            period: AtomicU64::new(0),
        }
    }

    /// Where storage of this capacity lies.
    fn class(capacity: usize) -> Option<usize> {
        let doublings = capacity.checked_ilog2()?.checked_sub(STORAGE_KEPT_BYTES_MIN.ilog2())?;
        let step = (1 << capacity.ilog2()) / STEPS;
        Some(doublings as usize * STEPS + capacity / step - STEPS)
    }

    fn give(&self, mut storage: Vec<u8>) {
        storage.clear();
        let bytes = storage.capacity();
        let Some(class) = Self::class(bytes).and_then(|at| self.classes.get(at)) else { return };
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let kept = Kept { storage, period: self.period.load(Ordering::Relaxed) };
        if before + bytes > STORAGE_KEPT_BYTES_MAX || class.push(kept).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let at = Self::class(bytes)?;
        // Of its own class some are too short; of the next none is.
        let kept = self.take_from(at, bytes).or_else(|| self.take_from(at + 1, bytes))?;
        self.bytes.fetch_sub(kept.storage.capacity(), Ordering::Relaxed);
        Some(kept.storage)
    }

    fn take_from(&self, at: usize, bytes: usize) -> Option<Kept> {
        let class = self.classes.get(at)?;
        for _ in 0..LOOKS_MAX {
            let kept = class.pop()?;
            if kept.storage.capacity() >= bytes {
                return Some(kept);
            }
            let short = kept.storage.capacity();
            if class.push(kept).is_err() {
                self.bytes.fetch_sub(short, Ordering::Relaxed);
            }
        }
        None
    }

    fn release_unused(&self, now: Instant, unused: Duration) {
        let start = *self.start.get_or_init(|| now);
        let passed = now.saturating_duration_since(start).as_millis() / unused.as_millis().max(1);
        let period = u64::try_from(passed).unwrap_or(u64::MAX);
        if self.period.fetch_max(period, Ordering::Relaxed) < period {
            self.release(|kept| kept.period + 1 < period);
        }
    }

    fn release(&self, is_old: impl Fn(&Kept) -> bool) {
        for class in &self.classes {
            for _ in 0..class.len() {
                let Some(kept) = class.pop() else { break };
                let bytes = kept.storage.capacity();
                if is_old(&kept) || class.push(kept).is_err() {
                    self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = 1 << 20;

    #[test]
    fn storage_comes_back_for_messages_of_about_its_length() {
        let pool = Pool::new();
        assert!(pool.take(LONG).is_none());
        let storage = vec![7; LONG + 10];
        let place = storage.as_ptr();
        pool.give(storage);
        assert!(pool.take(LONG + 11).is_none(), "too short");
        assert!(pool.take(LONG / 2).is_none(), "much too long");
        let again = pool.take(LONG - 1).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(pool.take(LONG).is_none(), "taken");
        for bytes in [LONG, LONG + 1, LONG + 2] {
            pool.give(Vec::with_capacity(bytes));
        }
        assert_eq!(pool.take(LONG + 2).unwrap().capacity(), LONG + 2, "behind shorter ones");
        assert_eq!(pool.bytes.load(Ordering::Relaxed), 2 * LONG + 1);
    }

    #[test]
    fn every_length_has_a_class() {
        let pool = Pool::new();
        let mut bytes = STORAGE_KEPT_BYTES_MIN;
        while bytes < STORAGE_KEPT_BYTES_MAX {
            for room in [bytes, bytes + bytes / 8] {
                pool.give(Vec::with_capacity(room));
                let kept = pool.bytes.load(Ordering::Relaxed);
                assert_eq!(kept, if room < STORAGE_KEPT_BYTES_MAX { room } else { 0 }, "{room}");
                let again = pool.take(bytes).map_or(0, |storage| storage.capacity());
                assert_eq!(again, kept, "{bytes}");
            }
            bytes += bytes / 7 + 1;
        }
        assert!(pool.take(usize::MAX).is_none());
        pool.give(Vec::with_capacity(STORAGE_KEPT_BYTES_MIN - 1));
        assert_eq!(pool.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = Pool::new();
        for _ in 0..4 * STORAGE_KEPT_BYTES_MAX / LONG {
            pool.give(Vec::with_capacity(LONG));
        }
        let kept = std::iter::from_fn(|| pool.take(LONG)).map(|s| s.capacity()).sum::<usize>();
        assert!((LONG..=STORAGE_KEPT_BYTES_MAX).contains(&kept), "{kept}");
        for _ in 0..4 * KEPT_MAX {
            pool.give(Vec::with_capacity(STORAGE_KEPT_BYTES_MIN));
        }
        assert_eq!(std::iter::from_fn(|| pool.take(STORAGE_KEPT_BYTES_MIN)).count(), KEPT_MAX);
        assert_eq!(pool.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_not_used_is_freed_and_what_is_used_is_not() {
        let pool = Pool::new();
        let unused = Duration::from_secs(5);
        let start = Instant::now();
        pool.release_unused(start, unused);
        pool.give(Vec::with_capacity(LONG));
        pool.give(Vec::with_capacity(2 * LONG));
        let used = pool.take(LONG).unwrap();
        pool.release_unused(start + unused, unused);
        pool.give(used);
        pool.release_unused(start + unused, unused);
        assert!(pool.bytes.load(Ordering::Relaxed) >= 3 * LONG, "not for as long as that");
        pool.release_unused(start + unused * 2, unused);
        assert_eq!(pool.bytes.load(Ordering::Relaxed), LONG);
        pool.release_unused(start + unused * 3, unused);
        assert!(pool.take(LONG).is_none());
    }

    #[test]
    fn storage_is_kept_as_long_as_there_is_a_connection() {
        let store = Store::new();
        let kept = || store.pool.get().map_or(0, |pool| pool.bytes.load(Ordering::Relaxed));
        store.give(Vec::with_capacity(LONG));
        assert_eq!(kept(), 0);
        store.begin();
        store.begin();
        store.give(Vec::with_capacity(LONG));
        store.end();
        assert_eq!(kept(), LONG);
        store.end();
        assert_eq!(kept(), 0);
        store.give(Vec::with_capacity(LONG));
        assert_eq!(kept(), 0);
    }

    #[test]
    fn one_connection_watches_however_many_want_to() {
        let first = Watch::claim();
        assert!(first.is_some(), "no other test in this process watches");
        assert!((0..3).all(|_| Watch::claim().is_none()));
        drop(first);
        assert!(Watch::claim().is_some());
    }

    #[test]
    fn messages_that_are_shared_or_grow_give_and_take_it() {
        // Of a length that no other test in this process has.
        const ODD: usize = 11 << 20;
        let _lease = Lease::new();
        let message = vec![7; ODD];
        let place = message.as_ptr();
        drop(share(message).slice(10..20));
        let mut again = take(ODD - 1).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        again.push(1);
        give(again);
        let mut out = vec![5];
        reserve(&mut out, ODD - 1);
        assert_eq!((out.as_ptr(), &out[..]), (place, &[5][..]));
    }
}
