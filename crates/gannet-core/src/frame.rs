//! Length-prefixed messages (PROTOCOL-HTTP2, "Length-Prefixed-Message"): a flag byte, four bytes of
//! big-endian length, the payload.
//!
//! [`MessageReader`] finds messages in the DATA of a call, whose boundaries mean nothing; the
//! functions below it write. Neither compresses nor decodes: the flag is passed on as it came.

use std::borrow::Cow;
use std::fmt;

use crate::limits::SPANNING_MESSAGE_RESERVE_BYTES;
use crate::{Code, Status, storage};

/// Length of what precedes each payload, bytes.
pub const PREFIX_BYTES: usize = 5;

/// One message as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether the payload is compressed with the call's `grpc-encoding`.
    pub compressed: bool,
    /// Borrowed from the input where the message lay in it whole, else owned; whoever is done with
    /// it gives its storage [back](crate::storage::give).
    pub payload: Cow<'a, [u8]>,
}

/// Finds the messages in the DATA of one direction of one call.
///
/// Feed it each DATA payload in order and take messages until there are none:
///
/// ```
/// # fn example(reader: &mut gannet_core::MessageReader, mut data: &[u8])
/// #     -> Result<(), gannet_core::FrameError> {
/// while let Some(message) = reader.next(&mut data)? {
///     // decode message.payload
/// }
/// assert!(data.is_empty());
/// # Ok(()) }
/// ```
///
/// A message that lies whole in one slice is borrowed from it. One that spans slices is copied
/// once, into a buffer that grows towards the declared length as bytes arrive, so that a peer
/// cannot make us allocate by declaring, or into storage that was [kept](crate::storage). Between
/// messages the reader owns no memory. After an error every call returns that error again.
#[derive(Debug)]
pub struct MessageReader {
    message_bytes_max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Collecting the prefix; the first `filled` bytes of it are here.
    Prefix {
        bytes: [u8; PREFIX_BYTES],
        filled: usize,
    },
    /// Collecting a payload of `length` bytes; `buffer` is shorter than that.
    Payload {
        compressed: bool,
        length: usize,
        buffer: Vec<u8>,
    },
    Failed(FrameError),
}

impl MessageReader {
    /// A reader that refuses messages with payloads over `message_bytes_max` bytes.
    pub const fn new(message_bytes_max: usize) -> MessageReader {
        MessageReader { message_bytes_max, state: START }
    }

    /// Takes what messages lie whole and uncompressed at the front of `input`, one behind the other
    /// with their prefixes; none while a message that began before is incomplete.
    ///
    /// Whatever stops it is for [`next`](Self::next): a message that is cut off, or in error.
    pub fn take_whole<'i>(&self, input: &mut &'i [u8]) -> &'i [u8] {
        match self.state {
            State::Prefix { filled: 0, .. } => take_whole(input, self.message_bytes_max),
            _ => &[],
        }
    }

    /// The next message, consuming its bytes from the front of `input`; `None` once `input` is used
    /// up.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] before anything is allocated for the message, and
    /// [`FrameError::Flags`].
    #[inline]
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Message<'i>>, FrameError> {
        // Mostly a message lies whole in the input, and nothing needs to be kept.
        if let State::Prefix { filled: 0, .. } = self.state
            && let Some((prefix, rest)) = input.split_first_chunk()
            && let Ok((compressed, length)) = parse_prefix(*prefix, self.message_bytes_max)
            && let Some((payload, rest)) = rest.split_at_checked(length)
        {
            *input = rest;
            return Ok(Some(Message { compressed, payload: Cow::Borrowed(payload) }));
        }
        self.next_in_pieces(input)
    }

    /// As `next`, for a message of which only a part may be there.
    fn next_in_pieces<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Message<'i>>, FrameError> {
        loop {
            match &mut self.state {
                State::Prefix { bytes, filled } => {
                    let (part, rest) = input.split_at((PREFIX_BYTES - *filled).min(input.len()));
                    bytes[*filled..*filled + part.len()].copy_from_slice(part);
                    *filled += part.len();
                    *input = rest;
                    if *filled < PREFIX_BYTES {
                        return Ok(None);
                    }
                    let prefix = parse_prefix(*bytes, self.message_bytes_max);
                    let (compressed, length) = prefix.inspect_err(|&error| {
                        self.state = State::Failed(error);
                    })?;
                    if let Some((payload, rest)) = input.split_at_checked(length) {
                        *input = rest;
                        self.state = START;
                        return Ok(Some(Message { compressed, payload: Cow::Borrowed(payload) }));
                    }
                    self.state = State::Payload { compressed, length, buffer: Vec::new() };
                }
                State::Payload { compressed, length, buffer } => {
                    let missing = *length - buffer.len();
                    let (part, rest) = input.split_at(missing.min(input.len()));
                    *input = rest;
                    append_growing(buffer, part, *length);
                    if buffer.len() < *length {
                        return Ok(None);
                    }
                    let (compressed, payload) = (*compressed, std::mem::take(buffer));
                    self.state = START;
                    return Ok(Some(Message { compressed, payload: Cow::Owned(payload) }));
                }
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// Says that no more DATA will come.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`] where that cuts a message short, or the error met before.
    pub fn finish(&self) -> Result<(), FrameError> {
        match &self.state {
            State::Prefix { filled: 0, .. } => Ok(()),
            State::Prefix { .. } | State::Payload { .. } => Err(FrameError::Truncated),
            State::Failed(error) => Err(*error),
        }
    }

    /// Whether a message has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        !matches!(self.state, State::Prefix { filled: 0, .. } | State::Failed(_))
    }

    /// Bytes allocated for a message that has begun and not ended.
    pub fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Payload { buffer, .. } => buffer.capacity(),
            State::Prefix { .. } | State::Failed(_) => 0,
        }
    }
}

/// As [`MessageReader::take_whole`], where no message has begun before.
#[inline]
pub fn take_whole<'i>(input: &mut &'i [u8], message_bytes_max: usize) -> &'i [u8] {
    let mut end = 0;
    while let Some(&prefix @ [0, ..]) = input[end..].first_chunk::<PREFIX_BYTES>()
        && let Ok((_, length)) = parse_prefix(prefix, message_bytes_max)
        && input.len() - end - PREFIX_BYTES >= length
    {
        end += PREFIX_BYTES + length;
    }
    let (whole, rest) = input.split_at(end);
    *input = rest;
    whole
}

/// The payload of `input`, where that is one whole message, uncompressed, and nothing else.
#[inline]
pub fn sole_message(input: &[u8], message_bytes_max: usize) -> Option<&[u8]> {
    let (&prefix, payload) = input.split_first_chunk()?;
    let (compressed, length) = parse_prefix(prefix, message_bytes_max).ok()?;
    (!compressed && payload.len() == length).then_some(payload)
}

/// The five bytes before a payload of `payload_bytes`.
///
/// # Errors
///
/// [`FrameError::TooLarge`] above `message_bytes_max`, or above what four bytes can say.
pub fn prefix(
    compressed: bool,
    payload_bytes: usize,
    message_bytes_max: usize,
) -> Result<[u8; PREFIX_BYTES], FrameError> {
    let too_large = FrameError::TooLarge { message_bytes: payload_bytes, message_bytes_max };
    if payload_bytes > message_bytes_max {
        return Err(too_large);
    }
    let [a, b, c, d] = u32::try_from(payload_bytes).map_err(|_| too_large)?.to_be_bytes();
    Ok([u8::from(compressed), a, b, c, d])
}

/// Why the DATA of a call is not a sequence of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A message is over the limit: RESOURCE_EXHAUSTED.
    TooLarge {
        /// The payload's declared length, bytes.
        message_bytes: usize,
        /// The limit it is over, bytes.
        message_bytes_max: usize,
    },
    /// The flag byte has bits that gRPC does not define: INTERNAL.
    Flags(u8),
    /// The stream ended within a message: INTERNAL.
    Truncated,
}

impl FrameError {
    /// The code with which a call fails that meets this error.
    pub const fn code(self) -> Code {
        match self {
            FrameError::TooLarge { .. } => Code::ResourceExhausted,
            FrameError::Flags(_) | FrameError::Truncated => Code::Internal,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge { message_bytes, message_bytes_max } => write!(
                f,
                "a message of {message_bytes} bytes is over the receiver's limit of \
                 {message_bytes_max} bytes (max_receive_bytes)"
            ),
            FrameError::Flags(flags) => {
                write!(f, "a message starts with the flag byte {flags:#04x}, neither 0 nor 1")
            }
            FrameError::Truncated => f.write_str("the stream ended within a message"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

const START: State = State::Prefix { bytes: [0; PREFIX_BYTES], filled: 0 };

fn parse_prefix(
    [flags, a, b, c, d]: [u8; PREFIX_BYTES],
    message_bytes_max: usize,
) -> Result<(bool, usize), FrameError> {
    if flags > 1 {
        return Err(FrameError::Flags(flags));
    }
    let message_bytes = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if message_bytes > message_bytes_max {
        return Err(FrameError::TooLarge { message_bytes, message_bytes_max });
    }
    Ok((flags == 1, message_bytes))
}

/// Appends `part`, growing `buffer` to no more than about twice what has arrived and never past
/// `length`; or to storage that was [kept](storage), once a sixteenth of the message is there: what
/// a peer only declares takes no memory. Doubling keeps the copying linear; the last step lands on
/// `length` exactly.
fn append_growing(buffer: &mut Vec<u8>, part: &[u8], length: usize) {
    let arrived = buffer.len() + part.len();
    if arrived > buffer.capacity() {
        let kept = if arrived >= length / 16 { storage::take(length) } else { None };
        if let Some(mut kept) = kept {
            kept.extend_from_slice(buffer);
            storage::give(std::mem::replace(buffer, kept));
        } else {
            let room = arrived.saturating_mul(2).saturating_add(SPANNING_MESSAGE_RESERVE_BYTES);
            buffer.reserve_exact(room.min(length) - buffer.len());
        }
    }
    buffer.extend_from_slice(part);
}

#[cfg(test)]
mod tests;
