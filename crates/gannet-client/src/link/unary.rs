//! What the connection's task knows of a unary call's response until its caller is told.

use std::borrow::Cow;
use std::sync::Arc;

use gannet_core::compression::{Compressor, Packed};
use gannet_core::{Message, MessageReader, Metadata, Status};

use super::errors::{compressed_unasked, more_than_one, none_at_all};
use crate::call::notice::{Around, Notice, Outcome, Received};
use crate::call::request::{Body, Request};

/// The one response of a call, as far as it has come.
pub(super) struct UnaryReceiving {
    /// Until the caller is told.
    pub(super) notice: Option<Arc<Notice>>,
    reader: MessageReader,
    payload: Option<Vec<u8>>,
    /// Where the response declared an encoding.
    coding: Option<Box<Coding>>,
    /// Where the request asked for them.
    pub(super) headers: Option<Box<Metadata>>,
    /// Received bytes whose credit was not given back.
    pub(super) uncredited_bytes: usize,
}

/// How messages of a response may be compressed.
struct Coding {
    compressor: Arc<dyn Compressor>,
    message_bytes_max: usize,
    /// The one message is.
    is_used: bool,
}

impl UnaryReceiving {
    pub(super) fn new(notice: Arc<Notice>, message_bytes_max: usize) -> UnaryReceiving {
        UnaryReceiving {
            notice: Some(notice),
            reader: MessageReader::new(message_bytes_max),
            payload: None,
            coding: None,
            headers: None,
            uncredited_bytes: 0,
        }
    }

    /// Whether it is the call that `notice` belongs to, and its caller waits.
    pub(super) fn has_notice(&self, notice: &Arc<Notice>) -> bool {
        self.notice.as_ref().is_some_and(|own| Arc::ptr_eq(own, notice))
    }

    /// The message may be compressed so.
    pub(super) fn expect_compressed(
        &mut self,
        compressor: Arc<dyn Compressor>,
        message_bytes_max: usize,
    ) {
        self.coding = Some(Box::new(Coding { compressor, message_bytes_max, is_used: false }));
    }

    /// DATA came. `body` is the request's: its storage is free by now.
    ///
    /// # Errors
    /// Bytes that are no message, or one too many, or compressed without a word.
    pub(super) fn data(&mut self, mut payload: &[u8], body: &mut Body) -> Result<(), Status> {
        while let Some(message) = self.reader.next(&mut payload)? {
            let Message { compressed, payload } = message;
            if self.payload.is_some() {
                return Err(more_than_one());
            }
            if compressed {
                self.coding.as_mut().ok_or_else(compressed_unasked)?.is_used = true;
            }
            self.payload = Some(match payload {
                Cow::Owned(payload) => payload,
                // The server has seen the request: its storage is free for the response.
                Cow::Borrowed(payload) => match std::mem::replace(body, Body::Stream) {
                    Body::Small(mut storage) if storage.capacity() >= payload.len() => {
                        storage.clear();
                        storage.extend_from_slice(payload);
                        storage
                    }
                    Body::Small(_) | Body::Large(_) | Body::Stream => payload.to_vec(),
                },
            });
        }
        Ok(())
    }

    /// Tells the caller what became of the call; `request` is freed by them, who made it.
    pub(super) fn publish(
        &mut self,
        outcome: Result<Metadata, Status>,
        mut request: Option<Box<Request>>,
    ) {
        // Not kept for a caller who is late: it is of no thread's small memory.
        if let Some(request) = &mut request
            && matches!(request.body, Body::Large(_))
        {
            request.body = Body::Stream;
        }
        let Some(notice) = self.notice.take() else { return };
        let outcome = outcome
            .and_then(|trailers| self.reader.finish().map(|()| trailers).map_err(Status::from));
        let outcome = match (outcome, self.payload.take()) {
            (Ok(trailers), Some(payload)) => {
                let metadata = match self.headers.take() {
                    None if trailers.is_empty() => None,
                    headers => Some(Around::new(headers, trailers)),
                };
                let payload = match self.coding.take() {
                    Some(coding) if coding.is_used => coding.packed(payload),
                    _ => payload.into(),
                };
                Outcome::Response { payload, metadata }
            }
            (Ok(trailers), None) => Outcome::Failed(none_at_all().with_metadata(trailers)),
            (Err(status), _) => Outcome::Failed(status),
        };
        notice.tell(outcome, request);
    }
}

impl Coding {
    fn packed(self, payload: Vec<u8>) -> Received {
        Received::Packed(Box::new(Packed::new(self.compressor, payload, self.message_bytes_max)))
    }
}

impl std::fmt::Debug for UnaryReceiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnaryReceiving").field("notice", &self.notice).finish_non_exhaustive()
    }
}
