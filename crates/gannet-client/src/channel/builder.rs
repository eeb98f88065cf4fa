//! How a channel is made. Nothing is connected or spawned here.

use std::sync::Arc;
use std::time::Duration;

use gannet_core::compression::{CodecId, Compressors, Encoding};
use gannet_core::limits;
use gannet_http2::Keepalive;
use gannet_transport::PipeConnector;
use gannet_transport::tls::ClientTls;

use super::defaults::{CallDefaults, Defaults};
use super::{Channel, Shared};
use crate::credentials::CredentialsList;
use crate::intercept::{Chain, Layer};
use crate::policy::BackoffConfig;
use crate::target::{Target, TargetError};
use crate::{CallCredentials, Interceptor};

/// What this library calls itself in `user-agent`.
const USER_AGENT: &str = concat!("grpc-rust-gannet/", env!("CARGO_PKG_VERSION"));

/// What a channel does, fixed when it is built.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) target: Target,
    pub(crate) connector: Option<PipeConnector>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) authority: String,
    pub(crate) user_agent: String,
    pub(crate) backoff: BackoffConfig,
    pub(crate) http2: gannet_http2::Config,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) receive_bytes_max: usize,
    pub(crate) send_bytes_max: usize,
    pub(crate) wait_for_ready: bool,
    pub(crate) compressors: Compressors,
    /// What requests are compressed with that do not say otherwise.
    pub(crate) compress: Option<CodecId>,
    /// What holds for some methods.
    pub(crate) defaults: Defaults,
    /// Credentials may go over connections that anybody can read.
    pub(crate) credentials_without_tls: bool,
}

/// Builds a [`Channel`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ChannelBuilder {
    target: String,
    connector: Option<PipeConnector>,
    tls: Option<ClientTls>,
    authority: Option<String>,
    user_agent: Option<String>,
    backoff: BackoffConfig,
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
}

impl ChannelBuilder {
    pub(super) fn new(target: String) -> ChannelBuilder {
        ChannelBuilder {
            target,
            connector: None,
            tls: None,
            authority: None,
            user_agent: None,
            backoff: BackoffConfig::default(),
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
        }
    }

    /// Connects through an in-process pipe. The target is a name for messages then, and not parsed.
    pub fn connector(mut self, connector: PipeConnector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Speaks TLS. The server's certificate must be for the authority's host, unless `tls` names
    /// another.
    #[cfg(feature = "_tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The `:authority` of requests, in place of the target's host and port.
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

    /// How long one attempt to connect may take, up to the server's SETTINGS (default 20 s).
    /// One that no clock can express is none.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.backoff.connect_timeout = timeout;
        self
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

    /// Makes the channel. It connects when the first call is made.
    ///
    /// # Errors
    /// Where the target, the authority, the user agent or a method's name is malformed, or a
    /// compressor is missing; the error says how.
    pub fn build(self) -> Result<Channel, TargetError> {
        let target = match self.connector {
            Some(_) => Target::connector(&self.target),
            None => Target::parse(&self.target)?,
        };
        if let Some(problem) = target.scheme_problem(self.tls.is_some()) {
            return Err(TargetError::new(&self.target, problem));
        }
        if let Some(problem) = self.coding_problem().or_else(|| self.defaults.problem()) {
            return Err(TargetError::new(&self.target, problem));
        }
        let authority = self.authority.unwrap_or_else(|| target.authority.clone());
        if let Some(c) = authority.chars().find(|c| !is_authority(*c)) {
            let problem = format!("the authority {authority:?} has the character {c:?}");
            return Err(TargetError::new(&self.target, problem));
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
            target,
            connector: self.connector,
            tls: self.tls,
            authority,
            user_agent,
            backoff: self.backoff,
            http2: self.http2,
            keepalive: self.keepalive.keepalive(),
            receive_bytes_max: self.receive_bytes_max,
            send_bytes_max: self.send_bytes_max,
            wait_for_ready: self.wait_for_ready,
            compress: self.compressors.find(self.compress.name().as_bytes()),
            compressors: self.compressors,
            defaults: self.defaults,
            credentials_without_tls: self.credentials_without_tls,
        };
        let shared = Shared::new(config);
        let chain = Chain::new(Arc::clone(&shared), self.layers, self.credentials);
        Ok(Channel { shared, chain })
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

/// What was said about keepalive.
#[derive(Clone, Debug)]
struct KeepaliveOptions {
    time: Duration,
    timeout: Duration,
    without_calls: bool,
}

impl Default for KeepaliveOptions {
    fn default() -> Self {
        KeepaliveOptions {
            time: Duration::MAX,
            timeout: Duration::from_secs(20),
            without_calls: false,
        }
    }
}

impl KeepaliveOptions {
    /// The least that does not make a nuisance of a client (gRFC A8).
    const TIME_MIN: Duration = Duration::from_secs(10);
    const TIMEOUT_MIN: Duration = Duration::from_millis(10);

    fn keepalive(&self) -> Option<Keepalive> {
        let KeepaliveOptions { time, timeout, without_calls } = *self;
        let keepalive = Keepalive {
            time: time.max(Self::TIME_MIN),
            timeout: timeout.max(Self::TIMEOUT_MIN),
            without_calls,
        };
        (time != Duration::MAX).then_some(keepalive)
    }
}

/// RFC 3986 3.2 without user information, as the host or the IP literal of an authority.
fn is_authority(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:[]".contains(c)
}

impl Config {
    /// The `:scheme` of requests.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where the channel leads, for messages.
    pub(crate) fn shown_target(&self) -> &str {
        &self.target.text
    }
}
