//! What tests may see of a connection's private state.

use super::{Connection, Role};
use crate::StreamKey;
use crate::stream::Stream;

/// Sizes of what a connection holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) send_window: i64,
    pub(crate) recv_window: i64,
    pub(crate) recv_target: i64,
    pub(crate) unread: i64,
    pub(crate) control_bytes: usize,
    pub(crate) ready_bytes: usize,
    /// Allocated for `control_bytes`.
    pub(crate) control_storage_bytes: usize,
    pub(crate) replies_queued: u32,
    pub(crate) scheduled: usize,
    pub(crate) block_bytes: usize,
    /// What the decoded list holds.
    pub(crate) fields_bytes: u64,
    pub(crate) stream_window_bytes: u32,
    /// We said that we go away.
    pub(crate) shutting_down: bool,
}

impl<R: Role> Connection<R> {
    pub(crate) fn probe(&self) -> Probe {
        Probe {
            send_window: self.send_window,
            recv_window: self.recv_flow.available(),
            recv_target: self.recv_flow.target(),
            unread: self.recv_flow.unread(),
            control_bytes: self.control.len(),
            ready_bytes: self.ready.len(),
            control_storage_bytes: self.control.capacity(),
            replies_queued: self.replies_queued,
            scheduled: self.schedule.len(),
            block_bytes: self.block_bytes.capacity(),
            fields_bytes: self
                .fields
                .iter()
                .map(|field| (field.name.len() + field.value.len()) as u64)
                .sum(),
            stream_window_bytes: self.stream_window_bytes,
            shutting_down: self.shutdown != super::Shutdown::Open,
        }
    }

    pub(crate) fn probe_stream(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(key)
    }

    pub(crate) fn probe_streams(&self) -> impl Iterator<Item = (StreamKey, &Stream)> {
        self.streams.keys().map(|key| (key, self.streams.get(key).expect("a live key")))
    }
}
