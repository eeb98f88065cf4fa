//! What the other side allows: its SETTINGS (RFC 9113 section 6.5), and the connection's window
//! for what is sent to it.

use std::io;

use crate::frames::{FRAME_BYTES_MAX, Frame, WINDOW_BYTES_INITIAL, WINDOW_BYTES_MAX, unexpected};
use crate::headers::TABLE_BYTES;

const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// The other side's limits.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its SETTINGS have come.
    pub(crate) is_known: bool,
    /// What may yet be sent on the connection.
    pub(crate) window: i64,
    /// What may be sent on a stream that opens now.
    pub(crate) window_initial: i64,
    pub(crate) streams_max: u32,
    /// Lowered its limit for our encoder's table below what our blocks count on.
    pub(crate) keeps_no_table: bool,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer {
            is_known: false,
            window: WINDOW_BYTES_INITIAL,
            window_initial: WINDOW_BYTES_INITIAL,
            streams_max: u32::MAX,
            keeps_no_table: false,
        }
    }

    /// Takes a SETTINGS frame, and tells by how much the windows of open streams change.
    pub(crate) fn apply(&mut self, frame: &Frame<'_>) -> io::Result<i64> {
        let before = self.window_initial;
        for (identifier, value) in frame.settings() {
            match identifier {
                HEADER_TABLE_SIZE => self.keeps_no_table |= value < TABLE_BYTES,
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE => self.window_initial = i64::from(value),
                _ => {}
            }
        }
        if self.window_initial > WINDOW_BYTES_MAX {
            return Err(unexpected("SETTINGS_INITIAL_WINDOW_SIZE over 2^31 - 1"));
        }
        self.is_known = true;
        Ok(self.window_initial - before)
    }

    /// How much of a stream's DATA may be in its next frame.
    pub(crate) fn room(&self, stream_window: i64) -> usize {
        let room = self.window.min(stream_window).max(0);
        usize::try_from(room).unwrap_or(usize::MAX).min(FRAME_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;

    #[test]
    fn settings_change_what_may_be_sent() {
        let mut bytes = Vec::new();
        frames::settings(&[(4, 10), (3, 7), (1, 0), (0x99, 1)], &mut bytes);
        let (frame, _) = Frame::parse(&bytes).unwrap().unwrap();
        let mut peer = Peer::new();
        assert_eq!(peer.apply(&frame).unwrap(), 10 - 65_535);
        assert!(peer.is_known && peer.keeps_no_table);
        assert_eq!(peer.streams_max, 7);
        for (window, stream, room) in
            [(65_535, 65_535, 16_384), (65_535, 9, 9), (0, 9, 0), (5, -3, 0), (100, 200, 100)]
        {
            peer.window = window;
            assert_eq!(peer.room(stream), room, "{window} and {stream}");
        }
    }

    #[test]
    fn a_window_over_the_limit_is_an_error() {
        let mut bytes = Vec::new();
        frames::settings(&[(4, 1 << 31)], &mut bytes);
        let (frame, _) = Frame::parse(&bytes).unwrap().unwrap();
        assert!(Peer::new().apply(&frame).is_err());
    }
}
