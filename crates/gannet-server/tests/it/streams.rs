//! The three streaming kinds: order, ends, headers, early ends.

use std::sync::Arc;
use std::time::Duration;

use gannet_server::Server;

use crate::client::{connect, framed};
use crate::service::Test;

#[tokio::test(start_paused = true)]
async fn client_streaming_takes_messages_until_the_end() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let key = raw.open("Upload", &[]);
    for size in [27_182, 8, 1_828, 45_904] {
        raw.message(key, &vec![1; size], false);
        raw.flush().await;
    }
    raw.end(key);
    let reply = raw.finished(key).await;
    assert_eq!(reply.ok(), b"4 74922");
    assert!(reply.reset.is_none());
    // No message at all is fine here.
    let key = raw.open("Upload", &[]);
    raw.end(key);
    assert_eq!(raw.finished(key).await.ok(), b"0 0");
}

#[tokio::test(start_paused = true)]
async fn who_reads_on_after_the_handler_learns_that_the_call_is_over() {
    let test = Test::new();
    let world = Arc::clone(&test.world);
    let mut raw = connect(Server::new().add(test)).await;
    let key = raw.open("Leave", &[]);
    raw.flush().await;
    assert_eq!(raw.finished(key).await.code(), 0);
    world.happens(|world| world.gone() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn tiny_messages_in_one_frame_and_torn_ones_arrive_whole() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let bytes: Vec<u8> = (0..1_000_u32).flat_map(|n| framed(&n.to_be_bytes())).collect();
    for size in [1, 7, 9_000] {
        let key = raw.open("Chat", &[]);
        for part in bytes.chunks(size) {
            raw.data(key, part, false);
        }
        raw.end(key);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 0);
        let messages = reply.messages();
        assert_eq!(messages.len(), 1_000);
        assert!(messages.iter().zip(0_u32..).all(|(message, n)| *message == n.to_be_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn server_streaming_sends_messages_in_order_then_the_status() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for (count, size) in [(1, 1), (1_000, 10), (300, 5_000), (20, 100_000), (3, 1 << 20)] {
        let reply = raw.unary("Download", format!("{count} {size}").as_bytes()).await;
        assert_eq!(reply.code(), 0, "{count} {size}");
        let messages = reply.messages();
        assert_eq!(messages.len(), count);
        for (n, message) in messages.iter().enumerate() {
            assert_eq!((message.len(), usize::from(message[0])), (size, n % 251));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_first_message_is_trailers_only() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let reply = raw.unary("Download", b"0 1").await;
    assert!(reply.trailers_only);
    assert_eq!(reply.code(), 15);
    let reply = raw.unary("Download", b"3 0").await;
    assert!(!reply.trailers_only);
    assert_eq!((reply.code(), reply.messages().len()), (15, 3));
}

#[tokio::test(start_paused = true)]
async fn bidi_answers_each_message_before_the_next() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let key = raw.open("Chat", &[]);
    let mut got = 0;
    for n in 0..100_u8 {
        raw.message(key, &[n; 100], false);
        got += 105;
        raw.until(|raw| raw.reply(key).data.len() >= got).await;
        assert_eq!(raw.reply(key).data.len(), got);
    }
    raw.end(key);
    let reply = raw.finished(key).await;
    assert_eq!((reply.code(), reply.messages().len()), (0, 100));
    assert_eq!(reply.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn headers_leave_with_the_first_message_and_no_later() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let reply = raw.unary("MetaStream", b"send").await;
    assert_eq!(reply.code(), 14);
    assert_eq!((reply.header("x-first"), reply.header("x-second")), (Some("1"), Some("2")));
    assert_eq!(reply.header("x-late"), None);
    assert_eq!(reply.trailer("x-end"), Some("4"));
    assert_eq!(reply.messages().len(), 1);
    // Headers that a handler has set are not lost where no message follows.
    let reply = raw.unary("MetaStream", b"no message").await;
    assert!(!reply.trailers_only);
    assert_eq!((reply.header("x-first"), reply.code()), (Some("1"), 14));
}

#[tokio::test(start_paused = true)]
async fn headers_can_be_sent_early() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let key = raw.call("MetaStream", b"early");
    raw.until(|raw| raw.reply(key).headers.is_some()).await;
    assert_eq!(raw.reply(key).header("x-second"), Some("2"));
    assert!(!raw.reply(key).ended);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_end_before_the_client_has() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for (word, code) in [("stop", 0), ("fail", 10)] {
        let key = raw.open("Upload", &[]);
        raw.message(key, word.as_bytes(), false);
        raw.until(|raw| raw.reply(key).ended).await;
        // The client is told to stop sending.
        assert!(raw.unsent(key) == 0);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), code);
    }
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_streams_of_every_kind() {
    let test = Test::new();
    let world = test.world.clone();
    let mut raw = connect(Server::new().add(test)).await;
    for (n, method) in ["Upload", "Chat", "Download"].into_iter().enumerate() {
        let key = raw.open(method, &[]);
        raw.hold_credit = true;
        raw.message(key, b"9999 9999", method == "Download");
        raw.flush().await;
        world.settle(|world| world.started() == n + 1).await;
        raw.reset(key);
        while world.gone() == n {
            // A server whose output nobody takes would not read the reset.
            let _ = tokio::time::timeout(Duration::from_millis(1), raw.step()).await;
        }
    }
}
