//! What changes seldom of a channel: its balancer, its connections, and the task that looks after
//! them. Behind one mutex, which is never held across anything that waits.
//!
//! The balancer says what to do; [`Control::settle`] does what can be done under the lock, and
//! leaves the rest to [`After`]: a runtime that shuts down drops what is spawned on it at once, and
//! what is dropped may take the lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::Status;
use gannet_http2::Keepalive;
use gannet_transport::observe::Disconnect;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use super::Config;
use super::connect::Dial;
use super::manage::{Beginning, Bells, Epoch};
use super::news::News;
use super::published::{Published, Slot};
use crate::link::{Link, LinkCommand};
use crate::policy::{
    Actions, Activity, BackendId, Balancer, ChannelState, Effect, Idleness, Lost, Remains,
    SubchannelState, bury,
};

/// See the module.
pub(super) struct Control {
    pub(super) balancer: Balancer,
    pub(super) idleness: Idleness,
    /// What there is for each backend of the balancer's.
    live: HashMap<BackendId, Live>,
    /// Connections that take no new calls, and have not ended.
    draining: Vec<Arc<Link>>,
    /// Keepalive of the next connection.
    pub(super) keepalive: Option<Keepalive>,
    pub(super) epoch: Epoch,
    pub(super) names: Names,
    /// Where tasks run, while the channel is not idle.
    pub(super) runtime: Option<Handle>,
    pub(super) manager: Option<AbortHandle>,
    pub(super) bells: Bells,
    /// When the manager wakes by itself.
    armed: Option<Instant>,
    /// When it looked last.
    looked_at: Option<Instant>,
    /// When it was told to look, where it has not since.
    rung_at: Option<Instant>,
    /// The channel has moved since it left the idle state; and when the name resolver was begun
    /// last, or is to be.
    has_moved: bool,
    resolves_from: Option<Instant>,
    /// Something came of leaving the idle state: a connection, or a failure.
    has_come_to_something: bool,
    /// The last time that the channel was not idle ended before anything came of it.
    pub(super) came_to_nothing: bool,
    pub(super) is_shut_down: bool,
    /// When there was a call last, as far as is known of connections that are gone.
    last_call: Option<Instant>,
    /// What the policy that panicked last has told calls.
    pub(super) panicked: Option<Status>,
    /// For observers, where there are any.
    news: Option<Vec<News>>,
    /// Tasks that are over.
    ended: Vec<AbortHandle>,
}

/// What the resolver has told since the channel left the idle state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Not yet, or what it failed for; it was only just asked.
    Asked,
    /// The same, and it takes its time.
    Late,
    /// Names, at least once.
    Known,
}

/// What there is for one backend.
#[derive(Default)]
struct Live {
    dialing: Option<(u64, Option<AbortHandle>)>,
    link: Option<Arc<Link>>,
    /// Who asks how the server feels.
    health: Option<AbortHandle>,
}

/// What is to be done without the lock.
#[derive(Default)]
pub(super) struct After {
    pub(super) runtime: Option<Handle>,
    /// The channel has left the idle state, or moved.
    pub(super) manage: Option<Beginning>,
    pub(super) dials: Vec<Dial>,
    /// Connections whose servers are to be asked how they feel.
    pub(super) watches: Vec<Arc<Link>>,
    pub(super) aborts: Vec<AbortHandle>,
    /// For observers.
    pub(super) news: Vec<News>,
    /// What calls found before. It may hold what the application made.
    pub(super) published: Option<Arc<Published>>,
    /// What else the application has made, and nobody needs any more.
    pub(super) remains: Remains,
}

impl Control {
    pub(super) fn new(config: &Config) -> Control {
        let actions = Actions::new(config.target.text.as_str(), fastrand::u64(..));
        let policy = Arc::clone(&config.balance.0);
        let checks_health = config.health.is_some();
        let balancer = Balancer::new(policy, actions, config.backoff.clone(), checks_health);
        Control {
            balancer,
            idleness: Idleness::new(config.idle_timeout),
            live: HashMap::new(),
            draining: Vec::new(),
            keepalive: config.keepalive,
            epoch: Epoch::default(),
            names: Names::Asked,
            runtime: None,
            manager: None,
            bells: Bells::default(),
            armed: None,
            looked_at: None,
            rung_at: None,
            has_moved: false,
            resolves_from: None,
            has_come_to_something: false,
            came_to_nothing: false,
            is_shut_down: false,
            last_call: None,
            panicked: None,
            news: (!config.observers.is_empty()).then(Vec::new),
            ended: Vec::new(),
        }
    }

    /// Leaves the idle state, with tasks on this runtime.
    pub(super) fn start(&mut self, runtime: Handle, now: Instant) {
        self.names = Names::Asked;
        self.settle_on(runtime, now);
        (self.has_moved, self.resolves_from) = (false, Some(now));
        self.has_come_to_something = false;
        self.idleness.start(now);
        self.balancer.start();
    }

    /// Goes on with tasks on this runtime, in place of those on another. What is known of names and
    /// addresses stays, and when each may be tried again.
    pub(super) fn move_to(&mut self, runtime: Handle, now: Instant) {
        self.ended.extend(self.manager.take());
        if self.names == Names::Late {
            self.names = Names::Asked;
        }
        self.settle_on(runtime, now);
        self.has_moved = true;
        // One that is yet to begin begins when it would have.
        let begun = self.resolves_from.filter(|from| *from <= now);
        if let Some(begun) = begun {
            self.resolves_from = Some(now.max(begun + RESOLVER_INTERVAL_MIN));
        }
    }

    fn settle_on(&mut self, runtime: Handle, now: Instant) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.runtime = Some(runtime);
        self.bells = Bells::default();
        (self.armed, self.looked_at, self.rung_at) = (None, Some(now), None);
        self.note_call(now);
    }

    /// Whether tasks run elsewhere than on the caller's runtime, that runtime does not run, and
    /// nothing is connected there.
    pub(super) fn is_dead(&mut self, caller: Id, now: Instant) -> bool {
        let may_leave = self.is_elsewhere(caller) && !self.is_connected();
        self.balancer.is_started() && may_leave && !self.looks(now)
    }

    /// Whether there is a connection that takes calls.
    pub(super) fn is_connected(&self) -> bool {
        let mut links = self.live.values().filter_map(|live| live.link.as_ref());
        links.any(|link| !link.is_retired())
    }

    /// Moves to this runtime, where the one of its tasks [does not run](Self::is_dead).
    pub(super) fn leave_the_dead(&mut self, caller: Id, runtime: Handle, now: Instant) {
        if !self.is_elsewhere(runtime.id()) || !self.is_dead(caller, now) {
            return;
        }
        self.move_to(runtime, now);
        let attempts = self.live.values_mut().filter_map(|live| live.dialing.as_mut());
        self.ended.extend(attempts.filter_map(|(_, task)| task.take()));
        self.balancer.restart_attempts(now);
    }

    /// Whether the manager has looked at the timers, or is to be given the time.
    fn looks(&mut self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < ANSWER_MAX;
        if self.looked_at.is_some_and(is_recent) {
            return true;
        }
        self.rung_at.map_or_else(
            || {
                self.rung_at = Some(now);
                self.bells.timers.ring();
                true
            },
            is_recent,
        )
    }

    /// What the task begins with.
    pub(super) fn beginning(&self) -> Beginning {
        let moved = self.resolves_from.filter(|_| self.has_moved);
        Beginning { epoch: self.epoch, bells: self.bells.clone(), moved }
    }

    /// Enters the idle state.
    pub(super) fn stop(&mut self) {
        if !self.balancer.is_started() {
            return;
        }
        self.came_to_nothing = !self.has_come_to_something;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.ended.extend(self.manager.take());
        self.runtime = None;
        self.idleness.stop();
        self.balancer.stop();
    }

    /// Stops where the policy has panicked: with what.
    pub(super) fn stop_panicked(&mut self) -> Option<String> {
        let panic = self.balancer.panic()?.to_owned();
        self.stop();
        Some(panic)
    }

    /// Whether tasks run elsewhere than this.
    pub(super) fn is_elsewhere(&self, runtime: Id) -> bool {
        self.runtime.as_ref().is_some_and(|known| known.id() != runtime)
    }

    /// The manager looks at the timers: when to do so again.
    pub(super) fn tick(&mut self, now: Instant, is_waited_for: bool) -> Option<Instant> {
        (self.looked_at, self.rung_at) = (Some(now), None);
        self.balancer.handle_timeout(now);
        self.forget_ended();
        let (live, last_call) = (&self.live, self.last_call.unwrap_or(now));
        let is_idle = self.idleness.handle_timeout(now, || {
            if is_waited_for {
                return Activity::Busy;
            }
            let links = live.values().filter_map(|live| live.link.as_ref());
            links.chain(&self.draining).fold(Activity::Since(last_call), |known, link| {
                match (known, link.activity()) {
                    (Activity::Since(one), Activity::Since(two)) => Activity::Since(one.max(two)),
                    _ => Activity::Busy,
                }
            })
        });
        if is_idle {
            self.stop();
        }
        self.armed = self.next_timeout();
        self.armed
    }

    fn next_timeout(&self) -> Option<Instant> {
        let next = [self.balancer.next_timeout(), self.idleness.next_timeout()];
        next.into_iter().flatten().min()
    }

    /// A call was made, or an attempt at one.
    pub(super) fn note_call(&mut self, now: Instant) {
        self.last_call = self.last_call.max(Some(now));
    }

    /// The task of an attempt has begun. Aborted where nobody wants it any more.
    pub(super) fn dialing(&mut self, dial: &Dial, task: AbortHandle, after: &mut After) {
        match self.live.get_mut(&dial.backend).and_then(|live| live.dialing.as_mut()) {
            Some((attempt, handle)) if *attempt == dial.attempt => *handle = Some(task),
            _ => after.aborts.push(task),
        }
    }

    /// A connection is made. False where nobody wants it.
    pub(super) fn established(&mut self, dial: &Dial, link: &Arc<Link>, now: Instant) -> bool {
        let Some(live) = self.live.get_mut(&dial.backend) else { return false };
        if !self.balancer.is_attempt(dial.backend, dial.attempt) {
            return false;
        }
        *live = Live { dialing: None, link: Some(Arc::clone(link)), health: None };
        self.note(|| News::Opened(Arc::clone(link)));
        self.balancer.handle_established(dial.backend, dial.attempt, now)
    }

    /// An attempt has failed, which perhaps nobody wants any more.
    pub(super) fn failed(&mut self, dial: &Dial, why: Status, now: Instant) {
        if self.balancer.is_attempt(dial.backend, dial.attempt) {
            self.note(|| News::Failed(dial.address.to_string(), why.clone()));
        }
        self.balancer.handle_failed(dial.backend, dial.attempt, why, now);
    }

    fn note(&mut self, what: impl FnOnce() -> News) {
        if let Some(news) = &mut self.news {
            news.push(what());
        }
    }

    /// A connection takes no calls any more.
    pub(super) fn lost(
        &mut self,
        link: &Arc<Link>,
        (why, how): (Status, Disconnect),
        now: Instant,
    ) {
        let Some(live) = self.live_of(link) else { return };
        live.link = None;
        let health = live.health.take();
        self.ended.extend(health);
        self.note_draining(Arc::clone(link));
        self.note(|| News::Closed(Arc::clone(link), how));
        let lost = Lost { has_served: link.has_served(), why };
        self.balancer.handle_lost(link.backend(), lost, now);
    }

    /// The task that asks how a connection's server feels has begun. Aborted where nobody wants to
    /// know any more.
    pub(super) fn watching(&mut self, link: &Arc<Link>, task: AbortHandle, after: &mut After) {
        match self.live_of(link) {
            Some(live) => after.aborts.extend(live.health.replace(task)),
            None => after.aborts.push(task),
        }
    }

    /// What a connection's server said of itself.
    pub(super) fn felt(&mut self, link: &Arc<Link>, health: SubchannelState, now: Instant) {
        if self.live_of(link).is_some() {
            self.balancer.handle_health(link.backend(), health, now);
        }
    }

    /// What there is for a connection, as long as it takes calls.
    fn live_of(&mut self, link: &Arc<Link>) -> Option<&mut Live> {
        let live = self.live.get_mut(&link.backend())?;
        live.link.as_ref().is_some_and(|known| Arc::ptr_eq(known, link)).then_some(live)
    }

    /// A connection takes no new calls: those that are on it count until it has ended.
    fn note_draining(&mut self, link: Arc<Link>) {
        self.forget_ended();
        self.draining.push(link);
    }

    fn forget_ended(&mut self) {
        let last_call = &mut self.last_call;
        self.draining.retain(|link| {
            if link.has_ended()
                && let Activity::Since(since) = link.activity()
            {
                *last_call = (*last_call).max(Some(since));
            }
            !link.has_ended()
        });
    }

    /// Does what the balancer wants, as far as that can be done here, and publishes what calls find
    /// through `publish`.
    pub(super) fn settle(
        &mut self,
        publish: impl FnOnce(ChannelState, Published) -> Arc<Published>,
    ) -> After {
        let mut after = After { runtime: self.runtime.clone(), ..After::default() };
        for effect in self.balancer.effects() {
            match effect {
                Effect::Dial { backend, address, attempt, nth, give_up_at } => {
                    let live = self.live.entry(backend).or_default();
                    live.dialing = Some((attempt, None));
                    after.dials.push(Dial { backend, address, attempt, nth, give_up_at });
                }
                Effect::WatchHealth(backend) => {
                    let live = self.live.get(&backend);
                    after.watches.extend(live.and_then(|live| live.link.clone()));
                }
                Effect::Abandon(backend) => {
                    after.dials.retain(|dial| dial.backend != backend);
                    let Some(live) = self.live.remove(&backend) else { continue };
                    after.aborts.extend(live.dialing.and_then(|(_, task)| task));
                    after.aborts.extend(live.health);
                    if let Some(link) = live.link {
                        link.retire();
                        link.push(LinkCommand::Close);
                        self.note(|| News::Closed(Arc::clone(&link), Disconnect::Shutdown));
                        self.note_draining(link);
                    }
                }
                Effect::Resolve => self.bells.names.ask(),
            }
        }
        if self.balancer.take_changed() && !self.is_shut_down {
            let state = self.balancer.state();
            let has_come_to = matches!(state, ChannelState::Ready | ChannelState::TransientFailure);
            self.has_come_to_something |= has_come_to;
            self.came_to_nothing &= !has_come_to;
            let published =
                Published::new(self.balancer.picker(), self.balancer.always(), self.links());
            after.published = Some(publish(state, published));
        }
        after.aborts.append(&mut self.ended);
        after.news = self.news.as_mut().map(std::mem::take).unwrap_or_default();
        after.remains = self.balancer.take_remains();
        if self.balancer.is_started() && self.next_timeout() != self.armed {
            self.bells.timers.ring();
        }
        after
    }

    fn links(&self) -> Vec<Option<Slot>> {
        let slot = |(generation, backend): (u32, BackendId)| {
            let link = self.live.get(&backend)?.link.as_ref()?;
            Some((generation, Arc::clone(link)))
        };
        self.balancer.table().map(|place| place.and_then(slot)).collect()
    }
}

impl After {
    /// Ends what is not wanted any more.
    pub(super) fn end(self) {
        for task in self.aborts {
            task.abort();
        }
        bury(self.published);
    }
}

/// How long a task that is told to look may take for it, before it counts as one that nobody runs:
/// longer than a busy runtime takes.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long after a name resolver was begun it may be begun on another runtime.
const RESOLVER_INTERVAL_MIN: Duration = Duration::from_secs(1);
