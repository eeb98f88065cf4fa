//! Client-side health checking (gRFC A17), against servers that say how they feel.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::name::AddressList;
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, ChannelState};
use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, ServiceDescriptor, Status};
use gannet_server::{Service, Start, Started};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backends::{Backend, backend, backend_with, builder, counts, until_all_answer, who};
use crate::peer::{Bytes, unary};

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
