//! One connection of a channel, and its calls.
//!
//! [`Link`] is what the rest of the channel holds of a connection; [`ClientSide`] lives on the
//! connection's task.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `activity` | when there was a call last |
//! | `side` | when calls are opened, settled and ended |
//! | `calls` | where the calls lie |
//! | `errors` | what calls are told that end by no word of the server's |
//! | `exchange` | what one call makes of what the server sends |
//! | `head` | the request's header fields |
//! | `remote` | what calls are told about the other end |
//! | `response` | what the response's header fields mean |
//! | `unary` | what is known of a unary call's response |

mod activity;
mod calls;
mod errors;
mod exchange;
mod head;
mod remote;
mod response;
mod side;
mod unary;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gannet_http2::Keepalive;
use gannet_transport::{CallQueue, CallShared, Command, Queue};

use crate::call::notice::Notice;
use crate::call::request::Start;
use crate::policy::{Activity, BackendId};
pub(crate) use activity::LastCall;
pub(crate) use errors::deadline_exceeded;
pub(crate) use head::Constants;
pub(crate) use response::Classifier;
pub(crate) use side::ClientSide;

/// A connection, as the channel and its callers hold it.
#[derive(Debug)]
pub(crate) struct Link {
    queue: Arc<Queue<LinkCommand>>,
    /// What it is connected to, for messages.
    address: String,
    keepalive: Option<Keepalive>,
    backend: BackendId,
    /// Which attempt has made it, for messages.
    attempt: u32,
    last_call: LastCall,
    /// One of the calls asks for the server's health, and is none of the application's.
    watched: AtomicBool,
    /// What the server said with its first GOAWAY.
    goaway: OnceLock<Arc<str>>,
    retired: AtomicBool,
    /// A call was answered on it, or let go on by a server that takes no more.
    served: AtomicBool,
    ended: AtomicBool,
}

/// What callers and the channel ask of a connection.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    /// Make this call.
    Start(Start),
    /// Nobody waits for this unary call any more.
    Cancel(Arc<Notice>),
    /// Take no new calls, and end when the last one has.
    Close,
}

impl Link {
    /// By which attempt of a backend's it is made.
    pub(crate) fn new(
        address: String,
        keepalive: Option<Keepalive>,
        (backend, attempt): (BackendId, u32),
        now: Instant,
    ) -> Arc<Link> {
        Arc::new(Link {
            queue: Arc::new(Queue::new()),
            address,
            keepalive,
            backend,
            attempt,
            last_call: LastCall::new(now),
            watched: AtomicBool::new(false),
            goaway: OnceLock::new(),
            retired: AtomicBool::new(false),
            served: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn queue(&self) -> &Arc<Queue<LinkCommand>> {
        &self.queue
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whose connection it is, for the channel.
    pub(crate) fn backend(&self) -> BackendId {
        self.backend
    }

    /// Which attempt since the server was connected to some good, counted from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What calls there are, or when there was one last.
    pub(crate) fn activity(&self) -> Activity {
        self.last_call.activity()
    }

    /// One of the calls is, or is no more, none of the application's.
    pub(crate) fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// There are calls, or none any more.
    pub(crate) fn note_activity(&self, is_busy: bool, now: Instant) {
        match is_busy {
            true => self.last_call.begin(),
            false => self.last_call.end(now),
        }
    }

    /// How the connection asks whether the server is still there.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        self.keepalive
    }

    /// Asks the connection's task for something.
    pub(crate) fn push(&self, command: LinkCommand) {
        self.queue.push(Command::Side(command));
    }

    /// Ends the connection at once.
    pub(crate) fn abort(&self) {
        self.queue.push(Command::Abort);
    }

    /// What the server said with its first GOAWAY, for messages.
    pub(crate) fn goaway(&self) -> Option<&str> {
        self.goaway.get().map(|told| &**told)
    }

    /// See [`has_served`](Self::has_served).
    pub(crate) fn note_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// A call of the application's was answered on it, or goes on although the server takes no
    /// others.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// There is no call on it any more, and none can be.
    pub(crate) fn note_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// See [`note_ended`](Self::note_ended).
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Takes no new calls: the server said so, or it has ended.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// See [`is_retired`](Self::is_retired).
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl CallQueue for Link {
    fn push_call(&self, call: &Arc<CallShared>) {
        self.queue.push_call(call);
    }

    fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn address(&self) -> Option<&str> {
        Some(Link::address(self))
    }
}
