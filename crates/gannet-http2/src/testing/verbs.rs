//! Verbs in awkward moments: windows at zero, keys given up, a connection that broke.

use bytes::Bytes;

use super::duo::{Duo, request, response, trailers};
use super::owned::Owned;
use super::script::{Frame, Script, data, goaway, rst_stream, settings, window_update};
use crate::frame::{Kind, PREFACE, flags, setting_id};
use crate::{Client, Config, Event, FieldWriter, Reason, Server, StreamKey};

fn server_with_client_window(bytes: u32) -> Script<Server> {
    let mut script = Script::server(Config::default());
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, bytes)]));
    script.take_replies();
    script.end.events.clear();
    script
}

/// A request, unless it is refused.
fn try_request(script: &mut Script<Server>, id: u32) -> Result<StreamKey, ()> {
    let bytes = script.request_bytes(id, true);
    script.feed(&bytes);
    script.take_events().iter().find_map(Owned::key).ok_or(())
}

/// Uses up what the connection may send.
fn exhaust_connection_window(script: &mut Script<Server>) {
    let key = script.request(1, true);
    script.end.engine.send_headers(key, false, response).expect("open");
    script.end.engine.send_data(key, &[0; 65_535], true).expect("open");
    script.end.engine.forget(key);
    script.transmit();
    script.take_replies();
}

#[test]
fn an_end_without_payload_needs_no_window() {
    for shared in [false, true] {
        let mut script = server_with_client_window(1 << 20);
        exhaust_connection_window(&mut script);
        let key = script.request(3, true);
        script.end.engine.send_headers(key, false, response).expect("open");
        if shared {
            script.end.engine.send_data_shared(key, Bytes::new(), true).expect("open");
        } else {
            script.end.engine.send_data(key, b"", true).expect("open");
        }
        script.transmit();
        let replies = script.take_replies();
        assert_eq!(replies.len(), 2, "{replies:?}");
        assert_eq!((replies[1].kind, replies[1].flags), (Kind::DATA, flags::END_STREAM));
    }
}

#[test]
fn streams_that_wait_and_go_leave_nothing_behind() {
    let mut script = server_with_client_window(1 << 20);
    exhaust_connection_window(&mut script);
    for i in 0..100 {
        let id = 3 + 2 * i;
        let key = script.request(id, true);
        script.end.engine.send_headers(key, false, response).expect("open");
        script.end.engine.send_data(key, b"waits", false).expect("open");
        script.send(&rst_stream(id, Reason::CANCEL));
        script.end.engine.forget(key);
        script.now += std::time::Duration::from_secs(1);
    }
    assert_eq!(script.end.engine.open_streams(), 0);
    let left = script.end.engine.probe().scheduled;
    assert!(left <= 64, "{left}");
}

#[test]
fn nothing_goes_before_the_preface() {
    let mut script: Script<Client> = Script::start(Config::default());
    script.end.engine.ping([1; 8]);
    script.end.engine.open(true, request).expect("may open");
    script.end.engine.goaway(Reason::NO_ERROR, b"");
    let bytes = script.end.transmit(script.now);
    assert!(bytes.starts_with(PREFACE));
    assert_eq!(bytes[PREFACE.len() + 3], Kind::SETTINGS);

    let mut script: Script<Server> = Script::start(Config::default());
    script.end.engine.drain(script.now);
    script.transmit();
    let kinds: Vec<u8> = script.take_replies().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::SETTINGS, Kind::WINDOW_UPDATE, Kind::GOAWAY]);
}

/// 16 KiB each, in turn.
#[test]
fn streams_take_turns() {
    let mut script = server_with_client_window(1 << 20);
    script.send(&window_update(0, 1 << 20));
    let keys = [1, 3, 5].map(|id| script.request(id, true));
    for (key, len) in keys.into_iter().zip([100_000, 20_000, 100_000]) {
        script.end.engine.send_headers(key, false, response).expect("open");
        script.end.engine.send_data_shared(key, vec![0; len].into(), true).expect("open");
    }
    script.transmit();
    let replies = script.take_replies();
    let order: Vec<(u32, usize)> = replies
        .iter()
        .filter(|frame| frame.kind == Kind::DATA)
        .map(|frame| (frame.stream, frame.payload.len()))
        .collect();
    let turn = 16_384;
    assert_eq!(order[..5], [(1, turn), (3, turn), (5, turn), (1, turn), (3, 20_000 - turn)]);
    assert_eq!(order[5..8], [(5, turn), (1, turn), (5, turn)]);
}

/// Small answers, more than the connection's window admits, do not starve a stream that waits.
#[test]
fn small_answers_do_not_starve_a_large_one() {
    let mut script = server_with_client_window(1 << 20);
    exhaust_connection_window(&mut script);
    let large = script.request(3, true);
    script.end.engine.send_headers(large, false, response).expect("open");
    script.end.engine.send_data_shared(large, vec![0; 500_000].into(), true).expect("open");
    let mut id = 3;
    for _ in 0..200 {
        script.feed(&window_update(0, 10_000));
        for _ in 0..10 {
            id += 2;
            if let Ok(key) = try_request(&mut script, id) {
                let answered = script.end.engine.respond_unary(key, response, &[0; 1000], trailers);
                answered.expect("open");
            }
        }
        script.transmit();
        script.take_replies();
        script.now += std::time::Duration::from_secs(1);
    }
    let left = script.end.engine.queued_bytes(large).expect("open");
    assert!(left < 400_000, "{left} of 500,000 bytes are left");
}

#[test]
fn events_of_forgotten_streams_are_not_told() {
    let mut script = Script::client(Config::default());
    let keys = [script.open(true), script.open(true), script.open(true)];
    script.end.recv.extend_from_slice(&goaway(0, Reason::NO_ERROR, b""));
    let now = script.now;
    let first = script.end.engine.next_event(now, &mut script.end.recv);
    assert!(matches!(first, Ok(Some(Event::GoAway { last_stream_id: 0, .. }))));
    script.end.engine.forget(keys[1]);
    script.send(b"");
    let told: Vec<_> = script.take_events().iter().map(Owned::key).collect();
    assert_eq!(told, [Some(keys[0]), Some(keys[2])]);
}

#[test]
fn nothing_follows_the_goaway_of_a_broken_connection() {
    let mut script = Script::server(Config::default());
    let key = script.request(1, false);
    let second = script.request(3, false);
    let third = script.request(5, false);
    script.end.engine.send_headers(second, false, response).expect("open");
    script.feed(&data(0, b"", false));
    assert!(script.error.is_some());
    assert!(script.end.engine.respond_unary(key, response, b"x", trailers).is_err());
    assert!(script.end.engine.send_data(second, b"x", false).is_err());
    assert!(script.end.engine.send_data_shared(second, Bytes::from_static(b"x"), true).is_err());
    assert!(script.end.engine.send_trailers(second, trailers).is_err());
    script.end.engine.ping([0; 8]);
    script.end.engine.goaway(Reason::NO_ERROR, b"");
    script.end.engine.drain(script.now);
    script.end.engine.reset(third, Reason::CANCEL);
    for key in [key, second, third] {
        script.end.engine.forget(key);
    }
    script.transmit();
    script.expect_failure(Reason::PROTOCOL_ERROR);
    assert_eq!(script.end.engine.open_streams(), 0);
    script.send(&settings(&[]));
    assert!(script.replies.is_empty());
}

#[test]
fn a_client_that_forgets_cancels_at_once() {
    let mut duo = Duo::new(Config::default(), Config::default());
    let (call, served) = duo.open(false);
    let body = Bytes::from(vec![7; 3 << 20]);
    duo.server.release = false;
    duo.client.engine.send_data_shared(call, body, true).expect("open");
    duo.pump();
    assert!(duo.client.engine.queued_bytes(call) > Some(0));
    duo.client.engine.forget(call);
    assert_eq!(duo.client.engine.open_streams(), 0);
    assert_eq!(duo.client.engine.queued_bytes(call), None);
    duo.pump();
    let last = duo.server.events.last();
    assert!(matches!(last, Some(Owned::Reset { reason: Reason::CANCEL, .. })), "{last:?}");
    duo.server.engine.forget(served);
}

/// The response is held back by flow control, and the client wants to finish its upload first.
#[test]
fn an_upload_nobody_wants_does_not_hold_back_the_early_response() {
    let mut script = server_with_client_window(10);
    let key = script.request(1, false);
    script.end.engine.respond_unary(key, response, &[1; 100], trailers).expect("open");
    script.transmit();
    script.take_replies();
    let mut sent = 0;
    let mut window = 1 << 20;
    for _ in 0..300 {
        let chunk = window.min(16_384);
        assert!(chunk > 0, "stalled after {sent} bytes");
        script.send(&data(1, &vec![0; chunk], false));
        sent += chunk;
        window -= chunk;
        for reply in script.take_replies() {
            if reply.kind == Kind::WINDOW_UPDATE && reply.stream == 1 {
                window += reply.u32_at(0) as usize;
            }
        }
    }
    script.send(&window_update(1, 1000));
    let replies = script.take_replies();
    let kinds: Vec<u8> = replies.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::DATA, Kind::HEADERS, Kind::RST_STREAM]);
    assert_eq!(replies[2], Frame::rst_stream(1, Reason::NO_ERROR));
    assert_eq!(script.end.engine.open_streams(), 0);
}

#[test]
fn a_forgotten_key_is_stale_while_the_rest_is_sent() {
    let mut script = server_with_client_window(10);
    let key = script.request(1, true);
    script.end.engine.respond_unary(key, response, &[1; 100], trailers).expect("open");
    let engine = &mut script.end.engine;
    assert!(engine.send_data(key, b"x", false).is_err());
    assert_eq!(engine.queued_bytes(key), None);
    engine.reset(key, Reason::CANCEL);
    engine.forget(key);
    engine.release(key, 0);
    assert_eq!(engine.open_streams(), 1, "it counts until it is sent");
    script.transmit();
    script.take_replies();
    script.send(&window_update(1, 1000));
    let kinds: Vec<u8> = script.take_replies().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::DATA, Kind::HEADERS]);
    assert_eq!(script.end.engine.open_streams(), 0);
    assert_eq!(script.end.engine.poll_drained(), None);
}

/// What is written of answers that are registered is what would be written of them field by field,
/// whatever the peer's tables and windows are.
#[test]
fn constant_answers_are_the_same_bytes() {
    let mut scripts = [false, true].map(|constant| {
        let script = Script::server(Config::default());
        (script, constant)
    });
    let mut all = scripts.each_mut().map(|(script, constant)| {
        let engine = &mut script.end.engine;
        let mut block = |fields: &[(&[u8], &[u8])]| {
            let fields: Vec<_> =
                fields.iter().map(|(n, v)| engine.register_field(n, v).expect("room")).collect();
            engine.register_block(&fields).expect("room")
        };
        let head = block(&[(b":status", b"200"), (b"content-type", b"application/grpc")]);
        let ok = block(&[(b"grpc-status", b"0")]);
        let mut wire = Vec::new();
        for id in (1..60).step_by(2) {
            let bytes = match id {
                11 => settings(&[(setting_id::HEADER_TABLE_SIZE, 0)]),
                21 => settings(&[(setting_id::HEADER_TABLE_SIZE, 4096)]),
                31 => settings(&[(setting_id::INITIAL_WINDOW_SIZE, 9)]),
                41 => window_update(0, 1 << 20),
                _ => Vec::new(),
            };
            script.send(&bytes);
            let key = script.request(id, id % 7 != 0);
            let body = vec![b'x'; [0, 5, 10, 100, 20_000][id as usize % 5]];
            let engine = &mut script.end.engine;
            let answered = if *constant {
                engine.respond_constant(key, head, &body, ok)
            } else {
                let head = |w: &mut FieldWriter<'_>| w.cached_block(head);
                engine.respond_unary(key, head, &body, |w| w.cached_block(ok))
            };
            answered.expect("open");
            assert!(engine.respond_constant(key, head, &body, ok).is_err(), "answered twice");
            script.transmit();
            wire.extend(script.take_replies());
        }
        wire
    });
    assert!(all[0].len() > 60 && all[0].iter().any(|frame| frame.payload == [0x88, 0xbf]));
    assert_eq!(std::mem::take(&mut all[0]), all[1]);
}
