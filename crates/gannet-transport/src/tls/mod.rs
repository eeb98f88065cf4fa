//! TLS by rustls: who each side is, whom it trusts, and the handshake.
//!
//! ALPN must agree on `h2` (RFC 9113 section 3.3): a peer that does not is told so and refused. The
//! cryptography is chosen in `provider` and passed on; the process-wide default of rustls is
//! neither read nor set. Files are followed by `live`. What is sent over the stream is not looked
//! at here: `stream` only encrypts it.

mod client;
mod crls;
mod error;
mod first;
mod identity;
mod live;
mod names;
mod peer;
mod plain;
mod provider;
mod server;
mod stream;

pub use client::{ClientTls, ClientTlsBuilder};
pub use crls::Crls;
pub use error::TlsError;
pub use identity::{Identity, Roots};
pub use peer::{PeerCertificate, TlsPeer};
pub use provider::Provider;
pub use server::{ServerTls, ServerTlsBuilder};
pub use stream::TlsStream;

/// The only protocol spoken.
const ALPN_H2: &[u8] = b"h2";
