//! What must hold: how often an address may be dialed, which state may follow which, and how turns
//! are taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::world::{Kind, now};
use crate::policy::{Action, Actions, ChannelState, Event, Policy, SubchannelId, SubchannelState};

/// When addresses, by their numbers, are dialed.
#[derive(Default)]
pub(super) struct Dials {
    /// Since backoff began last.
    rows: HashMap<usize, Vec<Instant>>,
    /// Connections in a row that were good for nothing.
    shorts: HashMap<usize, usize>,
}

impl Dials {
    /// No dial comes earlier than backoff allows: a second from the first, then more.
    pub(super) fn dialed(&mut self, server: usize) {
        let row = self.rows.entry(server).or_default();
        row.push(now());
        let mut least = 1.0_f64;
        for (at, pair) in row.windows(2).enumerate() {
            let waited = (pair[1] - pair[0]).as_secs_f64();
            let spread = if at == 0 { 0.99 } else { 0.79 };
            assert!(waited >= least * spread, "{server} is dialed again after {waited} s");
            least = (least * 1.6).min(120.0);
        }
    }

    /// A connection is lost. Backoff starts over where it was good for something, and once where it
    /// was not.
    pub(super) fn lost(&mut self, server: usize, was_good: bool) {
        let shorts = self.shorts.entry(server).or_default();
        *shorts = if was_good { 0 } else { *shorts + 1 };
        if *shorts <= 1 {
            self.rows.remove(&server);
        }
    }

    /// The address was forgotten, or the application has reset the backoff.
    pub(super) fn forgotten(&mut self, server: usize) {
        self.rows.remove(&server);
        self.shorts.remove(&server);
    }

    pub(super) fn forget_all(&mut self) {
        *self = Dials::default();
    }
}

/// A policy around another one, which looks at what that is told and what it publishes.
pub(super) struct Spy {
    pub(super) inner: Box<dyn Policy>,
    pub(super) kind: Kind,
    pub(super) seen: Seen,
}

/// What it has seen.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<States>>);

#[derive(Default)]
struct States {
    subchannels: BTreeMap<SubchannelId, ChannelState>,
    /// Those that the policy has.
    made: BTreeSet<SubchannelId>,
    channel: Option<ChannelState>,
    /// A connection, since the channel began to fail.
    has_lost: bool,
    changes: usize,
}

impl Seen {
    /// How often a state has changed.
    pub(super) fn changes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// A policy begins.
    pub(super) fn begin(&self) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (states.channel, states.subchannels, states.made) = Default::default();
    }
}

impl States {
    /// The machine of `connectivity-semantics-and-api.md`, with backoff between a failure and the
    /// next attempt (A61): what may follow. A subchannel that is made may find any state.
    fn told(&mut self, id: SubchannelId, state: &SubchannelState) {
        use ChannelState::{Connecting, Idle, Ready, TransientFailure};
        let state = state.state();
        let before = self.subchannels.insert(id, state);
        let is_legal = matches!(
            (before, state),
            (None, _)
                | (Some(Idle), Connecting)
                | (Some(Connecting), Ready | TransientFailure)
                | (Some(Ready | TransientFailure), Idle)
        );
        self.has_lost |= before == Some(Ready);
        assert!(is_legal, "a subchannel goes from {before:?} to {state:?}");
        self.changes += 1;
    }

    fn is_connected(&self) -> bool {
        self.subchannels.values().any(|state| *state == ChannelState::Ready)
    }

    /// What was there when the policy was told of other names.
    fn before(&self) -> Before {
        Before { was_connected: self.is_connected(), had_none: self.made.is_empty() }
    }

    /// What all of them together may become; and what was there when other names came, which tell
    /// the policy of it.
    fn published(&mut self, kind: Kind, state: ChannelState, names: Option<Before>) {
        use ChannelState::{Connecting, Idle, Ready, Shutdown, TransientFailure};
        let before = self.channel.replace(state);
        let is_connected = self.is_connected();
        let is_legal = match (before, state) {
            (_, Shutdown) => false,
            // pick_first waits for a call; round_robin connects.
            (_, Idle) => kind != Kind::RoundRobin && !is_connected,
            (_, Ready) => is_connected && before != Some(Idle),
            // A failure to connect stays until something is connected (A61, A62); one of health
            // goes with the name of its connection, and one of the name with the next name. Under
            // round_robin there may be another endpoint, or one whose connection is lost that was
            // not healthy.
            (Some(TransientFailure), Connecting) if kind != Kind::RoundRobin => {
                is_connected || names.is_some_and(|names| names.was_connected || names.had_none)
            }
            (Some(TransientFailure), Connecting) => {
                is_connected || names.is_some() || self.has_lost
            }
            (_, Connecting | TransientFailure) => true,
        };
        self.has_lost &= state != TransientFailure;
        assert!(is_legal, "the channel goes from {before:?} to {state:?}, {is_connected}");
        self.changes += usize::from(before != Some(state));
    }
}

#[derive(Clone, Copy)]
struct Before {
    was_connected: bool,
    had_none: bool,
}

impl Policy for Spy {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        let mut states = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Subchannel(id, state) => states.told(*id, state),
            Event::Health(id, state) => {
                let is_connected = states.subchannels.get(id) == Some(&ChannelState::Ready);
                assert!(is_connected, "it is not connected, and feels {state:?}");
                assert!(!matches!(state, SubchannelState::Idle), "health is never idle");
            }
            _ => {}
        }
        let before = states.before();
        drop(states);
        let names = matches!(event, Event::Resolved(_)).then_some(before);
        let done = actions.len();
        self.inner.handle(event, now, actions);
        let mut states = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        for action in actions.since(done) {
            match action {
                Action::Create(id, _) => drop(states.made.insert(*id)),
                Action::Remove(id) => {
                    states.made.remove(id);
                    states.subchannels.remove(id);
                }
                _ => {}
            }
        }
        let update = actions.take_update();
        if let Some(update) = &update {
            states.published(self.kind, update.state, names);
        }
        // The first addresses are tried: nobody is told what was before.
        if names.is_some_and(|names| names.had_none) && !states.made.is_empty() {
            let state = states.channel;
            assert_eq!(state, Some(ChannelState::Connecting), "the first addresses have come");
        }
        drop(states);
        if let Some(update) = update {
            actions.update(update.state, update.picker);
        }
    }
}

/// How often each was picked by one thread, while nothing happened.
#[derive(Default)]
pub(super) struct Turns(HashMap<usize, BTreeMap<SubchannelId, usize>>);

impl Turns {
    pub(super) fn taken(&mut self, lane: usize, id: SubchannelId) {
        *self.0.entry(lane).or_default().entry(id).or_default() += 1;
    }

    /// Nobody has two turns more than another; with picks for all, all of `ready` have one. Of how
    /// many threads there were picks for all.
    pub(super) fn check(&mut self, ready: usize) -> usize {
        let mut judged = 0;
        for (_, counts) in self.0.drain() {
            let (most, least) = (counts.values().max(), counts.values().min());
            let (most, least) = most.copied().zip(least.copied()).unwrap_or((0, 0));
            assert!(most - least <= 1, "turns of {least} to {most}");
            let picks: usize = counts.values().sum();
            let are_enough = ready > 0 && picks >= 2 * ready;
            let all = !are_enough || counts.len() >= ready;
            assert!(all, "{picks} picks leave some of {ready} out: {}", counts.len());
            judged += usize::from(are_enough);
        }
        judged
    }
}
