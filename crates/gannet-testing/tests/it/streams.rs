//! Streams and calls that a test makes by hand behave as those of connections.

use std::time::Duration;

use gannet_core::codec::Raw;
use gannet_core::{Code, Metadata, Result, Status};
use gannet_testing::{TestCall, inbound, inbound_failing, replies, stream};
use gannet_transport::{Outbound, Peer};

type Bytes = Vec<u8>;

#[tokio::test(start_paused = true)]
async fn an_inbound_stream_has_its_messages_and_its_end() {
    let large: Vec<Bytes> = (0..100_u8).map(|n| vec![n; 10_000]).collect();
    let mut all = inbound::<Raw, Bytes>(large.clone());
    for message in large {
        assert_eq!(all.next().await.unwrap(), Some(message));
    }
    assert_eq!(all.next().await.unwrap(), None);
    assert!(all.trailers().is_some_and(Metadata::is_empty));
    let mut none = inbound::<Raw, Bytes>([]);
    assert_eq!(none.next().await.unwrap(), None);
    let mut failing = inbound_failing::<Raw, Bytes>([vec![1]], Status::cancelled("gone"));
    assert_eq!(failing.next().await.unwrap(), Some(vec![1]));
    assert_eq!(failing.next().await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn replies_are_kept_without_bound_and_can_be_read_meanwhile() {
    let (mut to, mut sent) = replies::<Raw, Bytes>();
    for n in 0..50_u8 {
        to.send(vec![n; 10_000]).await.unwrap();
    }
    assert_eq!(sent.next().await.unwrap().unwrap()[0], 0);
    let reading = tokio::spawn(async move { sent.all().await.unwrap().len() });
    tokio::task::yield_now().await;
    to.send(vec![0]).await.unwrap();
    drop(to);
    assert_eq!(reading.await.unwrap(), 50);
    let (to, mut sent) = replies::<Raw, Bytes>();
    to.finish();
    assert_eq!(sent.next().await.unwrap(), None);
}

/// Sends for ever, at once or by and by.
async fn subscribe(pause: Duration, mut to: Outbound<Bytes>) -> Result<()> {
    loop {
        to.send(vec![7; 1_000]).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_ends_what_is_sent_to_it() {
    let (mut to, sent) = replies::<Raw, Bytes>();
    drop(sent);
    assert_eq!(to.send(vec![1]).await.unwrap_err().code(), Code::Cancelled);
    for (pause, is_bounded) in [(1, false), (1, true), (0, true)] {
        let (to, sent) = replies::<Raw, Bytes>();
        let mut sent = if is_bounded { sent.bounded() } else { sent };
        let client = async move {
            for _ in 0..200 {
                sent.next().await.unwrap().unwrap();
            }
        };
        let (outcome, ()) = tokio::join!(subscribe(Duration::from_secs(pause), to), client);
        assert_eq!(outcome.unwrap_err().code(), Code::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_bounded_have_their_sender_wait_until_the_call_ends() {
    for code in [Code::Cancelled, Code::DeadlineExceeded, Code::Unavailable] {
        let (to, sent) = replies::<Raw, Bytes>();
        let mut sent = sent.bounded();
        let sending = tokio::spawn(subscribe(Duration::ZERO, to));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..1_000 {
            assert_eq!(sent.next().await.unwrap().unwrap().len(), 1_000);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!sending.is_finished(), "it waits for who reads");
        sent.end(code);
        assert_eq!(sending.await.unwrap().unwrap_err().code(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_and_its_replies_end_together() {
    // The client drops its end.
    let call = TestCall::new();
    let (mut to, sent) = call.replies::<Raw, Bytes>();
    let call = call.with_header("x-a", "1");
    to.send(vec![1]).await.unwrap();
    assert!(!call.is_cancelled());
    drop(sent);
    assert!(call.is_cancelled());
    assert_eq!(to.send(vec![2]).await.unwrap_err().code(), Code::Cancelled);
    // It cancels; what was sent before can be read.
    let call = TestCall::new().with_timeout(Duration::from_secs(1));
    let (mut to, mut sent) = call.replies::<Raw, Bytes>();
    to.send(vec![1]).await.unwrap();
    call.canceller()();
    assert!(call.is_cancelled());
    assert_eq!(to.send(vec![2]).await.unwrap_err().code(), Code::Cancelled);
    drop(to);
    assert_eq!(sent.all().await.unwrap(), [vec![1]]);
    // It has read all there is: nothing was cancelled.
    let mut call = TestCall::new();
    let (mut to, mut sent) = call.replies::<Raw, Bytes>();
    call.headers_mut().insert("x-b", "2").unwrap();
    call.send_headers();
    to.send(vec![1]).await.unwrap();
    drop(to);
    assert_eq!(sent.all().await.unwrap(), [vec![1]]);
    drop(sent);
    assert!(!call.is_cancelled());
    assert_eq!(call.headers_mut().get("x-b"), Some("2"));
}

#[test]
#[should_panic(expected = "one stream of replies")]
fn a_call_has_one_stream_of_replies() {
    let call = TestCall::new();
    let _first = call.replies::<Raw, Bytes>();
    let _second = call.replies::<Raw, Bytes>();
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_back_pressure_and_ends_as_its_sender_says() {
    let (mut to, mut from) = stream::<Raw, Bytes>();
    let sending = tokio::spawn(async move {
        for n in 0..100_u8 {
            to.send(vec![n; 10_000]).await.unwrap();
        }
        to.finish();
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!sending.is_finished(), "it waits for who reads");
    let mut read = 0;
    while from.next().await.unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, 100);
    sending.await.unwrap();
    let (to, mut from) = stream::<Raw, Bytes>();
    drop(to);
    assert_eq!(from.next().await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_what_it_was_given() {
    let peer = Peer::Tcp("192.0.2.1:7".parse().unwrap());
    let call = TestCall::new()
        .with_extension(7_u8)
        .with_header("x-a", "1")
        .with_header("x-a", "2")
        .with_timeout(Duration::from_secs(5))
        .with_peer(peer.clone());
    assert_eq!(call.metadata().get_all("x-a").count(), 2);
    assert_eq!(call.peer(), &peer);
    assert_eq!(call.extensions().get::<u8>(), Some(&7));
    assert_eq!(call.time_left(), Some(Duration::from_secs(5)));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(call.time_left(), Some(Duration::ZERO));
    let call = TestCall::of(&gannet_testing::example::ECHO.methods[0]);
    assert_eq!(call.method().path, "/example.Echo/Say");
    assert!(!call.is_cancelled());
    let cancel = call.canceller();
    let waiting = tokio::spawn(async move {
        call.cancelled().await;
        assert!(call.is_cancelled());
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    cancel();
    waiting.await.unwrap();
}
