//! [`Answer`]: what a call came to.

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gannet_core::codec::Raw;
use gannet_core::{Codec, DecodeFn, MessageCodec, Metadata, MethodDescriptor, Result, Status};
use gannet_transport::{Direction, Inbound, Observed, Outbound};

use super::outgoing::response_of;
use super::pump;
use crate::call::notice::{Around, Outcome, Received};
use crate::call::started::{Answered, Made};
use crate::call::tracking::Tracking;

/// What a call came to, on its way to the application: the response of a unary call, the open
/// streams of any other. What [`Next::run`](crate::Next::run) returns.
///
/// Dropping it cancels a call that streams.
pub struct Answer {
    method: &'static MethodDescriptor,
    /// The call's.
    deadline: Option<Instant>,
    made: Made,
    send_bytes_max: usize,
    /// What it has become, whatever was made.
    failed: Option<Status>,
    /// Who is to know what becomes of the response, while that is the connection's.
    answered: Option<Box<Tracking>>,
}

impl Answer {
    pub(super) fn new(
        method: &'static MethodDescriptor,
        deadline: Option<Instant>,
        made: Made,
        send_bytes_max: usize,
    ) -> Answer {
        Answer { method, deadline, made, send_bytes_max, failed: None, answered: None }
    }

    pub(super) fn tracked(mut self, answered: Option<Box<Tracking>>) -> Answer {
        self.answered = answered;
        self
    }

    pub(super) fn into_made(self, method: &'static MethodDescriptor) -> Result<Answered> {
        match self.failed {
            Some(status) => Err(status),
            None if std::ptr::eq(self.method, method) => Ok((self.made, self.answered)),
            None => Err(Status::internal(format!(
                "an interceptor answered a call to {} with the answer of one to {}",
                method.path, self.method.path
            ))),
        }
    }

    /// When the call ends with DEADLINE_EXCEEDED.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The method that was called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.method
    }

    /// The response's headers; of a call that streams, once they have come. Without entries where
    /// the server sent none.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn headers(&mut self) -> Result<&Metadata> {
        if matches!(self.made, Made::Unary(..)) {
            return Ok(self.around().map_or(Metadata::none(), |around| &around.headers));
        }
        match &mut self.made {
            Made::Stream(_, source) => source.wait_headers().await,
            Made::Unary(..) => Ok(Metadata::none()),
        }
    }

    /// The trailers of a unary call. Those of a call that streams come with
    /// [its end](Self::observe_end).
    pub fn trailers(&self) -> Option<&Metadata> {
        match &self.made {
            Made::Stream(..) => None,
            Made::Unary(..) => {
                Some(self.around().map_or(Metadata::none(), |around| &around.trailers))
            }
        }
    }

    /// The headers of a unary call's response, to be changed before the application sees them.
    pub fn headers_mut(&mut self) -> Option<&mut Metadata> {
        Some(&mut self.around_mut()?.headers)
    }

    /// The trailers of a unary call's response, to be changed before the application sees them.
    pub fn trailers_mut(&mut self) -> Option<&mut Metadata> {
        Some(&mut self.around_mut()?.trailers)
    }

    /// The encoded response of a unary call, decompressed; `None` for a call that streams.
    ///
    /// # Errors
    /// Where it cannot be decompressed, or not within the receive limit.
    pub fn message(&self) -> Result<Option<Cow<'_, [u8]>>> {
        let Made::Unary(notice, _) = &self.made else { return Ok(None) };
        let Some(Outcome::Response { payload, .. }) = notice.get() else { return Ok(None) };
        Ok(Some(match payload {
            Received::Short(message) => Cow::Borrowed(message),
            Received::Long(message) => Cow::Borrowed(message),
            Received::Packed(packed) => {
                let decode: DecodeFn<Vec<u8>> = MessageCodec::new::<Raw>().decoder();
                Cow::Owned(packed.decode(decode)?.0)
            }
        }))
    }

    /// Replaces the response of a unary call.
    ///
    /// # Errors
    /// INTERNAL where it cannot be encoded, and for a call that streams.
    pub fn set_response<C, T>(&mut self, message: &T) -> Result<()>
    where
        C: Codec<T>,
    {
        self.around_mut();
        match &mut self.made {
            Made::Unary(notice, _) => {
                *notice = response_of::<C, T>(message)?;
                self.answered = None;
            }
            Made::Stream(..) => {
                let path = self.method.path;
                return Err(Status::internal(format!("the call to {path} is a stream")));
            }
        }
        Ok(())
    }

    /// Ready when it is known how the responses begin: with a message, or with the end of the call.
    /// At once for a unary call.
    ///
    /// For a stream of requests this waits for a server that answers before it has read any, since
    /// the application sends none before it has the answer.
    ///
    /// # Errors
    /// The status the call ended with, where there is no message before that: it can be made again.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn first(&mut self) -> Result<()> {
        match &mut self.made {
            Made::Stream(_, source) => poll_fn(|cx| source.poll_first(cx)).await,
            Made::Unary(..) => Ok(()),
        }
    }

    /// Shows the response's headers to `observer` when the application comes to them; at once where
    /// they are there.
    pub fn observe_headers<F>(&mut self, observer: F)
    where
        F: FnOnce(&Metadata) + Send + 'static,
    {
        match &self.made {
            Made::Unary(..) => {
                observer(self.around().map_or(Metadata::none(), |around| &around.headers));
            }
            Made::Stream(_, source) => match source.headers() {
                Some(headers) => observer(headers),
                None => source.shared().observe_headers(Box::new(observer)),
            },
        }
    }

    /// Shows each request of a stream to `observer` when the application has sent it, before it is
    /// compressed. An error fails the call. The one request of any other method is
    /// [`Outgoing::message`](crate::Outgoing::message).
    pub fn observe_requests<F>(&mut self, observer: F)
    where
        F: FnMut(Observed<'_>) -> Result<()> + Send + 'static,
    {
        if let Made::Stream(requests, _) = &self.made {
            requests.observe(Direction::Outbound, Box::new(observer));
        }
    }

    /// Shows each response to `observer` when the application comes to decode it; that of a unary
    /// call at once. An error fails the call.
    pub fn observe_responses<F>(&mut self, mut observer: F)
    where
        F: FnMut(Observed<'_>) -> Result<()> + Send + 'static,
    {
        if let Made::Stream(_, source) = &mut self.made {
            return source.observe(Box::new(observer));
        }
        let shown = match self.message() {
            Ok(Some(message)) => observer(Observed::new(0, &message)),
            Ok(None) => Ok(()),
            Err(status) => Err(status),
        };
        self.fail_by(shown);
    }

    /// Tells `observer` how the call ended, with its trailers, when the application comes to that,
    /// or that it did not: CANCELLED then, or a failure that it was told of last. At once for a
    /// unary call, which has ended well.
    pub fn observe_end<F>(&mut self, observer: F)
    where
        F: FnOnce(Result<&Metadata, &Status>) + Send + 'static,
    {
        match &self.made {
            Made::Unary(..) => {
                observer(Ok(self.around().map_or(Metadata::none(), |around| &around.trailers)));
            }
            Made::Stream(_, source) => source.shared().observe_end(Box::new(observer)),
        }
    }

    /// Puts `wrap` between the application's stream of requests and the call: it gets the encoded
    /// messages as they are sent, and what it sends goes to the server. Without effect, and
    /// `false`, for a method with one request.
    ///
    /// It runs in a task of its own, and is dropped when the call has ended. When it returns, the
    /// requests end; with an error, the call does. Where the application cancels, it is not waited
    /// for. While the last message that it has read is one that the application sent
    /// [`uncompressed`](gannet_transport::Sending::uncompressed), what it sends is so, too.
    pub fn wrap_requests<F, Fut>(&mut self, wrap: F) -> bool
    where
        F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let Made::Stream(requests, _) = &mut self.made else { return false };
        if !self.method.kind.client_streams() {
            return false;
        }
        let to = Arc::clone(requests);
        let wrapped = pump::wrap_requests(to, self.send_bytes_max, wrap);
        let wrapped = wrapped.map(|wrapped| *requests = wrapped);
        self.fail_by(wrapped);
        true
    }

    /// Puts `wrap` between the responses and the application: it gets the encoded messages as they
    /// come, and what it sends is what the application receives. Without effect, and `false`, for a
    /// unary call.
    ///
    /// It runs in a task of its own, and is dropped when the application gives the call up. When it
    /// returns, the application's stream ends, with the trailers where it has read the end; with an
    /// error, that is what the call ends with. To return before the end cancels the call.
    ///
    /// ```
    /// # use gannet_client::{Channel, Next, Outgoing};
    /// # fn example(channel: Channel) {
    /// let brief = channel.intercepted(|call: Outgoing, next: Next| async move {
    ///     let mut answer = next.run(call).await?;
    ///     // Leaves empty messages out.
    ///     answer.wrap_responses(|mut from, mut to| async move {
    ///         while let Some(message) = from.next().await? {
    ///             if !message.is_empty() {
    ///                 to.send(message).await?;
    ///             }
    ///         }
    ///         Ok(())
    ///     });
    ///     Ok(answer)
    /// });
    /// # }
    /// ```
    pub fn wrap_responses<F, Fut>(&mut self, wrap: F) -> bool
    where
        F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let Made::Stream(_, source) = &mut self.made else { return false };
        let wrapped = pump::wrap_responses(source, self.deadline, self.method, wrap);
        self.fail_by(wrapped);
        true
    }

    fn fail_by(&mut self, result: Result<()>) {
        if let Err(status) = result {
            self.failed.get_or_insert(status);
        }
    }

    /// The metadata around a unary call's response.
    fn around(&self) -> Option<&Around> {
        match &self.made {
            Made::Unary(_, Some(changed)) => Some(changed),
            Made::Unary(notice, None) => match notice.get() {
                Some(Outcome::Response { metadata, .. }) => metadata.as_deref(),
                _ => None,
            },
            Made::Stream(..) => None,
        }
    }

    fn around_mut(&mut self) -> Option<&mut Around> {
        if matches!(self.made, Made::Unary(_, None)) {
            let came = self.around().cloned().unwrap_or_default();
            if let Made::Unary(_, changed) = &mut self.made {
                *changed = Some(Box::new(came));
            }
        }
        match &mut self.made {
            Made::Unary(_, changed) => changed.as_deref_mut(),
            Made::Stream(..) => None,
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("method", &self.method.path).finish_non_exhaustive()
    }
}
