//! Where handlers run: inline, spawned, on the blocking pool; promotion.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gannet_http2::Config;
use gannet_server::{Dispatch, MethodOptions, Server};

use crate::client::{Raw, connect, serve};
use crate::service::Test;

async fn whereabouts(raw: &mut Raw, millis: u8) -> (String, String) {
    let told = String::from_utf8(raw.unary("Where", &[millis]).await.ok()).unwrap();
    let (task, thread) = told.split_once(' ').unwrap();
    (task.to_owned(), thread.to_owned())
}

#[tokio::test]
async fn light_methods_run_in_the_connections_task() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let first = whereabouts(&mut raw, 0).await;
    for _ in 0..50 {
        assert_eq!(whereabouts(&mut raw, 0).await, first);
    }
}

#[tokio::test]
async fn heavy_methods_are_promoted_to_tasks_of_their_own() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let (connection, _) = whereabouts(&mut raw, 20).await;
    let mut tasks = HashSet::new();
    for _ in 0..20 {
        tasks.insert(whereabouts(&mut raw, 20).await.0);
    }
    let inline = tasks.contains(&connection);
    assert!(tasks.len() >= 10, "one task for each call after promotion: {tasks:?} {inline}");
}

#[tokio::test]
async fn promoted_calls_leave_the_thread_of_the_connection() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let (_, connection) = whereabouts(&mut raw, 5).await;
    assert_eq!(connection, format!("{:?}", std::thread::current().id()));
    for _ in 0..5 {
        let (_, thread) = whereabouts(&mut raw, 5).await;
        assert_ne!(thread, connection);
    }
}

/// A runtime whose time is paused moves it on when it has nothing to do, and does not see the
/// threads for computing: a deadline would be over while the handler runs.
#[tokio::test(start_paused = true)]
async fn where_time_stands_still_no_method_is_slow() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let first = whereabouts(&mut raw, 20).await;
    for _ in 0..5 {
        assert_eq!(whereabouts(&mut raw, 20).await, first);
    }
}

#[tokio::test]
async fn calls_that_wait_while_their_method_proves_slow_leave_too() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let connection = format!("{:?}", std::thread::current().id());
    let keys: Vec<_> = (0..20).map(|_| raw.call("Where", &[3])).collect();
    raw.flush().await;
    let mut here = 0;
    for key in keys {
        let told = String::from_utf8(raw.finished(key).await.ok()).unwrap();
        here += usize::from(told.ends_with(&connection));
    }
    assert_eq!(here, 1, "the first, which showed what the others are like");
}

#[tokio::test]
async fn overrides_hold_for_methods_and_services() {
    let server = Server::new()
        .add(Test::new())
        .method("test.Test", MethodOptions::new().dispatch(Dispatch::Spawn))
        .method("/test.Test/Echo", MethodOptions::new().dispatch(Dispatch::Inline));
    let mut raw = connect(server).await;
    let first = whereabouts(&mut raw, 0).await;
    assert_ne!(whereabouts(&mut raw, 0).await.0, first.0);
    let server = Server::new()
        .add(Test::new())
        .method("/test.Test/Where", MethodOptions::new().dispatch(Dispatch::Inline));
    let mut raw = connect(server).await;
    let first = whereabouts(&mut raw, 10).await;
    for _ in 0..5 {
        assert_eq!(whereabouts(&mut raw, 10).await, first, "never promoted");
    }
    let server = Server::new()
        .add(Test::new())
        .method("/test.Test/Where", MethodOptions::new().dispatch(Dispatch::Blocking));
    let mut raw = connect(server).await;
    let here = format!("{:?}", std::thread::current().id());
    assert_ne!(whereabouts(&mut raw, 0).await.1, here);
}

#[tokio::test]
async fn every_kind_works_everywhere() {
    let all = [Dispatch::Inline, Dispatch::Spawn, Dispatch::Compute, Dispatch::Blocking];
    for dispatch in all {
        let mut raw = connect(
            Server::new()
                .add(Test::new())
                .method("test.Test", MethodOptions::new().dispatch(dispatch)),
        )
        .await;
        for n in 0..20_u8 {
            assert_eq!(raw.unary("Echo", &[n]).await.ok(), [n]);
        }
        let key = raw.open("Upload", &[]);
        for _ in 0..50 {
            raw.message(key, &[1; 1_000], false);
        }
        raw.end(key);
        assert_eq!(raw.finished(key).await.ok(), b"50 50000");
        let reply = raw.unary("Download", b"200 2000").await;
        assert_eq!((reply.code(), reply.messages().len()), (0, 200));
        let key = raw.open("Chat", &[]);
        for n in 1..=20 {
            raw.message(key, b"ping", false);
            raw.until(|raw| raw.reply(key).data.len() == 9 * n).await;
        }
        raw.end(key);
        assert_eq!(raw.finished(key).await.code(), 0);
        assert_eq!(raw.unary("Panic", b"now").await.code(), 2, "{dispatch:?}");
        assert_eq!(raw.unary("Fail", b"9").await.code(), 9);
        let reply = raw.unary("MetaStream", b"send").await;
        assert_eq!((reply.header("x-first"), reply.code()), (Some("1"), 14));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_works_on_several_threads() {
    let some = [Dispatch::Spawn, Dispatch::Compute, Dispatch::Blocking].map(Some);
    for dispatch in [None].into_iter().chain(some) {
        let mut server = Server::new().add(Test::new());
        if let Some(dispatch) = dispatch {
            server = server.method("test.Test", MethodOptions::new().dispatch(dispatch));
        }
        let mut raw = connect(server).await;
        let downloads: Vec<_> = (0..10).map(|_| raw.call("Download", b"300 3000")).collect();
        let chats: Vec<_> = (0..10).map(|_| raw.open("Chat", &[])).collect();
        for n in 0..200_u8 {
            for key in &chats {
                raw.message(*key, &[n; 500], n == 199);
            }
            raw.flush().await;
        }
        for key in downloads {
            let reply = raw.finished(key).await;
            assert_eq!((reply.code(), reply.messages().len()), (0, 300));
        }
        for key in chats {
            let reply = raw.finished(key).await;
            assert_eq!(reply.code(), 0);
            let messages = reply.messages();
            assert_eq!(messages.len(), 200);
            assert!(messages.iter().zip(0_u8..).all(|(message, n)| *message == [n; 500]));
        }
    }
}

#[tokio::test]
async fn a_blocking_handler_sees_the_cancellation() {
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new()
        .add(test)
        .method("/test.Test/Block", MethodOptions::new().dispatch(Dispatch::Blocking));
    let mut raw = connect(server).await;
    let key = raw.call("Block", b"m");
    raw.flush().await;
    while world.started() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    raw.reset(key);
    raw.flush().await;
    while world.saw_cancel.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

#[tokio::test(start_paused = true)]
async fn a_reset_drops_spawned_handlers() {
    let test = Test::new();
    let world = test.world.clone();
    let server =
        Server::new().add(test).method("test.Test", MethodOptions::new().dispatch(Dispatch::Spawn));
    let mut raw = connect(server).await;
    for (n, method) in ["Wait", "Upload", "Chat"].into_iter().enumerate() {
        let key = raw.open(method, &[]);
        raw.message(key, b"m", method == "Wait");
        raw.flush().await;
        world.settle(|world| world.started() == n + 1).await;
        raw.reset(key);
        raw.flush().await;
        world.settle(|world| world.gone() == n + 1).await;
    }
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

/// Wakers, cancellation and shared state under real concurrency: many connections, calls of every
/// kind that are reset at any moment, and slots that are used again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_reset_at_any_moment_leave_nothing_behind() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Compute] {
        let test = Test::new();
        let world = test.world.clone();
        let mut http2 = Config::default();
        http2.resets_burst_max = 1_000_000;
        let server = Server::new()
            .add(test)
            .http2(http2)
            .method("test.Test", MethodOptions::new().dispatch(dispatch));
        let connector = serve(server);
        let clients: Vec<_> = (0..6_usize)
            .map(|n| {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let mut raw = Raw::new(connector.connect().await.unwrap().0);
                    for round in 0..60 {
                        mix(&mut raw, n + round).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        while world.gone() < world.started() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Starts calls, resets some of them, and looks at the others' replies.
async fn mix(raw: &mut Raw, seed: usize) {
    let methods = ["Chat", "Download", "Wait", "Upload", "Echo"];
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for n in 0..20 {
        let method = methods[(n + seed) % methods.len()];
        let key = raw.open(method, &[]);
        raw.message(key, b"30 1000", method != "Chat");
        if method == "Wait" || (n + seed).is_multiple_of(3) {
            dropped.push(key);
        } else {
            if method == "Chat" {
                raw.message(key, b"more", true);
            }
            kept.push((method, key));
        }
        if (n + seed).is_multiple_of(4) {
            raw.flush().await;
            tokio::task::yield_now().await;
        }
        if (n + seed).is_multiple_of(5)
            && let Some(key) = dropped.pop()
        {
            raw.reset(key);
        }
    }
    for key in dropped {
        raw.reset(key);
    }
    for (method, key) in kept {
        let reply = raw.finished(key).await;
        let messages = reply.messages().len();
        let expected = if method == "Download" { 30 } else { 1 + usize::from(method == "Chat") };
        assert_eq!((reply.code(), messages), (0, expected), "{method}");
    }
}
