//! A call's response, as far as it is not a stream of messages.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use gannet_core::Metadata;
use gannet_core::codec::Parts;
use gannet_transport::Asks;

use super::{Call, Data, More};

/// Reply buffers above this many bytes are not kept for the next call.
pub(super) const REPLY_RETAINED_BYTES_MAX: usize = 16 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Response {
    headers: Metadata,
    trailers: Metadata,
    /// The encoded reply of a method with one response, but for its parts.
    pub(super) reply: Vec<u8>,
    /// What of a long reply was not copied.
    pub(super) parts: Parts,
}

impl Response {
    pub(super) fn clear(&mut self) {
        self.headers.clear();
        self.trailers.clear();
        self.parts.clear();
        self.reply.clear();
        if self.reply.capacity() > REPLY_RETAINED_BYTES_MAX {
            self.reply = Vec::new();
        }
    }
}

impl Call {
    /// The headers to be sent with the response. They go out before the first message or with
    /// [`send_headers`](Self::send_headers), and from then on changes are without effect.
    pub fn headers_mut(&mut self) -> HeadersMut<'_> {
        HeadersMut { data: &mut self.data }
    }

    /// The trailers to be sent with the call's outcome, good or bad.
    pub fn trailers_mut(&mut self) -> &mut Metadata {
        &mut self.data.response_mut().trailers
    }

    /// Sends the response headers now instead of with the first message. A client then sees them at
    /// once, and no longer takes the call for one that may be retried.
    pub fn send_headers(&mut self) {
        self.data.publish_headers();
        self.data.publish_compressor();
        self.data.shared.fix_headers();
        self.data.shared.ask(Asks::SEND_HEADERS);
    }
}

/// For the connection.
impl Call {
    /// Response headers and trailers as the handler left them.
    pub(crate) fn response_metadata(&self) -> (&Metadata, &Metadata) {
        match self.data.response() {
            Some(response) => (&response.headers, &response.trailers),
            None => (Metadata::none(), Metadata::none()),
        }
    }

    /// The encoded reply, if there is nothing else to the response: no metadata, no encoding that
    /// is to be declared, no parts. `None` too for one of `bytes_end` or more.
    #[inline]
    pub(crate) fn plain_reply(&self, bytes_end: usize) -> Option<&[u8]> {
        let More { response, coding, .. } = &**self.data.more.get()?;
        let is_plain = response.headers.is_empty()
            && response.trailers.is_empty()
            && response.parts.is_empty()
            && response.reply.len() < bytes_end
            && coding.as_ref().is_none_or(|coding| coding.declared.is_none());
        is_plain.then_some(&*response.reply)
    }

    /// The encoded reply, prefix included, but for its parts.
    pub(crate) fn reply(&self) -> &[u8] {
        self.data.response().map_or(&[], |response| &response.reply)
    }

    /// Of the same, what was not copied, bytes.
    pub(super) fn reply_parts_bytes(&self) -> usize {
        self.data.response().map_or(0, |response| response.parts.bytes())
    }

    pub(crate) fn reply_mut(&mut self) -> (&mut Vec<u8>, &mut Parts) {
        let response = self.data.response_mut();
        (&mut response.reply, &mut response.parts)
    }

    /// Takes the reply out, if it is of this length or has parts; its pieces in order.
    pub(crate) fn take_reply(
        &mut self,
        bytes_min: usize,
    ) -> Option<impl Iterator<Item = Bytes> + use<>> {
        let response = &mut self.data.more.get_mut()?.response;
        if response.reply.len() < bytes_min && response.parts.is_empty() {
            return None;
        }
        let parts = std::mem::take(&mut response.parts);
        Some(parts.into_pieces(std::mem::take(&mut response.reply)))
    }
}

impl Data {
    fn response(&self) -> Option<&Response> {
        self.more.get().map(|more| &more.response)
    }

    pub(super) fn response_mut(&mut self) -> &mut Response {
        &mut self.more_mut().response
    }

    pub(super) fn publish_headers(&self) {
        if let Some(response) = self.response()
            && !response.headers.is_empty()
        {
            self.shared.publish_headers(response.headers.clone());
        }
    }
}

/// The response headers of a call, for as long as they are being changed: see
/// [`Call::headers_mut`].
pub struct HeadersMut<'a> {
    data: &'a mut Data,
}

impl Deref for HeadersMut<'_> {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        self.data.response().map_or(Metadata::none(), |response| &response.headers)
    }
}

impl DerefMut for HeadersMut<'_> {
    fn deref_mut(&mut self) -> &mut Metadata {
        &mut self.data.response_mut().headers
    }
}

impl Drop for HeadersMut<'_> {
    /// A stream's first message may leave before the handler returns, so the connection must know.
    fn drop(&mut self) {
        if self.data.method.kind.server_streams() {
            self.data.publish_headers();
        }
    }
}

impl fmt::Debug for HeadersMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeadersMut").field(&**self).finish()
    }
}
