//! From the connection to the application: the connection's end.
//!
//! A singly linked list of nodes whose links are set once ([`OnceLock`]): one producer, one
//! consumer, no lock and no unsafe code. While the application has not caught up, small messages
//! are packed behind each other into one buffer instead of one node each, so that memory follows
//! bytes whatever the peer does.
//!
//! Receive credit is given back when the application takes a message. The bytes of a message that
//! is still incomplete are given back at once where the application waits for it, as otherwise a
//! message longer than the window could never arrive.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use gannet_core::{MessageReader, Metadata, Status, frame};

use super::{CallShared, Source};

/// Nodes that may wait for the application before messages are packed into one buffer.
const NODES_WAITING_MAX: usize = 2;
/// A message that was reassembled anyway, and is at least this long, is passed on without a copy.
const WHOLE_BYTES_MIN: usize = 4 << 10;

/// One thing on its way to the application.
pub(super) struct Node {
    pub(super) item: Item,
    pub(super) next: OnceLock<Arc<Node>>,
}

pub(super) enum Item {
    /// The list's beginning.
    Start,
    /// Response headers.
    Headers(Metadata),
    /// Messages behind each other, each with its prefix.
    Packed(Vec<u8>),
    /// One message without its prefix.
    Whole(Vec<u8>),
    /// Nothing follows; the trailers of a good end.
    End(Result<Metadata, Status>),
}

impl Drop for Node {
    /// Iterative: a list that nobody read may be long.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.next.take());
        }
    }
}

/// Makes both ends for one call. Messages over `message_bytes_max` are refused.
pub fn feed(shared: &Arc<CallShared>, message_bytes_max: usize) -> (Feed, Source) {
    let start = Arc::new(Node { item: Item::Start, next: OnceLock::new() });
    let feed = Feed {
        reader: MessageReader::new(message_bytes_max),
        tail: Some(Arc::clone(&start)),
        pending: Vec::new(),
        published: 0,
        received: 0,
        completed: 0,
        released: 0,
        discards: false,
    };
    (feed, Source::new(Arc::clone(shared), start))
}

/// The connection's end of what goes to the application.
pub struct Feed {
    reader: MessageReader,
    /// `None` once the end is published.
    tail: Option<Arc<Node>>,
    /// Messages that are not published yet, each with its prefix.
    pending: Vec<u8>,
    published: usize,
    /// DATA bytes that came.
    received: usize,
    /// Of these, the bytes of messages that are complete.
    completed: usize,
    /// Of these, the bytes whose credit was given back.
    released: usize,
    discards: bool,
}

impl Feed {
    /// Passes response headers on.
    pub fn headers(&mut self, headers: Metadata, shared: &CallShared) {
        self.publish(Item::Headers(headers), shared);
    }

    /// Takes one DATA payload. Complete messages reach the application with the next
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// What ends the call: a message over the limit, or compressed where no encoding was agreed on.
    pub fn data(&mut self, mut payload: &[u8], shared: &CallShared) -> Result<(), Status> {
        self.received = self.received.wrapping_add(payload.len());
        if self.discards || self.tail.is_none() {
            return Ok(());
        }
        while let Some(message) = self.reader.next(&mut payload)? {
            if message.compressed {
                return Err(compressed_unasked());
            }
            let framed_bytes = frame::PREFIX_BYTES + message.payload.len();
            self.completed = self.completed.wrapping_add(framed_bytes);
            match message.payload {
                Cow::Owned(whole) if whole.len() >= WHOLE_BYTES_MIN => {
                    self.publish_pending(shared);
                    self.publish(Item::Whole(whole), shared);
                }
                small => {
                    let prefix = frame::prefix(false, small.len(), usize::MAX)?;
                    self.pending.extend_from_slice(&prefix);
                    self.pending.extend_from_slice(&small);
                }
            }
        }
        Ok(())
    }

    /// Publishes what is complete, unless the application has enough to do; wakes it.
    pub fn flush(&mut self, shared: &CallShared) {
        if self.pending.is_empty() {
            return;
        }
        let waiting = self.published.wrapping_sub(shared.nodes_taken.load(Ordering::Acquire));
        if waiting < NODES_WAITING_MAX {
            self.publish_pending(shared);
        }
    }

    /// Ends it: nothing is published after this.
    ///
    /// # Errors
    /// Where a good end cuts a message short: the application then sees that as the end.
    pub fn end(
        &mut self,
        outcome: Result<Metadata, Status>,
        shared: &CallShared,
    ) -> Result<(), Status> {
        self.publish_pending(shared);
        let torn = match (&outcome, self.discards) {
            (Ok(_), false) => self.reader.finish().map_err(Status::from),
            _ => Ok(()),
        };
        let outcome = match &torn {
            Ok(()) => outcome,
            Err(status) => Err(status.clone()),
        };
        self.publish(Item::End(outcome), shared);
        self.tail = None;
        torn
    }

    /// Whether the end is published.
    pub fn is_ended(&self) -> bool {
        self.tail.is_none()
    }

    /// The application wants no more: what comes is counted, given back and thrown away.
    pub fn discard(&mut self) {
        self.discards = true;
        self.pending = Vec::new();
        self.reader = MessageReader::new(0);
    }

    /// How many bytes of receive credit to give back to the peer now. To be called after
    /// [`flush`](Self::flush) when data came, and when the call touches.
    pub fn credit(&mut self, shared: &CallShared) -> usize {
        let mut target = self.target(shared);
        let partial_withheld = self.received != self.completed && target != self.received;
        if partial_withheld || !self.pending.is_empty() {
            // Nothing else would tell when the application has caught up.
            shared.set_attention(true);
            self.flush(shared);
            target = self.target(shared);
        }
        // Counters wrap; the differences are small.
        let owed = target.wrapping_sub(self.released);
        if owed > usize::MAX / 2 {
            return 0;
        }
        self.released = target;
        owed
    }

    /// How much credit the application's progress stands for.
    fn target(&self, shared: &CallShared) -> usize {
        if self.discards || self.tail.is_none() {
            return self.received;
        }
        let taken = shared.taken_bytes();
        if taken == self.completed { self.received } else { taken }
    }

    fn publish_pending(&mut self, shared: &CallShared) {
        if !self.pending.is_empty() {
            let packed = std::mem::take(&mut self.pending);
            self.publish(Item::Packed(packed), shared);
        }
    }

    fn publish(&mut self, item: Item, shared: &CallShared) {
        let Some(tail) = &mut self.tail else { return };
        let node = Arc::new(Node { item, next: OnceLock::new() });
        let linked = tail.next.set(Arc::clone(&node));
        debug_assert!(linked.is_ok(), "only the producer links, and the tail has no link yet");
        *tail = node;
        self.published = self.published.wrapping_add(1);
        shared.wake_inbound();
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("pending_bytes", &self.pending.len())
            .field("received", &self.received)
            .field("released", &self.released)
            .field("ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}

#[cold]
fn compressed_unasked() -> Status {
    Status::internal("a message is compressed, but no grpc-encoding was declared")
}
