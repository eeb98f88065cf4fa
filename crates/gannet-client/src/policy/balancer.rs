//! The machine of a whole channel: its policy, the subchannels of that, and what each of them is
//! connected to.
//!
//! What happens comes in through `handle_*` and the other verbs, with the time; what is to be done
//! comes out of [`effects`](Balancer::effects), and what calls find out of [`state`] and
//! [`picker`]. Subchannels with the same address share one [`Backend`], so that a policy may forget
//! and make them as it likes, and no connection is lost for that.
//!
//! [`state`]: Balancer::state
//! [`picker`]: Balancer::picker

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use gannet_core::Status;

use super::subchannel::Subchannel;
use super::{
    Action, Actions, BackoffConfig, ChannelState, Event, Picker, Policy, Queueing, SubchannelId,
    SubchannelState, Token, Update,
};
use crate::name::{Address, Resolution};

/// Makes a policy, each time that a channel leaves the idle state.
pub(crate) type MakePolicy = Arc<dyn Fn() -> Box<dyn Policy> + Send + Sync>;

/// Names an address that a channel is connected to, or may be. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BackendId(u64);

/// What the owner of a [`Balancer`] is to do.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Start an attempt, which is the `attempt`-th for this backend.
    Dial { backend: BackendId, address: Address, attempt: u64, give_up_at: Option<Instant> },
    /// Start to watch the health of a backend that is connected.
    WatchHealth(BackendId),
    /// Give up what there is for a backend: an attempt, or a connection, after its calls.
    Abandon(BackendId),
    /// The name is to be resolved again.
    Resolve,
}

/// See the module.
pub(crate) struct Balancer {
    make: MakePolicy,
    /// `None` while idle.
    policy: Option<Box<dyn Policy>>,
    actions: Actions,
    backoff: BackoffConfig,
    /// Whether somebody will tell of the health of backends.
    checks_health: bool,
    backends: BTreeMap<BackendId, Backend>,
    by_address: HashMap<Address, BackendId>,
    backends_made: u64,
    subchannels: Vec<Option<Handle>>,
    /// Backends that may have lost their last subchannel.
    forsaken: Vec<BackendId>,
    timers: BTreeSet<(Instant, Due)>,
    policy_timers: HashMap<Token, Instant>,
    events: VecDeque<Event>,
    effects: Vec<Effect>,
    state: ChannelState,
    picker: Arc<dyn Picker>,
    is_changed: bool,
    /// With which the policy has panicked. It is not told anything then.
    panic: Option<String>,
}

/// One address.
struct Backend {
    address: Address,
    machine: Subchannel,
    /// Attempts ever.
    attempts: u64,
    subchannels: Vec<SubchannelId>,
    /// What is known since it is connected, once somebody watches.
    health: Option<SubchannelState>,
}

/// A subchannel that the policy has.
struct Handle {
    generation: u32,
    backend: BackendId,
    watches_health: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Backoff(BackendId),
    Policy(Token),
}

impl Balancer {
    pub(crate) fn new(
        make: MakePolicy,
        actions: Actions,
        backoff: BackoffConfig,
        checks_health: bool,
    ) -> Balancer {
        Balancer {
            make,
            policy: None,
            actions,
            backoff,
            checks_health,
            backends: BTreeMap::new(),
            by_address: HashMap::new(),
            backends_made: 0,
            subchannels: Vec::new(),
            forsaken: Vec::new(),
            timers: BTreeSet::new(),
            policy_timers: HashMap::new(),
            events: VecDeque::new(),
            effects: Vec::new(),
            state: ChannelState::Idle,
            picker: Arc::new(Queueing),
            is_changed: false,
            panic: None,
        }
    }

    /// Leaves the idle state. The name is to be resolved.
    pub(crate) fn start(&mut self) {
        if self.policy.is_none() {
            self.policy = Some((self.make)());
            self.publish(Update { state: ChannelState::Connecting, picker: Arc::new(Queueing) });
        }
    }

    /// Enters the idle state: there is no policy, no subchannel and no timer then.
    pub(crate) fn stop(&mut self) {
        self.policy = None;
        self.panic = None;
        self.events.clear();
        self.timers.clear();
        self.policy_timers.clear();
        // What the policy did and nobody has seen.
        drop(self.actions.drain());
        drop(self.actions.take_update());
        for index in 0..self.subchannels.len() {
            let Some(handle) = self.subchannels[index].take() else { continue };
            let index = u32::try_from(index).expect("made from such a number");
            self.actions.free(SubchannelId { index, generation: handle.generation });
        }
        self.by_address.clear();
        let backends = std::mem::take(&mut self.backends);
        self.effects.extend(backends.into_keys().map(Effect::Abandon));
        self.publish(Update { state: ChannelState::Idle, picker: Arc::new(Queueing) });
    }

    /// With which the policy has panicked, where it has: nothing comes of it until it is
    /// [stopped](Self::stop).
    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// Whether there is a policy.
    pub(crate) fn is_started(&self) -> bool {
        self.policy.is_some()
    }

    /// What the name stands for, or why that is not known.
    pub(crate) fn handle_names(&mut self, names: Result<Resolution, Status>, now: Instant) {
        self.handle(
            match names {
                Ok(resolution) => Event::Resolved(resolution),
                Err(status) => Event::ResolverFailed(status),
            },
            now,
        );
    }

    /// A connection is wanted.
    pub(crate) fn exit_idle(&mut self, now: Instant) {
        self.handle(Event::ExitIdle, now);
    }

    /// A call waits for this.
    pub(crate) fn wake(&mut self, token: Token, now: Instant) {
        self.handle(Event::Wake(token), now);
    }

    /// Attempts are to be made at once.
    pub(crate) fn reset_backoff(&mut self, now: Instant) {
        let ids: Vec<BackendId> = self.backends.keys().copied().collect();
        for id in ids {
            let Some(backend) = self.backends.get_mut(&id) else { continue };
            let at = backend.machine.retry_at();
            if backend.machine.reset_backoff() {
                if let Some(at) = at {
                    self.timers.remove(&(at, Due::Backoff(id)));
                }
                self.tell(id);
            }
        }
        self.handle(Event::ResetBackoff, now);
    }

    /// An attempt has succeeded. False where nobody wants the connection.
    pub(crate) fn handle_established(&mut self, id: BackendId, attempt: u64, now: Instant) -> bool {
        if !self.is_attempt(id, attempt) {
            return false;
        }
        if let Some(backend) = self.backends.get_mut(&id) {
            backend.machine.established();
            backend.health = None;
            // The table is another one, whatever the policy makes of it.
            self.is_changed = true;
            self.tell(id);
        }
        self.run(now);
        true
    }

    /// An attempt has failed.
    pub(crate) fn handle_failed(
        &mut self,
        id: BackendId,
        attempt: u64,
        error: Status,
        now: Instant,
    ) {
        if !self.is_attempt(id, attempt) {
            return;
        }
        if let Some(backend) = self.backends.get_mut(&id) {
            backend.machine.failed(now, error);
            if let Some(at) = backend.machine.retry_at() {
                self.timers.insert((at, Due::Backoff(id)));
            }
            self.tell(id);
        }
        self.run(now);
    }

    /// Whether this attempt is under way.
    pub(crate) fn is_attempt(&self, id: BackendId, attempt: u64) -> bool {
        self.backends.get(&id).is_some_and(|backend| {
            backend.attempts == attempt
                && matches!(backend.machine.state(), SubchannelState::Connecting)
        })
    }

    /// A connection is lost, or takes no calls any more.
    pub(crate) fn handle_lost(&mut self, id: BackendId, now: Instant) {
        if let Some(backend) = self.backends.get_mut(&id)
            && backend.machine.lost()
        {
            backend.health = None;
            self.is_changed = true;
            self.tell(id);
        }
        self.run(now);
    }

    /// Somebody asked a connected backend how it feels.
    pub(crate) fn handle_health(&mut self, id: BackendId, health: SubchannelState, now: Instant) {
        if let Some(backend) = self.backends.get_mut(&id)
            && backend.machine.state().is_ready()
        {
            for subchannel in &backend.subchannels {
                if self.subchannels[subchannel.index()].as_ref().is_some_and(|h| h.watches_health) {
                    self.events.push_back(Event::Health(*subchannel, health.clone()));
                }
            }
            backend.health = Some(health);
        }
        self.run(now);
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // Those that are due now: what they set to this moment comes next time, so that others get
        // to run.
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).copied().collect();
        for (at, due) in due {
            if !self.timers.remove(&(at, due)) {
                // Cancelled by one of the others.
                continue;
            }
            match due {
                Due::Backoff(id) => {
                    let backend = self.backends.get_mut(&id);
                    if backend.is_some_and(|backend| backend.machine.handle_timeout(now)) {
                        self.tell(id);
                    }
                }
                Due::Policy(token) => {
                    self.policy_timers.remove(&token);
                    self.events.push_back(Event::Timer(token));
                }
            }
            self.run(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done, since this was asked last.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What the policy's connections come to.
    pub(crate) fn state(&self) -> ChannelState {
        self.state
    }

    /// What decides for each call.
    pub(crate) fn picker(&self) -> &Arc<dyn Picker> {
        &self.picker
    }

    /// Whether state, picker or [table](Self::table) have changed since this was asked last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Each place of a table of subchannels: what is connected there, of which generation.
    pub(crate) fn table(&self) -> impl Iterator<Item = Option<(u32, BackendId)>> {
        self.subchannels.iter().map(|handle| {
            let handle = handle.as_ref()?;
            let is_ready = self.backends.get(&handle.backend)?.machine.state().is_ready();
            is_ready.then_some((handle.generation, handle.backend))
        })
    }

    /// What is being tried, for who waited for it in vain.
    pub(crate) fn attempts_told(&self) -> String {
        let mut told = String::new();
        let trying = self
            .backends
            .values()
            .filter(|backend| matches!(backend.machine.state(), SubchannelState::Connecting));
        for backend in trying.take(TOLD_MAX) {
            let separator = if told.is_empty() { "" } else { ", " };
            let (address, attempt) = (&backend.address, backend.machine.attempts());
            // Writing to a string cannot fail.
            let _ = write!(told, "{separator}{address} [attempt {attempt}, CONNECTING]");
        }
        told
    }

    fn handle(&mut self, event: Event, now: Instant) {
        self.events.push_back(event);
        self.run(now);
    }

    /// Tells all subchannels of a backend what it is doing.
    fn tell(&mut self, id: BackendId) {
        let Some(backend) = self.backends.get(&id) else { return };
        let state = backend.machine.state();
        let told = backend.subchannels.iter().map(|id| Event::Subchannel(*id, state.clone()));
        self.events.extend(told);
    }

    /// Has the policy handle all events, and does what it does.
    fn run(&mut self, now: Instant) {
        while let Some(event) = self.events.pop_front() {
            if let Event::Subchannel(id, _) | Event::Health(id, _) = &event
                && self.handle_of(*id).is_none()
            {
                // Removed since.
                continue;
            }
            let Some(policy) = self.policy.as_mut().filter(|_| self.panic.is_none()) else { break };
            let actions = &mut self.actions;
            // What it leaves behind is not looked at: nothing is left of it but to be dropped.
            let handled = catch_unwind(AssertUnwindSafe(|| policy.handle(event, now, actions)));
            if let Err(panic) = handled {
                self.panic = Some(told_by(&*panic));
                break;
            }
            for action in self.actions.drain() {
                self.act(action, now);
            }
            if let Some(update) = self.actions.take_update() {
                self.publish(update);
            }
        }
        self.events.clear();
        self.clear_forsaken();
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Create(id, address) => self.create(id, &address),
            Action::Connect(id) => self.connect(id, now),
            Action::WatchHealth(id) => self.watch_health(id),
            Action::Remove(id) => self.remove(id),
            Action::SetTimer(token, at) => {
                self.cancel(token);
                self.policy_timers.insert(token, at);
                self.timers.insert((at, Due::Policy(token)));
            }
            Action::CancelTimer(token) => self.cancel(token),
            Action::Resolve => self.effects.push(Effect::Resolve),
        }
    }

    fn create(&mut self, id: SubchannelId, address: &Address) {
        let known = self.by_address.get(address).copied();
        let backend_id = known.unwrap_or_else(|| {
            self.backends_made += 1;
            let made = BackendId(self.backends_made);
            self.by_address.insert(address.clone(), made);
            let backend = Backend {
                address: address.clone(),
                machine: Subchannel::new(self.backoff.clone()),
                attempts: 0,
                subchannels: Vec::new(),
                health: None,
            };
            self.backends.insert(made, backend);
            made
        });
        let Some(backend) = self.backends.get_mut(&backend_id) else { return };
        backend.subchannels.push(id);
        if backend.machine.state().state() != ChannelState::Idle {
            self.events.push_back(Event::Subchannel(id, backend.machine.state().clone()));
        }
        let index = id.index();
        if self.subchannels.len() <= index {
            self.subchannels.resize_with(index + 1, || None);
        }
        let generation = id.generation();
        self.subchannels[index] =
            Some(Handle { generation, backend: backend_id, watches_health: false });
    }

    fn connect(&mut self, id: SubchannelId, now: Instant) {
        let Some(handle) = self.handle_of(id) else { return };
        let backend_id = handle.backend;
        let random = self.actions.random_part();
        let Some(backend) = self.backends.get_mut(&backend_id) else { return };
        if let Some(begun) = backend.machine.connect(now, random) {
            backend.attempts += 1;
            self.effects.push(Effect::Dial {
                backend: backend_id,
                address: backend.address.clone(),
                attempt: backend.attempts,
                give_up_at: begun.give_up_at,
            });
            self.tell(backend_id);
        }
    }

    fn watch_health(&mut self, id: SubchannelId) {
        let Some(Some(handle)) = self.subchannels.get_mut(id.index()) else { return };
        let Some(backend) = self.backends.get_mut(&handle.backend) else { return };
        if handle.generation != id.generation() || !backend.machine.state().is_ready() {
            return;
        }
        handle.watches_health = true;
        if !self.checks_health {
            self.events.push_back(Event::Health(id, SubchannelState::Ready));
            return;
        }
        match &backend.health {
            Some(health) => self.events.push_back(Event::Health(id, health.clone())),
            None => {
                backend.health = Some(SubchannelState::Connecting);
                self.effects.push(Effect::WatchHealth(handle.backend));
            }
        }
    }

    fn remove(&mut self, id: SubchannelId) {
        if self.handle_of(id).is_none() {
            return;
        }
        let Some(handle) = self.subchannels[id.index()].take() else { return };
        self.actions.free(id);
        if let Some(backend) = self.backends.get_mut(&handle.backend) {
            // Its picker may go on picking it: nothing is connected there any more.
            self.is_changed |= backend.machine.state().is_ready();
            backend.subchannels.retain(|known| *known != id);
            self.forsaken.push(handle.backend);
        }
    }

    fn cancel(&mut self, token: Token) {
        if let Some(at) = self.policy_timers.remove(&token) {
            self.timers.remove(&(at, Due::Policy(token)));
        }
    }

    fn clear_forsaken(&mut self) {
        while let Some(id) = self.forsaken.pop() {
            let Some(backend) = self.backends.get(&id) else { continue };
            if !backend.subchannels.is_empty() {
                continue;
            }
            if let Some(at) = backend.machine.retry_at() {
                self.timers.remove(&(at, Due::Backoff(id)));
            }
            self.by_address.remove(&backend.address);
            self.backends.remove(&id);
            self.effects.push(Effect::Abandon(id));
        }
    }

    fn handle_of(&self, id: SubchannelId) -> Option<&Handle> {
        let handle = self.subchannels.get(id.index())?.as_ref()?;
        (handle.generation == id.generation()).then_some(handle)
    }

    fn publish(&mut self, update: Update) {
        self.state = update.state;
        self.picker = update.picker;
        self.is_changed = true;
    }
}

/// What a panic says.
fn told_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("state", &self.state)
            .field("backends", &self.backends.len())
            .finish_non_exhaustive()
    }
}

/// Addresses that a message names.
const TOLD_MAX: usize = 4;

#[cfg(test)]
impl Balancer {
    /// Backends, subchannels and timers: what a leak would show in.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let subchannels = self.subchannels.iter().flatten().count();
        (self.backends.len(), subchannels, self.timers.len())
    }

    /// What is connected, or is tried.
    pub(super) fn backend_of(&self, id: SubchannelId) -> Option<BackendId> {
        self.handle_of(id).map(|handle| handle.backend)
    }
}
