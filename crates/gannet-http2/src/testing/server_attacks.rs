//! What hostile servers do to a client. A client enforces what a server does.

use super::owned::Owned;
use super::script::{RESPONSE, Script, rst_stream};
use crate::frame::{Kind, flags};
use crate::{Client, Config, Reason};

fn client() -> Script<Client> {
    Script::client(Config::default())
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

/// A server may send as many interim responses as it likes: they are not kept.
#[test]
fn interim_responses_without_end() {
    let mut script = client();
    script.open(true);
    for _ in 0..10_000 {
        let bytes = script.headers(1, flags::END_HEADERS, &[(":status", "103")]);
        script.send(&bytes);
        script.end.events.clear();
    }
    let head = script.headers(1, flags::END_HEADERS | flags::END_STREAM, RESPONSE);
    script.send(&head);
    script.expect_silence();
    assert!(matches!(script.take_events()[..], [Owned::Headers { .. }]));
}
