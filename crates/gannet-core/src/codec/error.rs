//! Why a message could not be encoded or decoded.

use std::error::Error;
use std::fmt;

use crate::{Code, FrameError, Status};

/// Why a message could not be encoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded message is over the limit: RESOURCE_EXHAUSTED.
    TooLarge {
        /// The encoded length, bytes; a codec that cannot say more gives the smallest it knows.
        message_bytes: usize,
        /// The limit it is over, bytes.
        message_bytes_max: usize,
    },
    /// The codec refused the message: INTERNAL.
    Codec(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::TooLarge { message_bytes, message_bytes_max } => write!(
                f,
                "cannot send a message of {message_bytes} bytes: the limit is \
                 {message_bytes_max} bytes (max_send_bytes)"
            ),
            EncodeError::Codec(cause) => write!(f, "cannot encode the message: {cause}"),
        }
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            EncodeError::TooLarge { .. } => None,
            EncodeError::Codec(cause) => Some(&**cause),
        }
    }
}

impl From<FrameError> for EncodeError {
    fn from(error: FrameError) -> EncodeError {
        match error {
            FrameError::TooLarge { message_bytes, message_bytes_max } => {
                EncodeError::TooLarge { message_bytes, message_bytes_max }
            }
            other => EncodeError::Codec(Box::new(other)),
        }
    }
}

impl From<EncodeError> for Status {
    #[cold]
    fn from(error: EncodeError) -> Status {
        let code = match error {
            EncodeError::TooLarge { .. } => Code::ResourceExhausted,
            EncodeError::Codec(_) => Code::Internal,
        };
        Status::new(code, error.to_string()).with_source(error)
    }
}

/// Why a payload could not be decoded: INTERNAL.
#[derive(Debug)]
pub struct DecodeError(Box<dyn Error + Send + Sync>);

impl DecodeError {
    /// An error with this cause.
    #[cold]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> DecodeError {
        DecodeError(cause.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot decode the message: {}", self.0)
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<DecodeError> for Status {
    #[cold]
    fn from(error: DecodeError) -> Status {
        Status::new(Code::Internal, error.to_string()).with_source(error)
    }
}
