//! RFC 9113 section 3.4: how a connection starts.

use std::time::Duration;

use super::super::owned::Owned;
use super::super::script::{Script, data, frame, ping, settings};
use crate::frame::{Kind, PREFACE, flags, setting_id};
use crate::{Client, Config, Reason, Server};

#[test]
fn a_server_wants_the_preface() {
    let mut wrong = *PREFACE;
    wrong[23] = b'x';
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1", &wrong, b"\x00"] {
        let mut script: Script<Server> = Script::start(Config::default());
        script.send(bytes);
        script.expect_failure(Reason::PROTOCOL_ERROR);
    }
}

#[test]
fn a_request_of_http1_is_known_by_its_first_line_and_in_pieces_too() {
    let http1 = "the client speaks HTTP/1";
    let wrong = "the client's connection preface is wrong";
    let (long, endless) =
        ([b"GET /", &[b'a'; 4_000][..], b" HTTP/1.1\r\n"].concat(), [b'A'; 5_000]);
    let endless_target = [b"GET /", &endless[..]].concat();
    let table: [(&[u8], Option<&str>, &str); 17] = [
        (b"GET / HTTP/1.1\r\n\r\n", Some("GET"), http1),
        (b"PROPFIND /a HTTP/1.0", Some("PROPFIND"), http1),
        (b"PRIX * HTTP/1.1", Some("PRIX"), http1),
        (b"ABCDEFGHIJKLMNOPQRST / HTTP/1.1", Some("ABCDEFGHIJKLMNOPQRST"), http1),
        (&long, Some("GET"), http1),
        (b"ABCDEFGHIJKLMNOPQRSTU", None, wrong),
        (&endless, None, wrong),
        (&endless_target, None, wrong),
        // As h2spec has it.
        (b"INVALID CONNECTION PREFACE\r\n\r\n", None, wrong),
        (b"GET / HTTP/2.0", None, wrong),
        (b"GET  / HTTP/1.1", None, wrong),
        (b"GET /\r\n", None, wrong),
        (b"PRI * HTTP/1.1", None, wrong),
        (b"GET/ HTTP/1.1", None, wrong),
        (b" / HTTP/1.1", None, wrong),
        (b"\xff", None, wrong),
        (b"\x16\x03\x01", None, "the client speaks TLS, and this port does not"),
    ];
    for (bytes, method, told) in table {
        for size in [bytes.len(), 2, 1] {
            let mut engine = crate::Connection::<Server>::new(
                Config::default(),
                std::sync::Arc::new(crate::hpack::NoClassifier),
                std::time::Instant::now(),
            );
            let mut buf = crate::RecvBuf::new();
            let now = std::time::Instant::now();
            let mut pieces = bytes.chunks(size);
            let error = loop {
                buf.extend_from_slice(pieces.next().expect("it fails by its last piece"));
                if let Err(error) = engine.next_event(now, &mut buf).map(drop) {
                    break error;
                }
                assert!(engine.awaits_preface() && engine.http1_method(&buf).is_none());
            };
            assert_eq!((error.reason, error.detail), (Reason::PROTOCOL_ERROR, told));
            assert_eq!(engine.http1_method(&buf), method, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn settings_come_first() {
    let with_preface = |bytes: Vec<u8>| [&PREFACE[..], &bytes].concat();
    for first in [
        ping(false, [0; 8]),
        data(1, b"", false),
        frame(Kind::SETTINGS, flags::ACK, 0, b""),
        frame(0xee, 0, 0, b"unknown"),
        frame(Kind::HEADERS, flags::END_HEADERS, 1, b""),
    ] {
        let mut script: Script<Server> = Script::start(Config::default());
        script.send(&with_preface(first.clone()));
        script.expect_failure(Reason::PROTOCOL_ERROR);
        let mut script: Script<Client> = Script::start(Config::default());
        script.send(&first);
        script.expect_failure(Reason::PROTOCOL_ERROR);
    }
}

/// The engine does not wait for the peer with its own SETTINGS, and they say what the config says.
#[test]
fn our_settings_are_sent_at_once() {
    let config = Config {
        concurrent_streams_max: 17,
        stream_window_bytes: 100_001,
        connection_window_bytes: 200_000,
        frame_bytes_max: 20_000,
        header_table_bytes: 100,
        ..Config::default()
    };
    let mut script: Script<Server> = Script::start(config.clone());
    script.transmit();
    let replies = script.take_replies();
    assert_eq!((replies[0].kind, replies[0].flags, replies[0].stream), (Kind::SETTINGS, 0, 0));
    let list: Vec<(u16, u32)> = replies[0]
        .payload
        .chunks(6)
        .map(|one| {
            (u16::from_be_bytes([one[0], one[1]]), crate::frame::read_u32(&one[2..]).unwrap())
        })
        .collect();
    for want in [
        (setting_id::HEADER_TABLE_SIZE, 100),
        (setting_id::INITIAL_WINDOW_SIZE, 100_001),
        (setting_id::MAX_FRAME_SIZE, 20_000),
        (setting_id::MAX_HEADER_LIST_SIZE, 16_384),
        (setting_id::MAX_CONCURRENT_STREAMS, 17),
    ] {
        assert!(list.contains(&want), "{want:?} {list:?}");
    }
    assert_eq!((replies[1].kind, replies[1].stream), (Kind::WINDOW_UPDATE, 0));
    assert_eq!(replies[1].u32_at(0), 200_000 - 65_535);

    let mut script: Script<Client> = Script::start(config);
    script.transmit();
    let payload = &script.take_replies()[0].payload;
    assert!(payload.chunks(6).any(|one| one == [0, 2, 0, 0, 0, 0]), "push is off");
    assert!(!payload.chunks(6).any(|one| one[1] == 3), "nobody opens streams to a client");
}

#[test]
fn the_handshake_has_deadlines() {
    let config = Config {
        handshake_timeout: Duration::from_secs(20),
        settings_ack_timeout: Duration::from_secs(5),
        ..Config::default()
    };
    let mut silent: Script<Server> = Script::start(config.clone());
    silent.pass(Duration::from_secs(19));
    assert_eq!(silent.error, None);
    silent.pass(Duration::from_secs(1));
    silent.expect_failure(Reason::PROTOCOL_ERROR);

    let mut no_ack: Script<Client> = Script::start(config.clone());
    no_ack.pass(Duration::from_secs(19));
    no_ack.send(&settings(&[]));
    no_ack.pass(Duration::from_secs(4));
    assert_eq!(no_ack.error, None);
    no_ack.pass(Duration::from_secs(1));
    no_ack.expect_failure(Reason::SETTINGS_TIMEOUT);

    let mut good = Script::server(config);
    assert_eq!(good.end.engine.poll_timeout(), None);
    good.pass(Duration::from_secs(10_000));
    good.expect_silence();
}

#[test]
fn a_preface_may_come_in_pieces() {
    let mut script: Script<Server> = Script::start(Config::default());
    for byte in PREFACE {
        script.send(&[*byte]);
    }
    for byte in settings(&[(setting_id::MAX_CONCURRENT_STREAMS, 5)]) {
        script.send(&[byte]);
    }
    assert_eq!(script.take_events(), [Owned::Settings]);
    assert_eq!(script.end.engine.peer_settings().concurrent_streams_max, 5);
    assert!(script.end.engine.is_established());
}
