//! One engine against a script that sends any bytes, frame by frame, and parses what comes back.

use std::time::{Duration, Instant};

use super::duo::{End, request};
use super::owned::Owned;
use crate::frame::{HEAD_BYTES, Kind, PREFACE, flags, write_head};
use crate::hpack::{Decoder, Encoder, FieldBlock, Indexing, Limits, NoClassifier};
use crate::{Client, Config, ConnectionError, Reason, Role, Server, StreamKey};

/// A frame as it stood on the wire.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Frame { kind, flags, stream, payload } = self;
        let shown = payload.get(..40).unwrap_or(payload).escape_ascii();
        write!(f, "[{kind:#x} flags {flags:#x} stream {stream} {} bytes {shown}]", payload.len())
    }
}

impl Frame {
    pub(super) fn rst_stream(stream: u32, reason: Reason) -> Self {
        let payload = reason.0.to_be_bytes().to_vec();
        Frame { kind: Kind::RST_STREAM, flags: 0, stream, payload }
    }

    pub(super) fn window_update(stream: u32, increment: u32) -> Self {
        let payload = increment.to_be_bytes().to_vec();
        Frame { kind: Kind::WINDOW_UPDATE, flags: 0, stream, payload }
    }

    pub(super) fn u32_at(&self, at: usize) -> u32 {
        crate::frame::read_u32(&self.payload[at..]).expect("long enough")
    }
}

/// The engine under test, seen from its peer.
pub(super) struct Script<R: Role> {
    pub(super) end: End<R>,
    pub(super) now: Instant,
    /// Everything the engine sent since `take_replies`, except its SETTINGS and their
    /// acknowledgement at the start.
    pub(super) replies: Vec<Frame>,
    unparsed: Vec<u8>,
    pub(super) error: Option<ConnectionError>,
    pub(super) encoder: Encoder,
    decoder: Decoder,
}

impl Script<Server> {
    /// A server that has exchanged preface and SETTINGS with us.
    pub(super) fn server(config: Config) -> Self {
        let mut script = Script::start(config);
        script.send(PREFACE);
        script.finish_handshake();
        script
    }

    /// One with a request on stream 1, which goes on; and the key of that.
    pub(super) fn asked() -> (Self, StreamKey) {
        let mut script = Script::server(Config::default());
        let key = script.request(1, false);
        (script, key)
    }

    /// A request head on `stream`, and its key.
    pub(super) fn request(&mut self, stream: u32, end_stream: bool) -> StreamKey {
        let bytes = self.request_bytes(stream, end_stream);
        self.send(&bytes);
        match self.end.events.pop() {
            Some(Owned::Headers { key, .. }) => key,
            other => panic!("no request: {other:?}, {:?}", self.error),
        }
    }

    pub(super) fn request_bytes(&mut self, stream: u32, end_stream: bool) -> Vec<u8> {
        let end = if end_stream { flags::END_STREAM } else { 0 };
        self.headers(stream, flags::END_HEADERS | end, REQUEST)
    }
}

impl Script<Client> {
    /// A client that has exchanged preface and SETTINGS with us.
    pub(super) fn client(config: Config) -> Self {
        let mut script = Script::start(config);
        script.finish_handshake();
        script
    }

    /// One whose call on stream 1 goes on, and has the head of its response; and the key of that.
    pub(super) fn answered() -> (Self, StreamKey) {
        let mut script = Script::client(Config::default());
        let key = script.open(false);
        let head = script.headers(1, flags::END_HEADERS, RESPONSE);
        script.send(&head);
        script.take_events();
        (script, key)
    }

    /// The client opens a stream.
    pub(super) fn open(&mut self, end_stream: bool) -> StreamKey {
        let key = self.end.engine.open(end_stream, request).expect("may open");
        self.transmit();
        self.replies.clear();
        key
    }
}

impl<R: Role> Script<R> {
    /// The engine has only started.
    pub(super) fn start(config: Config) -> Self {
        let now = Instant::now();
        let limits = Limits { header_list_bytes_max: u32::MAX, fields_max: u32::MAX };
        Script {
            end: End::new(config, now),
            now,
            replies: Vec::new(),
            unparsed: Vec::new(),
            error: None,
            encoder: Encoder::new(4096),
            decoder: Decoder::new(4096, limits),
        }
    }

    fn finish_handshake(&mut self) {
        self.send(&settings(&[]));
        self.send(&frame(Kind::SETTINGS, flags::ACK, 0, b""));
        assert_eq!(self.error, None);
        self.end.events.clear();
        self.replies.clear();
    }

    /// The engine reads `bytes` to the end, then transmits.
    pub(super) fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.feed(bytes);
        self.transmit();
        self
    }

    /// The engine reads `bytes` and does not transmit.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.end.recv.extend_from_slice(bytes);
        if let Err(error) = self.end.read(self.now) {
            assert_eq!(self.error, None, "failed twice");
            self.error = Some(error);
        }
    }

    /// Parses what the engine has to send.
    pub(super) fn transmit(&mut self) {
        loop {
            let bytes = self.end.transmit(self.now);
            if bytes.is_empty() {
                break;
            }
            self.unparsed.extend_from_slice(&bytes);
        }
        if self.unparsed.starts_with(PREFACE) {
            self.unparsed.drain(..PREFACE.len());
        }
        let mut rest = &self.unparsed[..];
        while let Some((head, after)) = rest.split_at_checked(HEAD_BYTES) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            self.replies.push(Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload: payload.to_vec(),
            });
            rest = after;
        }
        assert!(rest.is_empty(), "the engine transmits whole frames");
        self.unparsed.clear();
    }

    pub(super) fn take_replies(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.replies)
    }

    pub(super) fn take_events(&mut self) -> Vec<Owned> {
        self.end.take_events()
    }

    /// Time passes; timers run.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        if let Err(error) = self.end.engine.handle_timeout(self.now) {
            self.error = Some(error);
        }
        self.transmit();
    }

    /// HEADERS from our encoder.
    pub(super) fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(fields);
        frame(Kind::HEADERS, flags, stream, &block)
    }

    pub(super) fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.begin_block(&mut block);
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            self.encoder.field(&mut block, name, value, Indexing::WithoutIndexing);
        }
        block
    }

    /// The fields of a HEADERS frame of the engine's. To be called for each, in order.
    pub(super) fn decode(&mut self, frame: &Frame) -> Vec<(String, String)> {
        let mut block = FieldBlock::default();
        self.decoder.decode(&frame.payload, &mut block, &NoClassifier).expect("a legal block");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        block.iter().map(|field| (text(field.name), text(field.value))).collect()
    }

    /// We lower or raise what the engine's encoder may use.
    pub(super) fn set_table_bytes_max(&mut self, bytes: u32) {
        self.decoder.set_table_bytes_max(bytes);
    }

    /// Nothing was said and nothing broke.
    #[track_caller]
    pub(super) fn expect_silence(&mut self) {
        assert_eq!((&self.error, &self.replies[..]), (&None, &[][..]));
    }

    /// One RST_STREAM went out, and nothing else.
    #[track_caller]
    pub(super) fn expect_reset(&mut self, stream: u32, reason: Reason) {
        assert_eq!(self.error, None);
        let replies = self.take_replies();
        assert_eq!(replies, [Frame::rst_stream(stream, reason)]);
    }

    /// The connection ended with `reason`; GOAWAY is the last frame.
    #[track_caller]
    pub(super) fn expect_failure(&mut self, reason: Reason) {
        let replies = self.take_replies();
        assert_eq!(self.error.map(|error| error.reason), Some(reason), "{replies:?}");
        let last = replies.last().expect("a GOAWAY");
        assert_eq!((last.kind, last.stream), (Kind::GOAWAY, 0));
        assert_eq!(last.u32_at(4), reason.0);
        assert!(self.end.engine.is_finished());
        assert_eq!(self.end.engine.poll_timeout(), None);
    }
}

/// What every request of the tests carries.
pub(super) const REQUEST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), ("te", "trailers")];

/// What every response of the tests carries.
pub(super) const RESPONSE: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "application/grpc")];

/// Any frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

pub(super) fn data(stream: u32, payload: &[u8], end_stream: bool) -> Vec<u8> {
    frame(Kind::DATA, if end_stream { flags::END_STREAM } else { 0 }, stream, payload)
}

pub(super) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = list
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(Kind::SETTINGS, 0, 0, &payload)
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(Kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(super) fn rst_stream(stream: u32, reason: Reason) -> Vec<u8> {
    frame(Kind::RST_STREAM, 0, stream, &reason.0.to_be_bytes())
}

pub(super) fn ping(ack: bool, opaque: [u8; 8]) -> Vec<u8> {
    frame(Kind::PING, if ack { flags::ACK } else { 0 }, 0, &opaque)
}

pub(super) fn goaway(last_stream_id: u32, reason: Reason, debug: &[u8]) -> Vec<u8> {
    let payload = [&last_stream_id.to_be_bytes()[..], &reason.0.to_be_bytes(), debug].concat();
    frame(Kind::GOAWAY, 0, 0, &payload)
}
