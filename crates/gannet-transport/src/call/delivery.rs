//! What comes for the application, on its way from the connection's task: one [`Delivery`] after
//! the other.
//!
//! The connection fills a delivery and puts it into the call's inbox; where the one before still
//! lies there, it adds to that. So however far the application falls behind, there is one delivery
//! and memory follows bytes: small messages are packed behind each other.

use std::collections::VecDeque;

use gannet_core::{Metadata, Status};

use super::shared::RETAINED_BYTES_MAX;

/// Several things for the application: headers first, the end last.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Response headers.
    pub(super) headers: Option<Metadata>,
    /// Messages behind each other, each with its prefix.
    pub(super) packed: Vec<u8>,
    /// Long messages without their prefix, each after a position in `packed`, in order.
    pub(super) whole: VecDeque<(usize, Vec<u8>)>,
    /// Nothing follows; the trailers of a good end.
    pub(super) end: Option<Result<Metadata, Status>>,
}

impl Delivery {
    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty()
            && self.whole.is_empty()
            && self.headers.is_none()
            && self.end.is_none()
    }

    /// Moves everything of `later` behind what is here.
    pub(super) fn append(&mut self, later: &mut Delivery) {
        let base = self.packed.len();
        self.packed.append(&mut later.packed);
        self.whole.extend(later.whole.drain(..).map(|(at, message)| (base + at, message)));
        self.headers = self.headers.take().or(later.headers.take());
        self.end = self.end.take().or(later.end.take());
    }

    /// Forgets everything; false where too much storage is left for it to be kept.
    pub(super) fn recycle(&mut self) -> bool {
        self.headers = None;
        self.packed.clear();
        self.whole = VecDeque::new();
        self.end = None;
        self.packed.capacity() <= RETAINED_BYTES_MAX
    }
}
