//! What a correct peer never sends, rule by rule: RFC 9113 and the cases of the h2spec suite, at
//! the level of the engine and in both roles.
//!
//! | file | RFC 9113 |
//! | --- | --- |
//! | `start` | 3.4: preface and first SETTINGS |
//! | `frames` | 4 and 6: frame by frame |
//! | `states` | 5: streams and their states |
//! | `messages` | 8: requests, responses, trailers |
//! | `blocks` | 4.3, and RFC 7541: header blocks |

mod blocks;
mod frames;
mod messages;
mod start;
mod states;

use super::duo::{response, trailers};
use super::owned::Owned;
use super::script::{Frame, RESPONSE, Script, rst_stream};
use crate::frame::flags;
use crate::{Client, Config, Reason, Role, Server, StreamKey};

/// What the engine does about it.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Nothing is said.
    Silence,
    /// RST_STREAM, and the connection goes on.
    Reset(u32, Reason),
    /// GOAWAY, and the connection is over.
    Failure(Reason),
}

/// Where stream 1 stands.
#[derive(Clone, Copy, Debug)]
enum Given {
    /// It was never opened.
    Idle,
    /// Both sides may send.
    Open,
    /// The script ended its side.
    HalfClosed,
    /// The engine ended its side; the application waits for the script's.
    HalfClosedByUs,
    /// A server's application answered early and is done: END_STREAM and RST_STREAM went out.
    AnsweredEarly,
    /// Both sides ended, and the application has not noticed.
    Ended,
    /// Both sides ended, and the application is done.
    Closed,
    /// A server's GOAWAY passed it over.
    PassedOver,
    /// The script reset it.
    ResetByPeer,
    /// The engine reset it.
    ResetByUs,
}

type Attempt<R> = fn(&mut Script<R>) -> Vec<u8>;
type Case<R> = (&'static str, Given, Attempt<R>, Want);

fn check_server(cases: &[Case<Server>]) {
    for (name, given, bytes, want) in cases {
        for piece in PIECES {
            check(name, server(*given), (*bytes, piece), *want, |script| {
                let key = script.request(101, true);
                answer(script, key, 101);
            });
        }
    }
}

fn check_client(cases: &[Case<Client>]) {
    for (name, given, bytes, want) in cases {
        for piece in PIECES {
            check(name, client(*given), (*bytes, piece), *want, |script| {
                script.send(&super::script::ping(false, *b"stillup?"));
                assert_eq!(script.take_replies().len(), 1);
            });
        }
    }
}

/// Cases run with their bytes whole, and byte by byte.
const PIECES: [usize; 2] = [usize::MAX, 1];

/// Sends the bytes in pieces; then sees whether the connection lives.
fn check<R: Role>(
    name: &str,
    mut script: Script<R>,
    (bytes, piece): (Attempt<R>, usize),
    want: Want,
    still_works: fn(&mut Script<R>),
) {
    println!("{name}");
    for piece in bytes(&mut script).chunks(piece) {
        if script.error.is_none() {
            script.send(piece);
        }
    }
    match want {
        Want::Silence => script.expect_silence(),
        Want::Reset(stream, reason) => {
            assert_eq!(script.error, None, "{name}");
            assert_eq!(script.take_replies(), [Frame::rst_stream(stream, reason)], "{name}");
        }
        Want::Failure(reason) => return script.expect_failure(reason),
    }
    script.take_events();
    still_works(&mut script);
    assert_eq!(script.error, None, "{name}");
}

/// A server in front of stream 1.
fn server(given: Given) -> Script<Server> {
    let mut script = Script::server(Config::default());
    match given {
        Given::Idle => {}
        Given::Open => drop(script.request(1, false)),
        Given::HalfClosed => drop(script.request(1, true)),
        Given::HalfClosedByUs | Given::AnsweredEarly | Given::Ended => {
            let key = script.request(1, matches!(given, Given::Ended));
            script.end.engine.send_headers(key, true, response).expect("open");
            if matches!(given, Given::AnsweredEarly) {
                script.end.engine.forget(key);
            }
            script.transmit();
            let head = script.take_replies().remove(0);
            script.decode(&head);
        }
        Given::Closed => {
            let key = script.request(1, true);
            answer(&mut script, key, 1);
        }
        Given::PassedOver => unreachable!("a server passes over what it has not seen"),
        Given::ResetByPeer => {
            let key = script.request(1, false);
            script.send(&rst_stream(1, Reason::CANCEL));
            script.end.engine.forget(key);
        }
        Given::ResetByUs => {
            let key = script.request(1, false);
            script.end.engine.reset(key, Reason::CANCEL);
            script.end.engine.forget(key);
            script.transmit();
        }
    }
    script.take_events();
    script.take_replies();
    script
}

/// A client in front of stream 1.
fn client(given: Given) -> Script<Client> {
    let mut script = Script::client(Config::default());
    let head = script.headers(1, flags::END_HEADERS, RESPONSE);
    match given {
        Given::Idle => {}
        Given::Open => {
            script.open(false);
            script.send(&head);
        }
        Given::HalfClosedByUs => {
            script.open(true);
            script.send(&head);
        }
        Given::AnsweredEarly => unreachable!("a client does not answer"),
        Given::HalfClosed | Given::Ended | Given::Closed => {
            let key = script.open(!matches!(given, Given::HalfClosed));
            script.send(&head).send(&super::script::data(1, b"", true));
            if matches!(given, Given::Closed) {
                script.end.engine.forget(key);
            }
        }
        Given::PassedOver => {
            script.open(false);
            script.send(&super::script::goaway(0, Reason::NO_ERROR, b""));
        }
        Given::ResetByPeer => {
            let key = script.open(false);
            script.send(&rst_stream(1, Reason::CANCEL));
            script.end.engine.forget(key);
        }
        Given::ResetByUs => {
            let key = script.open(false);
            script.end.engine.forget(key);
            script.transmit();
        }
    }
    script.take_events();
    script.take_replies();
    assert_eq!(script.error, None);
    script
}

/// A whole unary answer comes out.
fn answer(script: &mut Script<Server>, key: StreamKey, stream: u32) {
    script.end.engine.respond_unary(key, response, b"reply", trailers).expect("open");
    script.transmit();
    let replies = script.take_replies();
    assert_eq!(replies.len(), 3, "{replies:?}");
    assert!(replies.iter().all(|frame| frame.stream == stream));
    let head = script.decode(&replies[0]);
    assert_eq!(head[0], (":status".into(), "200".into()));
    assert_eq!(replies[1].payload, b"reply");
    let end = script.decode(&replies[2]);
    assert_eq!(end, [("grpc-status".into(), "0".into())]);
}

/// The stream was reset by us for `reason`, and the application told.
fn told_reset(events: &[Owned], reason: Reason) -> bool {
    matches!(events, [Owned::Reset { reason: told, remote: false, .. }] if *told == reason)
}
