//! [`Status`]: how a call failed.
//!
//! Its code and message, the details of `google.rpc.Status` as bytes, trailing metadata, where it
//! came from, and a cause that stays on this side. How it travels is in [`crate::trailers`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::details::{self, Detail, PackedDetail};
use crate::metadata::Metadata;
use crate::reset::reset_name;
use crate::{Code, limits, percent};

/// How a call failed; one pointer wide.
///
/// A `Status` is always a failure: a call that ends well is `Ok(..)`, and a `Status` asked for with
/// [`Code::Ok`] is [`Code::Unknown`].
///
/// A status that came from a peer and is returned from a handler by `?` goes out as INTERNAL: the
/// caller did not make that call, and to it another service's NOT_FOUND or PERMISSION_DENIED says
/// something wrong. [`Status::relay`] passes it on as it is.
#[derive(Clone)]
pub struct Status(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    origin: Origin,
    message: Cow<'static, str>,
    details: Details,
    metadata: Metadata,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone)]
enum Details {
    /// A serialized `google.rpc.Status`.
    Whole(Bytes),
    /// The details in one, without code and message, which are still to be written.
    Appended(Vec<u8>),
}

/// Where a [`Status`] was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In this process: by the application or by this library.
    Local,
    /// By the peer, which sent it in a call's trailers.
    Peer,
    /// By the peer of another call; to be passed on as it is.
    Relayed,
}

impl Status {
    /// A status made here. No allocation for a `'static` message beyond the status itself.
    #[cold]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status(Box::new(Inner {
            code: if code.is_ok() { Code::Unknown } else { code },
            origin: Origin::Local,
            message: message.into(),
            details: Details::Appended(Vec::new()),
            metadata: Metadata::new(),
            source: None,
        }))
    }

    /// What a response with this HTTP status and no `grpc-status` stands for.
    #[cold]
    pub fn from_http_status(http_status: u16) -> Status {
        let message = match http_status {
            200 => Cow::Borrowed("the response ended without grpc-status"),
            _ => format!("the response has HTTP status {http_status} and no grpc-status").into(),
        };
        Status::new(Code::from_http_status(http_status), message).with_origin(Origin::Peer)
    }

    /// What a reset of the stream by the peer with this HTTP/2 error code stands for.
    ///
    /// Its origin is the peer, as a client's call sees it. A server, whose peer is the caller
    /// itself, says [`Origin::Local`].
    #[cold]
    pub fn from_reset(error_code: u32) -> Status {
        let message = match reset_name(error_code) {
            Some(name) => format!("the peer reset the stream with {name}"),
            None => format!("the peer reset the stream with error code {error_code:#x}"),
        };
        Status::new(Code::from_reset(error_code), message).with_origin(Origin::Peer)
    }

    /// UNAVAILABLE: the connection to `target` could not be made or was lost.
    ///
    /// The message names both the target and the error; the error is kept as the source.
    #[cold]
    pub fn from_io(target: &dyn fmt::Display, error: io::Error) -> Status {
        Status::new(Code::Unavailable, format!("{target}: {error}")).with_source(error)
    }

    /// The code; never [`Code::Ok`].
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message for people, which may be empty.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A serialized `google.rpc.Status`, or nothing where there are no details.
    pub fn details(&self) -> Cow<'_, [u8]> {
        match &self.0.details {
            Details::Whole(status) => Cow::Borrowed(status),
            Details::Appended(details) if details.is_empty() => Cow::Borrowed(&[]),
            Details::Appended(details) => {
                Cow::Owned(details::whole(self.0.code, &self.sent_message(), details))
            }
        }
    }

    /// The first detail of this type that can be decoded.
    pub fn detail<D: Detail>(&self) -> Option<D> {
        self.packed_details().find_map(|detail| detail.unpack())
    }

    /// All details as they travel, in their order; [`PackedDetail::unpack`] makes a message of one.
    pub fn packed_details(&self) -> impl Iterator<Item = PackedDetail<'_>> {
        details::iter(match &self.0.details {
            Details::Whole(status) => status,
            Details::Appended(details) => details,
        })
    }

    /// The trailing metadata that came, or is to go, with the status.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The same, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.0.metadata
    }

    /// Where the status was made.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Replaces the code; [`Code::Ok`] becomes [`Code::Unknown`], as in [`Status::new`].
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Status {
        self.0.code = if code.is_ok() { Code::Unknown } else { code };
        self
    }

    /// Replaces the message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Status {
        self.0.message = message.into();
        self
    }

    /// Adds a detail behind those that are there.
    ///
    /// All details together travel in one header field: beyond about 6 KiB, peers may refuse it,
    /// and the call fails with RESOURCE_EXHAUSTED instead.
    #[must_use]
    pub fn with_detail<D: Detail>(self, detail: &D) -> Status {
        self.with_packed_detail(PackedDetail { type_url: D::TYPE_URL, value: &detail.to_bytes() })
    }

    /// Adds a detail that is serialized already. Of a status that came from a peer only what is a
    /// detail, and says its type, is kept.
    #[must_use]
    pub fn with_packed_detail(mut self, detail: PackedDetail<'_>) -> Status {
        let mut appended = match std::mem::take(&mut self.0.details) {
            Details::Appended(details) => details,
            Details::Whole(status) => {
                let mut appended = Vec::with_capacity(status.len());
                for PackedDetail { type_url, value } in details::iter(&status) {
                    details::append(&mut appended, type_url, value);
                }
                appended
            }
        };
        details::append(&mut appended, detail.type_url, detail.value);
        self.0.details = Details::Appended(appended);
        self
    }

    /// Attaches a serialized `google.rpc.Status`, in place of the details that are there. It should
    /// carry the same code and message, which is the caller's care.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Bytes>) -> Status {
        self.0.details = Details::Whole(details.into());
        self
    }

    /// Replaces the trailing metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Status {
        self.0.metadata = metadata;
        self
    }

    /// Attaches what caused the failure. It shows in [`Error::source`] here and is never sent.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Status {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Says where the status was made. For those who read it from the wire.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Status {
        self.0.origin = origin;
        self
    }

    /// Lets a status that came from a peer go out as it is, details and metadata included.
    #[must_use]
    pub fn relay(mut self) -> Status {
        if self.0.origin == Origin::Peer {
            self.0.origin = Origin::Relayed;
        }
        self
    }

    /// The status as the caller of a handler that returned it sees it: see [`Status::relay`].
    ///
    /// A status that is not passed on becomes the source of the one returned.
    #[must_use]
    pub fn into_sent(self) -> Status {
        if self.0.origin != Origin::Peer {
            return self;
        }
        let sent = self.as_sent();
        Status::new(sent.code, sent.message.to_owned()).with_source(self)
    }

    /// The code as the caller of a handler that returned this status sees it.
    pub fn sent_code(&self) -> Code {
        self.as_sent().code
    }

    /// What of the status goes over the wire.
    pub(crate) fn as_sent(&self) -> Sent<'_> {
        let inner = &*self.0;
        match inner.origin {
            Origin::Local | Origin::Relayed => Sent {
                code: inner.code,
                message: &inner.message,
                details: self.details(),
                metadata: Some(&inner.metadata),
            },
            Origin::Peer => Sent {
                code: Code::Internal,
                message: PEER_FAILURE,
                details: Cow::Borrowed(&[]),
                metadata: None,
            },
        }
    }

    /// The message as the other side reads it. Peers compare the two that they get.
    fn sent_message(&self) -> Cow<'_, str> {
        let message = &*self.0.message;
        let max = limits::STATUS_MESSAGE_BYTES_MAX;
        if message.len() <= max / 9 {
            return Cow::Borrowed(message); // as long as it can get
        }
        Cow::Owned(percent::decode(&percent::encode(message, max)).into_owned())
    }
}

impl Default for Details {
    fn default() -> Details {
        Details::Appended(Vec::new())
    }
}

/// What of a status goes over the wire.
pub(crate) struct Sent<'a> {
    pub(crate) code: Code,
    pub(crate) message: &'a str,
    pub(crate) details: Cow<'a, [u8]>,
    pub(crate) metadata: Option<&'a Metadata>,
}

macro_rules! constructors {
    ($($name:ident => $code:ident),* $(,)?) => {
        /// One constructor for each code.
        impl Status {
            $(
                #[doc = concat!("A status with [`Code::", stringify!($code), "`].")]
                #[cold]
                pub fn $name(message: impl Into<Cow<'static, str>>) -> Status {
                    Status::new(Code::$code, message)
                }
            )*
        }
    };
}

constructors! {
    cancelled => Cancelled,
    unknown => Unknown,
    invalid_argument => InvalidArgument,
    deadline_exceeded => DeadlineExceeded,
    not_found => NotFound,
    already_exists => AlreadyExists,
    permission_denied => PermissionDenied,
    resource_exhausted => ResourceExhausted,
    failed_precondition => FailedPrecondition,
    aborted => Aborted,
    out_of_range => OutOfRange,
    unimplemented => Unimplemented,
    internal => Internal,
    unavailable => Unavailable,
    data_loss => DataLoss,
    unauthenticated => Unauthenticated,
}

impl fmt::Display for Status {
    /// `UNAVAILABLE: message`, or only the code where there is no message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code().name())?;
        if !self.message().is_empty() {
            write!(f, ": {}", self.message())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut debug = f.debug_struct("Status");
        debug.field("code", &inner.code).field("message", &inner.message);
        debug.field("origin", &inner.origin);
        let details: Vec<_> = self.packed_details().collect();
        if !details.is_empty() {
            debug.field("details", &details);
        }
        if !inner.metadata.is_empty() {
            debug.field("metadata", &inner.metadata);
        }
        if let Some(source) = &inner.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// What a caller learns of the failure of a call that it did not make.
const PEER_FAILURE: &str = "a call that this call depends on failed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_pointer_wide() {
        assert_eq!(size_of::<Status>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Status>>(), size_of::<usize>());
        assert_eq!(size_of::<Option<Status>>(), size_of::<usize>());
    }

    #[test]
    fn is_an_error_that_threads_can_share() {
        fn check<T: Error + Send + Sync + Clone + 'static>(_: &T) {}
        check(&Status::internal(""));
    }

    #[test]
    fn one_constructor_for_each_code() {
        let made = [
            Status::cancelled("m"),
            Status::unknown("m"),
            Status::invalid_argument("m"),
            Status::deadline_exceeded("m"),
            Status::not_found("m"),
            Status::already_exists("m"),
            Status::permission_denied("m"),
            Status::resource_exhausted("m"),
            Status::failed_precondition("m"),
            Status::aborted("m"),
            Status::out_of_range("m"),
            Status::unimplemented("m"),
            Status::internal("m"),
            Status::unavailable("m"),
            Status::data_loss("m"),
            Status::unauthenticated("m"),
        ];
        for (status, code) in made.iter().zip(&Code::ALL[1..]) {
            assert_eq!(status.code(), *code);
            assert_eq!(status.to_string(), format!("{code}: m"));
            assert_eq!(status.origin(), Origin::Local);
        }
        assert_eq!(made.len(), 16);
    }

    #[test]
    fn is_never_ok() {
        assert_eq!(Status::new(Code::Ok, "m").code(), Code::Unknown);
        assert_eq!(Status::aborted("m").with_code(Code::Ok).code(), Code::Unknown);
        assert_eq!(Status::aborted("m").with_code(Code::Internal).code(), Code::Internal);
    }

    #[test]
    fn shows_its_message_and_keeps_its_cause() {
        let error = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let status = Status::from_io(&"10.0.0.1:50051", error);
        assert_eq!(status.to_string(), "UNAVAILABLE: 10.0.0.1:50051: refused");
        let cause = status.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
        assert!(format!("{status:?}").contains("ConnectionRefused"));
        assert_eq!(Status::internal("").to_string(), "INTERNAL");
        assert!(Status::internal("").source().is_none());
    }

    #[test]
    fn resets_are_named() {
        let status = Status::from_reset(0x7);
        assert_eq!(
            status.to_string(),
            "UNAVAILABLE: the peer reset the stream with REFUSED_STREAM"
        );
        assert_eq!(status.origin(), Origin::Peer);
        let status = Status::from_reset(0x99);
        assert_eq!(status.message(), "the peer reset the stream with error code 0x99");
        for error_code in 0..=0xd {
            assert!(reset_name(error_code).is_some());
        }
        assert_eq!(reset_name(0xe), None);
    }

    #[test]
    fn details_go_with_the_code_and_message_that_are_sent() {
        let any = |value| PackedDetail { type_url: "type.googleapis.com/a.B", value };
        let status = Status::aborted("first").with_packed_detail(any(b"one"));
        let status = status.with_packed_detail(any(b"two")).with_code(Code::Internal);
        let long = "é".repeat(limits::STATUS_MESSAGE_BYTES_MAX);
        for (message, sent) in [("second", "second"), (&long, &long[..2 * (4_096 / 6)])] {
            let status = status.clone().with_message(message.to_owned());
            let details = status.details();
            let head = details::whole(Code::Internal, sent, &[]);
            assert_eq!(details[..head.len()], head);
            let back = Status::internal(sent.to_owned()).with_details(details.to_vec());
            let values: Vec<_> = back.packed_details().map(|detail| detail.value).collect();
            assert_eq!(values, [b"one", b"two"]);
            // One more, behind those of a peer.
            let back = back.with_packed_detail(any(b"six"));
            assert_eq!(back.packed_details().count(), 3);
            assert!(back.details().starts_with(&details));
        }
        assert!(Status::aborted("none").details().is_empty());
        assert!(Status::aborted("none").packed_details().next().is_none());
    }

    #[cfg(feature = "buffa")]
    #[test]
    fn messages_are_details_by_their_type() {
        use buffa_types::google::protobuf::{Duration, Timestamp};
        let wait = Duration { seconds: 7, ..Default::default() };
        let other = PackedDetail { type_url: "x/google.protobuf.Duration", value: &[0x08] };
        let status = Status::unavailable("soon").with_packed_detail(other).with_detail(&wait);
        assert_eq!(status.detail::<Duration>(), Some(wait), "the one before is cut short");
        assert_eq!(status.detail::<Timestamp>(), None);
    }

    #[test]
    fn a_peers_status_becomes_a_source_unless_relayed() {
        let peers = || Status::not_found("there").with_origin(Origin::Peer);
        assert_eq!(peers().sent_code(), Code::Internal);
        let sent = peers().into_sent();
        assert_eq!((sent.code(), sent.message()), (Code::Internal, PEER_FAILURE));
        assert_eq!(sent.source().unwrap().to_string(), "NOT_FOUND: there");
        let relayed = peers().relay();
        assert_eq!((relayed.sent_code(), relayed.origin()), (Code::NotFound, Origin::Relayed));
        assert_eq!(relayed.into_sent().message(), "there");
        let local = Status::not_found("here");
        assert_eq!(local.clone().relay().origin(), Origin::Local);
        assert_eq!(local.into_sent().code(), Code::NotFound);
    }
}
