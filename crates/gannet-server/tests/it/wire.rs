//! A raw-frame peer of either role: writes any bytes and reads frame by frame, with no engine
//! behind it that would know better. The tests of the client use it too.

#![allow(dead_code, reason = "the tests of either side use their half of it")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gannet_http2::Reason;
use gannet_http2::hpack::{Decoder, Encoder, FieldBlock, Indexing, Limits, NoClassifier};
use gannet_transport::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// END_STREAM; of SETTINGS and PING: ACK.
pub(crate) const END: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;

/// SETTINGS as most peers send them.
pub(crate) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let values =
        list.iter().flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()));
    frame(SETTINGS, 0, 0, &values.collect::<Vec<u8>>())
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.0.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A header block of literals: nothing enters a table.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut encoder = Encoder::new(0);
    let mut block = Vec::new();
    encoder.begin_block(&mut block);
    for (name, value) in fields {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        encoder.field(&mut block, name, value, Indexing::WithoutIndexing);
    }
    block
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The reason in a RST_STREAM or a GOAWAY.
    pub(crate) fn reason(&self) -> Reason {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        Reason(self.number(at))
    }

    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) struct Wire {
    io: Stream,
    unparsed: Vec<u8>,
    decoder: Decoder,
    pub(crate) closed: bool,
}

impl Wire {
    pub(crate) fn new(io: Stream) -> Wire {
        let limits = Limits { header_list_bytes_max: u32::MAX, fields_max: u32::MAX };
        Wire { io, unparsed: Vec::new(), decoder: Decoder::new(4096, limits), closed: false }
    }

    /// A client that has greeted.
    pub(crate) async fn client(io: Stream) -> Wire {
        let mut wire = Wire::new(io);
        wire.send(&[PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, b"")].concat()).await;
        wire
    }

    /// A server that has greeted; its client's preface is read.
    pub(crate) async fn server(io: Stream) -> Wire {
        let mut wire = Wire::new(io);
        wire.take_preface().await;
        wire.send(&[settings(&[]), frame(SETTINGS, ACK, 0, b"")].concat()).await;
        wire
    }

    pub(crate) async fn take_preface(&mut self) {
        while self.unparsed.len() < PREFACE.len() {
            assert!(self.fill().await, "closed before the preface");
        }
        assert_eq!(self.unparsed.drain(..PREFACE.len()).collect::<Vec<_>>(), PREFACE);
    }

    /// Writes all of it, or until the other side has closed; reads on the way, as the other side
    /// may wait for that.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        poll_fn(|cx| {
            while !rest.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, rest) {
                    Poll::Ready(Ok(n)) => rest = &rest[n..],
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => {
                        if !ready!(self.poll_fill(cx)) {
                            break;
                        }
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
        let _ = self.io.flush().await;
    }

    /// Says that nothing more will be written.
    pub(crate) async fn finish(&mut self) {
        let _ = self.io.shutdown().await;
    }

    async fn fill(&mut self) -> bool {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Reads once; whether anything came.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [0; 16 << 10];
        let mut buf = ReadBuf::new(&mut space);
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
        self.unparsed.extend_from_slice(buf.filled());
        self.closed = result.is_err() || buf.filled().is_empty();
        Poll::Ready(!self.closed)
    }

    /// The next frame; `None` where the other side has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            if self.closed || !self.fill().await {
                return None;
            }
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let (head, rest) = self.unparsed.split_at_checked(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..length)?.to_vec();
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        self.unparsed.drain(..9 + length);
        Some(frame)
    }

    /// The next frame of this kind.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("closed");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All frames until nothing comes for a second, or the other side closes; without SETTINGS.
    pub(crate) async fn answers(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(1), self.next()).await
        {
            frames.push(frame);
        }
        frames.retain(|frame| frame.kind != SETTINGS);
        frames
    }

    /// The fields of HEADERS in one frame. To be called for each that comes, in order.
    pub(crate) fn decode(&mut self, frame: &Frame) -> Vec<(String, String)> {
        assert_eq!((frame.kind, frame.flags & END_HEADERS), (HEADERS, END_HEADERS));
        let mut fields = FieldBlock::default();
        self.decoder.decode(&frame.payload, &mut fields, &NoClassifier).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|field| (text(field.name), text(field.value))).collect()
    }
}
