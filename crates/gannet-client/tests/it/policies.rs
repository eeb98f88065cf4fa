//! Policies and resolvers of an application's own, and what a channel makes of their faults.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gannet_client::ChannelState;
use gannet_client::name::{Address, AddressList, Endpoint, Resolution, Resolver, Updates};
use gannet_client::policy::{
    Actions, CallEnd, CallTracker, Event, Only, Pick, PickArgs, PickFirst, Picked, Picker, Policy,
    RoundRobin, SubchannelId, SubchannelState,
};
use gannet_core::{Code, Status};
use gannet_http2::Config;
use tokio::time::{sleep, timeout};

use crate::backends::{backend, builder, dead, scripted};
use crate::peer::{Peer, Peers, accept, chat, spawn_unary, unary};

const SECOND: Duration = Duration::from_secs(1);

/// Answers whenever it is asked, and counts that.
struct Eager(Arc<AtomicUsize>, Vec<Address>);

impl Resolver for Eager {
    async fn watch(&self, updates: Updates) {
        loop {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) < 10_000, "it spins");
            updates.resolved(Resolution::new(self.1.clone()));
            updates.asked().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_answers_whenever_it_is_asked_is_asked_once_a_second() {
    for names in [vec![dead("dead")], vec![dead("one"), dead("two")], Vec::new()] {
        for spread in [false, true] {
            let count = Arc::new(AtomicUsize::new(0));
            let builder = builder().resolver(Eager(Arc::clone(&count), names.clone()));
            let builder = if spread { builder.balance(RoundRobin::new) } else { builder };
            let channel = builder.build().unwrap();
            let call = unary(&channel, b"").wait_for_ready(true).timeout(SECOND * 10);
            assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
            let asked = count.load(Ordering::SeqCst);
            assert!((3..=13).contains(&asked), "asked {asked} times in 10 s");
        }
    }
}

#[derive(Default)]
struct Count {
    picks: AtomicUsize,
    ends: AtomicUsize,
}

impl CallTracker for Count {
    fn ended(&self, _: &CallEnd<'_>) {
        self.ends.fetch_add(1, Ordering::SeqCst);
    }
}

struct Tracks(SubchannelId, Arc<Count>);

impl Picker for Tracks {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        self.1.picks.fetch_add(1, Ordering::SeqCst);
        let tracker: Arc<dyn CallTracker> = Arc::clone(&self.1) as _;
        Pick::Complete(Picked::new(self.0).tracked(tracker))
    }
}

/// One subchannel, tracked, which is picked before it is connected.
struct Tracking(Arc<Count>);

impl Policy for Tracking {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        if let Event::Resolved(resolution) = event {
            let id = actions.create(&resolution.endpoints[0].addresses()[0]);
            actions.connect(id);
            let picker = Tracks(id, Arc::clone(&self.0));
            actions.update(ChannelState::Connecting, Arc::new(picker));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_tracker_is_told_of_an_end_though_the_call_went_nowhere() {
    let count = Arc::new(Count::default());
    let (one, mut acceptor) = scripted("one");
    let policy = Arc::clone(&count);
    let channel = builder()
        .resolver(AddressList::new([one]))
        .balance(move || Tracking(Arc::clone(&policy)))
        .build()
        .unwrap();
    let call = spawn_unary(&channel, b"x");
    sleep(SECOND).await;
    let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
    peer.flush().await;
    peer.echo().await;
    assert_eq!(call.await.unwrap().unwrap(), b"x");
    let picks = count.picks.load(Ordering::SeqCst);
    assert!(picks > 1, "it was picked in vain, too");
    assert_eq!(count.ends.load(Ordering::SeqCst), picks);
}

/// pick_first that panics at this event, as often as is said.
struct Panics(PickFirst, fn(&Event) -> bool, Arc<AtomicUsize>);

impl Policy for Panics {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        let less = |left: usize| left.checked_sub(1);
        if (self.1)(&event) && self.2.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
        {
            panic!("a hole in the table");
        }
        self.0.handle(event, now, actions);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_policy_that_panics_fail_and_the_next_begins_anew() {
    let good = backend("good");
    let connecting: fn(&Event) -> bool =
        |event| matches!(event, Event::Subchannel(_, SubchannelState::Connecting));
    let left = Arc::new(AtomicUsize::new(2));
    let channel = builder()
        .resolver(AddressList::new([good.address]))
        .balance(move || Panics(PickFirst::new(), connecting, Arc::clone(&left)))
        .build()
        .unwrap();
    for patient in [false, true] {
        let call = unary(&channel, b"").wait_for_ready(patient).into_future();
        let status = timeout(SECOND, call).await.expect("it ends").unwrap_err();
        assert_eq!(
            status.to_string(),
            "INTERNAL: test:///backends: the load balancing policy panicked: a hole in the table"
        );
        assert_eq!(channel.state(), ChannelState::Idle);
    }
    assert_eq!(unary(&channel, b"").await.unwrap(), b"good");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_at_a_loss_does_not_keep_the_next_call() {
    let idle: fn(&Event) -> bool =
        |event| matches!(event, Event::Subchannel(_, SubchannelState::Idle));
    let left = Arc::new(AtomicUsize::new(1));
    let (channel, mut peers) = Peers::with(|builder| {
        builder.balance(move || Panics(PickFirst::new(), idle, Arc::clone(&left)))
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.echo().await;
        let _ = peer.request().await;
        drop(peer);
        peers.accept().await.echo().await;
    });
    unary(&channel, b"1").await.unwrap();
    let lost = timeout(SECOND * 60, unary(&channel, b"2").into_future()).await;
    assert_eq!(lost.expect("it ends").unwrap_err().code(), Code::Unavailable);
    let next = timeout(SECOND * 60, unary(&channel, b"3").into_future()).await;
    assert_eq!(next.expect("it ends").unwrap(), b"3");
    server.await.unwrap();
}

/// Picks a subchannel that it has removed, until another is ready.
struct Swaps(Option<SubchannelId>, Arc<AtomicUsize>);

struct Counted(Only, Arc<AtomicUsize>);

impl Picker for Counted {
    fn pick(&self, call: &PickArgs<'_>) -> Pick {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) < 10_000, "it is asked for ever");
        self.0.pick(call)
    }
}

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
                let picker = Counted(Only(id), Arc::clone(&self.1));
                actions.update(ChannelState::Ready, Arc::new(picker));
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subchannel_that_is_removed_and_picked_still_is_as_if_not_connected() {
    let picks = Arc::new(AtomicUsize::new(0));
    let ((one, mut first), two) = (scripted("one"), backend("two"));
    let (silent, _accepts) = scripted("silent");
    let list = AddressList::new([one]);
    let seen = Arc::clone(&picks);
    let channel = builder()
        .resolver(list.clone())
        .balance(move || Swaps(None, Arc::clone(&seen)))
        .build()
        .unwrap();
    channel.connect().unwrap();
    let mut peer = Peer::new(accept(&mut first).await, Config::default());
    peer.flush().await;
    // Keeps the connection open.
    let _stream = chat(&channel).await.unwrap();
    peer.request().await;
    list.set([silent]);
    sleep(SECOND / 5).await;
    let before = picks.load(Ordering::SeqCst);
    let waits = spawn_unary(&channel, b"");
    sleep(SECOND).await;
    let asked = picks.load(Ordering::SeqCst) - before;
    assert!(asked < 10, "asked {asked} times for one call");
    list.set([two.address]);
    assert_eq!(waits.await.unwrap().unwrap(), b"two");
}

/// Sets the list that it is told.
struct Sets(PickFirst, Option<(AddressList, Address)>);

impl Policy for Sets {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        if let Event::Resolved(_) = event
            && let Some((list, address)) = self.1.take()
        {
            list.set([address]);
        }
        self.0.handle(event, now, actions);
    }
}

#[test]
fn a_list_can_be_set_by_whoever_is_told_of_it() {
    let (tell, told) = std::sync::mpsc::channel();
    // What waits for a lock of its own waits for ever, and in virtual time, too.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let good = backend("good");
            let list = AddressList::new([dead("dead")]);
            let (set, address) = (list.clone(), good.address.clone());
            let channel = builder()
                .resolver(list)
                .balance(move || Sets(PickFirst::new(), Some((set.clone(), address.clone()))))
                .build()
                .unwrap();
            let _ = tell.send(unary(&channel, b"").wait_for_ready(true).await);
        });
    });
    let answer = told.recv_timeout(Duration::from_secs(60)).expect("a deadlock");
    assert_eq!(answer.unwrap(), b"good");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_when_it_is_made_is_as_one_that_does_later() {
    let good = backend("good");
    let left = Arc::new(AtomicUsize::new(2));
    let channel = builder()
        .resolver(AddressList::new([good.address]))
        .balance(move || {
            let less = |left: usize| left.checked_sub(1);
            let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            assert!(left.is_err(), "no table");
            PickFirst::new()
        })
        .build()
        .unwrap();
    // Where nobody waits for it.
    channel.connect().unwrap();
    assert_eq!(channel.state(), ChannelState::Idle);
    let call = unary(&channel, b"").wait_for_ready(true).into_future();
    let status = timeout(SECOND, call).await.expect("it ends").unwrap_err();
    assert_eq!(
        status.to_string(),
        "INTERNAL: test:///backends: the load balancing policy panicked: no table"
    );
    assert_eq!(channel.state(), ChannelState::Idle);
    assert_eq!(unary(&channel, b"").await.unwrap(), b"good");
}

/// Panics when it is asked what it always picks.
struct Unsure(SubchannelId);

impl Picker for Unsure {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        self.0.into()
    }

    fn always(&self) -> Option<SubchannelId> {
        panic!("who knows")
    }
}

/// Publishes such a picker as often as is said, and then another.
struct Publishes(Arc<AtomicUsize>);

impl Policy for Publishes {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => {
                let id = actions.create(&resolution.endpoints[0].addresses()[0]);
                actions.connect(id);
            }
            Event::Subchannel(id, SubchannelState::Ready) => {
                let less = |left: usize| left.checked_sub(1);
                let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
                let picker: Arc<dyn Picker> = match left {
                    Ok(_) => Arc::new(Unsure(id)),
                    Err(_) => Arc::new(Only(id)),
                };
                actions.update(ChannelState::Ready, picker);
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn so_is_a_picker_that_panics_when_it_is_published() {
    let good = backend("good");
    let left = Arc::new(AtomicUsize::new(1));
    let channel = builder()
        .resolver(AddressList::new([good.address]))
        .balance(move || Publishes(Arc::clone(&left)))
        .build()
        .unwrap();
    let status = timeout(SECOND, unary(&channel, b"").into_future()).await.expect("it ends");
    let told = status.unwrap_err().to_string();
    assert!(told.ends_with("the load balancing policy panicked: who knows"), "{told}");
    assert_eq!(unary(&channel, b"").await.unwrap(), b"good");
}

/// Uses the channel when it is dropped, and counts that.
#[derive(Clone, Default)]
struct Clings {
    channel: Arc<std::sync::OnceLock<gannet_client::Channel>>,
    dropped: Arc<AtomicUsize>,
    panics: bool,
}

impl Drop for Clings {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.get() {
            channel.reset_backoff();
            self.dropped.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "not again");
        }
    }
}

struct ClingsPicker(Only, #[expect(dead_code, reason = "is dropped")] Clings);

impl Picker for ClingsPicker {
    fn pick(&self, call: &PickArgs<'_>) -> Pick {
        self.0.pick(call)
    }
}

/// Publishes two pickers at each chance.
struct ClingsPolicy(Clings);

impl Policy for ClingsPolicy {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => {
                for endpoint in resolution.endpoints {
                    let id = actions.create(&endpoint.addresses()[0]);
                    actions.connect(id);
                }
            }
            Event::Subchannel(id, SubchannelState::Ready) => {
                let picker = Arc::new(ClingsPicker(Only(id), self.0.clone()));
                actions.update(ChannelState::Ready, picker);
            }
            _ => {}
        }
    }
}

#[test]
fn policies_and_pickers_may_use_their_channel_when_they_are_dropped_or_panic() {
    for panics in [false, true] {
        let (tell, told) = std::sync::mpsc::channel();
        // What waits for a lock of its own waits for ever, and in virtual time, too.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (one, two) = (backend("one"), backend("two"));
                let list = AddressList::new([one.address, two.address]);
                let mut clings = Clings::default();
                clings.panics = panics;
                let policy = clings.clone();
                let channel = builder()
                    .resolver(list)
                    .balance(move || ClingsPolicy(policy.clone()))
                    .build()
                    .unwrap();
                let made = clings.channel.set(channel.clone()).is_ok();
                assert!(made);
                unary(&channel, b"").await.unwrap();
                // The second picker takes the place of the first.
                while clings.dropped.load(Ordering::SeqCst) < 1 {
                    tokio::task::yield_now().await;
                }
                unary(&channel, b"").await.unwrap();
                channel.close();
                // That, and the policy.
                let _ = tell.send(clings.dropped.load(Ordering::SeqCst));
                std::mem::forget(clings);
            });
        });
        let dropped = told.recv_timeout(Duration::from_secs(60)).expect("a deadlock");
        assert_eq!(dropped, 3);
    }
}

/// Keeps what it was told last, and connects to all of it.
#[derive(Default)]
struct Keeps(RoundRobin, Option<Event>);

impl Policy for Keeps {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        if matches!(event, Event::Resolved(_)) {
            self.1 = Some(event.clone());
        }
        self.0.handle(event, now, actions);
    }
}

/// Lets the channel hear what was told.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_a_resolver_tells_may_use_its_channel_when_it_is_dropped_or_panic() {
    for (panics, keeps) in [(false, false), (true, false), (false, true), (true, true)] {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let one = backend("one");
                let mut clings = Clings::default();
                clings.panics = panics;
                let resolution = || {
                    let endpoint = Endpoint::new([one.address.clone()]).attribute(clings.clone());
                    let mut resolution = Resolution::new([endpoint]);
                    resolution.attributes.insert(clings.clone());
                    resolution
                };
                let list = AddressList::new([dead("none")]);
                let builder = builder().resolver(list.clone());
                let channel = match keeps {
                    true => builder.balance(Keeps::default),
                    false => builder.balance(RoundRobin::new),
                };
                let channel = channel.build().unwrap();
                assert!(clings.channel.set(channel.clone()).is_ok());
                // Three times told, the first two of which others take the place of.
                for _ in 0..3 {
                    list.set_resolution(resolution());
                    unary(&channel, b"").wait_for_ready(true).await.unwrap();
                    settle().await;
                }
                let count = || clings.dropped.load(Ordering::SeqCst);
                while count() < 4 {
                    tokio::task::yield_now().await;
                }
                list.set([one.address.clone()]);
                while count() < 6 {
                    tokio::task::yield_now().await;
                }
                list.set_resolution(resolution());
                settle().await;
                list.fail(Status::unavailable("no more"));
                settle().await;
                channel.close();
                assert_eq!(count(), 8);
                let _ = tell.send(());
                std::mem::forget(clings);
            });
        });
        told.recv_timeout(Duration::from_secs(60)).expect("a deadlock");
    }
}
