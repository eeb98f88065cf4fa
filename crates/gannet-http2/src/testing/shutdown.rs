//! RFC 9113 section 6.8: GOAWAY in both directions; and that a stale key never reaches another
//! call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::duo::{Duo, request, response, trailers};
use super::owned::Owned;
use super::script::{Frame, RESPONSE, Script, data, goaway, ping, settings, window_update};
use crate::frame::{Kind, flags, setting_id};
use crate::hpack::NoClassifier;
use crate::{Config, Connection, OpenError, Reason, Role, Server, StreamKey};

const LAST_POSSIBLE: u32 = (1 << 31) - 1;

/// The last stream and the code of each GOAWAY that went out, and what else did.
fn goaways<R: Role>(script: &mut Script<R>) -> (Vec<(u32, Reason)>, Vec<u8>) {
    let replies = script.take_replies();
    let (mut said, mut others) = (Vec::new(), Vec::new());
    for frame in replies {
        if frame.kind == Kind::GOAWAY {
            said.push((frame.u32_at(0), Reason(frame.u32_at(4))));
        } else {
            others.push(frame.kind);
        }
    }
    (said, others)
}

#[test]
fn a_drain_goes_in_two_steps() {
    let mut script = Script::server(Config::default());
    let first = script.request(1, true);
    script.end.engine.drain(script.now);
    script.end.engine.drain(script.now);
    script.transmit();
    let drain_ping = script.replies[1].payload.clone();
    let announced = (vec![(LAST_POSSIBLE, Reason::NO_ERROR)], vec![Kind::PING]);
    assert_eq!(goaways(&mut script), announced);
    assert!(script.end.engine.is_going_away() && !script.end.engine.is_finished());
    // The client may not know yet: its streams are served. An acknowledgement of another ping says
    // nothing.
    let second = script.request(3, true);
    script.send(&ping(true, *b"another."));
    script.expect_silence();
    script.send(&ping(true, drain_ping.clone().try_into().expect("8 bytes")));
    assert_eq!(goaways(&mut script), (vec![(3, Reason::NO_ERROR)], vec![]));
    script.send(&ping(true, drain_ping.try_into().expect("8 bytes")));
    script.expect_silence();
    for key in [first, second] {
        assert!(!script.end.engine.is_finished());
        script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
    }
    assert!(script.end.engine.is_finished());
    script.transmit();
    assert_eq!(script.take_replies().len(), 6);
}

#[test]
fn a_drain_may_be_cut_short() {
    let mut script = Script::server(Config::default());
    script.request(1, true);
    script.end.engine.drain(script.now);
    script.end.engine.goaway(Reason::ENHANCE_YOUR_CALM, &[b'd'; 5000]);
    script.end.engine.goaway(Reason::NO_ERROR, b"again");
    script.end.engine.drain(script.now);
    script.transmit();
    let debug_bytes = script.replies.last().expect("some").payload.len() - 8;
    assert_eq!(debug_bytes, 1024);
    let (said, _) = goaways(&mut script);
    let calm = Reason::ENHANCE_YOUR_CALM;
    assert_eq!(said, [(LAST_POSSIBLE, Reason::NO_ERROR), (1, calm)]);
    assert!(!script.end.engine.is_finished(), "stream 1 is answered still");
}

#[test]
fn an_idle_server_that_drains_is_finished_after_one_round_trip() {
    let mut script = Script::server(Config::default());
    script.end.engine.drain(script.now);
    script.transmit();
    assert!(!script.end.engine.is_finished());
    script.send(&ping(true, *b"gnt-drn\0"));
    assert!(script.end.engine.is_finished());
    let (said, _) = goaways(&mut script);
    assert_eq!(said, [(LAST_POSSIBLE, Reason::NO_ERROR), (0, Reason::NO_ERROR)]);
}

#[test]
fn a_client_that_is_told_to_go() {
    let mut script = Script::client(Config::default());
    let keys: Vec<StreamKey> = (0..3).map(|_| script.open(false)).collect();
    script.send(&goaway(LAST_POSSIBLE, Reason::NO_ERROR, b""));
    assert!(matches!(script.take_events()[..], [Owned::GoAway { .. }]));
    assert_eq!(script.end.engine.open(true, request), Err(OpenError::GoingAway));
    // Streams 3 and 5 were not processed; 1 goes on.
    script.send(&goaway(1, Reason::NO_ERROR, b"max_age"));
    let events = script.take_events();
    let unprocessed =
        |key| Owned::Reset { key, reason: Reason::REFUSED_STREAM, remote: true, unprocessed: true };
    assert_eq!(events[1..], [unprocessed(keys[1]), unprocessed(keys[2])]);
    assert!(script.end.engine.send_data(keys[1], b"x", true).is_err());
    script.end.engine.forget(keys[1]);
    script.end.engine.forget(keys[2]);
    script.expect_silence();
    assert!(!script.end.engine.is_finished());
    script.end.engine.send_data(keys[0], b"x", true).expect("goes on");
    let head = script.headers(1, flags::END_HEADERS, RESPONSE);
    script.send(&head).send(&data(1, b"y", true));
    script.end.engine.forget(keys[0]);
    assert!(script.end.engine.is_finished());
}

/// Otherwise the server's last GOAWAY would pass over a stream that was opened in good faith.
#[test]
fn a_clients_answer_to_a_ping_follows_the_streams_it_opened_before() {
    let mut script = Script::client(Config::default());
    script.end.engine.open(true, request).expect("may open");
    let drain = [goaway(LAST_POSSIBLE, Reason::NO_ERROR, b""), ping(false, *b"the end?")].concat();
    script.send(&drain);
    let kinds: Vec<u8> = script.take_replies().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::HEADERS, Kind::PING]);
    script.send(&ping(false, *b"and now?"));
    assert_eq!(script.take_replies().len(), 1);
}

/// A client's GOAWAY is about streams of the server's: its own calls go on, new ones too.
#[test]
fn a_server_that_is_told_to_go() {
    let mut script = Script::server(Config::default());
    let key = script.request(1, true);
    script.send(&goaway(0, Reason::NO_ERROR, b"bye"));
    script.take_events();
    let late = script.request(3, true);
    for key in [key, late] {
        script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
    }
    script.transmit();
    assert_eq!(script.take_replies().len(), 6);
    assert_eq!(script.error, None);
}

#[test]
fn a_client_that_says_it_goes() {
    let mut duo = Duo::new(Config::default(), Config::default());
    let (call, served) = duo.open(true);
    duo.client.engine.goaway(Reason::NO_ERROR, b"idle");
    assert_eq!(duo.client.engine.can_open(), Err(OpenError::GoingAway));
    duo.pump();
    duo.server.engine.respond_unary(served, response, b"x", trailers).expect("open");
    duo.pump();
    assert_eq!(duo.client.body(call), (b"x".to_vec(), true));
    assert!(!duo.client.engine.is_finished());
    duo.client.engine.forget(call);
    assert!(duo.client.engine.is_finished());
}

/// A key names one call for good, however often its place is used again.
#[test]
fn stale_keys_reach_nobody() {
    let mut script = Script::server(Config::default());
    let old = script.request(1, false);
    script.end.engine.reset(old, Reason::CANCEL);
    script.end.engine.forget(old);
    let new = script.request(3, false);
    assert_eq!(old.index(), new.index(), "the place is used again");
    script.transmit();
    script.take_replies();
    let engine = &mut script.end.engine;
    assert!(engine.send_headers(old, true, response).is_err());
    assert!(engine.send_informational(old, response).is_err());
    assert!(engine.respond_unary(old, response, b"", trailers).is_err());
    assert!(engine.send_data(old, b"x", true).is_err());
    assert!(engine.send_trailers(old, trailers).is_err());
    assert_eq!(engine.queued_bytes(old), None);
    engine.reset(old, Reason::CANCEL);
    engine.forget(old);
    engine.release(old, 0);
    script.transmit();
    script.expect_silence();
    assert_eq!(script.end.engine.open_streams(), 1);
    script.send(&data(3, b"still here", true));
    assert_eq!(script.end.body(new), (b"still here".to_vec(), true));
}

/// An idle connection gives its storage back and goes on as if nothing had been.
#[test]
fn a_connection_that_released_its_storage_goes_on() {
    let mut duo = Duo::new(Config::default(), Config::default());
    let mut stale = Vec::new();
    for _ in 0..3 {
        for _ in 0..20 {
            let (call, served) = duo.open(true);
            duo.client.engine.release_storage();
            duo.server.engine.release_storage();
            duo.server.engine.respond_unary(served, response, b"x", trailers).expect("open");
            duo.server.engine.release_storage();
            duo.pump();
            assert_eq!(duo.client.body(call), (b"x".to_vec(), true));
            duo.client.engine.forget(call);
            stale.push((call, served));
        }
        duo.client.engine.release_storage();
        duo.server.engine.release_storage();
        duo.client.engine.check_invariants();
        duo.server.engine.check_invariants();
    }
    let (call, served) = duo.open(true);
    for (old_call, old_served) in stale {
        assert!(old_call != call && old_served != served);
        assert_eq!(duo.client.engine.queued_bytes(old_call), None);
        assert_eq!(duo.server.engine.queued_bytes(old_served), None);
    }
}

/// Credit of a call that is gone goes to the connection, and to no other stream.
#[test]
fn credit_by_a_stale_key_is_the_connections() {
    let config = Config {
        connection_window_bytes: 65_535,
        recv_buffered_bytes_max: 65_535,
        ..Config::default()
    };
    let mut script = Script::server(config);
    script.end.release = false;
    let old = script.request(1, false);
    for _ in 0..3 {
        script.send(&data(1, &[0; 16_384], false));
    }
    script.end.engine.reset(old, Reason::CANCEL);
    script.end.engine.forget(old);
    let new = script.request(3, false);
    assert_eq!(old.index(), new.index());
    script.transmit();
    script.take_replies();
    script.end.engine.release(old, 3 * 16_384);
    script.transmit();
    let replies = script.take_replies();
    assert!(replies.iter().all(|f| f.stream == 0 && f.kind == Kind::WINDOW_UPDATE), "{replies:?}");
    assert_eq!(replies.len(), 1);
    assert_eq!(script.end.engine.probe_stream(new).expect("open").released, 0);
}

#[test]
fn a_drain_does_not_wait_for_a_peer_that_never_greeted() {
    let mut server =
        Connection::<Server>::new(Config::default(), Arc::new(NoClassifier), Instant::now());
    assert!(!server.is_finished());
    server.drain(Instant::now());
    assert!(server.is_finished());
}

#[test]
fn a_drain_waits_two_seconds_for_an_acknowledgement() {
    let mut script = Script::server(Config::default());
    let now = script.now;
    script.end.engine.drain(now);
    script.transmit();
    assert!(!script.end.engine.is_finished(), "the peer may have opened a stream meanwhile");
    assert_eq!(script.end.engine.poll_timeout(), Some(now + Duration::from_secs(2)));
    script.pass(Duration::from_secs(2));
    assert!(script.end.engine.is_finished());
    assert_eq!(script.error, None);
}

/// The deadline of a call covers its answer, as long as that has not left.
#[test]
fn an_answer_that_cannot_leave_is_reset_at_its_deadline() {
    for flows in [false, true] {
        let mut script = Script::server(Config::default());
        script.send(&settings(&[(setting_id::INITIAL_WINDOW_SIZE, 0)]));
        let key = script.request(1, true);
        script.take_replies();
        let engine = &mut script.end.engine;
        engine.respond_unary(key, response, &[7; 1000], trailers).expect("open");
        engine.forget_until(key, script.now + Duration::from_secs(1));
        script.transmit();
        if flows {
            script.send(&window_update(1, 1000));
        }
        script.pass(Duration::from_secs(1));
        let reset = Frame::rst_stream(1, Reason::CANCEL);
        assert_eq!(script.take_replies().contains(&reset), !flows);
        assert_eq!(script.end.engine.open_streams(), 0);
        assert_eq!(script.end.engine.poll_timeout(), None);
    }
}
