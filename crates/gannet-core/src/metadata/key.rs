//! Which keys an application may use, and what is said about one it may not.
//!
//! Applies to what applications write. Received fields are not held to it: see
//! [`Metadata::append_wire`](super::Metadata::append_wire).

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use crate::limits::METADATA_BYTES_MAX;
use crate::{Code, Status, names};

/// A metadata key that is known to be well-formed and not reserved.
///
/// The methods of [`Metadata`](super::Metadata) take plain strings as well, and check them; a
/// constant made with [`MetadataKey::from_static`] is checked when compiling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetadataKey(Cow<'static, str>);

impl MetadataKey {
    /// Checks a key.
    ///
    /// # Errors
    ///
    /// Where it is empty, has a character other than `[0-9a-z_.-]`, or is reserved.
    pub fn new(key: impl Into<Cow<'static, str>>) -> Result<MetadataKey, MetadataError> {
        let key = key.into();
        check(&key)?;
        Ok(MetadataKey(key))
    }

    /// The key, for constants and statics.
    ///
    /// # Panics
    ///
    /// Where [`new`](MetadataKey::new) returns an error: when compiling, for a constant.
    pub const fn from_static(key: &'static str) -> MetadataKey {
        let bytes = key.as_bytes();
        assert!(!bytes.is_empty(), "a metadata key is empty");
        assert!(!names::is_reserved(bytes), "a metadata key is reserved for gRPC or HTTP itself");
        let mut index = 0;
        while index < bytes.len() {
            assert!(is_allowed(bytes[index]), "a metadata key is made of a-z, 0-9, '_', '.', '-'");
            index += 1;
        }
        MetadataKey(Cow::Borrowed(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether values of this key are binary: it ends in `-bin`.
    pub fn is_binary(&self) -> bool {
        is_binary(self.0.as_bytes())
    }
}

impl AsRef<str> for MetadataKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Deref for MetadataKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetadataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<&'static str> for MetadataKey {
    type Error = MetadataError;

    fn try_from(key: &'static str) -> Result<MetadataKey, MetadataError> {
        MetadataKey::new(key)
    }
}

impl TryFrom<String> for MetadataKey {
    type Error = MetadataError;

    fn try_from(key: String) -> Result<MetadataKey, MetadataError> {
        MetadataKey::new(key)
    }
}

/// Why metadata could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// The key is empty.
    EmptyKey,
    /// The key has a character other than `[0-9a-z_.-]`.
    Key {
        /// The key.
        key: String,
        /// The first such character.
        character: char,
    },
    /// The key is gRPC's or HTTP's own.
    ReservedKey {
        /// The key.
        key: String,
    },
    /// An ASCII value for a key that ends in `-bin`.
    BinaryKey {
        /// The key.
        key: String,
    },
    /// A binary value for a key that does not end in `-bin`.
    AsciiKey {
        /// The key.
        key: String,
    },
    /// The value has a byte that is not printable ASCII, or starts or ends with a space.
    Value {
        /// The key.
        key: String,
        /// The first such byte.
        byte: u8,
    },
    /// A received value is not base64.
    MalformedBase64,
    /// All entries together are over [`METADATA_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataError::EmptyKey => f.write_str("a metadata key is empty"),
            MetadataError::Key { key, character } if character.is_ascii_uppercase() => write!(
                f,
                "metadata key {key:?} has the upper-case letter {character:?}; \
                 gRPC keys are lower case"
            ),
            MetadataError::Key { key, character } => write!(
                f,
                "metadata key {key:?} has the character {character:?}; \
                 allowed are a-z, 0-9, '_', '.' and '-'"
            ),
            MetadataError::ReservedKey { key } => {
                write!(f, "metadata key {key:?} is reserved for gRPC or HTTP itself")
            }
            MetadataError::BinaryKey { key } => write!(
                f,
                "metadata key {key:?} ends in -bin, so its values are binary: use insert_bin or \
                 append_bin, and header_bin of a call"
            ),
            MetadataError::AsciiKey { key } => write!(
                f,
                "metadata key {key:?} does not end in -bin, so its values are ASCII: use insert or \
                 append, or rename it"
            ),
            MetadataError::Value { key, byte: b' ' } => {
                write!(f, "the value of metadata key {key:?} starts or ends with a space")
            }
            MetadataError::Value { key, byte } => write!(
                f,
                "the value of metadata key {key:?} has the byte {byte:#04x}, which is not \
                 printable ASCII; a key that ends in -bin takes any bytes"
            ),
            MetadataError::MalformedBase64 => {
                f.write_str("a binary metadata value is not valid base64")
            }
            MetadataError::TooLarge => {
                write!(f, "the metadata is over the limit of {METADATA_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for MetadataError {}

impl From<MetadataError> for Status {
    /// INTERNAL: metadata that this process writes wrongly is its own bug.
    fn from(error: MetadataError) -> Status {
        Status::new(Code::Internal, error.to_string())
    }
}

/// Checks that an application may write `key`.
pub(super) fn check(key: &str) -> Result<(), MetadataError> {
    if key.is_empty() {
        return Err(MetadataError::EmptyKey);
    }
    // Before the characters, so that `:path` is called reserved and not misspelt.
    if names::is_reserved(key.as_bytes()) {
        return Err(MetadataError::ReservedKey { key: key.to_owned() });
    }
    let misfit = |&character: &char| !u8::try_from(character).is_ok_and(is_allowed);
    match key.chars().find(misfit) {
        Some(character) => Err(MetadataError::Key { key: key.to_owned(), character }),
        None => Ok(()),
    }
}

const fn is_allowed(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'.' | b'-')
}

/// Whether a key has binary values.
pub(super) fn is_binary(key: &[u8]) -> bool {
    key.ends_with(b"-bin")
}
