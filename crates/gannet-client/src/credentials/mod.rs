//! Call credentials: metadata that says who makes a call, such as a token (grpc.io,
//! "Authentication"; gRFC A54 for what becomes of their errors).
//!
//! They are asked behind all interceptors, once there is a connection, for each that a call goes
//! to: so a token is as fresh as can be, and nobody on the way sees it. What they give is marked as
//! [sensitive](Metadata::set_all_sensitive): it shows in no log, and no header compression keeps
//! it.
//! How tokens are got is for those who implement [`CallCredentials`].
//!
//! | file | what it holds |
//! | --- | --- |
//! | `bearer` | a token that does not change |
//! | `authorize` | when they are asked, and when they are not sent |

mod authorize;
mod bearer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gannet_core::{Metadata, MethodDescriptor, Result};

use crate::channel::Config;
pub(crate) use authorize::{authorized, make_authorized};
pub use bearer::BearerToken;

/// Gives the metadata that says who makes a call: see
/// [`ChannelBuilder::credentials`](crate::ChannelBuilder::credentials), and `credentials` of a
/// call.
///
/// ```
/// # use gannet_core::{Metadata, Result};
/// use gannet_client::{CallCredentials, CredentialsRequest};
///
/// /// Asks a service of one's own for a token for each service that is called.
/// struct Broker;
///
/// # impl Broker {
/// # async fn token(&self, audience: &str) -> Result<String> { Ok(audience.to_owned()) }
/// # }
/// impl CallCredentials for Broker {
///     async fn metadata(&self, call: CredentialsRequest) -> Result<Metadata> {
///         let token = self.token(&call.service_uri()).await?;
///         let mut metadata = Metadata::new();
///         metadata.append("authorization", format!("Bearer {token}"))?;
///         Ok(metadata)
///     }
/// }
/// ```
///
/// They are asked for every call, once it has a connection, and again where it has to go to another
/// one; not where the server refused it unseen and it is made again on the same one. From many
/// tasks at once: keep what can be used again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no credentials for calls",
    note = "`BearerToken` does; implement `CallCredentials` for others"
)]
pub trait CallCredentials: Send + Sync + 'static {
    /// The metadata to be sent with a call, on the connection that it has.
    ///
    /// # Errors
    /// What the call ends with, instead of being made: UNAVAILABLE where it may go well later,
    /// UNAUTHENTICATED where there is nothing to show. Codes that are about what a call asks for
    /// (INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE,
    /// DATA_LOSS) would be taken for the server's: they become INTERNAL (gRFC A54).
    ///
    /// # Cancel safety
    /// The future is dropped where nobody waits for the call any more.
    fn metadata(&self, call: CredentialsRequest) -> impl Future<Output = Result<Metadata>> + Send;

    /// Whether what they give must be kept from others (default: yes), so that it is not sent
    /// without TLS, unless the channel
    /// [allows that](crate::ChannelBuilder::allow_credentials_without_tls).
    fn is_secret(&self) -> bool {
        true
    }
}

/// A call for which [credentials](CallCredentials) are asked.
#[derive(Clone)]
pub struct CredentialsRequest {
    config: Arc<Config>,
    method: &'static MethodDescriptor,
}

impl CredentialsRequest {
    /// The method that is called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.method
    }

    /// The host, and port, that is called by, as the server gets it in `:authority`.
    pub fn authority(&self) -> &str {
        &self.config.authority
    }

    /// The service that is called, as tokens that are made for one name it:
    /// `https://host/pkg.Service`, with a port unless that is 443.
    pub fn service_uri(&self) -> String {
        let host = self.authority();
        let host = host.strip_suffix(":443").unwrap_or(host);
        format!("https://{host}/{}", self.method.service)
    }
}

impl fmt::Debug for CredentialsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsRequest")
            .field("authority", &self.authority())
            .field("method", &self.method.path)
            .finish()
    }
}

/// Credentials of any type.
trait Credentials: Send + Sync {
    fn metadata(self: Arc<Self>, call: CredentialsRequest) -> MetadataFuture;

    fn is_secret(&self) -> bool;
}

type MetadataFuture = Pin<Box<dyn Future<Output = Result<Metadata>> + Send>>;

impl<C: CallCredentials> Credentials for C {
    fn metadata(self: Arc<Self>, call: CredentialsRequest) -> MetadataFuture {
        Box::pin(async move { CallCredentials::metadata(&*self, call).await })
    }

    fn is_secret(&self) -> bool {
        CallCredentials::is_secret(self)
    }
}

/// Those of a channel, or of a call. Never shown.
#[derive(Clone, Default)]
pub(crate) struct CredentialsList(Vec<Arc<dyn Credentials>>);

impl CredentialsList {
    pub(crate) fn push(&mut self, credentials: impl CallCredentials) {
        self.0.push(Arc::new(credentials));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and `more` behind them.
    pub(crate) fn and(&self, more: &CredentialsList) -> CredentialsList {
        CredentialsList(self.0.iter().chain(&more.0).cloned().collect())
    }
}

impl fmt::Debug for CredentialsList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} credentials]", self.0.len())
    }
}
