//! [`Outgoing`]: a call on its way to the connection.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_core::codec::{Parts, Raw};
use gannet_core::compression::{decompress, encode_compressed};
use gannet_core::frame::PREFIX_BYTES;
use gannet_core::{Codec, Extensions, MessageCodec, Metadata, MethodDescriptor, Result, Status};
use gannet_transport::{Inbound, Outbound};

use super::Answer;
use super::pump;
use crate::call::Extra;
use crate::call::notice::{Notice, Outcome, Received};
use crate::call::request::{Body, Request};
use crate::call::started::Made;
use crate::policy::{moment, timed};

/// A call that the application makes, before it has a connection.
///
/// A clone is the same call once more, for [`Next::run`](crate::Next::run) to make it again. That
/// goes for streams, too: the application sends nothing on one before it has the answer.
#[derive(Clone)]
pub struct Outgoing {
    pub(super) request: Box<Request>,
    pub(super) extra: Option<Box<Extra>>,
    pub(super) send_bytes_max: usize,
}

impl Outgoing {
    /// The method that is called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.request.method
    }

    /// What is sent besides messages. What credentials give is not in it: they are asked later.
    pub fn metadata(&self) -> &Metadata {
        &self.request.metadata
    }

    /// The same, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.request.metadata
    }

    /// When the call ends with DEADLINE_EXCEEDED.
    pub fn deadline(&self) -> Option<Instant> {
        self.request.deadline
    }

    /// Ends what follows with DEADLINE_EXCEEDED at `deadline`, where the call has none that is
    /// earlier. The server is told.
    pub fn shorten_deadline(&mut self, deadline: Instant) {
        let known = self.request.deadline;
        let earlier = timed(deadline).filter(|at| known.is_none_or(|known| *at < known));
        self.request.deadline = earlier.or(known);
    }

    /// As [`shorten_deadline`](Self::shorten_deadline), to `timeout` from now.
    pub fn shorten_timeout(&mut self, timeout: Duration) {
        // One that no clock can express is none.
        if let Some(deadline) = moment(tokio::time::Instant::now().into_std(), timeout) {
            self.shorten_deadline(deadline);
        }
    }

    /// Whether the call waits while the channel cannot connect.
    pub fn wait_for_ready(&self) -> bool {
        self.request.wait_for_ready
    }

    /// Says whether the call waits while the channel cannot connect.
    pub fn set_wait_for_ready(&mut self, on: bool) {
        self.request.wait_for_ready = on;
    }

    /// Values from the application, which gives them with
    /// [`extension`](crate::Unary::extension), and from one interceptor to the next. They are not
    /// sent.
    pub fn extensions(&self) -> &Extensions {
        static NONE: Extensions = Extensions::new();
        self.extra.as_ref().map_or(&NONE, |extra| &extra.extensions)
    }

    /// The same, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extra.get_or_insert_default().extensions
    }

    /// The encoded request of a method with one, as it is before compression; `None` for a stream
    /// of requests.
    ///
    /// # Errors
    /// INTERNAL where what was compressed cannot be decompressed.
    pub fn message(&self) -> Result<Option<Cow<'_, [u8]>>> {
        let framed = match &self.request.body {
            Body::Stream => return Ok(None),
            Body::Small(framed) => Cow::Borrowed(&**framed),
            Body::Large(pieces) => Cow::Owned(pieces.concat()),
        };
        let is_compressed = framed.first().is_some_and(|flags| *flags != 0);
        Ok(Some(match (self.request.compressor(), framed) {
            (Some(compressor), framed) if is_compressed => {
                let payload = framed.get(PREFIX_BYTES..).unwrap_or_default();
                Cow::Owned(decompress(&**compressor, payload, usize::MAX)?)
            }
            (_, Cow::Borrowed(framed)) => {
                Cow::Borrowed(framed.get(PREFIX_BYTES..).unwrap_or_default())
            }
            (_, Cow::Owned(mut framed)) => {
                framed.drain(..PREFIX_BYTES.min(framed.len()));
                Cow::Owned(framed)
            }
        }))
    }

    /// Replaces the request of a method with one.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where it is over the send limit; INTERNAL where it cannot be encoded, and
    /// for a method with a stream of requests. Nothing changes then.
    pub fn set_request<C, T>(&mut self, message: &T) -> Result<()>
    where
        C: Codec<T>,
    {
        if matches!(self.request.body, Body::Stream) {
            let path = self.method().path;
            return Err(Status::internal(format!("{path} has a stream of requests, not one")));
        }
        let (mut framed, mut parts) = (Vec::new(), Parts::default());
        let (codec, bytes_max) = (MessageCodec::new::<C>(), self.send_bytes_max);
        match self.request.compressor() {
            None => codec.encode_parts(message, bytes_max, &mut framed, &mut parts)?,
            Some(compressor) => {
                let frame = codec.framer();
                let told =
                    encode_compressed(frame, message, bytes_max, &**compressor, &mut framed)?;
                if let Some(watched) = &self.request.watch {
                    watched.call.compressed(told);
                }
            }
        }
        self.request.body = Body::one(framed, parts);
        Ok(())
    }

    /// As [`set_request`](Self::set_request), for a message that is encoded.
    ///
    /// # Errors
    /// As [`set_request`](Self::set_request).
    pub fn set_message(&mut self, message: impl Into<Bytes>) -> Result<()> {
        self.set_request::<Raw, Bytes>(&message.into())
    }

    /// Answers without a connection, with the one response of a unary method.
    ///
    /// # Errors
    /// INTERNAL where it cannot be encoded, and for a method with a stream: see
    /// [`answer_stream`](Self::answer_stream).
    pub fn answer<C, T>(self, message: &T) -> Result<Answer>
    where
        C: Codec<T>,
    {
        let method = self.method();
        if method.kind.client_streams() || method.kind.server_streams() {
            let path = method.path;
            return Err(Status::internal(format!("{path} has a stream: answer it with one")));
        }
        let notice = response_of::<C, T>(message)?;
        Ok(Answer::new(
            method,
            self.request.deadline,
            Made::Unary(notice, None),
            self.send_bytes_max,
        ))
    }

    /// Answers without a connection, for a method with a stream: `serve` gets the encoded requests
    /// as they come, and sends encoded responses. It runs in a task of its own, and is dropped when
    /// the application gives the call up. What it returns ends the call.
    ///
    /// # Errors
    /// INTERNAL for a unary method, and outside a tokio runtime.
    ///
    /// ```
    /// # use gannet_client::{Channel, Next, Outgoing};
    /// # fn example(channel: Channel) {
    /// let offline = channel.intercepted(|call: Outgoing, _: Next| async move {
    ///     call.answer_stream(|mut requests, mut responses| async move {
    ///         while let Some(request) = requests.next().await? {
    ///             responses.send(request).await?;
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// # }
    /// ```
    pub fn answer_stream<F, Fut>(self, serve: F) -> Result<Answer>
    where
        F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let method = self.method();
        if !method.kind.client_streams() && !method.kind.server_streams() {
            let path = method.path;
            return Err(Status::internal(format!("{path} has one response, not a stream")));
        }
        let message = self.message()?.map(|message| Bytes::copy_from_slice(&message));
        let (requests, source) = pump::serve(serve, message, self.request.deadline, method)?;
        Ok(Answer::new(
            method,
            self.request.deadline,
            Made::Stream(requests, source),
            self.send_bytes_max,
        ))
    }
}

/// A response that no connection brought.
pub(super) fn response_of<C: Codec<T>, T>(message: &T) -> Result<Arc<Notice>> {
    let mut payload = Vec::new();
    MessageCodec::new::<C>().encode(message, usize::MAX, &mut payload)?;
    let notice = Notice::new();
    notice.set(Outcome::Response { payload: Received::from(payload), metadata: None });
    Ok(notice)
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method().path)
            .field("metadata", &self.metadata())
            .field("deadline", &self.deadline())
            .field("wait_for_ready", &self.wait_for_ready())
            .finish_non_exhaustive()
    }
}
