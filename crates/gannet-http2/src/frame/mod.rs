//! Frame heads, flags and payload layouts (RFC 9113 sections 4 and 6).
//!
//! Only what has a fixed layout lives here; what a frame means is decided in `connection`.

mod head;
mod settings;
mod write;

pub(crate) use head::{FrameHead, Kind, flags};
pub(crate) use settings::{Setting, setting_id, settings_of};
pub(crate) use write::{
    patch_length, write_data_head, write_goaway, write_head, write_known_block, write_ping,
    write_rst_stream, write_settings, write_settings_ack, write_window_update,
};

/// Bytes of a frame head.
pub(crate) const HEAD_BYTES: usize = 9;
/// What a client sends first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Smallest legal SETTINGS_MAX_FRAME_SIZE, and its default.
pub(crate) const FRAME_BYTES_MIN: u32 = 16_384;
/// Initial window of both levels (RFC 9113 section 6.9.2).
pub(crate) const DEFAULT_WINDOW_BYTES: u32 = 65_535;
/// Largest flow-control window (RFC 9113 section 6.9.1).
pub(crate) const WINDOW_BYTES_MAX: i64 = (1 << 31) - 1;
/// Largest stream identifier.
pub(crate) const STREAM_ID_MAX: u32 = (1 << 31) - 1;

/// Reads four bytes as a big-endian number.
pub(crate) fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b))
}
