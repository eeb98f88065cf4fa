//! The last few streams that closed: enough to answer late frames exactly, and never more.
//!
//! RFC 9113 section 5.1 wants frames on closed streams treated by how the stream closed. Keeping a
//! tombstone for every stream would grow without bound, so two small rings remember the latest;
//! beyond them the stream identifier alone decides.

use std::collections::VecDeque;

/// How a stream closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// We reset it, or a server's GOAWAY passed it over: what comes for it is ignored.
    ResetByUs,
    /// The peer ended or reset it: it must not send more.
    ByPeer,
}

/// Rings of recently closed stream identifiers.
#[derive(Debug)]
pub(crate) struct RecentlyClosed {
    by_peer: [u32; Self::BY_PEER_MAX],
    next: usize,
    reset_by_us: VecDeque<u32>,
    reset_by_us_max: usize,
}

impl RecentlyClosed {
    const BY_PEER_MAX: usize = 16;
    const RESET_BY_US_MIN: usize = 64;
    const RESET_BY_US_MAX: usize = 1024;

    /// For a connection with up to `streams` at once, all of which may be reset at once.
    pub(crate) fn new(streams: u32) -> Self {
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        RecentlyClosed {
            by_peer: [0; Self::BY_PEER_MAX],
            next: 0,
            reset_by_us: VecDeque::new(),
            reset_by_us_max: streams.clamp(Self::RESET_BY_US_MIN, Self::RESET_BY_US_MAX),
        }
    }

    pub(crate) fn insert(&mut self, id: u32, how: Closed) {
        match how {
            Closed::ByPeer => {
                self.by_peer[self.next] = id;
                self.next = (self.next + 1) % Self::BY_PEER_MAX;
            }
            Closed::ResetByUs => {
                if self.reset_by_us.len() == self.reset_by_us_max {
                    self.reset_by_us.pop_front();
                }
                self.reset_by_us.push_back(id);
            }
        }
    }

    /// The peer reset a stream that we had reset: from here on it knows, and nothing is in flight.
    pub(crate) fn peer_knows(&mut self, id: u32) {
        if let Some(at) = self.reset_by_us.iter().position(|reset| *reset == id) {
            self.reset_by_us.remove(at);
            self.insert(id, Closed::ByPeer);
        }
    }

    pub(crate) fn find(&self, id: u32) -> Option<Closed> {
        if self.reset_by_us.contains(&id) {
            Some(Closed::ResetByUs)
        } else if id != 0 && self.by_peer.contains(&id) {
            Some(Closed::ByPeer)
        } else {
            None
        }
    }
}
