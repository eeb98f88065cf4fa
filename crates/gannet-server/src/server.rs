//! [`Server`]: what a server is made of, before it serves.

use std::fmt;
use std::sync::Arc;

use gannet_core::compression::{Compressors, Encoding};
use gannet_core::limits;
use gannet_http2::Config;

use crate::router::{Dispatch, Router};
use crate::serving::Serving;
use crate::side::{Compute, Rules};
use crate::upkeep::UpkeepOptions;
use crate::{Bind, Service};

/// Connections a server holds at once by default.
const CONNECTIONS_MAX_DEFAULT: usize = 10_000;

/// Builds a gRPC server.
///
/// ```no_run
/// # async fn run(greeter: impl gannet_server::Service) -> Result<(), gannet_server::ServeError> {
/// use std::time::Duration;
/// let signal = async { /* for instance tokio::signal::ctrl_c().await */ };
/// gannet_server::Server::new()
///     .add(greeter)
///     .serve("[::]:50051")
///     .shutdown_on(signal, Duration::from_secs(30))
///     .await
/// # }
/// ```
#[must_use = "a server does nothing until `serve` is awaited"]
pub struct Server {
    services: Vec<Arc<dyn Service>>,
    dispatch: Vec<(String, Dispatch)>,
    compressors: Compressors,
    /// By the name of a method or a service; all by the empty name.
    compress: Vec<(String, Encoding)>,
    pub(crate) http2: Config,
    pub(crate) upkeep: UpkeepOptions,
    message_receive_bytes_max: usize,
    message_send_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) threads: usize,
    pub(crate) binds: Vec<Bind>,
}

impl Server {
    /// A server without services, with default limits.
    pub fn new() -> Server {
        Server {
            services: Vec::new(),
            dispatch: Vec::new(),
            compressors: Compressors::new(),
            compress: Vec::new(),
            http2: Config::default(),
            upkeep: UpkeepOptions::default(),
            message_receive_bytes_max: limits::MESSAGE_RECEIVE_BYTES_MAX_DEFAULT,
            message_send_bytes_max: limits::MESSAGE_SEND_BYTES_MAX_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            threads: 0,
            binds: Vec::new(),
        }
    }

    #[allow(clippy::should_implement_trait)] // The name users know; it takes no second server.
    /// Adds a service. Of two services with the same name the later one answers.
    pub fn add(mut self, service: impl Service) -> Server {
        self.services.push(Arc::new(service));
        self
    }

    /// Says where calls run: of one method (`"/pkg.Service/Method"`) or of a whole service
    /// (`"pkg.Service"`). Without this, methods run inline until their polls prove long, and then
    /// as [`Dispatch::Compute`]; to say so beforehand spares the neighbours of the first such calls
    /// the wait.
    pub fn dispatch(mut self, name: impl Into<String>, dispatch: Dispatch) -> Server {
        self.dispatch.push((name.into(), dispatch));
        self
    }

    /// Sets the encodings that requests may be compressed with, and responses (default: none). They
    /// are advertised with every response; a request in another one ends with UNIMPLEMENTED.
    pub fn compressors(mut self, compressors: Compressors) -> Server {
        self.compressors = compressors;
        self
    }

    /// Compresses responses with `encoding`, one of the [compressors](Self::compressors), where the
    /// client accepts that and the handler does not [say otherwise](crate::Call::compress). Without
    /// this, responses are compressed where the handler says so.
    pub fn compress(self, encoding: Encoding) -> Server {
        self.compress_calls_of("", encoding)
    }

    /// As [`compress`](Self::compress), for the responses of one method
    /// (`"/pkg.Service/Method"`) or of a whole service (`"pkg.Service"`). What is said last counts.
    pub fn compress_calls_of(mut self, name: impl Into<String>, encoding: Encoding) -> Server {
        self.compress.push((name.into(), encoding));
        self
    }

    /// Sets the largest message that is received, in bytes (default 4 MiB), compressed and
    /// decompressed. A larger one ends its call with RESOURCE_EXHAUSTED.
    pub fn max_receive_bytes(mut self, bytes: usize) -> Server {
        self.message_receive_bytes_max = bytes;
        self
    }

    /// Sets the largest message that is sent, in bytes before compression (default 2 GiB - 1). A
    /// larger one ends its call with RESOURCE_EXHAUSTED.
    pub fn max_send_bytes(mut self, bytes: usize) -> Server {
        self.message_send_bytes_max = bytes;
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

    /// Listens on one more address besides the one given to [`serve`](Self::serve).
    pub fn listen(mut self, bind: impl Into<Bind>) -> Server {
        self.binds.push(bind.into());
        self
    }

    /// Serves once the result is awaited.
    pub fn serve(self, bind: impl Into<Bind>) -> Serving {
        Serving::new(self.listen(bind))
    }

    /// An encoding that responses are to be compressed with, and that is not there.
    pub(crate) fn missing_compressor(&self) -> Option<Encoding> {
        let missing = |encoding: &Encoding| {
            !encoding.is_identity() && self.compressors.find(encoding.name().as_bytes()).is_none()
        };
        self.compress.iter().map(|(_, encoding)| *encoding).find(missing)
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        let compressors = &self.compressors;
        let compress: Vec<_> = self
            .compress
            .iter()
            .map(|(name, encoding)| (name.clone(), compressors.find(encoding.name().as_bytes())))
            .collect();
        Arc::new(Rules {
            router: Arc::new(Router::new(&self.services, &self.dispatch, &compress)),
            compressors: compressors.clone(),
            message_receive_bytes_max: self.message_receive_bytes_max,
            message_send_bytes_max: self.message_send_bytes_max,
            compute: Compute::default(),
        })
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.services.iter().map(|service| service.descriptor().name).collect();
        f.debug_struct("Server")
            .field("services", &names)
            .field("binds", &self.binds)
            .field("compressors", &self.compressors)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
