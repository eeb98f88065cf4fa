//! What a policy is told, and how it names things.

use std::time::Instant;

use gannet_core::Status;

use super::{Actions, SubchannelState};
use crate::name::Resolution;

/// A load balancing policy: decides to which addresses there are connections, and which call goes
/// to which of them.
///
/// A pure state machine: all that happens is told by [`Event`]s with the time, and all that it does
/// goes into [`Actions`]. It must not wait, and not call its channel. What decides for each single
/// call is a [`Picker`](super::Picker) that it [publishes](Actions::update).
///
/// A channel makes one whenever it leaves the idle state, and drops it when it is idle again;
/// subchannels and timers go with it. Policies may contain others: see
/// [`Children`](super::Children).
pub trait Policy: Send + 'static {
    /// Something happened at `now`.
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions);
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        (**self).handle(event, now, actions);
    }
}

/// What a [`Policy`] is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// What the name stands for, in place of what was told before. There may be no endpoint at all.
    Resolved(Resolution),
    /// The name could not be resolved; the status is UNAVAILABLE. What was told before stays true.
    ResolverFailed(Status),
    /// A subchannel's connection changed. Of a subchannel whose address was known to the channel
    /// before, the first such event comes after its making, where it is not idle.
    Subchannel(SubchannelId, SubchannelState),
    /// What is known of the health of a subchannel whose
    /// [health is watched](Actions::watch_health): it is never idle.
    Health(SubchannelId, SubchannelState),
    /// A timer's moment has come.
    Timer(Token),
    /// A call was made that a picker had [wait](super::Pick::Wake) for this. A call says so once,
    /// and again where it is to wait for the same after something else has happened.
    Wake(Token),
    /// A call was made, or the application wants a connection, while the policy's state was
    /// [idle](super::ChannelState::Idle): time to connect. A call says so as often as with `Wake`.
    ExitIdle,
    /// The application wants attempts to be made at once. Subchannels have been told.
    ResetBackoff,
}

/// Names a subchannel: a connection to one address, or one to be. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubchannelId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl SubchannelId {
    /// Its place in tables. Others use it after this is removed.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

/// Names a timer of a policy, or what a picker waits for. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub(super) number: u64,
    /// The policy within a policy that has made it.
    pub(super) scope: u64,
}
