//! Reads and writes of a socket whose readiness is known, at less than a poll's cost each.
//!
//! A connection that was woken may read, and mostly it may write: both are tried at once, and
//! nothing is registered with the reactor. A read that leaves room in its buffer has emptied the
//! socket: what is left to do is to wait for more, and the read that finds nothing is never made.
//!
//! TLS does the same with the stream below it. The in-process pipe has no such thing, and is polled
//! as ever.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};

use super::Stream;

/// Where reading stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Input {
    /// There may be more.
    #[default]
    Open,
    /// Nothing is left; [`Stream::poll_input`] waits for more.
    Drained,
    /// Nothing is left, and the task is woken when there is more.
    Awaited,
}

impl Stream {
    /// Reads what is there into `buf`, which is not empty; `None` where that is nothing. The end
    /// is 0 bytes.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> io::Result<(Option<usize>, Input)> {
        let mut reading = Reading { buf, bytes: None };
        let read = match self {
            Stream::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || reading.read(&SockRef::from(&*stream)))
            }
            #[cfg(unix)]
            Stream::Unix(stream) => {
                stream.try_io(Interest::READABLE, || reading.read(&SockRef::from(&*stream)))
            }
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => return stream.read(cx, reading.buf),
            other => return poll_read(Pin::new(other), cx, reading.buf),
        };
        match read {
            Ok(()) => Ok((reading.bytes, Input::Open)),
            // After a read that went well the error is our own.
            Err(_) if reading.bytes.is_some() => Ok((reading.bytes, Input::Drained)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((None, Input::Drained)),
            Err(error) => Err(error),
        }
    }

    /// Waits for more to read; ready where there may be some. An error is the next read's.
    pub(crate) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(stream) => stream.poll_read_ready(cx).map(drop),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.poll_read_ready(cx).map(drop),
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => stream.poll_input(cx),
            Stream::Pipe(_) => Poll::Ready(()),
        }
    }

    /// Whether it holds output of its own that the socket has not taken: TLS records.
    pub(crate) fn holds_output(&self) -> bool {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => stream.holds_output(),
            _ => false,
        }
    }

    /// Whether what was written may stay with it until it is flushed.
    #[inline]
    pub(crate) fn needs_flush(&self) -> bool {
        match self {
            Stream::Tcp(_) => false,
            #[cfg(unix)]
            Stream::Unix(_) => false,
            _ => true,
        }
    }

    /// How many bytes the socket has taken so far, where that is not what was written.
    pub(crate) fn sent_bytes(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "_tls")]
            Stream::Tls(stream) => Some(stream.sent_bytes()),
            _ => None,
        }
    }

    /// Writes as much of `bytes` as goes at once; 0 where it is better polled.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > WRITTEN_NOW_BYTES_MAX {
            return Ok(0);
        }
        let written = match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_write(bytes),
            _ => return Ok(0),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }
}

/// Output above this may fill the socket. A poll that wrote a part of it notes that, and saves the
/// attempt to write the rest.
const WRITTEN_NOW_BYTES_MAX: usize = 16 << 10;

/// One attempt to read from a socket.
struct Reading<'a> {
    buf: &'a mut [u8],
    /// What came of it.
    bytes: Option<usize>,
}

impl Reading<'_> {
    /// Fails with `WouldBlock` where the socket is empty now, which is how the reactor is told to
    /// wait for more: tokio's own reads clear the readiness after a short read too. Reactors that
    /// are not edge-triggered arm the socket again, and find at once what came meanwhile.
    fn read(&mut self, mut socket: &socket2::Socket) -> io::Result<()> {
        let n = socket.read(self.buf)?;
        self.bytes = Some(n);
        let is_drained = n > 0 && n < self.buf.len();
        if is_drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

fn poll_read(
    stream: Pin<&mut Stream>,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> io::Result<(Option<usize>, Input)> {
    let mut buf = ReadBuf::new(buf);
    match stream.poll_read(cx, &mut buf) {
        Poll::Pending => Ok((None, Input::Awaited)),
        Poll::Ready(read) => read.map(|()| (Some(buf.filled().len()), Input::Open)),
    }
}
