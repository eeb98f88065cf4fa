//! Why a message could not be compressed or decompressed.

use std::error::Error;
use std::fmt;
use std::io;

use crate::{Code, Status};

/// Why a message could not be compressed: INTERNAL.
#[derive(Debug)]
pub struct CompressError(Box<dyn Error + Send + Sync>);

impl CompressError {
    /// An error with this cause.
    #[cold]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> CompressError {
        CompressError(cause.into())
    }
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot compress the message: {}", self.0)
    }
}

impl Error for CompressError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<io::Error> for CompressError {
    #[cold]
    fn from(error: io::Error) -> CompressError {
        CompressError::new(error)
    }
}

/// Why a message could not be decompressed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecompressError {
    /// The message is over the receive limit: RESOURCE_EXHAUSTED.
    TooLarge {
        /// The limit it is over, bytes.
        message_bytes_max: usize,
    },
    /// The bytes are not one message in the call's encoding: INTERNAL.
    Corrupt(Box<dyn Error + Send + Sync>),
}

impl DecompressError {
    /// [`Corrupt`](DecompressError::Corrupt) with this cause.
    #[cold]
    pub fn corrupt(cause: impl Into<Box<dyn Error + Send + Sync>>) -> DecompressError {
        DecompressError::Corrupt(cause.into())
    }

    /// The code with which a call fails that meets this error.
    pub fn code(&self) -> Code {
        match self {
            DecompressError::TooLarge { .. } => Code::ResourceExhausted,
            DecompressError::Corrupt(_) => Code::Internal,
        }
    }
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecompressError::TooLarge { message_bytes_max } => write!(
                f,
                "a message, decompressed, is over the receiver's limit of {message_bytes_max} \
                 bytes (max_receive_bytes)"
            ),
            DecompressError::Corrupt(cause) => write!(f, "cannot decompress the message: {cause}"),
        }
    }
}

impl Error for DecompressError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            DecompressError::TooLarge { .. } => None,
            DecompressError::Corrupt(cause) => Some(&**cause),
        }
    }
}

/// What [`Output`](super::Output) refused as a writer comes out as it went in.
impl From<io::Error> for DecompressError {
    #[cold]
    fn from(error: io::Error) -> DecompressError {
        match error.downcast::<DecompressError>() {
            Ok(refused) => refused,
            Err(error) => DecompressError::corrupt(error),
        }
    }
}

impl From<DecompressError> for Status {
    #[cold]
    fn from(error: DecompressError) -> Status {
        Status::new(error.code(), error.to_string()).with_source(error)
    }
}
