//! Header names that gRPC gives a meaning (PROTOCOL-HTTP2), and who may use which.
//!
//! Two questions are answered here: may an application set a name ([`is_reserved`]), and does a
//! received name belong to the protocol rather than to the metadata shown to the application
//! ([`is_protocol`])? Pseudo-headers are both, always.

/// `content-type`.
pub const CONTENT_TYPE: &str = "content-type";
/// `te`, always `trailers`.
pub const TE: &str = "te";
/// `user-agent`.
pub const USER_AGENT: &str = "user-agent";
/// `grpc-timeout`.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// `grpc-encoding`.
pub const GRPC_ENCODING: &str = "grpc-encoding";
/// `grpc-accept-encoding`.
pub const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// `grpc-message-type`.
pub const GRPC_MESSAGE_TYPE: &str = "grpc-message-type";
/// `grpc-status`.
pub const GRPC_STATUS: &str = "grpc-status";
/// `grpc-message`.
pub const GRPC_MESSAGE: &str = "grpc-message";
/// `grpc-status-details-bin`: a serialized `google.rpc.Status`.
pub const GRPC_STATUS_DETAILS: &str = "grpc-status-details-bin";
/// `grpc-previous-rpc-attempts` (gRFC A6); written by the client library, read by handlers.
pub const GRPC_PREVIOUS_RPC_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
/// `grpc-retry-pushback-ms` (gRFC A6); written by handlers, read by the client library.
pub const GRPC_RETRY_PUSHBACK_MS: &str = "grpc-retry-pushback-ms";

/// Whether an application may not set `name` (lower case).
///
/// Reserved are pseudo-headers, `grpc-*` except what handlers and tracers are meant to set
/// themselves (`grpc-retry-pushback-ms`, `grpc-trace-bin`, `grpc-tags-bin`), the names that HTTP/2
/// forbids (RFC 9113 8.2.2), and those the library writes: `content-type`, `content-length`,
/// `te`, `user-agent`, `host`.
pub const fn is_reserved(name: &[u8]) -> bool {
    if let [b'g', b'r', b'p', b'c', b'-', rest @ ..] = name {
        return !matches!(rest, b"retry-pushback-ms" | b"trace-bin" | b"tags-bin");
    }
    matches!(
        name,
        b"content-type"
            | b"content-length"
            | b"te"
            | b"user-agent"
            | b"host"
            | b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"transfer-encoding"
            | b"upgrade"
            | [b':', ..]
    )
}

/// Whether a received `name` (lower case) is the protocol's own, and so no metadata.
///
/// Fewer than the [reserved](is_reserved) names: an application may read `user-agent` or
/// `grpc-previous-rpc-attempts` though it may not write them.
pub const fn is_protocol(name: &[u8]) -> bool {
    if let [b'g', b'r', b'p', b'c', b'-', rest @ ..] = name {
        return matches!(
            rest,
            b"timeout"
                | b"encoding"
                | b"accept-encoding"
                | b"message-type"
                | b"status"
                | b"message"
                | b"status-details-bin"
        );
    }
    matches!(name, b"content-type" | b"te" | [b':', ..])
}

/// Whether the value of `name` (lower case) is a secret by its nature.
///
/// Such values are never written to logs and should be sent as never-indexed literals (RFC 7541
/// 7.1.3).
pub const fn is_sensitive(name: &[u8]) -> bool {
    matches!(name, b"authorization" | b"proxy-authorization" | b"cookie" | b"set-cookie")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_protocol_names() {
        // name, may not be set, is hidden when received
        let table: &[(&[u8], bool, bool)] = &[
            (b":path", true, true),
            (b"content-type", true, true),
            (b"te", true, true),
            (b"grpc-timeout", true, true),
            (b"grpc-status", true, true),
            (b"grpc-message", true, true),
            (b"grpc-status-details-bin", true, true),
            (b"grpc-encoding", true, true),
            (b"grpc-accept-encoding", true, true),
            (b"grpc-message-type", true, true),
            (b"grpc-previous-rpc-attempts", true, false),
            (b"grpc-anything-new", true, false),
            (b"grpc-retry-pushback-ms", false, false),
            (b"grpc-trace-bin", false, false),
            (b"grpc-tags-bin", false, false),
            (b"user-agent", true, false),
            (b"connection", true, false),
            (b"content-length", true, false),
            (b"x-request-id", false, false),
            (b"authorization", false, false),
            (b"grpc", false, false),
        ];
        for &(name, reserved, protocol) in table {
            let shown = String::from_utf8_lossy(name);
            assert_eq!(is_reserved(name), reserved, "{shown}");
            assert_eq!(is_protocol(name), protocol, "{shown}");
        }
        assert!(is_sensitive(b"authorization") && !is_sensitive(b"x-request-id"));
    }
}
