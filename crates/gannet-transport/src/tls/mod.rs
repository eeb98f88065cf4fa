//! TLS by rustls: who each side is, whom it trusts, and the handshake.
//!
//! ALPN must agree on `h2` (RFC 9113 section 3.3): a peer that does not is told so and refused. The
//! cryptography is chosen here and passed on; the process-wide default of rustls is neither read
//! nor set. What is sent over the stream is not looked at here: `stream` only encrypts it.

mod client;
mod error;
mod identity;
mod server;
mod stream;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;

pub use client::{ClientTls, ClientTlsBuilder};
pub use error::TlsError;
pub use identity::{Identity, Roots};
pub use server::{ServerTls, ServerTlsBuilder};
pub use stream::TlsStream;

/// The only protocol spoken.
const ALPN_H2: &[u8] = b"h2";

#[cfg(feature = "tls")]
use tokio_rustls::rustls::crypto::aws_lc_rs as crypto;
#[cfg(not(feature = "tls"))]
use tokio_rustls::rustls::crypto::ring as crypto;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::default_provider())
}
