//! What a channel says of some methods: and what calls say against it.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::{CallDefaults, Channel};
use gannet_core::Code;
use gannet_core::compression::{Compressors, Encoding};
use tokio::time::Instant;

use crate::peer::{Peers, download, field, unary};
use crate::server::{Test, serve};

#[tokio::test(start_paused = true)]
async fn calls_go_by_their_method_then_their_service_then_the_channel() {
    let (channel, mut peers) = Peers::with(|builder| {
        let service = CallDefaults::new().timeout(Duration::from_secs(9));
        let method = CallDefaults::new().compress(Encoding::GZIP);
        builder
            .compressors(Compressors::built_in())
            .method("test.Test", service.compress(Encoding::DEFLATE))
            .method("/test.Test/Unary", method)
            .method("/test.Test/Upload", CallDefaults::new().timeout(Duration::from_secs(1)))
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut heads = Vec::new();
        for _ in 0..3 {
            let (key, fields) = peer.request().await;
            let told = |name| field(&fields, name).map(str::to_owned);
            heads.push((told("grpc-timeout"), told("grpc-encoding")));
            peer.body(key).await;
            peer.respond(key, &[b""], crate::peer::OK).await;
        }
        heads
    });
    unary(&channel, b"").await.unwrap();
    let own = unary(&channel, b"").timeout(Duration::from_secs(60)).compress(Encoding::IDENTITY);
    own.await.unwrap();
    download(&channel, b"").await.unwrap().next().await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let want =
        [(text("9000m"), text("gzip")), (text("60000m"), None), (text("9000m"), text("deflate"))];
    assert_eq!(server.await.unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn limits_and_patience() {
    let test = Test::default();
    let small = CallDefaults::new().max_send_bytes(10).max_receive_bytes(20);
    let channel = Channel::builder_with_connector(serve(&test))
        .method("test.Test", small)
        .method("/test.Test/Download", CallDefaults::new().max_receive_bytes(1 << 20))
        .build()
        .unwrap();
    let code = async |length: usize, send: usize, receive: usize| {
        let call = unary(&channel, &vec![0; length]);
        let call = if send > 0 { call.max_send_bytes(send) } else { call };
        let call = if receive > 0 { call.max_receive_bytes(receive) } else { call };
        call.await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code(10, 0, 0).await, Code::Ok);
    assert_eq!(code(11, 0, 0).await, Code::ResourceExhausted);
    assert_eq!(code(20, 100, 0).await, Code::Ok);
    assert_eq!(code(21, 100, 0).await, Code::ResourceExhausted);
    assert_eq!(code(21, 100, 100).await, Code::Ok);
    let mut rx = download(&channel, b"1").await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap().len(), 10_000);

    let (connector, listener) = gannet_transport::pipe();
    drop(listener);
    let patient = CallDefaults::new().wait_for_ready(true).timeout(Duration::from_secs(3));
    let channel = Channel::builder_with_connector(connector);
    let channel = channel.method("/test.Test/Unary", patient).build().unwrap();
    let started = Instant::now();
    let status = unary(&channel, b"").into_future().await.unwrap_err();
    assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 3));
    let status = unary(&channel, b"").wait_for_ready(false).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[test]
fn what_cannot_be_meant_is_told_when_the_channel_is_built() {
    let built = |name: &str, defaults| {
        let builder = Channel::builder("localhost:1").method(name, defaults);
        builder.build().map(|_| ()).map_err(|error| error.to_string())
    };
    let told = built("test.Test/Unary", CallDefaults::new()).unwrap_err();
    assert!(told.contains("names neither a method"), "{told}");
    let told = built("test.Test", CallDefaults::new().compress(Encoding::GZIP)).unwrap_err();
    assert!(told.contains("no compressor for gzip"), "{told}");
    built("test.Test", CallDefaults::new()).unwrap();
}
