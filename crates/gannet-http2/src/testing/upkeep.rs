//! Keepalive of both roles, the server's policy for PINGs, connections that are old or idle (gRFC
//! A8, A9).

use std::sync::Arc;
use std::time::Duration;

use super::duo::{Duo, request, response, trailers};
use super::script::{Frame, Script, ping};
use crate::frame::{Kind, flags};
use crate::{Config, Keepalive, PingPolicy, Reason, Role, Upkeep};

const LAST_POSSIBLE: u32 = (1 << 31) - 1;
const KEEPALIVE: Keepalive = Keepalive {
    time: Duration::from_secs(10),
    timeout: Duration::from_secs(20),
    without_calls: false,
};
const POLICY: PingPolicy =
    PingPolicy { interval_min: Duration::from_secs(300), without_calls: false };

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kept_up<R: Role>(mut script: Script<R>, change: impl FnOnce(&mut Upkeep)) -> Script<R> {
    let mut upkeep = Upkeep::default();
    change(&mut upkeep);
    script.end.engine.keep_up_with(Arc::new(upkeep), 0.5, script.now);
    script
}

/// The opaque bytes of the one PING that went out.
#[track_caller]
fn pinged<R: Role>(script: &mut Script<R>) -> [u8; 8] {
    match &script.take_replies()[..] {
        [Frame { kind: Kind::PING, flags: 0, stream: 0, payload }] => {
            payload[..].try_into().expect("8 bytes")
        }
        other => panic!("{other:?} instead of a PING"),
    }
}

fn goaway_of(frame: &Frame) -> (u32, Reason, &[u8]) {
    assert_eq!(frame.kind, Kind::GOAWAY, "{frame:?}");
    (frame.u32_at(0), Reason(frame.u32_at(4)), &frame.payload[8..])
}

#[test]
fn a_client_pings_where_nothing_comes_and_any_byte_will_do() {
    let mut script = kept_up(Script::client(Config::default()), |u| u.keepalive = Some(KEEPALIVE));
    script.open(false);
    script.pass(s(9));
    script.expect_silence();
    // Not even a whole frame.
    script.feed(&[0]);
    script.pass(s(9));
    script.expect_silence();
    script.pass(s(1));
    let opaque = pinged(&mut script);
    script.pass(s(19));
    script.feed(&ping(true, opaque)[1..]);
    script.pass(s(1));
    script.expect_silence();
    assert!(script.take_events().is_empty(), "the answer is the engine's own business");
    script.pass(s(9));
    pinged(&mut script);
    script.pass(s(20));
    script.expect_failure(Reason::NO_ERROR);
    let told = script.error.expect("an error").to_string();
    assert!(told.starts_with("keepalive: nothing came"), "{told}");
}

#[test]
fn a_client_without_calls_is_silent_and_its_next_call_asks_at_once() {
    let mut script = kept_up(Script::client(Config::default()), |u| u.keepalive = Some(KEEPALIVE));
    script.pass(s(10));
    assert_eq!(script.end.engine.poll_timeout(), None, "it sleeps");
    script.pass(s(1_000));
    script.expect_silence();
    script.open(false);
    let due = script.end.engine.poll_timeout();
    assert!(due.is_some_and(|due| due <= script.now), "{due:?}");
    script.pass(s(0));
    pinged(&mut script);
    script.pass(s(20));
    script.expect_failure(Reason::NO_ERROR);

    let always = Keepalive { without_calls: true, ..KEEPALIVE };
    let mut script = kept_up(Script::client(Config::default()), |u| u.keepalive = Some(always));
    script.pass(s(10));
    let opaque = pinged(&mut script);
    script.send(&ping(true, opaque));
    script.expect_silence();
}

#[test]
fn by_default_nobody_asks() {
    let mut script = Script::client(Config::default());
    script.open(false);
    assert_eq!(script.end.engine.poll_timeout(), None);
    // What is a server's is not a client's.
    let mut script = kept_up(script, |u| {
        (u.age_max, u.idle_max) = (Some(s(1)), Some(s(1)));
    });
    assert_eq!(script.end.engine.poll_timeout(), None);
    script.pass(s(10_000));
    script.expect_silence();
}

#[test]
fn a_server_gives_a_silent_client_up_with_its_calls() {
    let keepalive = Keepalive { time: s(7_200), without_calls: true, ..KEEPALIVE };
    let mut script = kept_up(Script::server(Config::default()), |u| u.keepalive = Some(keepalive));
    let key = script.request(1, false);
    script.pass(s(7_199));
    script.expect_silence();
    script.pass(s(1));
    let opaque = pinged(&mut script);
    script.pass(s(10));
    script.send(&ping(true, opaque));
    script.pass(s(10));
    script.expect_silence();
    script.pass(s(7_190));
    pinged(&mut script);
    script.pass(s(20));
    script.expect_failure(Reason::NO_ERROR);
    assert!(script.end.engine.send_headers(key, false, response).is_err());
}

#[test]
fn a_server_that_does_not_read_does_not_blame_the_client() {
    let config = Config { control_frames_max: 1, ..Config::default() };
    let mut script = kept_up(Script::server(config), |u| {
        u.keepalive = Some(Keepalive { without_calls: true, ..KEEPALIVE });
    });
    script.pass(s(10));
    pinged(&mut script);
    // An answer of ours waits: nothing more is read until it has left.
    script.feed(&ping(false, *b"????????"));
    assert_eq!(script.end.engine.read_budget(), 0);
    script.now += s(100);
    script.end.engine.handle_timeout(script.now).expect("it cannot know");
    script.transmit();
    script.take_replies();
    assert!(script.end.engine.read_budget() > 0);
    script.pass(s(10));
    pinged(&mut script);
}

#[test]
fn too_many_pings_end_the_connection() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.ping_policy = Some(POLICY));
    script.request(1, false);
    for _ in 0..3 {
        script.send(&ping(false, *b"eager...")).pass(s(299));
        assert_eq!(script.take_replies().len(), 1);
    }
    script.send(&ping(false, *b"eager..."));
    let last = script.replies.last().cloned().expect("a GOAWAY");
    assert_eq!(goaway_of(&last), (1, Reason::ENHANCE_YOUR_CALM, &b"too_many_pings"[..]));
    script.expect_failure(Reason::ENHANCE_YOUR_CALM);
}

#[test]
fn pings_between_answers_are_welcome() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.ping_policy = Some(POLICY));
    // As those do that measure the path: a PING for each answer.
    for stream in (1..200).step_by(2) {
        let key = script.request(stream, true);
        script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
        script.transmit();
        script.send(&ping(false, *b"measure!"));
        assert_eq!(script.error, None, "stream {stream}");
    }
    // And where an answer goes on for long.
    let key = script.request(201, true);
    script.end.engine.send_headers(key, false, response).expect("open");
    for piece in 0..50 {
        script.end.engine.send_data(key, b"x", false).expect("open");
        script.transmit();
        script.send(&ping(false, *b"measure!"));
        assert_eq!(script.error, None, "piece {piece}");
    }
    // SETTINGS and PINGs of ours are no answers.
    for _ in 0..3 {
        script.end.engine.ping(*b"ours....");
        script.send(&ping(false, *b"eager..."));
    }
    script.take_replies();
    assert_eq!(script.error.map(|error| error.reason), Some(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn acknowledgements_are_no_pings_and_clients_judge_nobody() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.ping_policy = Some(POLICY));
    for _ in 0..20 {
        script.send(&ping(true, *b"whatever"));
    }
    script.expect_silence();
    let mut script = kept_up(Script::client(Config::default()), |u| u.ping_policy = Some(POLICY));
    for _ in 0..20 {
        script.send(&ping(false, *b"whatever"));
    }
    assert_eq!((script.take_replies().len(), script.error), (20, None));
}

/// An eager client of ours and a strict server of ours: what the one may do the other permits.
#[test]
fn keepalive_at_the_permitted_pace_is_permitted() {
    for (without_calls, calls) in [(true, false), (false, true), (true, true)] {
        let mut duo = Duo::new(Config::default(), Config::default());
        let keepalive = Keepalive { time: s(300), without_calls, ..KEEPALIVE };
        let upkeep = Upkeep { keepalive: Some(keepalive), ..Upkeep::default() };
        duo.client.engine.keep_up_with(Arc::new(upkeep), 0.5, duo.now);
        let policy = PingPolicy { without_calls, ..POLICY };
        let upkeep = Upkeep { ping_policy: Some(policy), ..Upkeep::default() };
        duo.server.engine.keep_up_with(Arc::new(upkeep), 0.5, duo.now);
        duo.pump();
        if calls {
            duo.client.engine.open(false, request).expect("may open");
        }
        for minute in 0..600 {
            duo.now += s(60);
            duo.client.engine.handle_timeout(duo.now).expect("the server is there");
            duo.pump();
            assert!(!duo.client.engine.is_going_away(), "minute {minute}");
        }
    }
}

#[test]
fn an_old_connection_drains_and_its_calls_go_on() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.age_max = Some(s(100)));
    let key = script.request(1, true);
    script.pass(s(99));
    script.expect_silence();
    script.pass(s(1));
    let replies = script.take_replies();
    assert_eq!(goaway_of(&replies[0]), (LAST_POSSIBLE, Reason::NO_ERROR, &b"max_age"[..]));
    assert_eq!((replies.len(), replies[1].kind), (2, Kind::PING));
    let late = script.request(3, true);
    script.send(&ping(true, replies[1].payload[..].try_into().expect("8 bytes")));
    let replies = script.take_replies();
    assert_eq!(goaway_of(&replies[0]), (3, Reason::NO_ERROR, &b"max_age"[..]));
    script.pass(s(1_000_000));
    for key in [key, late] {
        assert!(!script.end.engine.is_finished());
        script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
    }
    assert!(script.end.engine.is_finished());
}

#[test]
fn after_the_grace_calls_are_cut() {
    let mut script = kept_up(Script::server(Config::default()), |u| {
        (u.age_max, u.age_grace) = (Some(s(100)), Some(s(10)));
    });
    let key = script.request(1, true);
    script.pass(s(100));
    script.pass(s(9));
    assert_eq!((script.error, script.end.engine.is_finished()), (None, false));
    script.end.engine.send_headers(key, false, response).expect("goes on");
    script.pass(s(1));
    let last = script.replies.last().cloned().expect("a GOAWAY");
    assert_eq!(goaway_of(&last), (1, Reason::NO_ERROR, &b"max_age"[..]));
    script.expect_failure(Reason::NO_ERROR);
    assert!(script.end.engine.send_data(key, b"x", true).is_err());
}

#[test]
fn ages_are_spread_by_a_tenth() {
    for (random, seconds) in [(0.0, 90), (0.25, 95), (0.999_999_999, 110)] {
        let mut script = Script::server(Config::default());
        let upkeep = Upkeep { age_max: Some(s(100)), ..Upkeep::default() };
        script.end.engine.keep_up_with(Arc::new(upkeep), random, script.now);
        script.pass(s(seconds) - Duration::from_millis(1));
        script.expect_silence();
        script.pass(Duration::from_millis(2));
        assert_eq!(script.take_replies().len(), 2);
    }
}

#[test]
fn an_idle_connection_drains_and_calls_keep_it() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.idle_max = Some(s(60)));
    // Calls that are over before anything is sent.
    for stream in [1, 3, 5] {
        script.pass(s(50));
        let bytes = script.request_bytes(stream, true);
        script.feed(&bytes);
        let Some(super::owned::Owned::Headers { key, .. }) = script.end.events.pop() else {
            panic!("no request");
        };
        script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
        script.transmit();
        script.take_replies();
    }
    // One that lasts; PINGs are no calls.
    let key = script.request(7, true);
    for _ in 0..10 {
        script.pass(s(60));
    }
    script.expect_silence();
    script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
    script.transmit();
    script.take_replies();
    script.pass(s(59));
    script.send(&ping(false, *b"hallo..."));
    assert_eq!(script.take_replies().len(), 1);
    script.pass(s(1));
    let replies = script.take_replies();
    assert_eq!(goaway_of(&replies[0]), (LAST_POSSIBLE, Reason::NO_ERROR, &b"max_idle"[..]));
    script.send(&ping(true, replies[1].payload[..].try_into().expect("8 bytes")));
    let replies = script.take_replies();
    assert_eq!(goaway_of(&replies[0]), (7, Reason::NO_ERROR, &b"max_idle"[..]));
    assert!(script.end.engine.is_finished());
}

/// A call that the client begins while the GOAWAY is on its way is answered.
#[test]
fn a_call_that_crosses_the_farewell_is_answered() {
    let mut script = kept_up(Script::server(Config::default()), |u| u.idle_max = Some(s(60)));
    script.pass(s(60));
    let replies = script.take_replies();
    let key = script.request(1, true);
    script.send(&ping(true, replies[1].payload[..].try_into().expect("8 bytes")));
    assert!(!script.end.engine.is_finished());
    script.end.engine.respond_unary(key, response, b"x", trailers).expect("open");
    assert!(script.end.engine.is_finished());
    // What comes after the last GOAWAY is not.
    script.take_replies();
    let bytes = script.headers(3, flags::END_HEADERS | flags::END_STREAM, super::script::REQUEST);
    script.send(&bytes);
    assert!(script.take_events().is_empty());
}
