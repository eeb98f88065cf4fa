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

mod acting;
mod remains;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use gannet_core::Status;

use super::subchannel::Subchannel;
use super::{
    Action, Actions, BackoffConfig, ChannelState, Event, Lost, Picker, Policy, Queueing,
    SubchannelId, SubchannelState, Token, Update,
};
use crate::control_plane::of_resolver;
use crate::name::{Address, Resolution};
use remains::Named;
pub(crate) use remains::{Remains, bury, told_by};
pub(crate) use told::Told;

/// Makes a policy, each time that a channel leaves the idle state.
pub(crate) type MakePolicy = Arc<dyn Fn() -> Box<dyn Policy> + Send + Sync>;

/// Names an address that a channel is connected to, or may be. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BackendId(u64);

/// What the owner of a [`Balancer`] is to do.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Start an attempt: the `attempt`-th ever for this backend, and the `nth` since it was
    /// connected to some good, as messages tell.
    Dial {
        backend: BackendId,
        address: Address,
        attempt: u64,
        nth: u32,
        give_up_at: Option<Instant>,
    },
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
    /// The subchannel that it picks always, where it says so.
    always: Option<SubchannelId>,
    named: Named,
    remains: Remains,
    is_changed: bool,
    /// Somebody has told what the name stands for.
    is_resolved: bool,
    /// With which the policy has panicked. It is not told anything then.
    panic: Option<String>,
    /// Grows with all that is more than a wish of calls.
    news: u64,
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
            always: None,
            named: Named::default(),
            remains: Remains::default(),
            is_changed: false,
            is_resolved: false,
            panic: None,
            news: 0,
        }
    }

    /// Leaves the idle state. The name is to be resolved.
    pub(crate) fn start(&mut self) {
        if self.is_started() {
            return;
        }
        self.news += 1;
        let make = Arc::clone(&self.make);
        self.policy = caught(&mut self.panic, &mut self.remains, || make());
        if self.policy.is_some() {
            self.publish(Update { state: ChannelState::Connecting, picker: Arc::new(Queueing) });
        }
    }

    /// Enters the idle state: there is no policy, no subchannel and no timer then.
    pub(crate) fn stop(&mut self) {
        self.news += 1;
        self.remains.add_policy(self.policy.take());
        self.remains.add_names(std::mem::take(&mut self.named));
        self.panic = None;
        self.is_resolved = false;
        self.forget_events();
        self.timers.clear();
        self.policy_timers.clear();
        // What the policy did and nobody has seen.
        for action in self.actions.drain() {
            if let Action::Create(id, _) = action {
                self.actions.free(id);
            }
        }
        if let Some(update) = self.actions.take_update() {
            self.remains.add_picker(update.picker);
        }
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

    /// Whether it has left the idle state. There is a policy then, or one has panicked.
    pub(crate) fn is_started(&self) -> bool {
        self.policy.is_some() || self.panic.is_some()
    }

    /// What the name stands for, or why that is not known.
    pub(crate) fn handle_names(&mut self, names: Result<Resolution, Status>, now: Instant) {
        self.is_resolved |= names.is_ok();
        let before = self.named.keep(&names);
        self.handle(
            match names {
                Ok(resolution) => Event::Resolved(resolution),
                Err(status) => Event::ResolverFailed(of_resolver(status)),
            },
            now,
        );
        self.remains.add_names(before);
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
            let (at, is_resting) = (backend.machine.retry_at(), backend.machine.is_resting());
            let is_idle = backend.machine.reset_backoff();
            if !is_idle && !is_resting {
                continue;
            }
            if let Some(at) = at {
                self.timers.remove(&(at, Due::Backoff(id)));
            }
            match is_idle {
                true => self.tell(id),
                false => self.dial(id, now),
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
            backend.machine.established(now);
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
    pub(crate) fn handle_lost(&mut self, id: BackendId, lost: Lost, now: Instant) {
        if let Some(backend) = self.backends.get_mut(&id)
            && backend.machine.lost(lost, now)
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
                    let Some(backend) = self.backends.get_mut(&id) else { continue };
                    if backend.machine.is_resting() {
                        self.dial(id, now);
                    } else if backend.machine.handle_timeout(now) {
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

    /// The subchannel to which all calls go, where the picker says so.
    pub(crate) fn always(&self) -> Option<SubchannelId> {
        self.always
    }

    /// What nobody needs any more of the application's.
    pub(crate) fn take_remains(&mut self) -> Remains {
        std::mem::take(&mut self.remains)
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
            let Some(policy) = self.policy.as_mut().filter(|_| self.panic.is_none()) else {
                self.remains.add_event(event);
                break;
            };
            self.news += u64::from(!matches!(event, Event::Wake(_) | Event::ExitIdle));
            let actions = &mut self.actions;
            // What it leaves behind is not looked at: nothing is left of it but to be dropped.
            let handled = caught(&mut self.panic, &mut self.remains, || {
                policy.handle(event, now, actions);
            });
            if handled.is_none() {
                break;
            }
            for action in self.actions.drain() {
                self.act(action, now);
            }
            if let Some(update) = self.actions.take_update() {
                self.publish(update);
            }
        }
        self.forget_events();
        self.clear_forsaken();
    }

    fn forget_events(&mut self) {
        for event in self.events.drain(..) {
            self.remains.add_event(event);
        }
    }

    fn handle_of(&self, id: SubchannelId) -> Option<&Handle> {
        let handle = self.subchannels.get(id.index())?.as_ref()?;
        (handle.generation == id.generation()).then_some(handle)
    }

    fn publish(&mut self, update: Update) {
        let picker = &update.picker;
        let always = caught(&mut self.panic, &mut self.remains, || picker.always());
        self.always = always.flatten();
        self.state = update.state;
        let before = std::mem::replace(&mut self.picker, update.picker);
        self.remains.add_picker(before);
        self.is_changed = true;
    }
}

/// Runs code of the application's: nothing comes of it where it panics.
fn caught<T>(
    panic: &mut Option<String>,
    remains: &mut Remains,
    run: impl FnOnce() -> T,
) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => Some(done),
        Err(thrown) => {
            *panic = Some(told_by(&*thrown));
            remains.add_panic(thrown);
            None
        }
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("state", &self.state)
            .field("backends", &self.backends.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Balancer {
    /// Backends, subchannels and timers: what a leak would show in.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let subchannels = self.subchannels.iter().flatten().count();
        (self.backends.len(), subchannels, self.timers.len())
    }
}
