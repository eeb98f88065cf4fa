//! The frames of HTTP/2 as far as they matter here (RFC 9113 section 6): heads read, frames
//! written. Header blocks are in `headers`.

use std::io;

/// What a frame may carry: both sides leave SETTINGS_MAX_FRAME_SIZE at its default.
pub(crate) const FRAME_BYTES_MAX: usize = 16_384;
/// The head of a frame.
pub(crate) const HEAD_BYTES: usize = 9;
/// Every flow-control window's size before SETTINGS and WINDOW_UPDATE change it.
pub(crate) const WINDOW_BYTES_INITIAL: i64 = 65_535;
/// The largest window there is.
pub(crate) const WINDOW_BYTES_MAX: i64 = (1 << 31) - 1;
/// The client's first bytes.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;

/// A frame type that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Reset,
    Settings,
    Ping,
    GoAway,
    WindowUpdate,
    /// What needs no answer: PRIORITY, CONTINUATION, and types that nobody knows.
    Other,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Reset => 3,
            Kind::Settings => 4,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Other => 0xff,
        }
    }
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) id: u32,
    pub(crate) payload: &'a [u8],
    flags: u8,
}

impl<'a> Frame<'a> {
    /// The frame at the front, and how long it is; `None` until it is complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> io::Result<Option<(Frame<'a>, usize)>> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(too_long(bytes));
        }
        let Some(payload) = bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let kind = match head[3] {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            _ => Kind::Other,
        };
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
        Ok(Some((Frame { kind, id, payload, flags: head[4] }, HEAD_BYTES + length)))
    }

    pub(crate) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(crate) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    /// What a DATA frame carries, without its padding.
    pub(crate) fn data(&self) -> io::Result<&'a [u8]> {
        if self.flags & PADDED == 0 {
            return Ok(self.payload);
        }
        let unpadded = self
            .payload
            .split_first()
            .and_then(|(padding, rest)| rest.get(..rest.len().checked_sub(usize::from(*padding))?));
        unpadded.ok_or_else(|| unexpected("a DATA frame has more padding than payload"))
    }

    /// The number at `at` in the payload: an error code, an increment.
    pub(crate) fn number(&self, at: usize) -> io::Result<u32> {
        let bytes = self.payload.get(at..).and_then(|bytes| bytes.first_chunk());
        let bytes = bytes.ok_or_else(|| unexpected(format!("a short {:?} frame", self.kind)))?;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// The settings of a SETTINGS frame, each an identifier and its value.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload
            .as_chunks::<6>()
            .0
            .iter()
            .map(|[a, b, value @ ..]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value)))
    }
}

pub(crate) fn head(out: &mut Vec<u8>, length: usize, kind: Kind, flags: u8, id: u32) {
    let length = u32::try_from(length).expect("a frame is short").to_be_bytes();
    let id = id.to_be_bytes();
    let kind = kind.code();
    out.extend_from_slice(&[
        length[1], length[2], length[3], kind, flags, id[0], id[1], id[2], id[3],
    ]);
}

/// A SETTINGS frame: each setting an identifier and its value.
pub(crate) fn settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    head(out, settings.len() * 6, Kind::Settings, 0, 0);
    for (identifier, value) in settings {
        out.extend_from_slice(&identifier.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn settings_ack(out: &mut Vec<u8>) {
    head(out, 0, Kind::Settings, ACK, 0);
}

pub(crate) fn ping_ack(opaque: &[u8], out: &mut Vec<u8>) {
    head(out, opaque.len(), Kind::Ping, ACK, 0);
    out.extend_from_slice(opaque);
}

/// Gives credit to a stream, or to the connection (`id` 0).
pub(crate) fn window_update(id: u32, bytes: u32, out: &mut Vec<u8>) {
    head(out, 4, Kind::WindowUpdate, 0, id);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Adds an increment to a window that the peer gave.
pub(crate) fn widen(window: &mut i64, increment: u32) -> io::Result<()> {
    *window += i64::from(increment);
    if increment == 0 || *window > WINDOW_BYTES_MAX {
        return Err(unexpected(format!("a WINDOW_UPDATE of {increment} bytes, to {window}")));
    }
    Ok(())
}

/// An error code of RST_STREAM or GOAWAY (RFC 9113 section 7), as it is written there.
pub(crate) fn error_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("error {code:#x}"), |name| (*name).to_owned())
}

pub(crate) fn unexpected(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn too_long(bytes: &[u8]) -> io::Error {
    let start = &bytes[..bytes.len().min(40)];
    unexpected(format!("no HTTP/2 frame, or one longer than allowed: {}", start.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_is_complete() {
        let mut bytes = Vec::new();
        head(&mut bytes, 3, Kind::Data, END_STREAM, 7);
        bytes.extend_from_slice(b"abcrest");
        for length in 0..12 {
            assert!(Frame::parse(&bytes[..length]).unwrap().is_none());
        }
        let (frame, length) = Frame::parse(&bytes).unwrap().unwrap();
        assert_eq!((frame.kind, frame.id, frame.payload, length), (Kind::Data, 7, &b"abc"[..], 12));
        assert!(frame.ends_stream());
    }

    #[test]
    fn padding_is_taken_off() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"\x00ab", Some(b"ab")),
            (b"\x02ab\x00\x00", Some(b"ab")),
            (b"\x02\x00\x00", Some(b"")),
            (b"\x03\x00\x00", None),
            (b"", None),
        ];
        for (payload, data) in cases {
            let frame = Frame { kind: Kind::Data, id: 1, payload, flags: PADDED };
            assert_eq!(frame.data().ok(), data, "{payload:?}");
        }
    }

    #[test]
    fn a_peer_of_another_protocol_is_shown() {
        let error = Frame::parse(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
        assert!(error.to_string().contains("HTTP/1.1 400 Bad Request"), "{error}");
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        settings(&[(4, 1 << 30), (2, 0)], &mut bytes);
        let (frame, _) = Frame::parse(&bytes).unwrap().unwrap();
        assert_eq!(frame.settings().collect::<Vec<_>>(), [(4, 1 << 30), (2, 0)]);
        assert!(!frame.is_ack());
    }

    #[test]
    fn a_window_has_an_end() {
        let mut window = 0;
        assert!(widen(&mut window, 0).is_err());
        assert!(widen(&mut window, (1 << 31) - 1).is_ok());
        assert!(widen(&mut window, 1).is_err());
    }
}
