//! What a channel decides, as pure state machines of events and times that are passed in.
//!
//! Nothing in here reads a clock, rolls dice, opens a socket or knows tokio, so that every decision
//! can be tested in virtual time.
//!
//! A load balancing policy is a [`Policy`]: it is told by [`Event`]s what names stand for and what
//! becomes of its subchannels, and answers by [`Actions`]. What it publishes is a [`Picker`], which
//! decides where each call goes. [`PickFirst`] and [`RoundRobin`] are built in; others are written
//! in the same way, and given to
//! [`ChannelBuilder::balance`](crate::ChannelBuilder::balance).
//!
//! | file | what it decides |
//! | --- | --- |
//! | `balancer` | all of a channel: runs the policy, keeps its subchannels and timers |
//! | `subchannel`, `backoff` | the state of one address, and when to try it again |
//! | `pick_first`, `order`, `round_robin` | the built-in policies |
//! | `children` | policies within a policy |
//! | `event`, `actions`, `picker`, `state` | what a policy sees and does |
//! | `failure` | what calls are told where there is no connection |
//! | `pacing` | when a name is resolved again |
//! | `idleness` | when a channel without calls is idle |

mod actions;
mod backoff;
mod balancer;
mod children;
mod event;
mod failure;
mod idleness;
mod moment;
mod order;
mod pacing;
mod pick_first;
mod picker;
mod round_robin;
mod state;
mod subchannel;

#[cfg(test)]
mod balancer_tests;
#[cfg(test)]
mod pick_first_tests;
#[cfg(test)]
mod round_robin_tests;
#[cfg(test)]
mod testing;

pub use actions::{Action, Actions, Update};
pub use backoff::{Attempt, Backoff, BackoffConfig};
pub(crate) use balancer::{BackendId, Balancer, Effect, MakePolicy, Remains, Told, bury, told_by};
pub use children::{ChildId, Children};
pub use event::{Event, Policy, SubchannelId, Token};
pub(crate) use idleness::{Activity, Idleness};
pub(crate) use moment::{moment, timed};
pub(crate) use order::interleaved;
pub(crate) use pacing::{Next, Pacing, RESOLVE_INTERVAL_MIN};
pub(crate) use pick_first::ATTEMPT_DELAY;
pub use pick_first::PickFirst;
pub(crate) use picker::Dropping;
pub use picker::{CallEnd, CallTracker, Failing, Only, Pick, PickArgs, Picked, Picker, Queueing};
pub use round_robin::RoundRobin;
pub use state::{ChannelState, SubchannelState};
pub(crate) use subchannel::Lost;
