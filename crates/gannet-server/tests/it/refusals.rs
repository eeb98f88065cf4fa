//! Requests that break gRPC's rules, and those for things that do not exist.

use gannet_server::Server;

use crate::client::{Raw, Reply, connect, framed};
use crate::service::Test;

async fn refused(raw: &mut Raw, fields: &[(&str, &str)]) -> Reply {
    let key = raw.open_with(fields, true);
    let reply = raw.finished(key).await;
    assert!(reply.trailers_only, "{reply:?}");
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    reply
}

/// A plain HTTP client asks, and gets plain text.
async fn told(raw: &mut Raw, fields: &[(&str, &str)]) -> Reply {
    let key = raw.open_with(fields, true);
    let reply = raw.finished(key).await;
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{reply:?}");
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    reply
}

#[tokio::test(start_paused = true)]
async fn what_is_no_grpc_is_answered_when_it_is_read() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let key = raw.open_with(&get, false);
    assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    assert!(raw.reply(key).headers.is_none(), "its end has not come");
    raw.message(key, b"", true);
    assert_eq!(raw.finished(key).await.http_status(), "405");

    let key = raw.open_with(&get, false);
    raw.message(key, &[0; 80 << 10], false);
    assert_eq!(raw.finished(key).await.http_status(), "405", "it has said enough");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_no_grpc_get_http_statuses() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let path = (":path", "/test.Test/Echo");
    let (scheme, grpc) = ((":scheme", "http"), ("content-type", "application/grpc"));
    let reply = told(&mut raw, &[(":method", "GET"), scheme, path, grpc]).await;
    assert_eq!((reply.http_status(), reply.header("allow")), ("405", Some("POST")));
    assert_eq!(reply.data, b"gRPC requests use the method POST\n");
    let reply = told(&mut raw, &[(":method", "HEAD"), scheme, path, grpc]).await;
    assert_eq!((reply.http_status(), &reply.data[..]), ("405", &b""[..]));
    let json = ("content-type", "application/json");
    for fields in
        [&[(":method", "POST"), scheme, path][..], &[(":method", "POST"), scheme, path, json]]
    {
        let reply = told(&mut raw, fields).await;
        assert_eq!((reply.http_status(), reply.header("grpc-status")), ("415", Some("13")));
        assert_eq!(reply.data, b"the content-type is not application/grpc\n");
    }
    for timeout in ["", "1", "S", "123456789S", "-1S", "1x"] {
        let timeout = ("grpc-timeout", timeout);
        let reply = refused(&mut raw, &[(":method", "POST"), scheme, path, grpc, timeout]).await;
        assert_eq!((reply.http_status(), reply.code()), ("400", 13), "{timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn content_types_of_grpc_are_taken() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; a=b"] {
        let key = raw.open_with(
            &[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/test.Test/Echo"),
                ("content-type", content_type),
            ],
            false,
        );
        raw.message(key, b"m", true);
        assert_eq!(raw.finished(key).await.ok(), b"m");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_unimplemented() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let reply = raw.unary("Nope", b"").await;
    assert!(reply.trailers_only);
    assert_eq!((reply.code(), reply.message()), (12, "unknown method /test.Test/Nope"));
    let reply = raw.unary("echo", b"").await;
    assert_eq!(reply.code(), 12, "paths are case-sensitive");
    let reply = raw.unary("Missing", b"").await;
    assert_eq!((reply.code(), reply.message()), (12, "/test.Test/Missing is not implemented"));
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/other.Service/Echo"),
        ("content-type", "application/grpc"),
    ];
    let reply = refused(&mut raw, &fields).await;
    assert_eq!(reply.code(), 12);
    assert_eq!(reply.message(), "unknown service or method /other.Service/Echo");
}

#[tokio::test(start_paused = true)]
async fn encodings_that_are_not_there() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    let key = raw.open("Echo", &[("grpc-encoding", "gzip")]);
    raw.message(key, b"m", true);
    let reply = raw.finished(key).await;
    let told = "grpc-encoding gzip is not supported; accepted: identity";
    assert_eq!((reply.code(), reply.message()), (12, told));
    assert_eq!(reply.header("grpc-accept-encoding"), Some("identity"));
    let key = raw.open("Echo", &[("grpc-encoding", "identity")]);
    raw.message(key, b"m", true);
    assert_eq!(raw.finished(key).await.ok(), b"m");
    for method in ["Echo", "Download", "Upload", "Chat"] {
        let key = raw.open(method, &[]);
        let mut bytes = framed(b"m");
        bytes[0] = 1;
        raw.data(key, &bytes, true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 13, "compressed without an encoding: {method}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_message_means_exactly_one() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for method in ["Echo", "Download"] {
        let key = raw.open(method, &[]);
        raw.end(key);
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.message()), (13, "the request has no message"));
        let key = raw.open(method, &[]);
        raw.data(key, &[framed(b"1 1"), framed(b"1 1")].concat(), true);
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.message()), (13, "more than one request message"));
        // Also where the second comes later.
        let key = raw.open(method, &[]);
        raw.message(key, b"1 1", false);
        raw.flush().await;
        tokio::task::yield_now().await;
        raw.message(key, b"1 1", true);
        assert_eq!(raw.finished(key).await.code(), 13);
    }
}

#[tokio::test(start_paused = true)]
async fn torn_messages_are_internal() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for method in ["Echo", "Download", "Upload", "Chat"] {
        for cut in [1, 4, 5, 8] {
            let key = raw.open(method, &[]);
            raw.data(key, &framed(b"1 1 1 1 1")[..cut], true);
            assert_eq!(raw.finished(key).await.code(), 13, "{method} cut at {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_over_the_limit_are_refused_unread() {
    let mut raw = connect(Server::new().add(Test::new()).max_receive_bytes(100)).await;
    assert_eq!(raw.unary("Echo", &[7; 100]).await.ok(), [7; 100]);
    for method in ["Echo", "Upload", "Chat"] {
        let reply = raw.unary(method, &[7; 101]).await;
        assert_eq!(reply.code(), 8, "{method}");
        // The length alone is enough.
        let key = raw.open(method, &[]);
        raw.data(key, &[0, 0xff, 0xff, 0xff, 0xff], false);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 8, "{method}");
    }
    let mut raw = connect(Server::new().add(Test::new()).max_send_bytes(100)).await;
    assert_eq!(raw.unary("Echo", &[7; 101]).await.code(), 8);
}

/// A header that is not HTTP/2's is no reason for a status: the stream is reset.
#[tokio::test(start_paused = true)]
async fn connection_headers_reset_their_stream() {
    let mut raw = connect(Server::new().add(Test::new())).await;
    for (name, value) in
        [("connection", "keep-alive"), ("proxy-connection", "x"), ("transfer-encoding", "chunked")]
    {
        let key = raw.open("Echo", &[(name, value)]);
        let reply = raw.finished(key).await;
        assert_eq!(reply.reset, Some(gannet_http2::Reason::PROTOCOL_ERROR), "{name}");
        assert!(reply.headers.is_none(), "{reply:?}");
        assert_eq!(raw.unary("Echo", b"alive").await.ok(), b"alive");
    }
}
