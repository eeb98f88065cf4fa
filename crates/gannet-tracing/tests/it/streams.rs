//! Spans of calls with streams: each closes when its call has ended, whatever else goes on.

use std::time::Duration;

use gannet_client::Channel;
use gannet_core::Result;
use gannet_tracing::Spans;
use gannet_transport::Inbound;

use crate::peer::{Bytes, chat, download, upload};
use crate::service::{Test, serve};
use crate::{ALONE, Seen, span_of};

/// Long after all that is to happen has happened.
const LONG: Duration = Duration::from_secs(600);

fn traced() -> Channel {
    serve(
        Test::default(),
        |server| server.observe(Spans::new()),
        |channel| channel.observe(Spans::new()),
    )
}

async fn closed(seen: &Seen) -> Vec<String> {
    tokio::time::sleep(LONG).await;
    seen.take().into_iter().filter(|line| !line.contains(": ")).collect()
}

async fn read_to_the_end(mut messages: Inbound<Bytes>) -> Result<usize> {
    let mut count = 0;
    while messages.next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[tokio::test(start_paused = true)]
async fn spans_of_each_kind_close_with_their_call() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = traced();
    let (mut open, mut answers) = chat(&channel).await.unwrap();
    open.send(b"first".to_vec()).await.unwrap();
    answers.next().await.unwrap();
    assert_eq!(closed(&seen).await, [""; 0], "a call that goes on");

    let (mut tx, reply) = upload(&channel).await.unwrap();
    for _ in 0..3 {
        tx.send(b"abc".to_vec()).await.unwrap();
    }
    tx.finish();
    assert_eq!(reply.await.unwrap().len(), 9);
    check(&closed(&seen).await, "Upload", [3, 9, 1, 9]);

    let rx = download(&channel, b"hello").await.unwrap();
    assert_eq!(read_to_the_end(rx).await.unwrap(), 2);
    check(&closed(&seen).await, "Download", [1, 5, 2, 10]);

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    for message in [b"one".to_vec(), b"other".to_vec()] {
        tx.send(message).await.unwrap();
        rx.next().await.unwrap();
    }
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
    check(&closed(&seen).await, "Chat", [2, 8, 2, 8]);
    // The application has held what it read from.
    drop(rx);
    assert_eq!(closed(&seen).await, [""; 0]);

    drop((open, answers));
    let lines = closed(&seen).await;
    for side in ["client_call", "server_call"] {
        let line = span_of(&lines, side);
        assert!(line.contains("status=CANCELLED") && line.contains(" sent=1 "), "{line}");
    }
}

/// The spans of both sides have closed, with what the client has sent and received: messages and
/// bytes.
fn check(lines: &[String], method: &str, [sent, sent_bytes, received, received_bytes]: [u32; 4]) {
    let told = |[out, out_bytes, come, come_bytes]: [u32; 4]| {
        let come = format!("received={come} received_bytes={come_bytes}");
        format!("{come} sent={out} sent_bytes={out_bytes} status=OK")
    };
    let client = told([sent, sent_bytes, received, received_bytes]);
    let server = told([received, received_bytes, sent, sent_bytes]);
    let start = format!("method=/test.Test/{method} peer=in-process ");
    assert_eq!(
        span_of(lines, "client_call"),
        format!("client_call {start}{client} target=in-process:///in-process")
    );
    assert_eq!(span_of(lines, "server_call"), format!("server_call {start}{server}"));
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_given_up_closes_though_its_sender_is_kept() {
    let _alone = ALONE.lock().await;
    let seen = Seen::default();
    let _default = tracing::subscriber::set_default(seen.subscriber());
    let channel = traced();
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(b"one".to_vec()).await.unwrap();
    rx.next().await.unwrap();
    drop(rx);
    let lines = closed(&seen).await;
    assert!(span_of(&lines, "client_call").contains(" status=CANCELLED "), "{lines:#?}");
    let status = tx.send(b"late".to_vec()).await;
    assert_eq!(closed(&seen).await, [""; 0], "{status:?}");
}
