//! [`Refusal`]: why a call's credentials are not accepted.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use gannet_core::Code;

/// How many characters of such a name are shown.
const SHOWN_CHARS_MAX: usize = 64;

/// Why credentials are not accepted: for the server's own log, not for the peer, who would learn
/// how to make better ones.
///
/// Says what is wrong in words that do not have the token in them. From
/// [`Expired`](Refusal::Expired) on it speaks of tokens whose signature was good, but for
/// [`Issuer`](Refusal::Issuer): whose keys would check it is not known then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The call has no `authorization`.
    Missing,
    /// It has several, of which another reader might take another one.
    Several,
    /// Not `Bearer`, a space and a token.
    NotBearer,
    /// So many bytes, which is over the limit.
    TooLong(usize),
    /// No JSON Web Token that is signed, and why.
    Malformed(String),
    /// Signed by an algorithm that is not accepted: its name, as far as it is shown.
    Algorithm(String),
    /// Another kind of token, by its header's `typ`.
    Kind(String),
    /// No key with this name, if it has one, checks its algorithm; nor has one without a name.
    UnknownKey(Option<String>),
    /// No key of its issuer that may have made the signature did.
    Signature,
    /// None of the four keys that were tried made the signature, and so many more that may have
    /// were not tried. A token that names its key (`kid`) does not end here, where keys have names.
    Untried(usize),
    /// Past its time, for so long.
    Expired(Duration),
    /// Before its time (`nbf`), for so long.
    NotYetValid(Duration),
    /// It says that it was issued (`iat`) so long from now.
    IssuedInFuture(Duration),
    /// By its own word of an issuer who is not believed.
    Issuer(String),
    /// For others.
    Audience(String),
    /// This claim is missing.
    Lacks(String),
    /// This claim is not what its name has it be.
    BadClaim(&'static str),
    /// It is good, but this claim does not have the value that is asked for.
    NotPermitted(String),
    /// It is good, but does not have this scope.
    Scope(String),
}

impl Refusal {
    /// What the call ends with: PERMISSION_DENIED where it is known who calls, else
    /// UNAUTHENTICATED.
    pub fn code(&self) -> Code {
        match self {
            Refusal::NotPermitted(_) | Refusal::Scope(_) => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Missing => f.write_str("there is no token"),
            Refusal::Several => f.write_str("there are several values of authorization"),
            Refusal::NotBearer => f.write_str("authorization is not \"Bearer\" and a token"),
            Refusal::TooLong(bytes) => write!(f, "the token is too long: {bytes} bytes"),
            Refusal::Malformed(what) => write!(f, "the token is malformed: {what}"),
            Refusal::Algorithm(name) => write!(f, "the token is signed by {name:?}"),
            Refusal::Kind(kind) => write!(f, "the token is of another kind: {kind:?}"),
            Refusal::UnknownKey(Some(id)) => write!(f, "the token's key {id:?} is not known"),
            Refusal::UnknownKey(None) => f.write_str("no key checks the token's algorithm"),
            Refusal::Signature => f.write_str("the token's signature is wrong"),
            Refusal::Untried(keys) => write!(
                f,
                "the token's signature is none of the keys that were tried, and {keys} more were \
                 not: tokens and keys should have the key's name (kid)"
            ),
            Refusal::Expired(ago) => write!(f, "the token expired {} s ago", ago.as_secs()),
            Refusal::NotYetValid(left) => {
                write!(f, "the token becomes valid in {} s", left.as_secs())
            }
            Refusal::IssuedInFuture(left) => {
                write!(f, "the token is issued {} s from now", left.as_secs())
            }
            Refusal::Issuer(issuer) => {
                write!(f, "the token's issuer is not that of any key: {issuer:?}")
            }
            Refusal::Audience(audience) => write!(f, "the token is for {audience}"),
            Refusal::Lacks(claim) => write!(f, "the token has no {claim}"),
            Refusal::BadClaim(claim) => write!(f, "the token's {claim} is malformed"),
            Refusal::NotPermitted(claim) => write!(f, "the token's {claim} is not what it must be"),
            Refusal::Scope(scope) => write!(f, "the token has not the scope {scope:?}"),
        }
    }
}

impl Error for Refusal {}

/// The beginning of what a peer, or whoever wrote a set of keys, has named.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}
