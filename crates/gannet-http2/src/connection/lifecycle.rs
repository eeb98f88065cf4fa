//! How streams end: cleanly, by a reset from either side, refused, or with the whole connection.

use std::time::Instant;

use super::reader::Emit;
use super::{Connection, Role, Shutdown};
use crate::flow::StallWatch;
use crate::frame::{write_goaway, write_rst_stream};
use crate::stream::{Closed, RecvHalf, SendHalf};
use crate::{ConnectionError, Reason, StreamKey};

impl<R: Role> Connection<R> {
    /// The peer broke a rule on one stream: reset it, tell the layer above, and take a token.
    pub(super) fn stream_error(
        &mut self,
        now: Instant,
        key: StreamKey,
        reason: Reason,
    ) -> Result<(), ConnectionError> {
        self.charge_reset(now)?;
        self.replies_queued += 1;
        if let Some(held) = self.reset_stream(key, reason) {
            if held {
                self.events.push_back(Emit::Reset {
                    key,
                    reason,
                    remote: false,
                    unprocessed: false,
                });
            } else {
                self.streams.remove(key);
            }
        }
        Ok(())
    }

    /// Resets a stream that is not kept: refused, malformed, or closed before.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        id: u32,
        reason: Reason,
    ) -> Result<(), ConnectionError> {
        // Until it has seen our SETTINGS a client may honestly open more than we take.
        if reason != Reason::REFUSED_STREAM || self.settings_unacked == 0 {
            self.charge_reset(now)?;
        }
        self.replies_queued += 1;
        write_rst_stream(self.ready.tail(), id, reason);
        self.closed.insert(id, Closed::ResetByUs);
        Ok(())
    }

    /// RST_STREAM came.
    pub(super) fn remote_reset(&mut self, key: StreamKey, reason: Reason) {
        let unprocessed = reason == Reason::REFUSED_STREAM;
        self.end_remotely(key, reason, unprocessed, Closed::ByPeer);
    }

    /// GOAWAY passed the stream over. What the server sends on it all the same is passed over too.
    pub(super) fn passed_over(&mut self, key: StreamKey) {
        self.end_remotely(key, Reason::REFUSED_STREAM, true, Closed::ResetByUs);
    }

    fn end_remotely(&mut self, key: StreamKey, reason: Reason, unprocessed: bool, how: Closed) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let id = stream.id;
        let held = stream.held;
        stream.recv = RecvHalf::Ended;
        stream.send = SendHalf::Ended;
        self.queued_bytes -= stream.queue.bytes();
        stream.queue.clear();
        self.closed.insert(id, how);
        if held {
            self.events.push_back(Emit::Reset { key, reason, remote: true, unprocessed });
        } else {
            self.streams.remove(key);
        }
    }

    /// Writes RST_STREAM and closes both halves, unless they are closed already. Returns whether
    /// the layer above still holds the key.
    pub(super) fn reset_stream(&mut self, key: StreamKey, reason: Reason) -> Option<bool> {
        let stream = self.streams.get_mut(key)?;
        if stream.is_closed() {
            return None;
        }
        stream.recv = RecvHalf::Ended;
        stream.send = SendHalf::Ended;
        self.queued_bytes -= stream.queue.bytes();
        stream.queue.clear();
        let (id, held) = (stream.id, stream.held);
        write_rst_stream(self.ready.tail(), id, reason);
        self.closed.insert(id, Closed::ResetByUs);
        Some(held)
    }

    /// Resets forgotten streams whose time to flush is over, and drops those that have flushed.
    pub(super) fn reset_lingering(&mut self, now: Instant) {
        let mut lingering = std::mem::take(&mut self.lingering);
        lingering.retain(|(until, key)| {
            if *until <= now && self.reset_stream(*key, Reason::CANCEL).is_some() {
                self.streams.remove(*key);
            }
            self.streams.get(*key).is_some()
        });
        self.lingering = lingering;
    }

    /// Our half ended. A server whose client has not ended tells it to stop (RFC 9113 section 8.1).
    pub(super) fn sending_ended(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.send = SendHalf::Ended;
        if R::IS_SERVER && stream.recv != RecvHalf::Ended && !stream.held {
            self.reset_stream(key, Reason::NO_ERROR);
            self.streams.remove(key);
            return;
        }
        self.closed_if_done(key);
    }

    /// Remembers a stream that ended cleanly, and frees it unless the layer above holds it.
    pub(super) fn closed_if_done(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        if !stream.is_closed() {
            return;
        }
        let held = stream.held;
        self.closed.insert(stream.id, Closed::ByPeer);
        if !held {
            self.streams.remove(key);
        }
    }

    /// A frame may not name a stream that nobody opened (RFC 9113 section 5.1).
    pub(super) fn check_not_idle(
        &self,
        id: u32,
        detail: &'static str,
    ) -> Result<(), ConnectionError> {
        let opened_by_client = !id.is_multiple_of(2);
        let known = if opened_by_client == R::IS_SERVER {
            id <= self.highest_peer_id
        } else {
            id < self.next_local_id
        };
        if known { Ok(()) } else { Err(ConnectionError::protocol(detail)) }
    }

    /// The peer opened the stream after our final GOAWAY: it knows that nobody will answer (RFC
    /// 9113 section 6.8).
    pub(super) fn is_above_goaway(&self, id: u32) -> bool {
        let Shutdown::Final { last_stream_id } = self.shutdown else { return false };
        R::IS_SERVER && id > last_stream_id
    }

    /// Takes a token for a reset that the peer sent or provoked. Only those who open streams can
    /// attack with resets.
    pub(super) fn charge_reset(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if R::IS_SERVER { self.resets.take(now) } else { Ok(()) }
    }

    /// The connection is over: GOAWAY is the last frame it sends.
    pub(super) fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        if self.shutdown != Shutdown::Failed {
            // A later GOAWAY never names a higher stream than an earlier one (RFC 9113 section
            // 6.8).
            let last_stream_id = match self.shutdown {
                Shutdown::Final { last_stream_id } => last_stream_id,
                _ => self.highest_peer_id,
            };
            self.shutdown = Shutdown::Failed;
            self.schedule.clear();
            self.events.clear();
            self.timers = super::Timers::default();
            self.stall = StallWatch::default();
            self.lingering.clear();
            self.close_all_streams();
            write_goaway(self.ready.tail(), last_stream_id, error.reason, error.detail.as_bytes());
        }
        error
    }

    /// Leaves nothing that a verb could act on, and frees what was queued.
    fn close_all_streams(&mut self) {
        let keys: Vec<StreamKey> = self.streams.keys().collect();
        for key in keys {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.recv = RecvHalf::Ended;
            stream.send = SendHalf::Ended;
            stream.scheduled = false;
            self.queued_bytes -= stream.queue.bytes();
            stream.queue.clear();
            if !stream.held {
                self.streams.remove(key);
            }
        }
    }
}
