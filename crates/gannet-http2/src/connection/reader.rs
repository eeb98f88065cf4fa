//! From bytes to frames: what may come next, and where it lies in the read buffer.

use std::ops::Range;
use std::time::Instant;

use super::data::DataInFlight;
use super::{Connection, Role, Shutdown};
use crate::frame::{self, FrameHead, HEAD_BYTES, Kind, flags};
use crate::{ConnectionError, Event, Reason, RecvBuf, StreamKey};

/// Where the parser stands.
#[derive(Debug)]
pub(super) enum Reader {
    /// A server waits for the client's connection preface.
    Preface,
    /// The first frame must be SETTINGS (RFC 9113 section 3.4).
    FirstSettings,
    /// Between frames.
    Frames,
    /// Within the payload of a DATA frame, which is passed on as it arrives.
    Data(DataInFlight),
}

/// An event before it borrows.
#[derive(Debug)]
pub(super) enum Emit {
    Headers { key: StreamKey, end_stream: bool },
    Informational { key: StreamKey, status: u16 },
    Data { key: StreamKey, payload: Range<usize>, end_stream: bool },
    Trailers { key: StreamKey },
    Reset { key: StreamKey, reason: Reason, remote: bool, unprocessed: bool },
    Ping { opaque: [u8; 8] },
    PingAck { opaque: [u8; 8] },
    Settings,
    GoAway { last_stream_id: u32, reason: Reason, debug: Range<usize> },
}

/// What one step of the parser came to.
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// Something was done that the layer above need not know.
    Again,
    Emit(Emit),
}

impl<R: Role> Connection<R> {
    /// Parses on until something is worth telling, or `None` until more bytes are in `buf`.
    ///
    /// # Errors
    /// The peer broke the protocol or exceeded a bound: the connection is over, see
    /// [`ConnectionError`].
    #[inline]
    pub fn next_event<'a>(
        &'a mut self,
        now: Instant,
        buf: &'a mut RecvBuf,
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        if self.shutdown == Shutdown::Failed {
            buf.consume(buf.len());
            return Ok(None);
        }
        if self.events.is_empty()
            && matches!(self.reader, Reader::Frames)
            && self.block.is_none()
            && let Some((key, payload, end_stream)) = self.usual_data(buf)
        {
            return Ok(Some(Event::Data { key, payload: buf.at(payload), end_stream }));
        }
        let emit = loop {
            if let Some(emit) = self.pop_event() {
                break emit;
            }
            match self.step(now, buf) {
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Again) => {}
                Ok(Step::Emit(emit)) => break emit,
                Err(error) => return Err(self.fail(error)),
            }
        };
        Ok(Some(self.event(emit, buf)))
    }

    /// Whether [`next_event`](Self::next_event) has something to tell without more bytes.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next waiting event, but none of a stream that was forgotten while it waited.
    #[inline]
    fn pop_event(&mut self) -> Option<Emit> {
        while let Some(emit) = self.events.pop_front() {
            let key = match &emit {
                Emit::Reset { key, .. } => *key,
                _ => return Some(emit),
            };
            if self.streams.get(key).is_some_and(|stream| stream.held) {
                return Some(emit);
            }
        }
        None
    }

    #[inline]
    fn event<'a>(&'a mut self, emit: Emit, buf: &'a RecvBuf) -> Event<'a> {
        match emit {
            Emit::Headers { key, end_stream } => {
                Event::Headers { key, fields: &mut self.fields, end_stream }
            }
            Emit::Informational { key, status } => Event::Informational { key, status },
            Emit::Data { key, payload, end_stream } => {
                Event::Data { key, payload: buf.at(payload), end_stream }
            }
            Emit::Trailers { key } => Event::Trailers { key, fields: &mut self.fields },
            Emit::Reset { key, reason, remote, unprocessed } => {
                Event::Reset { key, reason, remote, unprocessed }
            }
            Emit::Ping { opaque } => Event::Ping { opaque },
            Emit::PingAck { opaque } => Event::PingAck { opaque },
            Emit::Settings => Event::Settings,
            Emit::GoAway { last_stream_id, reason, debug } => {
                Event::GoAway { last_stream_id, reason, debug: buf.at(debug) }
            }
        }
    }

    #[inline]
    fn step(&mut self, now: Instant, buf: &mut RecvBuf) -> Result<Step, ConnectionError> {
        match self.reader {
            Reader::Preface => self.read_preface(buf),
            Reader::Data(_) => self.read_data(now, buf),
            Reader::Frames => self.read_frame(now, buf),
            Reader::FirstSettings => {
                if !R::IS_SERVER {
                    speaks_http2(buf.unread())?;
                }
                self.read_frame(now, buf)
            }
        }
    }

    fn read_preface(&mut self, buf: &mut RecvBuf) -> Result<Step, ConnectionError> {
        let have = buf.unread();
        let n = have.len().min(frame::PREFACE.len());
        if have[..n] != frame::PREFACE[..n] {
            return no_preface(have).map(|()| Step::Wait);
        }
        if n < frame::PREFACE.len() {
            return Ok(Step::Wait);
        }
        buf.consume(n);
        self.reader = Reader::FirstSettings;
        Ok(Step::Again)
    }

    /// Whether a server still waits for the client's preface: nothing that came was HTTP/2.
    #[inline]
    pub fn awaits_preface(&self) -> bool {
        R::IS_SERVER && matches!(self.reader, Reader::Preface)
    }

    /// The method with which a client began, in place of the preface, a request of HTTP/1, where
    /// that is what failed the connection; `buf` is what it was read into. Whoever has sent nothing
    /// of this connection can answer such a client in what it speaks.
    pub fn http1_method<'a>(&self, buf: &'a RecvBuf) -> Option<&'a str> {
        match http1(buf.unread()) {
            Http1::Request(method) if self.awaits_preface() => Some(method),
            _ => None,
        }
    }

    #[inline]
    fn read_frame(&mut self, now: Instant, buf: &mut RecvBuf) -> Result<Step, ConnectionError> {
        let Some(head) = FrameHead::parse(buf.unread()) else { return Ok(Step::Wait) };
        self.check_head(head)?;
        if head.kind == Kind::Data {
            // Whole or not: the payload is passed on as it comes.
            return self.start_data(now, head, buf);
        }
        if buf.len() < head.frame_bytes() {
            return Ok(Step::Wait);
        }
        let frame = buf.consume(head.frame_bytes());
        let payload = frame.start + HEAD_BYTES..frame.end;
        if self.block.is_some() {
            return self.on_continuation(now, head, buf.at(payload));
        }
        match head.kind {
            Kind::Headers => self.on_headers(now, head, buf.at(payload)),
            Kind::Continuation => {
                Err(ConnectionError::protocol("CONTINUATION without an open header block"))
            }
            Kind::Settings => self.on_settings(now, head, buf.at(payload)),
            Kind::WindowUpdate => self.on_window_update(now, head, buf.at(payload)),
            Kind::RstStream => self.on_rst_stream(now, head, buf.at(payload)),
            Kind::Ping => self.on_ping(now, head, buf.at(payload)),
            Kind::GoAway => self.on_goaway(head, buf, payload),
            Kind::Priority => self.on_priority(now, head, buf.at(payload)),
            Kind::PushPromise => Err(ConnectionError::protocol("PUSH_PROMISE is not enabled")),
            Kind::Unknown | Kind::Data => Ok(Step::Again),
        }
    }

    /// What the nine bytes alone can violate, before anything of the payload is kept.
    #[inline]
    fn check_head(&mut self, head: FrameHead) -> Result<(), ConnectionError> {
        if head.length > self.config.frame_bytes_max {
            return Err(ConnectionError::frame_size("a frame exceeds SETTINGS_MAX_FRAME_SIZE"));
        }
        if let Some(block) = &self.block
            && (head.kind != Kind::Continuation || head.stream_id != block.stream_id)
        {
            return Err(ConnectionError::protocol("a header block was interrupted"));
        }
        if matches!(self.reader, Reader::FirstSettings) {
            if head.kind != Kind::Settings || head.has(flags::ACK) {
                return Err(ConnectionError::protocol("the first frame is not SETTINGS"));
            }
            self.reader = Reader::Frames;
        }
        Ok(())
    }
}

/// The longest registered one, UPDATEREDIRECTREF, and more.
const HTTP1_METHOD_BYTES_MAX: usize = 20;

/// Of a request line; what is longer is taken for none.
const HTTP1_LINE_BYTES_MAX: usize = 4_096;

/// What a client's first bytes are to HTTP/1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Http1<'a> {
    /// A request with this method.
    Request(&'a str),
    /// They may become one.
    MayBecome,
    Nothing,
}

/// Whether this is a request line of HTTP/1 as far as its version (RFC 9112 section 3). The method
/// of HTTP/2's preface is none.
fn http1(head: &[u8]) -> Http1<'_> {
    let method = head.iter().take(HTTP1_METHOD_BYTES_MAX).take_while(|b| b.is_ascii_uppercase());
    let (method, rest) = head.split_at(method.count());
    let [b' ', rest @ ..] = rest else {
        return if rest.is_empty() { Http1::MayBecome } else { Http1::Nothing };
    };
    let method = str::from_utf8(method).unwrap_or_default();
    let target = rest.iter().take(HTTP1_LINE_BYTES_MAX).take_while(|b| b.is_ascii_graphic());
    let (target, rest) = rest.split_at(target.count());
    match (method, target, rest) {
        ("" | "PRI", ..) => Http1::Nothing,
        (_, [], []) => Http1::MayBecome,
        (_, [_, ..], []) if target.len() < HTTP1_LINE_BYTES_MAX => Http1::MayBecome,
        (_, [_, ..], [b' ', version @ ..]) if version.starts_with(b"HTTP/1.") => {
            Http1::Request(method)
        }
        (_, [_, ..], [b' ', version @ ..]) if b"HTTP/1.".starts_with(version) => Http1::MayBecome,
        _ => Http1::Nothing,
    }
}

/// What a client's first bytes are, which are not the preface. Fine as long as they may become a
/// request of HTTP/1, so that whoever sends one is told what it sent.
fn no_preface(head: &[u8]) -> Result<(), ConnectionError> {
    Err(ConnectionError::protocol(match (http1(head), head) {
        (Http1::MayBecome, _) => return Ok(()),
        (Http1::Request(_), _) => "the client speaks HTTP/1",
        // A record of TLS, handshake or alert (RFC 8446 section 5.1).
        (_, [21 | 22, ..]) => "the client speaks TLS, and this port does not",
        _ => "the client's connection preface is wrong",
    }))
}

/// Whether a server's first bytes can be HTTP/2, as far as others are known. A TLS alert is shorter
/// than a frame's head.
fn speaks_http2(first: &[u8]) -> Result<(), ConnectionError> {
    Err(ConnectionError::protocol(match first {
        [21 | 22, 3, ..] => "the server speaks TLS",
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => {
            "the server answered in HTTP/1, which may also mean that it speaks TLS"
        }
        _ => return Ok(()),
    }))
}
