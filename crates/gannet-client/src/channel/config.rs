//! What a channel does, fixed when it is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gannet_core::compression::{CodecId, Compressors};
use gannet_http2::Keepalive;
use gannet_transport::observe::Observers;
use gannet_transport::tls::ClientTls;

use super::HealthCheck;
use super::defaults::Defaults;
use crate::name::{AnyResolver, Lookups};
use crate::policy::{BackoffConfig, MakePolicy};
use crate::target::Target;

/// See the module.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) target: Target,
    pub(crate) resolver: Arc<dyn AnyResolver>,
    pub(crate) balance: Balance,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) health: Option<HealthCheck>,
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
    /// Who follows calls.
    pub(crate) observers: Observers,
    /// The target as they are told of it, with its scheme.
    pub(crate) target_uri: Arc<str>,
    /// Of names that are resolved with each connection.
    pub(crate) lookups: Lookups,
}

/// Makes load balancing policies.
#[derive(Clone)]
pub(crate) struct Balance(pub(crate) MakePolicy);

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Balance")
    }
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
