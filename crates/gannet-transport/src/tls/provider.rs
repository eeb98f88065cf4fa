//! Whose cryptography TLS uses.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::ProducesTickets;

use super::TlsError;

#[cfg(not(any(feature = "tls", feature = "tls-ring")))]
compile_error!(
    "TLS has no cryptography: switch on the feature `tls` (aws-lc-rs) or `tls-ring` (ring); `_tls` \
     is what they have in common, and nothing by itself"
);

/// Whose cryptography TLS uses: aws-lc-rs, or ring where only the feature `tls-ring` is on. With
/// both on, a builder's `provider` chooses.
///
/// It is passed to rustls with each configuration. The process-wide default of rustls is neither
/// read nor set.
#[derive(Clone)]
pub struct Provider {
    name: &'static str,
    pub(super) crypto: Arc<CryptoProvider>,
    tickets: fn() -> Result<Arc<dyn ProducesTickets>, rustls::Error>,
}

impl Provider {
    /// Cryptography by aws-lc-rs.
    #[cfg(feature = "tls")]
    pub fn aws_lc_rs() -> Provider {
        use tokio_rustls::rustls::crypto::aws_lc_rs;
        let crypto = Arc::new(aws_lc_rs::default_provider());
        Provider { name: "aws-lc-rs", crypto, tickets: aws_lc_rs::Ticketer::new }
    }

    /// Cryptography by ring.
    #[cfg(feature = "tls-ring")]
    pub fn ring() -> Provider {
        use tokio_rustls::rustls::crypto::ring;
        let crypto = Arc::new(ring::default_provider());
        Provider { name: "ring", crypto, tickets: ring::Ticketer::new }
    }

    /// What makes session tickets, with keys that change every six hours and are never stored.
    pub(super) fn tickets(&self) -> Result<Arc<dyn ProducesTickets>, TlsError> {
        (self.tickets)()
            .map_err(|error| TlsError::with_source("session tickets cannot be made", error))
    }
}

impl Default for Provider {
    fn default() -> Self {
        #[cfg(feature = "tls")]
        return Provider::aws_lc_rs();
        #[cfg(all(not(feature = "tls"), feature = "tls-ring"))]
        return Provider::ring();
        #[cfg(not(any(feature = "tls", feature = "tls-ring")))]
        unreachable!("this does not compile, see above");
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.name).finish()
    }
}
