//! [`Channel`]: one target, connections to its servers, and the calls made on them.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `builder`, `config`, `defaults` | how a channel is made; what holds for some methods |
//! | `shared` | the state that clones share: where calls go, or why they go nowhere |
//! | `shared/placing`, `waiting` | how calls wait for a connection |
//! | `published` | what calls find of that, without a lock |
//! | `control` | what changes seldom: the balancer, its connections, its tasks |
//! | `manage`, `resolving` | the task for names and timers, while the channel is not idle |
//! | `connect`, `dial` | one attempt to connect to one address |
//! | `race` | the same for all that a name stands for |
//! | `news` | what observers are told of connections |
//! | `errors` | what calls are told whose channel cannot do its work |
//! | `health` | asking servers how they feel |
//! | `keepalive` | when a connection is pinged |

mod builder;
mod config;
mod connect;
mod control;
mod defaults;
mod dial;
mod errors;
mod health;
mod keepalive;
mod manage;
mod news;
mod published;
mod race;
mod resolving;
mod shared;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::{Codec, MethodCodec, MethodDescriptor};
use gannet_transport::PipeConnector;

use crate::call::{BidiStreaming, ClientStreaming, Options, ServerStreaming, Unary};
use crate::intercept::Chain;
use crate::policy::ChannelState;
use crate::target::TargetError;
use crate::{CallCredentials, Interceptor};
pub use builder::ChannelBuilder;
pub(crate) use config::Config;
pub use defaults::CallDefaults;
pub(crate) use errors::no_runtime;
#[cfg(feature = "fuzzing")]
pub use health::health_answer;
pub(crate) use health::{HealthCheck, is_health_question};
pub(crate) use published::Placed;
pub use published::seed_thread;
pub(crate) use shared::Shared;

/// A way to one target.
///
/// Lazy: it connects when the first call is made. To which servers, and which call goes where, is
/// for its load balancing policy ([`balance`](ChannelBuilder::balance)): by default to the first
/// that answers, and again when that connection is lost and another call is made. After
/// [half an hour](ChannelBuilder::idle_timeout) without calls it is idle again. Cheap to clone, and
/// clones share the connections; when the last one is dropped, they end after the calls that are
/// still open.
///
/// Connections run on the tokio runtime on which the call was made that ended the idleness. A call
/// on another one moves the channel there where nothing is connected, and either the channel is
/// idle or nobody runs that runtime any more; where that call has no deadline, or its own runtime
/// has no timers, to a thread of the channel's own.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    /// Where calls are wrapped, or have credentials.
    chain: Option<Arc<Chain>>,
}

impl Channel {
    /// A channel to `target` with the defaults: see [`builder`](Self::builder).
    ///
    /// # Errors
    /// Where the target is malformed.
    pub fn new(target: impl Into<String>) -> Result<Channel, TargetError> {
        Channel::builder(target).build()
    }

    /// Starts to build a channel. Targets are:
    ///
    /// | target | leads to |
    /// | --- | --- |
    /// | `host:port`, `dns:host:port`, `dns:///host:port` | the addresses of a DNS name |
    /// | `http://host:port`, `https://host:port` | the same; 80 and 443 need not be said |
    /// | `ipv4:1.2.3.4:5`, `ipv6:[::1]:5` | that address, or those, with commas between |
    /// | `unix:/path`, `unix:///path` | a Unix socket |
    /// | `unix-abstract:name` | a Unix socket in the abstract namespace (Linux) |
    /// | `passthrough:///host:port` | what the system makes of that with each connection, raced |
    ///
    /// and those of [schemes](ChannelBuilder::scheme) of one's own. `https://` needs
    /// [`tls`](ChannelBuilder::tls), and `http://` none. What becomes of several addresses is for
    /// the [policy](ChannelBuilder::balance): by default they are raced (gRFC A61). An IPv6 address
    /// that only some interface leads to has that behind a percent sign: `[fe80::1%eth0]:5`.
    pub fn builder(target: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder::new(target.into())
    }

    /// Starts to build a channel that connects through an in-process pipe.
    pub fn builder_with_connector(connector: PipeConnector) -> ChannelBuilder {
        ChannelBuilder::new("in-process".to_owned()).connector(connector)
    }

    /// The same channel, with `interceptor` around calls that are made by it: outside of those that
    /// it has already. The connection is shared.
    ///
    /// ```
    /// # use gannet_client::{Channel, Next, Outgoing};
    /// # fn example(channel: Channel) {
    /// let patient = channel.intercepted(|mut call: Outgoing, next: Next| async move {
    ///     call.set_wait_for_ready(true);
    ///     next.run(call).await
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn intercepted(&self, interceptor: impl Interceptor) -> Channel {
        let chain = Chain::of(self).with_layer(Arc::new(interceptor));
        Channel { shared: Arc::clone(&self.shared), chain: Some(Arc::new(chain)) }
    }

    /// The same channel, with `credentials` in calls that are made by it, besides those that it has
    /// already. The connection is shared.
    #[must_use]
    pub fn with_credentials(&self, credentials: impl CallCredentials) -> Channel {
        let chain = Chain::of(self).with_credentials(credentials);
        Channel { shared: Arc::clone(&self.shared), chain: Some(Arc::new(chain)) }
    }

    /// The target as it was written.
    pub fn target(&self) -> &str {
        &self.shared.config().target.text
    }

    /// What the channel is doing now. A cheap read.
    pub fn state(&self) -> ChannelState {
        self.shared.state()
    }

    /// Waits until the state is another one than `last`, and returns it. States that last only for
    /// a moment may be missed. It does not make the channel connect: [`connect`](Self::connect)
    /// does.
    ///
    /// # Cancel safety
    /// Nothing is lost where the future is dropped.
    pub async fn wait_for_state_change(&self, last: ChannelState) -> ChannelState {
        self.shared.other_state(last).await
    }

    /// Connects an idle channel, as a call would; does nothing in other states.
    ///
    /// # Errors
    /// INTERNAL outside a tokio runtime, unless the channel was made for
    /// [blocking](crate::blocking) calls.
    pub fn connect(&self) -> gannet_core::Result<()> {
        self.shared.connect()
    }

    /// Has attempts to connect that wait for the end of their backoff be made at once, and names be
    /// resolved for which their resolver rests: for when the application knows that the network is
    /// there again. Pauses are as short as at first again.
    pub fn reset_backoff(&self) {
        self.shared.reset_backoff();
    }

    /// Closes the channel and all its clones: new calls fail with UNAVAILABLE, calls that are open
    /// go on, and the connection ends after them.
    pub fn close(&self) {
        self.shared.close();
    }

    /// A call with one request and one response.
    #[inline]
    pub fn unary<C, Req, Resp>(
        &self,
        method: &'static MethodDescriptor,
        message: Req,
    ) -> Unary<'_, Req, Resp>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        Unary::new(self.options::<C, Req, Resp>(method), message)
    }

    /// A call with many requests and one response.
    pub fn client_streaming<C, Req, Resp>(
        &self,
        method: &'static MethodDescriptor,
    ) -> ClientStreaming<'_, Req, Resp>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        ClientStreaming::new(self.options::<C, Req, Resp>(method))
    }

    /// A call with one request and many responses.
    pub fn server_streaming<C, Req, Resp>(
        &self,
        method: &'static MethodDescriptor,
        message: Req,
    ) -> ServerStreaming<'_, Req, Resp>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        ServerStreaming::new(self.options::<C, Req, Resp>(method), message)
    }

    /// A call with many requests and many responses.
    pub fn bidi_streaming<C, Req, Resp>(
        &self,
        method: &'static MethodDescriptor,
    ) -> BidiStreaming<'_, Req, Resp>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        BidiStreaming::new(self.options::<C, Req, Resp>(method))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where calls are wrapped, or have credentials.
    pub(crate) fn chain(&self) -> Option<&Arc<Chain>> {
        self.chain.as_ref()
    }

    fn options<C, Req, Resp>(&self, method: &'static MethodDescriptor) -> Options<'_, Req, Resp>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        Options::new(self, method, MethodCodec::new::<C>())
    }
}

/// Tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.target())
            .field("state", &self.state())
            .finish()
    }
}
