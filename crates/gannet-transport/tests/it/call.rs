//! Call state between a connection's task and an application's, without either.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use gannet_core::codec::{Codec, DecodeError, EncodeError, Raw};
use gannet_core::{Code, MessageCodec, Metadata, Status, frame};
use gannet_transport::{
    Asks, Attended, CallQueue, CallShared, Feed, Framed, Inbound, Outbound, SEND_QUEUE_BYTES_MAX,
    Spares, feed,
};

/// A queue that counts what is pushed.
#[derive(Default)]
struct Kept(AtomicUsize);

impl CallQueue for Kept {
    fn push_call(&self, _: &Arc<CallShared>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl Kept {
    /// How often it was pushed to since this was called last.
    fn pushes(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Half of the usual window.
const HELD_BYTES_MIN: usize = 512 << 10;

fn call() -> (Arc<Kept>, Arc<CallShared>, Feed, Inbound<Vec<u8>>) {
    let queue = Arc::new(Kept::default());
    let shared = CallShared::new(Arc::clone(&queue) as Arc<dyn CallQueue>, 7);
    let (feed, source) = feed(&shared, MESSAGE_BYTES_MAX);
    (queue, shared, feed, Inbound::new(source, MessageCodec::new::<Raw>()))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = frame::prefix(false, message.len(), usize::MAX).unwrap().to_vec();
    bytes.extend_from_slice(message);
    bytes
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

#[test]
fn messages_come_in_order_and_the_end_stays() {
    let (_queue, shared, mut feed, mut inbound) = call();
    assert!(now(inbound.next()).is_pending());
    let bytes: Vec<u8> = [&b"one"[..], b"", b"three"].iter().flat_map(|m| framed(m)).collect();
    for part in bytes.chunks(4) {
        feed.data(part, &shared, &mut Spares::default()).unwrap();
        feed.flush(&shared);
    }
    let mut trailers = Metadata::new();
    trailers.insert("x-end", "1").unwrap();
    feed.end(Ok(trailers), &shared).unwrap();
    assert_eq!(ready(inbound.next()).unwrap().unwrap(), b"one");
    assert_eq!(ready(inbound.next()).unwrap().unwrap(), b"");
    assert_eq!(ready(inbound.next()).unwrap().unwrap(), b"three");
    assert!(ready(inbound.next()).unwrap().is_none());
    assert!(ready(inbound.next()).unwrap().is_none());
}

#[test]
fn an_error_comes_after_the_messages_and_again() {
    let (_queue, shared, mut feed, mut inbound) = call();
    feed.data(&framed(b"one"), &shared, &mut Spares::default()).unwrap();
    feed.end(Err(Status::aborted("so it goes")), &shared).unwrap();
    assert_eq!(ready(inbound.next()).unwrap().unwrap(), b"one");
    for _ in 0..2 {
        assert_eq!(ready(inbound.next()).unwrap_err().code(), Code::Aborted);
    }
}

#[test]
fn a_torn_message_is_no_clean_end() {
    let (_queue, shared, mut feed, mut inbound) = call();
    feed.data(&framed(b"one")[..6], &shared, &mut Spares::default()).unwrap();
    assert!(feed.end(Ok(Metadata::new()), &shared).is_err());
    assert_eq!(ready(inbound.next()).unwrap_err().code(), Code::Internal);
}

#[test]
fn credit_flows_only_for_what_was_taken() {
    let (queue, shared, mut feed, mut inbound) = call();
    let message = framed(&[1; 9_995]);
    for _ in 0..10 {
        feed.data(&message, &shared, &mut Spares::default()).unwrap();
        feed.flush(&shared);
        assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 0, "nothing is taken yet");
    }
    let mut touches = 0;
    for taken in 1..=10 {
        ready(inbound.next()).unwrap().unwrap();
        assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 10_000, "message {taken}");
        touches += queue.pushes();
        shared.take_asks();
    }
    assert!((3..=6).contains(&touches), "told {touches} times, neither never nor always");
}

#[test]
fn an_incomplete_message_gets_credit_only_while_the_reader_waits_for_it() {
    let (queue, shared, mut feed, mut inbound) = call();
    let long = framed(&[2; 500_000]);
    feed.data(&long[..100_000], &shared, &mut Spares::default()).unwrap();
    assert_eq!(
        feed.credit(&shared, HELD_BYTES_MIN),
        100_000,
        "the reader has nothing else to wait for"
    );
    feed.data(&long[100_000..], &shared, &mut Spares::default()).unwrap();
    feed.flush(&shared);
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 0, "now it is complete, and not taken");
    feed.data(&long[..200_000], &shared, &mut Spares::default()).unwrap();
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 0, "the reader has another to take first");
    queue.pushes();
    shared.take_asks();
    assert_eq!(ready(inbound.next()).unwrap().unwrap().len(), 500_000);
    assert!(now(inbound.next()).is_pending());
    assert!(queue.pushes() >= 1, "it tells when it waits");
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), long.len() - 100_000 + 200_000);
}

#[test]
fn the_reader_of_a_small_window_tells_when_it_has_caught_up() {
    let (queue, shared, mut feed, mut inbound) = call();
    feed.data(&framed(&[3; 95]).repeat(20), &shared, &mut Spares::default()).unwrap();
    feed.flush(&shared);
    assert_eq!(feed.credit(&shared, 1_000), 0);
    for _ in 0..20 {
        ready(inbound.next()).unwrap().unwrap();
    }
    assert_eq!(queue.pushes(), 0, "2,000 bytes are little, as a rule");
    assert!(now(inbound.next()).is_pending());
    assert_eq!(queue.pushes(), 1, "half of a window is held back: it tells");
    assert_eq!(feed.credit(&shared, 1_000), 2_000);
}

#[test]
fn what_came_before_the_end_is_credited_as_it_is_taken() {
    let (_queue, shared, mut feed, mut inbound) = call();
    feed.data(&framed(&[4; 9_995]).repeat(2), &shared, &mut Spares::default()).unwrap();
    feed.end(Ok(Metadata::new()), &shared).unwrap();
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 0, "nothing is taken yet");
    ready(inbound.next()).unwrap().unwrap();
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 10_000);
    assert_eq!(feed.last_credit(), 10_000, "the rest, once nobody looks any more");
    assert_eq!(feed.last_credit(), 0);
}

#[test]
fn unread_tiny_messages_take_few_bytes_each() {
    let (_queue, shared, mut feed, mut inbound) = call();
    let count = 50_000_u32;
    for n in 0..count {
        feed.data(&framed(&n.to_be_bytes()), &shared, &mut Spares::default()).unwrap();
        feed.flush(&shared);
        feed.credit(&shared, HELD_BYTES_MIN);
    }
    for n in 0..count {
        // The connection looks when it is touched; here, always.
        assert_eq!(ready(inbound.next()).unwrap().unwrap(), n.to_be_bytes());
        feed.flush(&shared);
    }
    assert!(now(inbound.next()).is_pending());
}

#[test]
fn what_nobody_wants_is_given_back() {
    let (queue, shared, mut feed, inbound) = call();
    feed.data(&framed(&[1; 1_000]), &shared, &mut Spares::default()).unwrap();
    feed.flush(&shared);
    drop(inbound);
    assert_eq!((queue.pushes(), shared.take_asks()), (1, Asks::INBOUND_DROPPED));
    feed.reader_gone(&shared);
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 1_005);
    feed.data(&[9; 777], &shared, &mut Spares::default()).unwrap();
    assert_eq!(feed.credit(&shared, HELD_BYTES_MIN), 777);
}

#[test]
fn an_inbound_read_to_its_end_says_nothing_when_dropped() {
    let (queue, shared, mut feed, mut inbound) = call();
    feed.end(Ok(Metadata::new()), &shared).unwrap();
    assert!(ready(inbound.next()).unwrap().is_none());
    drop(inbound);
    assert_eq!(queue.pushes(), 0);
}

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

#[test]
fn what_runs_within_the_task_takes_no_way_through_the_queue() {
    let (queue, shared, mut feed, mut inbound) = call();
    let waker = Waker::from(Arc::clone(&shared));
    let mut cx = Context::from_waker(&waker);
    assert!(pin!(inbound.next()).poll(&mut cx).is_pending());
    shared.hush();
    feed.data(&framed(b"one"), &shared, &mut Spares::default()).unwrap();
    feed.flush(&shared);
    assert_eq!((shared.take_asks(), queue.pushes()), (Asks::POLL, 0));
    shared.ask(Asks::LOOK);
    assert_eq!((shared.take_asks(), queue.pushes()), (Asks::LOOK, 1));
}

#[test]
fn a_cut_call_ends_for_its_reader_and_leaves_nothing_where_there_is_none() {
    let (_queue, shared, mut feed, mut inbound) = call();
    feed.data(&framed(b"one"), &shared, &mut Spares::default()).unwrap();
    feed.cut(Status::cancelled("over"), &shared);
    assert_eq!(ready(inbound.next()).unwrap().unwrap(), b"one");
    assert_eq!(ready(inbound.next()).unwrap_err().code(), Code::Cancelled);
    let (_queue, shared, mut feed, inbound) = call();
    drop(inbound);
    feed.reader_gone(&shared);
    feed.cut(Status::cancelled("over"), &shared);
    assert!(!feed.is_ended());
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

#[test]
fn a_call_is_queued_once_until_it_is_seen_to() {
    let (queue, shared, _feed, _inbound) = call();
    let waker = Waker::from(Arc::clone(&shared));
    for _ in 0..10 {
        waker.wake_by_ref();
    }
    assert_eq!(queue.pushes(), 1);
    assert_eq!(shared.take_asks(), Asks::POLL);
    waker.wake_by_ref();
    assert_eq!(queue.pushes(), 1);
}

#[test]
fn state_is_recycled_only_when_nobody_else_has_it() {
    let (_queue, shared, feed, inbound) = call();
    assert!(!shared.recycle(1), "the inbound half still has it");
    shared.end(Code::Ok);
    drop((feed, inbound));
    let late = Waker::from(Arc::clone(&shared));
    assert!(!shared.recycle(1), "so does a waker");
    drop(late);
    assert!(shared.recycle(1));
    assert_eq!(shared.ended(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_and_reader_on_different_threads_lose_nothing() {
    let (queue, shared, mut feed, mut inbound) = call();
    let count = 30_000_u32;
    let reader = tokio::spawn(async move {
        for n in 0..count {
            let message = inbound.next().await.unwrap().unwrap();
            assert_eq!(&message[..4], n.to_be_bytes());
        }
        assert!(inbound.next().await.unwrap().is_none());
    });
    let feeder = tokio::task::spawn_blocking(move || {
        let window = 64 << 10;
        let (mut n, mut in_flight) = (0_u32, 0_usize);
        let mut bytes = Vec::new();
        while n < count || !bytes.is_empty() {
            while n < count && bytes.len() < 3_000 {
                let mut message = n.to_be_bytes().to_vec();
                message.resize(4 + (n as usize * 7) % 600, 1);
                bytes.extend(framed(&message));
                n += 1;
            }
            let take = bytes.len().min(window - in_flight).min(1_111);
            feed.data(&bytes[..take], &shared, &mut Spares::default()).unwrap();
            bytes.drain(..take);
            in_flight += take;
            feed.flush(&shared);
            in_flight -= feed.credit(&shared, HELD_BYTES_MIN);
            if queue.pushes() > 0 {
                shared.take_asks();
            }
        }
        feed.end(Ok(Metadata::new()), &shared).unwrap();
    });
    tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
    feeder.await.unwrap();
}
