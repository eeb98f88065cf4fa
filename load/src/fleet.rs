//! Many connections on one thread: one poll, then each that is awake reads and writes.
//!
//! A single connection with little in flight needs no poll: its socket blocks.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::hold::{Hold, WAKER};
use crate::link::{INPUT_BYTES, Link, Speaker, State};
use crate::tally::{Pace, Tally};
use crate::trust::Trust;
use crate::wire::{TlsWire, Wire};

/// Where nothing moves for so long while calls are due, the run has failed.
const STALL_MAX: Duration = Duration::from_secs(20);
const EVENTS_MAX: usize = 1024;

/// The connections of a run.
#[derive(Debug)]
pub(crate) struct Fleet<S> {
    target: Target,
    wait: Wait,
    links: Vec<Link<S>>,
    input: Vec<u8>,
}

/// What is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// With TLS, whom it trusts.
    pub(crate) trust: Option<Trust>,
}

#[derive(Debug)]
enum Wait {
    /// For the one connection, in its read.
    Block,
    Poll(Poll, Events),
}

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until<'a> {
    /// Every connection may make calls.
    Ready,
    /// Every call that may begin has ended.
    Done,
    Time(Instant),
    /// The hold is over.
    Told(&'a Hold),
}

impl<S: Speaker> Fleet<S> {
    /// Opens the connections, each with what `speaker` makes.
    pub(crate) fn open(
        target: Target,
        connections: usize,
        blocks: bool,
        speaker: impl Fn() -> S,
    ) -> io::Result<Fleet<S>> {
        let wait = match blocks && connections == 1 {
            true => Wait::Block,
            false => Wait::Poll(Poll::new()?, Events::with_capacity(EVENTS_MAX)),
        };
        let mut fleet = Fleet { target, wait, links: Vec::new(), input: vec![0; INPUT_BYTES] };
        for _ in 0..connections {
            let wire = fleet.connect(fleet.links.len())?;
            fleet.links.push(Link::new(wire, speaker()));
        }
        Ok(fleet)
    }

    fn connect(&self, index: usize) -> io::Result<Wire> {
        let mut socket = StdStream::connect(self.target.addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(STALL_MAX))?;
        let tls = match &self.target.trust {
            Some(trust) => Some(TlsWire::connect(trust.client()?, &mut socket)?),
            None => None,
        };
        let is_polled = matches!(self.wait, Wait::Poll(..));
        socket.set_nonblocking(is_polled)?;
        let mut socket = TcpStream::from_std(socket);
        if let Wait::Poll(poll, _) = &self.wait {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(index), interest)?;
        }
        Ok(match tls {
            Some(tls) => tls.over(socket),
            None => socket.into(),
        })
    }

    /// The handle that ends [`Until::Told`].
    pub(crate) fn hold(&self) -> io::Result<Hold> {
        let Wait::Poll(poll, _) = &self.wait else {
            return Err(io::Error::other("a connection that blocks cannot be told"));
        };
        Hold::new(poll.registry())
    }

    pub(crate) fn speakers(&mut self) -> impl Iterator<Item = &mut S> {
        self.links.iter_mut().map(|link| &mut link.speaker)
    }

    /// Makes calls, as many as the tally lets begin.
    pub(crate) fn run(&mut self, until: Until<'_>, tally: &mut Tally) -> io::Result<()> {
        self.go(tally)?;
        while !self.is_over(until, tally) {
            match &mut self.wait {
                Wait::Block => self.wake(0, false, tally).map_err(|error| match error.kind() {
                    io::ErrorKind::WouldBlock => stalled(tally),
                    _ => error,
                })?,
                Wait::Poll(poll, events) => {
                    let timeout = match until {
                        Until::Time(end) => {
                            Some(end.saturating_duration_since(Instant::now()).min(STALL_MAX))
                        }
                        Until::Told(_) => None,
                        Until::Ready | Until::Done => Some(STALL_MAX),
                    };
                    match poll.poll(events, timeout) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        polled => polled?,
                    }
                    if events.is_empty() && timeout == Some(STALL_MAX) {
                        return Err(stalled(tally));
                    }
                    self.wake_all(tally)?;
                }
            }
            let is_settled = || self.links.iter().all(|link| link.speaker.is_settled());
            if tally.pace == Pace::Waits && is_settled() {
                self.go(tally)?;
            }
        }
        Ok(())
    }

    /// Lets every connection send.
    fn go(&mut self, tally: &mut Tally) -> io::Result<()> {
        let pace = tally.pace;
        if pace == Pace::Waits {
            tally.pace = Pace::Goes;
        }
        let now = Instant::now();
        for index in 0..self.links.len() {
            match self.links[index].speaker.is_spent() {
                true => self.renew(index, tally)?,
                false => self.links[index].send(now, tally)?,
            }
        }
        tally.pace = pace;
        Ok(())
    }

    fn is_over(&self, until: Until<'_>, tally: &Tally) -> bool {
        match until {
            Until::Ready => self.links.iter().all(|link| link.speaker.is_ready()),
            Until::Done => tally.is_done(),
            Until::Time(end) => Instant::now() >= end,
            Until::Told(hold) => hold.is_over(),
        }
    }

    /// Lets each connection read and write that an event is for.
    fn wake_all(&mut self, tally: &mut Tally) -> io::Result<()> {
        let Wait::Poll(_, events) = &mut self.wait else { return Ok(()) };
        let events = std::mem::replace(events, Events::with_capacity(0));
        for event in events.iter().filter(|event| event.token() != WAKER) {
            let index = event.token().0;
            let is_closed = event.is_read_closed() || event.is_error();
            let is_spent = self.links[index].speaker.is_spent();
            let woken = match event.is_readable() || is_closed || is_spent {
                true => self.wake(index, is_closed, tally),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
            match woken {
                // There was nothing to read: the event was for what waits to be written.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.links[index].send(Instant::now(), tally)?;
                }
                woken => woken?,
            }
        }
        if let Wait::Poll(_, place) = &mut self.wait {
            *place = events;
        }
        Ok(())
    }

    /// Reads and answers; to the end where no event will come again.
    fn wake(&mut self, index: usize, is_closed: bool, tally: &mut Tally) -> io::Result<()> {
        loop {
            let link = &mut self.links[index];
            if link.speaker.is_spent() {
                return self.renew(index, tally);
            }
            match link.receive(&mut self.input, tally)? {
                _ if link.speaker.is_spent() => {}
                State::Open if is_closed => {}
                State::Open => return Ok(()),
                State::Ended => return Err(closed(tally)),
            }
        }
    }

    /// Opens the next connection where the last one is spent and another call is due.
    fn renew(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let now = Instant::now();
        self.links[index].speaker.fill(now, tally)?;
        if self.links[index].speaker.output().is_empty() {
            return Ok(());
        }
        let wire = self.connect(index)?;
        self.links[index].renew(wire);
        self.links[index].send(now, tally)
    }
}

fn closed(tally: &Tally) -> io::Error {
    let what = format!("the server closed the connection with {} calls under way", tally.open);
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

fn stalled(tally: &Tally) -> io::Error {
    let waited = STALL_MAX.as_secs();
    let what = format!("nothing came for {waited} s, with {} calls under way", tally.open);
    io::Error::new(io::ErrorKind::TimedOut, what)
}
