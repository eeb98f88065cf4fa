//! How a call finds a connection, or waits for one, and what it sets in motion for that.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use gannet_core::{Code, Status};
use tokio::runtime::{Handle, Id};
use tokio::sync::futures::Notified;
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::Shared;
use crate::call::request::Request;
use crate::channel::control::ANSWER_MAX;
use crate::channel::errors::{never_connects, no_runtime};
use crate::channel::manage::Alarm;
use crate::channel::now;
use crate::channel::published::{Choice, Placed};
use crate::channel::waiting::{Waiting, Wish, Wished};
use crate::control_plane::of_picker;
use crate::policy::{ChannelState, Token, Told};

/// What a call finds that looks for a connection.
pub(super) enum Look {
    Place(Placed),
    Wait,
    /// As `Wait`, for what this look began.
    Started {
        /// What was begun before came to nothing.
        again: bool,
    },
    Fail(Status),
}

/// How a wait has ended.
enum Waited {
    /// Something has changed, perhaps, and before this was polled.
    Looks {
        at_once: bool,
    },
    Overdue,
}

impl Shared {
    /// Waits for a connection, connecting where nobody does. The request comes back with it.
    ///
    /// # Errors
    /// UNAVAILABLE while attempts fail, unless it waits for a connection; DEADLINE_EXCEEDED;
    /// INTERNAL outside a tokio runtime, and where the policy panics.
    pub(crate) async fn wait_for_place(
        self: Arc<Self>,
        request: Box<Request>,
    ) -> (Box<Request>, Result<Placed, Status>) {
        let waiting = Waiting::new(&self.waiting);
        // In a row, each but the last of which came to nothing.
        let mut starts = 0;
        // What it has brought about itself is no reason to go round and round.
        let mut is_again = false;
        let mut wished = Wished::default();
        let mut alarm = None;
        let panics = self.panics.load(Ordering::Acquire);
        let mut late_names = self.late_names.load(Ordering::Acquire);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let names = self.late_names.load(Ordering::Acquire);
            if names != std::mem::replace(&mut late_names, names)
                && let Some(watched) = &request.watch
            {
                watched.call.resolved();
            }
            if self.panics.load(Ordering::Acquire) != panics
                && let Some(status) = self.control().panicked.clone()
            {
                return (request, Err(status));
            }
            match self.look(&request, &mut wished) {
                Look::Place(placed) => return (request, Ok(placed)),
                Look::Fail(status) => return (request, Err(status)),
                Look::Wait => {}
                Look::Started { again } => starts = if again { starts + 1 } else { 1 },
            }
            if starts > CONNECT_STARTS_MAX {
                return (request, Err(never_connects()));
            }
            waiting.begins();
            if request.deadline.is_some() && Handle::try_current().is_err() {
                return (request, Err(no_runtime()));
            }
            if is_again {
                yield_now().await;
            }
            match self.wait(changed, request.deadline, &mut alarm).await {
                Waited::Looks { at_once } => is_again = at_once,
                Waited::Overdue => {
                    let status = self.deadline_exceeded(&request);
                    return (request, Err(status));
                }
            }
        }
    }

    /// Waits for a change up to the deadline, and looks after the channel's task where that is on
    /// another runtime.
    async fn wait(
        &self,
        mut changed: Pin<&mut Notified<'_>>,
        deadline: Option<Instant>,
        alarm: &mut Option<Arc<Alarm>>,
    ) -> Waited {
        let caller = Handle::try_current().ok();
        let caller = caller.filter(|caller| self.control().is_elsewhere(caller.id()));
        // Whether a runtime has timers can only be found out by a panic. A call with a deadline
        // needs one anyhow.
        let look_at = caller.as_ref().and(deadline).map(|_| now() + ANSWER_MAX);
        let until = deadline.into_iter().chain(look_at).min();
        let mut timer = std::pin::pin!(until.map(|at| sleep_until(at.into())));
        let needs_alarm = caller.is_some() && deadline.is_none();
        let alarm = needs_alarm.then(|| &*alarm.get_or_insert_default());
        let mut rung =
            std::pin::pin!(alarm.filter(|alarm| alarm.rings_soon()).map(|alarm| alarm.rung()));
        let (mut at_once, mut is_rung) = (true, false);
        poll_fn(|cx| {
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            at_once = false;
            if let Some(rung) = rung.as_mut().as_pin_mut() {
                is_rung = rung.poll(cx).is_ready();
                return if is_rung { Poll::Ready(()) } else { Poll::Pending };
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
        if deadline.is_some_and(|deadline| deadline <= now()) {
            return Waited::Overdue;
        }
        if let Some(caller) = caller {
            if look_at.is_some_and(|at| at <= now()) {
                self.leave_the_dead(caller.id(), || Some(caller.clone()));
            } else if is_rung {
                // Its own thread has timers.
                let own = || Some(self.background().ok()?.runtime().clone());
                self.leave_the_dead(caller.id(), own);
            }
        }
        Waited::Looks { at_once }
    }

    fn look(&self, request: &Request, wished: &mut Wished) -> Look {
        self.last_look.end(now());
        let choice = self.published.load().pick(request);
        match choice {
            // Another picker is about to come.
            Choice::Place(placed) if placed.link.is_retired() => Look::Wait,
            Choice::Place(placed) => Look::Place(placed),
            Choice::Fail(_) if request.wait_for_ready => Look::Wait,
            Choice::Fail(status) => {
                // It may be an old one.
                if let Ok(caller) = Handle::try_current() {
                    self.leave_the_dead(caller.id(), || Some(caller.clone()));
                }
                Look::Fail(self.told_by_picker(status))
            }
            Choice::Drop(status) => Look::Fail(self.told_by_picker(status)),
            Choice::Wake(token) => {
                self.wake(token, wished);
                Look::Wait
            }
            Choice::Queue if self.state() == ChannelState::Idle => self.exit_idle(wished),
            Choice::Queue => Look::Wait,
        }
    }

    #[cold]
    fn told_by_picker(&self, status: Status) -> Status {
        of_picker(status, self.config.shown_target(), self.state())
    }

    fn wake(&self, token: Token, wished: &mut Wished) {
        self.drive(|control, now| {
            if wished.is_new(Wish::Wake(token), control.balancer.news()) {
                control.balancer.wake(token, now);
                wished.told(Wish::Wake(token), control.balancer.news());
            }
        });
    }

    /// Connects, where nobody does, on the runtime around the caller.
    pub(super) fn exit_idle(&self, wished: &mut Wished) -> Look {
        let Ok(runtime) = Handle::try_current() else { return Look::Fail(no_runtime()) };
        self.drive(|control, now| {
            if control.is_shut_down {
                return Look::Wait;
            }
            if !control.balancer.is_started() {
                let again = control.came_to_nothing;
                control.start(runtime, now);
                return Look::Started { again };
            }
            let is_idle = control.balancer.state() == ChannelState::Idle;
            if !is_idle || !wished.is_new(Wish::ExitIdle, control.balancer.news()) {
                return Look::Wait;
            }
            if control.is_elsewhere(runtime.id()) && !control.is_connected() {
                // That runtime may never run again.
                control.move_to(runtime, now);
            }
            control.balancer.exit_idle(now);
            wished.told(Wish::ExitIdle, control.balancer.news());
            Look::Started { again: false }
        })
    }

    /// Moves the channel, where nobody runs its task on another runtime than the caller's.
    fn leave_the_dead(&self, caller: Id, to: impl FnOnce() -> Option<Handle>) {
        if self.control().is_dead(caller, now())
            && let Some(to) = to()
        {
            self.drive(|control, now| control.leave_the_dead(caller, to, now));
        }
    }

    #[cold]
    fn deadline_exceeded(&self, request: &Request) -> Status {
        let target = self.config.shown_target();
        let Told { is_connected, details } = self.control().balancer.told(now());
        let what = if is_connected { "ready" } else { "connected" };
        let mut told = format!("the deadline passed before {target} was {what}");
        if let Choice::Fail(status) = self.published.load().pick(request) {
            let status = self.told_by_picker(status);
            // It takes the failure's cause over, not the failure: its text is told already.
            let told = format!("{told}; last: {}", status.message());
            return status.with_code(Code::DeadlineExceeded).with_message(told);
        }
        if !details.is_empty() {
            told = format!("{told}: {details}");
        }
        Status::deadline_exceeded(told)
    }
}

/// How often in a row one call starts the task that connects and sees it come to nothing, which it
/// does only where its runtime fails it.
const CONNECT_STARTS_MAX: u32 = 8;
