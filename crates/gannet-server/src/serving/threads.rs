//! Serving on threads of the server's own, each with a single-threaded runtime.

use std::io;
use std::sync::Arc;

use gannet_transport::Listener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::accept::Host;
use super::{Phase, ServeError, accept_all};

/// Starts the threads; each is one task of `loops`, which ends with the thread.
///
/// Every listener is served by every thread, except pipes, which cannot be shared.
pub(super) fn start(
    loops: &mut JoinSet<Result<(), ServeError>>,
    threads: usize,
    listeners: Vec<Listener>,
    host: &Arc<Host>,
    phase: &watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let mut shares = vec![listeners];
    for _ in 1..threads {
        let mut share = Vec::new();
        for listener in &shares[0] {
            share.extend(listener.another()?);
        }
        shares.push(share);
    }
    for (n, share) in shares.into_iter().enumerate() {
        let (done, ended) = oneshot::channel();
        let (host, phase) = (Arc::clone(host), phase.clone());
        std::thread::Builder::new()
            .name(format!("gannet-{n}"))
            .spawn(move || done.send(run(share, host, phase)))
            .map_err(ServeError::Runtime)?;
        loops.spawn(async move {
            let died = || ServeError::Runtime(io::Error::other("a server thread panicked"));
            ended.await.unwrap_or_else(|_| Err(died()))
        });
    }
    Ok(())
}

fn run(
    listeners: Vec<Listener>,
    host: Arc<Host>,
    phase: watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Runtime)?;
    runtime.block_on(accept_all(listeners, host, phase))
}
