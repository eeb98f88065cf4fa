//! A stream on which TLS is about to begin: looks at the first bytes that come.
//!
//! Where they cannot be TLS, rustls never sees them: it would answer with an alert, which whoever
//! speaks plain HTTP cannot read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Stream;

/// See the module.
pub(super) struct First {
    pub(super) io: Stream,
    head: [u8; HEAD_BYTES],
    seen: usize,
    /// What came, where that is no TLS: no more than one read, and the preface of HTTP/2.
    pub(super) said: Vec<u8>,
}

/// What a peer speaks that does not speak TLS, or none that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// A client's preface, or a server's SETTINGS.
    Http2,
    /// A request or a response.
    Http1,
    /// A client whose newest TLS is 1.1 or older. rustls minds what else is wrong with its hello.
    OldTls,
    Other,
}

/// As much as tells the protocols apart: a ClientHello up to its version.
const HEAD_BYTES: usize = 11;

impl First {
    pub(super) fn new(io: Stream) -> First {
        First { io, head: [0; HEAD_BYTES], seen: 0, said: Vec::new() }
    }

    /// What came instead of TLS, if anything.
    pub(super) fn plain(&self) -> Option<Plain> {
        plain(&self.head[..self.seen])
    }
}

/// What it is that begins like this, unless it is TLS or nothing.
fn plain(head: &[u8]) -> Option<Plain> {
    // RFC 8446 section 5.1: alert and handshake are the records to begin with.
    if let [] | [21 | 22, ..] = head {
        // A client that has TLS 1.2 or 1.3 says 3, 3 here.
        let is_old = matches!(head, [22, _, _, _, _, 1, _, _, _, 3, 0..=2, ..]);
        return is_old.then_some(Plain::OldTls);
    }
    Some(match head {
        [b'P', b'R', b'I', b' ', ..] => Plain::Http2,
        // Of SETTINGS: a short length, the type, flags, stream 0.
        [0, _, _, 4, _, 0, 0, 0, 0, ..] => Plain::Http2,
        [letter, ..] if letter.is_ascii_uppercase() => Plain::Http1,
        _ => Plain::Other,
    })
}

/// A preface that has only begun looks like a request of HTTP/1.
fn may_become_http2(head: &[u8]) -> bool {
    head.len() < 4 && b"PRI ".starts_with(head)
}

impl AsyncRead for First {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let came = &buf.filled()[before..];
            let n = came.len().min(HEAD_BYTES - this.seen);
            this.head[this.seen..][..n].copy_from_slice(&came[..n]);
            this.seen += n;
            if this.plain().is_none() {
                return Poll::Ready(Ok(()));
            }
            this.said.extend_from_slice(came);
            if came.is_empty() || !may_become_http2(&this.head[..this.seen]) {
                let told = "what the peer sent is no TLS record";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, told)));
            }
            buf.set_filled(before);
        }
    }
}

impl AsyncWrite for First {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart_by_their_first_bytes() {
        let table: [(&[u8], Option<Plain>); 14] = [
            (b"", None),
            (b"\x16\x03\x01\x02\x00", None),
            (b"\x15\x03\x03\x00\x02", None),
            // Hellos for TLS 1.2, for 1.1 and for 1.0, and what a server says.
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x02", Some(Plain::OldTls)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x01", Some(Plain::OldTls)),
            (b"\x16\x03\x02\x02\x00\x02\x00\x01\xfc\x03\x02", None),
            (b"PRI * HTT", Some(Plain::Http2)),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Some(Plain::Http2)),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", Some(Plain::Http2)),
            (b"HTTP/1.1 ", Some(Plain::Http1)),
            (b"GET / HTT", Some(Plain::Http1)),
            (b"P", Some(Plain::Http1)),
            (b"\x00\x00\x12\x07\x00\x00\x00\x00\x00", Some(Plain::Other)),
        ];
        for (head, what) in table {
            assert_eq!(plain(head), what, "{head:?}");
        }
    }
}
