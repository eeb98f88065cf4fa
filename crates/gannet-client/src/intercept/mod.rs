//! Interceptors: code of the application around whole calls.
//!
//! An [`Interceptor`] owns the call before it has a connection, and decides: it may change what is
//! sent, go on with [`Next::run`], once or several times, look at and change what came of that, or
//! answer by itself. Several wrap each other; credentials are asked behind the last one.
//!
//! They run in the task that awaits the call, as a part of its future: one allocation for each. A
//! call of a channel without interceptors has none of this.
//!
//! A unary call has ended when [`Next::run`] returns; any other is open then, and nothing has been
//! sent or read by the application. So every call can be made again, until the application has its
//! answer. What comes later, an [`Answer`] lets observe and change.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `outgoing` | a call on its way to the connection |
//! | `next` | the rest of a chain, and running it |
//! | `answer` | what a call came to |
//! | `pump` | streams that an interceptor stands in: tasks that carry their messages |

mod answer;
mod next;
mod outgoing;
mod pump;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gannet_core::Result;

use crate::channel::Shared;
use crate::credentials::CredentialsList;
use crate::{CallCredentials, Channel};
pub use answer::Answer;
pub(crate) use next::Intercepted;
pub use next::Next;
pub use outgoing::Outgoing;

/// What a call waits for whose deadline ends an interceptor.
const WITH_INTERCEPTORS: &str = "an interceptor has not come to an end";

/// Wraps calls of a channel: see
/// [`ChannelBuilder::intercept`](crate::ChannelBuilder::intercept) and
/// [`Channel::intercepted`].
///
/// Implemented for closures that return a future, which is how most are written:
///
/// ```
/// # use gannet_core::Code;
/// use gannet_client::{Channel, Next, Outgoing};
///
/// # fn example() -> Result<Channel, gannet_client::TargetError> {
/// Channel::builder("localhost:50051")
///     .intercept(|call: Outgoing, next: Next| async move {
///         // Once more, where nothing was done.
///         match next.run(call.clone()).await {
///             Err(status) if status.code() == Code::Unavailable => next.run(call).await,
///             other => other,
///         }
///     })
///     .build()
/// # }
/// ```
///
/// and for types of one's own, with an `async fn`:
///
/// ```
/// # use gannet_core::Result;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use gannet_client::{Answer, Interceptor, Next, Outgoing};
///
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Interceptor for Failures {
///     async fn intercept(&self, mut call: Outgoing, next: Next) -> Result<Answer> {
///         call.metadata_mut().append("x-client", "cli")?;
///         let result = next.run(call).await;
///         if result.is_err() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///         result
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not intercept calls of a client",
    note = "write `|call: Outgoing, next: Next| async move {{ next.run(call).await }}`, with the \
            types of both arguments, or implement the trait"
)]
pub trait Interceptor: Send + Sync + 'static {
    /// Wraps one call. What it returns is what the application gets.
    ///
    /// # Cancel safety
    /// The future is dropped where nobody waits for the call any more, and at its deadline.
    fn intercept(&self, call: Outgoing, next: Next) -> impl Future<Output = Result<Answer>> + Send;
}

impl<F, Fut> Interceptor for F
where
    F: Fn(Outgoing, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer>> + Send,
{
    fn intercept(&self, call: Outgoing, next: Next) -> impl Future<Output = Result<Answer>> + Send {
        self(call, next)
    }
}

/// An interceptor of any type.
pub(crate) trait Layer: Send + Sync {
    fn begin(self: Arc<Self>, call: Outgoing, next: Next) -> LayerFuture;
}

type LayerFuture = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

impl<I: Interceptor> Layer for I {
    fn begin(self: Arc<Self>, call: Outgoing, next: Next) -> LayerFuture {
        Box::pin(async move { self.intercept(call, next).await })
    }
}

impl fmt::Debug for dyn Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interceptor")
    }
}

/// What a channel does around its calls.
pub(crate) struct Chain {
    shared: Arc<Shared>,
    /// Outermost first.
    layers: Vec<Arc<dyn Layer>>,
    credentials: CredentialsList,
}

impl Chain {
    /// Nothing where there is neither an interceptor nor credentials.
    pub(crate) fn new(
        shared: Arc<Shared>,
        layers: Vec<Arc<dyn Layer>>,
        credentials: CredentialsList,
    ) -> Option<Arc<Chain>> {
        if layers.is_empty() && credentials.is_empty() {
            return None;
        }
        Some(Arc::new(Chain { shared, layers, credentials }))
    }

    /// A copy of a channel's.
    pub(crate) fn of(channel: &Channel) -> Chain {
        let shared = Arc::clone(channel.shared());
        match channel.chain() {
            Some(chain) => {
                let (layers, credentials) = (chain.layers.clone(), chain.credentials.clone());
                Chain { shared, layers, credentials }
            }
            None => Chain { shared, layers: Vec::new(), credentials: CredentialsList::default() },
        }
    }

    /// With one more, outside of the others.
    pub(crate) fn with_layer(mut self, layer: Arc<dyn Layer>) -> Chain {
        self.layers.insert(0, layer);
        self
    }

    pub(crate) fn with_credentials(mut self, credentials: impl CallCredentials) -> Chain {
        self.credentials.push(credentials);
        self
    }
}
