//! What comes: reading, and parsing what was read.

use std::io;
use std::task::Context;
use std::time::Instant;

use super::{CloseReason, Driver, Side, Wake};
use crate::io::Input;
use crate::pool;

/// Bytes read in one round before the rest waits for handlers and writes.
const READ_BYTES_PER_ROUND_MAX: usize = 256 << 10;

impl<S: Side> Driver<S> {
    /// Reads what the socket has and parses it; whether anything came.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        wake: &mut Wake,
    ) -> Result<bool, CloseReason> {
        let mut any = false;
        // Not before the peer has taken some of what it is owed.
        if self.parse_again && self.conn.read_budget() > 0 {
            self.parse_again = false;
            any = self.parse(now)?;
        }
        let mut left = READ_BYTES_PER_ROUND_MAX;
        while wake.input == Input::Open && left > 0 && !self.parse_again && self.may_read() {
            if !self.recv.has_storage()
                && let Some(storage) = pool::take()
            {
                self.recv.restore_storage(storage);
            }
            let spare = self.recv.spare_mut();
            let room = spare.len();
            let (bytes, input) = self.io.read(cx, spare).map_err(CloseReason::Io)?;
            wake.input = input;
            let Some(n) = bytes else { break };
            any = true;
            self.recv.commit(n);
            if n == 0 {
                self.read_ended = true;
                return Err(self.peer_closed());
            }
            self.conn.heard(now);
            self.parse(now)?;
            if n < room {
                break;
            }
            left = left.saturating_sub(n);
        }
        Ok(any)
    }

    /// Whether the socket is to be read: it has not ended, and the peer is not owed too much.
    pub(super) fn may_read(&self) -> bool {
        !self.read_ended && self.conn.read_budget() > 0
    }

    /// Whether all that can be read and parsed now has been.
    pub(super) fn input_is_used_up(&self, wake: &Wake) -> bool {
        wake.input != Input::Open && !self.parse_again
    }

    /// Has the task woken when there is more to read; false where there is already.
    #[inline(always)]
    pub(super) fn awaits_input(&mut self, cx: &mut Context<'_>, wake: &mut Wake) -> bool {
        if !self.may_read() {
            return true;
        }
        if self.parse_again {
            return false;
        }
        if wake.input == Input::Drained {
            let ready = self.io.poll_input(cx).is_ready();
            wake.input = if ready { Input::Open } else { Input::Awaited };
        }
        wake.input == Input::Awaited
    }

    /// What it means that the peer closed its half. HTTP/2 has no use for a half-closed connection:
    /// whoever closes it no longer waits for anything.
    fn peer_closed(&self) -> CloseReason {
        if !self.is_busy() {
            return CloseReason::Finished;
        }
        let told = "the peer closed the connection with calls open";
        CloseReason::Io(io::Error::new(io::ErrorKind::UnexpectedEof, told))
    }

    /// Parses every frame that is there, unless the peer is owed too much output; whether there was
    /// an event.
    #[inline]
    fn parse(&mut self, now: Instant) -> Result<bool, CloseReason> {
        let mut any = false;
        loop {
            match self.conn.next_event(now, &mut self.recv) {
                Ok(Some(event)) => self.side.event(now, event),
                Ok(None) => return Ok(any),
                Err(error) => return Err(CloseReason::Protocol(error)),
            }
            any = true;
            if self.recv.is_empty() && !self.conn.has_events() {
                return Ok(any);
            }
            if self.conn.read_budget() == 0 {
                self.parse_again = true;
                return Ok(any);
            }
        }
    }
}
