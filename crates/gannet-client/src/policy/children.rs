//! Policies within a policy.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{Action, Actions, ChannelState, Event, Picker, Policy, Queueing, SubchannelId, Token};

/// Names a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(u64);

/// The policies that a policy contains: keeps what each has published, and knows which of them an
/// event is for. For policies that decide between endpoints, and leave it to a
/// [`PickFirst`](super::PickFirst) for each to connect to it (gRFC A61, "petiole policies").
pub struct Children<P> {
    children: BTreeMap<ChildId, Child<P>>,
    made: u64,
    subchannels: HashMap<SubchannelId, ChildId>,
    tokens: HashMap<Token, ChildId>,
}

struct Child<P> {
    policy: P,
    state: ChannelState,
    picker: Arc<dyn Picker>,
    subchannels: HashSet<SubchannelId>,
    tokens: Vec<Token>,
}

impl<P: Policy> Children<P> {
    /// None.
    pub fn new() -> Children<P> {
        Children {
            children: BTreeMap::new(),
            made: 0,
            subchannels: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Adds a policy, which counts as connecting until it publishes something.
    pub fn add(&mut self, policy: P) -> ChildId {
        self.made += 1;
        let id = ChildId(self.made);
        let child = Child {
            policy,
            state: ChannelState::Connecting,
            picker: Arc::new(Queueing),
            subchannels: HashSet::new(),
            tokens: Vec::new(),
        };
        self.children.insert(id, child);
        id
    }

    /// Removes one, and all that it has: subchannels and timers.
    pub fn remove(&mut self, id: ChildId, actions: &mut Actions) {
        let Some(child) = self.children.remove(&id) else { return };
        for subchannel in child.subchannels {
            self.subchannels.remove(&subchannel);
            actions.remove(subchannel);
        }
        for token in child.tokens {
            self.tokens.remove(&token);
            actions.cancel_timer(token);
        }
    }

    /// Tells one child what happened: whether it has published anything.
    pub fn handle(
        &mut self,
        id: ChildId,
        event: Event,
        now: Instant,
        actions: &mut Actions,
    ) -> bool {
        let Some(child) = self.children.get_mut(&id) else { return false };
        // What the policy around it has published in this turn stays.
        let outer = actions.take_update();
        let (done, tokens) = (actions.len(), actions.tokens());
        child.policy.handle(event, now, actions);
        for action in actions.since(done) {
            match action {
                Action::Create(subchannel, _) => {
                    child.subchannels.insert(*subchannel);
                    self.subchannels.insert(*subchannel, id);
                }
                Action::Remove(subchannel) => {
                    child.subchannels.remove(subchannel);
                    self.subchannels.remove(subchannel);
                }
                _ => {}
            }
        }
        for token in (tokens..actions.tokens()).map(|before| Token(before + 1)) {
            child.tokens.push(token);
            self.tokens.insert(token, id);
        }
        let update = actions.take_update();
        if let Some(outer) = outer {
            actions.update(outer.state, outer.picker);
        }
        let Some(update) = update else { return false };
        (child.state, child.picker) = (update.state, update.picker);
        true
    }

    /// Tells the child that an event is for, where it is for one: which, if it has published
    /// anything.
    pub fn route(&mut self, event: Event, now: Instant, actions: &mut Actions) -> Option<ChildId> {
        let id = match &event {
            Event::Subchannel(subchannel, _) | Event::Health(subchannel, _) => {
                self.subchannels.get(subchannel)
            }
            Event::Timer(token) | Event::Wake(token) => self.tokens.get(token),
            _ => None,
        };
        let id = *id?;
        self.handle(id, event, now, actions).then_some(id)
    }

    /// What one has published last: its state, and its picker.
    pub fn published(&self, id: ChildId) -> Option<(ChannelState, &Arc<dyn Picker>)> {
        self.children.get(&id).map(|child| (child.state, &child.picker))
    }

    /// All of them, oldest first, with what they have published last.
    pub fn iter(&self) -> impl Iterator<Item = (ChildId, ChannelState, &Arc<dyn Picker>)> {
        self.children.iter().map(|(id, child)| (*id, child.state, &child.picker))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

impl<P: Policy> Default for Children<P> {
    fn default() -> Self {
        Children::new()
    }
}

impl<P> fmt::Debug for Children<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("len", &self.children.len()).finish_non_exhaustive()
    }
}
