//! round_robin: calls take turns between all endpoints that are connected (gRPC's
//! `load-balancing.md`; gRFC A61).
//!
//! A [`PickFirst`] connects to each endpoint, and again when its connection is lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gannet_core::Status;

use super::failure::{cannot_connect, joined, no_address};
use super::{
    ATTEMPT_DELAY, Actions, ChannelState, ChildId, Children, Event, Failing, Pick, PickArgs,
    PickFirst, Picker, Policy, Queueing, SubchannelId,
};
use crate::name::{Address, Endpoint, Resolution};

/// Counters of a picker: how many threads can pick without taking one from each other.
const LANES: usize = 8;

/// Calls take turns between all endpoints that are connected: see
/// [`ChannelBuilder::balance`](crate::ChannelBuilder::balance).
///
/// The channel is ready as long as one endpoint is. One whose connection is lost gets no calls from
/// then on, and is connected to again by itself. Each client starts at another place.
pub struct RoundRobin {
    children: Children<PickFirst>,
    /// The endpoints, each known by its addresses, whatever their order.
    endpoints: HashMap<Vec<Address>, ChildId>,
    /// In the name resolver's order.
    order: Vec<ChildId>,
    published: Published,
    /// Of each endpoint with several addresses.
    attempt_delay: Duration,
}

/// What was published last, as far as it matters whether it is published again.
#[derive(Debug, PartialEq)]
enum Published {
    Nothing,
    Connecting,
    Ready(Vec<SubchannelId>),
    /// The pickers of children may be anything.
    Other,
}

impl RoundRobin {
    /// Without endpoints.
    pub fn new() -> RoundRobin {
        RoundRobin {
            children: Children::new(),
            endpoints: HashMap::new(),
            order: Vec::new(),
            published: Published::Nothing,
            attempt_delay: ATTEMPT_DELAY,
        }
    }

    /// How long after an attempt at one address of an endpoint the one at its next starts beside it
    /// (default 250 ms; see [`PickFirst::attempt_delay`]).
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> RoundRobin {
        self.attempt_delay = delay;
        self
    }

    fn resolved(&mut self, resolution: Resolution, now: Instant, actions: &mut Actions) {
        let mut old = std::mem::take(&mut self.endpoints);
        self.order.clear();
        let mut told = Vec::new();
        for endpoint in resolution.endpoints {
            let key = key(&endpoint);
            if key.is_empty() || self.endpoints.contains_key(&key) {
                continue;
            }
            let known = old.remove(&key);
            let child = known.unwrap_or_else(|| {
                self.children.add(PickFirst::new().attempt_delay(self.attempt_delay))
            });
            self.endpoints.insert(key, child);
            self.order.push(child);
            told.push((child, endpoint));
        }
        // New ones first, so that an address that moves between endpoints keeps its connection.
        for (child, endpoint) in told {
            let one = Event::Resolved(Resolution::new([endpoint]));
            self.children.handle(child, one, now, actions);
            self.look_after(child, now, actions);
        }
        // In an order that is the same each time.
        let mut gone: Vec<ChildId> = old.into_values().collect();
        gone.sort_unstable();
        for child in gone {
            self.children.remove(child, actions);
        }
        if self.order.is_empty() {
            self.fail(no_address(actions), actions);
            return actions.resolve();
        }
        self.publish(actions);
    }

    /// One that is idle connects. Where its server ends each connection as soon as it is made, the
    /// subchannel rests.
    fn look_after(&mut self, child: ChildId, now: Instant, actions: &mut Actions) {
        if let Some((ChannelState::Idle, _)) = self.children.published(child) {
            self.children.handle(child, Event::ExitIdle, now, actions);
        }
    }

    fn publish(&mut self, actions: &mut Actions) {
        let (mut ready, mut others, mut pending) = (Vec::new(), Vec::new(), false);
        let mut failing = Vec::new();
        for child in &self.order {
            let Some((state, picker)) = self.children.published(*child) else { continue };
            match state {
                ChannelState::Ready => match picker.always() {
                    Some(id) => ready.push(id),
                    None => others.push(Arc::clone(picker)),
                },
                ChannelState::TransientFailure => failing.push(picker),
                _ => pending = true,
            }
        }
        if !others.is_empty() {
            self.published = Published::Other;
            let turns = Turns::new(ready, others, actions);
            return actions.update(ChannelState::Ready, Arc::new(turns));
        }
        if !ready.is_empty() {
            let next = Published::Ready(ready);
            if next != self.published
                && let Published::Ready(ready) = &next
            {
                let turns = Turns::new(ready.clone(), others, actions);
                actions.update(ChannelState::Ready, Arc::new(turns));
            }
            self.published = next;
        } else if pending || failing.is_empty() {
            if self.published != Published::Connecting {
                actions.update(ChannelState::Connecting, Arc::new(Queueing));
            }
            self.published = Published::Connecting;
        } else {
            let failures: Vec<&Status> =
                failing.iter().filter_map(|picker| picker.failure()).collect();
            if let Some(status) = joined(&failures, actions) {
                self.fail(status, actions);
            }
        }
    }

    fn fail(&mut self, status: Status, actions: &mut Actions) {
        actions.update(ChannelState::TransientFailure, Arc::new(Failing(status)));
        self.published = Published::Other;
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        RoundRobin::new()
    }
}

impl Policy for RoundRobin {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => self.resolved(resolution, now, actions),
            Event::ResolverFailed(status) => {
                if self.order.is_empty() {
                    self.fail(cannot_connect(&status, actions), actions);
                }
            }
            Event::ExitIdle | Event::ResetBackoff => {
                for child in self.order.clone() {
                    self.look_after(child, now, actions);
                }
            }
            event => {
                if let Some(child) = self.children.route(event, now, actions) {
                    self.look_after(child, now, actions);
                    self.publish(actions);
                }
            }
        }
    }
}

/// An endpoint, whatever the order of its addresses.
fn key(endpoint: &Endpoint) -> Vec<Address> {
    let mut addresses = endpoint.addresses().to_vec();
    addresses.sort_by_cached_key(Address::to_string);
    addresses.dedup();
    addresses
}

/// Takes turns.
struct Turns {
    ready: Box<[SubchannelId]>,
    /// Behind those: endpoints that decide for each call.
    others: Box<[Arc<dyn Picker>]>,
    lanes: [Lane; LANES],
}

/// Alone on its cache lines: two, as processors fetch them in pairs.
#[repr(align(128))]
struct Lane(AtomicUsize);

impl Turns {
    fn new(ready: Vec<SubchannelId>, others: Vec<Arc<dyn Picker>>, actions: &mut Actions) -> Turns {
        let count = ready.len() + others.len();
        let lanes = std::array::from_fn(|_| Lane(AtomicUsize::new(actions.random_below(count))));
        Turns { ready: ready.into(), others: others.into(), lanes }
    }
}

impl Picker for Turns {
    fn pick(&self, call: &PickArgs<'_>) -> Pick {
        let turn = self.lanes[call.lane % LANES].0.fetch_add(1, Ordering::Relaxed);
        let at = turn % (self.ready.len() + self.others.len());
        match self.ready.get(at) {
            Some(id) => (*id).into(),
            None => self.others[at - self.ready.len()].pick(call),
        }
    }
}

impl fmt::Debug for RoundRobin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobin").field("children", &self.children).finish_non_exhaustive()
    }
}
