//! What interceptors add to a call.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use gannet_core::compression::{self, Compressed};
use gannet_core::frame::PREFIX_BYTES;
use gannet_core::{Extensions, Metadata, Result};
use gannet_transport::observe::{MessageEvent, ServerCallObserver};
use gannet_transport::{CallShared, Direction};

use super::coding::Coding;
use super::response::REPLY_RETAINED_BYTES_MAX;
use super::{Call, Data};
use crate::intercept::Stash;
use crate::service::Handler;

/// What interceptors add to a call, and what of theirs serves the next call.
#[derive(Default)]
pub(crate) struct Extra {
    extensions: Extensions,
    /// Where the handler's requests come from instead of from the client.
    pub(crate) requests: Option<Arc<CallShared>>,
    /// Where its replies go instead of to the client.
    pub(crate) replies: Option<Arc<CallShared>>,
    /// The deadline was set here, and not by the client.
    is_shortened: bool,
    /// When an answer that has not left is given up, of a handler that has returned.
    answer_until: Option<Instant>,
    /// Never locked: a call can be shared, and a handler's storage cannot.
    storages: Mutex<Vec<Handler>>,
    /// Storage for an encoded request.
    pub(crate) request: Vec<u8>,
    pub(crate) stash: Option<Arc<Stash>>,
    /// Told when the one request is decompressed.
    pub(crate) observer: Option<Weak<dyn ServerCallObserver>>,
}

impl Extra {
    pub(super) fn clear(&mut self) {
        self.extensions.clear();
        self.requests = None;
        self.replies = None;
        self.is_shortened = false;
        self.answer_until = None;
        self.observer = None;
    }

    /// Of handlers and interceptors within others, which have ended; that of the one that ended
    /// last is last.
    pub(crate) fn storages(&mut self) -> &mut Vec<Handler> {
        self.storages.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps storage that is not too large for the next request.
    pub(crate) fn keep_request(&mut self, storage: Vec<u8>) {
        if storage.capacity() <= REPLY_RETAINED_BYTES_MAX && storage.capacity() > 0 {
            self.request = storage;
        }
    }
}

impl Call {
    /// What interceptors left for the handler, and what that leaves for them, by type: see
    /// [`Extensions`].
    pub fn extensions(&self) -> &Extensions {
        self.data.extra().map_or(&NO_EXTENSIONS, |extra| &extra.extensions)
    }

    /// The same, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extra_mut().extensions
    }
}

impl Call {
    /// Gives the answer up that has not left `within` this time, where the handler returns before:
    /// the client is told CANCEL then. For the service of health, whose watches would otherwise
    /// wait for who reads nothing while the server drains.
    #[doc(hidden)]
    pub fn answer_within(&mut self, within: Duration) {
        let now = tokio::time::Instant::now().into_std();
        self.extra_mut().answer_until = now.checked_add(within);
    }

    pub(crate) fn answer_until(&self) -> Option<Instant> {
        self.data.extra().and_then(|extra| extra.answer_until)
    }
}

/// For those who stand between the handler and its connection.
impl Call {
    /// Where the handler's requests come from.
    pub(crate) fn requests_shared(&self) -> &Arc<CallShared> {
        let wrapped = self.data.extra().and_then(|extra| extra.requests.as_ref());
        wrapped.unwrap_or(&self.data.shared)
    }

    /// Where its replies go.
    pub(crate) fn replies_shared(&self) -> &Arc<CallShared> {
        let wrapped = self.data.extra().and_then(|extra| extra.replies.as_ref());
        wrapped.unwrap_or(&self.data.shared)
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.data.more_mut().extra.get_or_insert_default()
    }

    /// The one request, which came compressed, was decompressed.
    pub(super) fn tell_request(&self, compressed: Compressed) {
        let observer = self.data.extra().and_then(|extra| extra.observer.as_ref());
        if let Some(observer) = observer.and_then(Weak::upgrade) {
            let count = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            let (bytes, wire_bytes) = (count(compressed.bytes), count(compressed.wire_bytes));
            observer.message(&MessageEvent::new(Direction::Inbound, 0, bytes, Some(wire_bytes)));
        }
    }

    pub(crate) fn request_metadata_mut(&mut self) -> &mut Metadata {
        let _ = self.metadata();
        self.data.more_mut().metadata.get_mut().expect("it was asked for")
    }

    pub(crate) fn shorten_deadline(&mut self, deadline: Instant) {
        if self.data.deadline.is_none_or(|known| deadline < known) {
            self.data.deadline = Some(deadline);
            self.extra_mut().is_shortened = true;
        }
    }

    /// The deadline, where an interceptor set it.
    pub(crate) fn shortened_deadline(&self) -> Option<Instant> {
        self.data.extra().filter(|extra| extra.is_shortened).and(self.data.deadline)
    }

    /// The encoded reply, all of it, without a prefix and as it was before compression.
    pub(crate) fn whole_reply(&mut self) -> Result<Cow<'_, [u8]>> {
        let response = self.data.response_mut();
        if !response.parts.is_empty() {
            let parts = std::mem::take(&mut response.parts);
            for piece in parts.into_pieces(std::mem::take(&mut response.reply)) {
                response.reply.extend_from_slice(&piece);
            }
        }
        let payload = self.reply().get(PREFIX_BYTES..).unwrap_or_default();
        let codec = self.data.coding().filter(|coding| coding.declared.is_some());
        match codec.and_then(Coding::codec) {
            Some(codec) if self.reply().first() == Some(&1) => {
                Ok(Cow::Owned(compression::decompress(&*codec, payload, usize::MAX)?))
            }
            _ => Ok(Cow::Borrowed(payload)),
        }
    }
}

impl Data {
    fn extra(&self) -> Option<&Extra> {
        self.more.get()?.extra.as_deref()
    }
}

static NO_EXTENSIONS: Extensions = Extensions::new();
