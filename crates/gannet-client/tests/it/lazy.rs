//! Policies of an application's own that connect when a call wakes them, and publish at each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gannet_client::name::AddressList;
use gannet_client::policy::{
    Actions, Event, Pick, PickArgs, Picker, Policy, SubchannelId, SubchannelState, Token,
};
use gannet_client::{Channel, ChannelState};
use gannet_core::Code;
use gannet_http2::Config;
use tokio::time::{sleep, timeout};

use crate::backends::{builder, scripted};
use crate::peer::{Peer, accept, spawn_unary, unary};

const SECOND: Duration = Duration::from_secs(1);
/// More often nobody is asked who is not asked for ever.
const ASKED_MAX: usize = 10_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Has calls wait for the same event always.
    Wakes,
    /// Has them wait for another one with each picker.
    WakesAnew,
    /// Is idle until it is connected.
    Idles,
}

/// See the module; pickers count how often they are asked, and events `Wake` and `ExitIdle` are.
struct Lazy {
    kind: Kind,
    asked: Arc<AtomicUsize>,
    woken: Arc<AtomicUsize>,
    one: Option<SubchannelId>,
    token: Option<Token>,
}

struct Asked(Pick, Arc<AtomicUsize>);

impl Picker for Asked {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        let asked = self.1.fetch_add(1, Ordering::SeqCst);
        if asked >= ASKED_MAX { Pick::Queue } else { self.0.clone() }
    }
}

impl Policy for Lazy {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        let mut ready = None;
        match event {
            Event::Resolved(resolution) => {
                self.one = Some(actions.create(&resolution.endpoints[0].addresses()[0]));
            }
            Event::Wake(_) | Event::ExitIdle => {
                self.woken.fetch_add(1, Ordering::SeqCst);
                self.one.into_iter().for_each(|one| actions.connect(one));
            }
            Event::Subchannel(id, SubchannelState::Ready) => ready = Some(id),
            _ => {}
        }
        if self.kind == Kind::WakesAnew || self.token.is_none() {
            self.token = Some(actions.token());
        }
        let (state, pick) = match (ready, self.kind) {
            (Some(id), _) => (ChannelState::Ready, id.into()),
            (None, Kind::Idles) => (ChannelState::Idle, Pick::Queue),
            _ => (ChannelState::Connecting, Pick::Wake(self.token.unwrap())),
        };
        actions.update(state, Arc::new(Asked(pick, Arc::clone(&self.asked))));
    }
}

/// A channel, and how often its pickers were asked, and its policy woken.
fn lazy(list: AddressList, kind: Kind) -> (Channel, [Arc<AtomicUsize>; 2]) {
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let [asked, woken] = counts.clone();
    let make = move || Lazy {
        kind,
        asked: Arc::clone(&asked),
        woken: Arc::clone(&woken),
        one: None,
        token: None,
    };
    (builder().resolver(list).balance(make).build().unwrap(), counts)
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_publishes_when_it_is_woken_is_woken_no_more_than_it_has_to() {
    for kind in [Kind::Wakes, Kind::Idles] {
        let (address, mut acceptor) = scripted("one");
        let (channel, [asked, woken]) = lazy(AddressList::new([address]), kind);
        let calls: Vec<_> = (0..3).map(|_| spawn_unary(&channel, b"x")).collect();
        sleep(SECOND).await;
        let (asked, woken) = (asked.load(Ordering::SeqCst), woken.load(Ordering::SeqCst));
        // Each call wakes it once, perhaps again after the attempt has begun.
        assert!(woken <= 6 && asked <= 40, "asked {asked} times, woken {woken} times");
        let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
        peer.flush().await;
        for _ in 0..3 {
            peer.echo().await;
        }
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), b"x");
        }
        // Once that connection is lost, a call wakes it again.
        drop(peer);
        sleep(SECOND).await;
        let next = spawn_unary(&channel, b"y");
        let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
        peer.flush().await;
        peer.echo().await;
        assert_eq!(next.await.unwrap().unwrap(), b"y");
    }
}

/// A call that waits sees the connection lost which it woke, and wakes another.
#[tokio::test(start_paused = true)]
async fn what_was_woken_and_is_lost_is_woken_again() {
    for kind in [Kind::Wakes, Kind::Idles] {
        let (address, mut acceptor) = scripted("one");
        let (channel, _) = lazy(AddressList::new([address]), kind);
        let call = spawn_unary(&channel, b"x");
        for _ in 0..3 {
            drop(timeout(SECOND * 60, accept(&mut acceptor)).await.expect("it connects"));
        }
        let mut peer = Peer::new(accept(&mut acceptor).await, Config::default());
        peer.flush().await;
        peer.echo().await;
        assert_eq!(call.await.unwrap().unwrap(), b"x");
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_under_such_policies() {
    for kind in [Kind::Wakes, Kind::Idles] {
        let (address, _acceptor) = scripted("silent");
        let (channel, [asked, _]) = lazy(AddressList::new([address]), kind);
        let status = unary(&channel, b"").timeout(SECOND).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(asked.load(Ordering::SeqCst) < 20, "asked {asked:?} times");
    }
}

/// There is always something new to wait for: that is asked for a few times until something else
/// has happened, others run, and the deadline comes.
#[tokio::test]
async fn deadlines_hold_though_each_picker_waits_for_something_else() {
    let (address, _acceptor) = scripted("silent");
    let (channel, [asked, _]) = lazy(AddressList::new([address]), Kind::WakesAnew);
    let call = tokio::spawn(async move {
        unary(&channel, b"").timeout(Duration::from_millis(100)).await.map(|_| channel)
    });
    let mut turns = 0;
    while !call.is_finished() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked < 200, "asked {asked} times");
    assert!(asked < 10 * turns, "asked {asked} times in {turns} turns of somebody else's");
}
