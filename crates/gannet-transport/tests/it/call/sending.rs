//! What the application sends.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use gannet_core::codec::{Codec, DecodeError, EncodeError, Raw};
use gannet_core::{Code, MessageCodec, Metadata};
use gannet_transport::{
    Asks, Attended, CallShared, Framed, Outbound, SEND_QUEUE_BYTES_MAX, Spares,
};

use super::{MESSAGE_BYTES_MAX, call, framed, now, ready};

#[test]
fn a_sender_waits_while_too_much_is_in_flight() {
    let (queue, shared, _feed, _inbound) = call();
    let codec = MessageCodec::new::<Raw>();
    shared.set_send_bytes_max(MESSAGE_BYTES_MAX);
    let mut outbound = Outbound::<Vec<u8>>::new(Arc::clone(&shared), codec);
    let mut queued = 0;
    while now(outbound.send(vec![0; 9_995])).is_ready() {
        queued += 10_000;
    }
    assert!((SEND_QUEUE_BYTES_MAX..SEND_QUEUE_BYTES_MAX + 10_000).contains(&queued), "{queued}");
    shared.set_sent_bytes(10_000, 60_000);
    ready(outbound.send(vec![0; 9_995])).unwrap();
    assert!(now(outbound.send(vec![0; 9_995])).is_pending());
    shared.end(Code::DeadlineExceeded);
    assert_eq!(ready(outbound.send(vec![])).unwrap_err().code(), Code::DeadlineExceeded);
    drop(queue);
}

#[test]
fn a_message_over_the_send_limit_is_refused_and_the_call_goes_on() {
    let (queue, shared, _feed, _inbound) = call();
    let codec = MessageCodec::new::<Raw>();
    shared.set_send_bytes_max(10);
    let mut outbound = Outbound::<Vec<u8>>::new(Arc::clone(&shared), codec);
    assert_eq!(ready(outbound.send(vec![0; 11])).unwrap_err().code(), Code::ResourceExhausted);
    ready(outbound.send(vec![0; 10])).unwrap();
    outbound.finish();
    assert_eq!(queue.pushes(), 1);
    assert_eq!(shared.take_asks(), Asks::OUTBOX.and(Asks::FINISH));
    assert_eq!(shared.take_outbox(None).unwrap().0.len(), 15);
}

#[test]
fn a_sender_is_woken_when_little_is_left() {
    let (_queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    ready(outbound.send(vec![0; SEND_QUEUE_BYTES_MAX])).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut sending = pin!(outbound.send(vec![0; 10]));
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    shared.set_sent_bytes(10_000, SEND_QUEUE_BYTES_MAX - 10_000);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "there is plenty to send");
    shared.set_sent_bytes(SEND_QUEUE_BYTES_MAX - 10_000, 10_000);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(sending.poll(&mut cx).is_ready());
}

#[test]
fn messages_of_one_wake_are_handed_over_together_and_storage_comes_back() {
    let (queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    let mut places = Vec::new();
    let mut emptied: Option<Box<Framed>> = None;
    for _ in 0..6 {
        for _ in 0..10 {
            ready(outbound.send(vec![7; 15])).unwrap();
        }
        assert_eq!(queue.pushes(), 1, "told once");
        assert_eq!(shared.take_asks(), Asks::OUTBOX);
        let mut messages = shared.take_outbox(emptied.take()).unwrap();
        assert_eq!(messages.0, framed(&[7; 15]).repeat(10));
        places.push(messages.0.as_ptr());
        messages.clear();
        emptied = Some(messages);
    }
    places.sort_unstable();
    places.dedup();
    assert!(places.len() <= 2, "storage in turn, and no more of it");
}

#[test]
fn a_sender_asks_again_where_the_connection_looked_meanwhile() {
    let (queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    ready(outbound.send(vec![1; 10])).unwrap();
    assert_eq!((queue.pushes(), shared.take_asks()), (1, Asks::OUTBOX));
    let codec = MessageCodec::new::<LooksMeanwhile>();
    shared.set_send_bytes_max(MESSAGE_BYTES_MAX);
    let mut looks = Outbound::<Looks>::new(Arc::clone(&shared), codec);
    // While this is written, the connection looks, and finds nothing.
    ready(looks.send(Looks(Arc::clone(&shared)))).unwrap();
    assert_eq!((queue.pushes(), shared.take_asks()), (1, Asks::OUTBOX));
    let both = [framed(&[1; 10]), framed(&[2; 3])].concat();
    assert_eq!(shared.take_outbox(None).unwrap().0, both);
}

#[test]
fn a_message_that_cannot_be_encoded_leaves_the_others() {
    let (_queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    let mut fails = Outbound::<u8>::new(Arc::clone(&shared), MessageCodec::new::<Panics>());
    for attended in [false, true] {
        let attended = attended.then(|| shared.attend());
        ready(outbound.send(vec![1; 10])).unwrap();
        let failed = catch_unwind(AssertUnwindSafe(|| ready(fails.send(1))));
        assert!(failed.is_err());
        ready(outbound.send(vec![2; 10])).unwrap();
        let both = [framed(&[1; 10]), framed(&[2; 10])].concat();
        match attended {
            Some(attended) => {
                assert_eq!(shared.heed(attended, &mut Spares::default()), (Asks::NONE, both));
            }
            None => {
                assert_eq!(shared.take_asks(), Asks::OUTBOX);
                assert_eq!(shared.take_outbox(None).unwrap().0, both);
            }
        }
    }
}

#[test]
fn messages_stay_in_order_whichever_thread_sends_them() {
    let (queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    let elsewhere = |mut outbound: Outbound<Vec<u8>>, n: u8| {
        let send = move || {
            ready(outbound.send(vec![n])).unwrap();
            outbound
        };
        std::thread::spawn(send).join().unwrap()
    };
    outbound = elsewhere(outbound, 1);
    assert_eq!((queue.pushes(), shared.take_asks()), (1, Asks::OUTBOX));
    let attended = shared.attend();
    ready(outbound.send(vec![2])).unwrap();
    outbound = elsewhere(outbound, 3);
    ready(outbound.send(vec![4])).unwrap();
    outbound = elsewhere(outbound, 5);
    let (asks, messages) = shared.heed(attended, &mut Spares::default());
    assert_eq!(messages, [[1], [2], [3], [4]].map(|message| framed(&message)).concat());
    assert_eq!(asks, Asks::OUTBOX, "one more was sent elsewhere");
    assert_eq!(shared.take_outbox(None).unwrap().0, framed(&[5]));
    let attended = shared.attend();
    ready(outbound.send(vec![6])).unwrap();
    assert_eq!(shared.heed(attended, &mut Spares::default()).1, framed(&[6]));
    assert_eq!(queue.pushes(), 0);
}

#[test]
fn a_call_within_the_poll_of_another_has_messages_of_its_own() {
    let (_queue, outer, _feed, _inbound) = call();
    let (inner_queue, inner, _feed, _inbound) = call();
    let (mut to_outer, mut to_inner) = (raw_outbound(&outer), raw_outbound(&inner));
    let in_outer = outer.attend();
    ready(to_outer.send(vec![1])).unwrap();
    ready(to_inner.send(vec![2])).unwrap();
    assert_eq!((inner_queue.pushes(), inner.take_asks()), (1, Asks::OUTBOX), "not on the desk");
    let in_inner = inner.attend();
    ready(to_inner.send(vec![3])).unwrap();
    let (_, messages) = inner.heed(in_inner, &mut Spares::default());
    assert_eq!(messages, [framed(&[2]), framed(&[3])].concat());
    Attended::give(messages);
    ready(to_outer.send(vec![4])).unwrap();
    let (_, messages) = outer.heed(in_outer, &mut Spares::default());
    assert_eq!(messages, [framed(&[1]), framed(&[4])].concat());
}

#[test]
fn a_message_that_is_dropped_unpolled_is_not_sent() {
    let (_queue, shared, _feed, _inbound) = call();
    let mut outbound = raw_outbound(&shared);
    let attended = shared.attend();
    drop(outbound.send(vec![1]));
    ready(outbound.send(vec![2])).unwrap();
    assert_eq!(shared.heed(attended, &mut Spares::default()).1, framed(&[2]));
}

#[test]
fn headers_are_fixed_by_the_first_message() {
    let (_queue, shared, _feed, _inbound) = call();
    let mut headers = Metadata::new();
    headers.insert("x-first", "1").unwrap();
    shared.publish_headers(headers.clone());
    let mut outbound = raw_outbound(&shared);
    ready(outbound.send(vec![1; 10])).unwrap();
    headers.insert("x-late", "1").unwrap();
    shared.publish_headers(headers);
    let published = shared.take_headers().unwrap();
    assert!(published.get("x-first").is_some() && published.get("x-late").is_none());
    assert!(shared.take_headers().is_none());
}

/// Counts its wakes.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A codec that panics after it has written something.
struct Panics;

impl Codec<u8> for Panics {
    fn encode(message: &u8, _: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(*message);
        panic!("as it must");
    }

    fn decode(_: &[u8]) -> Result<u8, DecodeError> {
        Ok(0)
    }
}

/// Looks into a call's outbox while it is encoded.
struct Looks(Arc<CallShared>);

struct LooksMeanwhile;

impl Codec<Looks> for LooksMeanwhile {
    fn encode(message: &Looks, _: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        assert!(message.0.take_outbox(None).is_none());
        out.extend_from_slice(&[2; 3]);
        Ok(())
    }

    fn decode(_: &[u8]) -> Result<Looks, DecodeError> {
        unreachable!("nothing is received")
    }
}

fn raw_outbound(shared: &Arc<CallShared>) -> Outbound<Vec<u8>> {
    shared.set_send_bytes_max(MESSAGE_BYTES_MAX);
    Outbound::new(Arc::clone(shared), MessageCodec::new::<Raw>())
}
