//! What hostile servers do to a client, each beside honest traffic of the same shape; and what
//! either side may do to the other. A client enforces what a server does.

use std::time::Duration;

use super::owned::Owned;
use super::script::{
    REQUEST, RESPONSE, Script, data, frame, goaway, ping, rst_stream, settings, window_update,
};
use crate::frame::{Kind, flags, setting_id};
use crate::{Client, Config, Reason, Role};

const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const LAST: u8 = flags::END_HEADERS | flags::END_STREAM;

fn client() -> Script<Client> {
    Script::client(Config::default())
}

/// A client whose call on stream 1 has the head of its response.
fn answered() -> Script<Client> {
    let mut script = client();
    script.open(false);
    let head = script.headers(1, flags::END_HEADERS, RESPONSE);
    script.send(&head);
    script.take_events();
    script
}

#[test]
fn continuation_flood() {
    for fragment in [0, 1, 16_384] {
        let mut script = client();
        script.open(true);
        script.send(&frame(Kind::HEADERS, 0, 1, &[]));
        let mut frames = 0;
        while script.error.is_none() {
            frames += 1;
            script.send(&frame(Kind::CONTINUATION, 0, 1, &vec![0; fragment]));
            assert!(script.end.engine.probe().block_bytes <= 128 << 10);
        }
        assert!(frames <= 9, "{frames}");
        script.expect_failure(CALM);
    }
}

#[test]
fn a_header_block_has_a_deadline() {
    let mut script = client();
    script.open(true);
    script.send(&frame(Kind::HEADERS, 0, 1, &[]));
    script.pass(Duration::from_secs(9));
    assert_eq!(script.error, None);
    script.pass(Duration::from_secs(1));
    script.expect_failure(CALM);
}

#[test]
fn a_response_in_nine_frames_is_fine() {
    let mut script = client();
    script.open(true);
    let long = "v".repeat(12_000);
    let mut rest = script.block(&[RESPONSE, &[("x", &long[..])]].concat());
    let mut bytes = frame(Kind::HEADERS, flags::END_STREAM, 1, &rest[..100]);
    rest.drain(..100);
    let pieces: Vec<&[u8]> = rest.chunks(rest.len().div_ceil(8)).collect();
    for (i, piece) in pieces.iter().enumerate() {
        let last = if i + 1 == pieces.len() { flags::END_HEADERS } else { 0 };
        bytes.extend(frame(Kind::CONTINUATION, last, 1, piece));
    }
    script.send(&bytes);
    script.expect_silence();
    assert!(matches!(&script.take_events()[..], [Owned::Headers { .. }]));
}

/// One entry of the table, named over and over, in a response and in trailers.
#[test]
fn hpack_bomb() {
    for trailers in [false, true] {
        let mut script = client();
        script.open(true);
        script.open(true);
        let mut entry = script.block(RESPONSE);
        entry.extend_from_slice(b"\x40\x01x\x7f\xa1\x1e");
        entry.extend_from_slice(&[b'v'; 4000]);
        script.send(&frame(Kind::HEADERS, flags::END_HEADERS, 1, &entry));
        assert!(matches!(script.take_events()[..], [Owned::Headers { .. }]));
        let (id, mut bomb) = if trailers { (1, Vec::new()) } else { (3, script.block(RESPONSE)) };
        bomb.extend_from_slice(&[0xbe; 16_000]);
        script.send(&frame(Kind::HEADERS, LAST, id, &bomb));
        script.expect_reset(id, CALM);
        let kept = script.end.engine.probe().fields_bytes;
        assert!(kept <= 64 << 10, "{kept} bytes are kept of a bomb");
    }
}

#[test]
fn empty_data() {
    for empty in [data(1, b"", false), frame(Kind::DATA, flags::PADDED, 1, &[200; 201])] {
        let mut script = answered();
        for _ in 0..64 {
            script.send(&empty);
            assert_eq!(script.error, None);
        }
        assert!(script.take_events().is_empty());
        script.send(&empty);
        script.expect_failure(CALM);
    }
}

#[test]
fn small_messages_are_untouched() {
    let mut script = answered();
    for i in 0..50_000 {
        script.feed(&data(1, b"m", false));
        if i % 60 == 0 {
            script.feed(&data(1, b"", false));
        }
        if i % 100 == 0 {
            script.transmit();
            assert!(script.take_replies().iter().all(|f| f.kind != Kind::RST_STREAM));
        }
    }
    assert_eq!(script.error, None);
    let bytes: usize = script
        .take_events()
        .iter()
        .map(|event| if let Owned::Data { payload, .. } = event { payload.len() } else { 0 })
        .sum();
    assert_eq!(bytes, 50_000);
}

/// A server can reset what the client opened, and nothing more: each stream once.
#[test]
fn resets_by_a_server_are_told_once_for_each_call() {
    let mut script = client();
    for i in 0..2_000 {
        let key = script.open(true);
        let reset = rst_stream(1 + 2 * i, Reason::CANCEL);
        script.send(&reset.repeat(3));
        assert!(matches!(script.take_events()[..], [Owned::Reset { remote: true, .. }]));
        script.end.engine.forget(key);
        assert_eq!(script.end.engine.open_streams(), 0);
    }
    script.expect_silence();
}

/// Responses that are malformed cost the client one RST_STREAM for each call that it made.
#[test]
fn a_server_provokes_no_more_resets_than_there_are_calls() {
    let mut script = client();
    for i in 0..50 {
        script.open(false);
        let broken = script.headers(1 + 2 * i, flags::END_HEADERS, &[("x", "no status")]);
        for _ in 0..3 {
            script.send(&broken);
        }
        if script.error.is_some() {
            break;
        }
    }
    let resets = script.take_replies().iter().filter(|f| f.kind == Kind::RST_STREAM).count();
    assert!(resets <= 50, "{resets}");
}

#[test]
fn floods_of_what_wants_no_answer() {
    let floods = [
        frame(Kind::PRIORITY, 0, 99, &[0, 0, 0, 1, 5]),
        frame(0x16, 0, 0, b"unknown"),
        window_update(0, 1),
        window_update(1, 1),
        rst_stream(3, Reason::CANCEL),
        frame(Kind::SETTINGS, flags::ACK, 0, b""),
        ping(true, *b"gnt-bdp\0"),
        goaway((1 << 31) - 1, Reason::NO_ERROR, b"again"),
    ];
    for flood in floods {
        let mut script = answered();
        let gone = script.open(true);
        script.send(&rst_stream(3, Reason::CANCEL));
        script.end.engine.forget(gone);
        script.take_events();
        let before = script.end.engine.probe();
        for _ in 0..1000 {
            script.feed(&flood.repeat(20));
            assert!(script.end.events.len() <= 20, "one event for each frame at most");
            script.end.events.clear();
        }
        script.expect_silence();
        let after = script.end.engine.probe();
        assert_eq!(after.control_bytes + after.ready_bytes, 0);
        assert_eq!(after.scheduled, before.scheduled);
        script.end.engine.check_invariants();
    }
}

/// What comes for a call that was cancelled costs the connection nothing.
#[test]
fn data_after_our_reset_gives_its_credit_back() {
    let mut script = answered();
    let key = script.end.engine.probe_streams().next().expect("one").0;
    script.end.engine.forget(key);
    script.transmit();
    script.take_replies();
    let mut window = 1 << 20;
    for _ in 0..1000 {
        script.send(&data(1, &[0; 16_384], false));
        window -= 16_384;
        for reply in script.take_replies() {
            if reply.kind == Kind::WINDOW_UPDATE {
                window += reply.u32_at(0);
            } else {
                assert_eq!(reply.kind, Kind::PING, "a sample of the bandwidth: {reply:?}");
            }
        }
        assert!(window >= 16_384);
    }
    assert_eq!(script.error, None);
    assert!(script.take_events().is_empty());
    assert_eq!(script.end.engine.probe().unread, 0);
}

/// 15 MB of frames with 5 bytes of payload and 255 of padding each, by a peer that keeps to the
/// windows it is given.
#[test]
fn fifteen_megabytes_of_padding() {
    pad(answered());
    let mut script = Script::server(Config::default());
    script.request(1, false);
    pad(script);
}

fn pad<R: Role>(mut script: Script<R>) {
    const FRAMES: usize = 60_000;
    let mut padded = vec![255; 261];
    padded[1..6].copy_from_slice(b"hello");
    let padded = frame(Kind::DATA, flags::PADDED, 1, &padded);
    let mut windows = [1_i64 << 20; 2];
    let mut body = 0;
    for _ in 0..FRAMES {
        assert!(windows.iter().all(|window| *window >= 261), "{windows:?}: the padding is kept");
        script.send(&padded);
        assert_eq!(script.error, None);
        windows = windows.map(|window| window - 261);
        for reply in script.take_replies() {
            match reply.kind {
                Kind::WINDOW_UPDATE => {
                    windows[usize::from(reply.stream == 1)] += i64::from(reply.u32_at(0));
                }
                other => assert_eq!(other, Kind::PING, "a sample of the bandwidth: {reply:?}"),
            }
        }
        for event in script.take_events() {
            if let Owned::Data { payload, .. } = event {
                body += payload.len();
            }
        }
    }
    assert_eq!(body, 5 * FRAMES);
}

/// Each of these as the peer's first frame.
#[test]
fn bad_initial_settings() {
    let first: &[(&str, Vec<u8>, Reason)] = &[
        ("on a stream", frame(Kind::SETTINGS, 0, 1, b""), Reason::PROTOCOL_ERROR),
        ("short", frame(Kind::SETTINGS, 0, 0, &[0; 5]), Reason::FRAME_SIZE_ERROR),
        ("long", frame(Kind::SETTINGS, 0, 0, &[0; 16_386]), Reason::FRAME_SIZE_ERROR),
        ("small frames", settings(&[(setting_id::MAX_FRAME_SIZE, 100)]), Reason::PROTOCOL_ERROR),
        ("push", settings(&[(setting_id::ENABLE_PUSH, 2)]), Reason::PROTOCOL_ERROR),
        (
            "a window of 2^31",
            settings(&[(setting_id::INITIAL_WINDOW_SIZE, 1 << 31)]),
            Reason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (name, bytes, reason) in first {
        println!("{name}");
        let mut script: Script<crate::Server> = Script::start(Config::default());
        script.send(&[&crate::frame::PREFACE[..], bytes].concat());
        script.expect_failure(*reason);
        let mut script: Script<Client> = Script::start(Config::default());
        script.send(bytes);
        script.expect_failure(*reason);
    }
}

/// What a byte of an attack makes us do: an event for each frame at most, and less than two bytes
/// of output for each byte of input, whatever is provoked.
#[test]
fn an_attack_buys_little_work() {
    type Attack = fn(&mut Script<crate::Server>, u32) -> Vec<u8>;
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
        let mut script = Script::server(Config::default());
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
