//! A call's outcome as trailers: `grpc-status`, `grpc-message`, `grpc-status-details-bin` and the
//! application's trailing metadata (PROTOCOL-HTTP2, "Responses").
//!
//! Works on name and value pairs; how those are compressed and framed is not known here.

use crate::metadata::Metadata;
use crate::{Code, Origin, Status, base64_lenient, limits, names, percent};

/// Reads the outcome of a call from its trailers, or from the headers of a trailers-only response:
/// names and values, and whether each value came as [a secret](Metadata::set_sensitive).
///
/// `http_status` is the response's `:status`; it decides the code where there is no `grpc-status`.
/// Returns the trailing metadata of a call that ended well. Allocates nothing for a plain OK.
///
/// # Errors
///
/// The [`Status`] the peer sent, with [`Origin::Peer`] and with the trailing metadata inside.
/// A `grpc-status` that is not the number of a code reads as UNKNOWN; undecodable details are left
/// out rather than failing the call.
pub fn read<'a>(
    http_status: u16,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8], bool)>,
) -> Result<Metadata, Status> {
    let mut status: Option<&[u8]> = None;
    let mut message: Option<&[u8]> = None;
    let mut details: Option<&[u8]> = None;
    let mut metadata = Metadata::new();
    for (name, value, secret) in fields {
        // The first of each counts: what a later hop appends cannot replace it.
        if name == names::GRPC_STATUS.as_bytes() {
            status.get_or_insert(value);
        } else if name == names::GRPC_MESSAGE.as_bytes() {
            message.get_or_insert(value);
        } else if name == names::GRPC_STATUS_DETAILS.as_bytes() {
            details.get_or_insert(value);
        } else {
            metadata.append_wire_field(name, value, secret);
        }
    }
    let Some(digits) = status else {
        return Err(Status::from_http_status(http_status).with_metadata(metadata));
    };
    let code = Code::from_digits(digits);
    if code == Some(Code::Ok) {
        return Ok(metadata);
    }
    let mut message = message.map(percent::decode).unwrap_or_default().into_owned();
    if code.is_none() && message.is_empty() {
        message = format!("grpc-status \"{}\" is not a status code", digits.escape_ascii());
    }
    let mut status = Status::new(code.unwrap_or(Code::Unknown), message)
        .with_origin(Origin::Peer)
        .with_metadata(metadata);
    if let Some(details) = details.and_then(base64_lenient::decode) {
        status = status.with_details(details);
    }
    Err(status)
}

/// Writes the outcome of a call as trailers, handing each name and value to `emit` in order, and
/// whether the value is [a secret](Metadata::set_sensitive).
///
/// `metadata` is the trailing metadata of a call whatever its outcome; that of a failed call's
/// status follows it. [Reserved](names::is_reserved) names in either are left out. A status that
/// came from a peer goes out as INTERNAL unless it was [relayed](Status::relay). The message is cut
/// to [`limits::STATUS_MESSAGE_BYTES_MAX`]. Allocates nothing for OK, nor for a status with a plain
/// ASCII message and no details.
pub fn write(
    outcome: Result<(), &Status>,
    metadata: &Metadata,
    mut emit: impl FnMut(&[u8], &[u8], bool),
) {
    let Err(status) = outcome else {
        emit(names::GRPC_STATUS.as_bytes(), Code::Ok.as_digits().as_bytes(), false);
        emit_metadata(metadata, &mut emit);
        return;
    };
    let sent = status.as_sent();
    emit(names::GRPC_STATUS.as_bytes(), sent.code.as_digits().as_bytes(), false);
    if !sent.message.is_empty() {
        let message = percent::encode(sent.message, limits::STATUS_MESSAGE_BYTES_MAX);
        emit(names::GRPC_MESSAGE.as_bytes(), &message, false);
    }
    if !sent.details.is_empty() {
        let mut text = Vec::new();
        base64_lenient::encode_into(&sent.details, &mut text);
        emit(names::GRPC_STATUS_DETAILS.as_bytes(), &text, false);
    }
    emit_metadata(metadata, &mut emit);
    if let Some(metadata) = sent.metadata {
        emit_metadata(metadata, &mut emit);
    }
}

fn emit_metadata(metadata: &Metadata, emit: &mut impl FnMut(&[u8], &[u8], bool)) {
    for (name, value, secret) in metadata.wire_fields() {
        emit(name, value, secret);
    }
}

#[cfg(test)]
mod tests;
