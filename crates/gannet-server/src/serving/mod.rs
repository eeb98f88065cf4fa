//! A server at work: listeners, accept loops, and its end.
//!
//! Shutdown: listeners close at once; each connection drains (GOAWAY, PING, GOAWAY with the last
//! stream) and ends with its last call; what is left after the grace period is cut off.

mod accept;
mod threads;

use std::fmt;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gannet_core::compression::Encoding;
use gannet_transport::{ListenError, Listener};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Bind, Server};
use accept::Host;

/// What a server says outside of any runtime.
const NO_RUNTIME: &str = "a server needs a tokio runtime: await it under #[tokio::main], or in \
                          Runtime::block_on";

/// A server that was told where to listen. Await it.
///
/// It is no future itself, as there is more to be said to it, but becomes one: `.await` does that
/// by itself, while `tokio::spawn`, `join!` and `select!` want to be given it.
///
/// ```no_run
/// # fn run(greeter: impl gannet::server::Service) {
/// # use gannet::Server;
/// let serving = Server::new().add(greeter).serve("[::]:50051");
/// let served = tokio::spawn(serving.into_future());
/// # }
/// ```
#[must_use = "a server does nothing until it is awaited"]
pub struct Serving {
    server: Server,
    signal: Pin<Box<dyn Future<Output = ()> + Send>>,
    grace: Duration,
}

/// How far a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It accepts connections.
    Serving,
    /// It finishes the calls it has, until this moment at the latest.
    Draining { until: Instant },
}

impl Serving {
    pub(crate) fn new(server: Server) -> Serving {
        Serving { server, signal: Box::pin(pending()), grace: Duration::ZERO }
    }

    /// Shuts the server down gracefully when `signal` is ready: it takes no new connections and
    /// calls, and waits for those it has at most `grace` long.
    pub fn shutdown_on<F>(mut self, signal: F, grace: Duration) -> Serving
    where
        F: Future + Send + 'static,
    {
        self.signal = Box::pin(async move {
            signal.await;
        });
        self.grace = grace;
        self
    }

    /// What can be said before anything is done.
    fn check(&self) -> Result<(), ServeError> {
        let plan = &self.server.plan;
        if let Some(encoding) = plan.missing_compressor() {
            return Err(ServeError::Compressor(encoding));
        }
        if let Some(name) = plan.unknown_name() {
            return Err(ServeError::UnknownName(name.to_owned()));
        }
        if let Some(name) = plan.name_of_two() {
            return Err(ServeError::NameOfTwo(name.to_owned()));
        }
        if Handle::try_current().is_err() {
            return Err(ServeError::Runtime(io::Error::other(NO_RUNTIME)));
        }
        Ok(())
    }

    async fn run(mut self) -> Result<(), ServeError> {
        self.check()?;
        let shared = self.server.threads > 1;
        let mut listeners = Vec::new();
        for bind in std::mem::take(&mut self.server.binds) {
            listeners.push(Bind::listen(bind, shared)?);
        }
        let services = self.server.plan.services.clone();
        let descriptors: Vec<_> = services.iter().map(|service| service.descriptor()).collect();
        services.iter().for_each(|service| service.serving(&descriptors));
        let host = Arc::new(Host::new(&mut self.server));
        let (phase, watched) = watch::channel(Phase::Serving);
        let mut loops = JoinSet::new();
        if self.server.threads == 0 {
            for listener in listeners {
                let acceptor = listener.into_acceptor()?;
                loops.spawn(accept::accept_loop(acceptor, Arc::clone(&host), watched.clone()));
            }
        } else {
            threads::start(&mut loops, self.server.threads, listeners, &host, &watched)?;
        }
        drop(watched);
        drop(self.server);
        let mut signal = Some(self.signal);
        let grace = self.grace;
        poll_fn(|cx| {
            if let Some(waiting) = &mut signal
                && waiting.as_mut().poll(cx).is_ready()
            {
                signal = None;
                services.iter().for_each(|service| service.draining());
                let until = Instant::now().checked_add(grace).unwrap_or_else(far_future);
                let _ = phase.send(Phase::Draining { until });
            }
            loop {
                match loops.poll_join_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Ok(Ok(())))) => {}
                    Poll::Ready(Some(Ok(Err(error)))) => return Poll::Ready(Err(error)),
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(ServeError::Runtime(io::Error::other(error))));
                    }
                }
            }
        })
        .await
    }
}

impl IntoFuture for Serving {
    type Output = Result<(), ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Ends when every listener and connection has ended: after a shutdown, or, in process, when
    /// all connectors are gone.
    ///
    /// Dropping it cuts everything off, not quite at once: listeners and connections belong to
    /// tasks or threads of their own, which end a moment later. Who wants to listen on the same
    /// address right after it shuts it down by [`shutdown_on`](Serving::shutdown_on), with a grace
    /// of zero if need be, and awaits its end: then the address is free.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("server", &self.server)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// Why a server cannot serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// It cannot listen on an address.
    Listen(ListenError),
    /// It is to compress with an encoding that is not among its compressors.
    Compressor(Encoding),
    /// One of its threads or runtimes could not be started, or died.
    Runtime(io::Error),
    /// Something was said of a service or method of this name, and none of the server's has it.
    UnknownName(String),
    /// Two of its services have this name.
    NameOfTwo(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Listen(error) => error.fmt(f),
            ServeError::Compressor(encoding) => {
                write!(f, "the server is to compress with {encoding}, and has no such compressor")
            }
            ServeError::Runtime(_) => f.write_str("a runtime of the server could not go on"),
            ServeError::UnknownName(name) => write!(
                f,
                "the server has options or interceptors for {name:?}, but no service or method of \
                 that name: methods are named as in \"/pkg.Service/Method\", services as in \
                 \"pkg.Service\""
            ),
            ServeError::NameOfTwo(name) => {
                write!(
                    f,
                    "two services of the server are named {name:?}: one would never be called"
                )
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Listen(error) => error.source(),
            ServeError::Compressor(_) => None,
            ServeError::Runtime(error) => Some(error),
            ServeError::UnknownName(_) | ServeError::NameOfTwo(_) => None,
        }
    }
}

impl From<ListenError> for ServeError {
    fn from(error: ListenError) -> Self {
        ServeError::Listen(error)
    }
}

/// Serves one thread's share of the listeners, on that thread's runtime.
pub(crate) async fn accept_all(
    listeners: Vec<Listener>,
    host: Arc<Host>,
    phase: watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let mut loops = JoinSet::new();
    for listener in listeners {
        let acceptor = listener.into_acceptor()?;
        loops.spawn(accept::accept_loop(acceptor, Arc::clone(&host), phase.clone()));
    }
    drop(phase);
    while let Some(ended) = loops.join_next().await {
        ended.map_err(|error| ServeError::Runtime(io::Error::other(error)))??;
    }
    Ok(())
}

/// As long as tokio can wait.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365 * 30)
}

/// Waits for `future`, at most until `until`; whether it was ready.
pub(crate) async fn wait_until(until: Instant, future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    tokio::time::timeout_at(until, future.as_mut()).await.is_ok()
}
