//! Streams that an interceptor stands in: tasks that carry messages between the application and the
//! call, or answer in the call's place.
//!
//! The application holds the ends of streams within the process ([`Relay`]). What cancels a call
//! without interceptors does so through these, too: each task hears of it, and ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use gannet_core::codec::Raw;
use gannet_core::{MessageCodec, Metadata, MethodDescriptor, Result, Status};
use gannet_transport::{CallShared, Inbound, Outbound, Relay, RelayKind, Source};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep_until};

use super::WITH_INTERCEPTORS;
use crate::link::deadline_exceeded;

type Timer = Pin<Box<Sleep>>;

type PumpFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Puts `wrap` between the application and the stream of requests `to`; what requests go into then.
///
/// # Errors
/// INTERNAL outside a tokio runtime.
pub(super) fn wrap_requests<F, Fut>(
    to: Arc<CallShared>,
    send_bytes_max: usize,
    wrap: F,
) -> Result<Arc<CallShared>>
where
    F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = runtime()?;
    let relay = Relay::new(RelayKind::Requests);
    let requests = Arc::clone(relay.shared());
    to.set_send_bytes_max(send_bytes_max);
    to.hold_open();
    relay.passes_marks_to(&to);
    let outbound = Outbound::new(Arc::clone(&to), raw());
    let future = Box::pin(wrap(inbound(&relay), outbound));
    runtime.spawn(RequestPump { future, relay, to: Some(to) });
    Ok(requests)
}

/// Puts `wrap` between the responses that `source` brings and the application, for which it then
/// brings what comes of that.
///
/// # Errors
/// INTERNAL outside a tokio runtime.
pub(super) fn wrap_responses<F, Fut>(
    source: &mut Source,
    deadline: Option<Instant>,
    method: &'static MethodDescriptor,
    wrap: F,
) -> Result<()>
where
    F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = runtime()?;
    let relay = Relay::new(RelayKind::Responses);
    let source = std::mem::replace(source, Source::new(Arc::clone(relay.shared())));
    let trailers = Arc::new(OnceLock::new());
    let (headers_to, trailers_to) = (relay.clone(), Arc::clone(&trailers));
    match source.headers() {
        Some(headers) => headers_to.headers(headers.clone()),
        None => source.shared().observe_headers(Box::new(move |headers| {
            headers_to.headers(headers.clone());
        })),
    }
    source.shared().observe_end(Box::new(move |outcome| {
        if let Ok(trailers) = outcome {
            // The end is told once.
            let _ = trailers_to.set(trailers.clone());
        }
    }));
    let outbound = Outbound::new(Arc::clone(relay.shared()), raw());
    let future = Box::pin(wrap(Inbound::new(source, raw()), outbound));
    let timer = timer(deadline);
    runtime.spawn(ResponsePump { future: Some(future), relay, trailers, timer, method });
    Ok(())
}

/// Lets `serve` answer; what requests go into, and what brings responses. Where the call has one
/// request, that is `message`.
///
/// # Errors
/// INTERNAL outside a tokio runtime.
pub(super) fn serve<F, Fut>(
    serve: F,
    message: Option<Bytes>,
    deadline: Option<Instant>,
    method: &'static MethodDescriptor,
) -> Result<(Arc<CallShared>, Source)>
where
    F: FnOnce(Inbound<Bytes>, Outbound<Bytes>) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = runtime()?;
    let (requests, responses) = (Relay::new(RelayKind::Requests), Relay::new(RelayKind::Responses));
    let ends = (Arc::clone(requests.shared()), Source::new(Arc::clone(responses.shared())));
    let outbound = Outbound::new(Arc::clone(responses.shared()), raw());
    let served = serve(inbound(&requests), outbound);
    let one = message
        .map(|message| (message, Outbound::<Bytes>::new(Arc::clone(requests.shared()), raw())));
    let future = Box::pin(async move {
        if let Some((message, mut requests)) = one {
            requests.send(message).await?;
            requests.finish();
        }
        served.await
    });
    let timer = timer(deadline);
    runtime.spawn(Serving { future, requests, responses, timer, method });
    Ok(ends)
}

/// Inside a runtime.
fn timer(deadline: Option<Instant>) -> Option<Timer> {
    deadline.map(|deadline| Box::pin(sleep_until(deadline.into())))
}

fn poll_late(timer: &mut Option<Timer>, cx: &mut Context<'_>) -> bool {
    timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
}

fn raw() -> MessageCodec<Bytes> {
    MessageCodec::new::<Raw>()
}

/// What comes out of a stream within the process.
fn inbound(relay: &Relay) -> Inbound<Bytes> {
    Inbound::new(Source::new(Arc::clone(relay.shared())), raw())
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|_| {
        Status::internal(
            "an interceptor wraps a stream, which needs a tokio runtime: await the call inside \
             one, or use `wait`",
        )
    })
}

/// Carries requests.
struct RequestPump {
    future: PumpFuture,
    relay: Relay,
    /// `None` once it has ended.
    to: Option<Arc<CallShared>>,
}

impl RequestPump {
    /// Ends both streams; the application's sends fail from then on.
    fn end(&mut self, outcome: Result<()>) {
        let Some(to) = self.to.take() else { return };
        match &outcome {
            // The call is over, and why is told with its responses.
            _ if to.ended().is_some() => {}
            Ok(()) => to.finish(),
            Err(status) => to.fail(status.clone()),
        }
        self.relay.end(outcome.map(|()| Metadata::new()));
    }
}

impl Future for RequestPump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pump = self.get_mut();
        let Some(to) = &pump.to else { return Poll::Ready(()) };
        let outcome = if pump.relay.poll_cut(cx).is_ready() {
            let why = pump.relay.shared().take_failure();
            Err(why.unwrap_or_else(|| Status::cancelled("the call was cancelled by its caller")))
        } else if to.poll_ended(cx).is_ready() {
            to.over().map_or(Ok(()), Err)
        } else {
            match pump.future.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                // It may have taken the cut for an end.
                Poll::Ready(Ok(())) if pump.relay.poll_cut(cx).is_ready() => {
                    Err(Status::cancelled("the call was cancelled by its caller"))
                }
                Poll::Ready(outcome) => outcome,
            }
        };
        pump.end(outcome);
        Poll::Ready(())
    }
}

impl Drop for RequestPump {
    fn drop(&mut self) {
        self.end(Err(cut_off()));
    }
}

/// Carries responses.
struct ResponsePump {
    /// `None` once it has ended.
    future: Option<PumpFuture>,
    relay: Relay,
    /// Those of a good end, once that was read.
    trailers: Arc<OnceLock<Metadata>>,
    /// For where the wrapper waits for something else than the call.
    timer: Option<Timer>,
    method: &'static MethodDescriptor,
}

impl Future for ResponsePump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pump = self.get_mut();
        if pump.relay.poll_unread(cx).is_pending()
            && let Some(future) = &mut pump.future
        {
            match future.as_mut().poll(cx) {
                Poll::Pending if poll_late(&mut pump.timer, cx) => {
                    pump.relay.end(Err(deadline_exceeded(pump.method, WITH_INTERCEPTORS)));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => {
                    let trailers = |()| pump.trailers.get().cloned().unwrap_or_default();
                    pump.relay.end(outcome.map(trailers));
                }
            }
        }
        pump.future = None;
        Poll::Ready(())
    }
}

impl Drop for ResponsePump {
    fn drop(&mut self) {
        if self.future.take().is_some() {
            self.relay.end(Err(cut_off()));
        }
    }
}

/// Answers.
struct Serving {
    future: PumpFuture,
    requests: Relay,
    responses: Relay,
    timer: Option<Timer>,
    method: &'static MethodDescriptor,
}

impl Serving {
    fn end(&self, outcome: Result<()>) {
        // Only the first ending counts.
        self.requests.end(outcome.clone().map(|()| Metadata::new()));
        self.responses.end(outcome.map(|()| Metadata::new()));
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let serving = self.get_mut();
        let outcome = if poll_late(&mut serving.timer, cx) {
            Err(deadline_exceeded(serving.method, WITH_INTERCEPTORS))
        } else if serving.requests.poll_cut(cx).is_ready()
            || serving.responses.poll_unread(cx).is_ready()
        {
            let why = serving.requests.shared().take_failure();
            Err(why.unwrap_or_else(|| Status::cancelled("the call was cancelled by its caller")))
        } else {
            match serving.future.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => outcome,
            }
        };
        serving.end(outcome);
        Poll::Ready(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end(Err(cut_off()));
    }
}

#[cold]
fn cut_off() -> Status {
    if std::thread::panicking() {
        return Status::unknown("an interceptor that stands in the call's streams panicked");
    }
    Status::unavailable("the runtime went away on which an interceptor carries the messages")
}
