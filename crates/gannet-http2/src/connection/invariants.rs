//! What holds between any two calls. For the crate's tests and, with the feature `invariants`, for
//! fuzz targets; not part of the engine.

use super::{Connection, Role};
use crate::StreamKey;
use crate::stream::{End, RecvHalf, SendHalf, Stream};

impl<R: Role> Connection<R> {
    /// Checks all that must hold between any two calls, in time linear in what is held.
    ///
    /// # Panics
    /// Where an invariant is broken: that is a defect of the engine, whatever the peer sent.
    pub fn check_invariants(&self) {
        assert!(self.send_window >= 0, "the connection's send window is {}", self.send_window);
        let flow = &self.recv_flow;
        if !self.has_failed() {
            assert!(flow.available() >= 0, "the peer was let beyond the connection's window");
        }
        // Credit may be given for a frame that has begun to arrive and is not delivered yet.
        let unread_max = flow.unread_max() + i64::from(self.config.frame_bytes_max);
        assert!((0..=unread_max).contains(&flow.unread()), "unread {}", flow.unread());
        let (slots, free) = self.streams.slots();
        assert_eq!(slots, free + self.streams.len(), "slots are live or free");
        assert!(self.events.len() <= slots, "an event for each stream at most");
        let scheduled = self.schedule.len();
        assert!(scheduled <= 2 * slots + 40, "{scheduled} scheduled, {slots} slots");
        let due = self.credit_due.len();
        assert!(due <= 2 * slots + 40, "{due} with credit due, {slots} slots");
        let queued = |key| self.streams.get(key).map_or(0, |stream| stream.queue.bytes());
        assert_eq!(self.queued_bytes, self.streams.keys().map(queued).sum::<usize>(), "queued");
        for key in self.streams.keys() {
            self.check_stream(key, self.streams.get(key).expect("a live key"));
        }
    }

    fn has_failed(&self) -> bool {
        self.shutdown == super::Shutdown::Failed
    }

    fn check_stream(&self, key: StreamKey, stream: &Stream) {
        assert!(stream.held || !stream.is_closed(), "a closed stream nobody holds: {stream:?}");
        assert!(stream.held || R::IS_SERVER, "a client keeps what nobody holds: {stream:?}");
        let queued = !stream.queue.is_empty();
        match stream.send {
            SendHalf::Head | SendHalf::Ended => assert!(!queued, "{stream:?}"),
            SendHalf::Body => assert!(stream.queue.end.is_none(), "{stream:?}"),
            SendHalf::Ending => assert!(stream.queue.end.is_some(), "{stream:?}"),
        }
        if matches!(stream.queue.end, Some(End::Data)) {
            assert!(stream.queue.bytes() > 0, "an empty end waits: {stream:?}");
        }
        let times = self.schedule.iter().filter(|other| **other == key).count();
        assert_eq!(times, usize::from(stream.scheduled), "{stream:?}");
        let runnable = queued && stream.send_window > 0;
        assert!(!runnable || stream.scheduled || self.has_failed(), "not scheduled: {stream:?}");
        let times = self.credit_due.iter().filter(|other| **other == key).count();
        assert_eq!(times, usize::from(stream.credit_due), "{stream:?}");
        if stream.recv != RecvHalf::Ended {
            let low = -i64::from(crate::frame::DEFAULT_WINDOW_BYTES);
            assert!(stream.recv_window >= low, "{stream:?}");
            let most = i64::from(self.stream_window_bytes) + i64::from(self.window_surplus_bytes);
            let given = stream.recv_window + i64::from(stream.released);
            assert!(given <= most, "more than the window is given: {stream:?}, {most}");
        }
    }
}
