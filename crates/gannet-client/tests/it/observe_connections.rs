//! What observers are told of a channel's connections (gRFC A94).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::Channel;
use gannet_client::name::{Address, Resolution, Resolver, Updates};
use gannet_client::policy::RoundRobin;
use gannet_http2::Reason;
use gannet_transport::observe::{CallObserver, ConnectionChange, ConnectionEvent};
use gannet_transport::{Listener, pipe};

use crate::peer::{Peers, accept, dead_port, unary};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    async fn take(&self) -> Vec<String> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl CallObserver for Log {
    fn connection(&self, event: &ConnectionEvent<'_>) {
        let what = match event.change {
            ConnectionChange::Opened => "opened".to_owned(),
            ConnectionChange::Failed(status) => format!("failed with {}", status.code().name()),
            ConnectionChange::Closed(why) => format!("closed: {}", why.label()),
            _ => "something new".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{} {} {what}", event.target, event.address));
    }
}

const PIPE: &str = "in-process:///in-process in-process";

fn of_pipe(what: &str) -> Vec<String> {
    vec![format!("{PIPE} {what}")]
}

#[tokio::test(start_paused = true)]
async fn connections_are_told_of_with_their_ends() {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| builder.observe(log.clone()));
    let mut peer = {
        let call = tokio::spawn({
            let channel = channel.clone();
            async move { unary(&channel, b"one").await }
        });
        let mut peer = peers.accept().await;
        peer.echo().await;
        call.await.unwrap().unwrap();
        peer
    };
    assert_eq!(log.take().await, of_pipe("opened"));
    // The first reason counts, and is told once.
    peer.conn.goaway(Reason::ENHANCE_YOUR_CALM, b"");
    peer.flush().await;
    assert_eq!(log.take().await, of_pipe("closed: GOAWAY ENHANCE_YOUR_CALM"));
    drop(peer);
    assert_eq!(log.take().await, [""; 0]);

    let call = tokio::spawn({
        let channel = channel.clone();
        async move { unary(&channel, b"other").await }
    });
    let mut peer = peers.accept().await;
    peer.echo().await;
    call.await.unwrap().unwrap();
    assert_eq!(log.take().await, of_pipe("opened"));
    drop(peer);
    assert_eq!(log.take().await, of_pipe("closed: unknown"), "without a word");

    let call = tokio::spawn({
        let channel = channel.clone();
        async move { unary(&channel, b"third").await }
    });
    let mut peer = peers.accept().await;
    peer.echo().await;
    call.await.unwrap().unwrap();
    assert_eq!(log.take().await, of_pipe("opened"));
    drop(channel);
    assert_eq!(log.take().await, of_pipe("closed: subchannel shutdown"));
}

#[tokio::test]
async fn attempts_that_fail_are_told_of() {
    let log = Log::default();
    let address = format!("127.0.0.1:{}", dead_port());
    let builder = Channel::builder(format!("ipv4:{address}")).observe(log.clone());
    let channel = builder.build().unwrap();
    unary(&channel, b"").await.unwrap_err();
    let told = log.take().await;
    assert_eq!(told, [format!("ipv4:{address} {address} failed with UNAVAILABLE")]);
}

/// Both at once.
struct Two([Address; 2]);

impl Resolver for Two {
    async fn watch(&self, updates: Updates) {
        updates.resolved(Resolution::new(self.0.clone()));
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_another_was_faster_than_is_not_told_of() {
    let log = Log::default();
    let (silent, silent_end) = pipe();
    let (good, good_end) = pipe();
    let two = [("silent", silent), ("good", good)];
    let two = two.map(|(name, connector)| Address::in_process(name, connector));
    let builder = Channel::builder("two").resolver(Two(two)).observe(log.clone());
    let channel = builder.build().unwrap();
    let call = tokio::spawn(async move { unary(&channel, b"hello").await });
    let mut silent = Listener::from(silent_end).into_acceptor().unwrap();
    let _nothing = accept(&mut silent).await;
    let mut good = Listener::from(good_end).into_acceptor().unwrap();
    let mut peer = crate::peer::Peer::new(accept(&mut good).await, Default::default());
    peer.flush().await;
    peer.echo().await;
    call.await.unwrap().unwrap();
    let told = log.take().await;
    let changes: Vec<_> = told.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(changes[0], "good opened", "{told:?}");
    assert!(changes.iter().all(|change| !change.contains("silent")), "{told:?}");
}

/// Panics whenever it is told of a connection.
struct Panicking;

impl CallObserver for Panicking {
    fn connection(&self, event: &ConnectionEvent<'_>) {
        panic!("{} is new", event.address);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_keeps_nobody_from_connecting() {
    let (channel, mut peers) = Peers::with(|builder| {
        let builder = builder.observe(Panicking).balance(RoundRobin::new);
        builder.observe(Log::default())
    });
    for _ in 0..3 {
        let call = tokio::spawn({
            let channel = channel.clone();
            async move { unary(&channel, b"x").wait_for_ready(true).await }
        });
        let mut peer = peers.accept().await;
        peer.echo().await;
        call.await.unwrap().unwrap();
        drop(peer);
    }
}
