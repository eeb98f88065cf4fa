//! Name resolvers that panic, or rest after an error while the application is in a hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_client::name::{Address, Resolution, Resolver, Updates};
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelState};
use gannet_core::{Code, Status};
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{backend, builder, who};
use crate::peer::unary;

const SECOND: Duration = Duration::from_secs(1);

/// Panics as often as is said, and then tells; or tells first.
struct Panics {
    left: AtomicUsize,
    begun: Arc<AtomicUsize>,
    tells_first: bool,
    address: Address,
}

impl Resolver for Panics {
    async fn watch(&self, updates: Updates) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.tells_first {
            updates.resolved(Resolution::new([self.address.clone()]));
            sleep(SECOND / 2).await;
        }
        let less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            panic!("no such entry");
        }
        updates.resolved(Resolution::new([self.address.clone()]));
        std::future::pending::<()>().await;
    }
}

fn panicking(left: usize, tells_first: bool, spread: bool) -> (Channel, Arc<AtomicUsize>) {
    let begun = Arc::<AtomicUsize>::default();
    let address = backend("good").address;
    let left = AtomicUsize::new(left);
    let resolver = Panics { left, begun: Arc::clone(&begun), tells_first, address };
    let builder = builder().resolver(resolver);
    let builder = if spread { builder.balance(RoundRobin::new) } else { builder };
    (builder.build().unwrap(), begun)
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_panics_has_failed_and_is_asked_again() {
    for spread in [true, false] {
        let (channel, begun) = panicking(3, false, spread);
        let start = Instant::now();
        let status = who(&channel).await.unwrap_err();
        assert_eq!(
            status.to_string(),
            "UNAVAILABLE: cannot connect to test:///backends: the name resolver panicked: no such \
             entry"
        );
        assert_eq!(channel.state(), ChannelState::TransientFailure);
        assert_eq!(unary(&channel, b"").wait_for_ready(true).await.unwrap(), b"good");
        // After 1 s, 1.6 s and 2.56 s, more or less.
        let took = start.elapsed().as_secs_f64();
        assert!((4.2..6.1).contains(&took), "{took}");
        assert_eq!(begun.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_outlive_a_panic_of_the_resolver() {
    for spread in [true, false] {
        let (channel, begun) = panicking(usize::MAX, true, spread);
        assert_eq!(who(&channel).await.unwrap(), "good");
        for _ in 0..60 {
            sleep(SECOND).await;
            assert_eq!(channel.state(), ChannelState::Ready);
            assert_eq!(who(&channel).await.unwrap(), "good");
        }
        // It told names each time, so that pauses stay short, but not too short.
        assert!((55..=61).contains(&begun.load(Ordering::SeqCst)), "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_a_hurry_does_not_wait_for_a_resolver_that_panicked() {
    let (channel, begun) = panicking(6, false, false);
    channel.connect().unwrap();
    sleep(SECOND * 20).await;
    // The seventh would come more than eight seconds after the sixth.
    assert_eq!(begun.load(Ordering::SeqCst), 6);
    let start = Instant::now();
    channel.reset_backoff();
    assert_eq!(unary(&channel, b"").wait_for_ready(true).await.unwrap(), b"good");
    assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());
}

/// Fails, and rests for an hour.
struct Rests(Address);

impl Resolver for Rests {
    async fn watch(&self, updates: Updates) {
        updates.failed(Status::unavailable("the registry is down"));
        let _ = timeout(SECOND * 3_600, updates.backoff_reset()).await;
        updates.resolved(Resolution::new([self.0.clone()]));
    }
}

#[tokio::test(start_paused = true)]
async fn resolvers_of_ones_own_hear_that_the_backoff_is_reset() {
    let channel = builder().resolver(Rests(backend("good").address)).build().unwrap();
    assert_eq!(who(&channel).await.unwrap_err().code(), Code::Unavailable);
    let start = Instant::now();
    channel.reset_backoff();
    assert_eq!(unary(&channel, b"").wait_for_ready(true).await.unwrap(), b"good");
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

/// Fails some times, and then knows. It waits until it is asked, or ends each time.
struct Slow {
    asked: Arc<AtomicUsize>,
    failures: usize,
    ends: bool,
    address: Address,
}

impl Resolver for Slow {
    async fn watch(&self, updates: Updates) {
        while self.asked.fetch_add(1, Ordering::SeqCst) < self.failures {
            updates.failed(Status::unavailable("registry is down"));
            if self.ends {
                return;
            }
            updates.asked().await;
        }
        updates.resolved(Resolution::new([self.address.clone()]));
        if !self.ends {
            std::future::pending::<()>().await;
        }
    }
}

fn slow(failures: usize, ends: bool) -> (Channel, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let address = backend("good").address;
    let resolver = Slow { asked: Arc::clone(&asked), failures, ends, address };
    (builder().resolver(resolver).build().unwrap(), asked)
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_failed_is_asked_again_after_pauses_that_grow() {
    for ends in [false, true] {
        let (channel, asked) = slow(3, ends);
        let start = Instant::now();
        assert_eq!(who(&channel).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(unary(&channel, b"").wait_for_ready(true).await.unwrap(), b"good");
        let took = start.elapsed().as_secs_f64();
        assert!((4.2..6.1).contains(&took), "after 1 s, 1.6 s and 2.56 s, more or less: {took}");
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        // What is known is not asked for.
        sleep(SECOND * 100).await;
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_waits_to_be_asked_hears_that_the_backoff_is_reset() {
    for ends in [false, true] {
        let (channel, asked) = slow(6, ends);
        channel.connect().unwrap();
        sleep(SECOND * 20).await;
        // The seventh would come more than eight seconds after the sixth.
        assert_eq!(asked.load(Ordering::SeqCst), 6);
        let start = Instant::now();
        channel.reset_backoff();
        assert_eq!(unary(&channel, b"").wait_for_ready(true).await.unwrap(), b"good");
        assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
    }
}

/// What is about something else than the target may begin with the same letters.
#[tokio::test(start_paused = true)]
async fn errors_name_the_target_though_the_cause_begins_like_it() {
    let failing = |text: &'static str| Failing(Status::unavailable(text));
    for (text, told) in [
        ("registry is down", "cannot connect to reg: registry is down"),
        ("reg: it is down", "cannot connect to reg: it is down"),
        ("reg", "cannot connect to reg"),
    ] {
        let channel = Channel::builder("reg").resolver(failing(text)).build().unwrap();
        assert_eq!(who(&channel).await.unwrap_err().message(), told);
    }
}

struct Failing(Status);

impl Resolver for Failing {
    async fn watch(&self, updates: Updates) {
        updates.failed(self.0.clone());
    }
}

/// Has told, fails once, and finds nothing new whenever it is asked.
struct FailedOnce(Arc<AtomicUsize>, Address);

impl Resolver for FailedOnce {
    async fn watch(&self, updates: Updates) {
        updates.resolved(Resolution::new([self.1.clone()]));
        sleep(SECOND).await;
        updates.failed(Status::unavailable("a hiccup"));
        loop {
            updates.asked().await;
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_tells_nothing_new_is_asked_ever_more_seldom() {
    let asked = Arc::<AtomicUsize>::default();
    let resolver = FailedOnce(Arc::clone(&asked), backend("good").address);
    let channel = builder().resolver(resolver).build().unwrap();
    assert_eq!(who(&channel).await.unwrap(), "good");
    // Nothing rests: this is for nobody, then or later.
    channel.reset_backoff();
    sleep(SECOND + SECOND / 2).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    sleep(SECOND * 100).await;
    let asked = asked.load(Ordering::SeqCst);
    // 1, 1.6, 2.56, 4.1, 6.6, 10.5, 16.8, 26.8 s, more or less, and 43 are too long.
    assert!((7..=9).contains(&asked), "{asked}");
}
