//! Bounds: back-pressure both ways, stream limits, connection limits, hostile patience.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gannet_http2::{Config, Reason};
use gannet_server::{Dispatch, MethodOptions, Server};
use gannet_transport::SEND_QUEUE_BYTES_MAX;

use crate::client::{Raw, connect, framed, serve};
use crate::service::Test;

/// Lets everything run until nothing moves any more.
async fn calm() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_a_client_that_does_not_read() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let test = Test::new();
        let world = test.world.clone();
        let mut raw = connect(
            Server::new().add(test).method("test.Test", MethodOptions::new().dispatch(dispatch)),
        )
        .await;
        raw.hold_credit = true;
        let key = raw.call("Download", b"5000 1000");
        for _ in 0..5_000 {
            raw.flush().await;
            if tokio::time::timeout(Duration::from_millis(5), raw.step()).await.is_err() {
                break;
            }
        }
        // The raw client's windows are 1 MiB; what is beyond them waits with the handler.
        let got = raw.reply(key).data.len();
        assert!(got <= 1 << 20, "{got} bytes came");
        let sent = world.sent.load(Ordering::SeqCst) * 1_005;
        let queued = sent - got;
        assert!(queued <= SEND_QUEUE_BYTES_MAX + 2_010, "{queued} bytes wait in the server");
        assert_eq!(world.gone(), 0);
        raw.hold_credit = false;
        raw.release(key, got);
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.messages().len()), (0, 5_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_a_handler_that_does_not_read() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let test = Test::new();
        let world = test.world.clone();
        let mut raw = connect(
            Server::new().add(test).method("test.Test", MethodOptions::new().dispatch(dispatch)),
        )
        .await;
        let key = raw.open("Upload", &[]);
        raw.message(key, b"gate", false);
        let total = 8 << 20;
        let one = vec![7; 10_000];
        for _ in 0..total / one.len() {
            raw.message(key, &one, false);
        }
        raw.end(key);
        for _ in 0..100 {
            let _ = tokio::time::timeout(Duration::from_millis(5), raw.step()).await;
        }
        let accepted = total - raw.unsent(key);
        assert!(accepted < 3 << 20, "{accepted} bytes were taken for a handler that waits");
        world.gate.add_permits(1);
        let count = total / one.len();
        let reply = raw.finished(key).await;
        assert_eq!(reply.ok(), format!("{} {}", count + 1, count * one.len() + 4).into_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_longer_than_the_window_gets_through() {
    let mut http2 = Config::default();
    http2.stream_window_bytes = 20_000;
    http2.connection_window_bytes = 65_535;
    http2.window_bytes_max = 65_535;
    for method in ["Echo", "Upload", "Chat"] {
        let mut raw = connect(Server::new().add(Test::new()).http2(http2.clone())).await;
        let message = vec![3; 1 << 20];
        let key = raw.open(method, &[]);
        raw.message(key, b"small", false);
        if method == "Echo" {
            raw.reset(key);
            let key = raw.call(method, &message);
            assert_eq!(raw.finished(key).await.ok(), message);
            continue;
        }
        raw.message(key, &message, false);
        raw.message(key, b"small", true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 0, "{method}");
        if method == "Chat" {
            assert_eq!(reply.messages(), [b"small".to_vec(), message, b"small".to_vec()]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_does_not_stop_the_other_calls() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    let stuck = raw.open("Upload", &[]);
    raw.message(stuck, b"gate", false);
    for _ in 0..300 {
        raw.message(stuck, &[7; 10_000], false);
    }
    for n in 0..50_u8 {
        assert_eq!(raw.unary("Echo", &[n; 30_000]).await.ok(), [n; 30_000]);
    }
    // A handler that ends early gives all of it back.
    for _ in 0..20 {
        let key = raw.open("Upload", &[]);
        raw.message(key, b"stop", false);
        raw.message(key, &[7; 500_000], true);
        assert_eq!(raw.finished(key).await.code(), 0);
    }
    world.gate.add_permits(1);
    raw.end(stuck);
    assert_eq!(raw.finished(stuck).await.ok(), b"301 3000004");
}

/// Requests that are complete and not read count against the connection's bound like others.
#[tokio::test(start_paused = true)]
async fn ended_requests_that_nobody_reads_hold_back_the_connections_credit() {
    const MESSAGES: usize = 50;
    const MESSAGE_BYTES: usize = 10_000;
    const UPLOAD_BYTES: usize = MESSAGES * MESSAGE_BYTES;
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let test = Test::new();
        let world = test.world.clone();
        let mut http2 = Config::default();
        http2.recv_buffered_bytes_max = 2 << 20;
        http2.window_bytes_max = 1 << 20;
        let server = Server::new()
            .add(test)
            .http2(http2)
            .method("test.Test", MethodOptions::new().dispatch(dispatch));
        let mut raw = connect(server).await;
        let mut keys = Vec::new();
        for _ in 0..10 {
            let key = raw.open("Upload", &[]);
            raw.message(key, b"gate", false);
            for n in 1..=MESSAGES {
                raw.message(key, &[7; MESSAGE_BYTES], n == MESSAGES);
            }
            keys.push(key);
            // So that this one has ended before the next begins, as far as it is let in.
            for _ in 0..20 {
                let _ = tokio::time::timeout(Duration::from_millis(5), raw.step()).await;
            }
        }
        let unsent: usize = keys.iter().map(|key| raw.unsent(*key)).sum();
        let accepted = keys.len() * UPLOAD_BYTES - unsent;
        assert!(accepted <= 3 << 20, "{accepted} bytes lie unread");
        assert!(accepted >= 1 << 20, "{accepted} bytes");
        world.gate.add_permits(keys.len());
        for key in keys {
            assert_eq!(raw.finished(key).await.ok(), b"51 500004");
        }
    }
}

/// Small windows, and many streams that each have taken a little which was not told of.
#[tokio::test(start_paused = true)]
async fn little_windows_do_not_stall() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let mut http2 = Config::default();
        http2.stream_window_bytes = 4_000;
        http2.connection_window_bytes = 65_535;
        http2.window_bytes_max = 65_535;
        http2.recv_buffered_bytes_max = 65_535;
        let server = Server::new()
            .add(Test::new())
            .http2(http2)
            .method("test.Test", MethodOptions::new().dispatch(dispatch));
        let mut raw = connect(server).await;
        let keys: Vec<_> = (0..60).map(|_| raw.open("Upload", &[])).collect();
        for _ in 0..10 {
            for key in &keys {
                raw.message(*key, &[7; 1_495], false);
            }
            raw.flush().await;
            calm().await;
        }
        for key in keys {
            raw.end(key);
            let reply = tokio::time::timeout(Duration::from_secs(60), raw.finished(key)).await;
            assert_eq!(reply.expect("credit flows").ok(), b"10 14950");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_counts_until_its_future_is_gone() {
    let test = Test::new();
    let world = test.world.clone();
    let mut http2 = Config::default();
    http2.concurrent_streams_max = 4;
    let server = Server::new()
        .add(test)
        .http2(http2)
        .method("/test.Test/Block", MethodOptions::new().dispatch(Dispatch::Blocking));
    let mut raw = connect(server).await;
    raw.unary("Echo", b"settings are here").await.ok();
    // These handlers run on although their calls are reset: no more fit beside them.
    let keys: Vec<_> = (0..4).map(|_| raw.call("Where", b"")).collect();
    for key in keys {
        raw.finished(key).await.ok();
    }
    let keys: Vec<_> = (0..4).map(|_| raw.call("Wait", b"m")).collect();
    raw.flush().await;
    world.settle(|world| world.started() == 4).await;
    for key in &keys {
        raw.reset(*key);
    }
    raw.flush().await;
    world.settle(|world| world.gone() == 4).await;
    assert_eq!(raw.unary("Echo", b"room again").await.ok(), b"room again");
}

#[test]
fn a_blocked_handler_of_a_reset_call_still_counts() {
    // One thread to block on, so that what the test blocks on comes after the handler.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let test = Test::new();
        let world = test.world.clone();
        let mut http2 = Config::default();
        http2.concurrent_streams_max = 1;
        let server = Server::new().add(test).http2(http2);
        let mut raw = connect(
            server.method("/test.Test/Hold", MethodOptions::new().dispatch(Dispatch::Blocking)),
        )
        .await;
        raw.unary("Echo", b"settings are here").await.ok();
        let key = raw.call("Hold", b"m");
        raw.flush().await;
        world.happens(|world| world.started() == 1).await;
        // The thread is still held, while the raw client believes that there is room.
        raw.reset(key);
        raw.flush().await;
        let refused = raw.call("Echo", b"m");
        let reply = raw.finished(refused).await;
        assert_eq!(reply.reset, Some(Reason::REFUSED_STREAM));
        world.gate.add_permits(1);
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(raw.unary("Echo", b"room again").await.ok(), b"room again");
    });
}

#[tokio::test(start_paused = true)]
async fn connections_over_the_limit_wait() {
    let connector = serve(Server::new().add(Test::new()).max_connections(2));
    let mut first = Raw::new(connector.connect().await.unwrap().0);
    let mut second = Raw::new(connector.connect().await.unwrap().0);
    let mut third = Raw::new(connector.connect().await.unwrap().0);
    first.unary("Echo", b"1").await.ok();
    second.unary("Echo", b"2").await.ok();
    let key = third.call("Echo", b"3");
    let waited = third.until(|raw| raw.reply(key).ended);
    assert!(tokio::time::timeout(Duration::from_secs(5), waited).await.is_err());
    drop(first);
    assert_eq!(third.finished(key).await.ok(), b"3");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed() {
    let mut http2 = Config::default();
    http2.handshake_timeout = Duration::from_secs(10);
    let connector = serve(Server::new().add(Test::new()).http2(http2));
    let (mut stream, _) = connector.connect().await.unwrap();
    let start = tokio::time::Instant::now();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(14), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn tiny_frames_cost_the_server_little() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    let key = raw.open("Upload", &[]);
    raw.message(key, b"gate", false);
    raw.flush().await;
    for byte in framed(b"x").repeat(5_000) {
        raw.data(key, &[byte], false);
        raw.flush().await;
    }
    raw.end(key);
    calm().await;
    world.gate.add_permits(1);
    assert_eq!(raw.finished(key).await.ok(), b"5001 5004");
}

#[tokio::test(start_paused = true)]
async fn a_small_send_buffer_does_not_stall() {
    let mut http2 = Config::default();
    http2.send_buffer_bytes_max = 4_096;
    let mut raw = connect(Server::new().add(Test::new()).http2(http2)).await;
    let keys: Vec<_> = (0..40).map(|_| raw.call("Echo", &[7; 1_000])).collect();
    for key in keys {
        let reply = tokio::time::timeout(Duration::from_secs(50), raw.finished(key)).await;
        assert_eq!(reply.expect("it goes on").ok().len(), 1_000);
    }
}
