//! Frames as bytes: the writing half of the layouts.

use super::{HEAD_BYTES, Kind, flags};
use crate::Reason;
use crate::hpack::{ENCODED_BYTES_MAX, Encoded};

/// Appends a frame head.
#[inline]
pub(crate) fn write_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream_id: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream_id));
}

#[inline]
fn head(length: usize, kind: u8, flags: u8, stream_id: u32) -> [u8; HEAD_BYTES] {
    debug_assert!(length < 1 << 24, "callers keep to the peer's SETTINGS_MAX_FRAME_SIZE");
    // The first eight bytes as one number.
    let [.., id] = stream_id.to_be_bytes();
    let first = (length as u64) << 40
        | u64::from(kind) << 32
        | u64::from(flags) << 24
        | u64::from(stream_id >> 8);
    let mut head = [id; HEAD_BYTES];
    if let Some(start) = head.first_chunk_mut() {
        *start = first.to_be_bytes();
    }
    head
}

/// Appends a header block that is known, as one frame. Its few bytes are moved as if they were
/// many, as it is quicker to move a number of bytes that does not vary.
#[inline]
pub(crate) fn write_known_block(
    out: &mut Vec<u8>,
    (block, length): Encoded<'_>,
    end_stream: bool,
    stream_id: u32,
) {
    let end = if end_stream { flags::END_STREAM } else { 0 };
    let mut frame = [0; HEAD_BYTES + ENCODED_BYTES_MAX];
    let (start, rest) = frame.split_at_mut(HEAD_BYTES);
    start.copy_from_slice(&head(length, Kind::HEADERS, flags::END_HEADERS | end, stream_id));
    rest.copy_from_slice(block);
    let at = out.len();
    out.extend_from_slice(&frame);
    out.truncate(at + HEAD_BYTES + length);
}

/// Sets the length of a frame whose head stands at `at` and whose payload runs to the end of `out`.
pub(crate) fn patch_length(out: &mut [u8], at: usize) {
    let length = length_bytes(out.len() - at - HEAD_BYTES);
    out[at..at + 3].copy_from_slice(&length);
}

#[inline]
pub(crate) fn write_data_head(out: &mut Vec<u8>, length: usize, end_stream: bool, stream_id: u32) {
    let flags = if end_stream { flags::END_STREAM } else { 0 };
    write_head(out, length, Kind::DATA, flags, stream_id);
}

pub(crate) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, settings.len() * 6, Kind::SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn write_settings_ack(out: &mut Vec<u8>) {
    write_head(out, 0, Kind::SETTINGS, flags::ACK, 0);
}

pub(crate) fn write_ping(out: &mut Vec<u8>, ack: bool, opaque: [u8; 8]) {
    write_head(out, 8, Kind::PING, if ack { flags::ACK } else { 0 }, 0);
    out.extend_from_slice(&opaque);
}

pub(crate) fn write_window_update(out: &mut Vec<u8>, stream_id: u32, bytes: u32) {
    write_head(out, 4, Kind::WINDOW_UPDATE, 0, stream_id);
    out.extend_from_slice(&bytes.to_be_bytes());
}

pub(crate) fn write_rst_stream(out: &mut Vec<u8>, stream_id: u32, reason: Reason) {
    write_head(out, 4, Kind::RST_STREAM, 0, stream_id);
    out.extend_from_slice(&reason.0.to_be_bytes());
}

pub(crate) fn write_goaway(out: &mut Vec<u8>, last_stream_id: u32, reason: Reason, debug: &[u8]) {
    write_head(out, 8 + debug.len(), Kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream_id.to_be_bytes());
    out.extend_from_slice(&reason.0.to_be_bytes());
    out.extend_from_slice(debug);
}

#[inline]
fn length_bytes(length: usize) -> [u8; 3] {
    debug_assert!(length < 1 << 24, "callers keep to the peer's SETTINGS_MAX_FRAME_SIZE");
    let bytes = (length as u64).to_be_bytes();
    [bytes[5], bytes[6], bytes[7]]
}
