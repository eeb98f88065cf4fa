//! Compressed requests and responses: on the wire against a scripted server, and in all kinds of
//! calls against gannet-server.

use std::future::IntoFuture;

use gannet_client::{Answer, Channel, ChannelBuilder, Next, Outgoing};
use gannet_core::compression::{
    CompressError, Compressor, Compressors, DecompressError, Deflate, Encoding, Gzip, Output,
};
use gannet_core::{Code, Result, Status};
use gannet_http2::StreamKey;
use gannet_server::Server;
use gannet_transport::pipe;

use crate::peer::{
    Bytes, Fields, HEAD, OK, Peer, Peers, chat, download, field, framed, unary, upload,
};
use crate::server::{Test, all_kinds};

const ACCEPTED: &str = "identity,gzip,deflate,zstd";
const HEAD_GZIP: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")];

fn with_compressors(builder: ChannelBuilder) -> ChannelBuilder {
    builder.compressors(Compressors::built_in())
}

fn deflated(message: &[u8]) -> Bytes {
    let mut payload = Vec::new();
    Gzip::new().compress(message, &mut payload).unwrap();
    payload
}

fn inflated(compressor: &dyn Compressor, body: &[u8]) -> Bytes {
    assert_eq!(body[0], 1, "compressed");
    let mut message = Vec::new();
    compressor.decompress(&body[5..], &mut Output::new(&mut message, 1 << 20)).unwrap();
    message
}

fn flagged(payload: &[u8]) -> Bytes {
    let mut bytes = framed(payload);
    bytes[0] = 1;
    bytes
}

/// What a unary call of 500 bytes looks like, as it was changed.
async fn sent(channel: &Channel, peers: &mut Peers, encoding: Option<Encoding>) -> (Fields, Bytes) {
    let call = unary(channel, &[7; 500]);
    let call = match encoding {
        Some(encoding) => call.compress(encoding),
        None => call,
    };
    let server = async {
        let mut peer = peers.accept().await;
        let (key, fields) = peer.request().await;
        let body = peer.body(key).await;
        peer.respond(key, &[b"done"], OK).await;
        (fields, body)
    };
    let (reply, sent) = tokio::join!(call.into_future(), server);
    assert_eq!(reply.unwrap(), b"done");
    sent
}

#[tokio::test(start_paused = true)]
async fn requests_are_compressed_as_the_channel_and_the_call_say() {
    let none = Encoding::IDENTITY;
    let table = [
        (none, None, None),
        (none, Some(Encoding::GZIP), Some("gzip")),
        (Encoding::DEFLATE, None, Some("deflate")),
        (Encoding::DEFLATE, Some(Encoding::GZIP), Some("gzip")),
        (Encoding::DEFLATE, Some(none), None),
    ];
    for (told, call, goes) in table {
        let (channel, mut peers) = Peers::with(|b| with_compressors(b).compress(told));
        let (fields, body) = sent(&channel, &mut peers, call).await;
        assert_eq!(field(&fields, "grpc-accept-encoding"), Some(ACCEPTED));
        assert_eq!(field(&fields, "grpc-encoding"), goes);
        let message = match goes {
            Some("gzip") => inflated(&Gzip::new(), &body),
            Some(_) => inflated(&Deflate::new(), &body),
            None => {
                assert_eq!(body[0], 0);
                body[5..].to_vec()
            }
        };
        assert_eq!(message, [7; 500]);
    }
    let (channel, mut peers) = Peers::new();
    let (fields, _) = sent(&channel, &mut peers, Some(none)).await;
    assert_eq!(field(&fields, "grpc-accept-encoding"), None, "it has none");
}

#[tokio::test(start_paused = true)]
async fn encodings_that_the_channel_lacks() {
    let missing = Channel::builder("localhost:1").compress(Encoding::GZIP).build();
    assert!(missing.unwrap_err().to_string().contains("gzip"));
    let (channel, _peers) = Peers::new();
    let status = unary(&channel, b"").compress(Encoding::GZIP).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("gzip"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_stream_are_compressed_but_for_those_that_opt_out() {
    let (channel, mut peers) = Peers::with(|b| with_compressors(b).compress(Encoding::GZIP));
    let (opened, mut peer) = tokio::join!(upload(&channel).into_future(), peers.accept());
    let (mut tx, _reply) = opened.unwrap();
    tx.send(vec![1; 500]).uncompressed().await.unwrap();
    tx.send(vec![2; 500]).await.unwrap();
    tx.send(vec![3]).await.unwrap();
    let told = tx.compressed();
    assert_eq!((told.messages, told.bytes), (1, 500));
    tx.finish();
    let (key, fields) = peer.request().await;
    assert_eq!(field(&fields, "grpc-encoding"), Some("gzip"));
    let body = peer.body(key).await;
    let (plain, rest) = body.split_at(505);
    assert_eq!(plain, framed(&[1; 500]));
    let (compressed, short) = rest.split_at(rest.len() - 6);
    assert_eq!(inflated(&Gzip::new(), compressed), [2; 500]);
    assert_eq!(told.wire_bytes, compressed.len() as u64 - 5);
    assert_eq!(short, framed(&[3]), "one byte does not get shorter");
}

/// Lets the server answer calls of three kinds, on channels with compressors, and returns what
/// those came to.
async fn answered(answer: impl AsyncFn(&mut Peer, StreamKey)) -> Vec<Result<Bytes>> {
    let (channel, mut peers) = Peers::with(|b| with_compressors(b).max_receive_bytes(1000));
    let mut peer = None;
    let mut outcomes = Vec::new();
    for kind in 0..3 {
        let client = async {
            match kind {
                0 => unary(&channel, b"").await,
                1 => {
                    let (tx, reply) = upload(&channel).await?;
                    tx.finish();
                    reply.await
                }
                _ => {
                    let mut rx = download(&channel, b"").await?;
                    let message = rx.next().await?.unwrap_or_default();
                    assert_eq!(rx.next().await?, None);
                    Ok(message)
                }
            }
        };
        let server = async {
            if peer.is_none() {
                peer = Some(peers.accept().await);
            }
            let peer = peer.as_mut().unwrap();
            let (key, _) = loop {
                match peer.next().await {
                    crate::peer::Got::Request { key, fields, .. } => break (key, fields),
                    crate::peer::Got::Reset { .. } => {}
                    other => panic!("{other:?}"),
                }
            };
            peer.body(key).await;
            answer(peer, key).await;
            peer.conn.forget(key);
            peer.flush().await;
        };
        let (outcome, ()) = tokio::join!(client, server);
        outcomes.push(outcome);
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn compressed_responses() {
    for message in [vec![], vec![7; 1000]] {
        for outcome in answered(async |peer, key| {
            peer.headers(key, HEAD_GZIP, false);
            peer.data(key, &flagged(&deflated(&message)), false);
            peer.trailers(key, OK);
        })
        .await
        {
            assert_eq!(outcome.unwrap(), message);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_compressed_responses() {
    let head: &[_] = &[(":status", "200"), ("content-type", "application/grpc")];
    let identity = [head, &[("grpc-encoding", "identity")]].concat();
    let unknown = [head, &[("grpc-encoding", "br")]].concat();
    let good = flagged(&deflated(&[7; 1000]));
    let bomb = flagged(&deflated(&[7; 1001]));
    let torn = flagged(&deflated(&[7; 500])[..15]);
    let table: [(&[_], &[u8], Code, &str); 8] = [
        (head, &good, Code::Internal, "no grpc-encoding"),
        (&identity, &good, Code::Internal, "no grpc-encoding"),
        (&unknown, &good, Code::Internal, "br; this client accepts identity,gzip,deflate,zstd"),
        (HEAD_GZIP, &bomb, Code::ResourceExhausted, "limit of 1000 bytes"),
        (HEAD_GZIP, &[1, 0, 0, 3, 0xe9], Code::ResourceExhausted, "1001 bytes"),
        (HEAD_GZIP, &torn, Code::Internal, "gzip"),
        (HEAD_GZIP, &flagged(b"garbage"), Code::Internal, "gzip"),
        (HEAD_GZIP, &flagged(b""), Code::Internal, "gzip"),
    ];
    for (head, body, code, told) in table {
        for outcome in answered(async |peer, key| {
            peer.headers(key, head, false);
            peer.data(key, body, false);
            peer.trailers(key, OK);
        })
        .await
        {
            let status = outcome.unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(status.message().contains(told), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_take_the_encoding_is_named_as_the_cause() {
    let refusal = async |accepted: Option<&str>| -> Status {
        let (channel, mut peers) = Peers::with(|b| with_compressors(b).compress(Encoding::GZIP));
        let server = async {
            let mut peer = peers.accept().await;
            let (key, _) = peer.request().await;
            peer.body(key).await;
            let mut head = vec![
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "12"),
                ("grpc-message", "no"),
            ];
            head.extend(accepted.map(|accepted| ("grpc-accept-encoding", accepted)));
            peer.headers(key, &head, true);
            peer.flush().await;
        };
        let (reply, ()) = tokio::join!(unary(&channel, &[7; 500]).into_future(), server);
        reply.unwrap_err()
    };
    let status = refusal(Some("identity, deflate")).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        status.message(),
        "the server does not take messages compressed with gzip; it accepts identity, deflate: no"
    );
    assert_eq!(refusal(None).await.message(), "no");
    assert_eq!(refusal(Some("identity,gzip")).await.message(), "no", "that is not why");
}

#[tokio::test(start_paused = true)]
async fn all_kinds_in_each_encoding_against_our_server() {
    for encoding in Compressors::built_in().encodings() {
        let (connector, listener) = pipe();
        let server = Server::new().add(Test::default()).compressors(Compressors::built_in());
        tokio::spawn(server.compress(encoding).serve(listener).into_future());
        let builder = with_compressors(Channel::builder_with_connector(connector));
        let channel = builder.compress(encoding).build().unwrap();
        all_kinds(&channel).await;

        let big = vec![7; 2_000_000];
        let (reply, metadata) = unary(&channel, &big).with_metadata().await.unwrap();
        assert!(reply == big);
        let compressed = metadata.compressed;
        assert_eq!((compressed.messages, compressed.bytes), (1, 2_000_000));
        assert!(compressed.wire_bytes < 4_000, "{compressed:?}");

        let (mut tx, mut rx) = chat(&channel).await.unwrap();
        for n in 1..20_usize {
            let message = vec![b'x'; n * n * n];
            match n % 2 {
                0 => tx.send(message.clone()).await.unwrap(),
                _ => tx.send(message.clone()).uncompressed().await.unwrap(),
            }
            assert!(rx.next().await.unwrap().unwrap() == message);
        }
        assert_eq!(tx.compressed().messages, 8, "{encoding}: those of 4^3 bytes and more");
        tx.finish();
        assert_eq!(rx.next().await.unwrap(), None);
        assert_eq!(rx.compressed().messages, 17, "{encoding}: those of 3^3 bytes and more");
    }
}

/// An application's own: runs of a byte, each as its length and the byte's bits turned around.
struct Runs;

const RUNS: Encoding = Encoding::new("x-runs");

impl Compressor for Runs {
    fn encoding(&self) -> Encoding {
        RUNS
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        for run in message.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            let length = u8::try_from(run.len()).map_err(CompressError::new)?;
            out.extend([length, !run[0]]);
        }
        Ok(())
    }

    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
        for run in payload.chunks(2) {
            let [length, byte] = run else { return Err(DecompressError::corrupt("half a run")) };
            out.append(&vec![!byte; usize::from(*length)])?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoding_of_the_applications_own_on_the_wire() {
    let own = |builder: ChannelBuilder| builder.compressors(Compressors::new().with(Runs));
    let (channel, mut peers) = Peers::with(|builder| own(builder).max_receive_bytes(1000));
    let (fields, body) = sent(&channel, &mut peers, Some(RUNS)).await;
    assert_eq!(field(&fields, "grpc-accept-encoding"), Some("identity,x-runs"));
    assert_eq!(field(&fields, "grpc-encoding"), Some("x-runs"));
    assert_eq!(body, flagged(&[255, !7, 245, !7]));

    let bomb = [255, 0].repeat(4);
    let table: [(&[u8], Code, &str); 3] = [
        (&[2, !b'a', 1, !b'b'], Code::Ok, "aab"),
        (&[2, !1, 1], Code::Internal, "half a run"),
        (&bomb, Code::ResourceExhausted, "limit of 1000 bytes"),
    ];
    for (payload, code, told) in table {
        let (channel, mut peers) = Peers::with(|builder| own(builder).max_receive_bytes(1000));
        let server = async {
            let mut peer = peers.accept().await;
            let (key, _) = peer.request().await;
            peer.body(key).await;
            let head = [HEAD, &[("grpc-encoding", "x-runs")]].concat();
            peer.headers(key, &head, false);
            peer.data(key, &flagged(payload), false);
            peer.trailers(key, OK);
            peer.flush().await;
        };
        let (reply, ()) = tokio::join!(unary(&channel, b"").into_future(), server);
        match reply {
            Ok(reply) => assert_eq!((Code::Ok, &*reply), (code, told.as_bytes())),
            Err(status) => {
                assert_eq!(status.code(), code, "{status}");
                assert!(status.message().contains(told), "{status}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoding_of_the_applications_own_against_our_server() {
    let connect = |on_server: Compressors| {
        let (connector, listener) = pipe();
        let known = on_server.find(b"x-runs").is_some();
        let server = Server::new().add(Test::default()).compressors(on_server);
        let server = if known { server.compress(RUNS) } else { server };
        tokio::spawn(server.serve(listener).into_future());
        let all = Compressors::built_in().with(Runs);
        let builder = Channel::builder_with_connector(connector).compressors(all);
        builder.compress(RUNS).build().unwrap()
    };
    let channel = connect(Compressors::built_in().with(Runs));
    all_kinds(&channel).await;
    let message = [[1; 510], [2; 510]].concat();
    let (reply, metadata) = unary(&channel, &message).with_metadata().await.unwrap();
    assert_eq!(reply, message);
    let told = metadata.compressed;
    assert_eq!((told.messages, told.wire_bytes, told.bytes), (1, 8, 1_020));
    // It gets no shorter by it, and goes as it is.
    let (reply, metadata) = unary(&channel, b"abc").with_metadata().await.unwrap();
    assert_eq!((&*reply, metadata.compressed.messages), (&b"abc"[..], 0));

    let status = unary(&connect(Compressors::built_in()), &message).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    assert!(status.message().contains("x-runs"), "{status}");
}

/// Sends requests on as they come.
async fn pass_on(call: Outgoing, next: Next) -> Result<Answer> {
    let mut answer = next.run(call).await?;
    answer.wrap_requests(|mut from, mut to| async move {
        while let Some(message) = from.next().await? {
            to.send(message).await?;
        }
        Ok(())
    });
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn single_messages_opt_out_through_interceptors() {
    let (channel, mut peers) = Peers::with(|builder| {
        builder.compressors(Compressors::built_in()).compress(Encoding::GZIP)
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for plain in [false, false, false, true] {
            let (key, fields) = peer.request().await;
            assert_eq!(field(&fields, "grpc-encoding").is_none(), plain);
            let body = peer.body(key).await;
            let flags = if plain { [0; 5] } else { [0, 1, 0, 1, 0] };
            assert_eq!(flags_of(&body), flags);
            peer.headers(key, &[HEAD, &[("grpc-status", "9")]].concat(), true);
            peer.flush().await;
        }
        peer
    });
    let once = channel.intercepted(pass_on);
    let twice = once.intercepted(pass_on);
    let ways = [
        (&channel, Encoding::GZIP),
        (&once, Encoding::GZIP),
        (&twice, Encoding::GZIP),
        (&twice, Encoding::IDENTITY),
    ];
    for (channel, encoding) in ways {
        let (mut tx, reply) = upload(channel).compress(encoding).await.unwrap();
        for length in [500, 20_000] {
            tx.send(vec![7; length]).uncompressed().await.unwrap();
            tx.send(vec![8; length]).await.unwrap();
        }
        tx.send(vec![9]).await.unwrap();
        tx.finish();
        assert_eq!(reply.await.unwrap_err().code(), Code::FailedPrecondition);
    }
    server.await.unwrap();
}

/// The flags of messages behind each other.
fn flags_of(mut rest: &[u8]) -> Vec<u8> {
    let mut flags = Vec::new();
    while let [flag, a, b, c, d, more @ ..] = rest {
        flags.push(*flag);
        rest = &more[u32::from_be_bytes([*a, *b, *c, *d]) as usize..];
    }
    flags
}
