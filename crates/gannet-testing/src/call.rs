//! [`TestCall`]: a call that no connection brought, for a handler that is called by hand.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::{Code, Codec, Metadata, MethodDescriptor, MethodKind};
use gannet_server::Call;
use gannet_transport::{CallShared, Outbound, Peer};

use crate::Replies;
use crate::streams::Kept;

static NO_METHOD: MethodDescriptor =
    MethodDescriptor::new("/gannet.testing.None/None", MethodKind::BidiStreaming);

/// A [`Call`] for a handler that a test calls itself.
///
/// ```
/// # use gannet_core::{Result, Status};
/// # use gannet_server::Call;
/// use gannet_testing::TestCall;
///
/// async fn greet(call: &mut Call, name: String) -> Result<String> {
///     let language = call.metadata().get("accept-language").unwrap_or("en").to_owned();
///     call.trailers_mut().insert("content-language", &language)?;
///     match &*language {
///         "en" => Ok(format!("Hello, {name}")),
///         _ => Err(Status::unimplemented("English only")),
///     }
/// }
///
/// # gannet_testing::virtual_time(async {
/// let mut call = TestCall::new();
/// assert_eq!(greet(&mut call, "Ada".into()).await.unwrap(), "Hello, Ada");
/// assert_eq!(call.trailers_mut().get("content-language"), Some("en"));
/// let mut call = TestCall::new().with_header("accept-language", "tlh");
/// greet(&mut call, "Ada".into()).await.unwrap_err();
/// # });
/// ```
///
/// What the handler sets is read by the methods that set it: `headers_mut`, `trailers_mut`,
/// `extensions`. Two things a connection does besides are the test's to do: nothing enforces the
/// deadline, and nothing drops the handler's future when the call has been cancelled.
pub struct TestCall {
    call: Call,
    shared: Arc<CallShared>,
    kept: Arc<Kept>,
}

impl TestCall {
    /// A call without metadata or deadline, from within the process, of no method that there is.
    pub fn new() -> TestCall {
        TestCall::of(&NO_METHOD)
    }

    /// A call of this method, as generated code describes it.
    pub fn of(method: &'static MethodDescriptor) -> TestCall {
        let (shared, kept) = Kept::call();
        let nothing = Metadata::new();
        let call = Call::detached(Arc::clone(&shared), method, Peer::Pipe, nothing, None);
        TestCall { call, shared, kept }
    }

    /// The same call with other metadata, peer and deadline.
    fn with(self, metadata: Metadata, peer: Peer, deadline: Option<Instant>) -> TestCall {
        let extensions = self.call.extensions().clone();
        let (shared, method) = (Arc::clone(&self.shared), self.call.method());
        let mut call = Call::detached(shared, method, peer, metadata, deadline);
        *call.extensions_mut() = extensions;
        TestCall { call, ..self }
    }

    /// Sets the request's metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> TestCall {
        let (peer, deadline) = (self.call.peer().clone(), self.call.deadline());
        self.with(metadata, peer, deadline)
    }

    /// Adds to the request's metadata.
    ///
    /// # Panics
    /// Where it is no header that could be sent.
    #[must_use]
    #[track_caller]
    pub fn with_header(self, key: impl AsRef<str>, value: impl AsRef<str>) -> TestCall {
        let mut metadata = self.call.metadata().clone();
        if let Err(error) = metadata.append(key, value) {
            panic!("a header that cannot be sent: {error}");
        }
        self.with_metadata(metadata)
    }

    /// Says who calls.
    #[must_use]
    pub fn with_peer(self, peer: Peer) -> TestCall {
        let (metadata, deadline) = (self.call.metadata().clone(), self.call.deadline());
        self.with(metadata, peer, deadline)
    }

    /// Says how long the client waits, from now on.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> TestCall {
        let (metadata, peer) = (self.call.metadata().clone(), self.call.peer().clone());
        let deadline = tokio::time::Instant::now().into_std().checked_add(timeout);
        self.with(metadata, peer, deadline)
    }

    /// Leaves a value for the handler, as an interceptor would.
    #[must_use]
    pub fn with_extension<T: Send + Sync + 'static>(mut self, value: T) -> TestCall {
        self.call.extensions_mut().insert(value);
        self
    }

    /// The stream for this call's replies, and what is sent to it: as [`replies`](crate::replies),
    /// but for one thing. Call and stream end together, as on a connection: when what is sent is
    /// dropped the handler finds [`is_cancelled`](Call::is_cancelled), and when the call is
    /// [cancelled](Self::canceller) it can send no more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use gannet_core::{Code, Result, codec::Raw};
    /// # use gannet_server::Call;
    /// # use gannet_transport::Outbound;
    /// use gannet_testing::TestCall;
    ///
    /// /// Never ends by itself.
    /// async fn tick(_: &mut Call, mut to: Outbound<Vec<u8>>) -> Result<()> {
    ///     loop {
    ///         to.send(b"tick".to_vec()).await?;
    ///         tokio::time::sleep(Duration::from_secs(60)).await;
    ///     }
    /// }
    ///
    /// # gannet_testing::virtual_time(async {
    /// let mut call = TestCall::new();
    /// let (to, mut sent) = call.replies::<Raw, _>();
    /// let client = async move {
    ///     for _ in 0..3 {
    ///         assert_eq!(sent.next().await.unwrap().unwrap(), b"tick");
    ///     }
    ///     // It goes away: `sent` is dropped.
    /// };
    /// let (outcome, ()) = tokio::join!(tick(&mut call, to), client);
    /// assert_eq!(outcome.unwrap_err().code(), Code::Cancelled);
    /// assert!(call.is_cancelled());
    /// # });
    /// ```
    ///
    /// # Panics
    /// The second time, as a call has one stream of replies.
    pub fn replies<C, T>(&self) -> (Outbound<T>, Replies<T>)
    where
        C: Codec<T>,
    {
        self.kept.open::<C, T>(&self.shared)
    }

    /// What cancels the call, from another task, as a client does: the handler then finds
    /// [`is_cancelled`](Call::is_cancelled), and sending to the [`replies`](Self::replies) fails.
    pub fn canceller(&self) -> impl FnOnce() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.end(Code::Cancelled)
    }
}

impl Default for TestCall {
    fn default() -> TestCall {
        TestCall::new()
    }
}

impl Deref for TestCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl DerefMut for TestCall {
    fn deref_mut(&mut self) -> &mut Call {
        &mut self.call
    }
}

impl fmt::Debug for TestCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestCall").field(&self.call).finish()
    }
}
