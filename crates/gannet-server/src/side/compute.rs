//! Threads for handlers that compute.
//!
//! A handler that computes for long must not run on the threads that serve connections: while it
//! does, nobody there reads a socket, and a runtime whose workers are all busy does not even look.
//! On threads of their own such handlers share the cores with everybody else by the operating
//! system's scheduler, which prefers the connections, as those sleep often.
//!
//! The threads are a tokio runtime without I/O and timers of its own: polls happen within the
//! context of the connection's runtime, so that handlers do not notice where they are. They start
//! with the first handler that needs them, and end with the server.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};

/// Where handlers that compute run.
#[derive(Default)]
pub(crate) struct Compute {
    /// `None` inside: the threads could not be started.
    runtime: OnceLock<Option<Runtime>>,
}

impl Compute {
    /// Runs a task of the current runtime on the threads for computing, or as any other task where
    /// there are no such threads.
    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        match self.runtime.get_or_init(start) {
            Some(runtime) => drop(runtime.spawn(Elsewhere { home: Handle::current(), task })),
            None => drop(tokio::spawn(task)),
        }
    }
}

impl Drop for Compute {
    /// The last connection may end on any thread, also on one that must not wait.
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compute").field("started", &self.runtime.get().is_some()).finish()
    }
}

fn start() -> Option<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name("gannet-compute").build().ok()
}

/// A task that is polled on another runtime's threads, in the context of its own.
struct Elsewhere<F> {
    home: Handle,
    task: F,
}

impl<F: Future<Output = ()> + Unpin> Future for Elsewhere<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let _home = this.home.enter();
        Pin::new(&mut this.task).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn a_task_computes_elsewhere_and_lives_at_home() {
        let compute = Compute::default();
        let home = (std::thread::current().id(), Handle::current().id());
        let (tell, told) = oneshot::channel();
        compute.spawn(Box::pin(async move {
            // By the clock of the connection's runtime, which is a virtual one here.
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            let there = (std::thread::current().id(), Handle::current().id());
            tell.send(there).unwrap();
        }));
        let there = told.await.unwrap();
        assert_ne!(there.0, home.0);
        assert_eq!(there.1, home.1);
    }

    #[tokio::test]
    async fn tasks_that_are_cut_off_are_dropped() {
        let compute = Compute::default();
        let (tell, told) = oneshot::channel::<()>();
        compute.spawn(Box::pin(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        }));
        drop(compute);
        assert!(told.await.is_err());
    }
}
