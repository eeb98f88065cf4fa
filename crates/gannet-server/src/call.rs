//! [`Call`]: what a handler knows of the call it serves, besides the messages.
//!
//! Calls are recycled by the connection: one allocation serves many calls. The metadata map is
//! built only when a handler asks for it.

use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_core::codec::Parts;
use gannet_core::{Metadata, MethodDescriptor};
use gannet_http2::hpack::{FieldBlock, FieldKind};
use gannet_transport::{Asks, CallShared, Peer, fields};

/// Reply buffers above this many bytes are not kept for the next call.
const REPLY_RETAINED_BYTES_MAX: usize = 16 << 10;

/// One call, as its handler sees it.
pub struct Call {
    data: Box<Data>,
}

struct Data {
    shared: Arc<CallShared>,
    method: &'static MethodDescriptor,
    peer: Arc<Peer>,
    deadline: Option<Instant>,
    fields: Fields,
    /// Made when there is something of it.
    more: OnceLock<Box<More>>,
}

/// What many calls do without.
#[derive(Default)]
struct More {
    /// The request's, once it was asked for.
    metadata: OnceLock<Metadata>,
    response: Response,
}

/// The request's header fields.
enum Fields {
    /// Of this call alone; swapped with those of the next.
    Own(Box<FieldBlock>),
    /// Those that may be asked for, of this call and of others that began in the same way.
    Shared(Arc<FieldBlock>),
}

/// A response, as far as it is not a stream of messages.
#[derive(Default)]
struct Response {
    headers: Metadata,
    trailers: Metadata,
    /// The encoded reply of a method with one response, but for its parts.
    reply: Vec<u8>,
    /// What of a long reply was not copied.
    parts: Parts,
}

impl Call {
    /// The request's metadata. Built from the header fields the first time it is asked for.
    pub fn metadata(&self) -> &Metadata {
        let more = self.data.more.get_or_init(Box::default);
        more.metadata.get_or_init(|| fields::read_metadata(self.data.fields()))
    }

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
        self.data.shared.fix_headers();
        self.data.shared.ask(Asks::SEND_HEADERS);
    }

    /// When the call must have ended, all of it. Past this the handler's future is dropped.
    pub fn deadline(&self) -> Option<Instant> {
        self.data.deadline
    }

    /// How much time is left; zero past the deadline.
    pub fn time_left(&self) -> Option<Duration> {
        let now = tokio::time::Instant::now().into_std();
        self.data.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Who is calling.
    pub fn peer(&self) -> &Peer {
        &self.data.peer
    }

    /// The method that is called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.data.method
    }

    /// The authority the client addressed, from `:authority` or `host`.
    pub fn authority(&self) -> Option<&str> {
        let find = |kind| self.data.fields().iter().find(|field| field.kind == kind);
        let field = find(FieldKind::Authority).or_else(|| find(FieldKind::Host))?;
        std::str::from_utf8(field.value).ok()
    }

    /// Whether nobody waits for the reply any more: the client cancelled, the deadline passed, or
    /// the connection was lost.
    ///
    /// An asynchronous handler hardly needs this, as its future is dropped then; one that runs on
    /// the blocking pool should look now and then.
    pub fn is_cancelled(&self) -> bool {
        self.data.shared.ended().is_some()
    }

    /// Waits until nobody waits for the reply any more.
    ///
    /// # Cancel safety
    /// May be dropped and called again at will. One task at a time may wait.
    pub async fn cancelled(&self) {
        poll_fn(|cx| self.data.shared.poll_ended(cx)).await;
    }
}

/// For the connection.
impl Call {
    pub(crate) fn new(
        shared: Arc<CallShared>,
        method: &'static MethodDescriptor,
        peer: Arc<Peer>,
    ) -> Call {
        Call {
            data: Box::new(Data {
                shared,
                method,
                peer,
                deadline: None,
                fields: Fields::Own(Box::default()),
                more: OnceLock::new(),
            }),
        }
    }

    /// Forgets the call it served.
    pub(crate) fn clear(&mut self) {
        let data = &mut *self.data;
        data.deadline = None;
        // A list that has a name is short, and may be the next call's as well.
        if let Fields::Own(fields) = &mut data.fields
            && fields.stamp() == 0
        {
            fields.clear();
        }
        if let Some(more) = data.more.get_mut() {
            more.metadata.take();
            let response = &mut more.response;
            response.headers.clear();
            response.trailers.clear();
            response.parts.clear();
            response.reply.clear();
            if response.reply.capacity() > REPLY_RETAINED_BYTES_MAX {
                response.reply = Vec::new();
            }
        }
    }

    /// Makes it the call that `fields` began, by swapping.
    pub(crate) fn begin(
        &mut self,
        method: &'static MethodDescriptor,
        fields: &mut FieldBlock,
        deadline: Option<Instant>,
    ) {
        self.data.method = method;
        self.data.deadline = deadline;
        match &mut self.data.fields {
            Fields::Own(own) => std::mem::swap(&mut **own, fields),
            Fields::Shared(_) => self.data.fields = Fields::Own(Box::new(std::mem::take(fields))),
        }
    }

    /// As [`begin`](Self::begin), for a call that may stay open for long: keeps `fields`, which
    /// others may have as well.
    pub(crate) fn begin_long(
        &mut self,
        method: &'static MethodDescriptor,
        fields: Arc<FieldBlock>,
        deadline: Option<Instant>,
    ) {
        self.data.method = method;
        self.data.deadline = deadline;
        self.data.fields = Fields::Shared(fields);
    }

    pub(crate) fn shared(&self) -> &Arc<CallShared> {
        &self.data.shared
    }

    /// Response headers and trailers as the handler left them.
    pub(crate) fn response_metadata(&self) -> (&Metadata, &Metadata) {
        match self.data.response() {
            Some(response) => (&response.headers, &response.trailers),
            None => (&NO_METADATA, &NO_METADATA),
        }
    }

    /// The encoded reply, prefix included, but for its parts.
    pub(crate) fn reply(&self) -> &[u8] {
        self.data.response().map_or(&[], |response| &response.reply)
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

static NO_METADATA: Metadata = Metadata::new();

impl Data {
    fn fields(&self) -> &FieldBlock {
        match &self.fields {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => fields,
        }
    }

    fn response(&self) -> Option<&Response> {
        self.more.get().map(|more| &more.response)
    }

    fn response_mut(&mut self) -> &mut Response {
        self.more.get_or_init(Box::default);
        let more = self.more.get_mut();
        &mut more.expect("it was made just now").response
    }

    fn publish_headers(&self) {
        if let Some(response) = self.response()
            && !response.headers.is_empty()
        {
            self.shared.publish_headers(response.headers.clone());
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.data.method.path)
            .field("peer", &self.data.peer)
            .field("deadline", &self.data.deadline)
            .field("metadata", self.metadata())
            .finish_non_exhaustive()
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
        self.data.response().map_or(&NO_METADATA, |response| &response.headers)
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
