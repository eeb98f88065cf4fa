//! Calls: where they go, by what was published last, and which of them wait for what comes next.

use std::sync::Arc;

use gannet_core::{Metadata, MethodDescriptor, MethodKind};

use super::laws::Turns;
use crate::policy::{
    BackendId, Balancer, ChannelState, Pick, PickArgs, Picker, Queueing, SubchannelId,
};

static METHOD: MethodDescriptor = MethodDescriptor::new("/a.B/C", MethodKind::Unary);

/// What calls find: as `channel/published.rs` has it, and replaced only when the balancer says that
/// something has changed.
pub(super) struct Traffic {
    picker: Arc<dyn Picker>,
    table: Vec<Option<(u32, BackendId)>>,
    pub(super) state: ChannelState,
    /// Servers to which calls should go.
    ready: usize,
    turns: Turns,
    /// Whether each call that waits does so while the channel fails.
    waiting: Vec<bool>,
    pub(super) picks: usize,
    pub(super) waited: usize,
    pub(super) refused: usize,
    /// Times that turns were taken by all.
    pub(super) judged: usize,
}

/// What a call finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found {
    Place(BackendId),
    Wait,
    Fail,
}

impl Traffic {
    pub(super) fn new() -> Traffic {
        Traffic {
            picker: Arc::new(Queueing),
            table: Vec::new(),
            state: ChannelState::Idle,
            ready: 0,
            turns: Turns::default(),
            waiting: Vec::new(),
            picks: 0,
            waited: 0,
            refused: 0,
            judged: 0,
        }
    }

    /// Publishes; calls that wait look again. Those that go somewhere come back.
    pub(super) fn publish(&mut self, balancer: &Balancer, ready: usize) -> Vec<BackendId> {
        self.check_turns();
        self.ready = ready;
        self.picker = Arc::clone(balancer.picker());
        self.table = balancer.table().collect();
        self.state = balancer.state();
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().filter_map(|waits_on| self.look(0, waits_on)).collect()
    }

    /// Where one call goes that may wait while the channel fails, or not; `None` where it waits, or
    /// has failed.
    pub(super) fn call(&mut self, lane: usize, waits_on: bool) -> Option<BackendId> {
        let found = self.look(lane, waits_on);
        self.waited += usize::from(found.is_none() && self.state != ChannelState::TransientFailure);
        found
    }

    fn look(&mut self, lane: usize, waits_on: bool) -> Option<BackendId> {
        match self.find(lane) {
            (Found::Place(backend), Some(id)) => {
                self.turns.taken(lane, id);
                self.picks += 1;
                return Some(backend);
            }
            (Found::Fail, _) if !waits_on => self.refused += 1,
            _ => self.waiting.push(waits_on),
        }
        None
    }

    fn find(&self, lane: usize) -> (Found, Option<SubchannelId>) {
        let metadata = Metadata::new();
        let args = PickArgs::new(&METHOD, &metadata, lane, || 0);
        let found = match self.picker.pick(&args) {
            Pick::Complete(picked) => {
                let id = picked.subchannel;
                let place = self.table.get(id.index()).copied().flatten();
                let place = place.filter(|(generation, _)| *generation == id.generation());
                return match place {
                    Some((_, backend)) => (Found::Place(backend), Some(id)),
                    None => (Found::Wait, None),
                };
            }
            Pick::Fail(_) => Found::Fail,
            _ => Found::Wait,
        };
        (found, None)
    }

    pub(super) fn check_turns(&mut self) {
        self.judged += self.turns.check(self.ready);
    }

    /// As many turns as it takes that each has one. Where they go is looked at with what is
    /// published next.
    pub(super) fn probe_all(&mut self, lane: usize) {
        if self.state == ChannelState::Ready {
            for _ in 0..2 * self.ready {
                self.probe(lane);
            }
        }
    }

    /// Places of the table of subchannels.
    pub(super) fn places(&self) -> usize {
        self.table.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Where a call would go; it does not, but takes its turn. And whether what it finds is what
    /// the state says, and nobody waits who need not.
    pub(super) fn probe(&mut self, lane: usize) -> Found {
        let (found, id) = self.find(lane);
        if let Some(id) = id {
            self.turns.taken(lane, id);
        }
        let expected = match self.state {
            ChannelState::Ready => matches!(found, Found::Place(_)),
            ChannelState::TransientFailure => found == Found::Fail,
            _ => found == Found::Wait,
        };
        assert!(expected, "{:?}, and a call finds {found:?}", self.state);
        match found {
            Found::Place(_) => assert!(self.waiting.is_empty(), "a call waits for what is there"),
            Found::Fail => assert!(self.waiting.iter().all(|on| *on), "a call waits for nothing"),
            Found::Wait => {}
        }
        found
    }
}
