//! What makes a driver a server's or a client's.

use std::sync::Arc;
use std::time::Instant;

use gannet_http2::{Connection, Event, Role};

use super::CloseReason;
use crate::call::CallShared;

/// The role-specific half of a connection: its calls.
///
/// All methods run on the connection's task, none may block. In each round the driver calls, in
/// this order: [`command`](Self::command) and [`call_asks`](Self::call_asks) for what is queued,
/// [`event`](Self::event) for each frame, [`handle_deadlines`](Self::handle_deadlines) if one is
/// due, [`run`](Self::run), the two of the queue again, [`settle`](Self::settle), then it writes,
/// and calls [`transmitted`](Self::transmitted). [`closed`](Self::closed) comes last, once.
pub trait Side: Send + Unpin + 'static {
    /// [`Client`](gannet_http2::Client) or [`Server`](gannet_http2::Server).
    type Role: Role;
    /// What other tasks ask of the connection besides what calls ask: for a client, "start a
    /// call".
    type Command: Send + 'static;

    /// A command of this side's own.
    fn command(&mut self, turn: &mut Turn<'_, Self::Role>, command: Self::Command);

    /// A call asks for something: [`CallShared::take_asks`] tells what. It may be long gone:
    /// compare the pointer.
    fn call_asks(&mut self, turn: &mut Turn<'_, Self::Role>, call: &Arc<CallShared>);

    /// What the engine read. It is borrowed from the engine, so act on it in [`run`](Self::run) or
    /// [`settle`](Self::settle). Credit for DATA is the side's to release.
    fn event(&mut self, now: Instant, event: Event<'_>);

    /// Polls new and woken handlers, within a budget.
    fn run(&mut self, turn: &mut Turn<'_, Self::Role>) -> Progress;

    /// Finishes what events, commands and handlers left to do: replies, credit, forgotten streams.
    fn settle(&mut self, turn: &mut Turn<'_, Self::Role>);

    /// The engine has handed its output over: account for what calls have sent.
    fn transmitted(&mut self, turn: &mut Turn<'_, Self::Role>);

    /// The earliest moment at which `handle_deadlines` wants to be called.
    fn next_deadline(&self) -> Option<Instant>;

    /// Ends calls whose deadline has come.
    fn handle_deadlines(&mut self, turn: &mut Turn<'_, Self::Role>);

    /// Whether calls are still there although the engine may have finished with their streams.
    fn is_busy(&self) -> bool;

    /// Gives storage back that only calls need. Called now and then while there is no call.
    fn release(&mut self) {}

    /// The connection is over: end every call, release everything. Nothing is called after this.
    fn closed(&mut self, reason: &CloseReason);
}

/// What a side may use while it is called.
#[derive(Debug)]
pub struct Turn<'a, R: Role> {
    /// The engine.
    pub conn: &'a mut Connection<R>,
    /// The time of this wake.
    pub now: Instant,
}

/// Whether `run` used up its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All handlers that were ready were polled.
    Done,
    /// Some are still ready: flush, let others run, and come back.
    More,
}
