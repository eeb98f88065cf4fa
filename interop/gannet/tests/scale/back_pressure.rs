//! A reader that stops reading stops the sender, with bounded memory, in every direction; and when
//! it goes on, nothing is lost.
//!
//! Time is virtual: it passes only when every task waits, so a timeout that expires proves that the
//! sender really waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet::Outbound;
use gannet_interop::proto::gannet::interop::v1::EchoRequest;

use crate::service::{payload, start_piped};

const MESSAGE_BYTES: usize = 16 << 10;
/// What may lie between a sender and a reader that stopped: the stream's window of 1 MiB, the
/// sender's queue of 64 KiB, the pipe and the buffers around it. Twice, where an echo has two such
/// ways.
const ONE_WAY_BYTES_MAX: u64 = 2 << 20;

/// Sends until it has to wait for good; how many messages that were.
async fn pour(requests: &mut Outbound<EchoRequest>, replies: u32) -> u64 {
    let mut sent = 0;
    loop {
        let message = EchoRequest { replies, ..payload(vec![7; MESSAGE_BYTES]) };
        let sending = requests.send(message);
        match tokio::time::timeout(Duration::from_secs(10), sending).await {
            Ok(outcome) => outcome.unwrap(),
            Err(_) => return sent,
        }
        sent += 1;
        assert!(sent * (MESSAGE_BYTES as u64) < 64 << 20, "nothing stops the sender");
    }
}

/// A counter that no longer moves while virtual time passes.
async fn settled(counter: &AtomicU64) -> u64 {
    let mut seen = counter.load(Ordering::SeqCst);
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let now = counter.load(Ordering::SeqCst);
        if now == seen {
            return now;
        }
        seen = now;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_stops_the_client() {
    let (client, counters) = start_piped();
    let (mut requests, reply) = client.client_stream().await.unwrap();
    let sent = pour(&mut requests, 0).await;
    assert_eq!(counters.taken.load(Ordering::SeqCst), 1);
    let bytes = sent * MESSAGE_BYTES as u64;
    assert!(bytes > 512 << 10 && bytes < ONE_WAY_BYTES_MAX, "{bytes} bytes under way");
    // Another call on the same connection is not held up.
    assert_eq!(client.unary(payload(vec![1])).await.unwrap().payload, vec![1]);
    drop(reply);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_the_server_and_loses_nothing() {
    let (client, counters) = start_piped();
    let request = EchoRequest { replies: 1_000, ..payload(vec![7; MESSAGE_BYTES]) };
    let mut replies = client.server_stream(request).await.unwrap();
    let sent = settled(&counters.sent).await;
    let bytes = sent * MESSAGE_BYTES as u64;
    assert!(bytes > 512 << 10 && bytes < ONE_WAY_BYTES_MAX, "{bytes} bytes under way");
    assert_eq!(client.unary(payload(vec![1])).await.unwrap().payload, vec![1]);

    let mut sequence = 0;
    while let Some(reply) = replies.next().await.unwrap() {
        assert_eq!((reply.sequence, reply.payload.len()), (sequence, MESSAGE_BYTES));
        sequence += 1;
    }
    assert_eq!(sequence, 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_nobody_reads_stops_in_both_directions_and_loses_nothing() {
    let (client, counters) = start_piped();
    let (mut requests, mut replies) = client.bidi().await.unwrap();
    let sent = pour(&mut requests, 1).await;
    let echoed = settled(&counters.sent).await;
    let bytes = sent * MESSAGE_BYTES as u64;
    assert!(echoed < sent, "the server was stopped too");
    assert!(bytes < 2 * ONE_WAY_BYTES_MAX, "{bytes} bytes under way");

    requests.finish();
    let mut received = 0;
    while let Some(reply) = replies.next().await.unwrap() {
        assert_eq!(reply.payload.len(), MESSAGE_BYTES);
        received += 1;
    }
    assert_eq!(received, sent);
}
