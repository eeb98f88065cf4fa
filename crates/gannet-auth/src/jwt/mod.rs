//! JSON Web Tokens (RFC 7519) in the compact form of RFC 7515: their parts, what they claim, and
//! why they are refused.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `algorithm` | how tokens are signed |
//! | `parts` | the three parts of a token, and its header |
//! | `json` | JSON objects whose names are unique |
//! | `claims` | what a token says |
//! | `refusal` | why one is refused |

mod algorithm;
mod claims;
mod json;
mod parts;
mod refusal;

pub use algorithm::Algorithm;
pub use claims::Claims;
pub(crate) use claims::numeric_date;
pub(crate) use json::{Object, read_object};
pub(crate) use parts::{Header, Parts, base64url, from_base64url};
pub use refusal::Refusal;
pub(crate) use refusal::shown;
