//! [`Channel`]: one target, one connection at a time, and the calls made on it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `builder`, `defaults` | how a channel is made; what holds for some methods |
//! | `shared` | the state that clones share: the connection, or why there is none |
//! | `connect` | the task that connects, and tries again |
//! | `race` | when each of several addresses is tried |
//! | `dial` | resolving, and connecting to one address |

mod builder;
mod connect;
mod defaults;
mod dial;
mod race;
mod shared;

use std::fmt;
use std::sync::Arc;

use gannet_core::{Codec, MethodCodec, MethodDescriptor};
use gannet_transport::PipeConnector;

use crate::call::{BidiStreaming, ClientStreaming, Options, ServerStreaming, Unary};
use crate::intercept::Chain;
use crate::target::TargetError;
use crate::{CallCredentials, Interceptor};
pub use builder::ChannelBuilder;
pub(crate) use builder::Config;
pub use defaults::CallDefaults;
pub(crate) use shared::{Shared, no_runtime};

/// A way to one target.
///
/// Lazy: it connects when the first call is made, and again when a connection is lost and another
/// call is made. Cheap to clone, and clones share the connection; when the last one is dropped, the
/// connection ends after the calls that are still open.
///
/// A connection runs on the tokio runtime on which the call was made that needed it.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    /// Where calls are wrapped, or have credentials.
    chain: Option<Arc<Chain>>,
}

/// What a channel is doing (gRPC's `connectivity-semantics-and-api.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelState {
    /// Not connected; the next call connects.
    Idle,
    /// Connects for the first time since it was idle: calls wait.
    Connecting,
    /// Connected.
    Ready,
    /// The last attempt to connect failed: calls fail at once, unless they
    /// [wait](crate::Unary::wait_for_ready). Attempts go on, with growing pauses.
    TransientFailure,
    /// [Closed](Channel::close).
    Shutdown,
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
    /// | `host:port`, `dns:///host:port`, `http://host:port` | its addresses, raced (A61) |
    /// | `ipv4:1.2.3.4:5`, `ipv6:[::1]:5` | that address, or those, with commas between |
    /// | `unix:/path`, `unix:///path` | a Unix socket |
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

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.target())
            .field("state", &self.state())
            .finish()
    }
}
