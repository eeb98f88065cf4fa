//! Calls that a thread waits for, up to their deadlines.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use gannet_core::{MethodDescriptor, Result, Status};
use gannet_transport::CallShared;

use super::park::wait;
use crate::Channel;
use crate::call::exchange::Exchange;
use crate::link::deadline_exceeded;

/// A call of a channel's.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) method: &'static MethodDescriptor,
}

impl<'a> Call<'a> {
    /// Blocks the thread until the call has ended; `exchange` is what it is made by.
    ///
    /// # Errors
    /// What it ended with; INTERNAL where the thread must not block.
    pub(crate) fn wait<F, T>(
        self,
        future: &mut F,
        exchange: impl Fn(&mut F) -> &mut Exchange<'a>,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Unpin,
    {
        match wait(self.channel, future, |future| exchange(future).deadline()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(exchange(future).overdue(self.method)),
            Err(status) => Err(exchange(future).failed(status)),
        }
    }

    /// As [`wait`](Self::wait), until a call that streams is open; by when it is to be over,
    /// besides.
    pub(crate) fn open<F, T>(
        self,
        future: &mut F,
        exchange: impl Fn(&mut F) -> &mut Exchange<'a>,
    ) -> Result<(T, Option<Instant>)>
    where
        F: Future<Output = Result<T>> + Unpin,
    {
        // Interceptors may have said something else by the end of this.
        let asked = exchange(future).deadline();
        let opened = self.wait(future, &exchange)?;
        let deadline = asked.into_iter().chain(exchange(future).deadline()).min();
        Ok((opened, deadline))
    }
}

/// A call that streams, for a thread that waits for what comes of it.
#[derive(Debug)]
pub(crate) struct OpenCall {
    /// Keeps the connection's thread.
    channel: Channel,
    method: &'static MethodDescriptor,
    deadline: Option<Instant>,
    shared: Arc<CallShared>,
}

impl OpenCall {
    pub(crate) fn new(
        call: Call<'_>,
        deadline: Option<Instant>,
        shared: &Arc<CallShared>,
    ) -> OpenCall {
        let Call { channel, method } = call;
        OpenCall { channel: channel.clone(), method, deadline, shared: Arc::clone(shared) }
    }

    /// Blocks the thread until something of the call is ready.
    ///
    /// # Errors
    /// What that comes to; INTERNAL where the thread must not block.
    pub(super) fn wait<T>(&self, future: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        let mut future = future;
        let waited = match wait(&self.channel, &mut future, |_| self.deadline) {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => overdue(self.shared.address(), self.method),
            Err(status) => status,
        };
        // Before what the future has of the call is dropped.
        self.shared.meet(&waited);
        Err(waited)
    }

    /// For the other half of the call.
    pub(crate) fn another(&self) -> OpenCall {
        OpenCall {
            channel: self.channel.clone(),
            method: self.method,
            deadline: self.deadline,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What a call is told of which nothing is heard by its deadline.
#[cold]
pub(crate) fn overdue(address: Option<&str>, method: &MethodDescriptor) -> Status {
    let status = deadline_exceeded(method, UNHEARD);
    match address {
        Some(address) => {
            let told = format!("{address}: {}", status.message());
            status.with_message(told)
        }
        None => status,
    }
}

/// What such a call waits for.
const UNHEARD: &str = "nothing was heard of its connection, whose runtime may not be running";
