//! A load balancing policy around another one, which sees what that is told and what it publishes:
//! which connections there are at each moment, and where each pick goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gannet::client::balance::{
    Actions, Event, Pick, PickArgs, Picker, Policy, SubchannelId, SubchannelState,
};

/// What was seen. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Tale>);

#[derive(Debug, Default)]
struct Tale {
    known: Mutex<Known>,
    /// Picks that went to what was not connected, or not healthy, when the picker was published.
    strays: AtomicUsize,
    /// Calls that found no connection, after all were there for the first time.
    waits: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    connected: BTreeSet<SubchannelId>,
    healthy: BTreeSet<SubchannelId>,
    /// How attempts have failed.
    failures: Vec<String>,
    intervals: Vec<Arc<Interval>>,
    /// As many as there are servers were there once.
    is_complete: bool,
}

/// The time of one picker: nothing happens in it.
#[derive(Debug)]
struct Interval {
    fit: BTreeSet<SubchannelId>,
    picks: Mutex<BTreeMap<SubchannelId, usize>>,
}

/// How even turns were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evenness {
    /// Times without an event.
    pub(super) intervals: usize,
    /// Of these so many with enough picks to tell one per cent.
    pub(super) judged: usize,
    /// How far the worst of those is from even turns, as a part.
    pub(super) worst: f64,
    /// How far any of them all is, in picks.
    pub(super) worst_picks: f64,
}

/// Picks of each server by which one per cent is ten.
const PICKS_JUDGED: f64 = 1_000.0;

impl Seen {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many servers are connected, and how many of these say that they feel well.
    pub(super) fn there(&self) -> (usize, usize) {
        let known = self.known();
        (known.connected.len(), known.fit().len())
    }

    /// How attempts have failed.
    pub(super) fn failures(&self) -> Vec<String> {
        self.known().failures.clone()
    }

    pub(super) fn strays(&self) -> usize {
        self.0.strays.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) -> usize {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// From now on no call should have to wait for a connection.
    pub(super) fn complete(&self) {
        self.known().is_complete = true;
    }

    pub(super) fn evenness(&self) -> Evenness {
        let intervals = self.known().intervals.clone();
        let mut told = Evenness::default();
        for interval in intervals {
            let picks = interval.picks.lock().unwrap_or_else(PoisonError::into_inner);
            let all: usize = picks.values().sum();
            if all == 0 {
                continue;
            }
            told.intervals += 1;
            let even = all as f64 / interval.fit.len().max(1) as f64;
            let counts = interval.fit.iter().map(|id| picks.get(id).copied().unwrap_or(0));
            let worst = counts.map(|count| (count as f64 - even).abs()).fold(0.0, f64::max);
            told.worst_picks = told.worst_picks.max(worst);
            if even >= PICKS_JUDGED {
                told.judged += 1;
                told.worst = told.worst.max(worst / even);
            }
        }
        told
    }
}

impl Known {
    fn fit(&self) -> BTreeSet<SubchannelId> {
        self.connected.intersection(&self.healthy).copied().collect()
    }
}

/// The policy.
pub(super) struct Spy<P> {
    inner: P,
    seen: Seen,
}

impl<P> Spy<P> {
    pub(super) fn new(inner: P, seen: &Seen) -> Spy<P> {
        Spy { inner, seen: seen.clone() }
    }
}

impl<P: Policy> Policy for Spy<P> {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        {
            let mut known = self.seen.known();
            match &event {
                Event::Subchannel(id, SubchannelState::Ready) => drop(known.connected.insert(*id)),
                Event::Subchannel(id, state) => {
                    known.connected.remove(id);
                    known.healthy.remove(id);
                    if let SubchannelState::TransientFailure(status) = state {
                        known.failures.push(status.message().to_owned());
                    }
                }
                Event::Health(id, SubchannelState::Ready) => drop(known.healthy.insert(*id)),
                Event::Health(id, _) => drop(known.healthy.remove(id)),
                _ => {}
            }
        }
        self.inner.handle(event, now, actions);
        let Some(update) = actions.take_update() else { return };
        let mut known = self.seen.known();
        let interval = Arc::new(Interval { fit: known.fit(), picks: Mutex::default() });
        known.intervals.push(Arc::clone(&interval));
        let is_complete = known.is_complete;
        drop(known);
        let seen = self.seen.clone();
        let watched = Watched { inner: update.picker, interval, seen, is_complete };
        actions.update(update.state, Arc::new(watched));
    }
}

/// The picker of an interval.
struct Watched {
    inner: Arc<dyn Picker>,
    interval: Arc<Interval>,
    seen: Seen,
    is_complete: bool,
}

impl Picker for Watched {
    fn pick(&self, call: &PickArgs<'_>) -> Pick {
        let pick = self.inner.pick(call);
        let Pick::Complete(picked) = &pick else {
            if self.is_complete {
                self.seen.0.waits.fetch_add(1, Ordering::Relaxed);
            }
            return pick;
        };
        if !self.interval.fit.contains(&picked.subchannel) {
            self.seen.0.strays.fetch_add(1, Ordering::Relaxed);
        }
        let mut picks = self.interval.picks.lock().unwrap_or_else(PoisonError::into_inner);
        *picks.entry(picked.subchannel).or_default() += 1;
        drop(picks);
        pick
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("interval", &self.interval).finish_non_exhaustive()
    }
}
