//! DATA: receive windows, padding, declared lengths (RFC 9113 sections 5.2, 6.1 and 8.1.1).

use std::ops::Range;
use std::time::Instant;

use super::reader::{Emit, Reader, Step};
use super::{Connection, Role};
use crate::frame::{FrameHead, HEAD_BYTES, Kind, flags};
use crate::stream::{Closed, ContentLength, RecvHalf};
use crate::{ConnectionError, Reason, RecvBuf, StreamKey};

/// A DATA frame whose head is consumed.
#[derive(Debug)]
pub(super) struct DataInFlight {
    /// `None`: nobody wants it; it is skipped and its credit returned.
    key: Option<StreamKey>,
    payload_left: u32,
    padding_left: u32,
    end_stream: bool,
}

impl<R: Role> Connection<R> {
    /// Takes the usual DATA frame off the front: whole, not empty, without padding, on a stream
    /// that wants it and within all windows. Any other is left for
    /// [`start_data`](Self::start_data).
    #[inline]
    pub(super) fn usual_data(
        &mut self,
        buf: &mut RecvBuf,
    ) -> Option<(StreamKey, Range<usize>, bool)> {
        let unread = buf.unread();
        let head @ &[_, _, _, Kind::DATA, frame_flags, ..] = unread.first_chunk::<HEAD_BYTES>()?
        else {
            return None;
        };
        let length = FrameHead::payload_bytes(head);
        let bytes = length as usize;
        if frame_flags & !flags::END_STREAM != 0
            || length.wrapping_sub(1) >= self.config.frame_bytes_max
            || unread.len() - HEAD_BYTES < bytes
        {
            return None;
        }
        let (key, stream) = self.streams.find_mut(FrameHead::stream_id_of(head))?;
        let end_stream = frame_flags & flags::END_STREAM != 0;
        if stream.recv != RecvHalf::Body
            || !stream.held
            || stream.content_length != ContentLength::UNDECLARED
            || stream.recv_window < i64::from(length)
            || !self.recv_flow.pass_on(length)
        {
            return None;
        }
        stream.recv_window -= i64::from(length);
        if end_stream {
            stream.recv = RecvHalf::Ended;
            self.closed_if_done(key);
        }
        self.empty_data.clear();
        self.bdp.receive(length);
        self.start_bdp_sample();
        buf.consume(HEAD_BYTES);
        Some((key, buf.consume(bytes), end_stream))
    }

    /// Checks a DATA frame by its head, so that all of its bytes are accounted before any is used.
    #[inline]
    pub(super) fn start_data(
        &mut self,
        now: Instant,
        head: FrameHead,
        buf: &mut RecvBuf,
    ) -> Result<Step, ConnectionError> {
        if head.stream_id == 0 {
            return Err(ConnectionError::protocol("DATA on stream 0"));
        }
        let mut overhead = 0;
        let mut padding = 0;
        if head.has(flags::PADDED) {
            if head.length == 0 {
                return Err(ConnectionError::frame_size("padded DATA without a pad length"));
            }
            let Some(&pad) = buf.unread().get(HEAD_BYTES) else { return Ok(Step::Wait) };
            padding = u32::from(pad);
            overhead = padding + 1;
            if overhead > head.length {
                return Err(ConnectionError::protocol("padding is longer than the frame"));
            }
            buf.consume(HEAD_BYTES + 1);
        } else {
            buf.consume(HEAD_BYTES);
        }
        let payload = head.length - overhead;
        let end_stream = head.has(flags::END_STREAM);
        if payload > 0 || end_stream {
            self.empty_data.clear();
        } else {
            self.empty_data.strike()?;
        }
        if !self.recv_flow.receive(head.length) {
            return Err(ConnectionError::new(
                Reason::FLOW_CONTROL_ERROR,
                "the connection's receive window was exceeded",
            ));
        }
        self.bdp.receive(head.length);
        self.start_bdp_sample();
        let key = self.accept_data(now, head, payload, overhead)?;
        if overhead == 0 && buf.len() >= payload as usize {
            // The usual frame: whole, and without padding.
            let Some(key) = key else {
                buf.consume(payload as usize);
                return Ok(Step::Again);
            };
            return Ok(self.pass_on(key, buf.consume(payload as usize), end_stream));
        }
        self.reader = Reader::Data(DataInFlight {
            key,
            payload_left: payload,
            padding_left: padding,
            end_stream,
        });
        self.read_data(now, buf)
    }

    /// Passes on what has arrived of the frame.
    pub(super) fn read_data(
        &mut self,
        _now: Instant,
        buf: &mut RecvBuf,
    ) -> Result<Step, ConnectionError> {
        let Reader::Data(data) = &mut self.reader else { return Ok(Step::Again) };
        let take = buf.len().min(data.payload_left as usize);
        if take == 0 && data.payload_left > 0 {
            return Ok(Step::Wait);
        }
        let at = buf.consume(take);
        data.payload_left -= u32::try_from(take).expect("at most payload_left");
        let pad = buf.len().min(data.padding_left as usize);
        if data.payload_left == 0 {
            buf.consume(pad);
            data.padding_left -= u32::try_from(pad).expect("at most padding_left");
        }
        let last = data.payload_left == 0;
        let key = data.key;
        // The end is told once, with the last payload byte; late padding is skipped silently.
        let end_stream = last && std::mem::take(&mut data.end_stream);
        if last && data.padding_left == 0 {
            self.reader = Reader::Frames;
        } else if last && pad == 0 && take == 0 && !end_stream {
            return Ok(Step::Wait);
        }
        let Some(key) = key else { return Ok(Step::Again) };
        Ok(self.pass_on(key, at, end_stream))
    }

    /// Hands payload that was accepted to the layer above, if it still wants it.
    #[inline]
    fn pass_on(&mut self, key: StreamKey, at: Range<usize>, end_stream: bool) -> Step {
        let take = at.len();
        let Some(stream) = self.streams.get_mut(key).filter(|s| s.recv == RecvHalf::Body) else {
            return Step::Again; // reset meanwhile
        };
        if end_stream {
            stream.recv = RecvHalf::Ended;
        }
        if take == 0 && !end_stream {
            return Step::Again;
        }
        if stream.held {
            self.recv_flow.deliver(take);
            if end_stream {
                self.closed_if_done(key);
            }
            return Step::Emit(Emit::Data { key, payload: at, end_stream });
        }
        // Forgotten, with the answer still on its way: the peer may want to finish its body first.
        self.credit_stream(key, u32::try_from(take).unwrap_or(u32::MAX));
        self.closed_if_done(key);
        Step::Again
    }

    /// Decides whether the frame's stream wants it, and takes it from the stream's window.
    #[inline]
    fn accept_data(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: u32,
        overhead: u32,
    ) -> Result<Option<StreamKey>, ConnectionError> {
        let id = head.stream_id;
        let Some(key) = self.streams.find(id) else {
            self.check_not_idle(id, "DATA on an idle stream")?;
            return self.late_frame(now, id).map(|()| None);
        };
        let stream = self.streams.get_mut(key).expect("found");
        match stream.recv {
            RecvHalf::Ended => return self.late_frame(now, id).map(|()| None),
            RecvHalf::Head => {
                self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
                return Ok(None);
            }
            RecvHalf::Body => {}
        }
        stream.recv_window -= i64::from(head.length);
        // The window may be below zero since our SETTINGS took effect; an empty frame needs none.
        if stream.recv_window < 0 && head.length > 0 {
            self.stream_error(now, key, Reason::FLOW_CONTROL_ERROR)?;
            return Ok(None);
        }
        if !stream.content_length.take(payload, head.has(flags::END_STREAM)) {
            self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
            return Ok(None);
        }
        if overhead > 0 {
            self.credit_stream(key, overhead);
        }
        Ok(Some(key))
    }

    /// A frame on a stream that is closed, or half-closed by the peer (RFC 9113 section 5.1).
    ///
    /// What is known of closed streams is bounded. Of one that is unknown we say nothing: we may
    /// have reset it, and an honest peer that had much in flight must not be told off for it.
    fn late_frame(&mut self, now: Instant, id: u32) -> Result<(), ConnectionError> {
        match (self.closed.find(id), self.streams.find_open(id)) {
            (Some(Closed::ResetByUs), _) => Ok(()),
            (_, Some(key)) => self.stream_error(now, key, Reason::STREAM_CLOSED),
            (Some(Closed::ByPeer), None) => self.refuse(now, id, Reason::STREAM_CLOSED),
            (None, None) => Ok(()),
        }
    }

    #[inline]
    fn start_bdp_sample(&mut self) {
        if self.recv_flow.credit_due().is_some() {
            self.sample_bdp();
        }
    }

    #[cold]
    fn sample_bdp(&mut self) {
        let target = self.recv_flow.target();
        if self.bdp.start(target, target - self.recv_flow.available()) {
            crate::frame::write_ping(&mut self.control, false, crate::flow::Bdp::PING);
        }
    }
}
