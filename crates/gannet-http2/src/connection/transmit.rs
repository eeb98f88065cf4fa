//! What goes out, and in which order: control frames, then everything ordered, then queued DATA of
//! the streams in turn, at most 16 KiB each.

use std::time::Instant;

use super::verbs::write_headers_to;
use super::{Connection, Role, Shutdown};
use crate::frame::{write_data_head, write_window_update};
use crate::stream::{End, RecvHalf, SendHalf};
use crate::{SendBuf, StreamKey};

/// A stream's share of one round, in bytes.
const TURN_BYTES_MAX: usize = 16 << 10;
/// Queued payloads below this many bytes are copied, so that many small ones share one slice.
const COPY_BYTES_MAX: usize = 4 << 10;
/// Storage for control frames above this many bytes is given back once they are sent.
const CONTROL_RETAINED_BYTES_MAX: usize = 4 << 10;
/// Stale keys that may lie in the schedule before they are swept out.
const SCHEDULE_SLACK: usize = 32;

impl<R: Role> Connection<R> {
    /// Moves what is to be sent into `out`, until nothing is left, the windows are used up, or
    /// `out` holds `send_buffer_bytes_max`. One call and one vectored write per wake are enough.
    #[inline]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut SendBuf) {
        if out.len() >= self.config.send_buffer_bytes_max {
            return;
        }
        if self.shutdown != Shutdown::Failed {
            self.write_window_updates();
        }
        if !self.control.is_empty() {
            out.tail().extend_from_slice(&self.control);
            self.control.clear();
            if self.control.capacity() > CONTROL_RETAINED_BYTES_MAX {
                self.control = Vec::new();
            }
        }
        if !self.ready.is_empty() {
            out.append(&mut self.ready);
        }
        self.replies_queued = 0;
        while self.send_window > 0 && out.len() < self.config.send_buffer_bytes_max {
            let Some(key) = self.schedule.pop_front() else { break };
            self.take_turn(key, out);
        }
        if R::IS_SERVER {
            let much = self.queued_bytes >= self.config.send_stall_bytes_min;
            self.stall.look(now, much, self.config.send_stall_timeout);
        }
        if self.watches_idleness {
            self.watch_idleness(now);
        }
        if !self.lingering.is_empty() {
            self.lingering.retain(|(_, key)| self.streams.get(*key).is_some());
        }
    }

    /// The next stream whose queue fell below the low-water mark: its sender may go on.
    #[inline]
    pub fn poll_drained(&mut self) -> Option<StreamKey> {
        while let Some(key) = self.drained.pop() {
            if self.streams.get(key).is_some_and(|stream| stream.held) {
                return Some(key);
            }
        }
        None
    }

    /// Puts a stream into the round, if it has something to send and may.
    pub(super) fn schedule_stream(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let may = stream.send_window > 0 || stream.queue.bytes() == 0;
        if !stream.scheduled && !stream.queue.is_empty() && may {
            stream.scheduled = true;
            self.schedule.push_back(key);
            self.compact_schedule();
        }
    }

    /// Streams that were reset while they waited for the connection's window leave stale keys.
    fn compact_schedule(&mut self) {
        if self.schedule.len() > 2 * self.streams.len() + SCHEDULE_SLACK {
            self.schedule.retain(|key| self.streams.get(*key).is_some());
        }
    }

    #[inline]
    fn write_window_updates(&mut self) {
        if let Some(credit) = self.recv_flow.credit_due() {
            write_window_update(&mut self.control, 0, credit);
            self.recv_flow.announce(credit);
        }
        if self.credit_due.is_empty() {
            return;
        }
        for key in self.credit_due.drain(..) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.credit_due = false;
            if stream.recv != RecvHalf::Ended && stream.released > 0 {
                write_window_update(&mut self.control, stream.id, stream.released);
                stream.recv_window += i64::from(stream.released);
                stream.released = 0;
            }
        }
    }

    /// One DATA frame of one stream, gathered from its queue; then its end, if that is reached.
    fn take_turn(&mut self, key: StreamKey, out: &mut SendBuf) {
        let low_water = self.config.send_low_water_bytes;
        let frame_max = self.peer.frame_bytes_max as usize;
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.scheduled = false;
        let window = usize::try_from(stream.send_window.min(self.send_window)).unwrap_or(0);
        let length = stream.queue.bytes().min(TURN_BYTES_MAX).min(frame_max).min(window);
        let all = length == stream.queue.bytes();
        let ends_here = all && matches!(stream.queue.end, Some(End::Data));
        if length > 0 || ends_here {
            self.has_answered = true;
            write_data_head(out.tail(), length, ends_here, stream.id);
            let mut left = length;
            while left > 0 {
                let Some(chunk) = stream.queue.take(left) else { break };
                left -= chunk.len();
                if chunk.len() < COPY_BYTES_MAX {
                    out.tail().extend_from_slice(&chunk);
                } else {
                    out.push_shared(chunk);
                }
            }
            self.queued_bytes -= length;
            self.stall.sent(length);
            let sent = i64::try_from(length).expect("at most one turn");
            stream.send_window -= sent;
            self.send_window -= sent;
        }
        if stream.was_high && stream.queue.bytes() <= low_water {
            stream.was_high = false;
            self.drained.push(key);
        }
        if !all {
            return self.schedule_stream(key);
        }
        let id = stream.id;
        match stream.queue.end.take() {
            Some(End::Trailers(record)) => {
                self.has_answered = true;
                write_headers_to(out.tail(), &mut self.encoder, frame_max, id, true, |writer| {
                    record.replay(writer);
                });
                self.finish_queued(key);
            }
            Some(End::Data) => self.finish_queued(key),
            None => {}
        }
    }

    fn finish_queued(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            debug_assert_eq!(stream.send, SendHalf::Ending);
        }
        self.sending_ended(key);
    }
}
