//! Unary calls: what goes over the wire, what comes back, and metadata.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::{Code, Metadata, Origin};

use crate::peer::{HEAD, OK, Peers, field, framed, unary};

#[tokio::test(start_paused = true)]
async fn one_request_one_response() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut peer = peers.accept().await;
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"hello");
        peer.respond(key, &[b"world"], OK).await;
        peer
    };
    let (reply, _peer) = tokio::join!(unary(&channel, b"hello").into_future(), server);
    assert_eq!(reply.unwrap(), b"world");
}

#[tokio::test(start_paused = true)]
async fn request_heads_are_as_the_protocol_demands() {
    let (channel, mut peers) = Peers::with(|b| b.authority("svc.example:1").user_agent("app/1.0"));
    let call = unary(&channel, b"")
        .timeout(Duration::from_millis(1_500))
        .header("x-one", "1")
        .header_bin("x-two-bin", [0xab, 0xab, 0xab]);
    let server = async {
        let mut peer = peers.accept().await;
        peer.echo().await
    };
    let (reply, fields) = tokio::join!(call.into_future(), server);
    assert_eq!(reply.unwrap(), b"");
    let user_agent = concat!("app/1.0 grpc-rust-gannet/", env!("CARGO_PKG_VERSION"));
    let want = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Test/Unary"),
        (":authority", "svc.example:1"),
        ("grpc-timeout", "1500m"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", user_agent),
        ("x-one", "1"),
        ("x-two-bin", "q6ur"),
    ];
    let want: Vec<_> = want.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(fields, want);
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_no_timeout_is_sent() {
    let (channel, mut peers) = Peers::new();
    let server = async { peers.accept().await.echo().await };
    let (reply, fields) = tokio::join!(unary(&channel, b"").into_future(), server);
    reply.unwrap();
    assert_eq!(field(&fields, "grpc-timeout"), None);
    assert_eq!(field(&fields, ":authority"), Some("localhost"));
}

#[tokio::test(start_paused = true)]
async fn more_methods_than_are_cached_keep_their_paths() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut paths = Vec::new();
        for _ in 0..200 {
            let fields = peer.echo().await;
            paths.push(field(&fields, ":path").unwrap().to_owned());
        }
        paths
    });
    let mut want = Vec::new();
    for _ in 0..2 {
        for n in 0..100 {
            let path = format!("/test.Test/Method{n}");
            let kind = gannet_core::MethodKind::Unary;
            let leaked: &'static str = Box::leak(path.clone().into_boxed_str());
            let method = Box::leak(Box::new(gannet_core::MethodDescriptor::new(leaked, kind)));
            let call = channel.unary::<gannet_core::codec::Raw, _, Vec<u8>>(method, vec![1]);
            assert_eq!(call.await.unwrap(), [1]);
            want.push(path);
        }
    }
    assert_eq!(server.await.unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn metadata_comes_back_where_it_is_asked_for() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        let head = [HEAD, &[("x-head", "h"), ("x-head-bin", "AAE=")]].concat();
        peer.headers(key, &head, false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-trail", "t")]);
        peer.flush().await;
        peer
    };
    let call = unary(&channel, b"").with_metadata();
    let (reply, _peer) = tokio::join!(call.into_future(), server);
    let (message, metadata) = reply.unwrap();
    assert_eq!(message, b"m");
    assert_eq!(metadata.headers.get("x-head"), Some("h"));
    assert_eq!(metadata.headers.get_bin("x-head-bin").unwrap().unwrap(), [0, 1]);
    assert_eq!(metadata.headers.len(), 2);
    assert_eq!(metadata.trailers.get("x-trail"), Some("t"));
    assert_eq!(metadata.trailers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_message_details_and_trailers() {
    let (channel, mut peers) = Peers::new();
    let trailers = [
        ("grpc-status", "5"),
        ("grpc-message", "no%20such %C3%A4"),
        ("grpc-status-details-bin", "CAU"),
        ("x-why", "because"),
    ];
    for trailers_only in [false, true] {
        let server = async {
            let mut peer = peers.accept().await;
            let (key, ..) = peer.unary().await;
            if trailers_only {
                peer.headers(key, &[HEAD, &trailers].concat(), true);
            } else {
                peer.headers(key, HEAD, false);
                peer.trailers(key, &trailers);
            }
            peer.flush().await;
            peer
        };
        let (reply, peer) = tokio::join!(unary(&channel, b"").into_future(), server);
        let status = reply.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "no such ä");
        assert_eq!(&*status.details(), [8, 5]);
        assert_eq!(status.metadata().get("x-why"), Some("because"));
        assert_eq!(status.origin(), Origin::Peer);
        drop(peer);
        wait_until_idle(&channel).await;
    }
}

/// A bad `%` sequence neither fails the call nor drops the message.
#[tokio::test(start_paused = true)]
async fn status_messages_in_every_encoding() {
    let table = [
        ("plain", "plain"),
        ("100%25 %C3%A4", "100% ä"),
        ("%E2%98%BA and %F0%9F%98%88", "☺ and 😈"),
        ("%09tab %0d%0aline", "\ttab \r\nline"),
        ("bad %zz stays", "bad %zz stays"),
        ("cut %4", "cut %4"),
        ("ends %", "ends %"),
    ];
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        for (sent, _) in table {
            let (key, ..) = peer.unary().await;
            let end = [("grpc-status", "9"), ("grpc-message", sent)];
            peer.headers(key, &[HEAD, &end].concat(), true);
            peer.conn.forget(key);
            peer.flush().await;
        }
    });
    for (sent, want) in table {
        let status = unary(&channel, b"").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, want), "{sent}");
    }
    server.await.unwrap();
}

/// Padded, unpadded, and several values in one field.
#[tokio::test(start_paused = true)]
async fn binary_metadata_in_every_spelling() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, fields, _) = peer.unary().await;
        let head = [HEAD, &[("x-bin", "AAE="), ("x-bin", "AAE,q6ur, AA==")]].concat();
        peer.headers(key, &head, false);
        peer.data(key, &framed(b"m"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-end-bin", "AA")]);
        peer.flush().await;
        (fields, peer)
    });
    let call = unary(&channel, b"").header_bin("x-in-bin", [0]).header_bin("x-in-bin", [0, 1]);
    let (_, metadata) = call.with_metadata().await.unwrap();
    let values: Vec<_> = metadata.headers.get_all_bin("x-bin").map(|v| v.unwrap()).collect();
    assert_eq!(values, [vec![0, 1], vec![0, 1], vec![0xab; 3], vec![0]]);
    assert_eq!(metadata.trailers.get_bin("x-end-bin").unwrap().unwrap(), [0]);
    let (fields, _peer) = server.await.unwrap();
    let sent: Vec<_> = fields.iter().filter(|(name, _)| name == "x-in-bin").collect();
    let sent: Vec<_> = sent.iter().map(|(_, value)| &**value).collect();
    assert_eq!(sent, ["AA", "AAE"], "unpadded");
}

#[tokio::test(start_paused = true)]
async fn the_user_agent_without_a_prefix() {
    let (channel, mut peers) = Peers::new();
    let server = async { peers.accept().await.echo().await };
    let (reply, fields) = tokio::join!(unary(&channel, b"").into_future(), server);
    reply.unwrap();
    let want = concat!("grpc-rust-gannet/", env!("CARGO_PKG_VERSION"));
    assert_eq!(field(&fields, "user-agent"), Some(want));
}

async fn wait_until_idle(channel: &Channel) {
    while channel.state() != gannet_client::ChannelState::Idle {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_options_fail_the_call_before_it_is_made() {
    let (channel, _peers) = Peers::new();
    let table = [
        (unary(&channel, b"").header("X-Upper", "1"), Code::Internal, "upper-case"),
        (unary(&channel, b"").header("grpc-status", "1"), Code::Internal, "reserved"),
        (unary(&channel, b"").header("te", "1"), Code::Internal, "reserved"),
        (unary(&channel, b"").header("x-bin", "1"), Code::Internal, "binary"),
        (unary(&channel, b"").header_bin("x", "1"), Code::Internal, "ASCII"),
        (unary(&channel, b"").header("x", "ä"), Code::Internal, "printable ASCII"),
        (unary(&channel, b"12345").max_send_bytes(4), Code::ResourceExhausted, "4 bytes"),
    ];
    for (call, code, told) in table {
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(told), "{status}");
    }
    assert_eq!(channel.state(), gannet_client::ChannelState::Idle, "nothing was connected");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_added_up() {
    let (channel, mut peers) = Peers::new();
    let mut more = Metadata::new();
    more.insert("x-b", "2").unwrap();
    let call = unary(&channel, b"").header("x-a", "1").metadata(more).header("x-a", "3");
    let server = async { peers.accept().await.echo().await };
    let (reply, fields) = tokio::join!(call.into_future(), server);
    reply.unwrap();
    let custom: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("x-")).collect();
    let want = [("x-a", "1"), ("x-b", "2"), ("x-a", "3")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(custom, want.iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn metadata_over_the_servers_limit_is_not_sent() {
    let (channel, mut peers) = Peers::new();
    peers.config.header_limits.header_list_bytes_max = 8 << 10;
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    let value = "v".repeat(7 << 10);
    assert_eq!(unary(&channel, b"x").header("x-big", &value).await.unwrap(), b"x");
    let value = "v".repeat(8 << 10);
    let status = unary(&channel, b"x").header("x-big", &value).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("the server takes 8192"), "{status}");
    assert_eq!(unary(&channel, b"x").await.unwrap(), b"x");
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_calls_share_one_connection() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    let tasks: Vec<_> = (0..64_u8)
        .map(|n| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    assert_eq!(unary(&channel, &[n, round]).await.unwrap(), [n, round]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn large_messages_go_both_ways() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    let message: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    assert!(unary(&channel, &message).await.unwrap() == message);
    drop(channel);
    server.await.unwrap();
}
