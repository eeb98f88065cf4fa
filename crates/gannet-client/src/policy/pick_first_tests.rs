//! pick_first, step by step, in virtual time.

use gannet_core::Status;

use super::testing::{Bench, endpoints, ms};
use super::{ChannelState, Event, PickFirst, SubchannelState, Token};

const A: &str = "1.1.1.1:1";
const B: &str = "1.1.1.2:1";
const C: &str = "1.1.1.3:1";
const D: &str = "1.1.1.4:1";

fn bench(list: &[&str]) -> Bench<PickFirst> {
    let mut bench = Bench::new(PickFirst::new());
    bench.tell(Event::Resolved(endpoints(list)));
    bench
}

impl Bench<PickFirst> {
    /// The delay of an attempt is over.
    fn timer(&mut self) -> Vec<String> {
        self.now += ms(250);
        // The policy has one timer, which is the first that was named.
        self.tell(Event::Timer(Token { number: 1, scope: 0 }))
    }

    fn connecting(&mut self, text: &str) -> Vec<String> {
        self.subchannel(text, SubchannelState::Connecting)
    }

    fn idle(&mut self, text: &str) -> Vec<String> {
        self.subchannel(text, SubchannelState::Idle)
    }
}

#[test]
fn the_next_starts_after_the_delay_and_the_first_goes_on() {
    let mut bench = bench(&[A, B, C]);
    assert_eq!(bench.done, [format!("connect {A}"), "timer 250".into(), "Connecting".into()]);
    assert!(bench.connecting(A).is_empty());
    assert_eq!(bench.timer(), [format!("connect {B}"), "timer 500".into()]);
    // Behind the last there is no timer.
    assert_eq!(bench.timer(), [format!("connect {C}")]);
    let mut won = bench.ready(A);
    won.sort();
    assert_eq!(
        won,
        ["Ready".into(), format!("remove {B}"), format!("remove {C}"), format!("watch {A}")]
    );
    assert_eq!(bench.picked(), A);
    assert!(bench.timer().is_empty(), "a timer that comes late");
}

#[test]
fn a_failure_starts_the_next_at_once_whichever_fails() {
    let mut bench = bench(&[A, B, C]);
    assert_eq!(bench.failed(A), [format!("connect {B}"), "timer 250".into()]);
    bench.now += ms(10);
    bench.connecting(B);
    assert_eq!(bench.failed(B), [format!("connect {C}")]);
    bench.ready(C);
    assert_eq!(bench.picked(), C);
}

#[test]
fn the_attempt_delay_is_bent_into_range() {
    for (set, used) in [(1, 100), (300, 300), (9_000, 2_000)] {
        let mut bench = Bench::new(PickFirst::new().attempt_delay(ms(set)));
        let done = bench.tell(Event::Resolved(endpoints(&[A, B])));
        assert_eq!(done[1], format!("timer {used}"));
    }
}

#[test]
fn all_failures_are_told_and_the_failure_sticks() {
    let mut bench = bench(&[A, B]);
    bench.failed(A);
    assert_eq!(bench.failed(B), ["resolve", "TransientFailure"]);
    assert_eq!(bench.picked(), format!("cannot connect to test: {A}: no; {B}: no"));
    // From now on each is tried when its backoff is over, whatever the others do.
    assert_eq!(bench.idle(B), [format!("connect {B}")]);
    assert!(bench.connecting(B).is_empty());
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure), "not connecting again");
    assert_eq!(bench.idle(A), [format!("connect {A}")]);
    // As many failures as there are addresses are worth another look at the name.
    assert_eq!(bench.failed(B), ["TransientFailure"]);
    assert_eq!(bench.failed(B), ["resolve", "TransientFailure"]);
    bench.ready(A);
    assert_eq!((bench.state(), bench.picked()), (Some(ChannelState::Ready), A.to_owned()));
}

#[test]
fn one_whose_backoff_ends_during_the_first_pass_waits_for_its_end() {
    let mut bench = bench(&[A, B]);
    bench.failed(A);
    bench.connecting(B);
    assert!(bench.idle(A).is_empty(), "its turn is over");
    let done = bench.failed(B);
    assert_eq!(done, ["resolve".into(), format!("connect {A}"), "TransientFailure".into()]);
}

#[test]
fn a_lost_connection_is_idle_until_a_call_comes() {
    let mut bench = bench(&[A, B]);
    bench.ready(A);
    assert_eq!(bench.idle(A), ["resolve", "Idle"]);
    assert_eq!(bench.picked(), "Queue");
    // What the name stands for now does not make it connect.
    assert!(bench.tell(Event::Resolved(endpoints(&[B, A]))).is_empty());
    assert_eq!(
        bench.tell(Event::ExitIdle),
        [format!("connect {B}"), "timer 250".into(), "Connecting".into()]
    );
    assert!(bench.tell(Event::ExitIdle).is_empty(), "it does");
}

#[test]
fn new_addresses_keep_the_connection_where_they_have_it() {
    let mut bench = bench(&[A, B]);
    bench.ready(B);
    assert!(bench.tell(Event::Resolved(endpoints(&[C, B]))).is_empty());
    assert_eq!(bench.picked(), B);
    // And end it where they do not.
    let done = bench.tell(Event::Resolved(endpoints(&[C, A])));
    assert_eq!(
        done,
        [format!("remove {B}"), format!("connect {C}"), "timer 250".into(), "Connecting".into()]
    );
    assert_eq!(bench.picked(), "Queue");
}

#[test]
fn new_addresses_begin_another_pass_and_keep_attempts() {
    let mut bench = bench(&[A, B]);
    bench.connecting(A);
    // It is connecting already: the next one is tried beside it.
    assert_eq!(
        bench.tell(Event::Resolved(endpoints(&[A, C]))),
        [format!("remove {B}"), "timer 250".into()]
    );
    bench.failed(A);
    assert_eq!(bench.failed(C), ["resolve", "TransientFailure"]);
    // In backoff from before: as good as tried.
    let done = bench.tell(Event::Resolved(endpoints(&[A, B])));
    assert_eq!(done, [format!("remove {C}"), format!("connect {B}")]);
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure), "it sticks");
    bench.failed(B);
    assert!(bench.picked().contains(&format!("{B}: no")), "{}", bench.picked());
}

#[test]
fn a_pass_gets_on_however_often_lists_come() {
    // The same list.
    let mut bench = bench(&[A, B, C]);
    bench.connecting(A);
    for _ in 0..2 {
        bench.now += ms(100);
        assert!(bench.tell(Event::Resolved(endpoints(&[A, B, C]))).is_empty());
    }
    bench.now = bench.start;
    assert_eq!(bench.timer(), [format!("connect {B}"), "timer 500".into()]);
    bench.connecting(B);
    // Others: the moment stays, and what was begun is not waited for again.
    bench.now += ms(100);
    let done = bench.tell(Event::Resolved(endpoints(&[A, B, D, C])));
    assert_eq!(done, ["timer 500"]);
    bench.now += ms(100);
    assert_eq!(bench.tell(Event::Resolved(endpoints(&[B, D]))).last().unwrap(), "timer 500");
    bench.now -= ms(200);
    assert_eq!(bench.timer(), [format!("connect {D}")]);
    // None of which was begun: at once.
    let done = bench.tell(Event::Resolved(endpoints(&[C, A])));
    assert!(done.contains(&format!("connect {C}")), "{done:?}");
}

#[test]
fn the_same_list_leaves_those_that_have_failed_alone() {
    let mut bench = bench(&[A, B]);
    bench.failed(A);
    bench.failed(B);
    assert!(bench.tell(Event::Resolved(endpoints(&[A, B]))).is_empty());
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure));
    assert_eq!(bench.idle(A), [format!("connect {A}")], "they are tried still");
}

#[test]
fn a_list_that_is_shuffled_is_the_same() {
    let mut bench = Bench::new(PickFirst::new().shuffled());
    let list: Vec<String> = (1..=50).map(|n| format!("1.1.1.1:{n}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    bench.tell(Event::Resolved(endpoints(&list)));
    let first = bench.done[0].clone();
    assert!(first.starts_with("connect "), "{first}");
    assert!(bench.tell(Event::Resolved(endpoints(&list))).is_empty());
    assert!(!bench.tell(Event::Resolved(endpoints(&list[1..]))).is_empty());
}

#[test]
fn a_name_without_addresses_and_one_that_is_not_resolved() {
    let mut bench = Bench::new(PickFirst::new());
    bench.tell(Event::ResolverFailed(Status::unavailable("cannot resolve \"x\": no")));
    assert_eq!(bench.picked(), "cannot connect to test: cannot resolve \"x\": no");
    bench.tell(Event::Resolved(endpoints(&[])));
    assert_eq!(bench.picked(), "cannot connect to test: the name resolver knows no address");
    // What failed was no attempt to connect: it does not last (A62), and is told nobody any more.
    assert_eq!(
        bench.tell(Event::Resolved(endpoints(&[A]))),
        [format!("connect {A}"), "Connecting".into()]
    );
    assert_eq!(bench.picked(), "Queue");
    bench.ready(A);
    // What was known stays true.
    assert!(bench.tell(Event::ResolverFailed(Status::unavailable("no"))).is_empty());
    assert_eq!(bench.picked(), A);
    assert_eq!(
        bench.tell(Event::Resolved(endpoints(&[]))),
        [format!("remove {A}"), "resolve".into(), "TransientFailure".into()]
    );
    // Nor does one that follows a connection, or attempts that failed.
    for fails in [true, false] {
        bench.tell(Event::ResolverFailed(Status::unavailable("no")));
        assert_eq!(bench.picked(), "cannot connect to test: no");
        let done = bench.tell(Event::Resolved(endpoints(&[B])));
        assert_eq!(done.last().unwrap(), "Connecting", "{done:?}");
        if fails {
            bench.failed(B);
            assert_eq!(bench.state(), Some(ChannelState::TransientFailure));
            bench.tell(Event::Resolved(endpoints(&[])));
        }
    }
}

#[test]
fn a_server_that_feels_unwell_gets_no_calls_and_keeps_its_connection() {
    let mut bench = bench(&[A]);
    let id = bench.id(A);
    assert_eq!(bench.tell(Event::Subchannel(id, SubchannelState::Ready)), [format!("watch {A}")]);
    assert_eq!(bench.state(), Some(ChannelState::Connecting), "not before it has said so");
    let unwell = SubchannelState::TransientFailure(Status::unavailable("a: NOT_SERVING"));
    assert_eq!(bench.tell(Event::Health(id, unwell)), ["TransientFailure"]);
    assert_eq!(bench.picked(), "test is not healthy: a: NOT_SERVING");
    assert_eq!(bench.tell(Event::Health(id, SubchannelState::Ready)), ["Ready"]);
    assert_eq!(bench.picked(), A);
}

/// What it said of itself is no failure to connect, which would last.
#[test]
fn calls_wait_when_another_list_comes_in_place_of_one_that_feels_unwell() {
    let mut bench = bench(&[A]);
    bench.ready(A);
    let unwell = SubchannelState::TransientFailure(Status::unavailable("a: NOT_SERVING"));
    bench.tell(Event::Health(bench.id(A), unwell));
    assert_eq!(
        bench.tell(Event::Resolved(endpoints(&[B]))),
        [format!("remove {A}"), format!("connect {B}"), "Connecting".into()]
    );
    assert_eq!(bench.picked(), "Queue");
    // And lasts when that one cannot be connected to.
    bench.failed(B);
    assert!(!bench.tell(Event::Resolved(endpoints(&[C]))).contains(&"Connecting".to_owned()));
    assert_eq!(bench.picked(), format!("cannot connect to test: {B}: no"));
}

#[test]
fn many_addresses_are_not_all_told() {
    let list: Vec<String> = (1..=200).map(|n| format!("1.1.1.1:{n}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let mut bench = bench(&list);
    for text in &list {
        bench.failed(text);
    }
    let told = bench.picked();
    assert!(told.contains("1.1.1.1:16: no; and 184 more"), "{told}");
}
