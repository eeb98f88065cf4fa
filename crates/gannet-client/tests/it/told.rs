//! What calls are told that ended without an answer: where they were, how far, and why.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::{AddressList, Resolver, Updates};
use gannet_client::policy::{Actions, Event, Policy, Queueing, RoundRobin};
use gannet_client::{CallCredentials, ChannelState, CredentialsRequest};
use gannet_core::{Code, Metadata, Result, Status};
use tokio::time::sleep;

use crate::backends::{backend, builder, dead, scripted};
use crate::peer::{Got, HEAD, Peers, accept, download, unary};

const SECOND: Duration = Duration::from_secs(1);

fn late(outcome: Result<impl Sized>) -> String {
    let status = outcome.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    status.message().to_owned()
}

/// The start of what a call on a connection is told.
const PASSED: &str = "in-process: the deadline of the call to /test.Test/Unary has passed: ";

#[tokio::test(start_paused = true)]
async fn a_call_on_a_connection_is_told_where_that_leads_and_how_far_it_came() {
    let (channel, mut peers) = Peers::new();
    peers.config.concurrent_streams_max = 1;
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        // The first is not answered, the second half.
        let (key, ..) = peer.unary().await;
        peer.reset_of(key).await;
        peer.conn.forget(key);
        let (key, ..) = peer.unary().await;
        peer.begin(key, &[b"half"]).await;
        while peer.next().await != Got::Closed {}
    });
    let call = || unary(&channel, b"").timeout(SECOND).into_future();
    let first = call();
    let second = async {
        sleep(SECOND / 2).await;
        unary(&channel, b"").timeout(SECOND / 4).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(late(first), format!("{PASSED}no response has come"));
    assert_eq!(late(second), format!("{PASSED}the server has not allowed it a stream yet"));
    assert_eq!(late(call().await), format!("{PASSED}the response has begun and not ended"));
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_the_server_cancels_at_its_deadline_is_told_so_too() {
    let (channel, mut peers) = Peers::new();
    let start = tokio::time::Instant::now();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        tokio::time::sleep_until(start + SECOND).await;
        peer.headers(key, &[HEAD, &[("grpc-status", "1")]].concat(), true);
        peer.flush().await;
        peer
    });
    let told = late(unary(&channel, b"").deadline((start + SECOND).into_std()).await);
    assert!(told.starts_with(PASSED), "{told}");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_are_told_the_same() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        while peer.next().await != Got::Closed {}
    });
    let mut answers = download(&channel, b"").timeout(SECOND).await.unwrap();
    let told = late(answers.next().await);
    assert!(told.starts_with("in-process: the deadline of the call to /test.Test/Do"), "{told}");
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_whose_connection_is_lost_is_told_by_which_attempt_that_was_made() {
    let (channel, mut peers) = Peers::new();
    let server = tokio::spawn(async move {
        // The first attempt is refused, so to speak.
        drop(peers.silent().await);
        let mut peer = peers.accept().await;
        let _ = (peer.unary().await, peer.request().await);
    });
    let unary = unary(&channel, b"").wait_for_ready(true).into_future();
    let stream = async {
        let answers = download(&channel, b"").wait_for_ready(true).await;
        answers.unwrap().next().await
    };
    let (unary, stream) = tokio::join!(unary, stream);
    for status in [unary.unwrap_err(), stream.unwrap_err()] {
        assert_eq!(
            status.to_string(),
            "UNAVAILABLE: in-process: the connection was lost: the peer closed the connection with \
             calls open [attempt 2, READY]"
        );
    }
    server.await.unwrap();
}

/// Never come.
struct Hangs;

impl CallCredentials for Hangs {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_credentials_do_not_come() {
    let (channel, mut peers) =
        Peers::with(|builder| builder.credentials(Hangs).allow_credentials_without_tls(true));
    let server = tokio::spawn(async move { peers.accept().await.next().await });
    let told = late(unary(&channel, b"").timeout(SECOND).await);
    assert_eq!(told, format!("{PASSED}its call credentials have not come"));
    drop(channel);
    server.await.unwrap();
}

/// Never tells anything.
struct Silent;

impl Resolver for Silent {
    async fn watch(&self, _: Updates) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_name() {
    let channel = builder().resolver(Silent).build().unwrap();
    let told = late(unary(&channel, b"").timeout(SECOND).await);
    assert_eq!(
        told,
        "the deadline passed before test:///backends was connected: its name is not resolved yet"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_server_to_say_how_it_feels() {
    let (channel, mut peers) = Peers::with(|builder| builder.health_check("mail"));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        while peer.next().await != Got::Closed {}
    });
    let told = late(unary(&channel, b"").timeout(SECOND * 5).await);
    assert_eq!(
        told,
        "the deadline passed before in-process was ready: in-process [READY]: it has not said how \
         it feels"
    );
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_several_addresses() {
    let ((hole, mut first), (deaf, _accepts)) = (scripted("hole"), scripted("deaf"));
    let list = AddressList::new([hole, deaf, dead("dead")]);
    let channel = builder().resolver(list).balance(RoundRobin::new).build().unwrap();
    // One fails twice meanwhile.
    let fails = tokio::spawn(async move {
        drop(accept(&mut first).await);
        accept(&mut first).await
    });
    let told = late(unary(&channel, b"").timeout(SECOND + SECOND / 2).await);
    let (connecting, failed) = told.split_once(", dead: ").expect(&told);
    let (hole, deaf) = connecting.split_once(", deaf ").expect(connecting);
    let start = "the deadline passed before test:///backends was connected: hole [attempt 2, \
                 CONNECTING] after hole: ";
    assert!(hole.starts_with(start), "{told}");
    assert!(hole.ends_with(" [attempt 1, TRANSIENT_FAILURE]"), "{told}");
    assert_eq!(deaf, "[attempt 1, CONNECTING]", "{told}");
    assert!(failed.ends_with(" [attempt 2, TRANSIENT_FAILURE]"), "{told}");
    drop(channel);
    drop(fails.await);
}

/// Connects to all that it is told, and lets nothing through.
struct Hoards;

impl Policy for Hoards {
    fn handle(&mut self, event: Event, _: std::time::Instant, actions: &mut Actions) {
        if let Event::Resolved(resolution) = event {
            for endpoint in &resolution.endpoints {
                let id = actions.create(&endpoint.addresses()[0]);
                actions.connect(id);
            }
            actions.update(ChannelState::Connecting, std::sync::Arc::new(Queueing));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_a_policy_holds_back_and_more_addresses_than_are_told() {
    let names = ["one", "two", "three", "four", "five", "six"].map(backend);
    let list = AddressList::new(names.iter().map(|backend| backend.address.clone()));
    let channel = builder().resolver(list).balance(|| Hoards).build().unwrap();
    let told = late(unary(&channel, b"").timeout(SECOND).await);
    assert_eq!(
        told,
        "the deadline passed before test:///backends was ready: one [READY], two [READY], three \
         [READY], four [READY], and 2 more"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_ready_is_told_of_the_failures() {
    let list = AddressList::new([dead("dead")]);
    let channel = builder().resolver(list.clone()).build().unwrap();
    let told = late(unary(&channel, b"").wait_for_ready(true).timeout(SECOND * 2).await);
    let start = "the deadline passed before test:///backends was connected; last: cannot connect \
                 to test:///backends: dead: ";
    assert!(told.starts_with(start), "{told}");
    assert!(told.ends_with(" [attempt 2, TRANSIENT_FAILURE]"), "{told}");
    // Or of that of the name.
    let list = AddressList::new([dead("dead")]);
    list.fail(Status::unavailable("the registry is down"));
    let channel = builder().resolver(list).build().unwrap();
    let told = late(unary(&channel, b"").wait_for_ready(true).timeout(SECOND).await);
    assert!(told.ends_with("to test:///backends: the registry is down"), "{told}");
}
