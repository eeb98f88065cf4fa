//! [`Call`]: what a handler knows of the call it serves, besides the messages.
//!
//! Calls are recycled by the connection: one allocation serves many calls. The metadata map is
//! built only when a handler asks for it.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_core::codec::Parts;
use gannet_core::compression::{
    self, CodecId, CodecSet, Compressed, Compressor, Compressors, Encoding, encode_compressed,
};
use gannet_core::frame::PREFIX_BYTES;
use gannet_core::{EncodeFn, Extensions, Metadata, MethodDescriptor, Result};
use gannet_http2::hpack::{FieldBlock, FieldKind};
use gannet_transport::{Asks, CallShared, Peer, fields};

use crate::intercept::Stash;
use crate::service::Handler;

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
    /// Where the server has compressors.
    coding: Option<Coding>,
    /// Where it has interceptors.
    extra: Option<Box<Extra>>,
}

/// The request's header fields.
enum Fields {
    /// Of this call alone; swapped with those of the next.
    Own(Box<FieldBlock>),
    /// Those that may be asked for, of this call and of others that began in the same way.
    Shared(Arc<FieldBlock>),
}

/// How the call's messages are compressed, as far as they are no stream.
struct Coding {
    compressors: Compressors,
    /// Those that the client accepts.
    accepted: CodecSet,
    /// The one for the response.
    chosen: Option<CodecId>,
    /// What the one reply was compressed with.
    declared: Option<Encoding>,
    /// What came of the one request.
    request: Compressed,
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
    /// Never locked: a call can be shared, and a handler's storage cannot.
    storages: Mutex<Vec<Handler>>,
    /// Storage for an encoded request.
    pub(crate) request: Vec<u8>,
    pub(crate) stash: Option<Arc<Stash>>,
}

impl Extra {
    fn clear(&mut self) {
        self.extensions.clear();
        self.requests = None;
        self.replies = None;
        self.is_shortened = false;
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
        self.data.publish_compressor();
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

    /// What interceptors left for the handler, and what that leaves for them, by type: see
    /// [`Extensions`].
    pub fn extensions(&self) -> &Extensions {
        self.data.extra().map_or(&NO_EXTENSIONS, |extra| &extra.extensions)
    }

    /// The same, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extra_mut().extensions
    }

    /// The authority the client addressed, from `:authority` or `host`.
    pub fn authority(&self) -> Option<&str> {
        let find = |kind| self.data.fields().iter().find(|field| field.kind == kind);
        let field = find(FieldKind::Authority).or_else(|| find(FieldKind::Host))?;
        std::str::from_utf8(field.value).ok()
    }

    /// Compresses the response with `encoding`, or not at all with [`Encoding::IDENTITY`], in place
    /// of what the server was told for this method. Single messages of a stream may
    /// [opt out](gannet_transport::Sending::uncompressed).
    ///
    /// Whether it will: not where the server lacks the encoding or the client does not accept it,
    /// and then messages go as they are; nor once a message was sent or
    /// [headers](Self::send_headers) were, and then what was said before holds.
    pub fn compress(&mut self, encoding: Encoding) -> bool {
        let shared = Arc::clone(&self.data.shared);
        let Some(coding) = self.data.coding_mut() else { return encoding.is_identity() };
        let id = coding.compressors.find(encoding.name().as_bytes());
        let id = id.filter(|id| coding.accepted.has(*id));
        if id.is_none() && !encoding.is_identity() {
            // To be compressed in another way than was asked for is not wanted either.
            self.compress(Encoding::IDENTITY);
            return false;
        }
        if shared.is_headers_fixed() {
            return false;
        }
        coding.chosen = id;
        if self.data.method.kind.server_streams() {
            self.data.publish_compressor();
        }
        true
    }

    /// What compression of the one request came to, for a method that has one: one message where it
    /// came compressed. That of a stream is told by
    /// [`Inbound::compressed`](gannet_transport::Inbound::compressed).
    pub fn request_compressed(&self) -> Compressed {
        self.data.coding().map_or_else(Compressed::default, |coding| coding.request)
    }

    /// Whether nobody waits for the reply any more: the client cancelled, the deadline passed, or
    /// the connection was lost.
    ///
    /// An asynchronous handler hardly needs this, as its future is dropped then; one that runs on
    /// the blocking pool should look now and then.
    pub fn is_cancelled(&self) -> bool {
        self.data.shared.ended().is_some() || self.shortened_deadline().is_some_and(is_past)
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
            if let Some(coding) = &mut more.coding {
                coding.clear();
            }
            if let Some(extra) = &mut more.extra {
                extra.clear();
            }
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

    /// The server has compressors: those that the client accepts, and the one that is used unless
    /// the handler says otherwise.
    #[cold]
    pub(crate) fn begin_coding(
        &mut self,
        compressors: &Compressors,
        accepted: CodecSet,
        chosen: Option<CodecId>,
    ) {
        let coding =
            self.data.more_mut().coding.get_or_insert_with(|| Coding::new(compressors.clone()));
        coding.accepted = accepted;
        coding.chosen = chosen;
        if chosen.is_some() && self.data.method.kind.server_streams() {
            self.data.publish_compressor();
        }
    }

    /// Whether the one reply is to be compressed.
    pub(crate) fn compresses(&self) -> bool {
        self.data.coding().is_some_and(|coding| coding.chosen.is_some())
    }

    /// Encodes the one reply, compressed.
    ///
    /// # Errors
    /// As encoding.
    #[cold]
    pub(crate) fn compress_reply<T>(
        &mut self,
        frame: EncodeFn<T>,
        message: &T,
        message_bytes_max: usize,
    ) -> Result<()> {
        let codec = self.data.coding().and_then(|coding| coding.codec());
        let (out, parts) = self.reply_mut();
        out.clear();
        parts.clear();
        let Some(codec) = codec else { return Ok(frame(message, message_bytes_max, out)?) };
        let told = encode_compressed(frame, message, message_bytes_max, &*codec, out)?;
        if let Some(coding) = self.data.coding_mut() {
            coding.declared = told.map(|_| codec.encoding());
        }
        Ok(())
    }

    /// The encoding that the response's headers are to declare, for a method with one reply.
    pub(crate) fn declared_encoding(&self) -> Option<Encoding> {
        self.data.coding().and_then(|coding| coding.declared)
    }

    /// The one request came compressed.
    pub(crate) fn note_request_compressed(&mut self, compressed: Compressed) {
        if let Some(coding) = self.data.coding_mut() {
            coding.request = compressed;
        }
    }

    pub(crate) fn shared(&self) -> &Arc<CallShared> {
        &self.data.shared
    }

    pub(crate) fn peer_shared(&self) -> &Arc<Peer> {
        &self.data.peer
    }

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

static NO_EXTENSIONS: Extensions = Extensions::new();

fn is_past(deadline: Instant) -> bool {
    deadline <= tokio::time::Instant::now().into_std()
}

impl Coding {
    fn new(compressors: Compressors) -> Coding {
        let (accepted, request) = (CodecSet::default(), Compressed::default());
        Coding { compressors, accepted, chosen: None, declared: None, request }
    }

    fn clear(&mut self) {
        self.accepted = CodecSet::default();
        self.chosen = None;
        self.declared = None;
        self.request = Compressed::default();
    }

    /// With what the response is to be compressed.
    fn codec(&self) -> Option<Arc<dyn Compressor>> {
        self.chosen.and_then(|id| self.compressors.codec(id)).map(Arc::clone)
    }
}

impl Data {
    fn fields(&self) -> &FieldBlock {
        match &self.fields {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => fields,
        }
    }

    fn extra(&self) -> Option<&Extra> {
        self.more.get()?.extra.as_deref()
    }

    fn response(&self) -> Option<&Response> {
        self.more.get().map(|more| &more.response)
    }

    fn response_mut(&mut self) -> &mut Response {
        &mut self.more_mut().response
    }

    fn coding(&self) -> Option<&Coding> {
        self.more.get()?.coding.as_ref()
    }

    fn coding_mut(&mut self) -> Option<&mut Coding> {
        self.more.get_mut()?.coding.as_mut()
    }

    fn more_mut(&mut self) -> &mut More {
        if self.more.get_mut().is_none() {
            self.more = OnceLock::from(Box::default());
        }
        self.more.get_mut().expect("it was made just now")
    }

    /// As headers, for who sends them before the handler returns.
    fn publish_compressor(&self) {
        if let Some(coding) = self.coding() {
            self.shared.choose_compressor(coding.codec());
        }
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
