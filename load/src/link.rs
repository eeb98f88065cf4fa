//! A socket and who speaks over it: reads what is there, writes once for all of it.

use std::io;
use std::time::Instant;

use crate::tally::Tally;
use crate::wire::Wire;

/// One side of one connection, without I/O.
pub(crate) trait Speaker {
    /// Takes what came at `now`, and tells how much of it is done with.
    fn handle(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> io::Result<usize>;

    /// Begins calls as there is room, and adds to the output what may be sent.
    fn fill(&mut self, now: Instant, tally: &mut Tally) -> io::Result<()>;

    /// What waits for the socket.
    fn output(&mut self) -> &mut Vec<u8>;

    /// Calls may begin.
    fn is_ready(&self) -> bool;

    /// Every reply to what was sent has come.
    fn is_settled(&self) -> bool {
        true
    }

    /// Everything was said over this connection; the next one may come.
    fn is_spent(&self) -> bool {
        false
    }
}

/// A connection. Its socket blocks or not, as whoever made it chose.
#[derive(Debug)]
pub(crate) struct Link<S> {
    wire: Wire,
    pub(crate) speaker: S,
    /// The start of something whose end has not come.
    partial: Vec<u8>,
    /// What of the output is written.
    written: usize,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// The other side sends no more.
    Ended,
}

/// What one read takes at most: the buffer that all connections of a thread share.
pub(crate) const INPUT_BYTES: usize = 256 << 10;

impl<S: Speaker> Link<S> {
    pub(crate) fn new(wire: Wire, speaker: S) -> Link<S> {
        Link { wire, speaker, partial: Vec::with_capacity(1 << 15), written: 0 }
    }

    /// Goes on over another socket.
    pub(crate) fn renew(&mut self, wire: Wire) {
        self.wire = wire;
        self.partial.clear();
        self.written = 0;
    }

    /// Reads until nothing is left and answers each time; once where the socket blocks.
    pub(crate) fn receive(&mut self, input: &mut [u8], tally: &mut Tally) -> io::Result<State> {
        loop {
            let kept = self.partial.len();
            let n = match self.wire.read(&mut input[kept..], &mut tally.counts)? {
                0 => return Ok(State::Ended),
                n => n,
            };
            input[..kept].copy_from_slice(&self.partial);
            let end = kept + n;
            let now = Instant::now();
            let used = self.speaker.handle(&input[..end], now, tally)?;
            self.partial.clear();
            self.partial.extend_from_slice(&input[used..end]);
            if self.speaker.is_spent() {
                return Ok(State::Open);
            }
            self.send(now, tally)?;
            // A short read has emptied the socket.
            if end < input.len() {
                return Ok(State::Open);
            }
        }
    }

    /// Writes as much as there is to say and the socket takes.
    pub(crate) fn send(&mut self, now: Instant, tally: &mut Tally) -> io::Result<()> {
        loop {
            self.speaker.fill(now, tally)?;
            let output = self.speaker.output();
            let sent = match output.is_empty() {
                true => return self.flush(tally),
                false => self.wire.write(&output[self.written..], &mut tally.counts),
            };
            match sent {
                Ok(n) => {
                    self.written += n;
                    if self.written < output.len() {
                        continue;
                    }
                    output.clear();
                    self.written = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what the wire holds, as far as the socket takes it.
    fn flush(&mut self, tally: &mut Tally) -> io::Result<()> {
        match self.wire.flush(&mut tally.counts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }
}
