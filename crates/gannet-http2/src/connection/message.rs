//! What makes a header list a well-formed request, response or trailer section (RFC 9113 sections
//! 8.1 to 8.3). Each field's own form was judged by HPACK; here it is about the list.

use crate::hpack::{Field, FieldBlock, FieldKind};

/// The list breaks a rule: the stream is reset with PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the engine itself needs of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) content_length: Option<u64>,
}

/// What the engine itself needs of a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) content_length: Option<u64>,
}

/// What a header list is, by itself: known before it is known for which stream it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Request(RequestHead),
    Response(ResponseHead),
    Trailers,
    Malformed,
}

impl Verdict {
    /// Judges a list that a server (`by_server`) or a client received. A list that starts with a
    /// pseudo-header is a head, any other a trailer section.
    pub(super) fn of(fields: &FieldBlock, by_server: bool) -> Verdict {
        let is_head = fields.tags().next().is_some_and(|(kind, _)| kind.is_pseudo());
        let verdict = match (is_head, by_server) {
            (true, true) => request_head(fields).map(Verdict::Request),
            (true, false) => response_head(fields).map(Verdict::Response),
            (false, _) => trailers(fields).map(|()| Verdict::Trailers),
        };
        verdict.unwrap_or(Verdict::Malformed)
    }
}

/// Checks a request head.
fn request_head(fields: &FieldBlock) -> Result<RequestHead, Malformed> {
    let mut list = ListCheck::default();
    let mut connect = false;
    let mut authority = None;
    for field in fields.iter() {
        list.field(&field)?;
        match field.kind {
            FieldKind::Method => connect = field.value == b"CONNECT",
            FieldKind::Path
                if !field.tag.is_elided() && !matches!(field.value.first(), Some(b'/' | b'*')) =>
            {
                return Err(Malformed);
            }
            FieldKind::Authority if field.value.contains(&b'@') => return Err(Malformed),
            FieldKind::Authority => authority = Some(field.value),
            FieldKind::Host if authority.is_some_and(|authority| authority != field.value) => {
                return Err(Malformed);
            }
            FieldKind::Status | FieldKind::Protocol => return Err(Malformed),
            _ => {}
        }
    }
    let needs = if connect { [FieldKind::Method, FieldKind::Authority].as_slice() } else { ALWAYS };
    if !needs.iter().all(|kind| list.has(*kind)) {
        return Err(Malformed);
    }
    if connect && (list.has(FieldKind::Scheme) || list.has(FieldKind::Path)) {
        return Err(Malformed);
    }
    Ok(RequestHead { content_length: list.content_length })
}

const ALWAYS: &[FieldKind] = &[FieldKind::Method, FieldKind::Scheme, FieldKind::Path];

/// Checks a response head, interim or final.
fn response_head(fields: &FieldBlock) -> Result<ResponseHead, Malformed> {
    let mut list = ListCheck::default();
    let mut status = None;
    for field in fields.iter() {
        list.field(&field)?;
        if field.kind == FieldKind::Status {
            status = Some(parse_status(field.value)?);
        } else if field.kind.is_pseudo() {
            return Err(Malformed);
        }
    }
    let status = status.ok_or(Malformed)?;
    Ok(ResponseHead { status, content_length: list.content_length })
}

/// Checks a trailer section: no pseudo-headers.
fn trailers(fields: &FieldBlock) -> Result<(), Malformed> {
    let bad = |kind: FieldKind| {
        kind.is_pseudo() || matches!(kind, FieldKind::Malformed | FieldKind::ConnectionSpecific)
    };
    if fields.tags().any(|(kind, _)| bad(kind)) { Err(Malformed) } else { Ok(()) }
}

/// Rules that hold for requests and responses alike.
#[derive(Default)]
struct ListCheck {
    /// One bit for each pseudo-header seen.
    seen: u16,
    regular: bool,
    content_length: Option<u64>,
}

impl ListCheck {
    fn field(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        match field.kind {
            FieldKind::Malformed | FieldKind::ConnectionSpecific | FieldKind::UnknownPseudo => {
                return Err(Malformed);
            }
            kind if kind.is_pseudo() => {
                if self.regular || self.has(kind) {
                    return Err(Malformed);
                }
                self.seen |= bit(kind);
            }
            FieldKind::ContentLength => {
                self.regular = true;
                let length = parse_length(field.value)?;
                if self.content_length.is_some_and(|before| before != length) {
                    return Err(Malformed);
                }
                self.content_length = Some(length);
            }
            _ => self.regular = true,
        }
        Ok(())
    }

    fn has(&self, kind: FieldKind) -> bool {
        self.seen & bit(kind) != 0
    }
}

fn bit(kind: FieldKind) -> u16 {
    1 << kind as u8
}

fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn parse_status(value: &[u8]) -> Result<u16, Malformed> {
    match value {
        [a @ b'1'..=b'9', b, c] if b.is_ascii_digit() && c.is_ascii_digit() => {
            Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::FieldTag;

    fn block(fields: &[(&str, &str)]) -> FieldBlock {
        let mut block = FieldBlock::default();
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            block.push(FieldKind::of(name, value), FieldTag::NONE, name, value);
        }
        block
    }

    const GOOD: [(&str, &str); 3] = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b")];

    fn with(extra: &[(&'static str, &'static str)]) -> FieldBlock {
        block(&[&GOOD[..], extra].concat())
    }

    #[test]
    fn requests() {
        let ok = RequestHead { content_length: None };
        assert_eq!(request_head(&with(&[])), Ok(ok));
        let length = request_head(&with(&[("content-length", "12"), ("content-length", "12")]));
        assert_eq!(length, Ok(RequestHead { content_length: Some(12) }));
        assert!(request_head(&block(&[(":method", "CONNECT"), (":authority", "a:1")])).is_ok());
        for bad in [
            with(&[(":path", "/again")]),
            with(&[("a", "b"), (":authority", "late")]),
            with(&[(":status", "200")]),
            with(&[(":unknown", "x")]),
            with(&[("connection", "close")]),
            with(&[("te", "gzip")]),
            with(&[("Upper", "x")]),
            with(&[("content-length", "1"), ("content-length", "2")]),
            with(&[("content-length", "+1")]),
            with(&[("content-length", "")]),
            with(&[(":authority", "user@host")]),
            with(&[(":authority", "a"), ("host", "b")]),
            block(&GOOD[..2]),
            block(&GOOD[1..]),
            block(&[GOOD[0], GOOD[2]]),
            block(&[GOOD[0], GOOD[1], (":path", "")]),
            block(&[(":method", "CONNECT"), (":authority", "a"), (":path", "/")]),
        ] {
            assert_eq!(request_head(&bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn responses_and_trailers() {
        let head = response_head(&block(&[(":status", "200"), ("content-length", "3")]));
        assert_eq!(head, Ok(ResponseHead { status: 200, content_length: Some(3) }));
        for bad in [
            block(&[]),
            block(&[(":status", "20")]),
            block(&[(":status", "099")]),
            block(&[(":status", "200"), (":status", "200")]),
            block(&[(":status", "200"), (":path", "/")]),
        ] {
            assert_eq!(response_head(&bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(trailers(&block(&[("grpc-status", "0")])), Ok(()));
        assert_eq!(trailers(&block(&[(":status", "200")])), Err(Malformed));
    }
}
