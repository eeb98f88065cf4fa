//! What a channel's machine does with policies that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::testing::{address, endpoints};
use super::{
    Actions, BackoffConfig, Balancer, ChannelState, Effect, Event, Only, Policy, SubchannelId,
    SubchannelState, Token,
};

const A: &str = "1.1.1.1:1";
const B: &str = "1.1.1.2:1";

fn balancer<P: Policy>(make: impl Fn() -> P + Send + Sync + 'static) -> Balancer {
    let actions = Actions::new("test", 1);
    let make = Arc::new(move || Box::new(make()) as Box<dyn Policy>);
    let mut balancer = Balancer::new(make, actions, BackoffConfig::default(), false);
    balancer.start();
    balancer
}

/// All attempts succeed.
fn connect_all(balancer: &mut Balancer, now: Instant) {
    for effect in balancer.effects() {
        if let Effect::Dial { backend, attempt, .. } = effect {
            assert!(balancer.handle_established(backend, attempt, now));
        }
    }
}

/// Sets a timer to now whenever it comes.
struct Ticks(Option<Token>, Arc<AtomicUsize>);

impl Policy for Ticks {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) < 100, "nobody else gets to run");
        if let Event::Resolved(_) | Event::Timer(_) = event {
            let timer = *self.0.get_or_insert_with(|| actions.token());
            actions.set_timer(timer, now);
        }
    }
}

#[test]
fn a_timer_that_is_due_at_once_comes_once_each_time() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&handled);
    let mut balancer = balancer(move || Ticks(None, Arc::clone(&counts)));
    let now = Instant::now();
    balancer.handle_names(Ok(endpoints(&[A])), now);
    for times in 2..5 {
        balancer.handle_timeout(now);
        assert_eq!(handled.load(Ordering::SeqCst), times);
        assert_eq!(balancer.next_timeout(), Some(now));
    }
}

/// Two timers, of which the first cancels the second.
struct Cancels(Vec<Token>);

impl Policy for Cancels {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(_) => {
                self.0 = vec![actions.token(), actions.token()];
                self.0.iter().for_each(|timer| actions.set_timer(*timer, now));
            }
            Event::Timer(token) if token == self.0[0] => actions.cancel_timer(self.0[1]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_two_timers_the_first_may_cancel_the_second() {
    let mut balancer = balancer(|| Cancels(Vec::new()));
    let now = Instant::now();
    balancer.handle_names(Ok(endpoints(&[A])), now);
    balancer.handle_timeout(now);
    assert_eq!((balancer.panic(), balancer.next_timeout()), (None, None));
}

/// Goes on picking what it has removed.
struct Swaps(Option<SubchannelId>);

impl Policy for Swaps {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => {
                let id = actions.create(&resolution.endpoints[0].addresses()[0]);
                actions.connect(id);
                if let Some(old) = self.0.replace(id) {
                    actions.remove(old);
                }
            }
            Event::Subchannel(id, SubchannelState::Ready) => {
                actions.update(ChannelState::Ready, Arc::new(Only(id)));
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_removed_leaves_the_table_whatever_the_policy_publishes() {
    let mut balancer = balancer(|| Swaps(None));
    let now = Instant::now();
    balancer.handle_names(Ok(endpoints(&[A])), now);
    connect_all(&mut balancer, now);
    assert!(balancer.take_changed());
    assert_eq!(balancer.table().flatten().count(), 1);
    balancer.handle_names(Ok(endpoints(&[B])), now);
    assert!(balancer.take_changed(), "calls are to find that");
    assert_eq!(balancer.table().flatten().count(), 0);
    // The same address again, in place of itself: the old name of it leads nowhere.
    connect_all(&mut balancer, now);
    assert!(balancer.take_changed());
    let before: Vec<_> = balancer.table().flatten().collect();
    balancer.handle_names(Ok(endpoints(&[B])), now);
    assert!(balancer.take_changed());
    assert_ne!(balancer.table().flatten().collect::<Vec<_>>(), before);
}

/// Panics when it is told names.
struct Panics;

impl Policy for Panics {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        if let Event::Resolved(_) = event {
            let id = actions.create(&address(A));
            actions.connect(id);
            panic!("no {}", "idea");
        }
    }
}

#[test]
fn a_policy_that_panics_hears_nothing_more_and_another_begins_anew() {
    let mut balancer = balancer(|| Panics);
    let now = Instant::now();
    for _ in 0..2 {
        assert_eq!(balancer.panic(), None);
        balancer.handle_names(Ok(endpoints(&[A])), now);
        assert_eq!(balancer.panic(), Some("no idea"));
        balancer.handle_names(Ok(endpoints(&[A])), now);
        assert!(balancer.effects().is_empty(), "nothing is done");
        balancer.stop();
        assert_eq!((balancer.state(), balancer.sizes()), (ChannelState::Idle, (0, 0, 0)));
        balancer.start();
    }
}

#[test]
fn subchannels_of_a_turn_that_ends_in_a_panic_leave_no_places_behind() {
    const EACH: usize = 10;
    let left = Arc::new(AtomicUsize::new(100));
    let counts = Arc::clone(&left);
    let mut balancer = balancer(move || Makes(EACH, Arc::clone(&counts)));
    let now = Instant::now();
    while left.load(Ordering::SeqCst) > 0 {
        balancer.handle_names(Ok(endpoints(&[A])), now);
        assert_eq!(balancer.panic(), Some("too many"));
        balancer.stop();
        balancer.start();
    }
    balancer.handle_names(Ok(endpoints(&[A])), now);
    assert_eq!((balancer.panic(), balancer.sizes().1), (None, EACH));
    assert_eq!(balancer.table().count(), EACH, "places that nobody has");
}

/// Makes so many subchannels, and panics so many times.
struct Makes(usize, Arc<AtomicUsize>);

impl Policy for Makes {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        if let Event::Resolved(_) = event {
            for _ in 0..self.0 {
                actions.create(&address(A));
            }
            let less = |left: usize| left.checked_sub(1);
            let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            assert!(left.is_err(), "too many");
        }
    }
}
