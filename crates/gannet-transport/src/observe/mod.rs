//! Observers of calls: what telemetry is built on (gRFC A66, "CallTracer").
//!
//! A [`CallObserver`] is set on a server or a channel and makes a state for each call that it wants
//! to follow. That state is told what happens: attempts, messages with their sizes, headers, the
//! end. It can add metadata to what a client sends and read what a server received, by which a
//! trace goes on in another process, and it stands around the polls of a server's handler, so that
//! what is recorded in there belongs to the call.
//!
//! A call without observers pays a look at an empty list, and for carrying and dropping pointers
//! that are null: some 20 instructions on a server, 9 on a client (DESIGN.md). With one it pays for
//! the state that this makes, which is shared and takes no lock: what is told comes from the
//! connection's task and from the application's, each as it goes. Observers see, and change
//! nothing: that is for interceptors.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `events` | what observers are told |
//! | `connection` | the same of a channel's connections |
//! | `several` | more than one observer |
//!
//! Reads no clock: those who tell of a moment do, the runtime's.

mod connection;
mod events;
mod several;

use gannet_core::Metadata;
use std::sync::Arc;

pub use connection::{ConnectionChange, ConnectionEvent, Disconnect};
pub use events::{
    AttemptStart, ClientCallStart, Ended, HealthUnchecked, MessageEvent, ServerCallStart,
};
pub use several::Observers;

/// Follows calls of a server or of a channel. One value may follow both.
///
/// Everything here is called where calls are made and served, often on a connection's own task: it
/// must be quick, and must neither block nor panic.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use gannet_transport::observe::{CallObserver, Ended, ServerCallObserver, ServerCallStart};
///
/// #[derive(Default)]
/// struct Failures(Arc<AtomicU64>);
///
/// struct OneCall(Arc<AtomicU64>);
///
/// impl CallObserver for Failures {
///     fn server_call(&self, _: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
///         Some(Arc::new(OneCall(Arc::clone(&self.0))))
///     }
/// }
///
/// impl ServerCallObserver for OneCall {
///     fn ended(&self, end: &Ended<'_>) {
///         if !end.code.is_ok() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait CallObserver: Send + Sync + 'static {
    /// A client begins a call, in the application's task and before it encodes the request; what
    /// follows this one.
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let _ = call;
        None
    }

    /// A request has come; what follows the call. Also for one that no method answers, but not for
    /// what is no gRPC at all.
    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let _ = call;
        None
    }

    /// A channel that checks the health of its servers is connected to one that cannot be asked
    /// (UNIMPLEMENTED), and that counts as healthy (gRFC A17). Once for each connection.
    fn health_unchecked(&self, server: &HealthUnchecked<'_>) {
        let _ = server;
    }

    /// Something has become of a connection of a channel's, or of an attempt at one (gRFC A94).
    /// What comes first is mostly told first, but by several tasks.
    fn connection(&self, event: &ConnectionEvent<'_>) {
        let _ = event;
    }
}

/// Follows one call of a client, from its making until the application has its outcome. Of a stream
/// this and what follows its attempts are kept as long as the application has a half of that, which
/// may be for longer: what is to go with the end is let go when that is told.
pub trait ClientCallObserver: Send + Sync {
    /// The call is tried, mostly for the first time, before a connection is looked for; what
    /// follows this attempt. `metadata` is what will be sent, with what credentials give coming
    /// behind it: what is inserted here is sent with this attempt.
    fn attempt(
        &self,
        attempt: &AttemptStart,
        metadata: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let _ = (attempt, metadata);
        None
    }

    /// The channel's name resolver has found addresses that the call has waited for. Not where they
    /// were known, or came at once, as a list of addresses does.
    fn resolved(&self) {}

    /// The application has the outcome, or has given the call up: CANCELLED then, or a failure that
    /// it was told of last, as a message that it could not decode or send. Once.
    fn ended(&self, end: &Ended<'_>) {
        let _ = end;
    }
}

/// Follows one attempt of a client's call.
///
/// Messages and the end are told when the application comes to them, so that a stream that is not
/// read does not end.
pub trait ClientAttemptObserver: Send + Sync {
    /// The attempt has a connection, to `peer`; `is_delayed` where it had to wait for one.
    fn picked(&self, peer: &str, is_delayed: bool) {
        let _ = (peer, is_delayed);
    }

    /// The response's headers have come, before a message. Not where the whole response is a
    /// status.
    fn headers(&self) {}

    /// A message was sent or received.
    fn message(&self, message: &MessageEvent) {
        let _ = message;
    }

    /// How the attempt ended. Once, and last.
    fn ended(&self, end: &Ended<'_>) {
        let _ = end;
    }
}

/// Follows one call of a server, until that has ended: it is dropped then, whatever is left of the
/// call, or when a poll of its handler returns that goes on elsewhere.
pub trait ServerCallObserver: Send + Sync {
    /// A message was received or sent.
    fn message(&self, message: &MessageEvent) {
        let _ = message;
    }

    /// The response's headers go out, before a message. Not where the whole response is a status.
    fn headers(&self) {}

    /// Polls the call's handler, with all interceptors, by calling `poll` once. What is set up
    /// around that, such as a current span, holds for what the handler does.
    fn scope(&self, poll: &mut dyn FnMut()) {
        poll();
    }

    /// The response's end goes out, the client gave up, or the connection was lost. Once, and last.
    fn ended(&self, end: &Ended<'_>) {
        let _ = end;
    }
}

impl<T: CallObserver + ?Sized> CallObserver for Arc<T> {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        (**self).client_call(call)
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        (**self).server_call(call)
    }

    fn health_unchecked(&self, server: &HealthUnchecked<'_>) {
        (**self).health_unchecked(server);
    }

    fn connection(&self, event: &ConnectionEvent<'_>) {
        (**self).connection(event);
    }
}
