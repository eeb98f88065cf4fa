//! Floods of frames, beside bursts that are honest.

use super::script::{Script, frame, goaway, ping, rst_stream, settings, window_update};
use crate::frame::{Kind, flags, setting_id};
use crate::{Config, Reason, RecvBuf, Role, Server, StreamKey};

fn server() -> Script<Server> {
    Script::server(Config::default())
}

/// Floods that want an answer each, from a peer that reads nothing: reading stops, and what is held
/// for the peer is bounded.
#[test]
fn floods_of_what_wants_an_answer() {
    for flood in
        [ping(false, [7; 8]), settings(&[]), settings(&[(setting_id::MAX_FRAME_SIZE, 16_384)])]
    {
        check_flood(&mut server(), &flood);
        check_flood(&mut Script::client(Config::default()), &flood);
    }
}

fn check_flood<R: Role>(script: &mut Script<R>, flood: &[u8]) {
    let held_max = (256 << 10) + 2 * RecvBuf::BYTES_MAX + (32 << 10);
    let batch = flood.repeat(16_384 / flood.len());
    let mut read = 0;
    for _ in 0..10_000 {
        if script.end.engine.read_budget() > 0 {
            read += batch.len();
            script.feed(&batch);
            assert_eq!(script.error, None);
            script.end.events.clear();
        }
        script.end.engine.poll_transmit(script.now, &mut script.end.out);
        let probe = script.end.engine.probe();
        let held = script.end.out.len() + probe.control_bytes + probe.ready_bytes;
        assert!(held <= held_max, "{held} bytes are held");
    }
    assert_eq!(script.end.engine.read_budget(), 0, "reading stops");
    assert!(read < 1 << 20, "{read} bytes were read");
    // The peer reads at last: all goes on.
    script.end.out.clear();
    script.transmit();
    assert!(script.end.engine.read_budget() > 0);
    assert!(!script.take_replies().is_empty());
}

/// What a flood made us allocate is given back once it is answered.
#[test]
fn a_flood_leaves_no_storage_behind() {
    let mut script = server();
    for _ in 0..10 {
        script.send(&ping(false, [7; 8]).repeat(15_000));
        script.end.events.clear();
    }
    assert_eq!(script.take_replies().len(), 150_000);
    let kept = script.end.engine.probe().control_storage_bytes;
    assert!(kept <= 4 << 10, "{kept} bytes are kept for control frames");
}

/// As large a read as the buffer takes at once is answered in full, then reading goes on.
#[test]
fn a_burst_of_pings_is_answered() {
    let mut script = server();
    script.feed(&ping(false, [1; 8]).repeat(63));
    assert!(script.end.engine.read_budget() > 0);
    script.feed(&ping(false, [1; 8]));
    assert_eq!(script.end.engine.read_budget(), 0);
    script.transmit();
    assert!(script.end.engine.read_budget() > 0);
    assert_eq!(script.take_replies().len(), 64);
}

/// Floods that want no answer leave nothing behind.
#[test]
fn floods_of_what_wants_no_answer() {
    let floods = [
        frame(Kind::PRIORITY, 0, 99, &[0, 0, 0, 1, 5]),
        frame(Kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 5]),
        frame(0x16, 0, 0, b"unknown"),
        window_update(0, 1),
        window_update(1, 1),
        rst_stream(3, Reason::CANCEL),
        frame(Kind::SETTINGS, flags::ACK, 0, b""),
        ping(true, *b"gnt-bdp\0"),
        ping(true, *b"gnt-drn\0"),
        goaway((1 << 31) - 1, Reason::NO_ERROR, b"again"),
    ];
    for flood in floods {
        let (mut server, _) = Script::asked();
        let gone = server.request(3, false);
        check_useless(server, gone, &flood);
        let (mut client, _) = Script::answered();
        let gone = client.open(true);
        check_useless(client, gone, &flood);
    }
}

fn check_useless<R: Role>(mut script: Script<R>, gone: StreamKey, flood: &[u8]) {
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
    assert_eq!(before.control_bytes + before.ready_bytes, 0);
    assert_eq!(after.control_bytes + after.ready_bytes, 0);
    assert_eq!(after.scheduled, before.scheduled);
    assert!(script.end.engine.read_budget() > 0);
    script.end.engine.check_invariants();
}
