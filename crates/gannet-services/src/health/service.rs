//! The service `grpc.health.v1.Health`.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use gannet_core::{Code, Result, ServiceDescriptor, Status};
use gannet_server::{Call, Service, Start, Started};
use gannet_transport::Outbound;

use super::ServingStatus;
use super::generated::grpc::health::v1::{self, HEALTH, HealthCheckRequest, HealthCheckResponse};
use super::generated::grpc::health::v1::{HealthListRequest, HealthListResponse};
use super::states::{States, Watcher};

/// Services in the response of `List` (gRFC A90).
const LIST_SERVICES_MAX: usize = 100;
/// Length of a name that is watched before anything was said of it, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// How long the end of a watch waits for its peer to read, once the server drains.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// Serves `grpc.health.v1.Health`. Made by [`Health::server`](super::Health::server).
#[derive(Debug)]
pub struct HealthServer {
    service: v1::HealthServer<Checks>,
    checks: Arc<Checks>,
}

#[derive(Debug)]
struct Checks {
    states: Arc<States>,
    /// The server that this was added to drains.
    is_draining: AtomicBool,
}

impl HealthServer {
    pub(super) fn new(states: Arc<States>) -> HealthServer {
        let checks = Arc::new(Checks { states, is_draining: AtomicBool::new(false) });
        HealthServer { service: v1::HealthServer::from_arc(Arc::clone(&checks)), checks }
    }
}

impl Service for HealthServer {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &HEALTH
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        self.service.call(method, start)
    }

    fn draining(&self) {
        let Checks { states, is_draining } = &*self.checks;
        states.shutdown();
        is_draining.store(true, Ordering::Release);
        states.wake_all();
    }
}

impl Checks {
    /// Whether the server drains, and how a service of this state is then. The state is to be
    /// looked at before: who sees no drain here is woken by it.
    fn seen(&self, status: ServingStatus) -> (ServingStatus, bool) {
        let is_draining = self.is_draining.load(Ordering::Acquire);
        match status {
            // Whatever was said since: the handle may be another server's, too.
            ServingStatus::SERVING if is_draining => (ServingStatus::NOT_SERVING, true),
            status => (status, is_draining),
        }
    }

    /// Sends a state; whether there was room for it. Where a peer does not read there may be none
    /// before the server drains.
    async fn tell(
        &self,
        status: ServingStatus,
        replies: &mut Outbound<HealthCheckResponse>,
        watcher: &mut Watcher,
    ) -> Result<bool> {
        let mut sending = pin!(replies.send(response(status)));
        loop {
            let mut changed = pin!(watcher.changed());
            let sent = poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => changed.as_mut().poll(cx).map(|()| None),
            });
            match sent.await {
                Some(sent) => return sent.map(|()| true),
                None if self.is_draining.load(Ordering::Acquire) => return Ok(false),
                None => {}
            }
        }
    }

    fn response(&self, status: ServingStatus) -> HealthCheckResponse {
        response(self.seen(status).0)
    }
}

impl v1::Health for Checks {
    async fn check(
        &self,
        _: &mut Call,
        request: HealthCheckRequest,
    ) -> Result<HealthCheckResponse> {
        let status = self.states.status(&request.service);
        let status = status.ok_or_else(|| Status::new(Code::NotFound, "unknown service"))?;
        Ok(self.response(status))
    }

    async fn list(&self, _: &mut Call, _: HealthListRequest) -> Result<HealthListResponse> {
        let Some(all) = self.states.all(LIST_SERVICES_MAX) else {
            let message = format!("there are more than {LIST_SERVICES_MAX} services to list");
            return Err(Status::new(Code::ResourceExhausted, message));
        };
        let all = all.into_iter();
        let statuses = all.map(|(name, status)| (name, self.response(status))).collect();
        Ok(HealthListResponse { statuses, ..Default::default() })
    }

    async fn watch(
        &self,
        call: &mut Call,
        request: HealthCheckRequest,
        mut replies: Outbound<HealthCheckResponse>,
    ) -> Result<()> {
        let Some(mut watcher) = self.states.watch(request.service, NAME_BYTES_MAX) else {
            let message = format!("the name is longer than {NAME_BYTES_MAX} bytes");
            return Err(Status::new(Code::InvalidArgument, message));
        };
        let mut told = None;
        loop {
            let (status, is_draining) = self.seen(watcher.status());
            if told != Some(status) && self.tell(status, &mut replies, &mut watcher).await? {
                told = Some(status);
                // What has changed meanwhile may have been noticed then.
                continue;
            }
            if is_draining || told != Some(status) {
                // Whoever does not read does not hold the drain up.
                call.answer_within(LAST_WORDS_MAX);
                return Err(Status::new(Code::Unavailable, "the server shuts down"));
            }
            watcher.changed().await;
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::health::Health;

    /// A drain that begins before a watch has looked for it is seen; one that begins after that
    /// wakes the watch.
    #[test]
    fn no_watch_misses_a_drain() {
        for is_before in [true, false] {
            let server = Health::new().server();
            let states = &server.checks.states;
            let mut watcher = states.watch(String::new(), NAME_BYTES_MAX).unwrap();
            let status = watcher.status();
            if is_before {
                server.draining();
            }
            let seen = server.checks.seen(status);
            if !is_before {
                server.draining();
            }
            let mut changed = std::pin::pin!(watcher.changed());
            let woken = changed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            match is_before {
                true => assert_eq!(seen, (ServingStatus::NOT_SERVING, true)),
                false => {
                    assert_eq!(seen, (ServingStatus::SERVING, false));
                    assert_eq!(woken, Poll::Ready(()));
                }
            }
        }
    }
}
