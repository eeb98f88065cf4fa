//! What whoever speaks plain HTTP to a port for TLS is told, in what it can read.
//!
//! A client of HTTP/2 that has sent a request is answered in HTTP/2 (RFC 9113). One that waits for
//! the server's SETTINGS first, as most clients of gRPC do, is answered in HTTP/1: SETTINGS would
//! tell it that it is connected, so that it sends its calls here and not to another address, and
//! connects again at once whenever it is told to go, hundreds of times a second.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// The answer in HTTP/1.
pub(super) const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\ncontent-length: 60\r\nconnection: close\r\n\r\n\
    This port speaks TLS, and was sent plain HTTP. Try https://\n";

const TOLD: &[u8] = b"This port speaks TLS, and was sent plain HTTP. Try https://";

/// How long a request may take to follow the preface.
const REQUEST_WAIT: Duration = Duration::from_millis(100);
/// What is read of it, at most, and one read more.
const SAID_BYTES_MAX: usize = 16 << 10;
/// Requests that are answered.
const REQUESTS_MAX: usize = 100;

/// The answer to a client of HTTP/2 that has said this, and may say more.
pub(super) async fn http2_answer(
    stream: &mut (impl AsyncRead + Unpin),
    mut said: Vec<u8>,
) -> Vec<u8> {
    let asked = async {
        let mut more = [0; 1 << 10];
        while requests(&said).is_empty() && said.len() < SAID_BYTES_MAX {
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => break,
                Ok(n) => said.extend_from_slice(&more[..n]),
            }
        }
    };
    // Who is slower than that waits for us.
    let _ = timeout(REQUEST_WAIT, asked).await;
    match &requests(&said)[..] {
        [] => HTTP1.to_vec(),
        requests => http2(requests),
    }
}

/// The streams of the requests in what a client has said.
fn requests(said: &[u8]) -> Vec<u32> {
    let mut streams = Vec::new();
    let mut rest = said.get(PREFACE_BYTES..).unwrap_or_default();
    while let [a, b, c, kind, _, id @ ..] = rest {
        let Some((id, payload)) = id.split_first_chunk() else { break };
        let id = u32::from_be_bytes(*id) & 0x7fff_ffff;
        let opens = *kind == HEADERS && id % 2 == 1 && streams.last().is_none_or(|last| *last < id);
        if opens && streams.len() < REQUESTS_MAX {
            streams.push(id);
        }
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = payload.get(length..).unwrap_or_default();
    }
    streams
}

/// Answers each of these requests: plain HTTP by its status and text, gRPC by its own status.
fn http2(streams: &[u32]) -> Vec<u8> {
    let mut block = vec![0x8c]; // `:status: 400` (RFC 7541 appendix A)
    for (name, value) in [
        (&b"content-type"[..], &b"text/plain"[..]),
        (b"grpc-status", b"14"),
        (b"grpc-message", TOLD),
    ] {
        block.push(0); // a literal that enters no table (RFC 7541 section 6.2.2)
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("shorter than 127 bytes"));
            block.extend_from_slice(text);
        }
    }
    let mut out = frame(SETTINGS, 0, 0, &[]);
    out.extend(frame(SETTINGS, ACK, 0, &[]));
    for id in streams {
        out.extend(frame(HEADERS, END_HEADERS, *id, &block));
        out.extend(frame(DATA, END_STREAM, *id, &[TOLD, b"\n"].concat()));
    }
    let last = streams.last().copied().unwrap_or_default();
    let goaway = [&last.to_be_bytes(), &INADEQUATE_SECURITY.to_be_bytes(), TOLD].concat();
    out.extend(frame(GOAWAY, 0, 0, &goaway));
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a few bytes").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INADEQUATE_SECURITY: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_behind_a_preface() {
        let preface = [b'x'; PREFACE_BYTES];
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
        let request = |id| frame(HEADERS, END_HEADERS, id, b"block");
        let table: [(Vec<u8>, &[u32]); 9] = [
            (vec![], &[]),
            (preface[..20].to_vec(), &[]),
            ([&preface[..], &settings].concat(), &[]),
            ([&preface[..], &settings, &request(1)].concat(), &[1]),
            ([&preface[..], &settings, &request(1)[..9]].concat(), &[1]),
            ([&preface[..], &settings, &request(1)[..8]].concat(), &[]),
            ([&preface[..], &request(13), &settings, &request(15)].concat(), &[13, 15]),
            // Trailers of the first, a stream of ours, and one that goes back.
            ([&preface[..], &request(3), &request(3), &request(4), &request(1)].concat(), &[3]),
            ([&preface[..], &[255; 100]].concat(), &[]),
        ];
        for (said, streams) in table {
            assert_eq!(requests(&said), streams, "{said:?}");
        }
        let many: Vec<u8> = (0..1000).flat_map(|n| request(1 + 2 * n)).collect();
        assert_eq!(requests(&[&preface[..], &many].concat()).len(), REQUESTS_MAX);
    }
}
