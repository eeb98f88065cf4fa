//! The task that a channel has while it is not idle: runs the [name resolver](Resolving) and the
//! timers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use gannet_transport::{Rouse, Rouser};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::sleep_until;

use super::resolving::Resolving;
use super::{Shared, now};
use crate::name::Asks;

/// One time that a channel is not idle. What comes of an earlier one is not heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(pub(super) u64);

/// What the task is begun with.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub(super) epoch: Epoch,
    pub(super) bells: Bells,
    /// The channel has moved here, with all that it knows: when its resolver is to be begun anew.
    pub(super) moved: Option<Instant>,
}

/// What the channel keeps of the task, to tell it something.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells {
    /// The next timer is another one now.
    pub(super) timers: Arc<Alarm>,
    /// The name is to be resolved again.
    pub(super) names: Arc<Asks>,
}

/// Rings when timers are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    bell: Notify,
    /// The rouser rings it, too.
    is_noted: AtomicBool,
}

/// Looks after channels whose next timer is far away: that they are idle.
static ROUSER: Rouser = Rouser::new(Duration::from_secs(30));
/// Rouses calls that wait while their channel's task is on another runtime: often enough for them
/// to learn in two seconds that nobody runs it.
static LOOKOUT: Rouser = Rouser::new(Duration::from_millis(250));
/// What is due later than this needs no timer of the runtime's, which would cost each of its waits
/// something: twice the rouser's period, and what a thread may be late.
const FAR: Duration = Duration::from_secs(120);

impl Alarm {
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Whether it is certain to ring before `at` without a timer.
    fn rings_before(self: &Arc<Self>, at: Instant) -> bool {
        if at.saturating_duration_since(now()) <= FAR {
            return false;
        }
        self.is_noted_by(&ROUSER)
    }

    /// Has it ring a moment later without a timer, for one that waits on a runtime that may have
    /// none. False where that is not to be had: see [`Rouser::note`].
    pub(super) fn rings_soon(self: &Arc<Self>) -> bool {
        self.is_noted_by(&LOOKOUT)
    }

    pub(super) fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }

    fn is_noted_by(self: &Arc<Self>, rouser: &'static Rouser) -> bool {
        if !self.is_noted.swap(true, Ordering::AcqRel) {
            let me: Arc<dyn Rouse> = Arc::clone(self) as Arc<dyn Rouse>;
            if !rouser.note(Arc::downgrade(&me)) {
                self.is_noted.store(false, Ordering::Release);
                return false;
            }
        }
        true
    }
}

impl Rouse for Alarm {
    fn rouse(&self) {
        self.is_noted.store(false, Ordering::Release);
        self.ring();
    }
}

/// See the module.
pub(super) struct Manager {
    channel: Weak<Shared>,
    epoch: Epoch,
    bells: Bells,
    moved: Option<Instant>,
    resolving: Option<Resolving>,
    is_done: bool,
}

impl Manager {
    pub(super) fn new(channel: &Arc<Shared>, beginning: Beginning) -> Manager {
        let Beginning { epoch, bells, moved } = beginning;
        let channel = Arc::downgrade(channel);
        Manager { channel, epoch, bells, moved, resolving: None, is_done: false }
    }

    pub(super) async fn run(mut self) {
        let channel = self.channel.upgrade();
        let names = Arc::clone(&self.bells.names);
        let begin = |channel| Resolving::new(&channel, self.epoch, names, self.moved);
        self.resolving = channel.map(begin);
        // Who knows names without a search tells them at once.
        poll_fn(|cx| {
            self.resolving.iter_mut().for_each(|resolving| resolving.poll(cx));
            Poll::Ready(())
        })
        .await;
        if let Some(channel) = self.channel.upgrade() {
            channel.asked_names(self.epoch);
        }
        let timers = Arc::clone(&self.bells.timers);
        loop {
            let tick = self.channel.upgrade().and_then(|channel| channel.tick(self.epoch));
            let Some(tick) = tick else {
                self.is_done = true;
                return;
            };
            let mut rung = pin!(timers.rung());
            let next = tick.next.filter(|at| !timers.rings_before(*at));
            let mut timer = pin!(next.map(|at| sleep_until(at.into())));
            poll_fn(|cx| {
                self.resolving.iter_mut().for_each(|resolving| resolving.poll(cx));
                if rung.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                match timer.as_mut().as_pin_mut() {
                    Some(timer) => timer.poll(cx),
                    None => Poll::Pending,
                }
            })
            .await;
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(channel) = self.channel.upgrade()
        {
            channel.stranded(self.epoch);
        }
    }
}
