//! What follows calls goes when they have ended, not with what is left of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, ServiceDescriptor};
use gannet_server::{Server, Service, Start, Started};
use gannet_transport::Outbound;
use gannet_transport::observe::{CallObserver, Ended, ServerCallObserver, ServerCallStart};

use crate::client::{self, connect};
use crate::service::Test;

/// Counts what follows calls.
#[derive(Clone, Default)]
struct Counted(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    gone: AtomicUsize,
}

impl Counted {
    /// Begun, ended, gone.
    fn now(&self) -> [usize; 3] {
        let Counts { begun, ended, gone } = &*self.0;
        [begun, ended, gone].map(|count| count.load(Ordering::SeqCst))
    }
}

impl CallObserver for Counted {
    fn server_call(&self, _: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Some(Arc::new(One(Arc::clone(&self.0))))
    }
}

struct One(Arc<Counts>);

impl ServerCallObserver for One {
    fn ended(&self, _: &Ended<'_>) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection to a server that is observed, and on which one call goes on for ever.
async fn busy(server: Server) -> (client::Raw, Counted) {
    let counted = Counted::default();
    let mut raw = connect(server.observe(counted.clone())).await;
    let key = raw.open("Chat", &[]);
    raw.message(key, b"first", false);
    raw.until(|raw| !raw.reply(key).messages().is_empty()).await;
    assert_eq!(counted.now(), [1, 0, 0]);
    (raw, counted)
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_call_goes_with_its_end() {
    let (mut raw, counted) = busy(Server::new().add(Test::new())).await;
    for (number, method) in ["Echo", "Upload", "Download", "Chat"].into_iter().enumerate() {
        let key = raw.open(method, &[]);
        raw.message(key, if method == "Download" { b"3 9" } else { b"abc" }, true);
        assert_eq!(raw.finished(key).await.code(), 0, "{method}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(counted.now(), [number + 2, number + 1, number + 1], "{method}");
    }
    let key = raw.open("Chat", &[]);
    raw.message(key, b"first", false);
    raw.until(|raw| !raw.reply(key).messages().is_empty()).await;
    raw.reset(key);
    raw.flush().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(counted.now(), [6, 5, 5], "a call that was cancelled");
}

static KEEP: ServiceDescriptor = ServiceDescriptor::new(
    "test.Keep",
    &[MethodDescriptor::new("/test.Keep/Replies", MethodKind::BidiStreaming)],
);

/// Keeps what its calls may send by.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<Outbound<Vec<u8>>>>>);

impl Service for Keep {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &KEEP
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        let kept = Arc::clone(&self.0);
        start.bidi_streaming::<Raw, Vec<u8>, _, _, _>(|call, ends| async move {
            let (_, replies) = ends.open(&call);
            kept.lock().unwrap().push(replies);
            (call, Ok(()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_call_does_not_wait_for_what_its_handler_has_kept() {
    let keep = Keep::default();
    let (mut raw, counted) = busy(Server::new().add(Test::new()).add(keep.clone())).await;
    let key = raw.open_with(
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/test.Keep/Replies"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ],
        false,
    );
    raw.flush().await;
    assert_eq!(raw.finished(key).await.code(), 0);
    assert_eq!(keep.0.lock().unwrap().len(), 1);
    assert_eq!(counted.now(), [2, 1, 1]);
    drop(raw);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(counted.now(), [2, 2, 2]);
}
