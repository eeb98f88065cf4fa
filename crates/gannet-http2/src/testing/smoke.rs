//! One feature at a time, over a perfect link.

use bytes::Bytes;

use super::duo::{Duo, request, response, trailers};
use super::owned::Owned;
use crate::{Config, OpenError, Reason};

fn duo() -> Duo {
    Duo::new(Config::default(), Config::default())
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).expect("small")).collect()
}

#[test]
fn a_unary_call() {
    let mut duo = duo();
    let (call, served) = duo.open(false);
    duo.client.engine.send_data(call, b"question", true).expect("open");
    duo.pump();
    assert_eq!(duo.server.body(served), (b"question".to_vec(), true));
    duo.server.engine.respond_unary(served, response, b"answer", trailers).expect("open");
    assert_eq!(duo.server.engine.open_streams(), 0);
    duo.pump();
    let events = duo.client.take_events();
    assert!(
        matches!(&events[..], [
            Owned::Headers { fields, end_stream: false, .. },
            Owned::Data { payload, end_stream: false, .. },
            Owned::Trailers { fields: trailers, .. },
        ] if fields[0] == (":status".into(), "200".into())
            && payload == b"answer"
            && trailers[0] == ("grpc-status".into(), "0".into())),
        "{events:?}"
    );
    assert_eq!(duo.client.engine.open_streams(), 1, "counts until it is forgotten");
    duo.client.engine.forget(call);
    assert_eq!(duo.client.engine.open_streams(), 0);
    duo.pump();
    assert!(duo.server.take_events().iter().all(|e| !matches!(e, Owned::Reset { .. })));
}

#[test]
fn streaming_both_ways() {
    let mut duo = duo();
    let (call, served) = duo.open(false);
    duo.server.engine.send_headers(served, false, response).expect("open");
    for i in 0..50 {
        duo.client.engine.send_data(call, &bytes(i), false).expect("open");
        duo.server.engine.send_data_shared(served, bytes(i * 100).into(), false).expect("open");
        duo.pump();
    }
    duo.client.engine.send_data(call, b"", true).expect("open");
    duo.server.engine.send_trailers(served, trailers).expect("open");
    duo.pump();
    let up: Vec<u8> = (0..50).flat_map(bytes).collect();
    let down: Vec<u8> = (0..50).flat_map(|i| bytes(i * 100)).collect();
    assert_eq!(duo.server.body(served), (up, true));
    assert_eq!(duo.client.body(call), (down, true));
    duo.client.engine.forget(call);
    duo.server.engine.forget(served);
    assert_eq!(duo.client.engine.open_streams() + duo.server.engine.open_streams(), 0);
}

#[test]
fn ten_mebibytes_through_the_windows() {
    for (shared, window) in [(true, 1 << 20), (false, 1 << 20), (true, 65_535), (false, 30_000)] {
        let config = Config {
            stream_window_bytes: window,
            connection_window_bytes: window,
            ..Config::default()
        };
        let mut duo = Duo::new(config.clone(), config);
        let (call, served) = duo.open(false);
        let payload = bytes(10 << 20);
        duo.server.engine.send_headers(served, false, response).expect("open");
        if shared {
            let payload = Bytes::from(payload.clone());
            duo.client.engine.send_data_shared(call, payload.clone(), true).expect("open");
            duo.server.engine.send_data_shared(served, payload, false).expect("open");
        } else {
            duo.client.engine.send_data(call, &payload, true).expect("open");
            duo.server.engine.send_data(served, &payload, false).expect("open");
        }
        duo.server.engine.send_trailers(served, trailers).expect("open");
        assert_eq!(duo.client.engine.queued_bytes(call), Some(10 << 20));
        duo.pump();
        assert!(duo.server.body(served) == (payload.clone(), true), "{shared} {window}");
        assert!(duo.client.body(call) == (payload, true), "{shared} {window}");
        assert_eq!(duo.client.engine.poll_drained(), Some(call));
        assert_eq!(duo.client.engine.poll_drained(), None);
        assert_eq!(duo.server.engine.poll_drained(), Some(served));
    }
}

#[test]
fn resets_from_both_sides() {
    let mut duo = duo();
    let (call, served) = duo.open(false);
    duo.client.engine.reset(call, Reason::CANCEL);
    duo.pump();
    let cancelled =
        Owned::Reset { key: served, reason: Reason::CANCEL, remote: true, unprocessed: false };
    assert_eq!(duo.server.events.last(), Some(&cancelled));
    assert!(duo.server.engine.send_headers(served, false, response).is_err());
    duo.server.engine.forget(served);
    duo.client.engine.forget(call);

    let (call, served) = duo.open(false);
    duo.server.engine.reset(served, Reason::REFUSED_STREAM);
    duo.server.engine.forget(served);
    duo.client.engine.send_data(call, b"late", false).expect("not known yet");
    duo.pump();
    let refused =
        Owned::Reset { key: call, reason: Reason::REFUSED_STREAM, remote: true, unprocessed: true };
    assert_eq!(duo.client.events.last(), Some(&refused));
    duo.client.engine.forget(call);
    assert_eq!(duo.client.engine.open_streams() + duo.server.engine.open_streams(), 0);
}

#[test]
fn an_early_response_stops_the_client() {
    let mut duo = duo();
    let (call, served) = duo.open(false);
    duo.server.engine.respond_unary(served, response, b"no", trailers).expect("open");
    assert_eq!(duo.server.engine.open_streams(), 0);
    duo.client.engine.send_data(call, &bytes(100), false).expect("not known yet");
    duo.pump();
    let events = duo.client.take_events();
    assert!(
        matches!(
            &events[..],
            [
                Owned::Headers { .. },
                Owned::Data { .. },
                Owned::Trailers { .. },
                Owned::Reset { reason: Reason::NO_ERROR, remote: true, .. },
            ]
        ),
        "{events:?}"
    );
    assert!(duo.client.engine.send_data(call, b"more", false).is_err());
}

#[test]
fn pings_are_answered() {
    let mut duo = duo();
    duo.client.engine.ping(*b"12345678");
    duo.pump();
    assert_eq!(duo.server.take_events(), [Owned::Ping(*b"12345678")]);
    assert_eq!(duo.client.take_events(), [Owned::PingAck(*b"12345678")]);
}

#[test]
fn a_drain_lets_open_streams_finish() {
    let mut duo = duo();
    let (call, served) = duo.open(true);
    duo.server.engine.drain(duo.now);
    assert!(!duo.server.engine.is_finished());
    duo.pump();
    let goaways: Vec<u32> = duo
        .client
        .events
        .iter()
        .filter_map(|event| match event {
            Owned::GoAway { last_stream_id, reason: Reason::NO_ERROR, .. } => Some(*last_stream_id),
            _ => None,
        })
        .collect();
    assert_eq!(goaways, [(1 << 31) - 1, 1]);
    assert_eq!(duo.client.engine.open(true, request), Err(OpenError::GoingAway));
    assert!(!duo.server.engine.is_finished() && !duo.client.engine.is_finished());
    duo.server.engine.respond_unary(served, response, b"last", trailers).expect("open");
    assert!(duo.server.engine.is_finished());
    duo.pump();
    assert_eq!(duo.client.body(call), (b"last".to_vec(), true));
    duo.client.engine.forget(call);
    assert!(duo.client.engine.is_finished());
}

#[test]
fn a_goaway_passes_streams_over() {
    let mut duo = duo();
    let (first, _) = duo.open(true);
    duo.client.take_events();
    let second = duo.client.engine.open(false, request).expect("not known yet");
    duo.client.engine.send_data(second, &bytes(50_000), true).expect("open");
    duo.server.engine.goaway(Reason::ENHANCE_YOUR_CALM, b"too_many_pings");
    duo.pump();
    let events = duo.client.take_events();
    let goaway = Owned::GoAway {
        last_stream_id: 1,
        reason: Reason::ENHANCE_YOUR_CALM,
        debug: b"too_many_pings".to_vec(),
    };
    let passed_over = Owned::Reset {
        key: second,
        reason: Reason::REFUSED_STREAM,
        remote: true,
        unprocessed: true,
    };
    assert_eq!(events, [goaway, passed_over]);
    assert_eq!(duo.server.engine.open_streams(), 1);
    assert_eq!(duo.client.engine.queued_bytes(first), Some(0));
}

#[test]
fn interim_responses() {
    let mut duo = duo();
    let (call, served) = duo.open(true);
    let early_hints = |w: &mut crate::FieldWriter<'_>| {
        w.field(b":status", b"103");
        w.field(b"link", b"</x>");
    };
    duo.server.engine.send_informational(served, early_hints).expect("no head yet");
    duo.server.engine.respond_unary(served, response, b"", trailers).expect("open");
    duo.pump();
    assert_eq!(duo.client.events[0], Owned::Informational { key: call, status: 103 });
    assert!(matches!(duo.client.events[1], Owned::Headers { .. }));
    assert!(matches!(duo.client.events[2], Owned::Trailers { .. }));
}

#[test]
fn large_header_lists_are_continued() {
    let mut server = Config::default();
    server.header_limits.header_list_bytes_max = 100_000;
    let mut duo = Duo::new(Config::default(), server);
    // Two bits more than a byte when Huffman-coded, so it goes as it is: four frames.
    let value = vec![b'~'; 60_000];
    let big_request = |w: &mut crate::FieldWriter<'_>| {
        request(w);
        w.field(b"big", &value);
    };
    duo.client.engine.open(true, big_request).expect("may open");
    let bytes = duo.client.transmit(duo.now);
    assert!(bytes.len() > 60_000 + 4 * 9);
    duo.server.recv.extend_from_slice(&bytes);
    duo.server.read(duo.now).expect("a correct client");
    assert!(matches!(&duo.server.events[..], [Owned::Headers { fields, end_stream: true, .. }]
            if fields.last().is_some_and(|(_, v)| v.len() == 60_000)));
}

/// Each round of `pump` is a round trip, in which all of the window arrives: it is the limit.
#[test]
fn windows_grow_where_they_are_the_limit() {
    for window in [65_535, 1 << 20] {
        let config = Config {
            stream_window_bytes: window,
            connection_window_bytes: window,
            window_bytes_max: 2 << 20,
            send_buffer_bytes_max: 4 << 20,
            ..Config::default()
        };
        let mut duo = Duo::new(config.clone(), config);
        let (call, served) = duo.open(false);
        duo.client.engine.send_data_shared(call, vec![1; 30 << 20].into(), true).expect("open");
        duo.pump();
        assert_eq!(duo.server.body(served).0.len(), 30 << 20);
        let probe = duo.server.engine.probe();
        assert_eq!((probe.recv_target, probe.stream_window_bytes), (2 << 20, 2 << 20));
        assert_eq!(duo.client.engine.peer_settings().stream_window_bytes, 2 << 20);
    }
}

/// A message of a tenth of the window in each round trip: it is not.
#[test]
fn windows_stay_where_they_are_not_the_limit() {
    let mut duo = duo();
    let (call, _) = duo.open(false);
    for _ in 0..200 {
        duo.client.engine.send_data(call, &bytes(100_000), false).expect("open");
        duo.pump();
    }
    let probe = duo.server.engine.probe();
    assert_eq!((probe.recv_target, probe.stream_window_bytes), (1 << 20, 1 << 20));
}
