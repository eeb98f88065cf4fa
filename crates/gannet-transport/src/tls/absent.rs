//! What stands for TLS where it is switched off: types without values.

use std::io;

use crate::{Peer, Stream};

/// TLS of a listener; there is none without the feature `tls`.
#[derive(Clone, Debug)]
pub enum ServerTls {}

impl ServerTls {
    pub(crate) async fn accept(self, _: Stream, _: Peer) -> io::Result<(Stream, Peer)> {
        match self {}
    }
}

/// TLS of a channel; there is none without the feature `tls`.
#[derive(Clone, Debug)]
pub enum ClientTls {}

impl ClientTls {
    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub fn check_authority(&self, _: &str) -> io::Result<()> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn connect(&self, _: Stream, _: &str) -> io::Result<Stream> {
        match *self {}
    }
}
