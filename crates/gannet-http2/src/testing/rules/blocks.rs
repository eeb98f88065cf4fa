//! RFC 9113 sections 4.3 and 6.10, and RFC 7541: how header blocks are cut, and what breaks them.

use super::super::owned::Owned;
use super::super::script::{REQUEST, Script, data, frame, ping, settings};
use super::Given::{Closed, Idle, Open};
use super::Want::{Failure, Silence};
use super::{answer, check_client, check_server};
use crate::frame::{Kind, flags, setting_id};
use crate::{Client, Config, Reason, Role, Server};

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const COMPRESSION: Reason = Reason::COMPRESSION_ERROR;
const LAST: u8 = flags::END_HEADERS | flags::END_STREAM;

/// HEADERS of stream 1 with this block.
fn block(bytes: &[u8]) -> Vec<u8> {
    frame(Kind::HEADERS, LAST, 1, bytes)
}

/// HEADERS of stream 1 without END_HEADERS, then `next`.
fn interrupted(next: &[u8]) -> Vec<u8> {
    [&frame(Kind::HEADERS, 0, 1, &[0x82]), next].concat()
}

type Broken = (&'static str, fn() -> Vec<u8>, Reason);

const BROKEN: &[Broken] = &[
    ("interrupted by DATA", || interrupted(&data(1, b"", false)), PROTOCOL),
    ("interrupted by PING", || interrupted(&ping(false, [0; 8])), PROTOCOL),
    ("interrupted by PRIORITY", || interrupted(&frame(Kind::PRIORITY, 0, 1, &[0; 5])), PROTOCOL),
    ("interrupted by an unknown type", || interrupted(&frame(0x16, 0, 1, b"")), PROTOCOL),
    ("interrupted by other HEADERS", || interrupted(&frame(Kind::HEADERS, LAST, 3, b"")), PROTOCOL),
    (
        "continued on another stream",
        || interrupted(&frame(Kind::CONTINUATION, flags::END_HEADERS, 3, b"")),
        PROTOCOL,
    ),
    (
        "continued after its end",
        || {
            [
                interrupted(&frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b"")),
                frame(Kind::CONTINUATION, flags::END_HEADERS, 1, b""),
            ]
            .concat()
        },
        PROTOCOL,
    ),
    // RFC 7541
    ("2.3.3: an index outside the tables", || block(&[0xff, 0x00]), COMPRESSION),
    ("4.2: a size update at the end", || block(&[0x82, 0x20]), COMPRESSION),
    ("5.1: an integer without end", || block(&[0xff; 12]), COMPRESSION),
    (
        "5.2: padding of 8 bits",
        || block(&[0x82, 0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
        COMPRESSION,
    ),
    ("5.2: padding of zeros", || block(&[0x00, 0x81, 0x00, 0x01, b'x']), COMPRESSION),
    ("5.2: EOS", || block(&[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'x']), COMPRESSION),
    ("6.1: index 0", || block(&[0x80]), COMPRESSION),
    ("6.2: an index without a name", || block(&[0x7f, 0x00]), COMPRESSION),
    ("6.2: a string cut short", || block(&[0x00, 0x05, b'a']), COMPRESSION),
    ("6.3: a size update above the limit", || block(&[0x3f, 0xe2, 0x1f]), COMPRESSION),
];

fn check_broken<R: Role>(name: &str, mut script: Script<R>, bytes: &[u8], reason: Reason) {
    println!("{name}");
    script.send(bytes);
    script.expect_failure(reason);
}

#[test]
fn broken_blocks_end_the_connection() {
    for (name, bytes, reason) in BROKEN {
        check_broken::<Server>(name, Script::server(Config::default()), &bytes(), *reason);
        let mut client: Script<Client> = Script::client(Config::default());
        client.open(true);
        if name.starts_with("continued after") {
            continue; // a malformed response comes first
        }
        check_broken(name, client, &bytes(), *reason);
    }
}

/// Blocks for streams that are gone are decoded all the same.
#[test]
fn the_table_stays_in_step_whatever_becomes_of_the_stream() {
    check_server(&[("a broken block, closed", Closed, |_| block(&[0x80]), Failure(COMPRESSION))]);
    check_client(&[
        ("a broken block, closed", Closed, |_| block(&[0x80]), Failure(COMPRESSION)),
        ("a block nobody wants", super::Given::ResetByUs, |_| block(&[0x88]), Silence),
        ("a broken block, open", Open, |_| block(&[0x80]), Failure(COMPRESSION)),
        ("a broken block, idle", Idle, |_| block(&[0x80]), Failure(COMPRESSION)),
    ]);
    let config = Config { concurrent_streams_max: 1, ..Config::default() };
    let mut script = Script::server(config);
    script.request(1, false);
    // Refused, but its literal enters the table: 62 is "custom: yes" from here on.
    let mut entry = script.block(REQUEST);
    entry.extend_from_slice(b"\x40\x06custom\x03yes");
    script.send(&frame(Kind::HEADERS, LAST, 3, &entry));
    script.expect_reset(3, Reason::REFUSED_STREAM);
    let key = script.end.engine.probe_streams().next().expect("one").0;
    script.end.engine.reset(key, Reason::CANCEL);
    script.end.engine.forget(key);
    script.transmit();
    script.take_replies();
    let mut again = script.block(REQUEST);
    again.push(0xbe);
    script.send(&frame(Kind::HEADERS, LAST, 5, &again));
    let events = script.take_events();
    let [Owned::Headers { fields, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(fields.last().expect("some"), &("custom".into(), "yes".into()));
}

/// A block may be cut anywhere, into empty pieces too, with padding and priority in the first.
#[test]
fn a_block_may_be_cut_anywhere() {
    for cuts in 1..=8 {
        let mut script = Script::server(Config::default());
        let mut block = script.block(REQUEST);
        let mut first = vec![4]; // padding
        first.extend_from_slice(&[0x80, 0, 0, 9, 200]); // priority
        let piece = block.len() / (cuts + 1);
        let rest = block.split_off(piece);
        first.extend_from_slice(&block);
        first.extend_from_slice(&[0; 4]);
        let flags_first = flags::PADDED | flags::PRIORITY | flags::END_STREAM;
        let mut bytes = frame(Kind::HEADERS, flags_first, 1, &first);
        for cut in 0..cuts {
            let last = cut + 1 == cuts;
            let end = if last { rest.len() } else { (cut + 1) * piece };
            let flag = if last { flags::END_HEADERS } else { 0 };
            bytes.extend(frame(Kind::CONTINUATION, flag, 1, &rest[cut * piece..end]));
        }
        for byte in bytes {
            script.send(&[byte]);
        }
        let events = script.take_events();
        let [Owned::Headers { key, fields, end_stream: true }] = &events[..] else {
            panic!("{events:?}, {:?}", script.error)
        };
        assert_eq!(fields.len(), 4);
        answer(&mut script, *key, 1);
    }
}

/// A stream cannot depend on itself (RFC 7540 section 5.3.1; harmless, but h2spec asks).
#[test]
fn a_request_that_depends_on_itself() {
    let mut script = Script::server(Config::default());
    let mut payload = vec![0, 0, 0, 1, 0];
    payload.extend(script.block(REQUEST));
    script.send(&frame(Kind::HEADERS, LAST | flags::PRIORITY, 1, &payload));
    script.expect_reset(1, PROTOCOL);
}

/// The peer's HEADER_TABLE_SIZE binds our encoder from the next block on, 0 too.
#[test]
fn our_encoder_follows_the_peers_table() {
    let mut script = Script::server(Config::default());
    let sizes = [4096, 0, 4096, 100, 0, 65_536, 1];
    for (i, size) in (0u32..).zip(sizes) {
        // Two changes between blocks: the smaller is told too.
        script.send(&settings(&[(setting_id::HEADER_TABLE_SIZE, 50)]));
        script.send(&settings(&[(setting_id::HEADER_TABLE_SIZE, size)]));
        script.take_replies();
        script.take_events();
        script.set_table_bytes_max(50);
        script.set_table_bytes_max(size);
        let key = script.request(1 + 2 * i, true);
        answer(&mut script, key, 1 + 2 * i);
    }
}

/// Our own HEADER_TABLE_SIZE binds the peer once it has acknowledged it.
#[test]
fn the_peers_encoder_must_follow_our_table() {
    let config = Config { header_table_bytes: 0, ..Config::default() };
    let mut script: Script<Server> = Script::start(config.clone());
    script.send(crate::frame::PREFACE).send(&settings(&[]));
    // Not acknowledged: the default table is in force.
    let mut first = script.block(REQUEST);
    first.extend_from_slice(b"\x40\x01a\x01b");
    script.send(&frame(Kind::HEADERS, LAST, 1, &first));
    script.send(&frame(Kind::SETTINGS, flags::ACK, 0, b""));
    assert_eq!(script.error, None);
    // Acknowledged: the next block must say so.
    let mut silent = script.block(REQUEST);
    silent.push(0xbe);
    script.send(&frame(Kind::HEADERS, LAST, 3, &silent));
    script.expect_failure(COMPRESSION);

    let mut script = Script::server(config);
    script.encoder.set_peer_table_bytes_max(0);
    let key = script.request(1, true);
    answer(&mut script, key, 1);
}

/// A field larger than the table empties it (RFC 7541 section 4.4), for remembered blocks too.
#[test]
fn a_field_too_large_for_the_table_empties_it() {
    let mut script = Script::server(Config::default());
    let mut first = script.block(REQUEST);
    first.extend_from_slice(b"\x40\x06custom\x03yes");
    script.send(&frame(Kind::HEADERS, LAST, 1, &first));
    let mut again = script.block(REQUEST);
    again.push(0xbe);
    for id in [3, 5] {
        script.send(&frame(Kind::HEADERS, LAST, id, &again));
    }
    assert_eq!(script.take_events().len(), 3);
    let mut large = script.block(REQUEST);
    large.extend_from_slice(b"\x40\x01x\x7f\x89\x26"); // 5,000 bytes
    large.extend_from_slice(&[b'v'; 5000]);
    script.send(&frame(Kind::HEADERS, LAST, 7, &large));
    script.expect_silence();
    script.send(&frame(Kind::HEADERS, LAST, 9, &again));
    script.expect_failure(COMPRESSION);
}
