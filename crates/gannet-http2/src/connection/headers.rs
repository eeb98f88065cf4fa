//! HEADERS and CONTINUATION: assembling a block, decoding it, and finding whom it is for (RFC 9113
//! sections 4.3, 6.2 and 6.10).

use std::time::Instant;

use super::message::Verdict;
use super::reader::{Emit, Step};
use super::{Connection, Role};
use crate::frame::{FrameHead, flags, read_u32};
use crate::stream::{Closed, RecvHalf, SendHalf};
use crate::{ConnectionError, Reason, StreamKey};

/// A header block whose END_HEADERS has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockInFlight {
    pub(super) stream_id: u32,
    end_stream: bool,
    self_dependent: bool,
    continuation_frames: u32,
}

impl<R: Role> Connection<R> {
    #[inline]
    pub(super) fn on_headers(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if head.stream_id == 0 {
            return Err(ConnectionError::protocol("HEADERS on stream 0"));
        }
        let (fragment, depends_on) = split_headers(head, payload)?;
        if fragment.len() > self.config.header_block_bytes_max as usize {
            return Err(ConnectionError::calm("a header block is too large"));
        }
        let block = BlockInFlight {
            stream_id: head.stream_id,
            end_stream: head.has(flags::END_STREAM),
            self_dependent: depends_on == Some(head.stream_id),
            continuation_frames: 0,
        };
        if head.has(flags::END_HEADERS) {
            return self.finish_block(now, block, fragment);
        }
        self.block_bytes.clear();
        self.block = Some(block);
        self.timers.header_block = now.checked_add(self.config.header_timeout);
        self.append_to_block(fragment)?;
        Ok(Step::Again)
    }

    pub(super) fn on_continuation(
        &mut self,
        now: Instant,
        head: FrameHead,
        fragment: &[u8],
    ) -> Result<Step, ConnectionError> {
        let Some(block) = &mut self.block else { return Ok(Step::Again) };
        block.continuation_frames += 1;
        if block.continuation_frames > self.config.continuation_frames_max {
            return Err(ConnectionError::calm("too many CONTINUATION frames"));
        }
        let block = *block;
        self.append_to_block(fragment)?;
        if !head.has(flags::END_HEADERS) {
            return Ok(Step::Again);
        }
        self.block = None;
        self.timers.header_block = None;
        let bytes = std::mem::take(&mut self.block_bytes);
        self.finish_block(now, block, &bytes)
    }

    fn append_to_block(&mut self, fragment: &[u8]) -> Result<(), ConnectionError> {
        if self.block_bytes.len() + fragment.len() > self.config.header_block_bytes_max as usize {
            return Err(ConnectionError::calm("a header block is too large"));
        }
        self.block_bytes.extend_from_slice(fragment);
        Ok(())
    }

    /// Every block is decoded, wanted or not: the compression state is one for the connection.
    #[inline]
    fn finish_block(
        &mut self,
        now: Instant,
        block: BlockInFlight,
        bytes: &[u8],
    ) -> Result<Step, ConnectionError> {
        self.verdict = self.decode_block(bytes)?;
        if R::IS_SERVER && block.stream_id > self.highest_peer_id {
            return self.on_new_stream(now, block);
        }
        match self.streams.find_open(block.stream_id) {
            Some(key) => self.on_known_stream(now, key, block),
            None => self.on_gone_stream(block),
        }
    }

    fn decode_block(&mut self, bytes: &[u8]) -> Result<Verdict, ConnectionError> {
        let version = self.decoder.version();
        if let Some(verdict) = self.memo.recall(version, bytes, &mut self.fields) {
            return Ok(verdict);
        }
        if self.decoder.decode(bytes, &mut self.fields, &*self.classifier).is_err() {
            return Err(ConnectionError::new(
                Reason::COMPRESSION_ERROR,
                "a header block could not be decoded",
            ));
        }
        let verdict = Verdict::of(&self.fields, R::IS_SERVER);
        if let Some(version) = version.filter(|_| version == self.decoder.version()) {
            self.memo.remember(version, bytes, &self.fields, verdict);
        }
        Ok(verdict)
    }

    fn on_known_stream(
        &mut self,
        now: Instant,
        key: StreamKey,
        block: BlockInFlight,
    ) -> Result<Step, ConnectionError> {
        let recv = self.streams.get(key).map_or(RecvHalf::Ended, |stream| stream.recv);
        match recv {
            RecvHalf::Ended => {
                if self.closed.find(block.stream_id) != Some(Closed::ResetByUs) {
                    self.stream_error(now, key, Reason::STREAM_CLOSED)?;
                }
                Ok(Step::Again)
            }
            _ if self.fields.over_limit() => {
                self.stream_error(now, key, Reason::ENHANCE_YOUR_CALM)?;
                Ok(Step::Again)
            }
            RecvHalf::Head => self.on_response(now, key, block.end_stream),
            RecvHalf::Body => self.on_trailers(now, key, block.end_stream),
        }
    }

    fn on_new_stream(
        &mut self,
        now: Instant,
        block: BlockInFlight,
    ) -> Result<Step, ConnectionError> {
        let id = block.stream_id;
        if id.is_multiple_of(2) {
            return Err(ConnectionError::protocol("a client opened an even stream"));
        }
        self.highest_peer_id = id;
        if self.is_above_goaway(id) {
            return Ok(Step::Again);
        }
        if self.streams.len() >= self.config.concurrent_streams_max as usize
            || self.queued_bytes >= self.config.send_queued_bytes_max
        {
            self.refuse(now, id, Reason::REFUSED_STREAM)?;
            return Ok(Step::Again);
        }
        if self.fields.over_limit() {
            self.refuse(now, id, Reason::ENHANCE_YOUR_CALM)?;
            return Ok(Step::Again);
        }
        let head = match self.verdict {
            Verdict::Request(head) if !block.self_dependent => head,
            _ => return self.refuse(now, id, Reason::PROTOCOL_ERROR).map(|()| Step::Again),
        };
        if block.end_stream && head.content_length.is_some_and(|length| length > 0) {
            return self.refuse(now, id, Reason::PROTOCOL_ERROR).map(|()| Step::Again);
        }
        let recv = if block.end_stream { RecvHalf::Ended } else { RecvHalf::Body };
        let (key, stream) = self.streams.insert(id, recv, SendHalf::Head);
        stream.content_length = head.content_length.into();
        stream.send_window = i64::from(self.peer.stream_window_bytes);
        stream.recv_window =
            i64::from(self.stream_window_bytes) + i64::from(self.window_surplus_bytes);
        Ok(Step::Emit(Emit::Headers { key, end_stream: block.end_stream }))
    }

    /// Headers for a stream that is closed, or was never open (RFC 9113 section 5.1). How it closed
    /// decides, as far as that is still known.
    fn on_gone_stream(&mut self, block: BlockInFlight) -> Result<Step, ConnectionError> {
        let id = block.stream_id;
        self.check_not_idle(id, "HEADERS on an idle stream")?;
        if self.is_above_goaway(id) {
            return Ok(Step::Again);
        }
        match self.closed.find(id) {
            // Sent before the peer knew. A server that answers early resets its stream too, and the
            // client's trailers may be on their way then.
            Some(Closed::ResetByUs) => Ok(Step::Again),
            // Nobody sends that by honest mistake: nothing can have crossed it.
            Some(Closed::ByPeer) => Err(ConnectionError::new(
                Reason::STREAM_CLOSED,
                "HEADERS on a stream that the peer had ended",
            )),
            // A client may have cancelled the stream long ago, while the response was on its way.
            None if !R::IS_SERVER => Ok(Step::Again),
            None => Err(ConnectionError::protocol("stream identifiers must increase")),
        }
    }

    fn on_response(
        &mut self,
        now: Instant,
        key: StreamKey,
        end_stream: bool,
    ) -> Result<Step, ConnectionError> {
        let Verdict::Response(head) = self.verdict else {
            self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
            return Ok(Step::Again);
        };
        if head.status < 200 {
            if end_stream || head.status == 101 {
                self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
                return Ok(Step::Again);
            }
            return Ok(Step::Emit(Emit::Informational { key, status: head.status }));
        }
        let stream = self.streams.get_mut(key).expect("checked by the caller");
        stream.content_length = head.content_length.into();
        stream.recv = if end_stream { RecvHalf::Ended } else { RecvHalf::Body };
        let held = stream.held;
        if end_stream {
            self.closed_if_done(key);
        }
        Ok(if held { Step::Emit(Emit::Headers { key, end_stream }) } else { Step::Again })
    }

    fn on_trailers(
        &mut self,
        now: Instant,
        key: StreamKey,
        end_stream: bool,
    ) -> Result<Step, ConnectionError> {
        let stream = self.streams.get_mut(key).expect("checked by the caller");
        let length_met = stream.content_length.take(0, true);
        if !end_stream || !length_met || self.verdict != Verdict::Trailers {
            self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
            return Ok(Step::Again);
        }
        stream.recv = RecvHalf::Ended;
        let held = stream.held;
        self.closed_if_done(key);
        Ok(if held { Step::Emit(Emit::Trailers { key }) } else { Step::Again })
    }
}

/// Takes padding and the priority fields off a HEADERS payload; returns the fragment, and the
/// stream it depends on.
fn split_headers(
    head: FrameHead,
    mut payload: &[u8],
) -> Result<(&[u8], Option<u32>), ConnectionError> {
    let mut padding = 0;
    if head.has(flags::PADDED) {
        let (&first, rest) = payload
            .split_first()
            .ok_or(ConnectionError::frame_size("padded HEADERS without a pad length"))?;
        padding = usize::from(first);
        payload = rest;
    }
    let mut depends_on = None;
    if head.has(flags::PRIORITY) {
        let (priority, rest) = payload
            .split_at_checked(5)
            .ok_or(ConnectionError::frame_size("HEADERS without its priority fields"))?;
        depends_on = read_u32(priority).map(|id| id & 0x7fff_ffff);
        payload = rest;
    }
    let end = payload
        .len()
        .checked_sub(padding)
        .ok_or(ConnectionError::protocol("padding is longer than the frame"))?;
    Ok((&payload[..end], depends_on))
}
