//! What calls find: where they go, without a lock.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gannet_core::Status;

use crate::call::request::Request;
use crate::call::tracking::Untold;
use crate::link::Link;
use crate::policy::{Pick, PickArgs, Picker, SubchannelId, Token};

/// A picker, and the connections that it picks from: replaced whenever either changes.
pub(super) struct Published {
    /// Where all calls go, where that is so.
    only: Option<Arc<Link>>,
    picker: Arc<dyn Picker>,
    /// By the place of a subchannel.
    links: Box<[Option<Slot>]>,
}

/// A connection, for a subchannel of this generation.
pub(super) type Slot = (u32, Arc<Link>);

/// Where a call goes.
pub(crate) struct Placed {
    pub(crate) link: Arc<Link>,
    pub(crate) tracker: Option<Untold>,
}

/// What a call finds.
pub(super) enum Choice {
    Place(Placed),
    Queue,
    Wake(Token),
    Fail(Status),
    Drop(Status),
}

impl Published {
    /// `always` is what the picker says of itself.
    pub(super) fn new(
        picker: &Arc<dyn Picker>,
        always: Option<SubchannelId>,
        links: Vec<Option<Slot>>,
    ) -> Published {
        let mut published =
            Published { only: None, picker: Arc::clone(picker), links: links.into() };
        published.only = always.and_then(|id| published.link(id).cloned());
        published
    }

    /// Where all calls go. The path of nearly every call.
    #[inline]
    pub(super) fn only(&self) -> Option<&Arc<Link>> {
        self.only.as_ref()
    }

    #[inline]
    pub(super) fn pick(&self, request: &Request) -> Choice {
        let args = PickArgs::new(request.method, &request.metadata, lane(), fastrand_u64);
        match self.picker.pick(&args) {
            Pick::Complete(picked) => {
                let tracker = picked.tracker.map(Untold::new);
                match self.link(picked.subchannel) {
                    Some(link) => Choice::Place(Placed { link: Arc::clone(link), tracker }),
                    None => Choice::Queue,
                }
            }
            Pick::Queue => Choice::Queue,
            Pick::Wake(token) => Choice::Wake(token),
            Pick::Fail(status) => Choice::Fail(status),
            Pick::Drop(status) => Choice::Drop(status),
        }
    }

    #[inline]
    fn link(&self, id: SubchannelId) -> Option<&Arc<Link>> {
        match self.links.get(id.index()) {
            Some(Some((generation, link))) if *generation == id.generation() => Some(link),
            _ => None,
        }
    }
}

fn fastrand_u64() -> u64 {
    fastrand::u64(..)
}

/// A number of this thread's.
#[inline]
fn lane() -> usize {
    LANE.try_with(Cell::get).unwrap_or(0)
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LANE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
}

/// Has all that channels draw by chance on this thread follow from `seed`: for tests in virtual
/// time, by `gannet_testing::seed`.
pub fn seed_thread(seed: u64) {
    fastrand::seed(seed);
    // Which of a policy's counters a thread uses tells how many threads there were before.
    LANE.set(0);
}
