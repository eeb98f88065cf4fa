//! RFC 9113 section 5: frames that the state of their stream does not allow.

use super::super::duo::response;
use super::super::owned::Owned;
use super::super::script::{REQUEST, RESPONSE, Script, data, frame, settings, window_update};
use super::Given::{
    AnsweredEarly, Closed, Ended, HalfClosed, HalfClosedByUs, Idle, Open, PassedOver, ResetByPeer,
    ResetByUs,
};
use super::Want::{Failure, Reset, Silence};
use super::{Case, answer, check_client, check_server, server, told_reset};
use crate::frame::{Kind, flags, setting_id};
use crate::{Config, OpenError, Reason, Role, Server};

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const CLOSED: Reason = Reason::STREAM_CLOSED;

fn second_headers(script: &mut Script<Server>) -> Vec<u8> {
    script.headers(1, flags::END_HEADERS | flags::END_STREAM, REQUEST)
}

fn ending<R: Role>(script: &mut Script<R>) -> Vec<u8> {
    script.headers(1, flags::END_HEADERS | flags::END_STREAM, &[("grpc-status", "0")])
}

#[test]
fn a_server_judges_states() {
    let cases: [Case<Server>; 24] = [
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
        // We have ended our side, and it may still end its own.
        ("trailers, half-closed by us", HalfClosedByUs, ending, Silence),
        ("a second request, half-closed by us", HalfClosedByUs, second_headers, Reset(1, PROTOCOL)),
        (
            "trailers that are none, half-closed by us",
            HalfClosedByUs,
            |script| script.headers(1, flags::END_HEADERS, &[("more", "to come")]),
            Reset(1, PROTOCOL),
        ),
        (
            "trailers twice, half-closed by us",
            HalfClosedByUs,
            |script| [ending(script), ending(script)].concat(),
            Failure(CLOSED),
        ),
        // And has been told that it need not.
        ("trailers, answered early", AnsweredEarly, ending, Silence),
        (
            "DATA and trailers, answered early",
            AnsweredEarly,
            |script| [data(1, b"x", false), ending(script)].concat(),
            Silence,
        ),
        ("HEADERS, ended", Ended, second_headers, Failure(CLOSED)),
        ("trailers, ended", Ended, ending, Failure(CLOSED)),
        ("trailers, closed", Closed, ending, Failure(CLOSED)),
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
        ("trailers, half-closed by us", HalfClosedByUs, ending, Silence),
        (
            "trailers twice, half-closed by us",
            HalfClosedByUs,
            |script| [ending(script), ending(script)].concat(),
            Failure(CLOSED),
        ),
        ("trailers, half-closed", HalfClosed, ending, Reset(1, CLOSED)),
        ("trailers, ended", Ended, ending, Failure(CLOSED)),
        ("trailers, closed", Closed, ending, Failure(CLOSED)),
        ("trailers, reset by the peer", ResetByPeer, ending, Failure(CLOSED)),
        (
            "a response, passed over",
            PassedOver,
            |script| [script.headers(1, flags::END_HEADERS, RESPONSE), ending(script)].concat(),
            Silence,
        ),
        ("DATA, passed over", PassedOver, |_| data(1, b"x", true), Silence),
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

/// Trailers on a stream whose end has gone out are told to who still waits for them, and to nobody
/// where the answer has been forgotten; either way the stream is then closed without a reset.
#[test]
fn trailers_behind_our_end() {
    let mut script = server(HalfClosedByUs);
    let trailers = ending(&mut script);
    script.send(&trailers);
    script.expect_silence();
    let events = script.take_events();
    let [Owned::Trailers { key, .. }] = events[..] else { panic!("{events:?}") };
    script.end.engine.forget(key);
    script.transmit();
    script.expect_silence();
    assert_eq!(script.end.engine.probe_streams().count(), 0);
}

/// What is known of the streams that closed is bounded. Beyond that a server cannot tell HEADERS on
/// one of them from a stream that goes back; a client passes them over.
#[test]
fn headers_on_streams_that_closed_long_ago() {
    let mut script = server(Closed);
    for id in (3..=101).step_by(2) {
        let key = script.request(id, true);
        answer(&mut script, key, id);
    }
    let late = ending(&mut script);
    script.send(&late);
    script.expect_failure(PROTOCOL);
    let mut script = super::client(Closed);
    for id in (3..=101).step_by(2) {
        let key = script.open(true);
        let whole = script.headers(id, flags::END_HEADERS | flags::END_STREAM, RESPONSE);
        script.send(&whole);
        script.end.engine.forget(key);
    }
    script.take_events();
    let late = ending(&mut script);
    script.send(&late);
    script.expect_silence();
    assert!(script.take_events().is_empty());
}

/// However many streams a server has reset at once: what crosses that is forgiven on each, and its
/// header blocks keep the table in step.
#[test]
fn trailers_cross_our_resets() {
    let mut script = Script::server(Config::default());
    let keys: Vec<_> = (0..256).map(|n| script.request(1 + 2 * n, false)).collect();
    for key in keys {
        script.end.engine.send_headers(key, true, response).expect("open");
        script.end.engine.forget(key);
    }
    script.transmit();
    for frame in script.take_replies() {
        if frame.kind == Kind::HEADERS {
            script.decode(&frame);
        }
    }
    for n in 0..256_u32 {
        // Each enters the table as its latest field, 62.
        let entry = [&b"\x40\x06custom\x04"[..], format!("{n:04}").as_bytes()].concat();
        let last = flags::END_HEADERS | flags::END_STREAM;
        script.send(&frame(Kind::HEADERS, last, 1 + 2 * n, &entry));
        script.expect_silence();
    }
    assert!(script.take_events().is_empty());
    let mut block = script.block(REQUEST);
    block.push(0xbe);
    script.send(&frame(Kind::HEADERS, flags::END_HEADERS, 513, &block));
    let events = script.take_events();
    let [Owned::Headers { fields, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(fields.last().expect("some"), &("custom".into(), "0255".into()));
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
