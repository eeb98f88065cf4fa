//! What hostile clients do, each beside honest traffic of the same shape (design: every limit is
//! tested twice).

use std::time::Duration;

use super::duo::{response, trailers};
use super::owned::Owned;
use super::script::{
    Frame, REQUEST, Script, data, frame, ping, rst_stream, settings, window_update,
};
use crate::frame::{Kind, flags, setting_id};
use crate::{Config, Connection, Reason, Server, StreamKey};

const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const WINDOW_MAX: u32 = (1 << 31) - 1;
const LAST: u8 = flags::END_HEADERS | flags::END_STREAM;

fn server() -> Script<Server> {
    Script::server(Config::default())
}

/// Repeats an attack on one new stream after the other; returns how often it worked.
fn repeat(attack: impl Fn(&mut Script<Server>, u32)) -> (u32, Script<Server>) {
    let mut script = server();
    for i in 0..100_000 {
        attack(&mut script, 1 + 2 * i);
        for event in script.take_events() {
            if let Owned::Reset { key, .. } = event {
                script.end.engine.forget(key);
            }
        }
        if script.error.is_some() {
            return (i, script);
        }
    }
    panic!("never stopped");
}

/// Makes this many requests, and gives those that are let through to `answer`.
fn requests(
    script: &mut Script<Server>,
    count: u32,
    answer: impl Fn(&mut Connection<Server>, StreamKey),
) {
    for i in 0..count {
        let bytes = script.request_bytes(1 + 2 * i, true);
        script.feed(&bytes);
        for event in script.take_events() {
            if let Owned::Headers { key, .. } = event {
                answer(&mut script.end.engine, key);
            }
        }
    }
}

/// All of an answer, as a handler gives it that has returned.
fn answer_at_once(engine: &mut Connection<Server>, key: StreamKey, body: &'static [u8]) {
    engine.send_headers(key, false, response).expect("open");
    engine.send_data_shared(key, bytes::Bytes::from_static(body), true).expect("open");
    engine.forget(key);
}

/// CVE-2023-44487.
#[test]
fn rapid_reset() {
    let (times, mut script) = repeat(|script, id| {
        let head = script.request_bytes(id, true);
        script.send(&[head, rst_stream(id, Reason::CANCEL)].concat());
    });
    assert!((200..=256).contains(&times), "{times}");
    script.expect_failure(CALM);
}

#[test]
fn cancelling_a_hundred_calls_a_second_is_not_rapid_reset() {
    let mut script = server();
    for i in 0..6000 {
        let key = script.request(1 + 2 * i, true);
        script.send(&rst_stream(1 + 2 * i, Reason::CANCEL));
        script.end.engine.forget(key);
        script.now += Duration::from_millis(10);
    }
    script.expect_silence();
}

/// A handler that still runs holds its slot, whatever the peer resets.
#[test]
fn resets_do_not_free_the_slots_of_running_handlers() {
    let mut script = Script::server(Config { resets_burst_max: 100_000, ..Config::default() });
    for i in 0..1000 {
        let head = script.request_bytes(1 + 2 * i, true);
        script.send(&[head, rst_stream(1 + 2 * i, Reason::CANCEL)].concat());
        assert!(script.end.engine.open_streams() <= 256);
    }
    let started =
        script.take_events().iter().filter(|e| matches!(e, Owned::Headers { .. })).count();
    assert_eq!(started, 256);
}

/// CVE-2025-8671: resets that we are made to send are counted as those that are sent to us.
#[test]
fn made_you_reset() {
    type Attack = fn(&mut Script<Server>, u32) -> Vec<u8>;
    let attacks: &[(&str, bool, Attack)] = &[
        ("an increment of 0", true, |_, id| window_update(id, 0)),
        ("a window that overflows", true, |_, id| window_update(id, WINDOW_MAX)),
        ("DATA on a half-closed stream", true, |_, id| data(id, b"x", false)),
        ("HEADERS on a half-closed stream", true, |script, id| script.request_bytes(id, true)),
        ("PRIORITY of 4 bytes", true, |_, id| frame(Kind::PRIORITY, 0, id, &[0; 4])),
        ("PRIORITY on itself", true, |_, id| {
            frame(Kind::PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat())
        }),
        ("a malformed request", false, |script, id| {
            script.headers(id, LAST, &[(":method", "POST")])
        }),
        ("a length that is not kept", false, |script, id| {
            let promised = [REQUEST, &[("content-length", "5")]].concat();
            let head = script.headers(id, flags::END_HEADERS, &promised);
            [head, data(id, b"1", true)].concat()
        }),
        ("malformed trailers", false, |script, id| {
            let head = script.headers(id, flags::END_HEADERS, REQUEST);
            [head, script.headers(id, LAST, &[(":path", "/")])].concat()
        }),
        ("a header list that is too long", false, |script, id| {
            let long = "v".repeat(17_000);
            let fields = [REQUEST, &[("x", &long[..])]].concat();
            let mut block = script.block(&fields);
            let rest = block.split_off(10_000.min(block.len()));
            [
                frame(Kind::HEADERS, flags::END_STREAM, id, &block),
                frame(Kind::CONTINUATION, flags::END_HEADERS, id, &rest),
            ]
            .concat()
        }),
    ];
    for (name, open, attack) in attacks {
        let (times, mut script) = repeat(|script, id| {
            let mut bytes = Vec::new();
            if *open {
                bytes = script.request_bytes(id, true);
            }
            bytes.extend(attack(script, id));
            script.send(&bytes);
        });
        assert!((200..=256).contains(&times), "{name}: {times}");
        script.expect_failure(CALM);
    }
}

/// Streams beyond the limit are refused, and each refusal is counted.
#[test]
fn streams_without_end() {
    let mut script = server();
    for i in 0..256 {
        script.request(1 + 2 * i, false);
    }
    let mut refused = 0;
    while script.error.is_none() {
        let bytes = script.request_bytes(513 + 2 * refused, true);
        script.send(&bytes);
        refused += 1;
    }
    assert!((200..=300).contains(&refused), "{refused}");
    script.expect_failure(CALM);
}

/// A client that has not seen our SETTINGS yet cannot know the limit.
#[test]
fn refusals_before_the_settings_are_known_are_not_held_against_it() {
    let config = Config { concurrent_streams_max: 1, ..Config::default() };
    let mut script = Script::start(config);
    script.send(crate::frame::PREFACE).send(&settings(&[]));
    script.take_replies();
    for i in 0..1000 {
        let bytes = script.request_bytes(1 + 2 * i, true);
        script.send(&bytes);
    }
    assert_eq!(script.error, None);
    assert_eq!(script.take_replies().len(), 999);
}

#[test]
fn header_lists_are_bounded_in_bytes_and_number() {
    let crumbs = |n: usize| {
        let mut fields = REQUEST.to_vec();
        fields.extend(std::iter::repeat_n(("cookie", "a=b"), n));
        fields
    };
    for (fields, good) in [(124, true), (125, false)] {
        let mut script = server();
        let head = script.headers(1, LAST, &crumbs(fields));
        script.send(&head);
        if good {
            script.expect_silence();
        } else {
            script.expect_reset(1, CALM);
        }
    }
    let request_bytes: usize = REQUEST.iter().map(|(n, v)| n.len() + v.len() + 32).sum();
    for (over, good) in [(0, true), (1, false)] {
        let mut script = server();
        let value = "~".repeat(16_384 - request_bytes - 33 + over);
        let block = script.block(&[REQUEST, &[("x", &value[..])]].concat());
        script.send(&frame(Kind::HEADERS, LAST, 1, &block));
        if good {
            script.expect_silence();
        } else {
            script.expect_reset(1, CALM);
        }
    }
}

/// A peer that asks for much and reads nothing.
#[test]
fn slow_read() {
    let mut script = server();
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 0)]));
    script.transmit();
    script.replies.clear();
    script.end.events.clear();
    requests(&mut script, 300, |engine, key| {
        let body = bytes::Bytes::from_static(&[0; 1000]);
        engine.send_headers(key, false, response).expect("open");
        engine.send_data_shared(key, body, false).expect("open");
        engine.send_trailers(key, trailers).expect("open");
        assert_eq!(engine.queued_bytes(key), Some(1000));
        engine.forget(key);
    });
    assert_eq!(script.error, None);
    assert_eq!(script.end.engine.open_streams(), 256, "the others were refused");
    script.transmit();
    let replies = script.take_replies();
    assert!(replies.iter().all(|f| f.kind != Kind::DATA));
    assert_eq!(script.end.engine.probe().scheduled, 0, "nothing spins");
    // Whoever reads in the end gets it all.
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1000)]));
    script.send(&window_update(0, 1 << 20));
    let replies = script.take_replies();
    let bodies = replies.iter().filter(|frame| frame.kind == Kind::DATA);
    assert_eq!(bodies.map(|frame| frame.payload.len()).sum::<usize>(), 256_000);
    assert_eq!(script.end.engine.open_streams(), 0);
}

/// Large answers that nobody reads are bounded in bytes too, not only in streams; and only while
/// they wait.
#[test]
fn unread_answers_are_bounded_in_bytes() {
    let config = Config { send_queued_bytes_max: 10_000, ..Config::default() };
    let mut script = Script::server(config);
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 0)]));
    script.transmit();
    script.end.events.clear();
    requests(&mut script, 20, |engine, key| answer_at_once(engine, key, &[0; 1000]));
    assert_eq!(script.end.engine.open_streams(), 10, "the others were refused");
    script.transmit();
    let refused = Frame::rst_stream(21, Reason::REFUSED_STREAM);
    assert!(script.take_replies().contains(&refused));
    script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1000)]));
    script.transmit();
    assert_eq!(script.end.engine.open_streams(), 0);
    script.request(101, true);
    assert_eq!(script.end.engine.open_streams(), 1, "whoever reads is served again");
}

/// Much that is queued must be read, little need not.
#[test]
fn a_peer_that_leaves_much_unread_loses_its_connection() {
    for (bodies, reads, dies) in
        [(12, 0, true), (12, 1000, true), (12, 70_000, false), (8, 0, false)]
    {
        let config = Config { send_stall_bytes_min: 1_000_000, ..Config::default() };
        let mut script = Script::server(config);
        script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 0)]));
        for i in 0..bodies {
            let key = script.request(1 + 2 * i, true);
            answer_at_once(&mut script.end.engine, key, &[0; 100_000]);
        }
        script.transmit();
        for _ in 0..2 {
            script.pass(Duration::from_secs(50));
            if reads > 0 && script.error.is_none() {
                script.send(&[window_update(1, reads), window_update(0, reads)].concat());
                script.transmit();
            }
        }
        assert_eq!(script.error.is_some(), dies, "{bodies} bodies, {reads} bytes read");
        assert!(!dies || script.error.is_some_and(|error| error.reason == CALM));
    }
}

/// Many small answers to a peer that does not read: the server stops reading its requests.
#[test]
fn a_server_whose_answers_are_not_read_stops_reading() {
    let mut script = server();
    script.send(&window_update(0, WINDOW_MAX - 65_535));
    let mut answered = 0_u32;
    while script.end.engine.read_budget() > 0 {
        let bytes = script.request_bytes(1 + 2 * answered, true);
        script.feed(&bytes);
        for event in script.take_events() {
            let Some(key) = event.key() else { continue };
            script.end.engine.respond_unary(key, response, &[0; 1000], trailers).expect("open");
            answered += 1;
        }
        script.end.engine.poll_transmit(script.now, &mut script.end.out);
        assert!(answered < 10_000, "it never stops");
    }
    let held = script.end.out.len() + script.end.engine.probe().ready_bytes;
    assert!((256 << 10..600 << 10).contains(&held), "{held}");
}

/// What a byte of an attack makes us do: an event for each frame at most, and less than two bytes
/// of output for each byte of input, whatever is provoked.
#[test]
fn an_attack_buys_little_work() {
    type Attack = fn(&mut Script<Server>, u32) -> Vec<u8>;
    let attacks: &[(&str, Attack)] = &[
        ("PING", |_, _| ping(false, [7; 8])),
        ("SETTINGS", |_, _| settings(&[])),
        ("SETTINGS of another window", |_, id| {
            settings(&[(setting_id::INITIAL_WINDOW_SIZE, 65_535 + id % 2)])
        }),
        ("WINDOW_UPDATE", |_, _| window_update(0, 1)),
        ("PRIORITY", |_, id| frame(Kind::PRIORITY, 0, id, &[0; 5])),
        ("an unknown type", |_, _| frame(0x99, 0, 0, b"")),
        ("a request and its reset", |script, id| {
            [script.request_bytes(id, true), rst_stream(id, Reason::CANCEL)].concat()
        }),
        ("a request of one byte", |_, id| frame(Kind::HEADERS, LAST, id, &[0x83])),
        ("a provoked reset", |script, id| {
            [script.request_bytes(id, true), window_update(id, 0)].concat()
        }),
        ("tiny DATA", |script, id| match id {
            1 => script.headers(1, flags::END_HEADERS, REQUEST),
            _ => data(1, b"x", false),
        }),
    ];
    for (name, attack) in attacks {
        let mut script = server();
        let (mut input, mut output, mut events, mut frames) = (0, 0, 0, 0);
        for i in 0..20_000 {
            let bytes = attack(&mut script, 1 + 2 * i);
            input += bytes.len();
            frames += 2;
            script.send(&bytes);
            output += script.take_replies().iter().map(|f| 9 + f.payload.len()).sum::<usize>();
            for event in script.take_events() {
                events += 1;
                if let Owned::Reset { key, .. } = event {
                    script.end.engine.forget(key);
                }
            }
            if script.error.is_some() {
                break;
            }
        }
        // A GOAWAY with its reason, and a sample of the bandwidth, come once.
        assert!(output <= 2 * input + 200, "{name}: {output} bytes for {input}");
        assert!(events <= frames, "{name}: {events} events of {frames} frames");
    }
}
