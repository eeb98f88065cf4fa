//! How the messages of a call that streams are compressed. Made for calls that do so, and no
//! others.
//!
//! What is sent is decided by the first message, or when headers are asked to be sent: what was
//! chosen by then is in the headers, and holds until the end. What comes was declared by the peer's
//! headers, before any message.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::atomic::AtomicCell;
use gannet_core::compression::{self, Compressed, Compressor, Encoding};
use gannet_core::{EncodeError, EncodeFn, Result};

use super::CallShared;

/// See the module.
#[derive(Default)]
pub(super) struct Coding {
    /// With what messages are to be compressed; nothing for not at all.
    chosen: AtomicCell<Option<Box<Arc<dyn Compressor>>>>,
    /// What was chosen when that was decided.
    sends: OnceLock<Option<Arc<dyn Compressor>>>,
    receives: OnceLock<Receives>,
    /// Of a stream within the process, in which a message that would be marked as compressed is one
    /// that is not to be: whether the last that was read was such.
    marks: OnceLock<Mark>,
    /// What stands between another stream and this one sends here what it reads there: those marks.
    follows: OnceLock<Mark>,
    sent: Totals,
    received: Totals,
}

/// Whether the last message that was read is not to be compressed.
type Mark = Arc<AtomicBool>;

/// How a message is sent.
pub(super) enum Way {
    Compressed,
    Plain,
    /// Plain, with a mark for who reads it that it is to stay so.
    Marked,
}

/// What compressed messages are, that come.
struct Receives {
    compressor: Arc<dyn Compressor>,
    message_bytes_max: usize,
}

impl Coding {
    /// Compresses what is sent, in place of what was chosen before; without effect once it is
    /// decided.
    pub(super) fn choose(&self, compressor: Option<Arc<dyn Compressor>>) {
        self.chosen.store(compressor.map(Box::new));
    }

    /// Decides what compresses messages. The first time counts.
    pub(super) fn decide(&self) {
        self.sends.get_or_init(|| self.chosen.take().map(|chosen| *chosen));
    }

    /// What compresses messages; `None` for nothing, and before that is decided.
    fn sends(&self) -> Option<&Arc<dyn Compressor>> {
        self.sends.get()?.as_ref()
    }

    /// What the headers are to declare.
    pub(super) fn declared(&self) -> Option<Encoding> {
        self.sends().map(|compressor| compressor.encoding())
    }

    /// The peer declared what it compresses with.
    pub(super) fn receive(&self, compressor: Arc<dyn Compressor>, message_bytes_max: usize) {
        // Headers come once.
        let _ = self.receives.set(Receives { compressor, message_bytes_max });
    }

    /// Whether messages may come that are marked as compressed.
    pub(super) fn receives(&self) -> bool {
        self.receives.get().is_some() || self.marks.get().is_some()
    }

    /// How the next message is sent, which `is_plain` where its sender says so.
    fn way(&self, is_plain: bool) -> Way {
        let follows = || self.follows.get().is_some_and(|mark| mark.load(Ordering::Relaxed));
        match (is_plain || follows(), self.marks.get()) {
            (true, Some(_)) => Way::Marked,
            (true, None) => Way::Plain,
            // It was decided that nothing is compressed.
            (false, _) if matches!(self.sends.get(), Some(None)) => Way::Plain,
            (false, _) => Way::Compressed,
        }
    }

    /// A message was read.
    fn mark(&self, is_plain: bool) {
        if let Some(mark) = self.marks.get() {
            mark.store(is_plain, Ordering::Relaxed);
        }
    }

    /// Decompresses what came.
    fn decompress(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let Some(Receives { compressor, message_bytes_max }) = self.receives.get() else {
            return Err(super::feed::compressed_unasked());
        };
        let message = compression::decompress(&**compressor, payload, *message_bytes_max)?;
        self.received.add(Compressed::one(payload.len(), message.len()));
        Ok(message)
    }

    /// Appends a message that is to be sent, as it was decided; what compression came to.
    pub(super) fn encode<T>(
        &self,
        frame: EncodeFn<T>,
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Compressed>, EncodeError> {
        let Some(compressor) = self.sends() else {
            frame(message, message_bytes_max, out)?;
            return Ok(None);
        };
        let told =
            compression::encode_compressed(frame, message, message_bytes_max, &**compressor, out)?;
        if let Some(compressed) = told {
            self.sent.add(compressed);
        }
        Ok(told)
    }

    /// What compression of sent messages came to.
    pub(super) fn sent(&self) -> Compressed {
        self.sent.get()
    }

    /// What compression of received messages came to.
    pub(super) fn received(&self) -> Compressed {
        self.received.get()
    }
}

/// A [`Compressed`] that grows; one task at a time adds to it.
#[derive(Default)]
struct Totals {
    messages: AtomicU64,
    wire_bytes: AtomicU64,
    bytes: AtomicU64,
}

impl Totals {
    fn add(&self, more: Compressed) {
        self.messages.fetch_add(more.messages, Ordering::Relaxed);
        self.wire_bytes.fetch_add(more.wire_bytes, Ordering::Relaxed);
        self.bytes.fetch_add(more.bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Compressed {
        let mut sum = Compressed::default();
        sum.messages = self.messages.load(Ordering::Relaxed);
        sum.wire_bytes = self.wire_bytes.load(Ordering::Relaxed);
        sum.bytes = self.bytes.load(Ordering::Relaxed);
        sum
    }
}

/// What a call's two ends say and ask about it.
impl CallShared {
    /// Compresses messages that are sent from now on, or not any more; whether that is still open:
    /// it is decided once a message was sent or headers were asked to be sent. One task at a time
    /// may choose.
    pub fn choose_compressor(&self, compressor: Option<Arc<dyn Compressor>>) -> bool {
        if self.is_headers_fixed() {
            return false;
        }
        if compressor.is_some() || self.has_coding() {
            self.make_coding().choose(compressor);
        }
        true
    }

    /// The encoding that the headers are to declare.
    pub fn declared_encoding(&self) -> Option<Encoding> {
        if self.has_coding() { self.coding().declared() } else { None }
    }

    /// The peer has declared with what it compresses. To be said before messages are handed over;
    /// they are to be no longer than `message_bytes_max` decompressed.
    pub fn receive_compressed(&self, compressor: Arc<dyn Compressor>, message_bytes_max: usize) {
        self.make_coding().receive(compressor, message_bytes_max);
    }

    /// See [`Relay::passes_marks_to`](super::Relay::passes_marks_to).
    pub(super) fn mark_plain_for(&self, to: &CallShared) {
        let mark = Mark::default();
        // Both are said once, when the streams are made.
        let _ = self.make_coding().marks.set(Arc::clone(&mark));
        let _ = to.make_coding().follows.set(mark);
    }

    /// Whether each message that is read is to be looked at by itself: somebody looks, or marks
    /// are passed on.
    pub(super) fn reads_one_by_one(&self) -> bool {
        self.is_shown() || (self.has_coding() && self.coding().marks.get().is_some())
    }

    /// A message was read that is not marked.
    pub(super) fn read_unmarked(&self) {
        if self.has_coding() {
            self.coding().mark(false);
        }
    }

    /// What a message comes to that is marked as compressed.
    pub(super) fn decode_marked<'a>(&self, payload: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let coding = self.coding();
        if coding.marks.get().is_some() {
            coding.mark(true);
            return Ok(Cow::Borrowed(payload));
        }
        coding.decompress(payload).map(Cow::Owned)
    }

    /// Whether messages may come that are marked as compressed.
    pub(super) fn receives_compressed(&self) -> bool {
        self.has_coding() && self.coding().receives()
    }

    /// Whether messages may be compressed in either direction.
    #[inline]
    pub(super) fn has_coding(&self) -> bool {
        self.has_coding.load(Ordering::Relaxed)
    }

    /// How the next message is sent, where messages may be compressed.
    pub(super) fn way(&self, is_plain: bool) -> Way {
        self.coding().way(is_plain)
    }

    /// Appends a message that is sent next, compressed as was decided or is now; what that came to.
    pub(super) fn encode_coded<T>(
        &self,
        frame: EncodeFn<T>,
        message: &T,
        out: &mut Vec<u8>,
    ) -> Result<Option<Compressed>, EncodeError> {
        // Not later: the headers may be on their way without it.
        if self.queued.load(Ordering::Relaxed) == 0 {
            self.fix_headers();
        }
        self.coding().encode(frame, message, self.send_bytes_max(), out)
    }

    pub(super) fn sent_compressed(&self) -> Compressed {
        if self.has_coding() { self.coding().sent() } else { Compressed::default() }
    }

    /// What compression of the messages that the application has taken came to.
    pub fn received_compressed(&self) -> Compressed {
        if self.has_coding() { self.coding().received() } else { Compressed::default() }
    }

    pub(super) fn coding(&self) -> &Coding {
        self.rare().coding.get_or_init(Box::default)
    }

    fn make_coding(&self) -> &Coding {
        let coding = self.coding();
        self.set_streamed();
        self.has_coding.store(true, Ordering::Relaxed);
        coding
    }
}

impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receives = self.receives.get().map(|receives| receives.compressor.encoding());
        f.debug_struct("Coding")
            .field("sends", &self.declared())
            .field("receives", &receives)
            .finish_non_exhaustive()
    }
}
