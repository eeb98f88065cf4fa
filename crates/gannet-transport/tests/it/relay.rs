//! Streams within the process, and those who look at messages and ends.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use gannet_core::codec::Raw;
use gannet_core::{Code, MessageCodec, Metadata, Status};
use gannet_transport::{Direction, Inbound, Outbound, Relay, RelayKind, Source};

type Bytes = Vec<u8>;

fn ends(relay: &Relay) -> (Outbound<Bytes>, Inbound<Bytes>) {
    let codec = MessageCodec::<Bytes>::new::<Raw>();
    let source = Source::new(Arc::clone(relay.shared()));
    (Outbound::new(Arc::clone(relay.shared()), codec), Inbound::new(source, codec))
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future>(future: F) -> F::Output {
    match now(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

fn is_ready(mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) -> bool {
    poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

const ALL: [RelayKind; 3] = [RelayKind::Server, RelayKind::Requests, RelayKind::Responses];

#[test]
fn messages_headers_and_the_end_go_through_in_order() {
    for kind in ALL {
        let relay = Relay::new(kind);
        let (mut tx, mut rx) = ends(&relay);
        assert!(now(rx.next()).is_pending());
        let mut headers = Metadata::new();
        headers.append("x-head", "h").unwrap();
        relay.headers(headers);
        ready(tx.send(b"one".to_vec())).unwrap();
        ready(tx.send(vec![7; 100_000])).unwrap();
        assert!(now(tx.send(b"three".to_vec())).is_pending(), "{kind:?} is bounded");
        assert_eq!(ready(rx.headers()).unwrap().get("x-head"), Some("h"));
        assert_eq!(ready(rx.next()).unwrap().unwrap(), b"one");
        assert_eq!(ready(rx.next()).unwrap().unwrap(), [7; 100_000]);
        ready(tx.send(b"three".to_vec())).unwrap();
        let mut trailers = Metadata::new();
        trailers.append("x-trail", "t").unwrap();
        relay.end(Ok(trailers));
        relay.end(Err(Status::internal("too late")));
        assert_eq!(ready(tx.send(b"four".to_vec())).unwrap_err().code(), Code::Cancelled);
        assert_eq!(ready(rx.next()).unwrap().unwrap(), b"three");
        assert_eq!(ready(rx.next()).unwrap(), None);
        assert_eq!(rx.trailers().unwrap().get("x-trail"), Some("t"), "{kind:?}");
    }
}

#[test]
fn who_drops_the_sender_cancels_only_requests() {
    for kind in ALL {
        let relay = Relay::new(kind);
        let (mut tx, mut rx) = ends(&relay);
        ready(tx.send(b"one".to_vec())).unwrap();
        assert!(!is_ready(|cx| relay.poll_cut(cx)));
        drop(tx);
        assert_eq!(is_ready(|cx| relay.poll_cut(cx)), kind == RelayKind::Requests, "{kind:?}");
        assert_eq!(ready(rx.next()).unwrap().unwrap(), b"one");
        match kind {
            RelayKind::Requests => {
                assert_eq!(ready(rx.next()).unwrap_err().code(), Code::Cancelled);
            }
            RelayKind::Server | RelayKind::Responses => assert!(now(rx.next()).is_pending()),
        }
    }
}

#[test]
fn a_sender_that_finishes_ends_what_is_not_ended_elsewhere() {
    for kind in ALL {
        let relay = Relay::new(kind);
        let (tx, mut rx) = ends(&relay);
        tx.finish();
        assert!(!is_ready(|cx| relay.poll_cut(cx)));
        match kind {
            RelayKind::Responses => assert!(now(rx.next()).is_pending()),
            RelayKind::Server | RelayKind::Requests => assert_eq!(ready(rx.next()).unwrap(), None),
        }
    }
}

#[test]
fn who_drops_the_reader_is_heard_of_and_cancels_but_on_a_server() {
    for kind in ALL {
        let relay = Relay::new(kind);
        let (mut tx, rx) = ends(&relay);
        assert!(!is_ready(|cx| relay.poll_unread(cx)));
        drop(rx);
        assert!(is_ready(|cx| relay.poll_unread(cx)));
        for _ in 0..10 {
            let sent = ready(tx.send(vec![0; 50_000])).map_err(|status| status.code());
            let want = if kind == RelayKind::Server { Ok(()) } else { Err(Code::Cancelled) };
            assert_eq!(sent, want, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn who_waits_is_woken() {
    for is_cut in [true, false] {
        let relay = Relay::new(RelayKind::Requests);
        let (tx, rx) = ends(&relay);
        let waits = relay.clone();
        let waiting = tokio::spawn(std::future::poll_fn(move |cx| match is_cut {
            true => waits.poll_cut(cx),
            false => waits.poll_unread(cx),
        }));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        if is_cut {
            drop(tx);
        } else {
            drop(rx);
        }
        waiting.await.unwrap();
    }
}

#[test]
fn a_held_sender_may_be_dropped() {
    let relay = Relay::new(RelayKind::Requests);
    let (tx, mut rx) = ends(&relay);
    relay.shared().hold_open();
    drop(tx);
    assert!(now(rx.next()).is_pending());
    relay.shared().finish();
    assert_eq!(ready(rx.next()).unwrap(), None);
}

#[test]
fn what_fails_a_call_is_read_at_its_end() {
    let relay = Relay::new(RelayKind::Requests);
    let (mut tx, mut rx) = ends(&relay);
    ready(tx.send(b"one".to_vec())).unwrap();
    relay.shared().fail(Status::data_loss("torn"));
    assert_eq!(ready(rx.next()).unwrap().unwrap(), b"one");
    for _ in 0..2 {
        assert_eq!(ready(rx.next()).unwrap_err().message(), "torn");
    }
}

#[test]
fn observers_see_headers_messages_and_the_end_once() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let add = |line: String| seen.lock().unwrap().push(line);
    let relay = Relay::new(RelayKind::Responses);
    let (mut tx, mut rx) = ends(&relay);
    let shared = relay.shared();
    for name in ["a", "b"] {
        let kept = Arc::clone(&seen);
        shared.observe_headers(Box::new(move |headers| {
            kept.lock().unwrap().push(format!("{name} head {}", headers.len()));
        }));
        let kept = Arc::clone(&seen);
        shared.observe(
            Direction::Inbound,
            Box::new(move |message| {
                kept.lock()
                    .unwrap()
                    .push(format!("{name} {} {:?}", message.number, message.payload));
                Ok(())
            }),
        );
        let kept = Arc::clone(&seen);
        shared.observe_end(Box::new(move |outcome| {
            kept.lock().unwrap().push(format!("{name} end {}", outcome.is_ok()));
        }));
    }
    relay.headers(Metadata::new());
    ready(tx.send(vec![1])).unwrap();
    ready(tx.send(vec![2])).unwrap();
    relay.end(Ok(Metadata::new()));
    // To wait for the first message shows the headers, and no message.
    ready(std::future::poll_fn(|cx| rx.source_mut().poll_first(cx))).unwrap();
    add("-".to_owned());
    assert_eq!(ready(rx.next()).unwrap().unwrap(), [1]);
    assert_eq!(ready(rx.next()).unwrap().unwrap(), [2]);
    assert_eq!(ready(rx.next()).unwrap(), None);
    assert_eq!(ready(rx.next()).unwrap(), None);
    drop(rx);
    let want = ["-", "a 0 [1]", "b 0 [1]", "a 1 [2]", "b 1 [2]", "a end true", "b end true"];
    let mut got = seen.lock().unwrap().clone();
    let heads: Vec<_> = got.extract_if(.., |line| line.contains("head")).collect();
    assert_eq!(heads, ["a head 0", "b head 0"]);
    assert_eq!(got, want);
}

#[test]
fn the_first_message_or_the_end_is_waited_for() {
    let first =
        |rx: &mut Inbound<Bytes>| now(std::future::poll_fn(|cx| rx.source_mut().poll_first(cx)));
    let relay = Relay::new(RelayKind::Responses);
    let (mut tx, mut rx) = ends(&relay);
    assert!(first(&mut rx).is_pending());
    let mut headers = Metadata::new();
    headers.append("x-head", "h").unwrap();
    relay.headers(headers);
    assert!(first(&mut rx).is_pending(), "headers are not enough");
    ready(tx.send(vec![1])).unwrap();
    assert!(matches!(first(&mut rx), Poll::Ready(Ok(()))));
    assert_eq!(ready(rx.headers()).unwrap().get("x-head"), Some("h"));
    relay.end(Err(Status::aborted("later")));
    assert_eq!(ready(rx.next()).unwrap().unwrap(), [1]);
    assert_eq!(ready(rx.next()).unwrap_err().code(), Code::Aborted);

    let relay = Relay::new(RelayKind::Responses);
    let (_tx, mut rx) = ends(&relay);
    relay.end(Err(Status::aborted("at once")));
    for _ in 0..2 {
        let Poll::Ready(Err(status)) = first(&mut rx) else { panic!("it has ended") };
        assert_eq!(status.message(), "at once");
    }
}
