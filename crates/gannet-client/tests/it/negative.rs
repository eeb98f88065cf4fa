//! Servers that break the rules, on raw frames: what becomes of the call, and of those that come
//! after it. The cases of gRPC's negative HTTP/2 tests, and hostile servers.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::Channel;
use gannet_core::{Code, Result};
use gannet_http2::Reason;
use tokio::time::{Instant, timeout};

use crate::peer::{Bytes, HEAD, OK, Peers, download, framed, unary};
use crate::wire::{
    ACK, CONTINUATION, DATA, END, END_HEADERS, GOAWAY, HEADERS, PADDED, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, Wire, block, frame, reset, settings, window_update,
};

const WINDOW_MAX: u32 = (1 << 31) - 1;

/// The head of a good response.
fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(HEAD))
}

fn trailers(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END, stream, &block(OK))
}

/// A whole unary response.
fn response(stream: u32, message: &[u8]) -> Vec<u8> {
    [head(stream), frame(DATA, 0, stream, &framed(message)), trailers(stream)].concat()
}

/// A good connection takes this channel's next call.
async fn next_is_served(channel: &Channel, peers: &mut Peers) {
    let call = unary(channel, b"next").wait_for_ready(true);
    let server = async {
        let mut peer = peers.accept().await;
        peer.echo().await;
        peer
    };
    let (reply, _peer) = tokio::join!(call.into_future(), server);
    assert_eq!(reply.unwrap(), b"next");
}

/// What a unary call comes to whose server says this on its stream, 1, and goes on.
async fn answered(bytes: &[u8]) -> (Result<Bytes>, Wire, Channel) {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        while wire.next_of(DATA).await.flags & END == 0 {}
        wire.send(bytes).await;
        wire
    };
    let call = unary(&channel, b"m").timeout(Duration::from_secs(100));
    let (reply, wire) = tokio::join!(call.into_future(), server);
    (reply, wire, channel)
}

/// The same connection takes the next call, on stream 3.
async fn goes_on(name: &str, mut wire: Wire, channel: &Channel) {
    let server = async {
        loop {
            let came = wire.next().await.expect("closed");
            assert_ne!(came.kind, GOAWAY, "{name}");
            if (came.kind, came.stream, came.flags & END) == (DATA, 3, END) {
                return wire.send(&response(3, b"still")).await;
            }
        }
    };
    let (reply, ()) = tokio::join!(unary(channel, b"next").into_future(), server);
    assert_eq!(reply.unwrap(), b"still", "{name}");
}

#[tokio::test(start_paused = true)]
async fn bad_initial_settings() {
    let cases: [(&str, Vec<u8>); 10] = [
        ("on a stream", frame(SETTINGS, 0, 1, b"")),
        ("short", frame(SETTINGS, 0, 0, &[0; 5])),
        ("an acknowledgement", frame(SETTINGS, ACK, 0, b"")),
        ("small frames", settings(&[(5, 100)])),
        ("huge frames", settings(&[(5, 1 << 24)])),
        ("a window", settings(&[(4, 1 << 31)])),
        ("push", settings(&[(2, 2)])),
        ("an unknown type first", frame(0x99, 0, 0, b"")),
        ("a response first", response(1, b"m")),
        ("a PING first", frame(PING, 0, 0, &[0; 8])),
    ];
    for (name, bytes) in cases {
        let (channel, mut peers) = Peers::new();
        let server = async {
            let mut wire = Wire::new(peers.silent().await);
            wire.take_preface().await;
            wire.send(&bytes).await;
            wire.next_of(GOAWAY).await.reason()
        };
        let (reply, reason) = tokio::join!(unary(&channel, b"m").into_future(), server);
        let status = reply.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{name}: {status}");
        assert_ne!(reason, Reason::NO_ERROR, "{name}");
        next_is_served(&channel, &mut peers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_preface() {
    for bytes in [&settings(&[])[..5], b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (channel, mut peers) = Peers::new();
        let server = async {
            let mut wire = Wire::new(peers.silent().await);
            wire.take_preface().await;
            wire.send(bytes).await;
        };
        let (reply, ()) = tokio::join!(unary(&channel, b"m").into_future(), server);
        assert_eq!(reply.unwrap_err().code(), Code::Unavailable);
        next_is_served(&channel, &mut peers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_never_acknowledged() {
    let (channel, mut peers) = Peers::new();
    let start = Instant::now();
    let server = async {
        let mut wire = Wire::new(peers.silent().await);
        wire.take_preface().await;
        wire.send(&settings(&[])).await;
        wire.next_of(GOAWAY).await.reason()
    };
    let (reply, reason) = tokio::join!(unary(&channel, b"m").into_future(), server);
    assert_eq!(reason, Reason::SETTINGS_TIMEOUT);
    assert_eq!(reply.unwrap_err().code(), Code::Unavailable);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(31), "{took:?}");
    next_is_served(&channel, &mut peers).await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_the_connection() {
    let unended = frame(HEADERS, 0, 1, &block(HEAD));
    let cases: [(&str, Vec<u8>, Reason); 15] = [
        ("bad headers", frame(HEADERS, END_HEADERS, 1, &[0x80]), Reason::COMPRESSION_ERROR),
        ("padding", [head(1), frame(DATA, PADDED, 1, &[9, 0])].concat(), Reason::PROTOCOL_ERROR),
        ("too long", [head(1), frame(DATA, 0, 1, &[0; 16_385])].concat(), {
            Reason::FRAME_SIZE_ERROR
        }),
        ("a short PING", frame(PING, 0, 0, &[0; 7]), Reason::FRAME_SIZE_ERROR),
        ("window overflow", window_update(0, WINDOW_MAX), Reason::FLOW_CONTROL_ERROR),
        ("a window that grows by 0", window_update(0, 0), Reason::PROTOCOL_ERROR),
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), Reason::PROTOCOL_ERROR),
        ("DATA on an idle stream", frame(DATA, 0, 77, b"x"), Reason::PROTOCOL_ERROR),
        ("a response to nothing", head(77), Reason::PROTOCOL_ERROR),
        ("an even stream", head(2), Reason::PROTOCOL_ERROR),
        ("a push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), Reason::PROTOCOL_ERROR),
        ("a reset of an idle stream", reset(77, Reason::CANCEL), Reason::PROTOCOL_ERROR),
        ("headers interrupted", [unended.clone(), frame(PING, 0, 0, &[0; 8])].concat(), {
            Reason::PROTOCOL_ERROR
        }),
        ("CONTINUATION", [unended, frame(CONTINUATION, 0, 1, b"").repeat(20)].concat(), {
            Reason::ENHANCE_YOUR_CALM
        }),
        ("empty DATA", [head(1), frame(DATA, 0, 1, b"").repeat(100)].concat(), {
            Reason::ENHANCE_YOUR_CALM
        }),
    ];
    for (name, bytes, want) in cases {
        let (channel, mut peers) = Peers::new();
        let server = async {
            let mut wire = Wire::server(peers.silent().await).await;
            wire.next_of(HEADERS).await;
            wire.send(&bytes).await;
            wire.next_of(GOAWAY).await.reason()
        };
        let (reply, reason) = tokio::join!(unary(&channel, b"m").into_future(), server);
        assert_eq!(reason, want, "{name}");
        let status = reply.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{name}: {status}");
        assert!(status.message().contains(reason.name().unwrap()), "{name}: {status}");
        next_is_served(&channel, &mut peers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_only_the_call() {
    let huge = "v".repeat(17 << 10);
    let large = block(&[HEAD, &[("x", &huge)]].concat());
    let (first, rest) = large.split_at(10_000);
    let cases: [(&str, Vec<u8>, Code); 7] = [
        (
            "large metadata",
            [frame(HEADERS, END, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
            Code::ResourceExhausted,
        ),
        ("duplicate headers", [head(1), head(1)].concat(), Code::Internal),
        (
            "a duplicate status",
            { frame(HEADERS, END_HEADERS, 1, &block(&[(":status", "200"), (":status", "200")])) },
            Code::Internal,
        ),
        ("no status", frame(HEADERS, END_HEADERS, 1, &block(&HEAD[1..])), Code::Internal),
        ("DATA before headers", frame(DATA, 0, 1, &framed(b"m")), Code::Internal),
        ("window overflow", [head(1), window_update(1, WINDOW_MAX)].concat(), Code::Internal),
        (
            "a connection header",
            {
                frame(HEADERS, END_HEADERS, 1, &block(&[HEAD, &[("connection", "close")]].concat()))
            },
            Code::Internal,
        ),
    ];
    for (name, bytes, want) in cases {
        let (reply, wire, channel) = answered(&bytes).await;
        let status = reply.unwrap_err();
        assert_eq!(status.code(), want, "{name}: {status}");
        goes_on(name, wire, &channel).await;
    }
}

/// gRPC's `rst_after_header`, `rst_during_data` and `rst_after_data`: no part of a message, and no
/// message without a status, is a success.
#[tokio::test(start_paused = true)]
async fn resets_at_every_point_of_a_response() {
    let message = framed(b"message");
    let before: [(&str, Vec<u8>); 3] = [
        ("rst_after_header", head(1)),
        ("rst_during_data", [head(1), frame(DATA, 0, 1, &message[..8])].concat()),
        ("rst_after_data", [head(1), frame(DATA, 0, 1, &message)].concat()),
    ];
    let reasons = [
        (Reason::NO_ERROR, Code::Internal),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::CANCEL, Code::Cancelled),
        (Reason::REFUSED_STREAM, Code::Unavailable),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
    ];
    for (name, bytes) in before {
        for (reason, want) in reasons {
            let (reply, wire, channel) =
                answered(&[bytes.clone(), reset(1, reason)].concat()).await;
            assert_eq!(reply.unwrap_err().code(), want, "{name} {reason:?}");
            goes_on(name, wire, &channel).await;
        }
    }
}

/// The whole messages of a stream that is reset are delivered, then the failure.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_reset_keeps_its_whole_messages() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        wire.next_of(HEADERS).await;
        let body = [framed(b"one"), framed(b"two"), framed(b"three")[..6].to_vec()].concat();
        wire.send(&[head(1), frame(DATA, 0, 1, &body)].concat()).await;
        wire.send(&reset(1, Reason::INTERNAL_ERROR)).await;
        wire
    };
    let (rx, _wire) = tokio::join!(download(&channel, b"m").into_future(), server);
    let mut rx = rx.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"one");
    assert_eq!(rx.next().await.unwrap().unwrap(), b"two");
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Internal);
}

/// gRPC's `ping`: each is answered with its own bytes, before, between and after the messages.
#[tokio::test(start_paused = true)]
async fn pings_are_all_acknowledged() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        wire.next_of(HEADERS).await;
        let mut number = 0_u64;
        let parts = [vec![], head(1), frame(DATA, 0, 1, &framed(b"m")), trailers(1)];
        for part in parts {
            wire.send(&part).await;
            for _ in 0..100 {
                number += 1;
                wire.send(&frame(PING, 0, 0, &number.to_be_bytes())).await;
                let ack = wire.next_of(PING).await;
                assert_eq!((ack.flags, &ack.payload[..]), (ACK, &number.to_be_bytes()[..]));
            }
        }
        wire
    };
    let (reply, _wire) = tokio::join!(unary(&channel, b"m").into_future(), server);
    assert_eq!(reply.unwrap(), b"m");
}

#[tokio::test(start_paused = true)]
async fn unknown_frame_types_are_ignored() {
    let odd = [frame(0x99, 0xff, 0, b"unknown"), frame(0x99, 0, 1, b"")].concat();
    let parts = [head(1), frame(DATA, 0, 1, &framed(b"m")), trailers(1)];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| [&odd[..], part].concat()).collect();
    let (reply, wire, channel) = answered(&bytes).await;
    assert_eq!(reply.unwrap(), b"m");
    goes_on("unknown", wire, &channel).await;
}

/// gRPC's `data_frame_padding`: 15 MB in frames of 5 bytes with 255 of padding each, by a server
/// that keeps to the windows.
#[tokio::test(start_paused = true)]
async fn data_frame_padding() {
    let (channel, mut peers) = Peers::new();
    let message = vec![7; 300_000];
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        // The connection's window is widened when the preface is sent.
        let mut windows = [65_535_i64, 1 << 20];
        let count = |windows: &mut [i64; 2], update: &crate::wire::Frame| {
            if update.kind == WINDOW_UPDATE {
                windows[usize::from(update.stream == 1)] += i64::from(update.number(0));
            }
        };
        loop {
            let came = wire.next().await.unwrap();
            count(&mut windows, &came);
            if came.kind == HEADERS {
                break;
            }
        }
        wire.send(&head(1)).await;
        for part in framed(&message).chunks(5) {
            let mut payload = vec![0; 256 + part.len()];
            payload[0] = 255;
            payload[1..=part.len()].copy_from_slice(part);
            let cost = i64::try_from(payload.len()).unwrap();
            while windows.iter().any(|window| *window < cost) {
                let next = timeout(Duration::from_secs(60), wire.next()).await.expect("it stalls");
                count(&mut windows, &next.expect("closed"));
            }
            windows = windows.map(|window| window - cost);
            wire.send(&frame(DATA, PADDED, 1, &payload)).await;
        }
        wire.send(&trailers(1)).await;
        wire
    };
    let (reply, _wire) = tokio::join!(unary(&channel, b"m").into_future(), server);
    assert!(reply.unwrap() == message);
}

/// gRPC's `goaway`: a server that has answered and goes; the next call takes a new connection.
#[tokio::test(start_paused = true)]
async fn goaway_between_two_calls() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        wire.next_of(HEADERS).await;
        wire.send(&response(1, b"first")).await;
        wire.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await;
        wire
    };
    let (reply, mut wire) = tokio::join!(unary(&channel, b"m").into_future(), server);
    assert_eq!(reply.unwrap(), b"first");
    while wire.next().await.is_some() {}
    next_is_served(&channel, &mut peers).await;
}

/// RFC 9113 section 5.1: behind the end of a response nothing may come. What is said on a call that
/// the client has given up, or that the server's GOAWAY has, is passed over.
#[tokio::test(start_paused = true)]
async fn headers_behind_the_end() {
    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        wire.next_of(RST_STREAM).await;
        wire.send(&response(1, b"too late")).await;
        wire.next_of(HEADERS).await;
        wire.send(&response(3, b"second")).await;
        wire.send(&trailers(3)).await;
        wire.next_of(GOAWAY).await.reason()
    };
    let calls = async {
        let given_up = unary(&channel, b"m").timeout(Duration::from_secs(1)).await;
        assert_eq!(given_up.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(unary(&channel, b"m").await.unwrap(), b"second");
    };
    let (reason, ()) = tokio::join!(server, calls);
    assert_eq!(reason, Reason::STREAM_CLOSED);
    next_is_served(&channel, &mut peers).await;

    let (channel, mut peers) = Peers::new();
    let server = async {
        let mut wire = Wire::server(peers.silent().await).await;
        for _ in 0..2 {
            wire.next_of(HEADERS).await;
        }
        wire.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await;
        wire.send(&[response(3, b"passed over"), response(1, b"first")].concat()).await;
        wire
    };
    let calls = async {
        let (first, second) = (download(&channel, b"m"), download(&channel, b"m"));
        let (mut first, mut second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(first.next().await.unwrap().unwrap(), b"first");
        assert_eq!(second.next().await.unwrap_err().code(), Code::Unavailable);
    };
    tokio::join!(server, calls);
}

/// A frame that never ends: the call ends at its deadline, and other connections are not touched.
#[tokio::test(start_paused = true)]
async fn head_of_line_blocking() {
    let half = [head(1), frame(DATA, 0, 1, &framed(&[7; 10_000]))[..100].to_vec()].concat();
    let start = Instant::now();
    let ((reply, _wire, _channel), ()) = tokio::join!(answered(&half), async {
        for _ in 0..10 {
            let (channel, mut peers) = Peers::new();
            next_is_served(&channel, &mut peers).await;
        }
    });
    assert_eq!(reply.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed().as_secs(), 100);
}

/// Calls that are refused without end: one more attempt each, and the application is told.
#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut wire = Wire::server(peers.silent().await).await;
        let mut requests = 0;
        while let Some(came) = wire.next().await {
            if came.kind == HEADERS {
                requests += 1;
                wire.send(&reset(came.stream, Reason::REFUSED_STREAM)).await;
            }
            assert_ne!(came.kind, RST_STREAM, "it was reset already");
        }
        requests
    });
    for _ in 0..500 {
        assert_eq!(unary(&channel, b"m").await.unwrap_err().code(), Code::Unavailable);
    }
    drop(channel);
    let requests = server.await.unwrap();
    assert_eq!(requests, 1_000, "a second attempt is transparent, a third is not made");
}
