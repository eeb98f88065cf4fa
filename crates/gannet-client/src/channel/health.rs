//! Client-side health checking (gRFC A17): asks each server that is connected how it feels, by
//! `grpc.health.v1.Health/Watch`, and tells the balancer.
//!
//! The two messages are read and written by hand: a client that checks no health has no use for
//! generated code.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_core::codec::{Parts, Raw};
use gannet_core::{Code, MessageCodec, Metadata, MethodDescriptor, MethodKind, Status, varint};
use gannet_transport::Inbound;
use gannet_transport::observe::HealthUnchecked;

use super::connect::until;
use super::{Placed, Shared, now};
use crate::call::request::{Body, Request};
use crate::call::started::{Made, Started, Unmade};
use crate::credentials::{CredentialsList, authorized};
use crate::link::Link;
use crate::policy::{Backoff, BackoffConfig, SubchannelState, moment};

static WATCH: MethodDescriptor =
    MethodDescriptor::new("/grpc.health.v1.Health/Watch", MethodKind::ServerStreaming);

/// Whether a call's method is that of the question, which no application asks by this descriptor.
pub(crate) fn is_health_question(method: &'static MethodDescriptor) -> bool {
    std::ptr::eq(method, &WATCH)
}

/// The largest answer that is read, bytes: it holds one number, and what later versions add.
const ANSWER_BYTES_MAX: u32 = 4 << 10;

/// What a channel asks for.
#[derive(Clone, Debug)]
pub(crate) struct HealthCheck {
    /// The service; empty for the server as a whole.
    pub(crate) service: String,
    /// The channel's.
    pub(crate) credentials: CredentialsList,
}

/// One connection's watch, for as long as the connection takes calls.
pub(super) struct HealthWatch {
    channel: Weak<Shared>,
    link: Arc<Link>,
    check: HealthCheck,
    backoff: Backoff,
    /// How long the credentials may take.
    timeout: Duration,
    /// The server has answered the call that there is, or was last.
    is_heard: bool,
    /// When the last call was made without a pause before it.
    hurried: Option<Instant>,
}

/// A call that was answered is followed by the next at once (gRFC A17), but not more often than
/// this.
const HURRY_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Why a watch ended.
enum End {
    /// There is nothing to ask for any more.
    Over,
    Failed(Status),
}

impl HealthWatch {
    pub(super) fn new(
        channel: &Weak<Shared>,
        link: Arc<Link>,
        check: HealthCheck,
        backoff: BackoffConfig,
    ) -> HealthWatch {
        HealthWatch {
            channel: Weak::clone(channel),
            link,
            check,
            timeout: backoff.connect_timeout,
            backoff: Backoff::new(backoff),
            is_heard: false,
            hurried: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.backoff.attempt(now(), fastrand::f64());
            let failed = match self.watch().await {
                End::Over => return,
                End::Failed(status) => status,
            };
            if failed.code() == Code::Unimplemented {
                // As if nobody checked, whatever observers make of it.
                self.tell(SubchannelState::Ready);
                return self.tell_unchecked();
            }
            let address = self.link.address();
            let told = format!("{address}: its health is not known: {}", failed.message());
            let failed = failed.with_code(Code::Unavailable).with_message(told);
            self.tell(SubchannelState::TransientFailure(failed));
            if !self.may_hurry() {
                match self.backoff.failed(now()) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => return,
                }
            }
            self.tell(SubchannelState::Connecting);
        }
    }

    /// Whether the next call is made at once: the backoff starts over then.
    fn may_hurry(&mut self) -> bool {
        if !std::mem::take(&mut self.is_heard) {
            return false;
        }
        self.backoff.established();
        let (last, now) = (self.hurried, now());
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= HURRY_INTERVAL_MIN);
        match may {
            true => self.hurried = Some(now),
            // As after a first failure.
            false => drop(self.backoff.attempt(now, fastrand::f64())),
        }
        may
    }

    /// One call.
    async fn watch(&mut self) -> End {
        let Some(channel) = self.channel.upgrade() else { return End::Over };
        let request = self.request();
        // Not the channel itself: it may be dropped meanwhile, and ends then.
        let config = Arc::clone(channel.config());
        drop(channel);
        let authorizing = authorized(&config, request, &self.check.credentials);
        let request = match until(moment(now(), self.timeout), authorizing).await {
            Some(Ok(request)) => request,
            Some(Err(status)) => return End::Failed(status),
            None => {
                // Calls are to learn of that, before it is tried again.
                self.backoff.attempt(now(), fastrand::f64());
                return End::Failed(Status::unavailable("call credentials have not come"));
            }
        };
        let placed = Placed { link: Arc::clone(&self.link), tracker: None };
        let _watched = Watched::new(&self.link);
        let mut started = Started::new(placed, request);
        let source = match poll_fn(|cx| started.poll(cx)).await {
            Ok((Made::Stream(_, source), _)) => source,
            Err(Unmade::Failed(status)) => return End::Failed(status),
            // It takes no calls any more.
            Ok((Made::Unary(..), _)) | Err(Unmade::Unsent(_)) => return End::Over,
        };
        let decoder = MessageCodec::<Bytes>::new::<Raw>();
        let mut answers: Inbound<Bytes> = Inbound::new(source, decoder);
        loop {
            match answers.next().await {
                Ok(Some(answer)) => {
                    self.is_heard = true;
                    self.tell(health_of(&answer, self.link.address(), &self.check.service));
                }
                Ok(None) => {
                    return End::Failed(Status::unavailable("the server ended the watch"));
                }
                Err(_) if self.link.is_retired() => return End::Over,
                Err(status) => return End::Failed(status),
            }
        }
    }

    /// Not on the path of calls; a connection has one watch that ends in this.
    #[cold]
    fn tell_unchecked(&self) {
        let Some(channel) = self.channel.upgrade() else { return };
        let config = Arc::clone(channel.config());
        drop(channel);
        let (address, service) = (self.link.address(), &self.check.service);
        let server = HealthUnchecked::new(&config.target_uri, address, service);
        config.observers.health_unchecked(&server);
    }

    fn tell(&self, health: SubchannelState) {
        if let Some(channel) = self.channel.upgrade() {
            channel.felt(&self.link, health);
        }
    }

    fn request(&self) -> Box<Request> {
        let (mut framed, mut parts) = (Vec::new(), Parts::default());
        let message = Bytes::from(encoded(&self.check.service));
        // Whatever the channel says of calls, this is short.
        let codec = MessageCodec::new::<Raw>();
        let _ = codec.encode_parts(&message, usize::MAX, &mut framed, &mut parts);
        Box::new(Request {
            method: &WATCH,
            deadline: None::<Instant>,
            metadata: Metadata::new(),
            body: Body::one(framed, parts),
            watch: None,
            receive_bytes_max: ANSWER_BYTES_MAX,
            wait_for_ready: false,
            wants_metadata: false,
            compressors: gannet_core::compression::Compressors::new(),
            compress: None,
            refusals: 0,
        })
    }
}

/// Has a connection know that one of its calls is no call of the application's.
struct Watched<'a>(&'a Link);

impl<'a> Watched<'a> {
    fn new(link: &'a Link) -> Watched<'a> {
        link.set_watched(true);
        Watched(link)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.set_watched(false);
    }
}

/// `HealthCheckRequest { string service = 1; }`
fn encoded(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        message.push(length.to_le_bytes()[0]);
        message.extend_from_slice(service.as_bytes());
    }
    message
}

fn health_of(answer: &[u8], address: &str, service: &str) -> SubchannelState {
    let what = match decoded(answer) {
        Some(1) => return SubchannelState::Ready,
        Some(0) => "UNKNOWN".to_owned(),
        Some(2) => "NOT_SERVING".to_owned(),
        Some(3) => "SERVICE_UNKNOWN".to_owned(),
        Some(other) => other.to_string(),
        None => "what is no HealthCheckResponse".to_owned(),
    };
    let told = format!("{address}: the server says {what} of {service:?}");
    SubchannelState::TransientFailure(Status::unavailable(told))
}

/// What a server's answer says: the number of its state, or nothing.
#[cfg(feature = "fuzzing")]
pub fn health_answer(message: &[u8]) -> Option<i32> {
    decoded(message)
}

/// `HealthCheckResponse { ServingStatus status = 1; }`: the number; `None` for what is none such.
fn decoded(mut message: &[u8]) -> Option<i32> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = u32::try_from(varint::take(&mut message)?).ok()?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = enumerated(varint::take(&mut message)?),
            // No field has the number 0, and the status is no other kind of value.
            (0 | 1, _) => return None,
            (_, 0) => drop(varint::take(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint::take(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// An enum is what the low 32 bits are.
fn enumerated(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_written() {
        assert_eq!(encoded(""), b"");
        assert_eq!(encoded("foo"), b"\x0a\x03foo");
        let long = "x".repeat(300);
        assert_eq!(encoded(&long)[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(encoded(&long).len(), 303);
        let table: &[(&[u8], Option<i32>)] = &[
            (b"", Some(0)),
            (b"\x08\x01", Some(1)),
            (b"\x08\x02\x08\x01", Some(1)),
            (b"\x12\x02ab\x08\x03", Some(3)),
            (b"\x08\x01\x11\0\0\0\0\0\0\0\0\x1d\0\0\0\0\x20\x7f", Some(1)),
            (b"\x08", None),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
            (b"\x12\x05ab", None),
            (b"\x0b", None),
            // An enum has 32 bits, and no field the number 0; no varint has more than 64 bits.
            (b"\x08\x81\x80\x80\x80\x10", Some(1)),
            (b"\x02\0", None),
            (b"\x0a\0", None),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(-1)),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
            (b"\x88\x80\x80\x80\x80\x01\x01", None),
        ];
        for (message, status) in table {
            assert_eq!(decoded(message), *status, "{message:?}");
        }
    }
}
