//! How the messages of a call that streams are compressed. Made for calls that do so, and no
//! others.
//!
//! What is sent is decided by the first message, or when headers are asked to be sent: what was
//! chosen by then is in the headers, and holds until the end. What comes was declared by the peer's
//! headers, before any message.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
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
    sent: Totals,
    received: Totals,
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

    /// Whether compressed messages may come.
    pub(super) fn receives(&self) -> bool {
        self.receives.get().is_some()
    }

    /// Decompresses what came.
    pub(super) fn decompress(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let Some(Receives { compressor, message_bytes_max }) = self.receives.get() else {
            return Err(super::feed::compressed_unasked());
        };
        let message = compression::decompress(&**compressor, payload, *message_bytes_max)?;
        self.received.add(Compressed::one(payload.len(), message.len()));
        Ok(message)
    }

    /// Appends a message that is to be sent, as it was decided.
    pub(super) fn encode<T>(
        &self,
        frame: EncodeFn<T>,
        message: &T,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let Some(compressor) = self.sends() else { return frame(message, message_bytes_max, out) };
        let told =
            compression::encode_compressed(frame, message, message_bytes_max, &**compressor, out)?;
        if let Some(compressed) = told {
            self.sent.add(compressed);
        }
        Ok(())
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

    /// Whether compressed messages may come.
    pub(super) fn receives_compressed(&self) -> bool {
        self.has_coding() && self.coding().receives()
    }

    pub(super) fn decompress(&self, payload: &[u8]) -> Result<Vec<u8>> {
        self.coding().decompress(payload)
    }

    /// Whether messages may be compressed in either direction.
    #[inline]
    pub(super) fn has_coding(&self) -> bool {
        self.has_coding.load(Ordering::Relaxed)
    }

    /// Appends a message that is sent next, compressed as was decided or is now.
    pub(super) fn encode_coded<T>(
        &self,
        frame: EncodeFn<T>,
        message: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
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
