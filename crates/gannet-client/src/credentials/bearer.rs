//! [`BearerToken`]: a token that does not change (RFC 6750 section 2.1).

use std::fmt;

use gannet_core::{Metadata, Result, Status};

use super::{CallCredentials, CredentialsRequest};

/// Sends `authorization: Bearer …` with a token that does not change.
///
/// It shows its token nowhere.
#[derive(Clone)]
pub struct BearerToken {
    metadata: Metadata,
}

impl BearerToken {
    /// Credentials that show `token`.
    ///
    /// # Errors
    /// INTERNAL where it is empty, or has what no token can have: anything but visible
    /// ASCII characters. The error does not show it.
    pub fn new(token: impl AsRef<str>) -> Result<BearerToken> {
        let token = token.as_ref();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Status::internal(
                "a bearer token is one or more visible ASCII characters; is there a line's end in \
                 it?",
            ));
        }
        let mut metadata = Metadata::new();
        // Not the error's own text, which might show what is secret.
        metadata
            .append("authorization", format!("Bearer {token}"))
            .map_err(|_| Status::internal("the bearer token is too long"))?;
        Ok(BearerToken { metadata })
    }
}

impl CallCredentials for BearerToken {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        Ok(self.metadata.clone())
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_nowhere() {
        let token = BearerToken::new("s3cr3t").unwrap();
        assert_eq!(token.metadata.get("authorization"), Some("Bearer s3cr3t"));
        assert_eq!(format!("{token:?}"), "BearerToken(secret)");
        for wrong in ["", "s3cr3t\n", "s3 cr3t", "s3cr3tä"] {
            let error = BearerToken::new(wrong).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("cr3t"), "{error:?}");
        }
    }
}
