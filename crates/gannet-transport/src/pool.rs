//! Read buffers of connections that have nothing to read, shared by all connections of a thread.
//!
//! An idle connection holds no buffer, and the connections that run one after the other on a thread
//! read into the same, cache-warm memory. Does not zero: an engine never reads beyond what was
//! committed.

use std::cell::RefCell;

/// Buffers kept for each thread.
const POOLED_BUFFERS_MAX: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this thread's pool, if it has one.
#[inline]
pub(crate) fn take() -> Option<Vec<u8>> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok()?.pop()).ok()?
}

/// Returns a buffer; dropped where the pool is full or the thread ends.
#[inline]
pub(crate) fn give(storage: Vec<u8>) {
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.len() < POOLED_BUFFERS_MAX
        {
            pool.push(storage);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_last_in_first_out() {
        for n in 1..=POOLED_BUFFERS_MAX + 2 {
            give(vec![0; n]);
        }
        let lens: Vec<usize> = std::iter::from_fn(take).map(|buffer| buffer.len()).collect();
        assert_eq!(lens, [4, 3, 2, 1]);
    }
}
