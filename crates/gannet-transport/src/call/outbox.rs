//! What an application sends, on its way to the connection's task: messages in a slot of the call's
//! shared state, of which the one who works at them takes hold.

use std::sync::Arc;

use super::shared::RETAINED_BYTES_MAX;
use super::{Asks, CallShared};

/// Messages behind each other, each with its prefix.
#[derive(Debug, Default)]
pub struct Framed(pub Vec<u8>);

impl Framed {
    /// Forgets the messages, and what storage is too large to be kept.
    pub fn clear(&mut self) {
        self.0.clear();
        if self.0.capacity() > RETAINED_BYTES_MAX {
            self.0 = Vec::new();
        }
    }
}

/// The outbox while a message is written behind those that are in it: put back also where the
/// message cannot be encoded, or the code that does so panics.
///
/// The connection was asked to look for messages that were in it, and it takes them after that. So
/// it is asked again only where there were none, or where it has looked meanwhile: then something
/// lies in their place.
pub(super) struct Held<'a> {
    shared: &'a Arc<CallShared>,
    messages: Option<Box<Framed>>,
    /// How many bytes of it are whole messages.
    whole: usize,
    is_asked: bool,
}

impl Held<'_> {
    pub(super) fn take(shared: &Arc<CallShared>) -> Held<'_> {
        let messages = shared.outbox.take().unwrap_or_default();
        let whole = messages.0.len();
        Held { shared, whole, is_asked: whole > 0, messages: Some(messages) }
    }

    pub(super) fn append<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let Some(messages) = &mut self.messages else { return Ok(0) };
        write(&mut messages.0)?;
        let bytes = messages.0.len() - self.whole;
        self.whole += bytes;
        Ok(bytes)
    }

    pub(super) fn put_back(&mut self) {
        let Some(mut messages) = self.messages.take() else { return };
        messages.0.truncate(self.whole);
        let met = self.shared.outbox.swap(Some(messages));
        debug_assert!(met.as_ref().is_none_or(|met| met.0.is_empty()), "there is one sender");
        if !self.is_asked || met.is_some() {
            self.shared.ask(Asks::OUTBOX);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.messages.is_some() {
            self.put_back();
        }
    }
}
