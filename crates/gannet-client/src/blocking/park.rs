//! Waiting for a future on a thread that runs no others.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use gannet_core::{Result, Status};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::Channel;

/// Blocks the thread until a future of this channel is ready.
///
/// `None` where `deadline`, asked between polls, has passed and the future is not ready for all
/// that. It is the connection's task that ends a call at its deadline, but that task's runtime is
/// perhaps run by nobody.
///
/// # Errors
/// INTERNAL where the thread must not block, or no background thread can be started.
pub(crate) fn wait<F: Future + Unpin>(
    channel: &Channel,
    future: &mut F,
    deadline: impl Fn(&mut F) -> Option<Instant>,
) -> Result<Option<F::Output>> {
    let surroundings = Handle::try_current().ok().map(|runtime| runtime.runtime_flavor());
    let background = channel.shared().background()?.runtime().clone();
    let run = || {
        // What the future spawns, and its timers, go to the background thread.
        let _entered = background.enter();
        park_until(future, deadline)
    };
    match surroundings {
        None => Ok(run()),
        Some(RuntimeFlavor::MultiThread) => Ok(tokio::task::block_in_place(run)),
        Some(_) => Err(Status::internal(
            "`wait` would block the only thread of an async runtime: await the call, or wait for \
             it on a thread of its own",
        )),
    }
}

/// Whether what a thread waits for was to be over so long ago that whoever ends it at its deadline
/// does not seem to run. Asked by what is polled by [`wait`]; false elsewhere.
pub(crate) fn is_overdue(deadline: Option<Instant>) -> bool {
    matches!((deadline, OVERDUE.get()), (Some(deadline), Some(before)) if deadline <= before)
}

/// How long after a deadline others may take to tell of it, who know more. Timers count
/// milliseconds, and a runtime that is driven may be busy.
const GRACE: Duration = Duration::from_millis(200);

thread_local! {
    /// While a thread that waits polls: deadlines before this are overdue.
    static OVERDUE: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn park_until<F: Future + Unpin>(
    future: &mut F,
    deadline: impl Fn(&mut F) -> Option<Instant>,
) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    // One that has passed already is not overdue for that.
    let began = Instant::now();
    let whole = deadline(future).map(|at| at.max(began));
    loop {
        let before = Instant::now().checked_sub(GRACE);
        let outer = OVERDUE.replace(before);
        let polled = Pin::new(&mut *future).poll(&mut cx);
        OVERDUE.set(outer);
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        if before.is_some_and(|before| whole.is_some_and(|at| at <= before)) {
            return None;
        }
        let next = whole.into_iter().chain(deadline(future)).min();
        match next.and_then(|at| at.checked_add(GRACE)) {
            None => thread::park(),
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
