//! The two roles of a connection (RFC 9113 section 5.1.1).

/// [`Client`] or [`Server`].
pub trait Role: sealed::Sealed + Send + 'static {
    /// Whether streams are opened by the peer.
    const IS_SERVER: bool;
}

/// Opens streams, with odd identifiers.
#[derive(Clone, Copy, Debug)]
pub enum Client {}

/// Answers streams.
#[derive(Clone, Copy, Debug)]
pub enum Server {}

impl Role for Client {
    const IS_SERVER: bool = false;
}

impl Role for Server {
    const IS_SERVER: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Client {}
    impl Sealed for super::Server {}
}
