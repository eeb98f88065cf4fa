//! Watches a peer for whom much is queued: it must keep reading.
//!
//! Flow control lets a peer leave replies unread for ever. For a little that is an application's good
//! right; of much, it is an attack on our memory, or a peer that is stuck.

use std::time::{Duration, Instant};

/// The watch over one connection's queued DATA.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    /// Until when the next bytes must have left.
    until: Option<Instant>,
    sent_bytes: usize,
}

impl StallWatch {
    /// Bytes that must leave in each period, so that a byte now and then is not enough.
    const PROGRESS_BYTES_MIN: usize = 64 << 10;

    /// DATA left.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    /// Starts a period where `much` is queued, and another one where enough has left in this one.
    pub(crate) fn look(&mut self, now: Instant, much: bool, period: Duration) {
        if !much {
            self.until = None;
        } else if self.until.is_none() || self.sent_bytes >= Self::PROGRESS_BYTES_MIN {
            self.until = now.checked_add(period);
            self.sent_bytes = 0;
        }
    }

    /// When the peer has read too little for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}
