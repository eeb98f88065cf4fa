//! Waiting for a future on a thread that runs no others.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use gannet_core::{Result, Status};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::Channel;

/// Blocks the thread until a future of this channel is ready.
///
/// # Errors
/// What the future returns; INTERNAL where the thread must not block, or no background thread can
/// be started.
pub(crate) fn wait<T>(channel: &Channel, future: impl Future<Output = Result<T>>) -> Result<T> {
    let surroundings = Handle::try_current().ok().map(|runtime| runtime.runtime_flavor());
    let background = channel.shared().background()?.runtime().clone();
    let run = || {
        // What the future spawns, and its timers, go to the background thread.
        let _entered = background.enter();
        park_until(future)
    };
    match surroundings {
        None => run(),
        Some(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        Some(_) => Err(Status::internal(
            "`wait` would block the only thread of an async runtime: await the call, or wait for \
             it on a thread of its own",
        )),
    }
}

fn park_until<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
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
