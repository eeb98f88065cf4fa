//! The states of a connection, and of many together (gRPC's `connectivity-semantics-and-api.md`).

use gannet_core::Status;

/// What a channel is doing, or one connection of it (gRPC's `connectivity-semantics-and-api.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelState {
    /// Not connected; the next call connects.
    Idle,
    /// Finds out addresses, or connects, for the first time since it was idle: calls wait.
    Connecting,
    /// Connected.
    Ready,
    /// The last attempt to connect failed: calls fail at once, unless they
    /// [wait](crate::Unary::wait_for_ready). Attempts go on, with growing pauses.
    TransientFailure,
    /// [Closed](crate::Channel::close).
    Shutdown,
}

/// What a subchannel is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubchannelState {
    /// Not connected, and nobody tries to be: a policy that wants it connects it.
    Idle,
    /// An attempt is under way.
    Connecting,
    /// Connected: it can be picked.
    Ready,
    /// The last attempt failed, as the status tells with address and attempt. It is idle again when
    /// its backoff is over.
    TransientFailure(Status),
}

impl SubchannelState {
    /// The state without what is said of it.
    pub fn state(&self) -> ChannelState {
        match self {
            SubchannelState::Idle => ChannelState::Idle,
            SubchannelState::Connecting => ChannelState::Connecting,
            SubchannelState::Ready => ChannelState::Ready,
            SubchannelState::TransientFailure(_) => ChannelState::TransientFailure,
        }
    }

    /// Whether calls can be made on it.
    pub fn is_ready(&self) -> bool {
        matches!(self, SubchannelState::Ready)
    }
}
