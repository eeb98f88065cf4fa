//! Interceptors: code of the application around whole calls.
//!
//! An [`Interceptor`] owns the call before its request is decoded, and decides: it may change what
//! the handler will see, go on with [`Next::run`], look at and change what came of that, or answer
//! by itself. Several wrap each other, those that were added first outermost.
//!
//! They run where the handler runs, as a part of its future: the chain of a call is one future for
//! its connection, with the handler's at the core, each in storage that the next call uses again.
//! A method without interceptors has none of this.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `incoming` | a call on its way to its handler |
//! | `next` | the rest of a chain, and running it |
//! | `handled` | a call on its way back, and how its state is not lost |
//! | `extras` | what is done besides: streams that are wrapped, deadlines |

mod extras;
mod handled;
mod incoming;
mod next;

use std::future::Future;
use std::sync::Arc;

use gannet_core::Result;

use crate::service::{Handler, Outcome, install};
pub use handled::Handled;
pub(crate) use handled::Stash;
pub use incoming::Incoming;
pub use next::Next;
pub(crate) use next::{Chain, intercept};

/// Wraps calls of a server: see [`Server::intercept`](crate::Server::intercept).
///
/// Implemented for closures that return a future, which is how most are written:
///
/// ```
/// # use gannet::Status;
/// use gannet::Server;
/// use gannet::server::{Incoming, Next};
///
/// #[derive(Debug)]
/// struct User(String);
///
/// # let server: Server =
/// Server::new().intercept(|mut call: Incoming, next: Next| async move {
///     match call.metadata().get("authorization") {
///         Some("Bearer open sesame") => call.extensions_mut().insert(User("ali".into())),
///         _ => return Err(Status::unauthenticated("who are you?")),
///     }
///     next.run(call).await
/// })
/// # ;
/// ```
///
/// and for types of one's own, with an `async fn`:
///
/// ```
/// # use gannet::Result;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use gannet::server::{Handled, Incoming, Interceptor, Next};
///
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Interceptor for Failures {
///     async fn intercept(&self, call: Incoming, next: Next) -> Result<Handled> {
///         let result = next.run(call).await;
///         if result.is_err() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///         result
///     }
/// }
/// ```
///
/// A call runs in the task of its connection unless [`Dispatch`](crate::Dispatch) says otherwise,
/// and so does the interceptor: its polls count in what is known of the method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not intercept calls of a server",
    note = "write `|call: Incoming, next: Next| async move {{ next.run(call).await }}`, with the \
            types of both arguments, or implement the trait"
)]
pub trait Interceptor: Send + Sync + 'static {
    /// Wraps one call. What it returns is the call's outcome; an error is sent as the handler's
    /// would be.
    ///
    /// # Cancel safety
    /// The future is dropped where nobody waits for the call any more: its deadline passed, the
    /// client cancelled, or its connection was lost. A panic ends the call with UNKNOWN.
    fn intercept(&self, call: Incoming, next: Next)
    -> impl Future<Output = Result<Handled>> + Send;

    /// Of which services (`"pkg.Service"`) and methods (`"/pkg.Service/Method"`) it is told
    /// something: `serve` fails with [`ServeError::UnknownName`](crate::ServeError::UnknownName)
    /// where the server has none of that name, so that no rule is lost to a misspelt one.
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl<F, Fut> Interceptor for F
where
    F: Fn(Incoming, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Handled>> + Send,
{
    fn intercept(
        &self,
        call: Incoming,
        next: Next,
    ) -> impl Future<Output = Result<Handled>> + Send {
        self(call, next)
    }
}

/// An interceptor of any type.
pub(crate) trait Layer: Send + Sync {
    /// Puts its future into the lent storage.
    fn begin(self: Arc<Self>, call: Incoming, next: Next, storage: &mut Option<Handler>);

    /// Of what it is told something.
    fn speaks_of(&self) -> Vec<&str>;
}

impl<I: Interceptor> Layer for I {
    fn begin(self: Arc<Self>, call: Incoming, next: Next, storage: &mut Option<Handler>) {
        let home = call.home();
        // The future is made where it will lie: with all that is within it, it is long.
        let intercepted = move || async move {
            let result = self.intercept(call, next).await;
            home.receive(result)
        };
        let _ = install(storage, intercepted, |call, result| Outcome { call, result });
    }

    fn speaks_of(&self) -> Vec<&str> {
        self.names()
    }
}
