//! Servers that answer wrongly, and what their calls come to (`statuscodes.md`, PROTOCOL-HTTP2).

use std::future::IntoFuture;

use gannet_core::{Code, Status};
use gannet_http2::{Reason, StreamKey};

use crate::peer::{Bytes, HEAD, OK, Peer, Peers, download, framed, unary, upload};

/// Makes one unary call and lets `answer` answer it; whether the connection still works after it.
async fn call(answer: impl AsyncFnOnce(&mut Peer, StreamKey)) -> Result<Bytes, Status> {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        answer(&mut peer, key).await;
        peer.conn.forget(key);
        peer.flush().await;
        peer
    };
    let (reply, mut peer) = tokio::join!(unary(&channel, b"").into_future(), server);
    let (next, ()) = tokio::join!(unary(&channel, b"next").into_future(), async {
        loop {
            match peer.next().await {
                crate::peer::Got::Request { key, .. } => {
                    peer.body(key).await;
                    return peer.respond(key, &[b"next"], OK).await;
                }
                crate::peer::Got::Reset { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(next.unwrap(), b"next", "the connection goes on");
    reply
}

async fn code(answer: impl AsyncFnOnce(&mut Peer, StreamKey)) -> (Code, String) {
    let status = call(answer).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test(start_paused = true)]
async fn http_status_without_grpc_status() {
    let table = [
        ("400", Code::Internal),
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("429", Code::Unavailable),
        ("502", Code::Unavailable),
        ("503", Code::Unavailable),
        ("504", Code::Unavailable),
        ("500", Code::Unknown),
        ("418", Code::Unknown),
    ];
    for (http_status, want) in table {
        for end_stream in [false, true] {
            let (got, told) = code(async |peer, key| {
                let head = [(":status", http_status), ("content-type", "text/html")];
                peer.headers(key, &head, end_stream);
                if !end_stream {
                    peer.data(key, b"<html>", true);
                }
            })
            .await;
            assert_eq!(got, want, "{http_status}");
            assert!(told.contains(http_status), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_type_that_is_not_grpcs() {
    let (got, told) = code(async |peer, key| {
        peer.headers(key, &[(":status", "200"), ("content-type", "text/plain")], false);
        peer.data(key, b"hello", true);
    })
    .await;
    assert_eq!(got, Code::Unknown);
    assert!(told.contains("text/plain"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn no_status_at_all() {
    let (got, _) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"m"), true);
    })
    .await;
    assert_eq!(got, Code::Unknown);
    let (got, _) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("x-other", "1")]);
    })
    .await;
    assert_eq!(got, Code::Unknown);
    let (got, _) = code(async |peer, key| peer.headers(key, HEAD, true)).await;
    assert_eq!(got, Code::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_none() {
    for digits in ["17", "abc", ""] {
        let (got, _) = code(async |peer, key| {
            peer.headers(key, HEAD, false);
            peer.trailers(key, &[("grpc-status", digits)]);
        })
        .await;
        assert_eq!(got, Code::Unknown, "{digits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn not_exactly_one_response() {
    let (got, told) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
    assert!(told.contains("no response"), "{told}");
    let (got, _) = code(async |peer, key| {
        peer.headers(key, &[HEAD, OK].concat(), true);
    })
    .await;
    assert_eq!(got, Code::Internal);
    let (got, told) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &[framed(b"1"), framed(b"2")].concat(), false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
    assert!(told.contains("more than one"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn not_exactly_one_response_to_a_client_stream() {
    for count in [0, 2] {
        let (channel, mut peers) = Peers::new();
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            let (key, _) = peer.request().await;
            peer.body(key).await;
            peer.respond(key, &vec![&b"m"[..]; count], OK).await;
            peer
        });
        let (tx, reply) = upload(&channel).await.unwrap();
        tx.finish();
        assert_eq!(reply.await.unwrap_err().code(), Code::Internal, "{count}");
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_before_a_failure_is_ignored() {
    let (got, told) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("grpc-status", "6"), ("grpc-message", "there")]);
    })
    .await;
    assert_eq!((got, &*told), (Code::AlreadyExists, "there"));
}

#[tokio::test(start_paused = true)]
async fn a_compressed_message_without_encoding() {
    let mut message = framed(b"m");
    message[0] = 1;
    let (got, told) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &message, false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
    assert!(told.contains("compressed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_flag_byte_that_grpc_does_not_know() {
    let mut message = framed(b"m");
    message[0] = 2;
    let (got, _) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &message, false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_cut_short() {
    let (got, told) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"message")[..8], false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
    assert!(told.contains("within a message"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_receive_limit() {
    let (channel, mut peers) = Peers::with(|builder| builder.max_receive_bytes(100));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for bytes in [100, 101, 101, 5] {
            let (key, ..) = peer.unary().await;
            peer.respond(key, &[&vec![0; bytes]], OK).await;
        }
        let (key, ..) = peer.unary().await;
        // Refused by its length, before its bytes come.
        peer.headers(key, HEAD, false);
        peer.data(key, &[0, 0x7f, 0xff, 0xff, 0xff], false);
        peer.flush().await;
        peer.reset_of(key).await
    });
    assert_eq!(unary(&channel, b"").await.unwrap().len(), 100);
    let status = unary(&channel, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("100 bytes"), "{status}");
    assert_eq!(unary(&channel, b"").max_receive_bytes(101).await.unwrap().len(), 101);
    let status = unary(&channel, b"").max_receive_bytes(4).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let mut rx = download(&channel, b"").await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_decoded() {
    #[derive(Debug)]
    struct Picky;
    impl gannet_core::Codec<Bytes> for Picky {
        fn encode(
            message: &Bytes,
            _: usize,
            out: &mut Bytes,
        ) -> Result<(), gannet_core::EncodeError> {
            out.extend_from_slice(message);
            Ok(())
        }
        fn decode(_: &[u8]) -> Result<Bytes, gannet_core::DecodeError> {
            Err(gannet_core::DecodeError::new("not to my taste"))
        }
    }
    let (channel, mut peers) = Peers::new();
    let server = async { peers.accept().await.echo().await };
    let call = channel.unary::<Picky, Bytes, Bytes>(&crate::peer::UNARY, vec![]);
    let (reply, _) = tokio::join!(call.into_future(), server);
    let status = reply.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("not to my taste"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn resets_by_the_server() {
    let table = [
        (Reason::CANCEL, Code::Cancelled),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        (Reason::NO_ERROR, Code::Internal),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason(0x99), Code::Internal),
    ];
    for (reason, want) in table {
        let (got, told) = code(async |peer, key| peer.conn.reset(key, reason)).await;
        assert!(told.starts_with("in-process: "), "{told}");
        assert_eq!(got, want, "{reason}");
        let name = reason.name().unwrap_or("0x99");
        assert!(told.contains(name), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_after_the_headers_came() {
    // The server has answered, so it has seen the call: no second attempt.
    let (got, _) = code(async |peer, key| {
        peer.headers(key, HEAD, false);
        peer.conn.reset(key, Reason::REFUSED_STREAM);
    })
    .await;
    assert_eq!(got, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn informational_responses_are_skipped() {
    let reply = call(async |peer, key| {
        let early = |w: &mut gannet_http2::FieldWriter<'_>| {
            w.field(b":status", b"103");
            w.field(b"link", b"x");
        };
        peer.conn.send_informational(key, early).unwrap();
        peer.conn.send_informational(key, early).unwrap();
        peer.headers(key, HEAD, false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(reply.unwrap(), b"m");
}

#[tokio::test(start_paused = true)]
async fn an_informational_response_that_ends_the_stream() {
    let (got, _) = code(async |peer, key| peer.headers(key, &[(":status", "100")], true)).await;
    assert_eq!(got, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_http2() {
    let (got, told) = code(async |peer, key| {
        peer.headers(key, &[HEAD, &[("connection", "close")]].concat(), false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::Internal);
    assert!(told.contains("breaks HTTP/2"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn headers_over_the_clients_limit() {
    let big = "v".repeat(17 << 10);
    let (got, told) = code(async |peer, key| {
        peer.headers(key, &[HEAD, &[("x-big", &*big)]].concat(), false);
        peer.trailers(key, OK);
    })
    .await;
    assert_eq!(got, Code::ResourceExhausted, "{told}");
    assert!(told.contains("limit of this client"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn values_that_are_not_ascii_fail_nothing() {
    let reply = call(async |peer, key| {
        peer.headers(key, &[HEAD, &[("x-odd", "ä\u{7f}")]].concat(), false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-odd-bin", "!not base64!")]);
    })
    .await;
    assert_eq!(reply.unwrap(), b"m");
}
