//! A load generator that costs next to nothing: unary calls as canned HTTP/2 frames over one
//! blocking connection, a number of them in flight.
//!
//! It encodes the first call in full and each later one as the same few bytes with another stream
//! identifier, so that what is measured is the server. It allocates nothing once it runs, which
//! lets a test count the server's allocations in the same process. It checks that every reply
//! carries the payload that is expected; it is no HTTP/2 client for any other use.

mod frames;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use frames::{Frame, Kind, Request};

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// `/package.Service/Method`
    pub path: String,
    /// The request message, without its prefix.
    pub request: Vec<u8>,
    /// The reply message that every call must get, without its prefix.
    pub reply: Vec<u8>,
    /// Calls in flight, at least 1; at most what the server admits.
    pub in_flight: usize,
    /// Calls in all.
    pub calls: u64,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Calls that were answered rightly.
    pub calls: u64,
    /// From the first call to the last reply.
    pub elapsed: Duration,
    /// Bytes received.
    pub bytes: u64,
}

/// A connection that is ready, with its buffers.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    next_id: u32,
    credit_bytes: u32,
    first_done: bool,
}

/// Received bytes after which the connection's window is opened again.
const CREDIT_STEP_BYTES: u32 = 1 << 28;
const BUFFER_BYTES: usize = 256 << 10;

impl Connection {
    /// Connects and sends the preface.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(addr: &str) -> io::Result<Connection> {
        let mut socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.write_all(&frames::preface())?;
        Ok(Connection {
            socket,
            input: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            output: Vec::with_capacity(BUFFER_BYTES),
            next_id: 1,
            credit_bytes: 0,
            first_done: false,
        })
    }

    /// Makes the calls. May be called again, with the same path.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` where a reply is not the expected one.
    pub fn run(&mut self, load: &Load) -> io::Result<Report> {
        let request = Request::new(&load.path, &load.request);
        let mut run = Run { load, left_to_send: load.calls, done: 0, bytes: 0 };
        let begun = Instant::now();
        // The first call fills the tables of both sides; the others must follow it.
        if !self.first_done && run.left_to_send > 0 {
            request.write_first(self.take_id(), &mut self.output);
            run.left_to_send -= 1;
            while run.done == 0 {
                self.exchange(&mut run, None)?;
            }
            self.first_done = true;
        }
        self.send(&request, &mut run, load.in_flight);
        while run.done < load.calls {
            self.exchange(&mut run, Some(&request))?;
        }
        Ok(Report { calls: run.done, elapsed: begun.elapsed(), bytes: run.bytes })
    }

    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 2;
        id
    }

    fn send(&mut self, request: &Request, run: &mut Run<'_>, calls: usize) {
        for _ in 0..calls {
            if run.left_to_send == 0 {
                return;
            }
            run.left_to_send -= 1;
            let id = self.take_id();
            request.write_next(id, &mut self.output);
        }
    }

    /// Writes what is due, reads what is there, and starts a call for each that ended.
    fn exchange(&mut self, run: &mut Run<'_>, request: Option<&Request>) -> io::Result<()> {
        if !self.output.is_empty() {
            self.socket.write_all(&self.output)?;
            self.output.clear();
        }
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = self.socket.read(&mut self.input[self.end..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += n;
        run.bytes += n as u64;
        let mut ended = 0;
        while let Some((frame, length)) = Frame::parse(&self.input[self.start..self.end]) {
            match frame.kind {
                Kind::Settings if !frame.ack => frames::settings_ack(&mut self.output),
                Kind::Ping if !frame.ack => frames::ping_ack(frame.payload, &mut self.output),
                Kind::Data => {
                    self.credit_bytes += u32::try_from(frame.payload.len()).unwrap_or(0);
                    run.check_reply(frame.payload)?;
                }
                Kind::Headers if frame.end_stream => ended += 1,
                Kind::Reset => return Err(unexpected("a call was reset")),
                Kind::GoAway => return Err(unexpected("the server said goodbye")),
                _ => {}
            }
            self.start += length;
        }
        if self.credit_bytes >= CREDIT_STEP_BYTES {
            frames::window_update(self.credit_bytes, &mut self.output);
            self.credit_bytes = 0;
        }
        run.done += ended as u64;
        if let Some(request) = request {
            self.send(request, run, ended);
        }
        Ok(())
    }
}

struct Run<'a> {
    load: &'a Load,
    left_to_send: u64,
    done: u64,
    bytes: u64,
}

impl Run<'_> {
    fn check_reply(&self, payload: &[u8]) -> io::Result<()> {
        if payload.get(5..) == Some(&self.load.reply[..]) {
            return Ok(());
        }
        Err(unexpected("a reply differs from the expected one"))
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
