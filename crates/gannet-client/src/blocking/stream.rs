//! The streams of blocking calls.

use gannet_core::{Metadata, Result, Status};

use super::wait;
use crate::{Channel, ResponseMetadata};

/// The responses of a call, one after the other.
///
/// As an iterator it ends after the last response, or after the error with which the call ended.
/// Dropping it before that cancels the call.
#[derive(Debug)]
pub struct Inbound<T> {
    /// Keeps the connection's thread.
    channel: Channel,
    inbound: gannet_transport::Inbound<T>,
    is_over: bool,
}

impl<T> Inbound<T> {
    pub(crate) fn new(channel: &Channel, inbound: gannet_transport::Inbound<T>) -> Inbound<T> {
        Inbound { channel: channel.clone(), inbound, is_over: false }
    }

    /// Blocks until the response's headers have come.
    ///
    /// # Errors
    /// The status the call ended with, where that comes first.
    pub fn headers(&mut self) -> Result<&Metadata> {
        let inbound = &mut self.inbound;
        wait(&self.channel, async { inbound.headers().await.map(|_| ()) })?;
        wait(&self.channel, inbound.headers())
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
        let next = wait(&self.channel, self.inbound.next()).transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Sends the requests of a call, one after the other.
///
/// Dropping it without [`finish`](Self::finish) cancels the call.
#[derive(Debug)]
pub struct Outbound<T> {
    /// Keeps the connection's thread.
    channel: Channel,
    outbound: gannet_transport::Outbound<T>,
}

impl<T> Outbound<T> {
    pub(crate) fn new(channel: &Channel, outbound: gannet_transport::Outbound<T>) -> Outbound<T> {
        Outbound { channel: channel.clone(), outbound }
    }

    /// Sends one message, and blocks while too much is on its way.
    ///
    /// # Errors
    /// Once the call has ended: what it failed with, or CANCELLED where it has ended well.
    pub fn send(&mut self, message: T) -> Result<(), Status> {
        wait(&self.channel, self.outbound.send(message))
    }

    /// As [`send`](Self::send), uncompressed whatever the call compresses with.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_uncompressed(&mut self, message: T) -> Result<(), Status> {
        wait(&self.channel, self.outbound.send(message).uncompressed())
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
    /// Keeps the connection's thread.
    channel: Channel,
    reply: crate::Reply<T>,
}

impl<T> Reply<T> {
    pub(crate) fn new(channel: &Channel, reply: crate::Reply<T>) -> Reply<T> {
        Reply { channel: channel.clone(), reply }
    }

    /// Blocks until the response has come.
    ///
    /// # Errors
    /// The status the call ended with.
    pub fn wait(self) -> Result<T> {
        wait(&self.channel, self.reply)
    }

    /// As [`wait`](Self::wait), with the response's headers and trailers.
    ///
    /// # Errors
    /// The status the call ended with.
    pub fn wait_with_metadata(self) -> Result<(T, ResponseMetadata)> {
        wait(&self.channel, self.reply.with_metadata())
    }
}
