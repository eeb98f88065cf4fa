//! The handle of a stream.

/// Names a stream on one connection.
///
/// It carries a generation: once the stream is gone the key is stale for good, and never names
/// another call's stream that came to lie in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl StreamKey {
    /// The place in the connection's slab, below the number of streams that were ever open at once:
    /// fit to index a parallel table of the layer above.
    pub fn index(self) -> usize {
        self.index as usize
    }
}
