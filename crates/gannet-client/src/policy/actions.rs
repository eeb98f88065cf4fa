//! What a policy does.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{ChannelState, Picker, SubchannelId, Token};
use crate::name::Address;

/// Where a [`Policy`](super::Policy) puts what it does. All of it is done when it returns, in this
/// order.
pub struct Actions {
    list: Vec<Action>,
    update: Option<Update>,
    ids: Ids,
    tokens: u64,
    /// The policy within a policy that acts; 0 is none.
    scope: u64,
    scopes: u64,
    /// Those that are gone, since it was drained last.
    ended_scopes: Vec<u64>,
    /// The state of a generator of random numbers, which was passed in.
    random: u64,
    target: Arc<str>,
}

/// One thing that a policy does, as [`Actions::drain`] shows it to tests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// See [`Actions::create`].
    Create(SubchannelId, Address),
    /// See [`Actions::connect`].
    Connect(SubchannelId),
    /// See [`Actions::watch_health`].
    WatchHealth(SubchannelId),
    /// See [`Actions::remove`].
    Remove(SubchannelId),
    /// See [`Actions::set_timer`].
    SetTimer(Token, Instant),
    /// See [`Actions::cancel_timer`].
    CancelTimer(Token),
    /// See [`Actions::resolve`].
    Resolve,
}

/// What a policy [publishes](Actions::update).
#[derive(Clone)]
pub struct Update {
    /// What its subchannels come to, taken together.
    pub state: ChannelState,
    /// What decides for each call.
    pub picker: Arc<dyn Picker>,
}

impl Actions {
    /// None yet, for a channel to `target`. All that is random in policies follows from `seed`.
    pub fn new(target: impl Into<Arc<str>>, seed: u64) -> Actions {
        Actions {
            list: Vec::new(),
            update: None,
            ids: Ids::default(),
            tokens: 0,
            scope: 0,
            scopes: 0,
            ended_scopes: Vec::new(),
            random: seed,
            target: target.into(),
        }
    }

    /// Makes a subchannel for `address`, idle unless the channel has one for the address already,
    /// which it then shares the connection with.
    pub fn create(&mut self, address: &Address) -> SubchannelId {
        let id = self.ids.next();
        self.list.push(Action::Create(id, address.clone()));
        id
    }

    /// Starts an attempt to connect. Nothing, unless the subchannel is idle.
    pub fn connect(&mut self, id: SubchannelId) {
        self.list.push(Action::Connect(id));
    }

    /// Has [`Event::Health`](super::Event::Health) tell whether the server that a subchannel is
    /// connected to feels well; until it is told, the subchannel should not be picked. Where the
    /// channel checks nothing of the kind, the answer is "ready", at once (gRFC A61, "Generic
    /// Health Reporting Mechanism").
    pub fn watch_health(&mut self, id: SubchannelId) {
        self.list.push(Action::WatchHealth(id));
    }

    /// Forgets a subchannel. Its connection is closed, after the calls on it, unless another
    /// subchannel has the same address when all actions are done.
    pub fn remove(&mut self, id: SubchannelId) {
        self.list.push(Action::Remove(id));
    }

    /// A name for a timer, or for what a picker waits for.
    pub fn token(&mut self) -> Token {
        self.tokens += 1;
        Token { number: self.tokens, scope: self.scope }
    }

    /// Has [`Event::Timer`](super::Event::Timer) come at `at`, once, in place of what was set for
    /// this token.
    pub fn set_timer(&mut self, token: Token, at: Instant) {
        self.list.push(Action::SetTimer(token, at));
    }

    /// Has it not come.
    pub fn cancel_timer(&mut self, token: Token) {
        self.list.push(Action::CancelTimer(token));
    }

    /// Asks the name resolver to look again, as soon as its own rules allow.
    pub fn resolve(&mut self) {
        self.list.push(Action::Resolve);
    }

    /// Publishes what calls find from now on. [`ChannelState::Shutdown`] is the channel's to say,
    /// when it is [closed](crate::Channel::close): from a policy it counts as
    /// [`ChannelState::TransientFailure`].
    pub fn update(&mut self, state: ChannelState, picker: Arc<dyn Picker>) {
        let state = match state {
            ChannelState::Shutdown => ChannelState::TransientFailure,
            other => other,
        };
        self.update = Some(Update { state, picker });
    }

    /// Takes back what was published last, for a policy that contains the one that did.
    pub fn take_update(&mut self) -> Option<Update> {
        self.update.take()
    }

    /// A random number (SplitMix64).
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`, which is at least 1.
    pub fn random_below(&mut self, end: usize) -> usize {
        let random = self.random() % (end.max(1) as u64);
        usize::try_from(random).unwrap_or(0)
    }

    /// Evenly from [0, 1).
    pub(super) fn random_part(&mut self) -> f64 {
        // 53 bits are what a float holds.
        (self.random() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Where the channel leads, for messages.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Takes out what was done so far, except what was [published](Self::update).
    pub fn drain(&mut self) -> Vec<Action> {
        self.ended_scopes.clear();
        std::mem::take(&mut self.list)
    }

    /// What was done behind the first `known` actions.
    pub(crate) fn since(&self, known: usize) -> &[Action] {
        self.list.get(known..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many policies within policies there have been.
    pub(super) fn scopes(&self) -> u64 {
        self.scopes
    }

    pub(super) fn new_scope(&mut self) -> u64 {
        self.scopes += 1;
        self.scopes
    }

    /// Another policy acts from here on: which did before.
    pub(super) fn enter(&mut self, scope: u64) -> u64 {
        std::mem::replace(&mut self.scope, scope)
    }

    pub(super) fn end_scope(&mut self, scope: u64) {
        self.ended_scopes.push(scope);
    }

    /// Policies within policies that are gone, since it was drained last.
    pub(super) fn ended_scopes(&self) -> &[u64] {
        &self.ended_scopes
    }

    /// The place of a subchannel that is gone may be used again.
    pub(super) fn free(&mut self, id: SubchannelId) {
        self.ids.free(id);
    }
}

/// Which places in tables are in use.
#[derive(Debug, Default)]
struct Ids {
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Ids {
    fn next(&mut self) -> SubchannelId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("subchannels in memory are < 2^32")
        });
        SubchannelId { index, generation: self.generations[index as usize] }
    }

    fn free(&mut self, id: SubchannelId) {
        if let Some(generation) = self.generations.get_mut(id.index())
            && *generation == id.generation
        {
            *generation = generation.wrapping_add(1);
            self.free.push(id.index);
        }
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Actions");
        shown.field("list", &self.list).field("update", &self.update).finish_non_exhaustive()
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("state", &self.state).finish_non_exhaustive()
    }
}
