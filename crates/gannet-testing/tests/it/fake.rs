//! The fake server: each kind of method.

use std::time::Duration;

use gannet_core::codec::Raw;
use gannet_core::{Code, Metadata, MethodDescriptor, MethodKind, ServiceDescriptor, Status};
use gannet_testing::{FakeAnswer, FakeServer};

static ALL: ServiceDescriptor = ServiceDescriptor::new(
    "fake.All",
    &[
        MethodDescriptor::new("/fake.All/One", MethodKind::Unary),
        MethodDescriptor::new("/fake.All/Up", MethodKind::ClientStreaming),
        MethodDescriptor::new("/fake.All/Down", MethodKind::ServerStreaming),
        MethodDescriptor::new("/fake.All/Chat", MethodKind::BidiStreaming),
    ],
);

type Bytes = Vec<u8>;

fn messages(texts: &[&str]) -> FakeAnswer {
    let texts: Vec<Bytes> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    FakeAnswer::messages::<Raw, Bytes>(&texts)
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_method_is_answered_and_kept() {
    let mut headers = Metadata::new();
    headers.insert("x-head", "h").unwrap();
    let fake = FakeServer::new(&ALL)
        .on("One", [messages(&["1"]).headers(headers.clone()).trailers(headers)])
        .on("Up", [messages(&["2"])])
        .on("Down", [messages(&["3", "4"]).then_fail(Status::data_loss("gone"))])
        .on("Chat", [messages(&["a", "b", "c"])]);
    let channel = fake.channel();
    let one = channel.unary::<Raw, Bytes, Bytes>(&ALL.methods[0], b"q".to_vec());
    let (reply, metadata) = one.timeout(Duration::from_secs(9)).with_metadata().await.unwrap();
    assert_eq!(reply, b"1");
    assert_eq!(
        (metadata.headers.get("x-head"), metadata.trailers.get("x-head")),
        (Some("h"), Some("h"))
    );

    let (mut up, reply) =
        channel.client_streaming::<Raw, Bytes, Bytes>(&ALL.methods[1]).await.unwrap();
    up.send(b"u1".to_vec()).await.unwrap();
    up.send(b"u2".to_vec()).await.unwrap();
    up.finish();
    assert_eq!(reply.await.unwrap(), b"2");

    let down = channel.server_streaming::<Raw, Bytes, Bytes>(&ALL.methods[2], b"d".to_vec());
    let mut down = down.await.unwrap();
    assert_eq!(down.next().await.unwrap().unwrap(), b"3");
    assert_eq!(down.next().await.unwrap().unwrap(), b"4");
    assert_eq!(down.next().await.unwrap_err().code(), Code::DataLoss);

    let (mut to, mut from) =
        channel.bidi_streaming::<Raw, Bytes, Bytes>(&ALL.methods[3]).await.unwrap();
    for (said, heard) in [("x", "a"), ("y", "b")] {
        to.send(said.as_bytes().to_vec()).await.unwrap();
        assert_eq!(from.next().await.unwrap().unwrap(), heard.as_bytes());
    }
    to.finish();
    assert_eq!(from.next().await.unwrap().unwrap(), b"c");
    assert_eq!(from.next().await.unwrap(), None);

    let calls = fake.calls();
    let kept: Vec<_> = calls
        .iter()
        .map(|call| (call.method().name, call.messages::<Raw, Bytes>().unwrap().concat()))
        .collect();
    let want = [("One", "q"), ("Up", "u1u2"), ("Down", "d"), ("Chat", "xy")];
    assert_eq!(kept, want.map(|(name, text)| (name, text.as_bytes().to_vec())));
    assert_eq!(calls[0].time_left().map(|left| left.as_secs()), Some(9));
    assert_eq!(calls[1].time_left(), None);
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_turn_and_late_and_others_are_not_implemented() {
    let late = messages(&["late"]).after(Duration::from_secs(60));
    let fake = FakeServer::new(&ALL).on("One", [messages(&["first"]), late, messages(&["last"])]);
    let channel = fake.channel();
    let call = || channel.unary::<Raw, Bytes, Bytes>(&ALL.methods[0], Vec::new());
    assert_eq!(call().await.unwrap(), b"first");
    let status = call().timeout(Duration::from_secs(59)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    for _ in 0..3 {
        assert_eq!(call().await.unwrap(), b"last");
    }
    fake.set("One", [messages(&["x", "y"])]);
    assert_eq!(call().await.unwrap_err().code(), Code::Internal, "it has one reply");
    let other = channel.server_streaming::<Raw, Bytes, Bytes>(&ALL.methods[2], Vec::new());
    let status = other.await.unwrap().next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[test]
#[should_panic(expected = "fake.All has no method \"Two\"")]
fn a_method_that_is_not_there_is_a_mistake_of_the_test() {
    let _ = FakeServer::new(&ALL).on("Two", [messages(&["1"])]);
}
