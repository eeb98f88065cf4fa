//! The thread on which the connection of blocking calls runs.

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long connections may take to say goodbye when the channel is dropped.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const GOODBYE_STEP: Duration = Duration::from_millis(5);

/// A thread with a tokio runtime; it ends after this is dropped.
pub(crate) struct Background {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Background> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("gannet-blocking".to_owned()).spawn(move || {
            runtime.block_on(async {
                // Dropping the sender is what stops.
                let _ = stopped.await;
                let tasks = Handle::current().metrics();
                let goodbye = async {
                    while tasks.num_alive_tasks() > 0 {
                        tokio::time::sleep(GOODBYE_STEP).await;
                    }
                };
                // What is not done by then is dropped with the runtime.
                let _ = tokio::time::timeout(GOODBYE, goodbye).await;
            });
        })?;
        Ok(Background { runtime: handle, stop: Some(stop) })
    }

    /// To start tasks and timers on the thread.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}
