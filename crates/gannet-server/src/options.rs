//! [`MethodOptions`]: what holds for some methods and not for others.

use std::time::Duration;

use gannet_core::compression::Encoding;

use crate::Dispatch;

/// What calls of a method are served with, where that is not what the server says for all: see
/// [`Server::method`](crate::Server::method).
///
/// ```
/// # use std::time::Duration;
/// # use gannet::{Server, server::{Dispatch, MethodOptions}};
/// # let server =
/// Server::new()
///     .method("pkg.Files", MethodOptions::new().timeout(Duration::from_secs(60)))
///     .method("/pkg.Files/Upload", MethodOptions::new().max_receive_bytes(64 << 20))
///     .method("/pkg.Files/Hash", MethodOptions::new().dispatch(Dispatch::Compute));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until they are given to a server"]
pub struct MethodOptions {
    pub(crate) receive_bytes_max: Option<usize>,
    pub(crate) send_bytes_max: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) dispatch: Option<Dispatch>,
    pub(crate) compress: Option<Encoding>,
}

impl MethodOptions {
    /// Nothing but what the server says.
    pub const fn new() -> MethodOptions {
        MethodOptions {
            receive_bytes_max: None,
            send_bytes_max: None,
            timeout: None,
            dispatch: None,
            compress: None,
        }
    }

    /// The largest message that is received, in bytes. A larger one ends its call with
    /// RESOURCE_EXHAUSTED.
    pub const fn max_receive_bytes(mut self, bytes: usize) -> MethodOptions {
        self.receive_bytes_max = Some(bytes);
        self
    }

    /// The largest message that is sent, in bytes. A larger one ends its call with
    /// RESOURCE_EXHAUSTED.
    pub const fn max_send_bytes(mut self, bytes: usize) -> MethodOptions {
        self.send_bytes_max = Some(bytes);
        self
    }

    /// How long a call may take, whatever deadline its client sets. A longer one ends with
    /// DEADLINE_EXCEEDED.
    pub const fn timeout(mut self, max: Duration) -> MethodOptions {
        self.timeout = Some(max);
        self
    }

    /// Where calls run. Without this, they run inline until their polls prove long, and then as
    /// [`Dispatch::Compute`]; to say so beforehand spares the neighbours of the first such calls
    /// the wait.
    /// A test whose time is paused sees no poll as long; name neither [`Dispatch::Compute`] there,
    /// whose threads paused time does not wait for.
    pub const fn dispatch(mut self, dispatch: Dispatch) -> MethodOptions {
        self.dispatch = Some(dispatch);
        self
    }

    /// Compresses responses with `encoding`, one of the server's
    /// [compressors](crate::Server::compressors), or not at all with [`Encoding::IDENTITY`], where
    /// the client accepts that and the handler does not [say otherwise](crate::Call::compress).
    pub const fn compress(mut self, encoding: Encoding) -> MethodOptions {
        self.compress = Some(encoding);
        self
    }

    /// What these say, and else what `wider` ones do.
    pub(crate) fn or(self, wider: MethodOptions) -> MethodOptions {
        MethodOptions {
            receive_bytes_max: self.receive_bytes_max.or(wider.receive_bytes_max),
            send_bytes_max: self.send_bytes_max.or(wider.send_bytes_max),
            timeout: self.timeout.or(wider.timeout),
            dispatch: self.dispatch.or(wider.dispatch),
            compress: self.compress.or(wider.compress),
        }
    }
}
