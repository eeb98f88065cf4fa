//! What calls are told that end by no word of the server's.

use gannet_core::{Code, MethodDescriptor, Origin, Status, names};
use gannet_http2::Reason;
use gannet_http2::hpack::FieldBlock;

use super::remote::Remote;
use crate::call::request::Request;

/// How a stream was reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    pub(super) reason: Reason,
    /// By the server; otherwise the server broke a rule and the engine did it.
    pub(super) remote: bool,
    /// The server has certainly not seen the request.
    pub(super) unprocessed: bool,
}

impl Reset {
    #[cold]
    pub(super) fn status(self, from: &Remote) -> Status {
        let status = Status::from_reset(self.reason.0);
        if self.remote {
            let told = from.tell(status.message());
            return status.with_message(told);
        }
        let told = match self.reason {
            Reason::ENHANCE_YOUR_CALM => "the response exceeds a limit of this client",
            _ => "the server's response breaks HTTP/2",
        };
        let told = from.tell(format_args!("{told} ({})", self.reason));
        status.with_message(told).with_origin(Origin::Local)
    }
}

/// The deadline has passed; `how_far` says what the call waited for.
#[cold]
pub(crate) fn deadline_exceeded(method: &MethodDescriptor, how_far: &str) -> Status {
    let path = method.path;
    Status::deadline_exceeded(format!("the deadline of the call to {path} has passed: {how_far}"))
}

#[cold]
pub(super) fn compressed_unasked() -> Status {
    Status::internal("the response is compressed, but no grpc-encoding was declared")
}

/// Says so where a call was refused because of how it was compressed: the server then tells what it
/// accepts, and that is not among it (gRPC's compression.md).
#[cold]
pub(super) fn encoding_refused(status: Status, request: &Request, fields: &FieldBlock) -> Status {
    let Some(encoding) = request.encoding().filter(|_| status.code() == Code::Unimplemented) else {
        return status;
    };
    let name = names::GRPC_ACCEPT_ENCODING.as_bytes();
    let values = fields.iter().filter(|field| field.name == name).map(|field| field.value);
    let accepted = values.collect::<Vec<_>>().join(&b',');
    let mut accepts = accepted.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if accepted.is_empty() || accepts.any(|accepted| accepted == encoding.name().as_bytes()) {
        return status;
    }
    let told = format!(
        "the server does not take messages compressed with {encoding}; it accepts {}: {}",
        accepted.escape_ascii(),
        status.message()
    );
    status.with_message(told)
}

#[cold]
pub(super) fn more_than_one() -> Status {
    Status::internal("the server sent more than one response, where the method has one")
}

#[cold]
pub(super) fn none_at_all() -> Status {
    Status::internal("the server ended the call well, but sent no response")
}
