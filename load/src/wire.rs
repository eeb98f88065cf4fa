//! What a connection is made of: a socket, or TLS over one. Counts what passes the socket.
//!
//! TLS is rustls' own connection, with no runtime: what is sent is encrypted once and handed to the
//! socket as rustls holds it. What comes is read in large pieces, because rustls by itself reads 4
//! KiB at a time, which is 256 system calls for a MiB.

use std::io::{self, Read, Write};
use std::net::TcpStream as StdStream;

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::tally::Counts;

/// A socket that calls go over. It blocks or not, as whoever made it chose.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsWire>),
}

impl From<TcpStream> for Wire {
    fn from(socket: TcpStream) -> Wire {
        Wire::Plain(socket)
    }
}

impl Wire {
    /// Reads what is there; 0 where the other side sends no more. Less than there is room for means
    /// that the socket was emptied.
    pub(crate) fn read(&mut self, into: &mut [u8], counts: &mut Counts) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => read(socket, into, counts),
            Wire::Tls(tls) => tls.read(into, counts),
        }
    }

    /// Takes some of it to be sent; under TLS it may be held, see [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8], counts: &mut Counts) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => Counted { socket, counts }.write(bytes),
            Wire::Tls(tls) => tls.write(bytes, counts),
        }
    }

    /// Sends what is held; `WouldBlock` where the socket does not take all of it.
    pub(crate) fn flush(&mut self, counts: &mut Counts) -> io::Result<()> {
        match self {
            Wire::Plain(_) => Ok(()),
            Wire::Tls(tls) => tls.flush(counts),
        }
    }
}

/// TLS after the handshake.
#[derive(Debug)]
pub(crate) struct TlsWire {
    socket: TcpStream,
    tls: ClientConnection,
    /// Records as they came; those from `from` up to `to` have not been looked at.
    records: Vec<u8>,
    from: usize,
    to: usize,
    /// The last read left nothing in the socket.
    is_emptied: bool,
}

/// What one read of the socket takes at most.
const RECORDS_BYTES: usize = 128 << 10;
/// What rustls encrypts before the socket must take it.
const HELD_BYTES_MAX: usize = 256 << 10;

impl TlsWire {
    /// Shakes hands over a socket that blocks.
    pub(crate) fn connect(mut tls: ClientConnection, socket: &mut StdStream) -> io::Result<Shaken> {
        tls.set_buffer_limit(Some(HELD_BYTES_MAX));
        while tls.is_handshaking() {
            tls.complete_io(socket)?;
        }
        match tls.alpn_protocol() {
            Some(b"h2") => Ok(Shaken(tls)),
            _ => Err(io::Error::other("the server does not offer HTTP/2 (\"h2\") by ALPN")),
        }
    }

    fn read(&mut self, into: &mut [u8], counts: &mut Counts) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            filled += match self.tls.reader().read(&mut into[filled..]) {
                // The server has said that it sends no more.
                Ok(0) => return Ok(filled),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if filled == into.len() {
                return Ok(filled);
            }
            if self.from < self.to {
                self.decrypt()?;
                continue;
            }
            // Another read might wait for what is never sent.
            if filled > 0 && self.is_emptied {
                return Ok(filled);
            }
            let room = self.records.len();
            match read(&mut self.socket, &mut self.records, counts) {
                Ok(0) if filled == 0 => return Ok(0),
                Ok(n) => (self.from, self.to, self.is_emptied) = (0, n, n < room),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled > 0 => {
                    return Ok(filled);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands some of the records to rustls, whose plaintext must have been taken.
    fn decrypt(&mut self) -> io::Result<()> {
        let mut records = &self.records[self.from..self.to];
        self.from += self.tls.read_tls(&mut records)?;
        match self.tls.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn write(&mut self, bytes: &[u8], counts: &mut Counts) -> io::Result<usize> {
        self.flush(counts)?;
        let n = self.tls.writer().write(bytes)?;
        match self.flush(counts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(n),
            flushed => flushed.map(|()| n),
        }
    }

    fn flush(&mut self, counts: &mut Counts) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Counted { socket: &mut self.socket, counts })?;
        }
        Ok(())
    }
}

/// A handshake that is done.
pub(crate) struct Shaken(ClientConnection);

impl Shaken {
    /// Goes on over the same socket, which need not block any more.
    pub(crate) fn over(self, socket: TcpStream) -> Wire {
        let records = vec![0; RECORDS_BYTES];
        // What came with the handshake is all there is to be read without a wait.
        let (from, to, is_emptied) = (0, 0, true);
        Wire::Tls(Box::new(TlsWire { socket, tls: self.0, records, from, to, is_emptied }))
    }
}

fn read(socket: &mut TcpStream, into: &mut [u8], counts: &mut Counts) -> io::Result<usize> {
    loop {
        match socket.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let n = read?;
                counts.reads += 1;
                counts.bytes_in += n as u64;
                return Ok(n);
            }
        }
    }
}

/// The socket's writing half, and what it has taken.
struct Counted<'a> {
    socket: &'a mut TcpStream,
    counts: &'a mut Counts,
}

impl Counted<'_> {
    fn took(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        let n = written?;
        self.counts.writes += 1;
        self.counts.bytes_out += n as u64;
        Ok(n)
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.socket.write(bytes);
        self.took(written)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let written = self.socket.write_vectored(parts);
        self.took(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
