//! Compressed requests and responses, on the wire.

use std::sync::Arc;

use gannet_core::codec::Raw;
use gannet_core::compression::{Compressor, Compressors, Deflate, Encoding, Gzip, Output, Zstd};
use gannet_core::{MethodDescriptor, MethodKind, Result, ServiceDescriptor};
use gannet_server::{
    Call, Handled, Incoming, MethodOptions, Next, Server, Service, Serving, Start, Started,
};
use gannet_transport::{Inbound, Outbound, pipe};

use crate::client::{Raw as Peer, Reply, connect, framed};

type Bytes = Vec<u8>;

static TEST: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[
        MethodDescriptor::new("/test.Test/Echo", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Upload", MethodKind::ClientStreaming),
        MethodDescriptor::new("/test.Test/Download", MethodKind::ServerStreaming),
        MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming),
    ],
);

/// Does what the request's metadata says, and sends its requests back.
struct Test;

/// `x-compress` names an encoding; `x-late` says that headers are sent before.
fn obey(call: &mut Call) {
    if call.metadata().get("x-late").is_some() {
        call.send_headers();
    }
    let wanted = match call.metadata().get("x-compress") {
        Some("gzip") => Encoding::GZIP,
        Some("zstd") => Encoding::ZSTD,
        Some("x-none") => const { Encoding::new("x-none") },
        Some(_) => Encoding::IDENTITY,
        None => return,
    };
    let will = call.compress(wanted);
    call.trailers_mut().insert("x-will", if will { "yes" } else { "no" }).unwrap();
}

/// Messages that begin with `!` go uncompressed.
async fn send(replies: &mut Outbound<Bytes>, message: Bytes) -> Result<()> {
    match message.first() {
        Some(b'!') => replies.send(message).uncompressed().await,
        _ => replies.send(message).await,
    }
}

async fn unary(call: &mut Call, message: Bytes) -> Result<Bytes> {
    obey(call);
    let came = call.request_compressed().messages.to_string();
    call.trailers_mut().insert("x-came", &came)?;
    Ok(message)
}

async fn upload(call: &mut Call, mut messages: Inbound<Bytes>) -> Result<Bytes> {
    obey(call);
    let mut all = Vec::new();
    while let Some(message) = messages.next().await? {
        all.extend_from_slice(&message);
    }
    let came = messages.compressed().messages.to_string();
    call.trailers_mut().insert("x-came", &came)?;
    Ok(all)
}

async fn download(call: &mut Call, message: Bytes, mut replies: Outbound<Bytes>) -> Result<()> {
    obey(call);
    send(&mut replies, message.clone()).await?;
    send(&mut replies, message).await?;
    let went = replies.compressed();
    call.trailers_mut().insert("x-went", went.messages.to_string()).map_err(Into::into)
}

async fn chat(
    call: &mut Call,
    mut messages: Inbound<Bytes>,
    mut replies: Outbound<Bytes>,
) -> Result<()> {
    obey(call);
    while let Some(message) = messages.next().await? {
        send(&mut replies, message).await?;
    }
    Ok(())
}

impl Service for Test {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &TEST
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        match method {
            0 => start.unary::<Raw, Bytes, Bytes, _, _>(|mut call, message| async move {
                let result = unary(&mut call, message).await;
                (call, result)
            }),
            1 => start.client_streaming::<Raw, Bytes, Bytes, _, _>(|mut call, ends| async move {
                let messages = ends.open(&call);
                let result = upload(&mut call, messages).await;
                (call, result)
            }),
            2 => start.server_streaming::<Raw, Bytes, Bytes, _, _>(
                |mut call, message, ends| async move {
                    let replies = ends.open(&call);
                    let result = download(&mut call, message, replies).await;
                    (call, result)
                },
            ),
            _ => start.bidi_streaming::<Raw, Bytes, Bytes, _, _>(|mut call, ends| async move {
                let (messages, replies) = ends.open(&call);
                let result = chat(&mut call, messages, replies).await;
                (call, result)
            }),
        }
    }
}

const KINDS: [&str; 4] = ["Echo", "Upload", "Download", "Chat"];
const ACCEPTED: &str = "identity,gzip,deflate,zstd";

fn server() -> Server {
    Server::new().add(Test).compressors(Compressors::built_in())
}

fn deflated(compressor: &dyn Compressor, message: &[u8]) -> Bytes {
    let mut payload = Vec::new();
    compressor.compress(message, &mut payload).unwrap();
    payload
}

fn inflated(compressor: &dyn Compressor, payload: &[u8]) -> Bytes {
    let mut message = Vec::new();
    compressor.decompress(payload, &mut Output::new(&mut message, 1 << 24)).unwrap();
    message
}

fn flagged(payload: &[u8]) -> Bytes {
    let mut bytes = framed(payload);
    bytes[0] = 1;
    bytes
}

/// Whether each message of a reply is compressed.
fn flags(reply: &Reply) -> Vec<u8> {
    let mut rest = &reply.data[..];
    let mut flags = Vec::new();
    while let [flag, a, b, c, d, more @ ..] = rest {
        flags.push(*flag);
        rest = &more[u32::from_be_bytes([*a, *b, *c, *d]) as usize..];
    }
    flags
}

async fn call(raw: &mut Peer, method: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
    let key = raw.open(method, more);
    raw.data(key, body, true);
    let reply = raw.finished(key).await;
    assert_eq!(reply.header("grpc-accept-encoding"), Some(ACCEPTED), "in every response");
    reply
}

#[tokio::test(start_paused = true)]
async fn requests_of_all_kinds_in_each_encoding() {
    let mut raw = connect(server()).await;
    let long = b"some long message ".repeat(20_000);
    let codecs: [Arc<dyn Compressor>; 3] =
        [Arc::new(Gzip::new()), Arc::new(Deflate::new()), Arc::new(Zstd::new())];
    for codec in codecs {
        let encoding = ("grpc-encoding", codec.encoding().name());
        for message in [&b""[..], b"m", &long] {
            for method in KINDS {
                let body = flagged(&deflated(&*codec, message));
                let reply = call(&mut raw, method, &[encoding], &body).await;
                let copies = if method == "Download" { 2 } else { 1 };
                assert_eq!((reply.code(), reply.messages()), (0, vec![message.to_vec(); copies]));
                assert_eq!(reply.header("grpc-encoding"), None, "the reply is not compressed");
                if matches!(method, "Echo" | "Upload") {
                    assert_eq!(reply.trailer("x-came"), Some("1"));
                }
                // A declared encoding need not be used.
                let reply = call(&mut raw, method, &[encoding], &framed(message)).await;
                assert_eq!((reply.code(), reply.messages()), (0, vec![message.to_vec(); copies]));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_and_plain_messages_of_a_stream_keep_their_order_however_they_are_cut() {
    let mut raw = connect(server()).await;
    let messages: Vec<Bytes> = (0..60_u8).map(|n| vec![n; usize::from(n).pow(3) % 7_000]).collect();
    let mut body = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        match n % 3 {
            0 => body.extend(framed(message)),
            // Longer than what a delivery copies.
            1 => body.extend(flagged(&deflated(&Gzip::with_level(0), message))),
            _ => body.extend(flagged(&deflated(&Gzip::new(), message))),
        }
    }
    for piece in [1, 7, 100, 4096, body.len()] {
        let key = raw.open("Chat", &[("grpc-encoding", "gzip")]);
        for bytes in body.chunks(piece) {
            raw.data(key, bytes, false);
            raw.flush().await;
        }
        raw.end(key);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 0);
        assert!(reply.messages() == messages, "in pieces of {piece}");
        let key = raw.open("Upload", &[("grpc-encoding", "gzip")]);
        raw.data(key, &body, true);
        let reply = raw.finished(key).await;
        assert!(reply.ok() == messages.concat());
        assert_eq!(reply.trailer("x-came"), Some("40"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_compressed_requests() {
    let mut raw = connect(server().max_receive_bytes(1000)).await;
    let gzip = ("grpc-encoding", "gzip");
    let fits = flagged(&deflated(&Gzip::new(), &[7; 1000]));
    let bomb = flagged(&deflated(&Gzip::new(), &[7; 1001]));
    let torn = flagged(&deflated(&Gzip::new(), &[7; 500])[..15]);
    let garbage = flagged(b"not gzip");
    for method in KINDS {
        assert_eq!(call(&mut raw, method, &[gzip], &fits).await.code(), 0);
        for (body, code) in [(&bomb, 8), (&torn, 13), (&garbage, 13), (&flagged(b""), 13)] {
            let reply = call(&mut raw, method, &[gzip], body).await;
            assert_eq!(reply.code(), code, "{method}: {}", reply.message());
            assert!(reply.message().contains("gzip"), "{}", reply.message());
        }
        // The length alone is enough, and is not of what it would be.
        let reply = call(&mut raw, method, &[gzip], &[1, 0, 0, 3, 0xe9]).await;
        assert_eq!(reply.code(), 8, "{method}");
        for more in [&[][..], &[("grpc-encoding", "identity")]] {
            let reply = call(&mut raw, method, more, &fits).await;
            assert_eq!(reply.code(), 13, "{method}: {}", reply.message());
        }
        let reply = call(&mut raw, method, &[("grpc-encoding", "br")], &fits).await;
        let told = format!("grpc-encoding br is not supported; accepted: {ACCEPTED}");
        assert_eq!((reply.code(), reply.message()), (12, &*told));
        assert!(reply.trailers_only);
    }
}

#[tokio::test(start_paused = true)]
async fn responses_are_compressed_where_server_and_client_agree() {
    let big = vec![7; 5_000];
    let body = framed(&big);
    // What the server is told, the client accepts, the handler wants; what comes.
    let table: &[(Option<Encoding>, &str, &str, Option<&str>)] = &[
        (None, "gzip,zstd", "", None),
        (Some(Encoding::GZIP), "gzip,zstd", "", Some("gzip")),
        (Some(Encoding::GZIP), "identity, deflate ,gzip", "", Some("gzip")),
        (Some(Encoding::GZIP), "zstd", "", None),
        (Some(Encoding::GZIP), "", "", None),
        (Some(Encoding::GZIP), "gzip,zstd", "zstd", Some("zstd")),
        (Some(Encoding::GZIP), "gzip", "zstd", None),
        (Some(Encoding::GZIP), "gzip", "x-none", None),
        (Some(Encoding::GZIP), "gzip", "identity", None),
        (None, "gzip", "gzip", Some("gzip")),
    ];
    for (told, accepted, wanted, comes) in table {
        let server = told.iter().fold(server(), |server, encoding| server.compress(*encoding));
        let mut raw = connect(server).await;
        for method in KINDS {
            let mut more = vec![("grpc-accept-encoding", *accepted)];
            if !wanted.is_empty() {
                more.push(("x-compress", wanted));
            }
            let reply = call(&mut raw, method, &more, &body).await;
            assert_eq!(reply.header("grpc-encoding"), *comes, "{method} {more:?}");
            let will = comes.unwrap_or("identity") == *wanted;
            let will = (!wanted.is_empty()).then_some(if will { "yes" } else { "no" });
            assert_eq!(reply.trailer("x-will"), will, "{method} {more:?}");
            let copies = if method == "Download" { 2 } else { 1 };
            let flag = u8::from(comes.is_some());
            assert_eq!(flags(&reply), vec![flag; copies], "{method} {more:?}");
            let inflate = |payload: &Bytes| match comes {
                Some("gzip") => inflated(&Gzip::new(), payload),
                Some(_) => inflated(&Zstd::new(), payload),
                None => payload.clone(),
            };
            let messages = reply.messages();
            assert!(messages.iter().all(|message| inflate(message) == big));
            if method == "Download" {
                let went = if comes.is_some() { "2" } else { "0" };
                assert_eq!(reply.trailer("x-went"), Some(went));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn single_messages_opt_out_and_short_ones_are_left_alone() {
    let mut raw = connect(server().compress(Encoding::GZIP)).await;
    let accepted = [("grpc-accept-encoding", "gzip")];
    let body = [framed(&[b'!'; 500]), framed(&[7; 500]), framed(b"x"), framed(b"")].concat();
    let reply = call(&mut raw, "Chat", &accepted, &body).await;
    assert_eq!(reply.header("grpc-encoding"), Some("gzip"), "also where the first one opts out");
    assert_eq!(flags(&reply), [0, 1, 0, 0]);
    let reply = call(&mut raw, "Echo", &accepted, &framed(b"short")).await;
    assert_eq!((reply.header("grpc-encoding"), reply.ok()), (None, b"short".to_vec()));
}

/// Sends what it reads on, through as many streams as this is called times.
async fn pass_on(mut call: Incoming, next: Next) -> Result<Handled> {
    let wrapped = call.wrap_replies(|mut from, mut to| async move {
        while let Some(message) = from.next().await? {
            to.send(message).await?;
        }
        Ok(())
    });
    assert_eq!(wrapped, call.method().kind.server_streams());
    next.run(call).await
}

#[tokio::test(start_paused = true)]
async fn single_messages_opt_out_through_interceptors() {
    let long = [b'!'; 20_000];
    let mut messages = vec![&[b'!'; 500][..], &[7; 500], &[7; 500], b"x", &long, &[8; 20_000]];
    messages.push(&[b'!'; 300]);
    let body: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
    for interceptors in 1..=3 {
        let server = server().compress(Encoding::GZIP);
        let server = (0..interceptors).fold(server, |server, _| server.intercept(pass_on));
        let mut raw = connect(server).await;
        for piece in [body.len(), 300] {
            let accepted = [("grpc-accept-encoding", "gzip")];
            let key = raw.open("Chat", &accepted);
            for bytes in body.chunks(piece) {
                raw.data(key, bytes, false);
                raw.flush().await;
            }
            raw.end(key);
            let reply = raw.finished(key).await;
            assert_eq!(flags(&reply), [0, 1, 1, 0, 0, 1, 0], "{interceptors}, {piece}");
            let came = reply.messages();
            assert!([0, 3, 4, 6].iter().all(|&plain| came[plain] == messages[plain]));
            assert!(inflated(&Gzip::new(), &came[5]) == messages[5]);
        }
        // Nothing is marked on the wire where nothing is compressed.
        let reply = call(&mut raw, "Chat", &[], &body).await;
        assert_eq!((reply.header("grpc-encoding"), flags(&reply)), (None, vec![0; 7]));
        assert!(reply.messages() == messages);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_headers_nothing_changes() {
    let big = framed(&[7; 500]);
    for (told, flag) in [(Encoding::IDENTITY, 0), (Encoding::GZIP, 1)] {
        let mut raw = connect(server().compress(told)).await;
        for method in KINDS {
            let wanted = if flag == 0 { "gzip" } else { "identity" };
            let more = [("grpc-accept-encoding", "gzip"), ("x-late", "1"), ("x-compress", wanted)];
            let reply = call(&mut raw, method, &more, &big).await;
            assert_eq!(reply.header("grpc-encoding"), (flag == 1).then_some("gzip"), "{method}");
            assert_eq!(reply.trailer("x-will"), Some("no"), "{method}");
            assert!(flags(&reply).iter().all(|each| *each == flag), "{method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn methods_and_services_can_be_told_apart() {
    let server = server()
        .compress(Encoding::ZSTD)
        .method("test.Test", MethodOptions::new().compress(Encoding::GZIP))
        .method("/test.Test/Chat", MethodOptions::new().compress(Encoding::IDENTITY));
    let mut raw = connect(server).await;
    let accepted = [("grpc-accept-encoding", "gzip,zstd")];
    for (method, comes) in [("Echo", Some("gzip")), ("Chat", None), ("Echo", Some("gzip"))] {
        let reply = call(&mut raw, method, &accepted, &framed(&[7; 500])).await;
        assert_eq!(reply.header("grpc-encoding"), comes, "{method}");
    }
}

#[tokio::test]
async fn an_encoding_that_the_server_lacks_keeps_it_from_serving() {
    let serve = |server: Server| -> Serving { server.serve(pipe().1) };
    let missing = Server::new().add(Test).compress(Encoding::GZIP);
    let error = serve(missing).await.unwrap_err();
    assert!(error.to_string().contains("gzip"), "{error}");
    serve(Server::new().add(Test).compress(Encoding::IDENTITY)).await.unwrap();
}
