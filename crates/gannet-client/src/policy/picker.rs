//! What decides where one call goes.

use std::fmt;
use std::sync::Arc;

use gannet_core::{Code, Metadata, MethodDescriptor, Status};

use super::{SubchannelId, Token};

/// Decides to which subchannel a call goes: published by a [`Policy`](super::Policy), asked by the
/// tasks that make calls, many at once. It should take no lock.
pub trait Picker: Send + Sync + 'static {
    /// Picks for one call.
    fn pick(&self, call: &PickArgs<'_>) -> Pick;

    /// The one subchannel that it picks for each call, and without more ado: calls need not ask
    /// then.
    fn always(&self) -> Option<SubchannelId> {
        None
    }

    /// How it fails each call, where it does: a policy that has several such below it can tell of
    /// them all.
    fn failure(&self) -> Option<&Status> {
        None
    }
}

/// What is known of a call that is picked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PickArgs<'a> {
    /// The method that is called.
    pub method: &'static MethodDescriptor,
    /// What is sent besides messages, without what credentials give.
    pub metadata: &'a Metadata,
    /// The same for most calls of one thread, and another for other threads: which of several
    /// counters to use, so that threads do not take one from each other.
    pub lane: usize,
    random: fn() -> u64,
}

impl<'a> PickArgs<'a> {
    /// A call. `random` gives a random number each time.
    pub fn new(
        method: &'static MethodDescriptor,
        metadata: &'a Metadata,
        lane: usize,
        random: fn() -> u64,
    ) -> PickArgs<'a> {
        PickArgs { method, metadata, lane, random }
    }

    /// A random number.
    pub fn random(&self) -> u64 {
        (self.random)()
    }
}

/// What a [`Picker`] decides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Pick {
    /// The call goes there. Where that is not connected any more, it is as with `Queue`.
    Complete(Picked),
    /// The call waits for the next picker.
    Queue,
    /// The same, and the policy gets [`Event::Wake`](super::Event::Wake): of one call once by each
    /// token, and at most sixteen times in all, until something else happens.
    Wake(Token),
    /// The call fails like this, with the target in front where the message does not name it, and
    /// with INTERNAL for OK and for codes that only a server may use (gRFC A54: INVALID_ARGUMENT,
    /// NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, DATA_LOSS); one that
    /// [waits for a connection](crate::Unary::wait_for_ready) waits for the next picker.
    Fail(Status),
    /// The call fails like this, whatever it waits for, and nobody tries again.
    Drop(Status),
}

/// A subchannel that was picked.
#[derive(Clone)]
pub struct Picked {
    /// Which.
    pub subchannel: SubchannelId,
    pub(crate) tracker: Option<Arc<dyn CallTracker>>,
}

impl Picked {
    /// This one.
    pub fn new(subchannel: SubchannelId) -> Picked {
        Picked { subchannel, tracker: None }
    }

    /// Has `tracker` told what becomes of the call: for policies that look at how many calls there
    /// are, how long they take, or what servers report with them. It costs the call an allocation.
    #[must_use]
    pub fn tracked(mut self, tracker: Arc<dyn CallTracker>) -> Picked {
        self.tracker = Some(tracker);
        self
    }
}

impl From<SubchannelId> for Pick {
    fn from(id: SubchannelId) -> Pick {
        Pick::Complete(Picked::new(id))
    }
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Picked");
        shown.field("subchannel", &self.subchannel).finish_non_exhaustive()
    }
}

/// Is told once what became of a call that was picked for.
pub trait CallTracker: Send + Sync + 'static {
    /// The call ended, was given up, or could not be made on the connection after all.
    fn ended(&self, end: &CallEnd<'_>);
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// The code; of a call that nobody waited for, CANCELLED.
    pub code: Code,
    /// What came behind the last message.
    pub trailers: Option<&'a Metadata>,
}

impl<'a> CallEnd<'a> {
    /// An end.
    pub fn new(code: Code, trailers: Option<&'a Metadata>) -> CallEnd<'a> {
        CallEnd { code, trailers }
    }
}

/// Has every call wait.
#[derive(Clone, Copy, Debug)]
pub struct Queueing;

impl Picker for Queueing {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        Pick::Queue
    }
}

/// Fails every call, in the same way.
#[derive(Clone, Debug)]
pub struct Failing(pub Status);

impl Picker for Failing {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        Pick::Fail(self.0.clone())
    }

    fn failure(&self) -> Option<&Status> {
        Some(&self.0)
    }
}

/// Picks one subchannel for every call.
#[derive(Clone, Copy, Debug)]
pub struct Only(pub SubchannelId);

impl Picker for Only {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        self.0.into()
    }

    fn always(&self) -> Option<SubchannelId> {
        Some(self.0)
    }
}

/// Fails every call, whatever it waits for.
#[derive(Clone, Debug)]
pub(crate) struct Dropping(pub(crate) Status);

impl Picker for Dropping {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        Pick::Drop(self.0.clone())
    }
}
