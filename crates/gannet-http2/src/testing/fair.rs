//! An honest peer that is only unlucky, eager or slow keeps its connection.

use super::duo::{response, trailers};
use super::owned::Owned;
use super::script::{
    Frame, RESPONSE, Script, data, frame, ping, rst_stream, settings, window_update,
};
use crate::frame::{Kind, PREFACE, flags, setting_id};
use crate::{Config, Reason};

/// Uploads that the server answers early: what was in flight is ignored, however many they are.
#[test]
fn early_answers_to_many_uploads() {
    let mut script = Script::server(Config::default());
    let ids: Vec<u32> = (0..256).map(|i| 1 + 2 * i).collect();
    for id in &ids {
        let key = script.request(*id, false);
        script.end.engine.respond_unary(key, response, b"no", trailers).expect("open");
    }
    script.transmit();
    script.take_replies();
    for _ in 0..4 {
        for id in &ids {
            script.send(&data(*id, &[0; 100], false));
        }
    }
    for id in &ids {
        script.send(&window_update(*id, 10));
        let end = script.headers(*id, flags::END_HEADERS | flags::END_STREAM, &[("a", "b")]);
        script.send(&end);
    }
    assert_eq!(script.error, None);
    assert!(script.take_replies().is_empty());
    assert!(script.take_events().is_empty());
}

/// A client that gives up on all its calls at once, as one does that shuts down.
#[test]
fn all_calls_cancelled_at_once() {
    let mut script = Script::server(Config::default());
    let keys: Vec<_> = (0..256).map(|i| script.request(1 + 2 * i, true)).collect();
    for i in 0..256 {
        script.send(&rst_stream(1 + 2 * i, Reason::CANCEL));
    }
    for key in keys {
        script.end.engine.forget(key);
    }
    script.expect_silence();
    assert_eq!(script.end.engine.open_streams(), 0);
}

/// Until it has seen our SETTINGS a client goes by the default window (RFC 9113 section 6.9.3).
#[test]
fn data_before_a_smaller_window_is_known() {
    let config = Config { stream_window_bytes: 1000, ..Config::default() };
    let mut script = Script::start(config);
    script.end.release = false;
    script.send(PREFACE).send(&settings(&[]));
    script.take_events();
    let key = script.request(1, false);
    script.take_replies();
    for size in [16_384, 16_384, 16_384, 16_383] {
        script.send(&data(1, &vec![0; size], false));
    }
    script.send(&frame(Kind::SETTINGS, flags::ACK, 0, b""));
    script.expect_silence();
    let window =
        |script: &Script<_>| script.end.engine.probe_stream(key).expect("open").recv_window;
    assert_eq!(window(&script), 1000 - 65_535);
    script.send(&data(1, b"", false));
    script.expect_silence();
    script.end.engine.release(key, 64_000);
    script.transmit();
    assert_eq!(window(&script), 1000 - 1535);
    assert_eq!(script.take_replies(), [Frame::window_update(1, 64_000)]);
    script.end.engine.release(key, 1535);
    script.transmit();
    assert_eq!(script.take_replies(), [Frame::window_update(1, 1535)]);
    script.send(&data(1, &[0; 1000], false));
    script.expect_silence();
    script.send(&data(1, &[0; 1], false));
    script.expect_reset(1, Reason::FLOW_CONTROL_ERROR);
}

/// Streams that a client opened before it saw the final GOAWAY, with body and trailers.
#[test]
fn streams_above_the_final_goaway_are_ignored() {
    let mut script = Script::server(Config::default());
    script.request(1, false);
    script.end.engine.drain(script.now);
    script.transmit();
    let replies = script.take_replies();
    assert_eq!(replies[0].u32_at(0), (1 << 31) - 1);
    script.request(3, false);
    let mut ack = [0; 8];
    ack.copy_from_slice(&replies[1].payload);
    script.send(&ping(true, ack));
    let replies = script.take_replies();
    assert_eq!((replies[0].kind, replies[0].u32_at(0)), (Kind::GOAWAY, 3));
    for i in 0..300 {
        let id = 5 + 2 * i;
        let head = script.request_bytes(id, false);
        script.send(&head).send(&data(id, b"body", false)).send(&window_update(id, 9));
        let end = script.headers(id, flags::END_HEADERS | flags::END_STREAM, &[("a", "b")]);
        script.send(&end).send(&rst_stream(id, Reason::CANCEL));
    }
    script.expect_silence();
    assert!(script.take_events().is_empty());
    // What breaks now does not take back what the GOAWAY said.
    script.send(&data(0, b"", false));
    let last = script.replies.last().expect("a GOAWAY").u32_at(0);
    assert_eq!(last, 3, "the last stream of a GOAWAY never grows");
}

/// A client cancels; what its server had already sent is ignored without a word.
#[test]
fn responses_to_many_cancelled_calls() {
    let mut script = Script::client(Config::default());
    let keys: Vec<_> = (0..100).map(|_| script.open(true)).collect();
    for key in keys {
        script.end.engine.forget(key);
    }
    script.transmit();
    assert_eq!(script.take_replies().len(), 100);
    for i in 0..100 {
        let head = script.headers(1 + 2 * i, flags::END_HEADERS, RESPONSE);
        script.send(&head);
        for _ in 0..3 {
            script.send(&data(1 + 2 * i, b"late", false));
        }
        let end = flags::END_HEADERS | flags::END_STREAM;
        let end = script.headers(1 + 2 * i, end, &[("grpc-status", "0")]);
        script.send(&end);
    }
    script.expect_silence();
    assert!(script.take_events().is_empty());
}

/// The window of a closed stream is nobody's concern.
#[test]
fn a_closed_stream_has_no_window_to_overflow() {
    let mut script = Script::server(Config::default());
    let key = script.request(1, true);
    script.send(&window_update(1, (1 << 31) - 1 - 65_535));
    script.end.engine.send_headers(key, true, response).expect("open");
    script.transmit();
    script.take_replies();
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 100_000)]));
    assert_eq!(script.error, None);
    assert_eq!(script.take_events(), [Owned::Settings]);
}

/// Values of one SETTINGS frame count as a whole: only the last window applies.
#[test]
fn the_last_window_of_a_settings_frame_applies() {
    let mut script = Script::server(Config::default());
    let key = script.request(1, true);
    script.send(&window_update(1, 1));
    let list: Vec<(u16, u32)> =
        (0..2000).map(|i| (setting_id::INITIAL_WINDOW_SIZE, 70_000 + i)).collect();
    script.send(&settings(&list));
    assert_eq!(script.error, None);
    let window = script.end.engine.probe_stream(key).expect("open").send_window;
    assert_eq!(window, 71_999 + 1);
    assert_eq!(script.end.engine.peer_settings().stream_window_bytes, 71_999);
}
