//! Check, List and Watch; what a drain does; how much a peer can have kept.

use std::future::{IntoFuture, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use gannet::codec::Buffa;
use gannet::server::Service;
use gannet::services::health::v1::{
    HEALTH, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use gannet::services::health::{Health, HealthServer, ServingStatus};
use gannet::{Channel, Code, Inbound, Result, Server, pipe};
use gannet_http2::Reason;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::wire::{
    ACK, DATA, END, END_HEADERS, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Wire, block, frame,
    settings,
};

/// The head of a call of `Watch`, and its request for the server as a whole.
fn watch_by_hand() -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Watch"),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    [head, frame(DATA, END, 1, &[0; 5])].concat()
}

/// However much waits for a peer whose window is 0.
#[tokio::test(start_paused = true)]
async fn who_watches_and_reads_nothing_does_not_hold_a_drain_up() {
    for flaps in [0, 100_000] {
        let (connector, listener) = pipe();
        let health = Health::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Server::new().add(health.server()).serve(listener);
        let serving = serving.shutdown_on(stopped, Duration::from_secs(3600));
        let serving = tokio::spawn(serving.into_future());
        let mut wire = Wire::new(connector.connect().await.unwrap().0);
        let window = settings(&[(4, 0)]);
        let hello = [PREFACE, &window, &frame(SETTINGS, ACK, 0, b""), &watch_by_hand()].concat();
        wire.send(&hello).await;
        wire.next_of(HEADERS).await;
        for n in 0..flaps {
            match n % 2 {
                0 => health.set_not_serving(""),
                _ => health.set_serving(""),
            }
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        let reading = async {
            let mut reset = None;
            while let Some(frame) = wire.next().await {
                match frame.kind {
                    PING if frame.flags & ACK == 0 => wire.send(&pong(&frame.payload)).await,
                    RST_STREAM => reset = Some(frame.reason()),
                    DATA => panic!("more than the window"),
                    _ => {}
                }
            }
            reset
        };
        // The grace period is an hour.
        let reset = tokio::time::timeout(Duration::from_secs(10), reading).await;
        assert_eq!(reset, Ok(Some(Reason::CANCEL)), "after {flaps} changes");
        serving.await.unwrap().unwrap();
    }
}

fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PING, ACK, 0, payload)
}

/// A server with health, a channel to it, and what ends it.
struct Served {
    health: Health,
    channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), gannet::server::ServeError>>,
}

fn serve() -> Served {
    serve_with(Health::new())
}

fn serve_with(health: Health) -> Served {
    let server = health.server();
    serve_service(health, server)
}

fn serve_service(health: Health, server: HealthServer) -> Served {
    let (connector, listener) = pipe();
    let (stop, stopped) = oneshot::channel();
    let serving = Server::new().add(server).serve(listener);
    let serving = serving.shutdown_on(stopped, Duration::from_secs(3600));
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    Served { health, channel, stop: Some(stop), serving: tokio::spawn(serving.into_future()) }
}

impl Served {
    async fn check(&self, service: &str) -> Result<ServingStatus, Code> {
        let call =
            self.channel.unary::<Buffa, _, HealthCheckResponse>(&HEALTH.methods[0], ask(service));
        call.await.map(status).map_err(|error| error.code())
    }

    async fn list(&self) -> Result<Vec<(String, ServingStatus)>, Code> {
        let request = HealthListRequest::default();
        let call = self.channel.unary::<Buffa, _, HealthListResponse>(&HEALTH.methods[1], request);
        let response = call.await.map_err(|error| error.code())?;
        let statuses = response.statuses.into_iter();
        let mut statuses: Vec<_> = statuses.map(|(name, it)| (name, status(it))).collect();
        statuses.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(statuses)
    }

    async fn watch(&self, service: &str) -> Inbound<HealthCheckResponse> {
        let channel = &self.channel;
        channel.server_streaming::<Buffa, _, _>(&HEALTH.methods[2], ask(service)).await.unwrap()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned(), ..Default::default() }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map`")]
fn status(response: HealthCheckResponse) -> ServingStatus {
    response.status.as_known().unwrap()
}

async fn next(watched: &mut Inbound<HealthCheckResponse>) -> ServingStatus {
    status(watched.next().await.unwrap().unwrap())
}

/// Whether nothing comes for long.
async fn is_silent(watched: &mut Inbound<HealthCheckResponse>) -> bool {
    tokio::time::timeout(Duration::from_secs(60), watched.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn check_tells_what_was_said() {
    let served = serve();
    assert_eq!(served.check("").await, Ok(ServingStatus::SERVING));
    assert_eq!(served.check("shop.Orders").await, Err(Code::NotFound));
    served.health.set_serving("shop.Orders");
    assert_eq!(served.check("shop.Orders").await, Ok(ServingStatus::SERVING));
    served.health.set_not_serving("shop.Orders");
    assert_eq!(served.check("shop.Orders").await, Ok(ServingStatus::NOT_SERVING));
    assert_eq!(served.check("shop.orders").await, Err(Code::NotFound));
    assert_eq!(served.check("").await, Ok(ServingStatus::SERVING));
    served.health.clear("shop.Orders");
    assert_eq!(served.check("shop.Orders").await, Err(Code::NotFound));
    served.health.clear("");
    assert_eq!(served.check("").await, Err(Code::NotFound));
}

#[tokio::test(start_paused = true)]
async fn list_tells_of_a_hundred_and_no_more() {
    let served = serve();
    assert_eq!(served.list().await, Ok(vec![(String::new(), ServingStatus::SERVING)]));
    (0..98).for_each(|n| served.health.set_serving(&format!("s{n:02}")));
    served.health.set_not_serving("t");
    // One that is only watched is not listed.
    let mut watched = served.watch("u").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVICE_UNKNOWN);
    let all = served.list().await.unwrap();
    assert_eq!(all.len(), 100);
    assert_eq!(all[1], ("s00".to_owned(), ServingStatus::SERVING));
    assert_eq!(all[99], ("t".to_owned(), ServingStatus::NOT_SERVING));
    served.health.set_serving("u");
    assert_eq!(served.list().await, Err(Code::ResourceExhausted));
}

#[tokio::test(start_paused = true)]
async fn watch_tells_at_once_and_then_each_change() {
    let served = serve();
    let mut watched = served.watch("").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    served.health.set_serving("");
    served.health.set_serving("another");
    assert!(is_silent(&mut watched).await);
    served.health.set_not_serving("");
    assert_eq!(next(&mut watched).await, ServingStatus::NOT_SERVING);
    served.health.clear("");
    assert_eq!(next(&mut watched).await, ServingStatus::SERVICE_UNKNOWN);
    assert!(is_silent(&mut watched).await);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_be_watched_before_it_is_known() {
    let served = serve();
    let mut watched = served.watch("later").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVICE_UNKNOWN);
    assert!(is_silent(&mut watched).await);
    served.health.shutdown();
    served.health.set_serving("later");
    assert!(is_silent(&mut watched).await);
    served.health.resume();
    served.health.set_serving("later");
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nothing_counts_until_it_is_resumed() {
    let served = serve();
    served.health.set_serving("a");
    let mut watched = served.watch("a").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    served.health.shutdown();
    assert_eq!(next(&mut watched).await, ServingStatus::NOT_SERVING);
    served.health.set_serving("a");
    served.health.clear("");
    served.health.set_serving("b");
    assert_eq!(served.check("a").await, Ok(ServingStatus::NOT_SERVING));
    assert_eq!(served.check("").await, Ok(ServingStatus::NOT_SERVING));
    assert_eq!(served.check("b").await, Err(Code::NotFound));
    assert!(is_silent(&mut watched).await);
    served.health.resume();
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    assert_eq!(served.check("").await, Ok(ServingStatus::SERVING));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_says_so_and_does_not_wait_for_those_who_watch() {
    let mut served = serve();
    served.health.set_serving("a");
    let mut known = [served.watch("").await, served.watch("a").await];
    for watched in &mut known {
        assert_eq!(next(watched).await, ServingStatus::SERVING);
    }
    let mut unknown = served.watch("b").await;
    assert_eq!(next(&mut unknown).await, ServingStatus::SERVICE_UNKNOWN);
    served.stop();
    for watched in &mut known {
        assert_eq!(next(watched).await, ServingStatus::NOT_SERVING);
        assert_eq!(watched.next().await.unwrap_err().code(), Code::Unavailable);
    }
    assert_eq!(unknown.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(served.health.status("a"), Some(ServingStatus::NOT_SERVING));
    // The grace period is an hour.
    let ended = tokio::time::timeout(Duration::from_secs(10), served.serving).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_service_ends_its_watches_when_the_server_drains() {
    let mut served = serve();
    served.health.shutdown();
    let mut watched = served.watch("").await;
    assert_eq!(next(&mut watched).await, ServingStatus::NOT_SERVING);
    served.stop();
    assert_eq!(watched.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_gets_the_last_state() {
    let served = serve();
    let mut watched = served.watch("").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    let flaps = 200_000;
    for n in 0..flaps {
        match n % 2 {
            0 => served.health.set_not_serving(""),
            _ => served.health.set_serving(""),
        }
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    served.health.set_not_serving("");
    let (mut count, mut last) = (0, None);
    while let Ok(got) = tokio::time::timeout(Duration::from_secs(60), watched.next()).await {
        last = Some(status(got.unwrap().unwrap()));
        count += 1;
    }
    assert_eq!(last, Some(ServingStatus::NOT_SERVING));
    assert!(count < flaps / 5, "{count} of {flaps} were kept for who does not read");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cancelled_is_forgotten() {
    let served = serve();
    for n in 0..100 {
        let mut watched = served.watch(&format!("unknown {n}")).await;
        assert_eq!(next(&mut watched).await, ServingStatus::SERVICE_UNKNOWN);
    }
    served.health.set_serving("known");
    assert_eq!(served.check("known").await, Ok(ServingStatus::SERVING));
    assert_eq!(format!("{:?}", served.health).matches("SERVING").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_too_long_is_not_kept() {
    let served = serve();
    let name = "n".repeat(1025);
    let mut refused = served.watch(&name).await;
    assert_eq!(refused.next().await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(served.check(&name).await, Err(Code::NotFound));
    let mut longest = served.watch(&name[1..]).await;
    assert_eq!(next(&mut longest).await, ServingStatus::SERVICE_UNKNOWN);
    served.health.set_serving(&name);
    let mut known = served.watch(&name).await;
    assert_eq!(next(&mut known).await, ServingStatus::SERVING);
}

#[tokio::test(start_paused = true)]
async fn two_servers_may_share_a_handle_and_the_other_goes_on() {
    let health = Health::new();
    let (mut first, second) = (serve_with(health.clone()), serve_with(health));
    let mut watched = second.watch("").await;
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    first.stop();
    assert_eq!(next(&mut watched).await, ServingStatus::NOT_SERVING);
    first.health.resume();
    assert_eq!(next(&mut watched).await, ServingStatus::SERVING);
    let mut waiting = pin!(watched.next());
    let is_open = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
    assert!(is_open);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_is_not_serving_whatever_is_said_then() {
    let health = Health::new();
    health.set_serving("a");
    let server = health.server();
    server.draining();
    health.resume();
    health.set_serving("b");
    assert_eq!(health.status("b"), Some(ServingStatus::SERVING));
    let served = serve_service(health, server);
    for service in ["", "a", "b"] {
        assert_eq!(served.check(service).await, Ok(ServingStatus::NOT_SERVING));
        let mut watched = served.watch(service).await;
        assert_eq!(next(&mut watched).await, ServingStatus::NOT_SERVING);
        assert_eq!(watched.next().await.unwrap_err().code(), Code::Unavailable);
    }
    let all = served.list().await.unwrap();
    assert!(all.iter().all(|(_, status)| *status == ServingStatus::NOT_SERVING), "{all:?}");
    assert_eq!(all.len(), 3);
}
