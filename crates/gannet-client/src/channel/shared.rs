//! What the clones of a channel share: where calls go, or why they go nowhere.
//!
//! What calls find is read without a lock. Everything else changes seldom and is [`Control`]'s.
//! How calls wait for it is in `placing`.

mod placing;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use gannet_core::Status;
use gannet_http2::Keepalive;
use gannet_transport::observe::Disconnect;
use tokio::sync::Notify;

use super::connect::{Connecting, Dial, cut_short};
use super::control::{After, Control, Names};
use super::errors::policy_panicked;
use super::health::HealthWatch;
use super::manage::{Epoch, Manager};
use super::published::{Choice, Placed, Published};
use super::waiting::Wished;
use super::{Config, now};
use crate::blocking::Background;
use crate::call::request::Request;
use crate::link::{LastCall, Link, LinkCommand};
use crate::name::Resolution;
use crate::policy::{Activity, ChannelState, Dropping, Picker, Queueing, SubchannelState, bury};
use placing::Look;

/// See the module.
pub(crate) struct Shared {
    me: Weak<Shared>,
    config: Arc<Config>,
    /// Where calls go.
    published: ArcSwap<Published>,
    /// What the channel is doing.
    state: AtomicU8,
    /// Calls that wait for another picker.
    waiting: AtomicUsize,
    /// How often a policy has panicked.
    panics: AtomicUsize,
    /// How often names were waited for, and have come.
    late_names: AtomicUsize,
    /// When a call found no connection last.
    last_look: LastCall,
    control: Mutex<Control>,
    /// Notified whenever state or picker change.
    changed: Notify,
    background: OnceLock<Background>,
}

/// When the manager is to look again.
pub(super) struct Tick {
    pub(super) next: Option<Instant>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Arc<Shared> {
        let queueing: Arc<dyn Picker> = Arc::new(Queueing);
        Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            published: ArcSwap::from_pointee(Published::new(&queueing, None, Vec::new())),
            state: AtomicU8::new(ChannelState::Idle as u8),
            waiting: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            late_names: AtomicUsize::new(0),
            last_look: LastCall::new(now()),
            control: Mutex::new(Control::new(&config)),
            config: Arc::new(config),
            changed: Notify::new(),
            background: OnceLock::new(),
        })
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn state(&self) -> ChannelState {
        const STATES: [ChannelState; 5] = [
            ChannelState::Idle,
            ChannelState::Connecting,
            ChannelState::Ready,
            ChannelState::TransientFailure,
            ChannelState::Shutdown,
        ];
        let state = usize::from(self.state.load(Ordering::Acquire));
        STATES.get(state).copied().unwrap_or(ChannelState::Shutdown)
    }

    /// Waits until the state is another one than `last`.
    pub(super) async fn other_state(&self, last: ChannelState) -> ChannelState {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let state = self.state();
            if state != last {
                return state;
            }
            changed.await;
        }
    }

    /// Where a call goes that need not wait. The path of nearly every call.
    #[inline]
    pub(crate) fn place(&self, request: &Request) -> Option<Placed> {
        let published = self.published.load();
        if let Some(link) = published.only() {
            return Some(Placed { link: Arc::clone(link), tracker: None });
        }
        match published.pick(request) {
            Choice::Place(placed) if !placed.link.is_retired() => Some(placed),
            _ => None,
        }
    }

    /// Connects, where nobody does.
    ///
    /// # Errors
    /// INTERNAL outside a tokio runtime.
    pub(super) fn connect(&self) -> Result<(), Status> {
        let _background = self.background.get().map(|background| background.runtime().enter());
        match self.state() {
            ChannelState::Idle => match self.exit_idle(&mut Wished::default()) {
                Look::Fail(status) => Err(status),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn reset_backoff(&self) {
        self.drive(|control, now| {
            control.bells.names.hurry();
            control.balancer.reset_backoff(now);
        });
    }

    /// The manager looks what is due. `None`: it is not needed any more.
    pub(super) fn tick(&self, epoch: Epoch) -> Option<Tick> {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        self.drive(|control, now| {
            if control.epoch != epoch {
                return None;
            }
            if let Activity::Since(at) = self.last_look.activity() {
                control.note_call(at);
            }
            let next = control.tick(now, is_waited_for);
            (control.epoch == epoch).then_some(Tick { next })
        })
    }

    /// The manager's runtime went away.
    pub(super) fn stranded(&self, epoch: Epoch) {
        self.drive(|control, _| {
            if control.epoch == epoch {
                control.stop();
            }
        });
    }

    /// An attempt ended before it could tell how.
    pub(super) fn dial_stranded(&self, dial: &Dial) {
        self.drive(|control, _| {
            if control.balancer.is_attempt(dial.backend, dial.attempt) {
                control.stop();
            }
        });
    }

    /// The resolver was asked, and has told something or not.
    pub(super) fn asked_names(&self, epoch: Epoch) {
        let mut control = self.control();
        if control.epoch == epoch && control.names == Names::Asked {
            control.names = Names::Late;
        }
    }

    pub(super) fn told_names(&self, epoch: Epoch, names: Result<Resolution, Status>) {
        // What comes late is dropped without the lock.
        let mut names = Some(names);
        let were_late = self.drive(|control, now| {
            let Some(names) = names.take_if(|_| control.epoch == epoch) else { return false };
            let are_known = names.is_ok();
            control.balancer.handle_names(names, now);
            // Before calls learn of the change.
            let before = control.names;
            if are_known {
                control.names = Names::Known;
            }
            let were_late = are_known && before == Names::Late;
            if were_late {
                self.late_names.fetch_add(1, Ordering::Release);
            }
            were_late
        });
        if were_late {
            // Also where that changes nothing else.
            self.changed.notify_waiters();
        }
    }

    /// What an attempt came to.
    pub(super) fn dialed(&self, dial: &Dial, connected: Result<Arc<Link>, Status>) {
        self.drive(|control, now| {
            let failed = match connected {
                // One that takes no calls any more is an attempt that failed.
                Ok(link) if link.is_retired() => cut_short(&link),
                Ok(link) => {
                    if !control.established(dial, &link, now) {
                        link.push(LinkCommand::Close);
                    }
                    return;
                }
                Err(status) => status,
            };
            control.failed(dial, failed, now);
        });
    }

    /// `link` takes no new calls; `why` says so, and where.
    pub(crate) fn retire(&self, link: &Arc<Link>, why: Status, how: Disconnect) {
        self.drive(|control, now| {
            link.retire();
            control.lost(link, (why, how), now);
        });
    }

    /// What a connection's server said of itself.
    pub(super) fn felt(&self, link: &Arc<Link>, health: SubchannelState) {
        self.drive(|control, now| control.felt(link, health, now));
    }

    /// Keepalive of the next connection.
    pub(super) fn keepalive(&self) -> Option<Keepalive> {
        self.control().keepalive
    }

    /// The server found that this keepalive of a connection makes too many PINGs: the next ones
    /// wait for twice as long (gRFC A8).
    pub(crate) fn calm_keepalive(&self, too_eager: Keepalive) {
        if let Some(next) = &mut self.control().keepalive {
            next.time = next.time.max(too_eager.time.saturating_mul(2));
        }
    }

    pub(super) fn close(&self) {
        let target = self.config.shown_target();
        let closed = Status::unavailable(format!("{target}: the channel was closed"));
        let picker: Arc<dyn Picker> = Arc::new(Dropping(closed));
        let mut control = self.control();
        control.stop();
        control.is_shut_down = true;
        let after = control.settle(|_, published| Arc::new(published));
        let published = Published::new(&picker, None, Vec::new());
        let before = self.publish(ChannelState::Shutdown, published);
        drop(control);
        bury(before);
        self.tell(&after);
        after.end();
    }

    /// The thread on which connections of blocking calls run.
    ///
    /// # Errors
    /// INTERNAL where the thread cannot be started.
    pub(crate) fn background(&self) -> Result<&Background, Status> {
        if let Some(background) = self.background.get() {
            return Ok(background);
        }
        let started = Background::start().map_err(|error| {
            Status::internal(format!("cannot start a background thread: {error}"))
                .with_source(error)
        })?;
        // Where another thread was faster, its background is used and this one ends.
        Ok(self.background.get_or_init(|| started))
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        // What panics under the lock is a policy or picker; its channel goes on as it was left.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and does what follows from that.
    fn drive<T>(&self, act: impl FnOnce(&mut Control, Instant) -> T) -> T {
        let now = now();
        let mut control = self.control();
        let was = control.epoch;
        let done = act(&mut control, now);
        if let Some(told) = control.stop_panicked() {
            control.panicked = Some(policy_panicked(self.config.shown_target(), &told));
            // Calls that wait look at it when they are told of the change.
            self.panics.fetch_add(1, Ordering::Release);
        }
        let mut after = control.settle(|state, published| self.publish(state, published));
        if control.balancer.is_started() && control.epoch != was {
            after.manage = Some(control.beginning());
        }
        drop(control);
        self.follow(after);
        done
    }

    fn publish(&self, state: ChannelState, published: Published) -> Arc<Published> {
        let before = self.published.swap(Arc::new(published));
        self.state.store(state as u8, Ordering::Release);
        self.changed.notify_waiters();
        before
    }

    /// Likewise without the lock. An observer that panics keeps nobody from connecting.
    fn tell(&self, after: &After) {
        for news in &after.news {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| news.tell(&self.config))) {
                bury(panic);
            }
        }
    }

    /// Without the lock.
    fn follow(&self, mut after: After) {
        self.tell(&after);
        // Nobody connects for a channel that nobody holds.
        if let (Some(runtime), Some(me)) = (after.runtime.take(), self.me.upgrade()) {
            if let Some(beginning) = after.manage.take() {
                let epoch = beginning.epoch;
                let manager = Manager::new(&me, beginning);
                let task = runtime.spawn(manager.run()).abort_handle();
                let mut control = self.control();
                if control.epoch == epoch {
                    control.manager = Some(task);
                } else {
                    after.aborts.push(task);
                }
            }
            for dial in std::mem::take(&mut after.dials) {
                let config = Arc::clone(&self.config);
                let connecting = Connecting::new(Weak::clone(&self.me), config, dial.clone());
                let task = runtime.spawn(connecting.run()).abort_handle();
                self.control().dialing(&dial, task, &mut after);
            }
            let watches = std::mem::take(&mut after.watches);
            for (link, check) in watches.into_iter().zip(self.config.health.iter().cycle()) {
                let (of, backoff) = (Arc::clone(&link), self.config.backoff.clone());
                let watch = HealthWatch::new(&self.me, of, check.clone(), backoff);
                let task = runtime.spawn(watch.run()).abort_handle();
                self.control().watching(&link, task, &mut after);
            }
        }
        after.end();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("target", &self.config.shown_target())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
