//! RFC 9113 sections 4 and 6: frames whose form is wrong, one by one.

use super::super::duo::response;
use super::super::owned::Owned;
use super::super::script::{
    Frame, REQUEST, Script, data, frame, goaway, ping, rst_stream, settings, window_update,
};
use super::Given::{Closed, HalfClosed, Idle, Open};
use super::Want::{Failure, Reset, Silence};
use super::{Case, check_client, check_server, client, server, told_reset};
use crate::frame::{Kind, flags, setting_id};
use crate::{Config, Reason, Role};

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const SIZE: Reason = Reason::FRAME_SIZE_ERROR;
const FLOW: Reason = Reason::FLOW_CONTROL_ERROR;
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Rules that do not depend on the role.
fn common<R: Role>() -> Vec<Case<R>> {
    [
        bodies_and_heads(),
        priorities_and_resets(),
        settings_and_pings(),
        goaway_windows_and_continuation(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bodies_and_heads<R: Role>() -> Vec<Case<R>> {
    vec![
        // 4.1, 5.5: unknown types and flags, and the reserved bit, are ignored.
        ("unknown type", Idle, |_| frame(0x16, 0xff, 0, b"12345678"), Silence),
        ("unknown type on a stream", Open, |_| frame(0x16, 0, 1, b""), Silence),
        ("undefined flags", Open, |_| frame(Kind::WINDOW_UPDATE, 0xff, 1, &[0, 0, 0, 1]), Silence),
        ("reserved bit", Open, |_| window_update(0x8000_0001, 1), Silence),
        ("reserved bit of the increment", Open, |_| window_update(1, 0x8000_0001), Silence),
        // 4.2
        ("DATA above the limit", Open, |_| data(1, &[0; 16_385], false), Failure(SIZE)),
        (
            "SETTINGS above the limit",
            Idle,
            |_| frame(Kind::SETTINGS, 0, 0, &[0; 16_386]),
            Failure(SIZE),
        ),
        ("unknown above the limit", Idle, |_| frame(0x16, 0, 0, &[0; 16_385]), Failure(SIZE)),
        (
            "HEADERS above the limit",
            Idle,
            |_| frame(Kind::HEADERS, flags::END_HEADERS, 1, &[0x82; 16_385]),
            Failure(SIZE),
        ),
        // 6.1
        ("DATA on stream 0", Idle, |_| data(0, b"x", false), Failure(PROTOCOL)),
        (
            "padding as long as the frame",
            Open,
            |_| frame(Kind::DATA, flags::PADDED, 1, &[3, 0, 0]),
            Failure(PROTOCOL),
        ),
        (
            "padded DATA without a length",
            Open,
            |_| frame(Kind::DATA, flags::PADDED, 1, b""),
            Failure(SIZE),
        ),
        ("padding that fits", Open, |_| frame(Kind::DATA, flags::PADDED, 1, &[2, 0, 0]), Silence),
        // 6.2
        (
            "HEADERS on stream 0",
            Idle,
            |script| script.headers(0, flags::END_HEADERS, REQUEST),
            Failure(PROTOCOL),
        ),
        (
            "padding of HEADERS",
            Idle,
            |_| frame(Kind::HEADERS, flags::PADDED | flags::END_HEADERS, 1, &[9, 0x82]),
            Failure(PROTOCOL),
        ),
        (
            "padded HEADERS without a length",
            Idle,
            |_| frame(Kind::HEADERS, flags::PADDED | flags::END_HEADERS, 1, b""),
            Failure(SIZE),
        ),
        (
            "HEADERS without their priority",
            Idle,
            |_| frame(Kind::HEADERS, flags::PRIORITY | flags::END_HEADERS, 1, &[0; 4]),
            Failure(SIZE),
        ),
    ]
}

fn priorities_and_resets<R: Role>() -> Vec<Case<R>> {
    vec![
        // 6.3
        ("PRIORITY on stream 0", Idle, |_| frame(Kind::PRIORITY, 0, 0, &[0; 5]), Failure(PROTOCOL)),
        ("PRIORITY of 4 bytes", Open, |_| frame(Kind::PRIORITY, 0, 1, &[0; 4]), Reset(1, SIZE)),
        (
            "PRIORITY of 4 bytes, idle",
            Idle,
            |_| frame(Kind::PRIORITY, 0, 77, &[0; 4]),
            Failure(PROTOCOL),
        ),
        (
            "PRIORITY on itself",
            Open,
            |_| frame(Kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
            Reset(1, PROTOCOL),
        ),
        ("PRIORITY, idle", Idle, |_| frame(Kind::PRIORITY, 0, 77, &[0, 0, 0, 1, 9]), Silence),
        ("PRIORITY, closed", Closed, |_| frame(Kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]), Silence),
        // 6.4
        ("RST_STREAM on stream 0", Idle, |_| rst_stream(0, PROTOCOL), Failure(PROTOCOL)),
        ("RST_STREAM, idle", Idle, |_| rst_stream(77, PROTOCOL), Failure(PROTOCOL)),
        ("RST_STREAM of 3 bytes", Open, |_| frame(Kind::RST_STREAM, 0, 1, &[0; 3]), Failure(SIZE)),
        ("RST_STREAM of 5 bytes", Open, |_| frame(Kind::RST_STREAM, 0, 1, &[0; 5]), Failure(SIZE)),
        ("RST_STREAM, closed", Closed, |_| rst_stream(1, PROTOCOL), Silence),
        ("RST_STREAM of an unknown code", Open, |_| rst_stream(1, Reason(0xff)), Silence),
    ]
}

fn settings_and_pings<R: Role>() -> Vec<Case<R>> {
    vec![
        // 6.5
        (
            "SETTINGS ack with payload",
            Idle,
            |_| frame(Kind::SETTINGS, flags::ACK, 0, &[0; 6]),
            Failure(SIZE),
        ),
        ("SETTINGS on a stream", Open, |_| frame(Kind::SETTINGS, 0, 1, b""), Failure(PROTOCOL)),
        ("SETTINGS of 5 bytes", Idle, |_| frame(Kind::SETTINGS, 0, 0, &[0; 5]), Failure(SIZE)),
        (
            "ENABLE_PUSH of 2",
            Idle,
            |_| settings(&[(setting_id::ENABLE_PUSH, 2)]),
            Failure(PROTOCOL),
        ),
        (
            "INITIAL_WINDOW_SIZE of 2^31",
            Idle,
            |_| settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1 << 31)]),
            Failure(FLOW),
        ),
        (
            "MAX_FRAME_SIZE of 16383",
            Idle,
            |_| settings(&[(setting_id::MAX_FRAME_SIZE, 16_383)]),
            Failure(PROTOCOL),
        ),
        (
            "MAX_FRAME_SIZE of 2^24",
            Idle,
            |_| settings(&[(setting_id::MAX_FRAME_SIZE, 1 << 24)]),
            Failure(PROTOCOL),
        ),
        (
            "an acknowledgement too many",
            Idle,
            |_| frame(Kind::SETTINGS, flags::ACK, 0, b""),
            Silence,
        ),
        // 6.6
        (
            "PUSH_PROMISE",
            Open,
            |_| frame(Kind::PUSH_PROMISE, flags::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            Failure(PROTOCOL),
        ),
        // 6.7
        ("PING on a stream", Open, |_| frame(Kind::PING, 0, 1, &[0; 8]), Failure(PROTOCOL)),
        ("PING of 7 bytes", Idle, |_| frame(Kind::PING, 0, 0, &[0; 7]), Failure(SIZE)),
        ("PING ack of nothing", Idle, |_| ping(true, *b"whatever"), Silence),
        (
            "PING ack of our own kinds",
            Idle,
            |_| [ping(true, *b"gnt-bdp\0"), ping(true, *b"gnt-drn\0")].concat(),
            Silence,
        ),
    ]
}

fn goaway_windows_and_continuation<R: Role>() -> Vec<Case<R>> {
    vec![
        // 6.8
        ("GOAWAY on a stream", Open, |_| frame(Kind::GOAWAY, 0, 1, &[0; 8]), Failure(PROTOCOL)),
        ("GOAWAY of 7 bytes", Idle, |_| frame(Kind::GOAWAY, 0, 0, &[0; 7]), Failure(SIZE)),
        // 6.9
        ("WINDOW_UPDATE of 0", Open, |_| window_update(1, 0), Reset(1, PROTOCOL)),
        ("WINDOW_UPDATE of 0, connection", Idle, |_| window_update(0, 0), Failure(PROTOCOL)),
        (
            "WINDOW_UPDATE of 3 bytes",
            Open,
            |_| frame(Kind::WINDOW_UPDATE, 0, 1, &[0; 3]),
            Failure(SIZE),
        ),
        (
            "WINDOW_UPDATE of 5 bytes",
            Idle,
            |_| frame(Kind::WINDOW_UPDATE, 0, 0, &[0; 5]),
            Failure(SIZE),
        ),
        ("WINDOW_UPDATE, idle", Idle, |_| window_update(77, 1), Failure(PROTOCOL)),
        ("WINDOW_UPDATE, closed", Closed, |_| window_update(1, 1), Silence),
        ("WINDOW_UPDATE, half-closed", HalfClosed, |_| window_update(1, 1), Silence),
        // 6.9.1
        ("a stream's window overflows", Open, |_| window_update(1, WINDOW_MAX), Reset(1, FLOW)),
        (
            "the connection's window overflows",
            Idle,
            |_| window_update(0, WINDOW_MAX),
            Failure(FLOW),
        ),
        (
            "the largest window",
            Open,
            |_| {
                let most = WINDOW_MAX - 65_535;
                [window_update(0, most), window_update(1, most)].concat()
            },
            Silence,
        ),
        // 6.10
        (
            "CONTINUATION of nothing",
            Open,
            |_| frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b""),
            Failure(PROTOCOL),
        ),
        (
            "CONTINUATION, half-closed",
            HalfClosed,
            |_| frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b""),
            Failure(PROTOCOL),
        ),
        (
            "CONTINUATION, closed",
            Closed,
            |_| frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b""),
            Failure(PROTOCOL),
        ),
        (
            "CONTINUATION on stream 0",
            Idle,
            |_| frame(Kind::CONTINUATION, flags::END_HEADERS, 0, b""),
            Failure(PROTOCOL),
        ),
    ]
}

#[test]
fn a_server_judges_frames() {
    check_server(&common());
}

#[test]
fn a_client_judges_frames() {
    check_client(&common());
    check_client(&[(
        "ENABLE_PUSH of 1",
        Idle,
        |_| settings(&[(setting_id::ENABLE_PUSH, 1)]),
        Failure(PROTOCOL),
    )]);
}

/// A reset that the peer provoked is told to the application, which still holds the key.
#[test]
fn the_application_hears_of_provoked_resets() {
    for (bytes, reason) in [
        (window_update(1, 0), PROTOCOL),
        (window_update(1, WINDOW_MAX), FLOW),
        (frame(Kind::PRIORITY, 0, 1, &[0; 4]), SIZE),
    ] {
        let mut script = server(Open);
        script.send(&bytes);
        assert!(told_reset(&script.take_events(), reason));
        assert_eq!(script.end.engine.open_streams(), 1);
        let mut script = client(Open);
        script.send(&bytes);
        assert!(told_reset(&script.take_events(), reason));
    }
}

#[test]
fn settings_and_pings_are_acknowledged_in_order() {
    let mut script = Script::server(Config::default());
    script.send(&settings(&[(0xf00d, 1), (setting_id::ENABLE_PUSH, 1)]));
    assert_eq!(script.take_events(), [Owned::Settings]);
    script.send(&ping(false, *b"abcdefgh"));
    assert_eq!(script.take_events(), [Owned::Ping(*b"abcdefgh")]);
    let ack = |kind, payload: &[u8]| Frame {
        kind,
        flags: flags::ACK,
        stream: 0,
        payload: payload.to_vec(),
    };
    assert_eq!(script.take_replies(), [ack(Kind::SETTINGS, b""), ack(Kind::PING, b"abcdefgh")]);
}

#[test]
fn goaway_may_carry_anything() {
    let mut script = client(Open);
    script.send(&goaway(0x8000_0001, Reason(0xbeef), &[0xff; 1000]));
    let told = Owned::GoAway { last_stream_id: 1, reason: Reason(0xbeef), debug: vec![0xff; 1000] };
    assert_eq!(script.take_events(), [told]);
    assert_eq!(script.end.engine.open_streams(), 1);
    script.expect_silence();
}

/// RFC 9113 sections 6.9.2: a change of SETTINGS moves windows, below zero too.
#[test]
fn a_window_below_zero_recovers() {
    let mut script = server(Open);
    let key = script.end.engine.probe_streams().next().expect("open").0;
    script.end.engine.send_headers(key, false, response).expect("open");
    script.end.engine.send_data(key, &[0; 10_000], false).expect("open");
    script.transmit();
    script.take_replies();
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1000)]));
    script.end.engine.send_data(key, &[0; 2000], false).expect("open");
    script.transmit();
    script.take_replies();
    assert_eq!(script.end.engine.probe_stream(key).expect("open").send_window, -9000);
    assert_eq!(script.end.engine.queued_bytes(key), Some(2000));
    script.send(&window_update(1, 9000));
    script.expect_silence();
    script.send(&window_update(1, 1));
    let replies = script.take_replies();
    assert_eq!(replies.iter().map(|f| f.payload.len()).collect::<Vec<_>>(), [1]);
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1500)]));
    let sent: Vec<_> = script.take_replies().iter().map(|f| (f.kind, f.payload.len())).collect();
    assert_eq!(sent, [(Kind::SETTINGS, 0), (Kind::DATA, 500)]);
    assert_eq!(script.end.engine.queued_bytes(key), Some(1499));
}

#[test]
fn a_window_of_one_byte_is_used() {
    let mut script = server(Open);
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1)]));
    script.take_replies();
    script.take_events();
    let key = script.request(3, true);
    script.end.engine.send_headers(key, false, response).expect("open");
    script.end.engine.send_data(key, b"body", true).expect("open");
    script.transmit();
    let replies = script.take_replies();
    assert_eq!((replies[1].flags, &replies[1].payload[..]), (0, &b"b"[..]));
    script.send(&window_update(3, 3));
    let replies = script.take_replies();
    assert_eq!((replies[0].flags, &replies[0].payload[..]), (flags::END_STREAM, &b"ody"[..]));
}

#[test]
fn our_frames_keep_to_the_peers_limit() {
    let mut script = Script::server(Config::default());
    script.send(&window_update(0, 1 << 20));
    script.send(&settings(&[
        (setting_id::MAX_FRAME_SIZE, 20_000),
        (setting_id::INITIAL_WINDOW_SIZE, 1 << 20),
    ]));
    script.take_replies();
    script.take_events();
    let key = script.request(1, true);
    let value = vec![b'~'; 50_000];
    let head = |w: &mut crate::FieldWriter<'_>| {
        response(w);
        w.field_once(b"big", &value);
    };
    script.end.engine.send_headers(key, false, head).expect("open");
    script.end.engine.send_data(key, &[0; 20_000], false).expect("open");
    script.end.engine.send_data(key, &[0; 20_001], true).expect("open");
    script.transmit();
    let frames: Vec<(u8, u8, usize)> =
        script.take_replies().iter().map(|f| (f.kind, f.flags, f.payload.len())).collect();
    assert_eq!((frames[0].0, frames[0].1, frames[0].2), (Kind::HEADERS, 0, 20_000));
    assert_eq!((frames[1].0, frames[1].1, frames[1].2), (Kind::CONTINUATION, 0, 20_000));
    assert_eq!((frames[2].0, frames[2].1), (Kind::CONTINUATION, flags::END_HEADERS));
    assert_eq!((frames[3].0, frames[3].2), (Kind::DATA, 20_000));
    assert!(frames[4..].iter().all(|f| f.0 == Kind::DATA && f.2 <= 20_000));
    assert_eq!(frames[4..].iter().map(|f| f.2).sum::<usize>(), 20_001);
    assert_eq!(frames.last().expect("some").1, flags::END_STREAM);
}
