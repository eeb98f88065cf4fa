//! What the clones of a channel share: its connection, or why there is none.
//!
//! The current connection is read without a lock by every call. Everything else changes seldom and
//! sits behind one mutex, which is never held across anything that waits.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use gannet_core::{Code, Status};
use gannet_http2::Keepalive;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::connect::Connecting;
use super::{ChannelState, Config};
use crate::blocking::Background;
use crate::link::{Link, LinkCommand};
use crate::policy::{Attempt, Backoff};

/// See the module.
pub(crate) struct Shared {
    config: Arc<Config>,
    /// Where new calls go; `None` unless the phase is ready.
    current: ArcSwapOption<Link>,
    /// The phase, for [`state`](Self::state).
    state: AtomicU8,
    cold: Mutex<Cold>,
    /// Notified whenever the phase changes.
    changed: Notify,
    background: OnceLock<Background>,
}

/// What changes seldom.
struct Cold {
    phase: Phase,
    backoff: Backoff,
    /// Keepalive of the next connection.
    keepalive: Option<Keepalive>,
    /// The task that connects, while there is one.
    connecting: Option<AbortHandle>,
    /// The last such task ended before it could tell of a connection or of a failure.
    came_to_nothing: bool,
}

enum Phase {
    Idle,
    /// First attempt since idle.
    Connecting,
    Ready(Arc<Link>),
    /// The last attempt failed like this; further ones are under way or due.
    TransientFailure(Status),
    Shutdown,
}

/// What a call finds that looks for a connection.
enum Look {
    Link(Arc<Link>),
    Wait,
    /// As `Wait`, for what this look began.
    Started {
        /// What was begun before came to nothing.
        again: bool,
    },
    Fail(Status),
}

impl Shared {
    pub(super) fn new(config: Config) -> Arc<Shared> {
        let backoff = Backoff::new(config.backoff.clone());
        let cold = Cold {
            phase: Phase::Idle,
            backoff,
            keepalive: config.keepalive,
            connecting: None,
            came_to_nothing: false,
        };
        Arc::new(Shared {
            config: Arc::new(config),
            current: ArcSwapOption::empty(),
            state: AtomicU8::new(cold.phase.state() as u8),
            cold: Mutex::new(cold),
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

    /// The connection, if there is one. The path of nearly every call.
    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        self.current.load_full()
    }

    /// Waits for a connection, connecting where nobody does.
    ///
    /// # Errors
    /// UNAVAILABLE while attempts fail, unless `wait_for_ready`; DEADLINE_EXCEEDED; INTERNAL
    /// outside a tokio runtime.
    pub(crate) async fn link(
        self: Arc<Self>,
        wait_for_ready: bool,
        deadline: Option<Instant>,
    ) -> Result<Arc<Link>, Status> {
        // In a row, each but the last of which came to nothing.
        let mut starts = 0;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.look(wait_for_ready) {
                Look::Link(link) => return Ok(link),
                Look::Fail(status) => return Err(status),
                Look::Wait => {}
                Look::Started { again } => starts = if again { starts + 1 } else { 1 },
            }
            if starts > CONNECT_STARTS_MAX {
                return Err(never_connects());
            }
            match deadline {
                None => changed.await,
                Some(_) if Handle::try_current().is_err() => return Err(no_runtime()),
                Some(deadline) => {
                    let deadline = tokio::time::Instant::from_std(deadline);
                    let waited = tokio::time::timeout_at(deadline, changed).await;
                    waited.map_err(|_| self.deadline_exceeded())?;
                }
            }
        }
    }

    fn look(self: &Arc<Self>, wait_for_ready: bool) -> Look {
        let mut cold = self.cold();
        match &cold.phase {
            Phase::Ready(link) => Look::Link(Arc::clone(link)),
            Phase::Connecting => Look::Wait,
            Phase::TransientFailure(_) if wait_for_ready => Look::Wait,
            Phase::TransientFailure(status) => Look::Fail(status.clone()),
            Phase::Shutdown => {
                let target = self.config.shown_target();
                Look::Fail(Status::unavailable(format!("{target}: the channel was closed")))
            }
            Phase::Idle => {
                let Ok(runtime) = Handle::try_current() else { return Look::Fail(no_runtime()) };
                let again = cold.came_to_nothing;
                self.set_phase(&mut cold, Phase::Connecting);
                drop(cold);
                self.connect(&runtime);
                Look::Started { again }
            }
        }
    }

    /// Not under the lock: a runtime that shuts down drops the task at once, which takes the lock.
    fn connect(self: &Arc<Self>, runtime: &Handle) {
        let task = runtime.spawn(Connecting::new(self).run());
        let mut cold = self.cold();
        match cold.phase {
            Phase::Shutdown => task.abort(),
            // Where the task is done already, nobody minds its handle.
            _ => cold.connecting = Some(task.abort_handle()),
        }
    }

    #[cold]
    fn deadline_exceeded(&self) -> Status {
        let target = self.config.shown_target();
        let told = format!("the deadline passed before {target} was connected");
        match &self.cold().phase {
            Phase::TransientFailure(status) => {
                // It takes the failure's cause over, not the failure: its text is told already.
                let told = format!("{told}; last: {}", status.message());
                status.clone().with_code(Code::DeadlineExceeded).with_message(told)
            }
            _ => Status::deadline_exceeded(told),
        }
    }

    /// An attempt to connect starts. `None` where none is wanted any more.
    pub(super) fn attempt(&self, now: Instant) -> Option<Attempt> {
        let mut cold = self.cold();
        match cold.phase {
            Phase::Connecting | Phase::TransientFailure(_) => {
                Some(cold.backoff.attempt(now, fastrand::f64()))
            }
            Phase::Idle | Phase::Ready(_) | Phase::Shutdown => None,
        }
    }

    /// An attempt failed: when to start the next, or never.
    pub(super) fn attempt_failed(&self, now: Instant, error: Status) -> Option<Instant> {
        let mut cold = self.cold();
        if !matches!(cold.phase, Phase::Shutdown) {
            let target = self.config.shown_target();
            let told = match error.message() {
                told if told.starts_with(target) => format!("cannot connect to {told}"),
                told => format!("cannot connect to {target}: {told}"),
            };
            // It keeps its cause, and is none itself: its text is told already.
            let status = error.with_message(told);
            self.set_phase(&mut cold, Phase::TransientFailure(status));
        }
        cold.backoff.failed(now)
    }

    /// The server's SETTINGS arrived on `link`. False where it takes no calls any more: that is an
    /// attempt that failed.
    pub(super) fn established(&self, link: &Arc<Link>) -> bool {
        let mut cold = self.cold();
        if matches!(cold.phase, Phase::Shutdown) {
            link.push(LinkCommand::Close);
        } else if link.is_retired() {
            return false;
        } else {
            self.current.store(Some(Arc::clone(link)));
            self.set_phase(&mut cold, Phase::Ready(Arc::clone(link)));
        }
        cold.backoff.established();
        cold.connecting = None;
        cold.came_to_nothing = false;
        true
    }

    /// The task that connects ended without a connection: its runtime went away, or it was told to.
    pub(super) fn connecting_ended(&self) {
        let mut cold = self.cold();
        if matches!(cold.phase, Phase::Connecting | Phase::TransientFailure(_)) {
            cold.connecting = None;
            cold.came_to_nothing = matches!(cold.phase, Phase::Connecting);
            self.set_phase(&mut cold, Phase::Idle);
        }
    }

    /// `link` takes no new calls: the next call connects.
    pub(crate) fn retire(&self, link: &Arc<Link>) {
        let mut cold = self.cold();
        link.retire();
        if matches!(&cold.phase, Phase::Ready(current) if Arc::ptr_eq(current, link)) {
            self.current.store(None);
            self.set_phase(&mut cold, Phase::Idle);
        }
    }

    /// Keepalive of the next connection.
    pub(super) fn keepalive(&self) -> Option<Keepalive> {
        self.cold().keepalive
    }

    /// The server found that this keepalive of a connection makes too many PINGs: the next ones
    /// wait for twice as long (gRFC A8).
    pub(crate) fn calm_keepalive(&self, too_eager: Keepalive) {
        if let Some(next) = &mut self.cold().keepalive {
            next.time = next.time.max(too_eager.time.saturating_mul(2));
        }
    }

    pub(super) fn close(&self) {
        let mut cold = self.cold();
        self.current.store(None);
        if let Phase::Ready(link) = &cold.phase {
            link.push(LinkCommand::Close);
        }
        let connecting = cold.connecting.take();
        self.set_phase(&mut cold, Phase::Shutdown);
        drop(cold);
        if let Some(connecting) = connecting {
            connecting.abort();
        }
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

    fn cold(&self) -> MutexGuard<'_, Cold> {
        // A panic cannot leave the phase half changed.
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_phase(&self, cold: &mut Cold, phase: Phase) {
        self.state.store(phase.state() as u8, Ordering::Release);
        cold.phase = phase;
        self.changed.notify_waiters();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl Phase {
    fn state(&self) -> ChannelState {
        match self {
            Phase::Idle => ChannelState::Idle,
            Phase::Connecting => ChannelState::Connecting,
            Phase::Ready(_) => ChannelState::Ready,
            Phase::TransientFailure(_) => ChannelState::TransientFailure,
            Phase::Shutdown => ChannelState::Shutdown,
        }
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

/// How often in a row one call starts the task that connects and sees it come to nothing, which it
/// does only where its runtime fails it.
const CONNECT_STARTS_MAX: u32 = 8;

#[cold]
fn never_connects() -> Status {
    Status::internal(
        "the task that connects is ended by its runtime each time; the runtime must run, and have \
         I/O and time enabled (`enable_all`)",
    )
}

#[cold]
pub(crate) fn no_runtime() -> Status {
    Status::internal(
        "the call needs a tokio runtime to connect on: await it inside one, or use `wait`, which \
         needs none",
    )
}
