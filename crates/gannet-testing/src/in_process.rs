//! [`InProcess`]: a server, and channels to it, without a socket.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::Address;
use gannet_client::{Channel, ChannelBuilder, PipeConnector};
use gannet_server::{ServeError, Server, Service};
use gannet_transport::{Listener, pipe};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Wire;

/// A channel to `service`, served in this process as long as the channel is there: see the
/// [crate](crate).
///
/// # Panics
/// Outside a tokio runtime, on which it serves.
pub fn channel(service: impl Service) -> Channel {
    InProcess::serve(Server::new().add(service)).channel()
}

/// A server in this process, on the current runtime, and the way to it.
///
/// ```
/// # use std::time::Duration;
/// # use gannet_testing::{InProcess, example::{ECHO, Echo}};
/// # use gannet_core::codec::Raw;
/// # use gannet_server::{Incoming, Next, Server};
/// # gannet_testing::virtual_time(async {
/// let server = Server::new().add(Echo).intercept(|mut call: Incoming, next: Next| async move {
///     call.trailers_mut().insert("x-was-here", "1")?;
///     next.run(call).await
/// });
/// let server = InProcess::serve(server);
/// let channel = server.builder().user_agent("a test").build().unwrap();
/// let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
/// let (_, metadata) = call.with_metadata().await.unwrap();
/// assert_eq!(metadata.trailers.get("x-was-here"), Some("1"));
/// server.stop(Duration::from_secs(1)).await.unwrap();
/// # });
/// ```
///
/// Once this, its addresses and all channels are gone the server ends by itself.
///
/// # Several servers
///
/// A channel may lead to several, each through a wire of its own:
///
/// ```
/// # use gannet_testing::{InProcess, example::{ECHO, Echo}};
/// # use gannet_core::{Code, codec::Raw};
/// # use gannet_server::Server;
/// use gannet_client::Channel;
/// use gannet_client::name::AddressList;
/// use gannet_client::policy::RoundRobin;
///
/// # gannet_testing::virtual_time(async {
/// let (one, wire) = InProcess::serve(Server::new().add(Echo)).wired_address("one");
/// let other = InProcess::serve(Server::new().add(Echo)).address("other");
/// let both = Channel::builder("both").resolver(AddressList::new([one, other]));
/// let channel = both.balance(RoundRobin::new).build().unwrap();
///
/// wire.set_refusing(true);
/// for _ in 0..10 {
///     let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], b"hi".to_vec());
///     assert_eq!(call.await.unwrap(), b"hi", "the other serves them all");
/// }
/// assert_eq!(wire.connections(), 0);
/// # });
/// ```
pub struct InProcess {
    connector: PipeConnector,
    served: JoinHandle<Result<(), ServeError>>,
    /// Sent how long calls may go on.
    stop: oneshot::Sender<Duration>,
}

impl InProcess {
    /// Serves on the current runtime. What is wrong with the server shows by calls that fail, and
    /// by [`stop`](Self::stop).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(server: Server) -> InProcess {
        InProcess::serve_on(server, |listener| listener)
    }

    /// As [`serve`](Self::serve), over TLS. Channels need `tls` then: see
    /// [`Authority`](crate::Authority).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(any(feature = "tls", feature = "tls-ring"))]
    pub fn serve_tls(server: Server, tls: gannet_transport::tls::ServerTls) -> InProcess {
        InProcess::serve_on(server, |listener| listener.tls(tls))
    }

    fn serve_on(server: Server, listen: impl FnOnce(Listener) -> Listener) -> InProcess {
        let (connector, listener) = pipe();
        let (stop, stopped) = oneshot::channel();
        let (drain, drained) = oneshot::channel::<()>();
        let listener = listen(Listener::from(listener));
        let served = tokio::spawn(async move {
            let mut serving = server.serve(listener).shutdown_on(drained, FOREVER).into_future();
            let grace = tokio::select! {
                biased;
                served = &mut serving => return served,
                grace = stopped => grace,
            };
            // Nobody can stop it any more: it ends when nobody can connect.
            let Ok(grace) = grace else { return serving.await };
            let _ = drain.send(());
            tokio::time::timeout(grace, serving).await.unwrap_or(Ok(()))
        });
        InProcess { connector, served, stop }
    }

    /// A channel to the server.
    pub fn channel(&self) -> Channel {
        self.builder().build().expect("nothing of it can be wrong")
    }

    /// The same, to be changed before it is built. Credentials are sent though there is no TLS, as
    /// nobody else can read what stays in the process.
    pub fn builder(&self) -> ChannelBuilder {
        Channel::builder_with_connector(self.connector.clone()).allow_credentials_without_tls(true)
    }

    /// A channel whose connections can be cut, stalled and slowed down.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn wired(&self) -> (Channel, Wire) {
        let (builder, wire) = self.wired_builder();
        (builder.build().expect("nothing of it can be wrong"), wire)
    }

    /// The same, to be changed before it is built.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn wired_builder(&self) -> (ChannelBuilder, Wire) {
        let (connector, wire) = Wire::to(self.connector.clone());
        let builder = Channel::builder_with_connector(connector);
        (builder.allow_credentials_without_tls(true), wire)
    }

    /// Where the server is, for a channel that [leads to several](InProcess#several-servers).
    ///
    /// The name is what errors call it. Two of one name that lead to the same server, by the same
    /// wire or by none, count as one address of a channel. Credentials are sent there only where
    /// the channel [allows it](ChannelBuilder::allow_credentials_without_tls).
    pub fn address(&self, name: impl Into<String>) -> Address {
        Address::in_process(name, self.connector.clone())
    }

    /// The same, and what all connections to that address go through. Each wire is cut, stalled
    /// and slowed down by itself, also where several lead to the same server.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn wired_address(&self, name: impl Into<String>) -> (Address, Wire) {
        let (connector, wire) = Wire::to(self.connector.clone());
        (Address::in_process(name, connector), wire)
    }

    /// Drains the server: new calls are refused, those that run may go on for `grace`, and are cut
    /// off then. Ready once there is none.
    ///
    /// # Errors
    /// As serving ended, such as with a name of a method that no service has.
    ///
    /// # Panics
    /// Where the server did.
    ///
    /// # Cancel safety
    /// The server is stopped whether somebody waits for it or not.
    pub async fn stop(self, grace: Duration) -> Result<(), ServeError> {
        // It may have ended by itself.
        let _ = self.stop.send(grace);
        match self.served.await {
            Ok(served) => served,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(86_400 * 365);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}
