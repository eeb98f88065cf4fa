//! One blocking connection for use from tests: unary calls, and nothing allocated once they run.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Target, Until};
use crate::script::{Plan, Script};
use crate::session::Session;
use crate::tally::Tally;

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
    fleet: Fleet<Session>,
}

/// What `open` makes room for at once, in calls in flight.
const ROOM: usize = 1024;

impl Connection {
    /// Connects, and sends the preface.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(addr: &str) -> io::Result<Connection> {
        let addr = resolve(addr)?;
        let nothing = Arc::new(Script::new(Plan::unary("", Vec::new(), Vec::new()), None));
        let speaker = || Session::new(Arc::clone(&nothing), ROOM);
        Ok(Connection { fleet: Fleet::open(Target { addr, trust: None }, 1, true, speaker)? })
    }

    /// Makes the calls. May be called again.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` where a reply is not the expected one.
    pub fn run(&mut self, load: &Load) -> io::Result<Report> {
        let plan = Plan::unary(&load.path, load.request.clone(), load.reply.clone());
        let script = Arc::new(Script::new(plan, None));
        for session in self.fleet.speakers() {
            session.follow(Arc::clone(&script), load.in_flight.max(1))?;
        }
        let mut tally = Tally { left: load.calls, ..Tally::default() };
        let begun = Instant::now();
        self.fleet.run(Until::Done, &mut tally)?;
        let Tally { counts, .. } = tally;
        Ok(Report { calls: counts.calls, elapsed: begun.elapsed(), bytes: counts.bytes_in })
    }
}

pub(crate) fn resolve(addr: &str) -> io::Result<std::net::SocketAddr> {
    let found = addr.to_socket_addrs()?.next();
    found.ok_or_else(|| io::Error::other(format!("{addr} has no address")))
}
