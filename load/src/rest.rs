//! The same greeting over REST: HTTP/1.1 (RFC 9112), one POST at a time on a connection.

use std::io;
use std::time::Instant;

use crate::frames::unexpected;
use crate::link::Speaker;
use crate::tally::Tally;

/// A response that is longer is no greeting.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Rest {
    request: Vec<u8>,
    /// The last reply that was found right, byte by byte: servers repeat themselves.
    known: Vec<u8>,
    connections: Connections,
    begun: Option<Instant>,
    /// The connection's request is answered, and it gets no other.
    is_spent: bool,
    output: Vec<u8>,
}

/// How long a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// All requests over the same one.
    Kept,
    /// A new one for each request.
    PerRequest,
}

const BODY: &str = r#"{"message":"hello"}"#;
/// The reply without white space around its tokens, its members in either order.
const REPLIES: [&str; 2] = [
    concat!(
        r#"{"message":"Hello I am up and running received \"hello\" message from you","#,
        r#""received":true}"#
    ),
    concat!(
        r#"{"received":true,"#,
        r#""message":"Hello I am up and running received \"hello\" message from you"}"#
    ),
];

impl Rest {
    pub(crate) fn new(connections: Connections) -> Rest {
        let close = match connections {
            Connections::Kept => "",
            Connections::PerRequest => "connection: close\r\n",
        };
        let request = format!(
            "POST /hello HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             accept: application/json\r\nuser-agent: gannet-load\r\n{close}content-length: {}\r\n\
             \r\n{BODY}",
            BODY.len(),
        );
        Rest {
            request: request.into_bytes(),
            known: Vec::new(),
            connections,
            begun: None,
            is_spent: false,
            output: Vec::new(),
        }
    }

    fn check(&mut self, response: &Response<'_>) -> io::Result<()> {
        if response.status != 200 {
            return Err(unexpected(format!("HTTP status {}", response.status)));
        }
        if response.body == self.known {
            return Ok(());
        }
        let tokens = without_space(&response.body);
        if !REPLIES.iter().any(|reply| reply.as_bytes() == tokens) {
            let body = response.body.escape_ascii();
            return Err(unexpected(format!("a reply differs from the expected one: {body}")));
        }
        self.known = response.body.to_vec();
        Ok(())
    }
}

impl Speaker for Rest {
    fn handle(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> io::Result<usize> {
        let Some(response) = Response::parse(bytes)? else {
            if bytes.len() > RESPONSE_BYTES_MAX {
                return Err(unexpected("a response without an end"));
            }
            return Ok(0);
        };
        let begun = self.begun.take();
        let begun = begun.ok_or_else(|| unexpected("a response to no request"))?;
        self.check(&response)?;
        if response.length < bytes.len() {
            return Err(unexpected("more came than one response"));
        }
        if response.closes && self.connections == Connections::Kept {
            return Err(unexpected("the server does not keep the connection"));
        }
        tally.counts.messages += 1;
        tally.end(now - begun);
        self.is_spent = self.connections == Connections::PerRequest;
        Ok(response.length)
    }

    fn fill(&mut self, now: Instant, tally: &mut Tally) -> io::Result<()> {
        if self.begun.is_none() && tally.begin() {
            self.begun = Some(now);
            self.is_spent = false;
            self.output.extend_from_slice(&self.request);
        }
        Ok(())
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_spent(&self) -> bool {
        self.is_spent
    }
}

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
struct Response<'a> {
    status: u16,
    /// The server closes the connection behind it.
    closes: bool,
    body: std::borrow::Cow<'a, [u8]>,
    length: usize,
}

impl<'a> Response<'a> {
    /// The response at the front, `None` until it is complete.
    fn parse(bytes: &'a [u8]) -> io::Result<Option<Response<'a>>> {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&bytes[..end]);
        let head = head.map_err(|_| unexpected("a response's head is not text"))?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| unexpected(format!("no HTTP/1.1 response: {first}")))?;
        let mut closes = first.starts_with("HTTP/1.0");
        let mut length = None;
        let mut is_chunked = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            }
        }
        let rest = &bytes[end + 4..];
        let body = match length {
            _ if is_chunked => unchunk(rest)?,
            Some(length) => rest.get(..length).map(|body| (body.into(), length)),
            None => return Err(unexpected("a response that does not say how long it is")),
        };
        Ok(body.map(|(body, length)| Response { status, closes, body, length: end + 4 + length }))
    }
}

type Body<'a> = Option<(std::borrow::Cow<'a, [u8]>, usize)>;

/// A chunked body (RFC 9112 section 7.1) and how long it is as it came. Trailers are not taken.
fn unchunk(bytes: &[u8]) -> io::Result<Body<'_>> {
    let mut body = Vec::new();
    let mut at = 0;
    while let Some(line) = find(&bytes[at..], b"\r\n") {
        let size = std::str::from_utf8(&bytes[at..at + line]).ok();
        let size = size.and_then(|line| line.split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.filter(|size| *size <= RESPONSE_BYTES_MAX);
        let size = size.ok_or_else(|| unexpected("a chunk without its size"))?;
        let from = at + line + 2;
        let Some(chunk) = bytes.get(from..from + size + 2) else { return Ok(None) };
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else {
            return Err(unexpected("a chunk that does not end where it should"));
        };
        at = from + size + 2;
        if size == 0 {
            return Ok(Some((body.into(), at)));
        }
        body.extend_from_slice(chunk);
    }
    Ok(None)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// JSON without the white space outside its strings.
fn without_space(json: &[u8]) -> Vec<u8> {
    let (mut is_inside, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let keep = is_inside || !byte.is_ascii_whitespace();
        if *byte == b'"' && !is_escaped {
            is_inside = !is_inside;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
        keep
    };
    json.iter().copied().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_in_both_forms() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest";
        let chunked = b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n\
            1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n";
        for (bytes, status, length) in
            [(&plain[..], 200, plain.len() - 4), (&chunked[..], 404, chunked.len())]
        {
            for cut in 0..length {
                assert_eq!(Response::parse(&bytes[..cut]).unwrap(), None, "cut at {cut}");
            }
            let body = b"abc"[..].into();
            let due = Response { status, closes: false, body, length };
            assert_eq!(Response::parse(bytes).unwrap(), Some(due));
        }
        assert!(Response::parse(b"HTTP/1.0 200 OK\r\n\r\n").is_err());
        let closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(Response::parse(closing).unwrap().unwrap().closes);
    }

    #[test]
    fn white_space_in_strings_stays() {
        let json = br#" { "a b" : "c \" d\\" , "e" : true } "#;
        assert_eq!(without_space(json), br#"{"a b":"c \" d\\","e":true}"#);
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let mut tally = Tally { left: 1, ..Tally::default() };
        let mut rest = Rest::new(Connections::Kept);
        rest.fill(Instant::now(), &mut tally).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let error = rest.handle(answer, Instant::now(), &mut tally).unwrap_err();
        assert!(error.to_string().contains("differs from the expected one: {}"), "{error}");
    }
}
