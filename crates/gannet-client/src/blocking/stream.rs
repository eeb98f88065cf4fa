//! The streams of blocking calls.

use std::pin::pin;

use gannet_core::{Metadata, Result, Status};

use super::OpenCall;
use crate::ResponseMetadata;

/// The responses of a call, one after the other.
///
/// As an iterator it ends after the last response, or after the error with which the call ended.
/// Dropping it before that cancels the call.
#[derive(Debug)]
pub struct Inbound<T> {
    call: OpenCall,
    inbound: gannet_transport::Inbound<T>,
    is_over: bool,
}

impl<T> Inbound<T> {
    pub(crate) fn new(call: OpenCall, inbound: gannet_transport::Inbound<T>) -> Inbound<T> {
        Inbound { call, inbound, is_over: false }
    }

    /// Blocks until the response's headers have come.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    pub fn headers(&mut self) -> Result<&Metadata> {
        let inbound = &mut self.inbound;
        self.call.wait(pin!(async { inbound.headers().await.map(|_| ()) }))?;
        self.call.wait(pin!(inbound.headers()))
    }

    /// The trailers, after a good end.
    pub fn trailers(&self) -> Option<&Metadata> {
        self.inbound.trailers()
    }
}

impl<T> Iterator for Inbound<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.is_over {
            return None;
        }
        let next = self.call.wait(self.inbound.next()).transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Sends the requests of a call, one after the other.
///
/// Dropping it without [`finish`](Self::finish) cancels the call.
#[derive(Debug)]
pub struct Outbound<T> {
    call: OpenCall,
    outbound: gannet_transport::Outbound<T>,
}

impl<T> Outbound<T> {
    pub(crate) fn new(call: OpenCall, outbound: gannet_transport::Outbound<T>) -> Outbound<T> {
        Outbound { call, outbound }
    }

    /// Sends one message, and blocks while too much is on its way.
    ///
    /// # Errors
    /// Once the call has ended: what it failed with, or CANCELLED where it has ended well.
    pub fn send(&mut self, message: T) -> Result<(), Status> {
        self.call.wait(self.outbound.send(message))
    }

    /// As [`send`](Self::send), uncompressed whatever the call compresses with.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_uncompressed(&mut self, message: T) -> Result<(), Status> {
        self.call.wait(self.outbound.send(message).uncompressed())
    }

    /// Says that no message follows.
    pub fn finish(self) {
        self.outbound.finish();
    }
}

/// The one response of a call with many requests.
#[derive(Debug)]
#[must_use = "dropping the reply cancels the call"]
pub struct Reply<T> {
    call: OpenCall,
    reply: crate::Reply<T>,
}

impl<T> Reply<T> {
    pub(crate) fn new(call: OpenCall, reply: crate::Reply<T>) -> Reply<T> {
        Reply { call, reply }
    }

    /// Blocks until the response has come.
    ///
    /// # Errors
    /// The status the call ended with.
    pub fn wait(self) -> Result<T> {
        self.call.wait(self.reply)
    }

    /// As [`wait`](Self::wait), with the response's headers and trailers.
    ///
    /// # Errors
    /// The status the call ended with.
    pub fn wait_with_metadata(self) -> Result<(T, ResponseMetadata)> {
        self.call.wait(self.reply.with_metadata())
    }
}
