//! A stream under TLS after its handshake: rustls between the driver and the socket.
//!
//! By itself rustls reads a few KiB at a time and hands out one record. Here records come in large
//! reads, into storage that is this thread's and given back when it is empty, and one read of the
//! driver gets the plaintext of all of them. What the driver writes at once becomes as few records
//! as hold it. While the socket is full, what was encrypted waits, and nothing more is encrypted.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::Connection;

use super::error;
use crate::Stream;
use crate::io::Input;
use crate::pool;

/// A stream under TLS, over any other stream.
pub struct TlsStream {
    io: Stream,
    tls: Connection,
    records: Records,
    /// What ends the stream, once what came before it is read.
    error: Option<io::Error>,
    /// Bytes that the stream below has taken.
    sent_bytes: u64,
    is_shut_down: bool,
}

/// What is encrypted before the stream below must take it.
const HELD_BYTES_MAX: usize = 128 << 10;

impl TlsStream {
    /// Goes on after the handshake.
    pub(super) fn new(io: Stream, mut tls: Connection) -> TlsStream {
        tls.set_buffer_limit(Some(HELD_BYTES_MAX));
        let records = Records::default();
        TlsStream { io, tls, records, error: None, sent_bytes: 0, is_shut_down: false }
    }

    /// A stream whose handshake somebody else has made.
    #[cfg(feature = "fuzzing")]
    pub fn after_handshake(io: Stream, tls: Connection) -> TlsStream {
        TlsStream::new(io, tls)
    }

    /// What the records go over.
    pub(crate) fn below(&self) -> &Stream {
        &self.io
    }

    /// Reads the plaintext of all that is there, as much as `buf` holds. See [`Stream::read`].
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> io::Result<(Option<usize>, Input)> {
        let mut filled = 0;
        match self.fill(cx, buf, &mut filled) {
            Ok(_) if filled == buf.len() => Ok((Some(filled), Input::Open)),
            Ok(Input::Open) => Ok((Some(filled), Input::Open)),
            Ok(input) => Ok(((filled > 0).then_some(filled), input)),
            Err(error) if filled > 0 => {
                self.error = Some(error);
                Ok((Some(filled), Input::Open))
            }
            Err(error) => Err(error),
        }
    }

    /// Fills `buf`; with room left, `Input::Open` is the end.
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        filled: &mut usize,
    ) -> io::Result<Input> {
        let mut input = Input::Open;
        loop {
            match self.tls.reader().read(&mut buf[*filled..]) {
                Ok(0) => return Ok(Input::Open),
                Ok(n) => *filled += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(error::cut_off());
                }
                Err(error) => return Err(error),
            }
            if *filled == buf.len() {
                return Ok(Input::Open);
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.records.is_empty() {
                if input == Input::Open {
                    let (bytes, now) = self.io.read(cx, self.records.spare_mut())?;
                    input = now;
                    match bytes {
                        None => {}
                        // rustls makes of it an end, or an error where the peer said no goodbye.
                        Some(0) => drop(self.tls.read_tls(&mut io::empty())?),
                        Some(n) => self.records.commit(n),
                    }
                }
                if self.records.is_empty() && input != Input::Open {
                    self.records.give_back();
                    return Ok(input);
                }
            }
            // Records before a broken one have their plaintext.
            self.error = self.decrypt(cx).err();
        }
    }

    /// Hands some records to rustls, whose plaintext must have been taken.
    fn decrypt(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut records = self.records.unread();
        if !records.is_empty() {
            let n = self.tls.read_tls(&mut records)?;
            self.records.consume(n);
        }
        let processed = self.tls.process_new_packets();
        processed.map(drop).map_err(|error| {
            // The peer is told, if the socket takes it now.
            let _ = self.push(cx);
            error::records(error)
        })
    }

    /// Whether there is output of this stream's own that the one below has not taken.
    pub(crate) fn holds_output(&self) -> bool {
        self.tls.wants_write()
    }

    /// How many bytes the stream below has taken so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Waits for more to read, after [`read`](Self::read) found nothing left.
    pub(crate) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_input(cx)
    }

    /// Writes what rustls holds.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut below = Below { io: &mut self.io, cx };
            match self.tls.write_tls(&mut below) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.sent_bytes += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.read(cx, buf.initialize_unfilled())? {
                (Some(n), _) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                (None, Input::Awaited) => return Poll::Pending,
                (None, _) => ready!(this.poll_input(cx)),
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.push(cx))?;
        let n = match bufs {
            [one] => this.tls.writer().write(one)?,
            many => this.tls.writer().write_vectored(many)?,
        };
        match this.push(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(n)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.push(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.is_shut_down, true) {
            this.tls.send_close_notify();
        }
        ready!(this.push(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("io", &self.io).finish_non_exhaustive()
    }
}

/// The stream below, as rustls writes to it.
struct Below<'a, 'b, 'c> {
    io: &'a mut Stream,
    cx: &'b mut Context<'c>,
}

impl Write for Below<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.io.write_now(bytes)? {
            0 => or_would_block(Pin::new(&mut *self.io).poll_write(self.cx, bytes)),
            n => Ok(n),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match parts {
            [one] => self.write(one),
            many => or_would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, many)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(written) => written,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Records as they came, not yet looked at.
#[derive(Default)]
struct Records {
    storage: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled the storage.
    grow: bool,
}

impl Records {
    /// Storage at first, and at most.
    const BYTES_MIN: usize = 16 << 10;
    const BYTES_MAX: usize = 128 << 10;

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room to read into, while there is nothing else.
    fn spare_mut(&mut self) -> &mut [u8] {
        debug_assert!(self.is_empty());
        // What is there lies in this storage, which may be another one than before: also where the
        // read finds nothing but the end.
        (self.start, self.end) = (0, 0);
        if self.storage.is_empty() {
            self.storage = pool::take().unwrap_or_default();
        }
        let length = self.storage.len();
        let grown = if std::mem::take(&mut self.grow) { 2 * length } else { length };
        let due = grown.clamp(Self::BYTES_MIN, Self::BYTES_MAX);
        if length < due {
            self.storage.resize(due, 0);
        }
        let most = self.storage.len().min(Self::BYTES_MAX);
        &mut self.storage[..most]
    }

    /// The first `n` bytes of the spare room were read.
    fn commit(&mut self, n: usize) {
        self.grow = n == self.storage.len();
        (self.start, self.end) = (0, n);
    }

    fn unread(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
    }

    /// Nothing is to be read: another connection may use the storage.
    fn give_back(&mut self) {
        if !self.storage.is_empty() {
            pool::give(std::mem::take(&mut self.storage));
        }
    }
}

#[cfg(test)]
mod tests;
