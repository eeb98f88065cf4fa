//! A server on one thread that answers every call with canned bytes: the floor.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::connection::resolve;
use crate::hold::{Hold, WAKER};
use crate::link::{INPUT_BYTES, Link, State};
use crate::measure::raise_descriptor_limit;
pub use crate::responder::Reply;
use crate::responder::{Answer, Responder};
use crate::tally::Tally;

const LISTENER: Token = Token(usize::MAX - 1);
const EVENTS_MAX: usize = 1024;

/// A server that listens.
#[derive(Debug)]
pub struct CannedServer {
    listener: TcpListener,
    poll: Poll,
    hold: Hold,
    answer: Arc<Answer>,
    /// By token; the places of those that ended are free.
    links: Vec<Option<Link<Responder>>>,
    free: Vec<usize>,
}

impl CannedServer {
    /// Listens; clients can connect from now on.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub fn bind(addr: &str, reply: &Reply) -> io::Result<CannedServer> {
        raise_descriptor_limit();
        let mut listener = TcpListener::bind(resolve(addr)?)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let hold = Hold::new(poll.registry())?;
        let answer = Arc::new(Answer::new(reply));
        Ok(CannedServer { listener, poll, hold, answer, links: Vec::new(), free: Vec::new() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `wait`, which runs on a thread of its own, has returned. A connection that
    /// fails is told to `failed`, and ends; the others go on.
    ///
    /// # Errors
    /// Those of the listener and the poll.
    pub fn serve(
        mut self,
        wait: impl FnOnce() + Send + 'static,
        mut failed: impl FnMut(&io::Error),
    ) -> io::Result<()> {
        self.hold.until(wait);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut input = vec![0; INPUT_BYTES];
        let mut tally = Tally::default();
        while !self.hold.is_over() {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    LISTENER => self.accept(&mut tally)?,
                    Token(index) => {
                        let is_closed = event.is_read_closed() || event.is_error();
                        match self.wake(index, is_closed, &mut input, &mut tally) {
                            Ok(State::Open) => continue,
                            Ok(State::Ended) => {}
                            Err(error) => failed(&error),
                        }
                        self.links[index] = None;
                        self.free.push(index);
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, tally: &mut Tally) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client gave up before it was its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let index = self.free.pop().unwrap_or(self.links.len());
            if index == self.links.len() {
                self.links.push(None);
            }
            // One that fails this early says so again when it is polled.
            self.links[index] = self.greet(socket, index, tally).ok();
            if self.links[index].is_none() {
                self.free.push(index);
            }
        }
    }

    fn greet(
        &self,
        mut socket: TcpStream,
        index: usize,
        tally: &mut Tally,
    ) -> io::Result<Link<Responder>> {
        socket.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interest)?;
        let mut link = Link::new(socket.into(), Responder::new(Arc::clone(&self.answer)));
        link.send(Instant::now(), tally)?;
        Ok(link)
    }

    fn wake(
        &mut self,
        index: usize,
        is_closed: bool,
        input: &mut [u8],
        tally: &mut Tally,
    ) -> io::Result<State> {
        let Some(link) = self.links[index].as_mut() else { return Ok(State::Open) };
        loop {
            match link.receive(input, tally) {
                Ok(State::Open) if is_closed => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    link.send(Instant::now(), tally)?;
                    return Ok(State::Open);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(State::Ended);
                }
                received => return received,
            }
        }
    }
}
