//! RFC 9113 section 5: frames that the state of their stream does not allow.

use super::super::duo::response;
use super::super::owned::Owned;
use super::super::script::{REQUEST, RESPONSE, Script, data, frame, settings, window_update};
use super::Given::{Closed, HalfClosed, Idle, Open, ResetByPeer, ResetByUs};
use super::Want::{Failure, Reset, Silence};
use super::{Case, answer, check_client, check_server, server, told_reset};
use crate::frame::{Kind, flags, setting_id};
use crate::{Config, OpenError, Reason, Server};

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const CLOSED: Reason = Reason::STREAM_CLOSED;

fn second_headers(script: &mut Script<Server>) -> Vec<u8> {
    script.headers(1, flags::END_HEADERS | flags::END_STREAM, REQUEST)
}

#[test]
fn a_server_judges_states() {
    let cases: [Case<Server>; 15] = [
        // 5.1
        ("DATA, idle", Idle, |_| data(1, b"", false), Failure(PROTOCOL)),
        (
            "CONTINUATION, idle",
            Idle,
            |_| frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b""),
            Failure(PROTOCOL),
        ),
        ("DATA, half-closed", HalfClosed, |_| data(1, b"x", false), Reset(1, CLOSED)),
        ("HEADERS, half-closed", HalfClosed, second_headers, Reset(1, CLOSED)),
        ("DATA, closed", Closed, |_| data(1, b"x", true), Reset(1, CLOSED)),
        ("HEADERS, closed", Closed, second_headers, Failure(CLOSED)),
        ("DATA, reset by the peer", ResetByPeer, |_| data(1, b"x", true), Reset(1, CLOSED)),
        ("HEADERS, reset by the peer", ResetByPeer, second_headers, Failure(CLOSED)),
        ("DATA, reset by us", ResetByUs, |_| data(1, b"x", true), Silence),
        ("HEADERS, reset by us", ResetByUs, second_headers, Silence),
        ("WINDOW_UPDATE, reset by us", ResetByUs, |_| window_update(1, 5), Silence),
        // 5.1.1
        ("an even stream", Idle, |script| script.request_bytes(2, true), Failure(PROTOCOL)),
        (
            "an even stream, after odd ones",
            Closed,
            |script| script.request_bytes(2, true),
            Failure(PROTOCOL),
        ),
        (
            "a stream going back",
            Idle,
            |script| [script.request_bytes(5, true), script.request_bytes(3, true)].concat(),
            Failure(PROTOCOL),
        ),
        ("WINDOW_UPDATE on a stream of ours", Idle, |_| window_update(2, 1), Failure(PROTOCOL)),
    ];
    check_server(&cases);
}

#[test]
fn a_client_judges_states() {
    check_client(&[
        ("DATA, idle", Idle, |_| data(1, b"", false), Failure(PROTOCOL)),
        (
            "HEADERS, idle",
            Idle,
            |script| script.headers(1, flags::END_HEADERS, RESPONSE),
            Failure(PROTOCOL),
        ),
        (
            "HEADERS on a stream of the server's",
            Idle,
            |script| script.headers(2, flags::END_HEADERS, RESPONSE),
            Failure(PROTOCOL),
        ),
        ("DATA, half-closed", HalfClosed, |_| data(1, b"x", false), Reset(1, CLOSED)),
        (
            "HEADERS, half-closed",
            HalfClosed,
            |script| script.headers(1, flags::END_HEADERS, RESPONSE),
            Reset(1, CLOSED),
        ),
        ("DATA, closed", Closed, |_| data(1, b"x", false), Reset(1, CLOSED)),
        ("DATA, reset by the peer", ResetByPeer, |_| data(1, b"x", false), Reset(1, CLOSED)),
        ("DATA, reset by us", ResetByUs, |_| data(1, b"x", false), Silence),
        (
            "HEADERS, reset by us",
            ResetByUs,
            |script| script.headers(1, flags::END_HEADERS, RESPONSE),
            Silence,
        ),
    ]);
}

/// A body before the head of its response.
#[test]
fn data_before_the_response() {
    let mut script = Script::client(Config::default());
    script.open(true);
    script.send(&data(1, b"x", false));
    script.expect_reset(1, PROTOCOL);
    assert!(told_reset(&script.take_events(), PROTOCOL));
}

/// Of two streams only the one in error suffers.
#[test]
fn a_stream_error_leaves_the_others_alone() {
    let mut script = server(HalfClosed);
    let other = script.request(3, true);
    script.send(&data(1, b"x", false));
    script.expect_reset(1, CLOSED);
    assert!(told_reset(&script.take_events(), CLOSED));
    answer(&mut script, other, 3);
}

#[test]
fn one_stream_too_many_is_refused() {
    let config = Config { concurrent_streams_max: 2, ..Config::default() };
    let mut script = Script::server(config);
    let first = script.request(1, true);
    let second = script.request(3, true);
    let third = script.request_bytes(5, false);
    script.send(&third);
    script.expect_reset(5, Reason::REFUSED_STREAM);
    script.send(&data(5, b"what was in flight", true));
    script.expect_silence();
    assert!(script.take_events().is_empty());
    // Closed on the wire is not enough: the handler still runs.
    script.end.engine.send_headers(first, true, response).expect("open");
    script.transmit();
    let head = script.take_replies().remove(0);
    script.decode(&head);
    let fourth = script.request_bytes(7, true);
    script.send(&fourth);
    script.expect_reset(7, Reason::REFUSED_STREAM);
    script.end.engine.forget(first);
    let fifth = script.request(9, true);
    answer(&mut script, second, 3);
    answer(&mut script, fifth, 9);
}

#[test]
fn a_client_keeps_to_the_servers_limit() {
    let config = Config { initial_open_streams_max: 1, ..Config::default() };
    let mut script = Script::start(config);
    let request = super::super::duo::request;
    script.end.engine.open(true, request).expect("may open");
    assert_eq!(script.end.engine.open(true, request), Err(OpenError::StreamLimit));
    script.send(&settings(&[(setting_id::MAX_CONCURRENT_STREAMS, 2)]));
    let key = script.end.engine.open(true, request).expect("may open");
    assert_eq!(script.end.engine.open(true, request), Err(OpenError::StreamLimit));
    script.send(&settings(&[(setting_id::MAX_CONCURRENT_STREAMS, 0)]));
    script.end.engine.forget(key);
    assert_eq!(script.end.engine.can_open(), Err(OpenError::StreamLimit));
    script.send(&settings(&[(setting_id::MAX_CONCURRENT_STREAMS, 2)]));
    assert_eq!(script.end.engine.can_open(), Ok(()));
}

#[test]
fn the_last_stream_identifier_is_used_once() {
    let mut script = Script::server(Config::default());
    let key = script.request((1 << 31) - 1, true);
    answer(&mut script, key, (1 << 31) - 1);
    let again = script.request_bytes((1 << 31) - 1, true);
    script.send(&again);
    script.expect_failure(CLOSED);
}

/// The length of a frame's padding counts against the windows, and comes back at once.
#[test]
fn padding_is_credited_at_once() {
    let mut script = server(Open);
    script.end.release = false;
    let mut padded = vec![255; 256];
    padded.splice(1..1, *b"hello");
    for _ in 0..9000 {
        // 2.3 MB of padding against windows of 1 MiB.
        script.send(&frame(Kind::DATA, flags::PADDED, 1, &padded));
        assert_eq!(script.error, None);
        let replies = script.take_replies();
        assert!(replies.iter().all(|f| f.kind != Kind::RST_STREAM), "{replies:?}");
    }
    let body: usize = script
        .take_events()
        .iter()
        .map(|event| match event {
            Owned::Data { payload, .. } => payload.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(body, 45_000);
    assert_eq!(script.end.engine.probe().unread, 45_000);
}

#[test]
fn windows_are_enforced() {
    let config = Config {
        stream_window_bytes: 65_535,
        connection_window_bytes: 200_000,
        recv_buffered_bytes_max: 200_000,
        ..Config::default()
    };
    let mut script = Script::server(config);
    script.end.release = false;
    script.request(1, false);
    script.request(3, false);
    for _ in 0..4 {
        script.send(&data(1, &[0; 16_383], false));
    }
    script.take_replies();
    // 3 bytes are left to the stream.
    script.send(&data(1, &[0; 4], false));
    script.expect_reset(1, Reason::FLOW_CONTROL_ERROR);
    // 134,464 bytes are left to the connection, and nothing is read.
    for (stream, chunks) in [(3, 3), (5, 3), (7, 2)] {
        if stream > 3 {
            script.request(stream, false);
        }
        for _ in 0..chunks {
            script.send(&data(stream, &[0; 16_384], false));
        }
    }
    script.send(&data(7, &[0; 3392], false));
    script.expect_silence();
    script.send(&data(7, &[0; 1], false));
    script.expect_failure(Reason::FLOW_CONTROL_ERROR);
}
