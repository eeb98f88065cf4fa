//! A token in its compact form (RFC 7515 section 3.1), taken apart; nothing of it is believed yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde_json::Value;

use super::{Algorithm, Refusal, read_object, shown};

/// The three parts of a token.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What is signed: header and payload as they came.
    pub(crate) signed: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn of(token: &'a str) -> Result<Parts<'a>, Refusal> {
        let mut parts = token.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(payload), Some(signature), None) => {
                let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
                Ok(Parts { header, payload, signature, signed })
            }
            _ => Err(Refusal::Malformed("it has not three parts".into())),
        }
    }

    pub(crate) fn header(&self) -> Result<Header, Refusal> {
        Header::read(&self.any_header()?)
    }

    /// JSON, whatever it says.
    pub(crate) fn any_header(&self) -> Result<Vec<u8>, Refusal> {
        decoded("header", self.header)
    }

    /// JSON.
    pub(crate) fn payload(&self) -> Result<Vec<u8>, Refusal> {
        decoded("payload", self.payload)
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, Refusal> {
        decoded("signature", self.signature)
    }
}

fn decoded(part: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    from_base64url(text)
        .ok_or_else(|| Refusal::Malformed(format!("its {part} is no base64url without padding")))
}

/// Base64url without padding, and without bits behind the last byte (RFC 7515 section 2).
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a token's header says of its signature (RFC 7515 section 4). Names of keys are looked up in
/// a set of our own; keys, and addresses of keys, that a token brings along are not looked at.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// What kind of token it is.
    pub(crate) kind: Option<String>,
}

impl Header {
    fn read(json: &[u8]) -> Result<Header, Refusal> {
        let malformed = |what: String| Refusal::Malformed(format!("its header {what}"));
        let object = read_object(json).map_err(malformed)?;
        let text = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(malformed(format!("has a {name} that is no text"))),
        };
        // Whatever it says must be understood (section 4.1.11), and none of it is.
        if let Some(name) =
            ["crit", "b64", "zip", "enc"].into_iter().find(|&it| object.contains_key(it))
        {
            return Err(malformed(format!("has {name}, which is not understood")));
        }
        let Some(name) = text("alg")? else { return Err(malformed("has no alg".into())) };
        let algorithm = Algorithm::named(&name).ok_or_else(|| Refusal::Algorithm(shown(&name)))?;
        Ok(Header { algorithm, key_id: text("kid")?, kind: text("typ")? })
    }
}
