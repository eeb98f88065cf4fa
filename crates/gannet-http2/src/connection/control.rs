//! Frames about the connection, and about streams without a body (RFC 9113 sections 6.3 to 6.9).

use std::ops::Range;
use std::time::Instant;

use super::reader::{Emit, Step};
use super::{Connection, Role, Shutdown};
use crate::flow::Bdp;
use crate::frame::{
    FrameHead, Setting, WINDOW_BYTES_MAX, flags, read_u32, setting_id, settings_of, write_goaway,
    write_ping, write_settings, write_settings_ack,
};
use crate::stream::SendHalf;
use crate::{ConnectionError, Reason, RecvBuf, StreamKey};

/// Opaque data of the PING that separates the two GOAWAYs of a graceful shutdown.
pub(super) const DRAIN_PING: [u8; 8] = *b"gnt-drn\0";
/// Opaque data of keepalive's PINGs.
pub(super) const KEEPALIVE_PING: [u8; 8] = *b"gnt-kpa\0";

impl<R: Role> Connection<R> {
    pub(super) fn on_settings(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if head.stream_id != 0 {
            return Err(ConnectionError::protocol("SETTINGS on a stream"));
        }
        if head.has(flags::ACK) {
            if head.length != 0 {
                return Err(ConnectionError::frame_size("a SETTINGS acknowledgement has payload"));
            }
            self.on_settings_ack();
            return Ok(Step::Again);
        }
        if !head.length.is_multiple_of(6) {
            return Err(ConnectionError::frame_size("SETTINGS is not a multiple of 6 bytes"));
        }
        let mut window = None;
        for setting in settings_of(payload) {
            match setting? {
                // Once for the frame, not for each value: it costs a walk over all streams.
                Setting::InitialWindowSize(bytes) => window = Some(bytes),
                other => self.apply(other)?,
            }
        }
        if let Some(bytes) = window {
            self.resize_send_windows(bytes)?;
        }
        // Ordered behind what was written under the old values.
        write_settings_ack(self.ready.tail());
        self.replies_queued += 1;
        if self.timers.handshake.take().is_some() {
            self.timers.settings_ack = now.checked_add(self.config.settings_ack_timeout);
            if !self.peer_limits_streams {
                self.peer.concurrent_streams_max = u32::MAX; // no limit was told
            }
        }
        Ok(Step::Emit(Emit::Settings))
    }

    fn apply(&mut self, setting: Setting) -> Result<(), ConnectionError> {
        match setting {
            Setting::HeaderTableSize(bytes) => {
                let bytes = bytes.min(self.config.encoder_table_bytes_max);
                self.encoder.set_peer_table_bytes_max(bytes);
            }
            Setting::EnablePush(true) if !R::IS_SERVER => {
                return Err(ConnectionError::protocol("a server enabled push"));
            }
            Setting::EnablePush(_) | Setting::InitialWindowSize(_) | Setting::Unknown => {}
            Setting::MaxConcurrentStreams(max) => {
                self.peer.concurrent_streams_max = max;
                self.peer_limits_streams = true;
            }
            Setting::MaxFrameSize(bytes) => self.peer.frame_bytes_max = bytes,
            Setting::MaxHeaderListSize(bytes) => self.peer.header_list_bytes_max = Some(bytes),
        }
        Ok(())
    }

    /// RFC 9113 section 6.9.2: the change applies to open streams too, and may take them below
    /// zero.
    fn resize_send_windows(&mut self, bytes: u32) -> Result<(), ConnectionError> {
        let delta = i64::from(bytes) - i64::from(self.peer.stream_window_bytes);
        self.peer.stream_window_bytes = bytes;
        for stream in self.streams.iter_mut().filter(|stream| stream.send != SendHalf::Ended) {
            stream.send_window += delta;
            if stream.send_window > WINDOW_BYTES_MAX {
                return Err(ConnectionError::new(
                    Reason::FLOW_CONTROL_ERROR,
                    "SETTINGS_INITIAL_WINDOW_SIZE overflows a stream's window",
                ));
            }
        }
        if delta > 0 {
            let keys: Vec<StreamKey> = self.streams.keys().collect();
            for key in keys {
                self.schedule_stream(key);
            }
        }
        Ok(())
    }

    fn on_settings_ack(&mut self) {
        if self.settings_unacked == 0 {
            return; // harmless
        }
        self.settings_unacked -= 1;
        let surplus = i64::from(std::mem::take(&mut self.window_surplus_bytes));
        if surplus > 0 {
            for stream in self.streams.iter_mut() {
                stream.recv_window -= surplus;
            }
        }
        if self.settings_unacked == 0 {
            self.timers.settings_ack = None;
        }
        self.decoder.set_table_bytes_max(self.config.header_table_bytes);
    }

    pub(super) fn on_ping(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if head.stream_id != 0 {
            return Err(ConnectionError::protocol("PING on a stream"));
        }
        let Ok(opaque) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::frame_size("PING is not 8 bytes"));
        };
        if !head.has(flags::ACK) {
            self.judge_ping(now)?;
            // A server that drains takes it for the end of the streams that the client opened
            // without knowing: it must not overtake them.
            let out = match !R::IS_SERVER && !self.ready.is_empty() {
                true => self.ready.tail(),
                false => &mut self.control,
            };
            write_ping(out, true, opaque);
            self.replies_queued += 1;
            return Ok(Step::Emit(Emit::Ping { opaque }));
        }
        match opaque {
            Bdp::PING => {
                if let Some(window) = self.bdp.finish(self.recv_flow.target()) {
                    self.grow_windows(window);
                }
            }
            DRAIN_PING => self.finish_drain(),
            KEEPALIVE_PING => {} // that something came was noted
            _ => return Ok(Step::Emit(Emit::PingAck { opaque })),
        }
        Ok(Step::Again)
    }

    /// Larger windows for the connection and, through SETTINGS, for every stream.
    fn grow_windows(&mut self, window: u32) {
        self.recv_flow.grow(window);
        let Some(delta) = window.checked_sub(self.stream_window_bytes).filter(|delta| *delta > 0)
        else {
            return;
        };
        self.stream_window_bytes = window;
        for stream in self.streams.iter_mut() {
            stream.recv_window += i64::from(delta);
        }
        write_settings(self.ready.tail(), &[(setting_id::INITIAL_WINDOW_SIZE, window)]);
        self.settings_unacked += 1;
    }

    /// The second GOAWAY of a graceful shutdown (RFC 9113 section 6.8): from here on it is known
    /// which streams will be answered.
    pub(super) fn finish_drain(&mut self) {
        self.timers.drain = None;
        if let Shutdown::Announced { why } = self.shutdown {
            let last_stream_id = self.highest_peer_id;
            self.shutdown = Shutdown::Final { last_stream_id };
            write_goaway(&mut self.control, last_stream_id, Reason::NO_ERROR, why.debug());
        }
    }

    pub(super) fn on_goaway(
        &mut self,
        head: FrameHead,
        buf: &RecvBuf,
        payload: Range<usize>,
    ) -> Result<Step, ConnectionError> {
        if head.stream_id != 0 {
            return Err(ConnectionError::protocol("GOAWAY on a stream"));
        }
        let bytes = buf.at(payload.clone());
        let (Some(last), Some(reason)) = (read_u32(bytes), bytes.get(4..).and_then(read_u32))
        else {
            return Err(ConnectionError::frame_size("GOAWAY is shorter than 8 bytes"));
        };
        let last_stream_id = last & 0x7fff_ffff;
        self.goaway_received = true;
        if !R::IS_SERVER {
            let above: Vec<StreamKey> = self
                .streams
                .keys()
                .filter(|key| {
                    self.streams.get(*key).is_some_and(|s| s.id > last_stream_id && !s.is_closed())
                })
                .collect();
            for key in above {
                self.passed_over(key);
            }
        }
        let debug = payload.start + 8..payload.end;
        Ok(Step::Emit(Emit::GoAway { last_stream_id, reason: Reason(reason), debug }))
    }

    pub(super) fn on_window_update(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        let (4, Some(increment)) = (payload.len(), read_u32(payload)) else {
            return Err(ConnectionError::frame_size("WINDOW_UPDATE is not 4 bytes"));
        };
        let increment = i64::from(increment & 0x7fff_ffff);
        if head.stream_id == 0 {
            if increment == 0 {
                return Err(ConnectionError::protocol("WINDOW_UPDATE of 0 on the connection"));
            }
            self.send_window += increment;
            if self.send_window > WINDOW_BYTES_MAX {
                return Err(ConnectionError::new(
                    Reason::FLOW_CONTROL_ERROR,
                    "WINDOW_UPDATE overflows the connection's window",
                ));
            }
            return Ok(Step::Again);
        }
        let Some(key) = self.streams.find(head.stream_id) else {
            self.check_not_idle(head.stream_id, "WINDOW_UPDATE on an idle stream")?;
            return Ok(Step::Again);
        };
        let stream = self.streams.get_mut(key).expect("found");
        if stream.is_closed() {
            return Ok(Step::Again);
        }
        let window = stream.send_window + increment;
        if increment == 0 {
            self.stream_error(now, key, Reason::PROTOCOL_ERROR)?;
        } else if window > WINDOW_BYTES_MAX {
            self.stream_error(now, key, Reason::FLOW_CONTROL_ERROR)?;
        } else {
            stream.send_window = window;
            self.schedule_stream(key);
        }
        Ok(Step::Again)
    }

    pub(super) fn on_rst_stream(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        let (4, Some(code)) = (payload.len(), read_u32(payload)) else {
            return Err(ConnectionError::frame_size("RST_STREAM is not 4 bytes"));
        };
        if head.stream_id == 0 {
            return Err(ConnectionError::protocol("RST_STREAM on stream 0"));
        }
        let Some(key) = self.streams.find(head.stream_id) else {
            self.check_not_idle(head.stream_id, "RST_STREAM on an idle stream")?;
            self.closed.peer_knows(head.stream_id);
            return Ok(Step::Again);
        };
        if self.streams.get(key).is_some_and(|stream| !stream.is_closed()) {
            self.charge_reset(now)?;
            self.remote_reset(key, Reason(code));
        } else {
            self.closed.peer_knows(head.stream_id);
        }
        Ok(Step::Again)
    }

    /// Priorities are deprecated (RFC 9113 section 5.3.2); only their form is checked.
    pub(super) fn on_priority(
        &mut self,
        now: Instant,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if head.stream_id == 0 {
            return Err(ConnectionError::protocol("PRIORITY on stream 0"));
        }
        let reason = match (payload.len(), read_u32(payload)) {
            (5, Some(depends_on)) if depends_on & 0x7fff_ffff != head.stream_id => {
                return Ok(Step::Again);
            }
            (5, _) => Reason::PROTOCOL_ERROR,
            _ => Reason::FRAME_SIZE_ERROR,
        };
        match self.streams.find(head.stream_id) {
            Some(key) => self.stream_error(now, key, reason)?,
            None => {
                self.check_not_idle(head.stream_id, "an ill-formed PRIORITY on an idle stream")?;
                self.refuse(now, head.stream_id, reason)?;
            }
        }
        Ok(Step::Again)
    }
}
