//! What is done besides while the rest of a chain runs, for calls that want it: streams that are
//! wrapped, observers that may fail the call, a deadline that an interceptor set.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gannet_core::{Metadata, Result, Status};
use gannet_transport::{CallShared, Relay};
use tokio::time::{Instant, Sleep, sleep_until};

use super::incoming::Incoming;
use crate::service::Outcome;

/// Carries messages from one stream to another.
pub(super) struct Pump {
    pub(super) future: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    /// The stream that ends with it, or by whose end it ends.
    pub(super) relay: Relay,
}

/// All of a call, as an interceptor left them.
#[derive(Default)]
pub(super) struct Pumps {
    pub(super) requests: Vec<Pump>,
    pub(super) replies: Vec<Pump>,
}

/// See the module.
pub(super) struct Extras {
    pumps: Pumps,
    /// Where observers may have failed the call.
    watched: Vec<Arc<CallShared>>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Of a handler whose last replies are on their way.
    outcome: Option<Outcome>,
}

impl Extras {
    /// What `call` wants; nothing for most.
    pub(super) fn of(call: &mut Incoming) -> Option<Box<Extras>> {
        let pumps = call.pumps().take();
        let shared = [call.requests_shared(), call.replies_shared()];
        let is_tapped = shared.iter().any(|shared| shared.is_tapped());
        let deadline = call.shortened_deadline();
        if pumps.is_none() && !is_tapped && deadline.is_none() {
            return None;
        }
        let watched = if is_tapped { shared.map(Arc::clone).to_vec() } else { Vec::new() };
        Some(Box::new(Extras {
            pumps: pumps.map(|pumps| *pumps).unwrap_or_default(),
            watched,
            deadline: deadline.map(|at| Box::pin(sleep_until(Instant::from_std(at)))),
            outcome: None,
        }))
    }

    /// Before the handler is polled.
    ///
    /// # Errors
    /// What ends the call.
    pub(super) fn check_deadline(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if deadline.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        Err(Status::deadline_exceeded("the deadline that the server set has passed"))
    }

    /// The handler has returned: its replies end, and requests are not wanted any more.
    pub(super) fn returned(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.pumps.requests.clear();
        for pump in &self.pumps.replies {
            pump.relay.end(Ok(Metadata::new()));
        }
    }

    /// After the handler was polled: ready with its outcome when the last of its replies has gone
    /// on.
    ///
    /// # Errors
    /// What ends the call instead.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        if let Some(status) = self.watched.iter().find_map(|shared| shared.take_failure()) {
            return Poll::Ready(Err(status));
        }
        for pumps in [&mut self.pumps.requests, &mut self.pumps.replies] {
            let mut failed = None;
            pumps.retain_mut(|pump| match pump.future.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => {
                    pump.relay.end(Ok(Metadata::new()));
                    false
                }
                Poll::Ready(Err(status)) => {
                    failed.get_or_insert(status);
                    false
                }
            });
            if let Some(status) = failed {
                return Poll::Ready(Err(status));
            }
        }
        if !self.pumps.replies.is_empty() {
            return Poll::Pending;
        }
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(Ok(outcome)),
            None => Poll::Pending,
        }
    }

    /// The outcome that is not to be told.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }
}
