//! How a channel is made. Nothing is connected or spawned here.

use std::sync::Arc;
use std::time::Duration;

use gannet_core::compression::{Compressors, Encoding};
use gannet_core::limits;
use gannet_transport::PipeConnector;
use gannet_transport::observe::{CallObserver, Observers};
use gannet_transport::tls::ClientTls;

use super::config::Balance;
use super::defaults::{CallDefaults, Defaults};
use super::keepalive::KeepaliveOptions;
use super::{Channel, Config, HealthCheck, Shared};
use crate::credentials::CredentialsList;
use crate::host::authority_problem;
use crate::intercept::{Chain, Layer};
use crate::name::{AnyResolver, Dns, Endpoint, Fixed, Lookups, Resolver, Schemes, TargetUri};
use crate::policy::{BackoffConfig, PickFirst, Policy, RESOLVE_INTERVAL_MIN};
use crate::target::{Names, Target, TargetError};
use crate::{CallCredentials, Interceptor};

/// What this library calls itself in `user-agent`.
const USER_AGENT: &str = concat!("grpc-rust-gannet/", env!("CARGO_PKG_VERSION"));

/// Builds a [`Channel`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ChannelBuilder {
    target: String,
    connector: Option<PipeConnector>,
    resolver: Option<Arc<dyn AnyResolver>>,
    schemes: Schemes,
    resolve_interval_min: Duration,
    balance: Balance,
    idle_timeout: Option<Duration>,
    health: Option<String>,
    client_tls: Option<ClientTls>,
    authority: Option<String>,
    user_agent: Option<String>,
    backoff: BackoffConfig,
    connect_timeout: Option<Duration>,
    http2: gannet_http2::Config,
    keepalive: KeepaliveOptions,
    receive_bytes_max: usize,
    send_bytes_max: usize,
    wait_for_ready: bool,
    compressors: Compressors,
    compress: Encoding,
    defaults: Defaults,
    layers: Vec<Arc<dyn Layer>>,
    credentials: CredentialsList,
    credentials_without_tls: bool,
    observers: Observers,
}

impl ChannelBuilder {
    pub(super) fn new(target: String) -> ChannelBuilder {
        ChannelBuilder {
            target,
            connector: None,
            resolver: None,
            schemes: Schemes::default(),
            resolve_interval_min: RESOLVE_INTERVAL_MIN,
            balance: Balance(Arc::new(|| Box::new(PickFirst::new()))),
            idle_timeout: Some(IDLE_TIMEOUT),
            health: None,
            client_tls: None,
            authority: None,
            user_agent: None,
            backoff: BackoffConfig::default(),
            connect_timeout: None,
            http2: gannet_http2::Config::default(),
            keepalive: KeepaliveOptions::default(),
            receive_bytes_max: limits::MESSAGE_RECEIVE_BYTES_MAX_DEFAULT,
            send_bytes_max: limits::MESSAGE_SEND_BYTES_MAX_DEFAULT,
            wait_for_ready: false,
            compressors: Compressors::new(),
            compress: Encoding::IDENTITY,
            defaults: Defaults::default(),
            layers: Vec::new(),
            credentials: CredentialsList::default(),
            credentials_without_tls: false,
            observers: Observers::default(),
        }
    }

    /// Connects through an in-process pipe. The target is a name for messages then, and not parsed.
    /// In place of a resolver: with [`resolver`](Self::resolver), addresses lead to pipes by
    /// [`Address::in_process`](crate::name::Address::in_process).
    pub fn connector(mut self, connector: PipeConnector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Has `resolver` tell the servers' addresses: an [`AddressList`](crate::name::AddressList), or
    /// one of the application's own. The target is a name for messages then, and not parsed.
    ///
    /// Where it is a host, with a port or without one, that is the authority, unless another is
    /// [set](Self::authority): `svc.example:443`, or what stands behind the slash of
    /// `scheme://…/svc.example:443`. Else the authority is `localhost`. `https://` wants
    /// [`tls`](Self::tls) here, too, and `http://` none.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Has targets `scheme:…` and `scheme://authority/…` resolved by what `make` makes of them, in
    /// place of what the library does itself, where it knows the scheme. What `make` says is wrong
    /// becomes the error of [`build`](Self::build).
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// use gannet_client::{Channel, name::AddressList};
    ///
    /// # fn example() -> Result<(), gannet_client::TargetError> {
    /// let channel = Channel::builder("ports:///7001+7002")
    ///     .scheme("ports", |target| {
    ///         let ports = target.path.split('+').map(|port| {
    ///             let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    ///             Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    ///         });
    ///         Ok(AddressList::new(ports.collect::<Result<Vec<_>, String>>()?))
    ///     })
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn scheme<R: Resolver>(
        mut self,
        scheme: impl Into<String>,
        make: impl Fn(&TargetUri<'_>) -> Result<R, String> + Send + Sync + 'static,
    ) -> Self {
        self.schemes.add(scheme.into(), make);
        self
    }

    /// How long after a DNS name was resolved it may be resolved again (default 30 s). It is when
    /// connections fail or are lost, and, with pauses as between attempts to connect, after an
    /// error.
    pub fn resolve_interval_min(mut self, interval: Duration) -> Self {
        self.resolve_interval_min = interval;
        self
    }

    /// The load balancing policy, by what makes one (default: [`PickFirst::new`]). It is called
    /// whenever the channel leaves the idle state.
    ///
    /// ```
    /// # use gannet_client::Channel;
    /// use gannet_client::policy::{PickFirst, RoundRobin};
    /// # fn example() -> Result<(), gannet_client::TargetError> {
    /// let spread = Channel::builder("dns:///svc:50051").balance(RoundRobin::new).build()?;
    /// let one_of = Channel::builder("dns:///svc:50051")
    ///     .balance(|| PickFirst::new().shuffled())
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn balance<P: Policy>(mut self, make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        self.balance = Balance(Arc::new(move || Box::new(make())));
        self
    }

    /// Asks each server that is connected how `service` feels, by `grpc.health.v1.Health/Watch`
    /// (gRFC A17; default: nobody asks). Empty is the server as a whole. A server that does not say
    /// SERVING counts as not connected, until it does; its connection stays, and so do the calls on
    /// it. One that does not know the method counts as well, of which the channel's
    /// [observers](Self::observe) are told: `gannet-tracing` makes an event of it.
    ///
    /// The question takes one of the streams that a server allows a connection, and is no call
    /// where it matters whether there are [any](Self::idle_timeout). The channel's credentials go
    /// with it.
    pub fn health_check(mut self, service: impl Into<String>) -> Self {
        self.health = Some(service.into());
        self
    }

    /// How long a channel without calls keeps its connections (default 30 minutes, as gRPC's
    /// `connectivity-semantics-and-api.md` has it). Then it is idle: connections are closed and
    /// names not resolved, until the next call. [`Duration::MAX`]: for ever. Less than a second
    /// is a second, as in grpc-java.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout).filter(|timeout| *timeout != Duration::MAX);
        self
    }

    /// Speaks TLS. The server's certificate must be for the authority's host, unless `tls` names
    /// another.
    #[cfg(any(feature = "tls", feature = "tls-ring"))]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.client_tls = Some(tls);
        self
    }

    /// The `:authority` of requests, in place of the target's host and port: `host` or `host:port`.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// What the application calls itself; goes before the library's name in `user-agent`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// When to try again after a connection could not be made (default: gRPC's, 1 s growing by 1.6
    /// to 120 s).
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt to connect may take, up to the server's SETTINGS, and one lookup of a
    /// DNS name; in place of what [`backoff`](Self::backoff) says, whichever is called first. One
    /// that no clock can express is none.
    ///
    /// By default gRPC's rule holds: 20 s, and where the pause until the next attempt has grown
    /// beyond that, as long as the pause.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// When to connect, with what was said of how long that may take.
    fn whole_backoff(&self) -> BackoffConfig {
        let mut backoff = self.backoff.clone();
        if let Some(timeout) = self.connect_timeout {
            (backoff.connect_timeout, backoff.connect_timeout_max) = (timeout, timeout);
        }
        backoff
    }

    /// Limits and windows of the HTTP/2 connection.
    pub fn http2(mut self, config: gannet_http2::Config) -> Self {
        self.http2 = config;
        self
    }

    /// The encodings that requests may be compressed with, and responses, to which servers are told
    /// so (default: none).
    pub fn compressors(mut self, compressors: Compressors) -> Self {
        self.compressors = compressors;
        self
    }

    /// Compresses requests with `encoding`, one of the [compressors](Self::compressors), where a
    /// call does not say otherwise (default: [`Encoding::IDENTITY`]). A server that does not know
    /// it fails the call with UNIMPLEMENTED.
    pub fn compress(mut self, encoding: Encoding) -> Self {
        self.compress = encoding;
        self
    }

    /// Keepalive (gRFC A8): how long the server may be silent, while there are calls, before it is
    /// asked by a PING whether it is still there. Off by default, and with [`Duration::MAX`]. Less
    /// than 10 s is 10 s, as in other gRPC clients.
    ///
    /// Servers object to much fewer PINGs than one each 10 s: without a setting of their own they
    /// end a connection after a few that come within 5 minutes of each other. The channel's next
    /// connection then waits twice as long.
    pub fn keepalive_time(mut self, time: Duration) -> Self {
        self.keepalive.time = time;
        self
    }

    /// How long after a PING of keepalive nothing must have come, before the connection is given up
    /// and its calls end with UNAVAILABLE (default 20 s; at least 10 ms). Where keepalive is on,
    /// this is TCP_USER_TIMEOUT too (gRFC A18; on Linux, Android and Fuchsia): sent bytes that are
    /// not acknowledged for as long end the connection.
    pub fn keepalive_timeout(mut self, timeout: Duration) -> Self {
        self.keepalive.timeout = timeout;
        self
    }

    /// Whether keepalive goes on while there are no calls (default: no). Most servers permit no
    /// more than one PING in two hours then.
    pub fn keepalive_without_calls(mut self, on: bool) -> Self {
        self.keepalive.without_calls = on;
        self
    }

    /// The largest response message of calls that do not say otherwise, bytes, compressed and
    /// decompressed (default 4 MiB).
    pub fn max_receive_bytes(mut self, bytes: usize) -> Self {
        self.receive_bytes_max = bytes;
        self
    }

    /// The largest request message of calls that do not say otherwise, bytes (default 2 GiB - 1).
    pub fn max_send_bytes(mut self, bytes: usize) -> Self {
        self.send_bytes_max = bytes;
        self
    }

    /// Whether calls that do not say otherwise wait while the channel cannot connect, instead of
    /// failing (default: they fail).
    pub fn wait_for_ready(mut self, on: bool) -> Self {
        self.wait_for_ready = on;
        self
    }

    /// What calls of one method (`"/pkg.Service/Method"`), or of a service (`"pkg.Service"`), are
    /// made with that do not say otherwise, in place of what the channel says for all. What is said
    /// of a method goes before what is said of its service, and what is said later before what was
    /// said of the same name.
    pub fn method(mut self, name: impl Into<String>, defaults: CallDefaults) -> Self {
        self.defaults.add(name.into(), defaults);
        self
    }

    /// Wraps every call in `interceptor`: an async closure, or a type that implements
    /// [`Interceptor`], where there are examples. Several wrap each other: those that were added
    /// first are outermost.
    pub fn intercept(mut self, interceptor: impl Interceptor) -> Self {
        self.layers.push(Arc::new(interceptor));
        self
    }

    /// Sends the metadata that `credentials` give with every call: see [`CallCredentials`]. Several
    /// all do.
    pub fn credentials(mut self, credentials: impl CallCredentials) -> Self {
        self.credentials.push(credentials);
        self
    }

    /// Sends credentials over connections without TLS, too (default: such calls fail with
    /// UNAUTHENTICATED). For tests, and where everything below is protected by other means: whoever
    /// reads the connection can use them.
    pub fn allow_credentials_without_tls(mut self, on: bool) -> Self {
        self.credentials_without_tls = on;
        self
    }

    /// Has `observer` follow all calls and their attempts: for telemetry. Several do so
    /// independently of each other.
    pub fn observe(mut self, observer: impl CallObserver) -> Self {
        self.observers.add(observer);
        self
    }

    /// Makes the channel. Nothing is resolved or connected before the first call.
    ///
    /// # Errors
    /// Where the target, the authority, the user agent or a method's name is malformed, no
    /// certificate can be for the authority's host, a compressor is missing, or there are both a
    /// connector and a resolver; the error says how.
    pub fn build(self) -> Result<Channel, TargetError> {
        let (target, resolver) = self.target()?;
        if let Some(problem) = target.scheme_problem(self.client_tls.is_some()) {
            return Err(TargetError::new(&self.target, problem));
        }
        if let Some(problem) = self.coding_problem().or_else(|| self.defaults.problem()) {
            return Err(TargetError::new(&self.target, problem));
        }
        let backoff = self.whole_backoff();
        let authority = self.authority.unwrap_or_else(|| target.authority.clone());
        if let Some(why) = authority_problem(&authority) {
            let problem = format!("{authority:?} is no authority: {why}");
            return Err(TargetError::new(&self.target, problem));
        }
        let tls = self.client_tls.as_ref();
        if let Some(Err(error)) = tls.map(|tls| tls.check_authority(&authority)) {
            return Err(TargetError::new(&self.target, error.to_string()));
        }
        let user_agent = match self.user_agent {
            Some(application) => format!("{application} {USER_AGENT}"),
            None => USER_AGENT.to_owned(),
        };
        if !user_agent.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
            || user_agent.starts_with(' ')
        {
            let problem = format!("the user agent {user_agent:?} is not printable ASCII");
            return Err(TargetError::new(&self.target, problem));
        }
        let config = Config {
            target_uri: target.uri().into(),
            target,
            resolver,
            balance: self.balance,
            idle_timeout: self.idle_timeout,
            health: self
                .health
                .map(|service| HealthCheck { service, credentials: self.credentials.clone() }),
            tls: self.client_tls,
            authority,
            user_agent,
            backoff,
            http2: self.http2,
            keepalive: self.keepalive.keepalive(),
            receive_bytes_max: self.receive_bytes_max,
            send_bytes_max: self.send_bytes_max,
            wait_for_ready: self.wait_for_ready,
            compress: self.compressors.find(self.compress.name().as_bytes()),
            compressors: self.compressors,
            defaults: self.defaults,
            credentials_without_tls: self.credentials_without_tls,
            observers: self.observers,
            lookups: Lookups::default(),
        };
        let shared = Shared::new(config);
        let chain = Chain::new(Arc::clone(&shared), self.layers, self.credentials);
        Ok(Channel { shared, chain })
    }

    /// What the target stands for, and what resolves it.
    fn target(&self) -> Result<(Target, Arc<dyn AnyResolver>), TargetError> {
        let text = &self.target;
        let failed = |problem: String| TargetError::new(text, problem);
        if let Some(problem) = self.schemes.problem() {
            return Err(failed(problem));
        }
        if self.resolver.is_some() && self.connector.is_some() {
            let problem = "it has both a connector and a resolver, which can tell of pipes";
            return Err(failed(problem.into()));
        }
        if let Some(resolver) = &self.resolver {
            return Ok((Target::given(text, false), Arc::clone(resolver)));
        }
        let target = match &self.connector {
            Some(connector) => Target::connector(text, connector.clone()),
            None => {
                if let Some(uri) = TargetUri::parse(text)
                    && let Some(make) = self.schemes.find(uri.scheme)
                {
                    return Ok((Target::given(text, true), make(&uri).map_err(failed)?));
                }
                Target::parse(text)?
            }
        };
        let resolver: Arc<dyn AnyResolver> = match &target.names {
            Names::Addresses(addresses) => {
                Arc::new(Fixed(addresses.iter().cloned().map(Endpoint::from).collect()))
            }
            Names::Dns { host, port } => {
                let (host, interval_min) = (host.clone(), self.resolve_interval_min);
                Arc::new(Dns::new(host, *port, interval_min, self.whole_backoff()))
            }
            Names::Given { .. } => return Err(failed("nothing resolves it".into())),
        };
        Ok((target, resolver))
    }

    /// An encoding that is to be used, and that is not there.
    fn coding_problem(&self) -> Option<String> {
        let find = |encoding: &Encoding| self.compressors.find(encoding.name().as_bytes());
        let missing = std::iter::once(self.compress)
            .chain(self.defaults.encodings())
            .find(|encoding| !encoding.is_identity() && find(encoding).is_none())?;
        Some(format!("the channel has no compressor for {missing}"))
    }

    /// Makes the channel and starts the background thread on which the connection of
    /// [blocking](crate::blocking) calls runs. The thread ends after the last clone.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_blocking(self) -> Result<Channel, TargetError> {
        let channel = self.build()?;
        // Where no thread can be started now, the first call tries again and reports it.
        let _ = channel.shared().background();
        Ok(channel)
    }
}

/// `IDLE_TIMEOUT` of gRPC's `connectivity-semantics-and-api.md`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
