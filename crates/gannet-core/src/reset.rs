//! Names of HTTP/2 error codes (RFC 9113 7) for messages that people read.
//!
//! The engine has its own type for them; this crate sees only the number.

/// The name of an HTTP/2 error code; `None` for a number RFC 9113 does not define.
pub(crate) fn reset_name(error_code: u32) -> Option<&'static str> {
    let name = match error_code {
        0x0 => "NO_ERROR",
        0x1 => "PROTOCOL_ERROR",
        0x2 => "INTERNAL_ERROR",
        0x3 => "FLOW_CONTROL_ERROR",
        0x4 => "SETTINGS_TIMEOUT",
        0x5 => "STREAM_CLOSED",
        0x6 => "FRAME_SIZE_ERROR",
        0x7 => "REFUSED_STREAM",
        0x8 => "CANCEL",
        0x9 => "COMPRESSION_ERROR",
        0xa => "CONNECT_ERROR",
        0xb => "ENHANCE_YOUR_CALM",
        0xc => "INADEQUATE_SECURITY",
        0xd => "HTTP_1_1_REQUIRED",
        _ => return None,
    };
    Some(name)
}
