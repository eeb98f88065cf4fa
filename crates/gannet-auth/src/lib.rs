//! Authentication: JSON Web Tokens that servers check, and tokens that clients send.
//!
//! A server has a [`JwtAuth`] as interceptor: it looks at the bearer token of each call before its
//! request is decoded, and leaves the [`Claims`] for the handler. Which tokens are good is a
//! [`JwtValidator`]'s to say, by [`Keys`] that can change while the server runs:
//!
//! ```no_run
//! # use std::time::Duration;
//! use gannet::Server;
//! use gannet::auth::{Claims, JwtAuth, JwtValidator, Keys};
//!
//! # fn example() -> Result<Server, Box<dyn std::error::Error>> {
//! let keys = Keys::follow("/etc/keys/jwks.json").every(Duration::from_secs(60)).open()?;
//! let validator = JwtValidator::builder()
//!     .issuer("https://issuer.example", keys)
//!     .audience("https://svc.example/pkg.Service")
//!     .build()?;
//! let server = Server::new().intercept(JwtAuth::new(validator));
//! # Ok(server)
//! # }
//! // In a handler: who calls.
//! # fn handler(call: &gannet::Call) {
//! let subject = call.extensions().get::<Claims>().and_then(Claims::subject);
//! # }
//! ```
//!
//! A client has a [`TokenFile`], whose token somebody else keeps fresh, or [`JwtCredentials`],
//! which sign their own:
//!
//! ```no_run
//! use gannet::Channel;
//! use gannet::auth::{JwtCredentials, SigningKey, TokenFile};
//!
//! # fn example(pem: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let token = TokenFile::new("/var/run/secrets/tokens/svc");
//! let channel = Channel::builder("https://svc.example").credentials(token);
//!
//! let key = SigningKey::from_pem(pem)?.with_key_id("2026-11");
//! let own = JwtCredentials::new("client-7", key);
//! let channel = Channel::builder("https://svc.example").credentials(own);
//! # Ok(()) }
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `auth` | the server's interceptor |
//! | `validator`, `remembered` | which tokens are good; those that were found so |
//! | `keys` | keys that signatures are checked with, and following a file of them |
//! | `jwt` | the parts of a token, what it claims, and why it is refused |
//! | `signing` | keys that sign |
//! | `client` | credentials for calls |
//! | `crypto` | signatures, by aws-lc-rs or ring |
//! | `file` | reading a file that is followed, for as long as it takes |
//!
//! Tokens and private keys show in no `Debug`, error or status. Only signed tokens of RFC 7519 are
//! understood, with RS256, ES256 and EdDSA (RFC 7518, RFC 8037): no encryption, no shared secrets,
//! and no requests over the network for keys.

mod auth;
mod client;
mod crypto;
mod file;
mod jwt;
mod keys;
mod remembered;
mod signing;
mod validator;

pub use auth::JwtAuth;
pub use client::{JwtCredentials, TokenFile};
pub use jwt::{Algorithm, Claims, Refusal};
pub use keys::{KeyError, KeySet, Keys, KeysFile};
pub use signing::{SignError, SigningKey};
pub use validator::{JwtValidator, JwtValidatorBuilder, ValidatorError};
