//! round_robin, step by step, in virtual time.

use std::collections::BTreeMap;

use gannet_core::Status;

use super::testing::{Bench, endpoints, grouped, ms};
use super::{ChannelState, Event, RoundRobin, SubchannelState};

const A: &str = "1.1.1.1:1";
const B: &str = "1.1.1.2:1";
const C: &str = "1.1.1.3:1";

fn bench(list: &[&str]) -> Bench<RoundRobin> {
    let mut bench = Bench::new(RoundRobin::new());
    bench.tell(Event::Resolved(endpoints(list)));
    bench
}

/// How often each address is picked, of so many picks.
fn picks(bench: &Bench<RoundRobin>, count: usize) -> BTreeMap<String, usize> {
    let mut picks = BTreeMap::new();
    for _ in 0..count {
        *picks.entry(bench.picked()).or_default() += 1;
    }
    picks
}

#[test]
fn connects_to_all_and_takes_turns_between_those_that_are() {
    let mut bench = bench(&[A, B, C]);
    let connects: Vec<String> = [A, B, C].map(|text| format!("connect {text}")).to_vec();
    assert_eq!(bench.done[..3], connects);
    assert_eq!(bench.state(), Some(ChannelState::Connecting));
    bench.ready(B);
    assert_eq!(picks(&bench, 10), BTreeMap::from([(B.to_owned(), 10)]));
    bench.ready(A);
    assert_eq!(bench.failed(C), ["resolve"], "nothing changes for calls");
    let even = BTreeMap::from([(A.to_owned(), 50), (B.to_owned(), 50)]);
    assert_eq!(picks(&bench, 100), even, "each in turn");
}

#[test]
fn the_attempt_delay_is_that_of_each_endpoint() {
    for (set, is) in [(None, 250), (Some(700), 700), (Some(0), 100), (Some(9_000), 2_000)] {
        let policy = RoundRobin::new();
        let policy = set.map(ms).into_iter().fold(policy, RoundRobin::attempt_delay);
        let mut bench = Bench::new(policy);
        bench.tell(Event::Resolved(grouped(&[&[A, B], &[C]])));
        let (is, done) = (format!("timer {is}"), &bench.done);
        assert!(done.contains(&is) && !done.contains(&format!("connect {B}")), "{done:?}");
    }
}

#[test]
fn begins_at_a_random_place() {
    let list: Vec<String> = (1..=50).map(|n| format!("1.1.1.1:{n}")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut bench = Bench::new(RoundRobin::new());
        bench.actions = super::Actions::new("test", seed);
        bench.tell(Event::Resolved(endpoints(&list)));
        for text in &list {
            bench.ready(text);
        }
        first.insert(bench.picked());
        assert_eq!(picks(&bench, 100).values().max(), Some(&2));
    }
    assert!(first.len() > 10, "{first:?}");
}

#[test]
fn one_that_is_lost_leaves_at_once_and_connects_by_itself() {
    let mut bench = bench(&[A, B]);
    bench.ready(A);
    bench.ready(B);
    bench.now += ms(5_000);
    let done = bench.subchannel(A, SubchannelState::Idle);
    assert!(done.contains(&format!("connect {A}")) && done.contains(&"resolve".to_owned()));
    assert_eq!(picks(&bench, 10), BTreeMap::from([(B.to_owned(), 10)]));
    // As often as that happens: who ends what it has accepted is held up by its subchannel.
    bench.ready(A);
    let done = bench.subchannel(A, SubchannelState::Idle);
    assert!(done.contains(&format!("connect {A}")), "{done:?}");
}

#[test]
fn failures_of_different_kinds_are_told_together() {
    let mut bench = bench(&[A, B]);
    bench.ready(A);
    let unwell = SubchannelState::TransientFailure(Status::unavailable("a: NOT_SERVING"));
    let id = bench.id(A);
    bench.tell(Event::Health(id, unwell));
    bench.failed(B);
    assert_eq!(
        bench.picked(),
        format!("test is not healthy: a: NOT_SERVING; cannot connect to test: {B}: no")
    );
}

#[test]
fn failures_are_told_where_nothing_is_connected_or_may_be() {
    let mut bench = bench(&[A, B]);
    bench.failed(A);
    assert_eq!(bench.state(), Some(ChannelState::Connecting), "the other may come");
    bench.failed(B);
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure));
    assert_eq!(bench.picked(), format!("cannot connect to test: {A}: no; {B}: no"));
    // It sticks while they try again.
    bench.subchannel(A, SubchannelState::Idle);
    bench.subchannel(A, SubchannelState::Connecting);
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure));
    bench.ready(A);
    assert_eq!((bench.state(), bench.picked()), (Some(ChannelState::Ready), A.to_owned()));
}

#[test]
fn endpoints_that_stay_keep_their_connections() {
    let mut bench = bench(&[A, B]);
    bench.ready(A);
    bench.ready(B);
    let done = bench.tell(Event::Resolved(endpoints(&[C, B])));
    assert_eq!(done, [format!("connect {C}"), format!("remove {A}"), "Ready".into()]);
    assert_eq!(picks(&bench, 4), BTreeMap::from([(B.to_owned(), 4)]));
    bench.subchannel(C, SubchannelState::Connecting);
    // Another order makes no other endpoints.
    let done = bench.tell(Event::Resolved(grouped(&[&[B], &[C]])));
    assert!(done.is_empty(), "{done:?}");
    let done = bench.tell(Event::Resolved(endpoints(&[])));
    assert_eq!(done.len(), 4, "both are removed: {done:?}");
    assert_eq!(bench.state(), Some(ChannelState::TransientFailure));
    assert!(bench.made.is_empty());
}

#[test]
fn an_endpoint_of_several_addresses_is_one() {
    let mut bench = Bench::new(RoundRobin::new());
    bench.tell(Event::Resolved(grouped(&[&[A, B], &[C]])));
    bench.ready(A);
    bench.ready(C);
    let even = BTreeMap::from([(A.to_owned(), 5), (C.to_owned(), 5)]);
    assert_eq!(picks(&bench, 10), even);
}

#[test]
fn servers_that_feel_unwell_are_passed_over() {
    let mut bench = bench(&[A, B]);
    bench.ready(A);
    bench.ready(B);
    let (id, why) = (bench.id(A), Status::unavailable("a: NOT_SERVING"));
    bench.tell(Event::Health(id, SubchannelState::TransientFailure(why)));
    assert_eq!(picks(&bench, 4), BTreeMap::from([(B.to_owned(), 4)]));
    bench.tell(Event::Health(id, SubchannelState::Ready));
    assert_eq!(picks(&bench, 4).len(), 2);
}
