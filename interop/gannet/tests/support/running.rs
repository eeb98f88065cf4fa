//! A server whose time passes as a test tells it.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use gannet::{Listener, Server};

/// The server, on a thread of its own, where time passes as it is told.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    tell: tokio::sync::mpsc::UnboundedSender<Duration>,
    done: mpsc::Receiver<()>,
}

impl Running {
    pub(crate) fn start(server: impl FnOnce() -> Server + Send + 'static) -> Running {
        Running::start_on(|listener| listener, server)
    }

    /// As [`start`](Self::start), on what becomes of the listener.
    pub(crate) fn start_on(
        change: impl FnOnce(Listener) -> Listener + Send + 'static,
        server: impl FnOnce() -> Server + Send + 'static,
    ) -> Running {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (report, done) = mpsc::channel();
        let (give_addr, addr) = mpsc::channel();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                // While something blocks, the clock does not go on by itself.
                let (_keep, blocked) = mpsc::channel::<()>();
                tokio::task::spawn_blocking(move || blocked.recv());
                let listener = Listener::tcp("127.0.0.1:0").unwrap();
                give_addr.send(listener.local_addr().unwrap()).unwrap();
                let (server, listener) = (server(), change(listener));
                tokio::spawn(async move { server.serve(listener).await.unwrap() });
                while let Some(time) = told.recv().await {
                    tokio::time::advance(time).await;
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                    }
                    report.send(()).unwrap();
                }
            });
        });
        Running { addr: addr.recv().unwrap(), tell, done }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.tell.send(time).unwrap();
        self.done.recv().unwrap();
    }

    /// Lets the server finish what it has begun.
    pub(crate) fn settle(&self) {
        self.pass(Duration::ZERO);
    }
}
