//! What either side may do to the other, hostile or honest: tried on a server and on a client.

use std::time::Duration;

use super::owned::Owned;
use super::script::{REQUEST, RESPONSE, Script, data, frame, settings};
use crate::frame::{Kind, PREFACE, flags, setting_id};
use crate::{Client, Config, Reason, Role, Server, StreamKey};

const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const LAST: u8 = flags::END_HEADERS | flags::END_STREAM;

type Fields = &'static [(&'static str, &'static str)];

fn server() -> Script<Server> {
    Script::server(Config::default())
}

/// A client that has asked on streams 1 and 3.
fn client() -> Script<Client> {
    let mut script = Script::client(Config::default());
    script.open(true);
    script.open(true);
    script
}

#[test]
fn continuation_flood() {
    for fragment in [0, 1, 16_384] {
        flood_with_continuation(server(), fragment);
        flood_with_continuation(client(), fragment);
    }
    // One frame that is as long as our SETTINGS allow is bounded too.
    let mut script = Script::server(Config { frame_bytes_max: 1 << 20, ..Config::default() });
    script.send(&frame(Kind::HEADERS, LAST, 1, &[0; 70_000]));
    script.expect_failure(CALM);
}

fn flood_with_continuation<R: Role>(mut script: Script<R>, fragment: usize) {
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

#[test]
fn eight_continuation_frames_are_fine() {
    send_in_nine_frames(server(), REQUEST);
    send_in_nine_frames(client(), RESPONSE);
}

fn send_in_nine_frames<R: Role>(mut script: Script<R>, head: Fields) {
    let long = "v".repeat(12_000);
    let mut rest = script.block(&[head, &[("x", &long[..])]].concat());
    let mut bytes = frame(Kind::HEADERS, flags::END_STREAM, 1, &rest[..100]);
    rest.drain(..100);
    let pieces: Vec<&[u8]> = rest.chunks(rest.len().div_ceil(8)).collect();
    for (i, piece) in pieces.iter().enumerate() {
        let last = if i + 1 == pieces.len() { flags::END_HEADERS } else { 0 };
        bytes.extend(frame(Kind::CONTINUATION, last, 1, piece));
    }
    assert_eq!(pieces.len(), 8);
    script.send(&bytes);
    script.expect_silence();
    assert!(matches!(&script.take_events()[..], [Owned::Headers { .. }]));
    assert_eq!(script.end.engine.poll_timeout(), None);
}

#[test]
fn a_header_block_has_a_deadline() {
    take_long_for_a_block(server());
    take_long_for_a_block(client());
}

fn take_long_for_a_block<R: Role>(mut script: Script<R>) {
    script.send(&frame(Kind::HEADERS, 0, 1, &[]));
    script.pass(Duration::from_secs(9));
    script.send(&frame(Kind::CONTINUATION, 0, 1, &[]));
    assert_eq!(script.error, None);
    script.pass(Duration::from_secs(1));
    script.expect_failure(CALM);
}

/// One entry of the table, named over and over: bytes that decode to a thousand times as many.
#[test]
fn hpack_bomb() {
    for trailers in [false, true] {
        drop_bomb(server(), REQUEST, trailers);
        drop_bomb(client(), RESPONSE, trailers);
    }
}

fn drop_bomb<R: Role>(mut script: Script<R>, head: Fields, trailers: bool) {
    let mut entry = script.block(head);
    entry.extend_from_slice(b"\x40\x01x\x7f\xa1\x1e");
    entry.extend_from_slice(&[b'v'; 4000]);
    script.send(&frame(Kind::HEADERS, flags::END_HEADERS, 1, &entry));
    assert!(matches!(script.take_events()[..], [Owned::Headers { .. }]));
    let (id, mut bomb) = if trailers { (1, Vec::new()) } else { (3, script.block(head)) };
    bomb.extend_from_slice(&[0xbe; 16_000]);
    script.send(&frame(Kind::HEADERS, LAST, id, &bomb));
    script.expect_reset(id, CALM);
    let kept = script.end.engine.probe().fields_bytes;
    assert!(kept <= 64 << 10, "{kept} bytes are kept of a bomb");
}

#[test]
fn empty_data() {
    for empty in [data(1, b"", false), frame(Kind::DATA, flags::PADDED, 1, &[200; 201])] {
        send_nothing(Script::asked().0, &empty);
        send_nothing(Script::answered().0, &empty);
    }
}

fn send_nothing<R: Role>(mut script: Script<R>, empty: &[u8]) {
    for _ in 0..64 {
        script.send(empty);
        assert_eq!(script.error, None);
    }
    assert!(script.take_events().is_empty());
    script.send(empty);
    script.expect_failure(CALM);
}

/// A hundred thousand messages of one byte, and an empty frame after each sixtieth.
#[test]
fn small_messages_are_untouched() {
    send_small_messages(Script::asked());
    send_small_messages(Script::answered());
}

fn send_small_messages<R: Role>((mut script, key): (Script<R>, StreamKey)) {
    for i in 0..100_000 {
        script.feed(&data(1, b"m", false));
        if i % 60 == 0 {
            script.feed(&data(1, b"", false));
        }
        if i % 100 == 0 {
            script.transmit();
            assert!(script.take_replies().iter().all(|f| f.kind != Kind::RST_STREAM));
        }
    }
    script.send(&data(1, b"", true));
    assert_eq!(script.error, None);
    assert_eq!(script.end.body(key).0.len(), 100_000);
}

/// What comes for a stream that we reset costs the connection nothing.
#[test]
fn data_after_our_reset_gives_its_credit_back() {
    let (mut server, key) = Script::asked();
    server.end.engine.reset(key, Reason::CANCEL);
    server.end.engine.forget(key);
    send_to_a_reset_stream(server);
    let (mut client, key) = Script::answered();
    client.end.engine.forget(key);
    send_to_a_reset_stream(client);
}

fn send_to_a_reset_stream<R: Role>(mut script: Script<R>) {
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
            assert_eq!(reply.stream, 0);
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
    pad(Script::asked().0);
    pad(Script::answered().0);
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
        let mut script: Script<Server> = Script::start(Config::default());
        script.send(&[&PREFACE[..], bytes].concat());
        script.expect_failure(*reason);
        let mut script: Script<Client> = Script::start(Config::default());
        script.send(bytes);
        script.expect_failure(*reason);
    }
}
