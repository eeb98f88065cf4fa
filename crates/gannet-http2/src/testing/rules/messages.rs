//! RFC 9113 section 8: requests, responses and trailers that are not well-formed.

use super::super::owned::Owned;
use super::super::script::{REQUEST, RESPONSE, Script, data};
use super::{answer, told_reset};
use crate::frame::flags;
use crate::{Config, Reason};

type Fields = [(&'static str, &'static str)];
type Chunks = [(&'static [u8], bool)];

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const HEAD: u8 = flags::END_HEADERS;
const LAST: u8 = flags::END_HEADERS | flags::END_STREAM;

/// Each request is refused, and the next one is served.
#[test]
fn malformed_requests() {
    let [method, scheme, path, te] = [REQUEST[0], REQUEST[1], REQUEST[2], REQUEST[3]];
    let cases: &[(&str, &Fields)] = &[
        ("upper case", &[method, scheme, path, ("X-Test", "ok")]),
        ("a name with a space", &[method, scheme, path, ("x test", "ok")]),
        ("a name with a colon", &[method, scheme, path, ("x:test", "ok")]),
        ("an empty name", &[method, scheme, path, ("", "ok")]),
        ("a value with a line feed", &[method, scheme, path, ("x", "a\nb")]),
        ("a value with a carriage return", &[method, scheme, path, ("x", "a\rb")]),
        ("a value with a NUL", &[method, scheme, path, ("x", "a\0b")]),
        ("a value that starts with a space", &[method, scheme, path, ("x", " a")]),
        ("a value that ends with a tab", &[method, scheme, path, ("x", "a\t")]),
        ("an unknown pseudo-header", &[method, scheme, path, (":test", "ok")]),
        ("a response's pseudo-header", &[method, scheme, path, (":status", "200")]),
        ("a pseudo-header behind a field", &[method, scheme, te, path]),
        ("connection", &[method, scheme, path, ("connection", "keep-alive")]),
        ("keep-alive", &[method, scheme, path, ("keep-alive", "1")]),
        ("proxy-connection", &[method, scheme, path, ("proxy-connection", "close")]),
        ("transfer-encoding", &[method, scheme, path, ("transfer-encoding", "chunked")]),
        ("upgrade", &[method, scheme, path, ("upgrade", "h2c")]),
        ("te", &[method, scheme, path, ("te", "trailers, deflate")]),
        ("an empty path", &[method, scheme, (":path", "")]),
        ("a path that is none", &[method, scheme, (":path", "a/b")]),
        ("no method", &[scheme, path]),
        ("no scheme", &[method, path]),
        ("no path", &[method, scheme]),
        ("two methods", &[method, method, scheme, path]),
        ("two schemes", &[method, scheme, scheme, path]),
        ("two paths", &[method, scheme, path, path]),
        ("two authorities", &[method, scheme, path, (":authority", "a"), (":authority", "a")]),
        ("nothing", &[]),
        ("no pseudo-header", &[te]),
        ("user information", &[method, scheme, path, (":authority", "me@here")]),
        ("another host", &[method, scheme, path, (":authority", "a"), ("host", "b")]),
        ("CONNECT with a path", &[(":method", "CONNECT"), (":authority", "a"), path]),
        ("two lengths", &[method, scheme, path, ("content-length", "1"), ("content-length", "2")]),
        ("a length that is none", &[method, scheme, path, ("content-length", "0x10")]),
        ("a length below zero", &[method, scheme, path, ("content-length", "-1")]),
    ];
    for (name, fields) in cases {
        println!("{name}");
        let mut script = Script::server(Config::default());
        let bytes = script.headers(1, HEAD, fields);
        script.send(&bytes);
        script.expect_reset(1, PROTOCOL);
        assert!(script.take_events().is_empty(), "{name}: never told");
        assert_eq!(script.end.engine.open_streams(), 0);
        script.send(&data(1, b"in flight", true));
        script.expect_silence();
        let key = script.request(3, true);
        answer(&mut script, key, 3);
    }
}

#[test]
fn requests_at_the_edge_are_served() {
    let [method, scheme, path, _] = [REQUEST[0], REQUEST[1], REQUEST[2], REQUEST[3]];
    let cases: &[&Fields] = &[
        &[method, scheme, path, (":authority", "a"), ("host", "a")],
        &[path, scheme, method],
        &[method, scheme, path, ("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d")],
        &[method, scheme, path, ("content-length", "0"), ("content-length", "0")],
        &[method, scheme, path, ("x", ""), ("x", "\u{e9} in the middle")],
        &[(":method", "OPTIONS"), scheme, (":path", "*")],
    ];
    for fields in cases {
        let mut script = Script::server(Config::default());
        let bytes = script.headers(1, LAST, fields);
        script.send(&bytes);
        let events = script.take_events();
        let [Owned::Headers { key, fields: got, end_stream: true }] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(got.iter().map(|(n, v)| (&n[..], &v[..])).eq(fields.iter().copied()));
        answer(&mut script, *key, 1);
    }
}

/// A body's length and what content-length promised.
#[test]
fn content_length_is_kept() {
    let promised: &[(&str, &str)] = &[REQUEST[0], REQUEST[1], REQUEST[2], ("content-length", "5")];
    let cases: &[(&Chunks, bool)] = &[
        (&[(b"12345", true)], true),
        (&[(b"12", false), (b"345", false), (b"", true)], true),
        (&[(b"1234", true)], false),
        (&[(b"123456", false)], false),
        (&[(b"123", false), (b"456", true)], false),
        (&[(b"", true)], false),
    ];
    for (chunks, good) in cases {
        let mut script = Script::server(Config::default());
        let head = script.headers(1, HEAD, promised);
        script.send(&head);
        for (chunk, end) in *chunks {
            script.send(&data(1, chunk, *end));
        }
        if *good {
            script.expect_silence();
        } else {
            script.expect_reset(1, PROTOCOL);
            let last = script.take_events().pop();
            assert!(told_reset(&last.into_iter().collect::<Vec<_>>(), PROTOCOL));
        }
    }
    let mut script = Script::server(Config::default());
    let bytes = script.headers(1, LAST, promised);
    script.send(&bytes);
    script.expect_reset(1, PROTOCOL);
    let head = script.headers(3, HEAD, promised);
    let end = script.headers(3, LAST, &[("checksum", "1")]);
    script.send(&head).send(&data(3, b"1234", false)).send(&end);
    script.expect_reset(3, PROTOCOL);
}

#[test]
fn trailers_of_requests() {
    for (name, flags, fields, good) in [
        ("trailers", LAST, &[("checksum", "1")][..], true),
        ("no trailers", LAST, &[], true),
        ("without END_STREAM", HEAD, &[("checksum", "1")], false),
        ("a pseudo-header", LAST, &[(":path", "/")], false),
        ("a pseudo-header behind", LAST, &[("checksum", "1"), (":path", "/")], false),
        ("connection", LAST, &[("connection", "close")], false),
        ("upper case", LAST, &[("Checksum", "1")], false),
        ("a second request", LAST, REQUEST, false),
    ] {
        println!("{name}");
        let mut script = Script::server(Config::default());
        let key = script.request(1, false);
        script.send(&data(1, b"body", false));
        script.take_events();
        let bytes = script.headers(1, flags, fields);
        script.send(&bytes);
        if good {
            script.expect_silence();
            let events = script.take_events();
            assert!(matches!(&events[..], [Owned::Trailers { .. }]), "{events:?}");
            answer(&mut script, key, 1);
        } else {
            script.expect_reset(1, PROTOCOL);
            assert!(told_reset(&script.take_events(), PROTOCOL));
        }
    }
}

#[test]
fn malformed_responses() {
    let ok = RESPONSE[0];
    let cases: &[(&str, u8, &Fields)] = &[
        ("no status", HEAD, &[("content-type", "application/grpc")]),
        ("nothing", HEAD, &[]),
        ("two", HEAD, &[ok, ok]),
        ("too short", HEAD, &[(":status", "20")]),
        ("too long", HEAD, &[(":status", "2000")]),
        ("not a number", HEAD, &[(":status", "abc")]),
        ("a request's pseudo-header", HEAD, &[ok, (":path", "/")]),
        ("connection", HEAD, &[ok, ("connection", "close")]),
        ("upper case", HEAD, &[ok, ("X", "y")]),
        ("a pseudo-header behind", HEAD, &[("a", "b"), ok]),
        ("switching protocols", HEAD, &[(":status", "101")]),
        ("an interim response that ends", LAST, &[(":status", "100")]),
        ("a length that is none", HEAD, &[ok, ("content-length", "many")]),
    ];
    for (name, flags, fields) in cases {
        println!("{name}");
        let mut script = Script::client(Config::default());
        script.open(true);
        let bytes = script.headers(1, *flags, fields);
        script.send(&bytes);
        script.expect_reset(1, PROTOCOL);
        assert!(told_reset(&script.take_events(), PROTOCOL));
    }
}

#[test]
fn interim_and_final_responses() {
    let mut script = Script::client(Config::default());
    let key = script.open(true);
    for status in ["100", "103", "199"] {
        let bytes = script.headers(1, HEAD, &[(":status", status), ("link", "x")]);
        script.send(&bytes);
    }
    let head = script.headers(1, HEAD, RESPONSE);
    let end = script.headers(1, LAST, &[("grpc-status", "0")]);
    script.send(&head).send(&data(1, b"body", false)).send(&end);
    script.expect_silence();
    let events = script.take_events();
    let interim: Vec<u16> = events
        .iter()
        .filter_map(|event| match event {
            Owned::Informational { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(interim, [100, 103, 199]);
    assert!(matches!(
        &events[3..],
        [Owned::Headers { .. }, Owned::Data { .. }, Owned::Trailers { .. },]
    ));
    // An interim response behind the final one is none.
    script.end.engine.forget(key);
    script.open(true);
    let head = script.headers(3, HEAD, RESPONSE);
    let late = script.headers(3, HEAD, &[(":status", "100")]);
    script.send(&head).send(&late);
    script.expect_reset(3, PROTOCOL);
}

#[test]
fn a_response_that_is_only_trailers() {
    let mut script = Script::client(Config::default());
    script.open(true);
    let only = script.headers(1, LAST, &[(":status", "200"), ("grpc-status", "12")]);
    script.send(&only);
    script.expect_silence();
    let events = script.take_events();
    assert!(matches!(&events[..], [Owned::Headers { end_stream: true, .. }]), "{events:?}");
}

#[test]
fn lengths_of_responses() {
    let promised: &[(&str, &str)] = &[RESPONSE[0], ("content-length", "5")];
    for (chunk, end, good) in
        [(&b"12345"[..], true, true), (b"1234", true, false), (b"123456", false, false)]
    {
        let mut script = Script::client(Config::default());
        script.open(true);
        let head = script.headers(1, HEAD, promised);
        script.send(&head).send(&data(1, chunk, end));
        if good {
            script.expect_silence();
        } else {
            script.expect_reset(1, PROTOCOL);
        }
    }
}
