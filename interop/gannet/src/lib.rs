//! What the interop programs share: the generated code, the services, and the data of the cases.
//! What each case does is written down in `interop/README.md`.

use ::gannet::buffa_types::google::protobuf::Duration;
use ::gannet::compression::Encoding;
use ::gannet::rpc::{ErrorInfo, RetryInfo};
use ::gannet::{Metadata, Result};

pub mod cases;
pub mod check;
pub mod churn;
pub mod echo;
pub mod kills;
pub mod observed;
pub mod official;
pub mod plain;
pub mod process;
pub mod tokens;

/// The generated code.
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Request keys whose values come back as response headers.
pub const INITIAL: &str = "x-echo-initial";
/// As [`INITIAL`], binary.
pub const INITIAL_BIN: &str = "x-echo-initial-bin";
/// Request keys whose values come back as trailers.
pub const TRAILING: &str = "x-echo-trailing";
/// As [`TRAILING`], binary.
pub const TRAILING_BIN: &str = "x-echo-trailing-bin";

/// The request key with which the client's address comes back as a trailer of the same name.
pub const ADDRESS: &str = "x-echo-address";

/// The request key whose value names the encoding of replies.
pub const COMPRESS: &str = "x-echo-compress";
/// The trailer that counts the requests that came compressed, where the [`COMPRESS`] key was sent.
pub const COMPRESSED: &str = "x-echo-compressed";

/// The request key for which the server tells, in trailers of the same name, who the caller is by
/// its certificate.
pub const PEER: &str = "x-echo-peer";
/// The request key that asks for calls to be let in only with the [`TOKEN`], or, with the value
/// `jwt`, with one of [`tokens`].
pub const GUARD: &str = "x-echo-guard";
/// The trailer that tells whom a token is about.
pub const SUBJECT: &str = "x-echo-subject";
/// What opens guarded calls.
pub const TOKEN: &str = "open-sesame";

/// The encoding that an `x-echo-compress` names; none for what these programs do not know.
pub fn encoding(name: &str) -> Option<Encoding> {
    [Encoding::GZIP, Encoding::DEFLATE, Encoding::ZSTD].into_iter().find(|e| e.name() == name)
}

/// `length` bytes, byte `i` being `(31 i + seed) mod 251`.
#[allow(clippy::cast_possible_truncation, reason = "below 251")]
pub fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| ((i * 31 + seed) % 251) as u8).collect()
}

/// Copies all values of `key`, text or binary.
///
/// # Errors
/// Where a value is not what its key says.
pub fn copy_values(from: &Metadata, key: &str, to: &mut Metadata) -> Result<()> {
    if key.ends_with("-bin") {
        for value in from.get_all_bin(key) {
            to.append_bin(key, value?)?;
        }
    } else {
        for value in from.get_all(key) {
            to.append(key, String::from_utf8_lossy(value))?;
        }
    }
    Ok(())
}

/// The details of a status with this code.
pub fn details(code: i32) -> (ErrorInfo, RetryInfo) {
    let info = ErrorInfo {
        reason: "TOLD".to_owned(),
        domain: "interop".to_owned(),
        metadata: std::iter::once(("code".to_owned(), code.to_string())).collect(),
        ..Default::default()
    };
    let delay = Duration { seconds: 1, nanos: 500_000_000, ..Default::default() };
    (info, RetryInfo { retry_delay: Some(delay).into(), ..Default::default() })
}
