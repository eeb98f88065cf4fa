//! What whoever speaks HTTP/1 to a port without TLS is told (RFC 9110 section 15.6.6: which
//! versions are not supported, and what is).

use gannet_http2::SendBuf;

const HEAD: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 57\r\nconnection: close\r\n\r\n";

const BODY: &str = "This port speaks gRPC over HTTP/2, and was sent HTTP/1.1\n";

/// Answers a request that began with this method. One of HEAD has no content.
pub(super) fn answer(method: &str, out: &mut SendBuf) {
    out.extend_from_slice(HEAD.as_bytes());
    if method != "HEAD" {
        out.extend_from_slice(BODY.as_bytes());
    }
}
