//! One direction of a connection: a bounded pipe that delivers late, in pieces, and sometimes
//! wrongly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rng::Rng;

/// Bytes in flight.
#[derive(Debug)]
pub(super) struct Link {
    bytes: VecDeque<u8>,
    capacity: usize,
    piece_max: usize,
    stalled_until: Option<Instant>,
    /// One byte in so many is changed.
    corrupt_one_in: Option<usize>,
}

impl Link {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Link {
            bytes: VecDeque::new(),
            capacity: rng.pick(&[1, 20, 1000, 65_536, 1 << 20]),
            piece_max: rng.pick(&[1, 10, 100, 5000, 1 << 20]),
            stalled_until: None,
            corrupt_one_in: None,
        }
    }

    /// From here on bytes are changed, and come fast enough to matter.
    pub(super) fn corrupt(&mut self, one_in: usize) {
        self.corrupt_one_in = Some(one_in);
        self.capacity = self.capacity.max(1000);
        self.piece_max = self.piece_max.max(100);
    }

    /// Nothing arrives for a while.
    pub(super) fn stall(&mut self, now: Instant, time: Duration) {
        self.stalled_until = Some(now + time);
    }

    /// From here on all arrives at once.
    pub(super) fn heal(&mut self) {
        self.stalled_until = None;
        self.capacity = 1 << 20;
        self.piece_max = 1 << 20;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Accepts a part of `bytes`, as a socket does.
    pub(super) fn write(&mut self, rng: &mut Rng, bytes: &[u8]) -> usize {
        let room = self.capacity.saturating_sub(self.bytes.len()).min(bytes.len());
        let n = if rng.percent(30) { rng.between(0, room) } else { room };
        for byte in &bytes[..n] {
            let hit = self.corrupt_one_in.is_some_and(|one_in| rng.below(one_in) == 0);
            let flip = if hit { u8::try_from(rng.between(1, 255)).expect("a byte") } else { 0 };
            self.bytes.push_back(byte ^ flip);
        }
        n
    }

    /// Delivers a piece of what is in flight.
    pub(super) fn read(&mut self, rng: &mut Rng, now: Instant, into: &mut [u8]) -> usize {
        if self.stalled_until.is_some_and(|until| now < until) {
            return 0;
        }
        let most = self.bytes.len().min(self.piece_max).min(into.len());
        let n = if rng.percent(30) { rng.between(0, most) } else { most };
        for (slot, byte) in into.iter_mut().zip(self.bytes.drain(..n)) {
            *slot = byte;
        }
        n
    }
}
