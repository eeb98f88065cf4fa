//! Streams and calls that a test makes by hand behave as those of connections.

use std::time::Duration;

use gannet_core::codec::Raw;
use gannet_core::{Code, Metadata, Status};
use gannet_testing::{TestCall, inbound, inbound_failing, replies, stream};
use gannet_transport::Peer;

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
    let (mut to, sent) = replies::<Raw, Bytes>();
    drop(sent);
    to.send(vec![1]).await.unwrap();
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
