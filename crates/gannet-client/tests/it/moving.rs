//! One channel that is called from several runtimes, some of which nobody runs any more.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{panic, thread};

use gannet_client::name::{Address, Resolution, Resolver, Updates};
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelBuilder, ChannelState};
use gannet_core::Code;
use gannet_transport::Acceptor;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::backends::{builder, scripted};
use crate::peer::{Peer, Peers, accept, unary};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Some whose time stands still while nobody runs them.
fn runtimes<const N: usize>() -> [Runtime; N] {
    std::array::from_fn(|_| {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    })
}

/// The same, whose time is the same at first, however long it takes to make them.
fn runtimes_in_step<const N: usize>() -> [Runtime; N] {
    let on = runtimes::<N>();
    let starts = on.each_ref().map(|on| on.block_on(async { Instant::now() }));
    let start = *starts.iter().max().unwrap();
    on.iter().for_each(|on| on.block_on(async { advance(start - Instant::now()).await }));
    on
}

/// Accepts, sends SETTINGS that allow no call, and hangs up: how often, in this time.
async fn hang_up(peers: &mut Peers, within: Duration) -> usize {
    peers.config.concurrent_streams_max = 0;
    let mut connections = 0;
    let accepts = async {
        loop {
            let peer = peers.accept().await;
            connections += 1;
            sleep(MS * 5).await;
            drop(peer);
        }
    };
    let _ = timeout(within, accepts).await;
    connections
}

/// Turns of 20 ms each, in which a call is made for so long.
fn take_turns(
    channel: &Channel,
    peers: &mut Peers,
    on: &[Runtime],
    turns: usize,
    call: Duration,
) -> usize {
    let mut connections = 0;
    for turn in 0..turns {
        connections += on[turn % on.len()].block_on(async {
            let call = timeout(call, unary(channel, b"").wait_for_ready(true).into_future());
            let (_, connections) = tokio::join!(call, hang_up(peers, MS * 20));
            connections
        });
    }
    connections
}

#[test]
fn a_server_that_hangs_up_is_not_stormed_by_callers_on_several_runtimes() {
    for call in [MS * 2, MS * 15] {
        let on = runtimes_in_step::<4>();
        let (channel, mut peers) = Peers::new();
        // 0.5 s on each runtime's clock: two at once, and the third after a second.
        let connections = take_turns(&channel, &mut peers, &on, 100, call);
        assert_eq!(connections, 2, "calls of {call:?}");
        // It goes on, by the backoff, which was not begun anew.
        let connections = take_turns(&channel, &mut peers, &on, 800, call);
        assert!((1..=3).contains(&connections), "{connections} with calls of {call:?}");
    }
}

/// Tells one address, and counts how often it was begun, and asked.
struct Counts {
    address: Address,
    begun: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Resolver for Counts {
    async fn watch(&self, updates: Updates) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        loop {
            updates.resolved(Resolution::new([self.address.clone()]));
            updates.asked().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Answers one call and closes the connection.
async fn serve_once(acceptor: &mut Acceptor) {
    let mut peer = Peer::new(accept(acceptor).await, gannet_http2::Config::default());
    peer.flush().await;
    peer.echo().await;
    drop(peer);
    sleep(MS).await;
}

#[test]
fn a_resolver_of_a_channel_that_moves_is_begun_once_a_second_at_most() {
    let on = runtimes::<3>();
    let (begun, asked) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (address, mut acceptor) = scripted("one");
    let resolver = Counts { address, begun: Arc::clone(&begun), asked: Arc::clone(&asked) };
    let channel = builder().resolver(resolver).build().unwrap();
    // 300 connections in two seconds, which move each time.
    for turn in 0..300 {
        on[turn % 3].block_on(async {
            let call = unary(&channel, b"x").timeout(SECOND * 10).into_future();
            let (reply, ()) = tokio::join!(call, serve_once(&mut acceptor));
            assert_eq!(reply.unwrap(), b"x");
            sleep(MS * 18).await;
        });
        assert_eq!(channel.state(), ChannelState::Idle);
    }
    let (begun, asked) = (begun.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
    // Once at first, and after each of two seconds, to which each of the three clocks comes by
    // itself: the others stand still meanwhile.
    assert!((2..=7).contains(&begun) && asked <= 7, "begun {begun} times, asked {asked} times");
}

/// Has a call on one runtime, while the channel connects on another that nobody runs.
fn connects_elsewhere(change: impl Fn(ChannelBuilder) -> ChannelBuilder) {
    let [first, second] = runtimes();
    let (channel, mut peers) = Peers::with(change);
    {
        let _entered = first.enter();
        channel.connect().unwrap();
    }
    assert_eq!(channel.state(), ChannelState::Connecting);
    second.block_on(async {
        let start = Instant::now();
        let call = unary(&channel, b"x").timeout(SECOND * 60).into_future();
        let (reply, peer) = tokio::join!(call, async {
            let mut peer = timeout(SECOND * 50, peers.accept()).await.expect("it connects");
            peer.echo().await;
            peer
        });
        assert_eq!(reply.unwrap(), b"x");
        assert!(start.elapsed() < SECOND * 3, "{:?}", start.elapsed());
        // The next ones need not wait.
        let start = Instant::now();
        let server = tokio::spawn(peer.echo_all());
        unary(&channel, b"x").await.unwrap();
        assert!(start.elapsed() < SECOND / 100);
        drop(channel);
        server.await.unwrap();
    });
}

#[test]
fn a_channel_that_connects_where_nobody_runs_it_moves_to_who_calls() {
    connects_elsewhere(|builder| builder);
    connects_elsewhere(|builder| builder.balance(RoundRobin::new));
}

/// An attempt that was begun there is made anew.
#[test]
fn an_attempt_that_nobody_runs_is_made_anew() {
    let [first, second] = runtimes();
    let (channel, mut peers) = Peers::new();
    let silent = first.block_on(async {
        let call = unary(&channel, b"").timeout(MS * 10).into_future();
        tokio::join!(call, peers.silent()).1
    });
    assert_eq!(channel.state(), ChannelState::Connecting);
    second.block_on(async {
        let call = unary(&channel, b"x").timeout(SECOND * 60).into_future();
        let (reply, ()) = tokio::join!(call, async {
            timeout(SECOND * 3, peers.accept()).await.expect("it connects").echo().await;
        });
        assert_eq!(reply.unwrap(), b"x");
    });
    drop(silent);
}

#[test]
fn failures_of_a_runtime_that_nobody_runs_do_not_last() {
    for spread in [false, true] {
        let [first, second] = runtimes();
        let (channel, mut peers) = Peers::with(|builder| match spread {
            true => builder.balance(RoundRobin::new),
            false => builder,
        });
        first.block_on(async {
            let refuses = async { drop(peers.silent().await) };
            let (failed, ()) = tokio::join!(unary(&channel, b"").into_future(), refuses);
            failed.unwrap_err();
        });
        assert_eq!(channel.state(), ChannelState::TransientFailure);
        second.block_on(async {
            let server = async { peers.accept().await.echo().await };
            let calls = async {
                loop {
                    match unary(&channel, b"x").await {
                        Ok(reply) => break assert_eq!(reply, b"x"),
                        Err(_) => sleep(SECOND / 10).await,
                    }
                }
            };
            let both = async { tokio::join!(server, calls) };
            timeout(SECOND * 10, both).await.expect("the failure is an old one");
        });
    }
}

/// Calls on other runtimes leave a channel where it is that somebody looks after.
#[test]
fn a_runtime_that_runs_keeps_its_channel() {
    let (address, mut acceptor) = scripted("silent");
    let begun = Arc::<AtomicUsize>::default();
    let resolver = Counts { address, begun: Arc::clone(&begun), asked: Arc::default() };
    let channel = builder().resolver(resolver).build().unwrap();
    let on = runtimes::<2>();
    let _silent = on[0].block_on(async {
        channel.connect().unwrap();
        accept(&mut acceptor).await
    });
    // No attempt is over, and no call is answered: ten seconds on each clock.
    let mut calls: [_; 2] = [(); 2].map(|()| Box::pin(unary(&channel, b"").into_future()));
    for turn in 0..200 {
        on[turn % 2].block_on(async {
            let _ = timeout(SECOND / 10, calls[turn % 2].as_mut()).await;
        });
    }
    let more = on[1].block_on(async { timeout(MS, accept(&mut acceptor)).await.is_ok() });
    assert!(!more, "another attempt");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

/// The runtime that has the channel may only be late, and its connection goes on there.
#[test]
fn a_runtime_with_a_connection_keeps_its_channel() {
    let on = runtimes::<2>();
    let (address, mut acceptor) = scripted("unwell");
    let begun = Arc::<AtomicUsize>::default();
    let resolver = Counts { address, begun: Arc::clone(&begun), asked: Arc::default() };
    // Health is asked for, and never told: calls wait.
    let channel = builder().balance(RoundRobin::new).health_check("mail").resolver(resolver);
    let channel = channel.build().unwrap();
    let mut peer = on[0].block_on(async {
        channel.connect().unwrap();
        let mut peer = Peer::new(accept(&mut acceptor).await, gannet_http2::Config::default());
        peer.flush().await;
        peer.request().await;
        peer
    });
    on[1].block_on(async {
        let status = unary(&channel, b"").timeout(SECOND * 10).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        peer.flush().await;
        let more = timeout(MS, accept(&mut acceptor)).await.is_ok();
        assert!(!more, "another connection");
    });
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

/// How often this thread panics from here on.
fn panics_here() -> Arc<AtomicUsize> {
    static HOOK: Mutex<()> = Mutex::new(());
    let _hook = HOOK.lock().unwrap();
    let panics = Arc::<AtomicUsize>::default();
    let (count, here, others) = (Arc::clone(&panics), thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() == here {
            count.fetch_add(1, Ordering::SeqCst);
        }
        others(info);
    }));
    panics
}

fn without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// While the channel's own runtime connects, which takes its time.
#[test]
fn a_call_waits_on_a_runtime_without_timers() {
    let (channel, mut peers) = Peers::new();
    let panics = panics_here();
    let (connecting, connects) = std::sync::mpsc::channel();
    let (done, is_done) = tokio::sync::oneshot::channel();
    thread::scope(|scope| {
        let channel = &channel;
        scope.spawn(move || {
            let first = Builder::new_current_thread().enable_all().build().unwrap();
            first.block_on(async {
                channel.connect().unwrap();
                let silent = peers.silent().await;
                connecting.send(()).unwrap();
                sleep(SECOND * 5 / 2).await;
                let mut peer = Peer::new(silent, gannet_http2::Config::default());
                peer.flush().await;
                peer.echo().await;
                is_done.await.unwrap();
            });
        });
        connects.recv().unwrap();
        let reply = without_timers().block_on(unary(channel, b"x").into_future());
        done.send(()).unwrap();
        assert_eq!(reply.unwrap(), b"x");
    });
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}

/// Nobody runs the channel's own: it moves to where there are timers, which a call without a
/// deadline does not need itself.
#[test]
fn a_call_without_a_deadline_does_not_wait_for_a_runtime_that_nobody_runs() {
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let (channel, mut peers) = Peers::new();
    {
        let _entered = first.enter();
        channel.connect().unwrap();
    }
    assert_eq!(channel.state(), ChannelState::Connecting);
    let panics = panics_here();
    let reply = without_timers().block_on(async {
        let server = async { peers.accept().await.echo().await };
        tokio::join!(unary(&channel, b"x").into_future(), server).0
    });
    assert_eq!(reply.unwrap(), b"x");
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}
