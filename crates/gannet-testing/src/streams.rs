//! Streams of messages for handlers and callers that a test calls itself.
//!
//! Messages are encoded and decoded by the codec that is named, as they would be on a connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_core::{Code, Codec, MessageCodec, Metadata, Result, Status};
use gannet_transport::{
    Asks, CallQueue, CallShared, Feed, Framed, Inbound, Outbound, Relay, RelayKind, Source, Spares,
};

/// A stream that has these messages and ends well: what a handler gets of a client that sends them
/// and is done, or a caller of a server that does so.
///
/// ```
/// # use gannet_core::{Result, codec::Raw};
/// # use gannet_transport::Inbound;
/// async fn count(mut messages: Inbound<Vec<u8>>) -> Result<usize> {
///     let mut bytes = 0;
///     while let Some(message) = messages.next().await? {
///         bytes += message.len();
///     }
///     Ok(bytes)
/// }
///
/// # gannet_testing::virtual_time(async {
/// // Generated messages have the codec `gannet::codec::Buffa`.
/// let messages = gannet_testing::inbound::<Raw, _>([b"one".to_vec(), b"three".to_vec()]);
/// assert_eq!(count(messages).await.unwrap(), 8);
/// # });
/// ```
///
/// # Panics
/// Where a message cannot be encoded.
pub fn inbound<C, T>(messages: impl IntoIterator<Item = T>) -> Inbound<T>
where
    C: Codec<T>,
{
    ended::<C, T>(messages, Ok(Metadata::new()))
}

/// As [`inbound`], of a stream that then fails: a client that cancels, or a connection that is
/// lost.
///
/// # Panics
/// Where a message cannot be encoded.
pub fn inbound_failing<C, T>(messages: impl IntoIterator<Item = T>, status: Status) -> Inbound<T>
where
    C: Codec<T>,
{
    ended::<C, T>(messages, Err(status))
}

fn ended<C: Codec<T>, T>(
    messages: impl IntoIterator<Item = T>,
    outcome: Result<Metadata>,
) -> Inbound<T> {
    let mut framed = Vec::new();
    for message in messages {
        C::encode_framed(&message, usize::MAX, &mut framed).expect("a message can be encoded");
    }
    let shared = CallShared::new(Arc::new(Nobody), u32::MAX);
    let mut feed = Feed::new(&shared, usize::MAX);
    let fed = feed.data(&framed, &shared, &mut Spares::default());
    fed.and_then(|()| feed.end(outcome, &shared)).expect("messages are whole");
    feed.flush(&shared);
    Inbound::new(Source::new(shared), MessageCodec::new::<C>())
}

/// Hears what a stream asks for that has all there will be.
struct Nobody;

impl CallQueue for Nobody {
    fn push_call(&self, call: &Arc<CallShared>) {
        let _ = call.take_asks();
    }

    fn is_closed(&self) -> bool {
        false
    }
}

/// A stream for a handler to send to, and what it has sent. It holds any number of messages, so
/// that a handler that has returned can be looked at; [`Replies::bounded`] has it wait, as a
/// connection does.
///
/// ```
/// # use gannet_core::{Result, codec::Raw};
/// # use gannet_transport::Outbound;
/// async fn count_down(from: u8, mut to: Outbound<Vec<u8>>) -> Result<()> {
///     for n in (0..from).rev() {
///         to.send(vec![n]).await?;
///     }
///     Ok(())
/// }
///
/// # gannet_testing::virtual_time(async {
/// let (to, mut sent) = gannet_testing::replies::<Raw, _>();
/// count_down(3, to).await.unwrap();
/// assert_eq!(sent.all().await.unwrap(), [[2], [1], [0]]);
/// # });
/// ```
///
/// Dropping what it has sent before its end cancels, as a client that goes away: sending fails from
/// then on. With [`TestCall::replies`](crate::TestCall::replies) the handler's call is cancelled,
/// too.
pub fn replies<C, T>() -> (Outbound<T>, Replies<T>)
where
    C: Codec<T>,
{
    let (shared, kept) = Kept::call();
    kept.open::<C, T>(&shared)
}

/// A stream that a test writes to while something else reads it, bounded as one on a connection: a
/// sender waits while 64 KiB are not read. [`Outbound::finish`] ends it; a sender that is dropped
/// before cancels, as a client's does; and a reader that is dropped before the end has sending
/// fail.
///
/// ```
/// # use gannet_core::{Code, codec::Raw};
/// # gannet_testing::virtual_time(async {
/// let (mut to, mut from) = gannet_testing::stream::<Raw, Vec<u8>>();
/// to.send(b"one".to_vec()).await.unwrap();
/// assert_eq!(from.next().await.unwrap().unwrap(), b"one");
/// drop(to); // The client cancels. `to.finish()` would have been a good end.
/// assert_eq!(from.next().await.unwrap_err().code(), Code::Cancelled);
/// # });
/// ```
pub fn stream<C, T>() -> (Outbound<T>, Inbound<T>)
where
    C: Codec<T>,
{
    let relay = Relay::new(RelayKind::Requests);
    let codec = MessageCodec::new::<C>();
    let to = Outbound::new(Arc::clone(relay.shared()), codec);
    (to, Inbound::new(Source::new(Arc::clone(relay.shared())), codec))
}

/// What a handler sent: see [`replies`]. Dropped before the end, it cancels.
pub struct Replies<T> {
    from: Inbound<T>,
    shared: Arc<CallShared>,
    kept: Arc<Kept>,
}

impl<T> Replies<T> {
    /// Has the handler wait in `send` from now on while 64 KiB are not read, as for a client that
    /// reads slowly. Who reads must then run beside the handler, in another task or by
    /// `tokio::join!`. For handlers that send without end, and for those that should not get ahead
    /// of their client.
    #[must_use]
    pub fn bounded(self) -> Replies<T> {
        self.kept.bound();
        self
    }

    /// Ends the call with this code, as a connection does: `Cancelled` by the client, which
    /// dropping this does, too, `DeadlineExceeded`, or `Unavailable` where the connection was lost.
    /// Sending fails with it from then on, also where the handler waits in it.
    pub fn end(self, code: Code) {
        self.shared.end(code);
    }

    /// The next message; waits for it while the handler still has its end. `None` at the end.
    ///
    /// # Errors
    /// Where it cannot be decoded.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<T>> {
        self.from.next().await
    }

    /// All messages, up to the end.
    ///
    /// # Errors
    /// Where one cannot be decoded.
    ///
    /// # Cancel safety
    /// Messages that were read by then are lost when the future is dropped.
    pub async fn all(&mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await? {
            all.push(message);
        }
        Ok(all)
    }
}

impl<T> fmt::Debug for Replies<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").finish_non_exhaustive()
    }
}

/// What sees to a call without a connection: keeps what is sent until it is read.
pub(crate) struct Kept(Mutex<Option<Held>>);

struct Held {
    feed: Feed,
    spares: Spares,
    emptied: Option<Box<Framed>>,
    /// Bytes. Wraps.
    sent_total: usize,
    /// The same, as far as the reader's count goes.
    given: u32,
    /// The sender waits while too much is not read.
    is_bounded: bool,
}

impl Kept {
    /// The state of a call, and what sees to it.
    pub(crate) fn call() -> (Arc<CallShared>, Arc<Kept>) {
        let kept = Arc::new(Kept(Mutex::new(None)));
        let shared = CallShared::new(Arc::clone(&kept) as Arc<dyn CallQueue>, u32::MAX);
        shared.set_send_bytes_max(usize::MAX);
        (shared, kept)
    }

    /// Both ends of its stream.
    ///
    /// # Panics
    /// The second time.
    pub(crate) fn open<C, T>(
        self: &Arc<Self>,
        shared: &Arc<CallShared>,
    ) -> (Outbound<T>, Replies<T>)
    where
        C: Codec<T>,
    {
        let mut held = self.lock();
        assert!(held.is_none(), "a call has one stream of replies");
        *held = Some(Held {
            feed: Feed::new(shared, usize::MAX),
            spares: Spares::default(),
            emptied: None,
            sent_total: 0,
            given: 0,
            is_bounded: false,
        });
        let codec = MessageCodec::new::<C>();
        let from = Inbound::new(Source::new(Arc::clone(shared)), codec);
        let (shared, kept) = (Arc::clone(shared), Arc::clone(self));
        (Outbound::new(Arc::clone(&shared), codec), Replies { from, shared, kept })
    }

    fn bound(&self) {
        if let Some(held) = &mut *self.lock() {
            held.is_bounded = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallQueue for Kept {
    fn push_call(&self, call: &Arc<CallShared>) {
        let mut held = self.lock();
        loop {
            let asks = call.take_asks();
            if asks.is_empty() {
                return;
            }
            if let Some(held) = &mut *held {
                held.serve(asks, call);
            }
        }
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl Held {
    fn serve(&mut self, asks: Asks, call: &CallShared) {
        let is_over = asks.has(Asks::FINISH) || asks.has(Asks::OUTBOUND_DROPPED);
        if (is_over || asks.has(Asks::OUTBOX))
            && let Some(mut messages) = call.take_outbox(self.emptied.take())
        {
            self.sent_total = self.sent_total.wrapping_add(messages.0.len());
            self.given = self.given.wrapping_add(u32::try_from(messages.0.len()).unwrap_or(0));
            // Messages are queued whole, and of any length.
            let _ = self.feed.data(&messages.0, call, &mut self.spares);
            self.feed.flush(call);
            messages.clear();
            self.emptied = Some(messages);
        }
        if asks.has(Asks::INBOUND_DROPPED) {
            self.feed.reader_gone(call);
            call.end(Code::Cancelled);
        } else if is_over {
            let _ = self.feed.end(Ok(Metadata::new()), call);
            self.feed.flush(call);
        }
        let unread = match self.is_bounded {
            true => self.given.wrapping_sub(call.taken_bytes()) as usize,
            false => 0,
        };
        call.set_sent_bytes(self.sent_total.wrapping_sub(unread), unread);
    }
}
