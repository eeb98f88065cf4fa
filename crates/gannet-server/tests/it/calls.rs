//! Unary calls: replies, metadata, statuses, panics.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, Result, ServiceDescriptor};
use gannet_server::{Call, Server, Service, Start, Started};

use crate::client::{connect, framed};
use crate::service::Test;

#[tokio::test(start_paused = true)]
async fn a_reply_has_headers_one_message_and_trailers() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for n in 0..200_u32 {
        let message = n.to_be_bytes();
        let reply = raw.unary("Echo", &message).await;
        assert_eq!(reply.ok(), message);
        assert_eq!(reply.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
        assert!(!reply.trailers_only && reply.reset.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_are_answered_each_with_its_own() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for round in 0..20_u8 {
        let keys: Vec<_> = (0..100).map(|n| raw.call("Echo", &[round, n])).collect();
        for (n, key) in keys.into_iter().enumerate() {
            let reply = raw.finished(key).await;
            assert_eq!(reply.ok(), [round, u8::try_from(n).unwrap()]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn message_boundaries_and_frame_boundaries_are_unrelated() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let message: Vec<u8> = (0..300_u16).map(|n| n.to_le_bytes()[0]).collect();
    let bytes = framed(&message);
    for size in [1, 2, 3, 5, 7, 100, 304] {
        let key = raw.open("Echo", &[]);
        for part in bytes.chunks(size) {
            raw.data(key, part, false);
            raw.flush().await;
            tokio::task::yield_now().await;
        }
        raw.end(key);
        assert_eq!(raw.finished(key).await.ok(), message, "in parts of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_messages_go_both_ways() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for size in [16_378, 16_379, 16_384, 65_535, 1 << 20, (4 << 20) - 10] {
        let message: Vec<u8> = (0..size).map(|n| u8::try_from(n % 253).unwrap()).collect();
        assert!(raw.unary("Echo", &message).await.ok() == message, "{size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_decoded_fails_be_it_short_or_long() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for size in [10, 100_000, 1 << 20] {
        let reply = raw.unary("Echo", &vec![0xff; size]).await;
        assert_eq!(reply.code(), 13, "{size} bytes");
        assert!(raw.unary("Echo", &vec![7; size]).await.ok() == vec![7; size]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_trailers_only_with_its_metadata() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let reply = raw.unary("Fail", b"5").await;
    assert!(reply.trailers_only);
    assert_eq!((reply.http_status(), reply.code()), ("200", 5));
    assert_eq!(reply.message(), "made by the handler: 100%25 %C3%A4");
    assert_eq!(reply.trailer("x-why"), Some("because"));
    // Codes that are none read as UNKNOWN.
    assert_eq!(raw.unary("Fail", b"77").await.code(), 2);
}

#[tokio::test(start_paused = true)]
async fn metadata_goes_in_and_comes_out() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for _ in 0..3 {
        let key = raw.open("Meta", &[("x-in", "hello"), ("x-in-bin", "q6ur")]);
        raw.message(key, b"m", true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.ok(), b"m");
        assert_eq!(reply.header("x-out"), Some("hello"));
        assert_eq!(reply.trailer("x-trail-bin"), Some("q6ur"));
        assert_eq!(reply.trailer("x-told"), Some("Meta Some('test') in-process"));
    }
    // Nothing of an earlier call in the same slot is left.
    let reply = raw.unary("Meta", b"m").await;
    assert_eq!(reply.header("x-out"), Some("nothing"));
    assert_eq!(reply.trailer("x-trail-bin"), Some(""));
}

/// Padded and unpadded base64 come in, several values in one field too; unpadded goes out.
#[tokio::test(start_paused = true)]
async fn binary_metadata_in_every_spelling() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let table: &[(&[&str], &[&str])] = &[
        (&["q6ur"], &["q6ur"]),
        (&["AAE="], &["AAE"]),
        (&["AAE"], &["AAE"]),
        (&["AA=="], &["AA"]),
        (&["AA"], &["AA"]),
        (&[""], &[""]),
        (&["AAE=,q6ur,AA"], &["AAE", "q6ur", "AA"]),
        (&["AAE, q6ur", "AA=="], &["AAE", "q6ur", "AA"]),
    ];
    for (sent, want) in table {
        let sent: Vec<_> = sent.iter().map(|value| ("x-in-bin", *value)).collect();
        let key = raw.open("Meta", &sent);
        raw.message(key, b"m", true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.ok(), b"m");
        let all = reply.trailers.iter().filter(|(name, _)| name == "x-all-bin");
        let all: Vec<_> = all.map(|(_, value)| &**value).collect();
        assert_eq!(all, *want, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn host_becomes_the_authority_where_there_is_none() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Test/Meta"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let [method, scheme, path, grpc, te] = usual;
    let (host, authority) = (("host", "h.example:1"), (":authority", "h.example:1"));
    for (fields, want) in [
        (vec![method, scheme, path, grpc, te, host], "Some('h.example:1')"),
        (vec![method, scheme, path, authority, grpc, te], "Some('h.example:1')"),
        (vec![method, scheme, path, authority, grpc, te, host], "Some('h.example:1')"),
        (usual.to_vec(), "None"),
    ] {
        let key = raw.open_with(&fields, false);
        raw.message(key, b"m", true);
        let reply = raw.finished(key).await;
        let want = format!("Meta {want} in-process");
        assert_eq!(reply.trailer("x-told"), Some(&*want), "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_unary_call_can_be_sent_early() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for size in [1, 100_000] {
        let key = raw.open("Meta", &[("x-early", "1")]);
        raw.message(key, &vec![7; size], true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.ok(), vec![7; size]);
        assert_eq!((reply.header("x-before"), reply.header("x-out")), (Some("1"), None));
        assert!(reply.trailer("x-told").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_unknown_and_the_connection_lives() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for _ in 0..3 {
        let reply = raw.unary("Panic", b"now").await;
        assert!(reply.trailers_only);
        assert_eq!((reply.code(), reply.message()), (2, "the handler panicked"));
        assert_eq!(raw.unary("Panic", b"no panic").await.ok(), b"no panic");
    }
    let key = raw.open("Chat", &[]);
    raw.message(key, b"hello", false);
    raw.until(|raw| !raw.reply(key).data.is_empty()).await;
    raw.message(key, b"panic", false);
    let reply = raw.finished(key).await;
    assert_eq!((reply.code(), reply.messages().len()), (2, 1));
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

#[tokio::test(start_paused = true)]
async fn a_reset_drops_the_handler_and_frees_the_slot() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    for n in 1..=3 {
        let key = raw.call("Wait", b"m");
        raw.flush().await;
        world.settle(|world| world.started() == n).await;
        assert_eq!(world.gone(), n - 1);
        raw.reset(key);
        raw.flush().await;
        world.settle(|world| world.gone() == n).await;
    }
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_is_polled_when_it_is_woken() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    let keys: Vec<_> = (0..10_u8).map(|n| raw.call("Wait", &[n])).collect();
    raw.flush().await;
    world.settle(|world| world.started() == 10).await;
    assert_eq!(raw.unary("Echo", b"meanwhile").await.ok(), b"meanwhile");
    world.gate.add_permits(10);
    for (n, key) in keys.into_iter().enumerate() {
        assert_eq!(raw.finished(key).await.ok(), [u8::try_from(n).unwrap()]);
    }
    assert_eq!(world.gone.load(Ordering::SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_drops_its_handlers() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    for _ in 0..5 {
        raw.call("Wait", b"m");
    }
    raw.flush().await;
    world.settle(|world| world.started() == 5).await;
    drop(raw);
    world.settle(|world| world.gone() == 5).await;
}

static HOLDING: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[MethodDescriptor::new("/test.Test/Echo", MethodKind::Unary)],
);

/// Its futures own something that they do not drop when they return, as those that are written by
/// hand may.
struct Holding(Arc<()>);

impl Service for Holding {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &HOLDING
    }

    fn call(&self, _method: usize, start: Start<'_>) -> Started {
        let held = Arc::clone(&self.0);
        start.unary::<Raw, Vec<u8>, Vec<u8>, _, _>(move |call, message| {
            let mut answer = Some((call, Ok(message)));
            poll_fn(move |_| -> Poll<(Call, Result<Vec<u8>>)> {
                let _held = &held;
                answer.take().map_or(Poll::Pending, Poll::Ready)
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_owned_is_gone_when_it_has_returned() {
    let held = Arc::new(());
    let mut raw = connect(Server::new().add(Holding(Arc::clone(&held)))).await;
    for _ in 0..3 {
        assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
        assert_eq!(Arc::strong_count(&held), 2, "the service's and ours");
    }
}

/// Its handlers take so much at once that tokio has them yield, and then wait.
struct Busy;

impl Service for Busy {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &HOLDING
    }

    fn call(&self, _method: usize, start: Start<'_>) -> Started {
        start.unary::<Raw, Vec<u8>, Vec<u8>, _, _>(move |call, message| async move {
            // As 200 messages out of a channel.
            let permits = tokio::sync::Semaphore::new(200);
            for _ in 0..200 {
                permits.acquire().await.unwrap().forget();
            }
            std::future::pending::<()>().await;
            (call, Ok(message))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_used_up_the_tasks_budget_has_a_deadline_all_the_same() {
    let mut raw = connect(Server::new().add(Busy)).await;
    let key = raw.open("Echo", &[("grpc-timeout", "1S")]);
    raw.message(key, b"m", true);
    let over = tokio::time::timeout(std::time::Duration::from_secs(60), raw.finished(key)).await;
    assert!(over.is_ok(), "the deadline of 1 s has not ended the call after 60 s");
}
