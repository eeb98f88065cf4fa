//! Credentials for calls: tokens that somebody else makes, and tokens that are made here.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `token_file` | a token in a file, which is read again |
//! | `self_signed` | tokens that are signed here |

mod self_signed;
mod token_file;

use gannet_core::{Metadata, Result, Status};

pub use self_signed::JwtCredentials;
pub use token_file::TokenFile;

/// The longest token that is sent, bytes: servers take no longer header lists.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// What is sent for a token; `None` where it is none.
fn authorization(token: &str) -> Option<Metadata> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut metadata = Metadata::new();
    metadata.append("authorization", format!("Bearer {token}")).ok()?;
    metadata.set_all_sensitive();
    Some(metadata)
}

fn no_token(why: String) -> Status {
    Status::unauthenticated(why)
}

/// What credentials give.
type Given = Result<Metadata>;
