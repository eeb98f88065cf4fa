//! What the layer above asks for. Each verb acts on the engine's queues only; `poll_transmit`
//! sends.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::control::DRAIN_PING;
use super::{Client, Connection, FieldWriter, RecordedFields, Role, Server, Shutdown};
use crate::frame::{
    HEAD_BYTES, Kind, STREAM_ID_MAX, flags, patch_length, write_data_head, write_goaway,
    write_head, write_known_block, write_ping,
};
use crate::hpack::CachedBlock;
use crate::stream::{Closed, End, RecvHalf, SendHalf, Stream};
use crate::upkeep::Farewell;
use crate::{OpenError, Reason, StaleKey, StreamKey};

/// While streams wait their turn, DATA overtakes them only from a connection window of this size.
const CONTENDED_BYTES: i64 = 64 << 10;

/// How long a graceful shutdown waits for the peer to see it, before it takes no more streams.
const DRAIN_ACK_MAX: Duration = Duration::from_secs(2);

impl Connection<Client> {
    /// Opens a stream with a request head.
    ///
    /// # Errors
    /// [`OpenError`] tells whether to wait or to use another connection; nothing was written.
    pub fn open(
        &mut self,
        end_stream: bool,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<StreamKey, OpenError> {
        self.can_open()?;
        let id = self.next_local_id;
        self.next_local_id += 2;
        let send = if end_stream { SendHalf::Ended } else { SendHalf::Body };
        let (key, stream) = self.streams.insert(id, RecvHalf::Head, send);
        stream.send_window = i64::from(self.peer.stream_window_bytes);
        stream.recv_window = i64::from(self.stream_window_bytes);
        self.write_headers(id, end_stream, fields);
        if self.caretaker.is_some() {
            self.wake_caretaker();
        }
        Ok(key)
    }

    /// Whether [`open`](Self::open) would work now.
    ///
    /// # Errors
    /// What `open` would return.
    pub fn can_open(&self) -> Result<(), OpenError> {
        if self.is_going_away() {
            return Err(OpenError::GoingAway);
        }
        if self.next_local_id > STREAM_ID_MAX {
            return Err(OpenError::IdsExhausted);
        }
        if self.streams.len() >= self.peer.concurrent_streams_max as usize {
            return Err(OpenError::StreamLimit);
        }
        Ok(())
    }
}

impl Connection<Server> {
    /// Sends the response head.
    ///
    /// # Errors
    /// The stream is gone, or a head was sent before.
    pub fn send_headers(
        &mut self,
        key: StreamKey,
        end_stream: bool,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), StaleKey> {
        let stream = self.streams.get_mut(key).ok_or(StaleKey)?;
        if stream.send != SendHalf::Head {
            return Err(StaleKey);
        }
        let id = stream.id;
        stream.send = SendHalf::Body;
        self.write_headers(id, end_stream, fields);
        if end_stream {
            self.sending_ended(key);
        }
        Ok(())
    }

    /// Sends an interim response (1xx), before the head.
    ///
    /// # Errors
    /// The stream is gone, or its head was sent.
    pub fn send_informational(
        &mut self,
        key: StreamKey,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), StaleKey> {
        let stream = self.streams.get(key).ok_or(StaleKey)?;
        if stream.send != SendHalf::Head {
            return Err(StaleKey);
        }
        let id = stream.id;
        self.write_headers(id, false, fields);
        Ok(())
    }

    /// Sends a whole response: head, one stretch of body, trailers; then forgets the stream. Where
    /// the windows admit the body and the request has ended, all three frames are written in one go
    /// and that is all.
    ///
    /// # Errors
    /// The stream is gone, or its head was sent.
    pub fn respond_unary(
        &mut self,
        key: StreamKey,
        head: impl FnOnce(&mut FieldWriter<'_>),
        payload: &[u8],
        trailers: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), StaleKey> {
        if let Some(id) = self.answers_at_once(key, payload)? {
            let frame_max = self.peer.frame_bytes_max as usize;
            let out = self.ready.tail();
            write_headers_to(out, &mut self.encoder, frame_max, id, false, head);
            write_data_head(out, payload.len(), false, id);
            out.extend_from_slice(payload);
            write_headers_to(out, &mut self.encoder, frame_max, id, true, trailers);
            self.answered(key, id, payload.len());
            return Ok(());
        }
        self.send_headers(key, false, head)?;
        self.send_data(key, payload, false)?;
        self.send_trailers(key, trailers)?;
        self.forget(key);
        Ok(())
    }

    /// As [`respond_unary`](Self::respond_unary), where head and trailers are registered blocks and
    /// nothing else.
    ///
    /// # Errors
    /// The stream is gone, or its head was sent.
    pub fn respond_constant(
        &mut self,
        key: StreamKey,
        head: CachedBlock,
        payload: &[u8],
        trailers: CachedBlock,
    ) -> Result<(), StaleKey> {
        let known = self.encoder.known_block(head).zip(self.encoder.known_block(trailers));
        if let Some((head, trailers)) = known
            && let Some(id) = self.answers_at_once(key, payload)?
        {
            let out = self.ready.tail();
            write_known_block(out, head, false, id);
            write_data_head(out, payload.len(), false, id);
            out.extend_from_slice(payload);
            write_known_block(out, trailers, true, id);
            self.answered(key, id, payload.len());
            return Ok(());
        }
        let head = |w: &mut FieldWriter<'_>| w.cached_block(head);
        self.respond_unary(key, head, payload, |w| w.cached_block(trailers))
    }

    /// The stream's identifier, where a whole answer with this body can be written in one go.
    #[inline]
    fn answers_at_once(&self, key: StreamKey, payload: &[u8]) -> Result<Option<u32>, StaleKey> {
        let fits = self.admits(payload.len());
        let stream = self.streams.get(key).ok_or(StaleKey)?;
        let length = i64::try_from(payload.len()).unwrap_or(i64::MAX);
        let at_once = fits && stream.send_window >= length && stream.recv == RecvHalf::Ended;
        let at_once = at_once && stream.send == SendHalf::Head && !payload.is_empty();
        debug_assert!(!at_once || stream.queue.is_empty(), "nothing is queued before the head");
        Ok(at_once.then_some(stream.id))
    }

    /// A whole answer was written.
    #[inline]
    fn answered(&mut self, key: StreamKey, id: u32, bytes: usize) {
        self.has_answered = true;
        // It was admitted by the window.
        self.send_window -= i64::try_from(bytes).unwrap_or(i64::MAX);
        self.closed.insert(id, Closed::ByPeer);
        self.streams.remove(key);
    }
}

impl<R: Role> Connection<R> {
    /// Sends body bytes, copied. What the windows do not admit waits in the stream's queue.
    ///
    /// # Errors
    /// The stream is gone, has no head yet, or its sending side ended.
    pub fn send_data(
        &mut self,
        key: StreamKey,
        payload: &[u8],
        end_stream: bool,
    ) -> Result<(), StaleKey> {
        let fits = self.admits(payload.len());
        let stream = self.sendable(key)?;
        let length = i64::try_from(payload.len()).unwrap_or(i64::MAX);
        let idle = stream.queue.is_empty();
        // An end without payload needs no window.
        if !idle || !(payload.is_empty() || fits && length <= stream.send_window) {
            return self.queue_data(key, Bytes::copy_from_slice(payload), end_stream);
        }
        if payload.is_empty() && !end_stream {
            return Ok(());
        }
        let stream = self.sendable(key)?;
        stream.send_window -= length;
        let id = stream.id;
        self.send_window -= length;
        self.has_answered = true;
        let out = self.ready.tail();
        write_data_head(out, payload.len(), end_stream, id);
        out.extend_from_slice(payload);
        if end_stream {
            self.sending_ended(key);
        }
        Ok(())
    }

    /// Sends body bytes by reference: for large payloads, which are never copied.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data).
    pub fn send_data_shared(
        &mut self,
        key: StreamKey,
        payload: Bytes,
        end_stream: bool,
    ) -> Result<(), StaleKey> {
        if payload.is_empty() {
            return self.send_data(key, &[], end_stream); // needs no window
        }
        self.queue_data(key, payload, end_stream)
    }

    /// Ends the stream with trailers, behind all queued body bytes.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data).
    pub fn send_trailers(
        &mut self,
        key: StreamKey,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Result<(), StaleKey> {
        let stream = self.sendable(key)?;
        let id = stream.id;
        if stream.queue.is_empty() {
            self.write_headers(id, true, fields);
            self.sending_ended(key);
            return Ok(());
        }
        let mut record = Box::new(RecordedFields::default());
        fields(&mut FieldWriter::record(&mut record));
        stream.queue.end = Some(End::Trailers(record));
        stream.send = SendHalf::Ending;
        Ok(())
    }

    /// Resets the stream in both directions; nothing that is queued on it will be sent. The key
    /// stays valid until it is forgotten.
    pub fn reset(&mut self, key: StreamKey, reason: Reason) {
        if self.streams.get(key).is_some_and(|stream| stream.held) {
            self.reset_stream(key, reason);
        }
    }

    /// The layer above is done with `key`, which is stale from here on.
    ///
    /// A server's answer that was sent to its end is still delivered. Any other stream that is not
    /// at its end is reset: with NO_ERROR by a server that has answered, otherwise with CANCEL.
    pub fn forget(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.held) else { return };
        stream.held = false;
        if !stream.is_closed() {
            match stream.send {
                SendHalf::Ending if R::IS_SERVER => return, // the rest of the answer goes first
                SendHalf::Ended if R::IS_SERVER => self.reset_stream(key, Reason::NO_ERROR),
                _ => self.reset_stream(key, Reason::CANCEL),
            };
        }
        self.streams.remove(key);
    }

    /// As [`forget`](Self::forget), and an answer that has not left by `until` is reset with
    /// CANCEL: a call's deadline covers its answer too.
    pub fn forget_until(&mut self, key: StreamKey, until: Instant) {
        self.forget(key);
        if self.streams.get(key).is_some() {
            self.lingering.push((until, key));
        }
    }

    /// Gives received body bytes back to the peer as credit. A stale key gives back the
    /// connection's.
    pub fn release(&mut self, key: StreamKey, bytes: usize) {
        self.recv_flow.release(bytes);
        self.credit_stream(key, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Gives back body bytes of streams on which nothing follows, of whatever streams: their credit
    /// concerns the connection only.
    pub fn release_ended(&mut self, bytes: usize) {
        self.recv_flow.release(bytes);
    }

    /// How many bytes of a stream the layer above may have done with, and not released yet, before
    /// the peer could run out of credit by that: none where much lies unread
    /// (`Config::recv_buffered_bytes_max`), half a window otherwise.
    pub fn held_bytes_min(&self) -> usize {
        if self.recv_flow.is_pressed() { 0 } else { self.stream_window_bytes as usize / 2 }
    }

    /// Whether so much lies unread by now that the peer gets less credit, and did not when this was
    /// asked last: release what is done with on whatever stream.
    pub fn recv_pressure_rises(&mut self) -> bool {
        self.recv_flow.pressure_rises()
    }

    /// From how many bytes of output on `poll_transmit` may have left some for the next time.
    pub fn send_buffer_bytes_max(&self) -> usize {
        self.config.send_buffer_bytes_max
    }

    /// Body bytes queued on the stream and not yet in the output buffer; `None` for a stale key.
    pub fn queued_bytes(&self, key: StreamKey) -> Option<usize> {
        self.streams.get(key).filter(|stream| stream.held).map(|stream| stream.queue.bytes())
    }

    /// Sends a PING; its acknowledgement comes as `Event::PingAck`. Bytes that start with `gnt-`
    /// are the engine's own.
    pub fn ping(&mut self, opaque: [u8; 8]) {
        if self.shutdown == Shutdown::Failed {
            return;
        }
        write_ping(&mut self.control, false, opaque);
    }

    /// Starts a graceful shutdown: GOAWAY(2^31 - 1), PING, and on its acknowledgement GOAWAY with
    /// the last stream (RFC 9113 section 6.8). Open streams go on; `is_finished` tells when none is
    /// left.
    ///
    /// A peer that has not even greeted, or does not acknowledge within two seconds, gets the last
    /// GOAWAY without that.
    pub fn drain(&mut self, now: Instant) {
        self.drain_for(now, Farewell::Unsaid);
    }

    pub(super) fn drain_for(&mut self, now: Instant, why: Farewell) {
        if self.shutdown != Shutdown::Open {
            return;
        }
        if !self.is_established() {
            return self.goaway(Reason::NO_ERROR, why.debug());
        }
        self.timers.drain = now.checked_add(DRAIN_ACK_MAX);
        self.shutdown = Shutdown::Announced { why };
        write_goaway(&mut self.control, STREAM_ID_MAX, Reason::NO_ERROR, why.debug());
        write_ping(&mut self.control, false, DRAIN_PING);
    }

    /// Announces at once that no further stream will be answered, with debug data (cut at 1 KiB).
    pub fn goaway(&mut self, reason: Reason, debug: &[u8]) {
        const DEBUG_BYTES_MAX: usize = 1024;
        if matches!(self.shutdown, Shutdown::Final { .. } | Shutdown::Failed) {
            return;
        }
        let last_stream_id = self.highest_peer_id;
        self.shutdown = Shutdown::Final { last_stream_id };
        let debug = &debug[..debug.len().min(DEBUG_BYTES_MAX)];
        write_goaway(&mut self.control, last_stream_id, reason, debug);
    }

    pub(super) fn write_headers(
        &mut self,
        id: u32,
        end_stream: bool,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) {
        self.has_answered = true;
        let max = self.peer.frame_bytes_max as usize;
        write_headers_to(self.ready.tail(), &mut self.encoder, max, id, end_stream, fields);
    }

    fn queue_data(
        &mut self,
        key: StreamKey,
        payload: Bytes,
        end_stream: bool,
    ) -> Result<(), StaleKey> {
        let low_water = self.config.send_low_water_bytes;
        let bytes = payload.len();
        let stream = self.sendable(key)?;
        stream.queue.push(payload);
        stream.was_high |= stream.queue.bytes() > low_water;
        if end_stream {
            stream.queue.end = Some(End::Data);
            stream.send = SendHalf::Ending;
        }
        self.queued_bytes += bytes;
        self.schedule_stream(key);
        Ok(())
    }

    /// Whether so many body bytes may go out now, as far as the connection is concerned.
    #[inline]
    fn admits(&self, bytes: usize) -> bool {
        let window = usize::try_from(self.send_window).unwrap_or(0);
        // What is sent at once overtakes the streams that wait their turn: leave them some window.
        let contended = !self.schedule.is_empty() && self.send_window < CONTENDED_BYTES;
        bytes <= window.min(self.peer.frame_bytes_max as usize)
            && self.ready.len() < self.config.send_buffer_bytes_max
            && !contended
    }

    fn sendable(&mut self, key: StreamKey) -> Result<&mut Stream, StaleKey> {
        self.streams.get_mut(key).filter(|s| s.send == SendHalf::Body).ok_or(StaleKey)
    }

    /// Notes credit for a stream; announced when it is worth a frame.
    pub(super) fn credit_stream(&mut self, key: StreamKey, bytes: u32) {
        let threshold = self.stream_window_bytes / 2;
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.recv == RecvHalf::Ended {
            return;
        }
        stream.released = stream.released.saturating_add(bytes);
        if stream.released >= threshold && stream.released > 0 && !stream.credit_due {
            stream.credit_due = true;
            self.credit_due.push(key);
        }
    }
}

/// Encodes one header block as HEADERS and, above `frame_max` bytes, CONTINUATION.
pub(super) fn write_headers_to(
    out: &mut Vec<u8>,
    encoder: &mut crate::hpack::Encoder,
    frame_max: usize,
    id: u32,
    end_stream: bool,
    fields: impl FnOnce(&mut FieldWriter<'_>),
) {
    let at = out.len();
    let end = if end_stream { flags::END_STREAM } else { 0 };
    write_head(out, 0, Kind::HEADERS, flags::END_HEADERS | end, id);
    encoder.begin_block(out);
    fields(&mut FieldWriter::encode(encoder, out));
    if out.len() - at - HEAD_BYTES <= frame_max {
        patch_length(out, at);
    } else {
        split_block(out, at, frame_max, id, end);
    }
}

/// Cuts the block that follows the frame head at `at` into frames of at most `frame_max` bytes.
#[cold]
fn split_block(out: &mut Vec<u8>, at: usize, frame_max: usize, id: u32, end: u8) {
    let block = out.split_off(at + HEAD_BYTES);
    out.truncate(at);
    let count = block.len().div_ceil(frame_max);
    for (i, fragment) in block.chunks(frame_max).enumerate() {
        let kind = if i == 0 { Kind::HEADERS } else { Kind::CONTINUATION };
        let last = if i + 1 == count { flags::END_HEADERS } else { 0 };
        let first = if i == 0 { end } else { 0 };
        write_head(out, fragment.len(), kind, last | first, id);
        out.extend_from_slice(fragment);
    }
}
