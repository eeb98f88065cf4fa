//! pick_first: all calls go to the first address that can be connected to (gRFCs A61 and A62).
//!
//! The first pass over the addresses is happy eyeballs (RFC 8305): each is tried a while after the
//! one before it, or at once where one has failed; those that were begun before go on. When all
//! have failed, the state is TRANSIENT_FAILURE until one connects, and each is tried again as soon
//! as its own backoff is over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::Status;

use super::failure::{cannot_connect, joined, no_address, not_healthy};
use super::order::ordered;
use super::{
    Actions, ChannelState, Event, Failing, Only, Policy, Queueing, SubchannelId, SubchannelState,
    Token, moment,
};
use crate::name::{Address, Resolution};

/// How long after an attempt the next one starts beside it: what A61 and RFC 8305 recommend.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// What A61 and RFC 8305 allow it to be set to.
const ATTEMPT_DELAY_MIN: Duration = Duration::from_millis(100);
/// See [`ATTEMPT_DELAY_MIN`].
const ATTEMPT_DELAY_MAX: Duration = Duration::from_secs(2);

/// All calls go to the first address that can be connected to: see
/// [`ChannelBuilder::balance`](crate::ChannelBuilder::balance). The default.
///
/// Addresses are tried in the order of the name resolver, IPv4 and IPv6 taking turns, each 250 ms
/// after the one before it or when one has failed (happy eyeballs, gRFC A61). When the connection
/// is lost, the channel is idle, and the next call connects. While nothing can be connected to, it
/// is in TRANSIENT_FAILURE, and goes on trying (gRFC A62).
#[derive(Debug)]
pub struct PickFirst {
    shuffle: bool,
    delay: Duration,
    /// In the order in which they are tried, as told last.
    addresses: Vec<Address>,
    /// Those that are tried or, where one is selected, that alone.
    slots: Vec<Slot>,
    phase: Phase,
    /// An attempt of this pass has failed.
    has_failed: bool,
    /// When the next is tried beside the others.
    timer: Option<Token>,
    /// When that comes.
    due: Option<Instant>,
    /// As published; `None` before.
    state: Option<ChannelState>,
}

#[derive(Debug)]
struct Slot {
    id: SubchannelId,
    address: Address,
    state: ChannelState,
    /// How it failed last.
    failure: Option<Status>,
    /// It has failed in this pass, or was in backoff from before.
    is_tried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Not connected, and not trying.
    Resting,
    /// The first pass: what lies before this place was begun.
    Pass(usize),
    /// Each is tried when it may be; so many have failed since the name was to be resolved.
    Retrying(usize),
    /// Connected.
    Selected,
}

impl PickFirst {
    /// With addresses in the name resolver's order.
    pub fn new() -> PickFirst {
        PickFirst {
            shuffle: false,
            delay: ATTEMPT_DELAY,
            addresses: Vec::new(),
            slots: Vec::new(),
            phase: Phase::Resting,
            has_failed: false,
            timer: None,
            due: None,
            state: None,
        }
    }

    /// Puts endpoints in random order whenever they are told, so that clients spread over servers
    /// although each has one connection (gRFC A62, `shuffleAddressList`).
    #[must_use]
    pub fn shuffled(mut self) -> PickFirst {
        self.shuffle = true;
        self
    }

    /// How long after an attempt the next one starts beside it (default 250 ms; 100 ms to 2 s, and
    /// what lies outside is moved there). What a name stands for that is resolved with each
    /// connection (`passthrough:`) is tried within one attempt, always 250 ms apart.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> PickFirst {
        self.delay = delay.clamp(ATTEMPT_DELAY_MIN, ATTEMPT_DELAY_MAX);
        self
    }

    fn resolved(&mut self, resolution: Resolution, now: Instant, actions: &mut Actions) {
        let addresses = ordered(resolution.endpoints, self.shuffle, actions);
        if self.is_trying(&addresses) {
            return;
        }
        self.addresses = addresses;
        if self.addresses.is_empty() {
            self.clear(actions);
            self.fail_with(no_address(actions), actions);
            return actions.resolve();
        }
        match self.phase {
            Phase::Selected if self.selected_is_known() => {}
            Phase::Resting if self.state == Some(ChannelState::Idle) => {}
            _ => self.begin_pass(now, actions),
        }
    }

    /// Whether these are tried already. It may have come to some of them, and does not begin anew.
    /// Another order, where that is left to chance, is no other list.
    fn is_trying(&self, addresses: &[Address]) -> bool {
        let is_trying = matches!(self.phase, Phase::Pass(_) | Phase::Retrying(_));
        is_trying
            && match self.shuffle {
                false => self.addresses == *addresses,
                true => {
                    let known: HashSet<&Address> = self.addresses.iter().collect();
                    known.len() == addresses.len() && addresses.iter().all(|a| known.contains(a))
                }
            }
    }

    fn selected_is_known(&self) -> bool {
        self.slots.first().is_some_and(|slot| self.addresses.contains(&slot.address))
    }

    /// Tries all addresses in turn. Those that have a subchannel keep it, and where the pass before
    /// is not over, the next is begun when it would have been.
    fn begin_pass(&mut self, now: Instant, actions: &mut Actions) {
        let due = self.due.filter(|_| matches!(self.phase, Phase::Pass(_)));
        let had_none = self.slots.is_empty();
        let mut old = std::mem::take(&mut self.slots);
        for address in &self.addresses {
            let known = old.iter().position(|slot| slot.address == *address);
            let mut slot = match known {
                Some(at) => old.swap_remove(at),
                None => Slot {
                    id: actions.create(address),
                    address: address.clone(),
                    state: ChannelState::Idle,
                    failure: None,
                    is_tried: false,
                },
            };
            slot.is_tried = slot.state == ChannelState::TransientFailure;
            self.slots.push(slot);
        }
        for slot in old {
            actions.remove(slot.id);
        }
        // A failure lasts until something connects (gRFC A62), if it is one to connect: what was
        // connected, and felt unwell, is gone; a name without an address has one now.
        let failed_otherwise = had_none || self.phase == Phase::Selected;
        self.phase = Phase::Pass(0);
        self.has_failed = false;
        if failed_otherwise || self.state != Some(ChannelState::TransientFailure) {
            self.publish(ChannelState::Connecting, actions);
        }
        let is_begun = self.slots.iter().any(|slot| slot.state == ChannelState::Connecting);
        match due.filter(|due| is_begun && *due > now) {
            Some(due) => self.wait_on(due, actions),
            None => self.advance(now, actions),
        }
    }

    /// The list is another one, and what was begun goes on: the next is begun when it would have
    /// been. However often lists come, the pass gets on.
    fn wait_on(&mut self, due: Instant, actions: &mut Actions) {
        let is_begun = |slot: &&Slot| slot.is_tried || slot.state == ChannelState::Connecting;
        let begun = self.slots.iter().take_while(is_begun).count();
        self.phase = Phase::Pass(begun);
        self.stop_timer(actions);
        if begun < self.slots.len() {
            self.set_timer(due, actions);
        }
    }

    /// Begins the next address of the first pass.
    fn advance(&mut self, now: Instant, actions: &mut Actions) {
        self.stop_timer(actions);
        let Phase::Pass(mut at) = self.phase else { return };
        while let Some(slot) = self.slots.get(at) {
            at += 1;
            self.phase = Phase::Pass(at);
            if slot.is_tried || slot.state == ChannelState::TransientFailure {
                continue;
            }
            // One that is connecting already is as good as begun.
            if slot.state == ChannelState::Idle {
                actions.connect(slot.id);
            }
            if at < self.slots.len()
                && let Some(due) = moment(now, self.delay)
            {
                self.set_timer(due, actions);
            }
            return;
        }
        self.end_pass(actions);
    }

    fn set_timer(&mut self, due: Instant, actions: &mut Actions) {
        let timer = *self.timer.get_or_insert_with(|| actions.token());
        actions.set_timer(timer, due);
        self.due = Some(due);
    }

    fn stop_timer(&mut self, actions: &mut Actions) {
        if let Some(timer) = self.timer {
            actions.cancel_timer(timer);
        }
        self.due = None;
    }

    /// When all have failed, each is tried for itself.
    fn end_pass(&mut self, actions: &mut Actions) {
        if !self.slots.iter().all(|slot| slot.is_tried) {
            return;
        }
        self.phase = Phase::Retrying(0);
        self.fail_with_slots(actions);
        // Where all are in backoff from before, the name that was just told is as good as known.
        if self.has_failed {
            actions.resolve();
        }
        for slot in self.slots.iter().filter(|slot| slot.state == ChannelState::Idle) {
            actions.connect(slot.id);
        }
    }

    fn subchannel(
        &mut self,
        id: SubchannelId,
        state: SubchannelState,
        now: Instant,
        actions: &mut Actions,
    ) {
        let count = self.slots.len();
        let Some(at) = self.slots.iter().position(|slot| slot.id == id) else { return };
        let slot = &mut self.slots[at];
        slot.state = state.state();
        match state {
            SubchannelState::Connecting => {}
            SubchannelState::Ready => self.select(at, actions),
            SubchannelState::Idle => match self.phase {
                Phase::Selected => self.lost(actions),
                Phase::Retrying(_) => actions.connect(id),
                // It has failed, and waits for the end of the pass; or it was told to connect and
                // is to be told again.
                Phase::Pass(begun) if at < begun && !slot.is_tried => actions.connect(id),
                Phase::Pass(_) | Phase::Resting => {}
            },
            SubchannelState::TransientFailure(failure) => {
                slot.failure = Some(failure);
                slot.is_tried = true;
                self.has_failed = true;
                match self.phase {
                    Phase::Pass(_) => self.advance(now, actions),
                    Phase::Retrying(failures) => {
                        let failures = (failures + 1) % count;
                        self.phase = Phase::Retrying(failures);
                        if failures == 0 {
                            actions.resolve();
                        }
                        self.fail_with_slots(actions);
                    }
                    Phase::Selected | Phase::Resting => {}
                }
            }
        }
    }

    /// It has won: the others go.
    fn select(&mut self, at: usize, actions: &mut Actions) {
        self.stop_timer(actions);
        let winner = self.slots.swap_remove(at);
        for other in self.slots.drain(..) {
            actions.remove(other.id);
        }
        actions.watch_health(winner.id);
        self.slots.push(winner);
        self.phase = Phase::Selected;
    }

    /// The connection is lost: the next call makes one.
    fn lost(&mut self, actions: &mut Actions) {
        self.phase = Phase::Resting;
        self.publish(ChannelState::Idle, actions);
        actions.resolve();
    }

    /// What the selected subchannel's server says of itself.
    fn health(&mut self, id: SubchannelId, health: SubchannelState, actions: &mut Actions) {
        if self.phase != Phase::Selected || self.slots.first().is_none_or(|slot| slot.id != id) {
            return;
        }
        match health {
            SubchannelState::Ready => {
                self.state = Some(ChannelState::Ready);
                actions.update(ChannelState::Ready, Arc::new(Only(id)));
            }
            SubchannelState::TransientFailure(status) => {
                self.fail_with(not_healthy(&status, actions), actions);
            }
            SubchannelState::Idle | SubchannelState::Connecting => {
                self.publish(ChannelState::Connecting, actions);
            }
        }
    }

    fn clear(&mut self, actions: &mut Actions) {
        self.stop_timer(actions);
        for slot in self.slots.drain(..) {
            actions.remove(slot.id);
        }
        self.phase = Phase::Resting;
    }

    /// Fails calls, telling how each address failed.
    fn fail_with_slots(&mut self, actions: &mut Actions) {
        let failures: Vec<&Status> =
            self.slots.iter().filter_map(|slot| slot.failure.as_ref()).collect();
        if let Some(status) = joined(&failures, actions) {
            self.fail_with(cannot_connect(&status, actions), actions);
        }
    }

    fn fail_with(&mut self, status: Status, actions: &mut Actions) {
        let picker = Arc::new(Failing(status));
        self.state = Some(ChannelState::TransientFailure);
        actions.update(ChannelState::TransientFailure, picker);
    }

    /// A state in which calls wait.
    fn publish(&mut self, state: ChannelState, actions: &mut Actions) {
        if self.state != Some(state) {
            self.state = Some(state);
            actions.update(state, Arc::new(Queueing));
        }
    }
}

impl Default for PickFirst {
    fn default() -> Self {
        PickFirst::new()
    }
}

impl Policy for PickFirst {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => self.resolved(resolution, now, actions),
            Event::ResolverFailed(status) => {
                let is_failing = self.state == Some(ChannelState::TransientFailure);
                if self.addresses.is_empty() || (is_failing && self.slots.is_empty()) {
                    self.fail_with(cannot_connect(&status, actions), actions);
                }
            }
            Event::Subchannel(id, state) => self.subchannel(id, state, now, actions),
            Event::Health(id, health) => self.health(id, health, actions),
            Event::Timer(token) if self.timer == Some(token) => self.advance(now, actions),
            Event::ExitIdle => {
                if self.phase == Phase::Resting && !self.addresses.is_empty() {
                    self.begin_pass(now, actions);
                }
            }
            Event::Timer(_) | Event::Wake(_) | Event::ResetBackoff => {}
        }
    }
}
