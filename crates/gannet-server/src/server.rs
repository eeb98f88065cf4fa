//! [`Server`]: what a server is made of, before it serves.

use std::fmt;
use std::sync::Arc;

use gannet_core::compression::{Compressors, Encoding};
use gannet_http2::Config;
use gannet_transport::observe::{CallObserver, Observers};
use gannet_transport::{CloseReason, Peer};

use crate::router::{Plan, Router};
use crate::serving::Serving;
use crate::side::{Compute, Rules};
use crate::upkeep::UpkeepOptions;
use crate::{Bind, Interceptor, MethodOptions, Service};

/// Connections a server holds at once by default.
const CONNECTIONS_MAX_DEFAULT: usize = 10_000;

/// Builds a gRPC server.
///
/// ```no_run
/// # use gannet::server::{ServeError, Service};
/// # async fn run(greeter: impl Service) -> Result<(), ServeError> {
/// use std::time::Duration;
/// let signal = async { /* for instance tokio::signal::ctrl_c().await */ };
/// gannet::Server::new()
///     .add(greeter)
///     .serve("[::]:50051")
///     .shutdown_on(signal, Duration::from_secs(30))
///     .await
/// # }
/// ```
#[must_use = "a server does nothing until `serve` is awaited"]
pub struct Server {
    pub(crate) plan: Plan,
    pub(crate) http2: Config,
    pub(crate) upkeep: UpkeepOptions,
    pub(crate) connections_max: usize,
    pub(crate) threads: usize,
    pub(crate) binds: Vec<Bind>,
    on_connection_error: Option<OnConnectionError>,
    observers: Observers,
    rounds_ignore_time: bool,
}

impl Server {
    /// A server without services, with default limits.
    pub fn new() -> Server {
        Server {
            plan: Plan::default(),
            http2: Config::default(),
            upkeep: UpkeepOptions::default(),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            threads: 0,
            binds: Vec::new(),
            on_connection_error: None,
            observers: Observers::default(),
            rounds_ignore_time: false,
        }
    }

    #[allow(clippy::should_implement_trait)] // The name users know; it takes no second server.
    /// Adds a service. Two of one name fail [`serve`](Self::serve).
    pub fn add(mut self, service: impl Service) -> Server {
        self.plan.services.push(Arc::new(service));
        self
    }

    /// Wraps every call in `interceptor`: an async closure, or a type that implements
    /// [`Interceptor`], where there are examples. Several wrap each other: those that were added
    /// first are outermost, [`intercept_on`](Self::intercept_on) included. Requests that no method
    /// answers are not calls.
    pub fn intercept(mut self, interceptor: impl Interceptor) -> Server {
        self.plan.interceptors.push((None, Arc::new(interceptor)));
        self
    }

    /// Wraps the calls of one method (`"/pkg.Service/Method"`) or of a whole service
    /// (`"pkg.Service"`) in `interceptor`. A name that no service of the server has fails
    /// [`serve`](Self::serve).
    pub fn intercept_on(
        mut self,
        name: impl Into<String>,
        interceptor: impl Interceptor,
    ) -> Server {
        self.plan.interceptors.push((Some(name.into()), Arc::new(interceptor)));
        self
    }

    /// Says what holds for one method (`"/pkg.Service/Method"`) or for a whole service
    /// (`"pkg.Service"`). What is said of a method counts before what is said of its service, that
    /// before what the server says of all, and otherwise what was said last. A name that no service
    /// of the server has fails [`serve`](Self::serve).
    pub fn method(mut self, name: impl Into<String>, options: MethodOptions) -> Server {
        self.plan.options.push((name.into(), options));
        self
    }

    /// Sets the encodings that requests may be compressed with, and responses (default: none). They
    /// are advertised with every response; a request in another one ends with UNIMPLEMENTED.
    pub fn compressors(mut self, compressors: Compressors) -> Server {
        self.plan.compressors = compressors;
        self
    }

    /// Compresses responses with `encoding`, one of the [compressors](Self::compressors), where the
    /// client accepts that and the handler does not [say otherwise](crate::Call::compress). Without
    /// this, responses are compressed where the handler says so.
    pub fn compress(mut self, encoding: Encoding) -> Server {
        self.plan.compress = encoding;
        self
    }

    /// Sets the largest message that is received, in bytes (default 4 MiB), compressed and
    /// decompressed. A larger one ends its call with RESOURCE_EXHAUSTED.
    pub fn max_receive_bytes(mut self, bytes: usize) -> Server {
        self.plan.receive_bytes_max = bytes;
        self
    }

    /// Sets the largest message that is sent, in bytes before compression (default 2 GiB - 1). A
    /// larger one ends its call with RESOURCE_EXHAUSTED.
    pub fn max_send_bytes(mut self, bytes: usize) -> Server {
        self.plan.send_bytes_max = bytes;
        self
    }

    /// Sets how many connections are held at once (default 10,000). More wait in the listener's
    /// backlog.
    pub fn max_connections(mut self, connections: usize) -> Server {
        self.connections_max = connections.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the limits and windows of HTTP/2, among them the deadline of the handshake.
    pub fn http2(mut self, config: Config) -> Server {
        self.http2 = config;
        self
    }

    /// Serves on `threads` threads of the server's own, each with a single-threaded runtime and,
    /// for TCP addresses given as such, its own SO_REUSEPORT socket. 0, the default, serves on the
    /// runtime that awaits the server.
    pub fn threads(mut self, threads: usize) -> Server {
        self.threads = threads;
        self
    }

    /// Calls `hook` with each connection that failed, and why: a handshake that TLS refused, a peer
    /// that speaks something else or breaks HTTP/2, a socket that was lost in the middle of calls.
    /// Not with those that ended in good order or were cut off by this server.
    ///
    /// It is called in the connection's task and must not block. A peer can call it as often as it
    /// can connect, so a log should count rather than write each.
    pub fn on_connection_error(
        mut self,
        hook: impl Fn(&Peer, &CloseReason) + Send + Sync + 'static,
    ) -> Server {
        self.on_connection_error = Some(OnConnectionError(Box::new(hook)));
        self
    }

    /// Has `observer` follow all calls, those included that no method answers: for telemetry.
    /// Several do so independently of each other.
    pub fn observe(mut self, observer: impl CallObserver) -> Server {
        self.observers.add(observer);
        self
    }

    /// For programs whose instructions are counted, which makes them slow: a round of handlers ends
    /// by how many were polled, not by how long that took. One that is slow then keeps others
    /// waiting, so a server has no use for it.
    #[doc(hidden)]
    pub fn rounds_ignore_time(mut self) -> Server {
        self.rounds_ignore_time = true;
        self
    }

    /// Listens on one more address besides the one given to [`serve`](Self::serve).
    pub fn listen(mut self, bind: impl Into<Bind>) -> Server {
        self.binds.push(bind.into());
        self
    }

    /// Serves once the result is awaited. To give it to a task of its own, spawn the future that
    /// it becomes: `tokio::spawn(server.serve(address).into_future())`.
    pub fn serve(self, bind: impl Into<Bind>) -> Serving {
        Serving::new(self.listen(bind))
    }

    pub(crate) fn rules(&mut self) -> Arc<Rules> {
        Arc::new(Rules {
            router: Arc::new(Router::new(&self.plan)),
            compressors: self.plan.compressors.clone(),
            compute: Compute::default(),
            on_connection_error: self.on_connection_error.take(),
            observers: std::mem::take(&mut self.observers),
            rounds_ignore_time: self.rounds_ignore_time,
        })
    }
}

/// Told about connections that failed.
pub(crate) struct OnConnectionError(Box<ConnectionHook>);

type ConnectionHook = dyn Fn(&Peer, &CloseReason) + Send + Sync;

impl OnConnectionError {
    /// Tells, where it is an error.
    pub(crate) fn tell(&self, peer: &Peer, reason: &CloseReason) {
        if matches!(reason, CloseReason::Io(_) | CloseReason::Protocol(_)) {
            (self.0)(peer, reason);
        }
    }
}

impl fmt::Debug for OnConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnConnectionError").finish_non_exhaustive()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.plan.services.iter();
        let names: Vec<_> = services.map(|service| service.descriptor().name).collect();
        f.debug_struct("Server")
            .field("services", &names)
            .field("binds", &self.binds)
            .field("compressors", &self.plan.compressors)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
