//! Call state between a connection's task and an application's, without either.

mod sending;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gannet_core::codec::Raw;
use gannet_core::{Code, MessageCodec, Metadata, Status, frame};
use gannet_transport::{Asks, CallQueue, CallShared, Feed, Inbound, Spares, feed};

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
