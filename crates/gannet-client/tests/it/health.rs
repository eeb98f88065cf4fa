//! Client-side health checking (gRFC A17), against servers that say how they feel.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::name::AddressList;
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelState};
use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, ServiceDescriptor, Status};
use gannet_server::{Service, Start, Started};
use gannet_transport::observe::{CallObserver, HealthUnchecked};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{Backend, backend, backend_with, builder, counts, until_all_answer, who};
use crate::peer::{Bytes, Got, Peers, unary};

static HEALTH: ServiceDescriptor = ServiceDescriptor::new(
    "grpc.health.v1.Health",
    &[MethodDescriptor::new("/grpc.health.v1.Health/Watch", MethodKind::ServerStreaming)],
);

const MINUTE: Duration = Duration::from_secs(60);
const SERVING: Mood = Ok(1);
const NOT_SERVING: Mood = Ok(2);

/// What a watch is told: a status of serving, or how it ends.
type Mood = Result<u8, &'static str>;

#[derive(Clone)]
struct Health(watch::Sender<Mood>);

impl Service for Health {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &HEALTH
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        let mut moods = self.0.subscribe();
        start.server_streaming::<Raw, Bytes, Bytes, _, _>(|call, request: Bytes, ends| async move {
            let mut answers = ends.open(&call);
            assert_eq!(request, b"\x0a\x04mail", "the service is asked for");
            let watch = async {
                loop {
                    let mood = *moods.borrow_and_update();
                    answers.send(vec![8, mood.map_err(Status::unavailable)?]).await?;
                    if moods.changed().await.is_err() {
                        return Ok(());
                    }
                }
            };
            let result = watch.await;
            (call, result)
        })
    }
}

fn moody(name: &'static str) -> (Backend, watch::Sender<Mood>) {
    let mood = watch::Sender::new(SERVING);
    let health = Health(mood.clone());
    (backend_with(name, |server| server.add(health)), mood)
}

fn channel(backends: &[&Backend], spread: bool) -> Channel {
    let list = AddressList::new(backends.iter().map(|backend| backend.address.clone()));
    let builder = builder().resolver(list).health_check("mail");
    let builder = if spread { builder.balance(RoundRobin::new) } else { builder };
    builder.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_feels_unwell_gets_no_calls_until_it_is_better() {
    let ((one, mood), (two, _)) = (moody("one"), moody("two"));
    let channel = channel(&[&one, &two], true);
    until_all_answer(&channel, 2).await;
    let _ = mood.send_replace(NOT_SERVING);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(counts(&channel, 10).await.keys().collect::<Vec<_>>(), ["two"]);
    let _ = mood.send_replace(SERVING);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(counts(&channel, 10).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn under_pick_first_calls_fail_and_say_why_and_wait_where_they_may() {
    let (one, mood) = moody("one");
    let _ = mood.send_replace(NOT_SERVING);
    let channel = channel(&[&one], false);
    let status = who(&channel).await.unwrap_err();
    assert_eq!(
        status.to_string(),
        "UNAVAILABLE: test:///backends is not healthy: one: the server says NOT_SERVING of \"mail\""
    );
    assert_eq!(channel.state(), ChannelState::TransientFailure);
    let waits = unary(&channel, b"").wait_for_ready(true).into_future();
    let (answer, ()) = tokio::join!(waits, async {
        sleep(MINUTE).await;
        let _ = mood.send_replace(SERVING);
    });
    assert_eq!(answer.unwrap(), b"one");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_the_method_counts() {
    let plain = backend("plain");
    let channel = channel(&[&plain], true);
    assert_eq!(who(&channel).await.unwrap(), "plain");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_is_made_again_with_pauses() {
    let (one, mood) = moody("one");
    let channel = channel(&[&one], true);
    until_all_answer(&channel, 1).await;
    let _ = mood.send_replace(Err("out of order"));
    sleep(Duration::from_millis(1)).await;
    let status = who(&channel).await.unwrap_err();
    assert!(status.message().contains("its health is not known"), "{status}");
    assert!(status.message().contains("out of order"), "{status}");
    let _ = mood.send_replace(SERVING);
    let start = Instant::now();
    let waits = unary(&channel, b"").wait_for_ready(true);
    waits.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn watching_is_no_call_and_ends_with_the_connection() {
    let (one, _mood) = moody("one");
    let list = AddressList::new([one.address.clone()]);
    let channel =
        builder().resolver(list).health_check("mail").idle_timeout(MINUTE).build().unwrap();
    who(&channel).await.unwrap();
    let idle = channel.wait_for_state_change(ChannelState::Ready);
    let idle = timeout(MINUTE * 2, idle).await.expect("nobody calls");
    assert_eq!(idle, ChannelState::Idle);
    who(&channel).await.unwrap();
}

/// Ends each watch after so many answers: when each was made, for a minute.
async fn watches(peers: &mut Peers, end: &[(&str, &str)], answers: usize) -> Vec<f64> {
    let mut peer = peers.accept().await;
    let (start, mut made) = (Instant::now(), Vec::new());
    let serves = async {
        loop {
            let (key, _) = peer.request().await;
            made.push(start.elapsed().as_secs_f64());
            peer.body(key).await;
            peer.respond(key, &[&b"\x08\x01"[..]].repeat(answers), end).await;
        }
    };
    let _ = timeout(MINUTE, serves).await;
    made
}

const UNAVAILABLE: &[(&str, &str)] = &[("grpc-status", "14")];

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_answered_is_made_again_at_once_but_not_in_a_circle() {
    let (channel, mut peers) = Peers::with(|builder| builder.health_check("mail"));
    channel.connect().unwrap();
    let made = watches(&mut peers, UNAVAILABLE, 1).await;
    assert!(made[1] < 0.1, "at once: {made:?}");
    assert!(made[2] - made[1] > 0.7, "{made:?}");
    assert!((50..=130).contains(&made.len()), "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_not_is_made_again_with_growing_pauses() {
    let (channel, mut peers) = Peers::with(|builder| builder.health_check("mail"));
    channel.connect().unwrap();
    let made = watches(&mut peers, UNAVAILABLE, 0).await;
    let mut want = 1.0;
    for pair in made.windows(2) {
        let pause = pair[1] - pair[0];
        assert!((want * 0.79 - 0.02..want * 1.21 + 0.02).contains(&pause), "{want}: {made:?}");
        want *= 1.6;
    }
    assert!(made.len() > 4, "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_unimplemented_is_not_made_again_though_it_was_answered() {
    for answers in [0, 1] {
        let (channel, mut peers) = Peers::with(|builder| builder.health_check("mail"));
        channel.connect().unwrap();
        let made = watches(&mut peers, &[("grpc-status", "12")], answers).await;
        assert_eq!((made.len(), channel.state()), (1, ChannelState::Ready));
    }
}

/// Of which servers it is told.
#[derive(Clone, Default)]
struct Unchecked(Arc<Mutex<Vec<String>>>);

impl Unchecked {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl CallObserver for Unchecked {
    fn health_unchecked(&self, server: &HealthUnchecked<'_>) {
        let HealthUnchecked { target, address, service, .. } = server;
        self.0.lock().unwrap().push(format!("{service:?} at {address} of {target}"));
    }
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_once_for_each_connection_whose_server_has_no_health_service() {
    let (one, other) = (Unchecked::default(), Unchecked::default());
    let (channel, mut peers) = Peers::with(|builder| {
        builder.health_check("mail").observe(one.clone()).observe(other.clone())
    });
    for _ in 0..2 {
        channel.connect().unwrap();
        let made = watches(&mut peers, &[("grpc-status", "12")], 0).await;
        assert_eq!(made.len(), 1);
        assert_eq!(channel.wait_for_state_change(ChannelState::Ready).await, ChannelState::Idle);
        let told = "\"mail\" at in-process of in-process:///in-process";
        assert_eq!((one.take(), other.take()), (vec![told.to_owned()], vec![told.to_owned()]));
    }
    // One that can be asked, and does not answer or feels well.
    for answers in [0, 1] {
        let (channel, mut peers) =
            Peers::with(|builder| builder.health_check("mail").observe(one.clone()));
        channel.connect().unwrap();
        watches(&mut peers, UNAVAILABLE, answers).await;
        assert_eq!(one.take(), [""; 0]);
    }
}

/// Credentials that never come.
struct Hangs;

impl gannet_client::CallCredentials for Hangs {
    async fn metadata(
        &self,
        _: gannet_client::CredentialsRequest,
    ) -> gannet_core::Result<gannet_core::Metadata> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_never_come_keep_neither_calls_waiting_nor_the_channel() {
    for waits in [false, true] {
        let (channel, mut peers) = Peers::with(|builder| {
            builder
                .health_check("mail")
                .credentials(Hangs)
                .allow_credentials_without_tls(true)
                .idle_timeout(Duration::MAX)
        });
        channel.connect().unwrap();
        let mut peer = peers.accept().await;
        sleep(Duration::from_secs(1)).await;
        if waits {
            let status = who(&channel).await.unwrap_err();
            let told = status.message();
            assert!(told.contains("in-process: its health is not known: call cred"), "{told}");
        }
        let dropped = Instant::now();
        drop(channel);
        let closed = async { while peer.next().await != Got::Closed {} };
        timeout(MINUTE * 600, closed).await.expect("a channel that is gone keeps its connection");
        assert!(dropped.elapsed() < Duration::from_secs(1));
    }
}
