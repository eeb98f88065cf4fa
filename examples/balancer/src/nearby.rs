//! The policy: calls go to the server with the fewest calls in flight, among those of one's own
//! zone, and among the others where none of these is connected.
//!
//! It decides which endpoints to connect to (all), and which call goes where. How an endpoint with
//! several addresses is connected to, and again after a failure, it leaves to a `PickFirst` for
//! each. Like every policy it is a pure state machine; the tests below have no network and no time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gannet::Status;
use gannet::client::ChannelState;
use gannet::client::balance::{
    Actions, CallEnd, CallTracker, ChildId, Children, Event, Failing, Pick, PickArgs, PickFirst,
    Picked, Picker, Policy, Queueing, SubchannelId,
};
use gannet::client::name::{Address, Endpoint, Resolution};

/// In which zone an endpoint is: what whoever lists endpoints says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Zone(pub(crate) &'static str);

/// See the module.
pub(crate) struct Nearby {
    home: Zone,
    children: Children<PickFirst>,
    /// The endpoints, in the name resolver's order.
    desks: Vec<Desk>,
}

/// An endpoint.
struct Desk {
    /// What it is known by.
    addresses: Vec<Address>,
    child: ChildId,
    is_near: bool,
    /// Calls in flight there; shared with those.
    load: Arc<Load>,
}

#[derive(Default)]
struct Load(AtomicUsize);

impl CallTracker for Load {
    fn ended(&self, _: &CallEnd<'_>) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Nearby {
    pub(crate) fn new(home: Zone) -> Nearby {
        Nearby { home, children: Children::new(), desks: Vec::new() }
    }

    fn resolved(&mut self, resolution: Resolution, now: Instant, actions: &mut Actions) {
        let old = std::mem::take(&mut self.desks).into_iter();
        let mut old: HashMap<Vec<Address>, Desk> =
            old.map(|desk| (desk.addresses.clone(), desk)).collect();
        let mut seen = HashSet::new();
        for endpoint in resolution.endpoints {
            let addresses = key(&endpoint);
            // One that is listed twice counts once; one without addresses is none.
            if addresses.is_empty() || !seen.insert(addresses.clone()) {
                continue;
            }
            let is_near = endpoint.attributes().get::<Zone>() == Some(&self.home);
            // What stays keeps its connection, and its count.
            let mut desk = old.remove(&addresses).unwrap_or_else(|| Desk {
                addresses,
                child: self.children.add(PickFirst::new()),
                is_near,
                load: Arc::default(),
            });
            desk.is_near = is_near;
            // In the order in which they are to be tried.
            let event = Event::Resolved(Resolution::new([endpoint]));
            self.children.handle(desk.child, event, now, actions);
            self.desks.push(desk);
        }
        // In an order that is the same each time.
        let mut gone: Vec<ChildId> = old.into_values().map(|desk| desk.child).collect();
        gone.sort_unstable();
        for child in gone {
            self.children.remove(child, actions);
        }
        if self.desks.is_empty() {
            fail(&Status::unavailable("no desk is open"), actions);
            // The list may be out of date.
            return actions.resolve();
        }
        self.publish(now, actions);
    }

    fn publish(&mut self, now: Instant, actions: &mut Actions) {
        let (mut ready, mut is_near, mut pending) = (Vec::new(), false, false);
        let mut failing: Option<Arc<dyn Picker>> = None;
        for desk in &self.desks {
            if let Some((ChannelState::Idle, _)) = self.children.published(desk.child) {
                // Its connection was lost: it is made again.
                self.children.handle(desk.child, Event::ExitIdle, now, actions);
            }
            let Some((state, picker)) = self.children.published(desk.child) else { continue };
            match (state, picker.always()) {
                (ChannelState::Ready, Some(subchannel)) => {
                    if desk.is_near && !is_near {
                        is_near = true;
                        ready.clear();
                    }
                    if desk.is_near || !is_near {
                        ready.push(Seat { subchannel, load: Arc::clone(&desk.load) });
                    }
                }
                (ChannelState::TransientFailure, _) => failing = Some(Arc::clone(picker)),
                _ => pending = true,
            }
        }
        if !ready.is_empty() {
            return actions.update(ChannelState::Ready, Arc::new(LeastBusy(ready)));
        }
        match failing {
            Some(picker) if !pending => actions.update(ChannelState::TransientFailure, picker),
            _ => actions.update(ChannelState::Connecting, Arc::new(Queueing)),
        }
    }
}

impl Policy for Nearby {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => self.resolved(resolution, now, actions),
            // Those that there are go on.
            Event::ResolverFailed(status) if self.desks.is_empty() => fail(&status, actions),
            Event::ResolverFailed(_) => {}
            // Which has all that are idle connect.
            Event::ExitIdle | Event::ResetBackoff if !self.desks.is_empty() => {
                self.publish(now, actions);
            }
            event => {
                if self.children.route(event, now, actions).is_some() {
                    self.publish(now, actions);
                }
            }
        }
    }
}

/// An endpoint's addresses, whatever their order.
fn key(endpoint: &Endpoint) -> Vec<Address> {
    let mut addresses = endpoint.addresses().to_vec();
    addresses.sort_by_cached_key(Address::to_string);
    addresses.dedup();
    addresses
}

/// Calls fail, unless they wait for better times.
fn fail(why: &Status, actions: &mut Actions) {
    let told = format!("cannot connect to {}: {}", actions.target(), why.message());
    let picker = Failing(why.clone().with_message(told));
    actions.update(ChannelState::TransientFailure, Arc::new(picker));
}

/// What decides for each call.
struct LeastBusy(Vec<Seat>);

struct Seat {
    subchannel: SubchannelId,
    load: Arc<Load>,
}

impl Picker for LeastBusy {
    fn pick(&self, call: &PickArgs<'_>) -> Pick {
        // It begins anywhere: where all are free, calls one after the other go to all of them.
        let count = self.0.len().max(1) as u64;
        let first = usize::try_from(call.random() % count).unwrap_or(0);
        let (behind, ahead) = self.0.split_at(first);
        let seats = ahead.iter().chain(behind);
        let least = seats.min_by_key(|seat| seat.load.0.load(Ordering::Relaxed));
        let Some(seat) = least else { return Pick::Queue };
        seat.load.0.fetch_add(1, Ordering::Relaxed);
        let tracker: Arc<dyn CallTracker> = Arc::clone(&seat.load) as Arc<dyn CallTracker>;
        Pick::Complete(Picked::new(seat.subchannel).tracked(tracker))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use gannet::client::balance::{Action, SubchannelState};
    use gannet::{Metadata, MethodDescriptor, MethodKind};

    use super::*;

    static SERVE: MethodDescriptor = MethodDescriptor::new("/desk.Desk/Serve", MethodKind::Unary);

    fn endpoint(port: u16, zone: &'static str) -> Endpoint {
        Endpoint::from(SocketAddr::from(([10, 0, 0, 1], port))).attribute(Zone(zone))
    }

    fn resolved(endpoints: &[(u16, &'static str)]) -> Event {
        let list = endpoints.iter().map(|(port, zone)| endpoint(*port, zone));
        Event::Resolved(Resolution::new(list))
    }

    /// The policy with these endpoints; and the subchannels that it has made, by their ports.
    fn nearby(endpoints: &[(u16, &'static str)]) -> (Nearby, Actions, HashMap<u16, SubchannelId>) {
        let mut actions = Actions::new("test", 1);
        let mut policy = Nearby::new(Zone("home"));
        policy.handle(resolved(endpoints), Instant::now(), &mut actions);
        let mut made = HashMap::new();
        for action in actions.drain() {
            if let Action::Create(id, address) = action {
                made.insert(address.socket_addr().unwrap().port(), id);
            }
        }
        (policy, actions, made)
    }

    fn ready(policy: &mut Nearby, actions: &mut Actions, id: SubchannelId) {
        let now = Instant::now();
        policy.handle(Event::Subchannel(id, SubchannelState::Ready), now, actions);
        policy.handle(Event::Health(id, SubchannelState::Ready), now, actions);
    }

    fn pick(picker: &dyn Picker) -> Picked {
        let metadata = Metadata::new();
        match picker.pick(&PickArgs::new(&SERVE, &metadata, 0, || 0)) {
            Pick::Complete(picked) => picked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn those_of_ones_own_zone_come_first() {
        let (mut policy, mut actions, made) = nearby(&[(1, "away"), (2, "home"), (3, "home")]);
        ready(&mut policy, &mut actions, made[&1]);
        let away = actions.take_update().unwrap();
        assert_eq!((away.state, pick(&*away.picker).subchannel), (ChannelState::Ready, made[&1]));
        ready(&mut policy, &mut actions, made[&3]);
        let home = actions.take_update().unwrap();
        for _ in 0..3 {
            assert_eq!(pick(&*home.picker).subchannel, made[&3]);
        }
        // And when that is lost, those elsewhere again.
        let lost = Event::Subchannel(made[&3], SubchannelState::Idle);
        policy.handle(lost, Instant::now(), &mut actions);
        let away = actions.take_update().unwrap();
        assert_eq!(pick(&*away.picker).subchannel, made[&1]);
        assert!(actions.drain().contains(&Action::Connect(made[&3])), "it is connected to again");
    }

    #[test]
    fn the_least_busy_is_next() {
        let (mut policy, mut actions, made) = nearby(&[(1, "home"), (2, "home")]);
        ready(&mut policy, &mut actions, made[&1]);
        ready(&mut policy, &mut actions, made[&2]);
        let update = actions.take_update().unwrap();
        let one = pick(&*update.picker).subchannel;
        let other = pick(&*update.picker).subchannel;
        assert_ne!(one, other);
    }

    #[test]
    fn who_calls_when_all_are_free_gets_to_all() {
        static DIE: AtomicUsize = AtomicUsize::new(0);
        let desks = [(1, "home"), (2, "home"), (3, "home")];
        let (mut policy, mut actions, made) = nearby(&desks);
        made.values().for_each(|id| ready(&mut policy, &mut actions, *id));
        let update = actions.take_update().unwrap();
        let metadata = Metadata::new();
        let mut counts = HashMap::new();
        for _ in 0..30 {
            let random = || DIE.fetch_add(1, Ordering::Relaxed) as u64;
            let args = PickArgs::new(&SERVE, &metadata, 0, random);
            let Pick::Complete(picked) = update.picker.pick(&args) else {
                panic!("a desk is free")
            };
            *counts.entry(picked.subchannel).or_insert(0) += 1;
            // The call ends before the next one.
            policy.desks.iter().for_each(|desk| desk.load.0.store(0, Ordering::Relaxed));
        }
        assert!(made.values().all(|id| counts[id] == 10), "{counts:?}");
    }

    /// What calls are told that do not wait, with the channel's target.
    fn failure(actions: &mut Actions) -> String {
        let update = actions.take_update().unwrap();
        assert_eq!(update.state, ChannelState::TransientFailure);
        let metadata = Metadata::new();
        match update.picker.pick(&PickArgs::new(&SERVE, &metadata, 0, || 0)) {
            Pick::Fail(status) => status.message().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_without_desks_says_so_and_is_asked_for_again() {
        let mut actions = Actions::new("test", 1);
        let mut policy = Nearby::new(Zone("home"));
        policy.handle(resolved(&[]), Instant::now(), &mut actions);
        assert_eq!(failure(&mut actions), "cannot connect to test: no desk is open");
        assert_eq!(actions.drain(), [Action::Resolve]);
        let failed = Event::ResolverFailed(Status::unavailable("the list is lost"));
        policy.handle(failed, Instant::now(), &mut actions);
        assert_eq!(failure(&mut actions), "cannot connect to test: the list is lost");
    }

    #[test]
    fn a_desk_that_is_listed_twice_is_one_and_goes_as_one() {
        let (mut policy, mut actions, made) = nearby(&[(1, "home"), (1, "home"), (2, "away")]);
        assert_eq!((made.len(), policy.children.len(), policy.desks.len()), (2, 2, 2));
        ready(&mut policy, &mut actions, made[&1]);
        actions.drain();
        policy.handle(resolved(&[(2, "away")]), Instant::now(), &mut actions);
        assert_eq!((policy.children.len(), policy.desks.len()), (1, 1));
        assert_eq!(actions.drain(), [Action::Remove(made[&1])]);
    }

    /// And so where its addresses are the same ones in another order.
    #[test]
    fn a_desk_that_stays_keeps_its_count() {
        let [one, two] = [1, 2].map(|port| Address::tcp(([10, 0, 0, 1], port).into()));
        let mut actions = Actions::new("test", 1);
        let mut policy = Nearby::new(Zone("home"));
        let tell = |policy: &mut Nearby, actions: &mut Actions, addresses: [&Address; 2]| {
            let desk = Endpoint::new(addresses.map(Clone::clone)).attribute(Zone("home"));
            policy.handle(Event::Resolved(Resolution::new([desk])), Instant::now(), actions);
            (policy.desks[0].child, Arc::clone(&policy.desks[0].load))
        };
        let (child, load) = tell(&mut policy, &mut actions, [&one, &two]);
        let (same_child, same_load) = tell(&mut policy, &mut actions, [&two, &one]);
        assert!(child == same_child && Arc::ptr_eq(&load, &same_load));
    }

    /// A channel that is told to be active again connects to whom it was not connected.
    #[test]
    fn what_is_idle_connects_when_it_is_told_to() {
        let (mut policy, mut actions, made) = nearby(&[(1, "home")]);
        ready(&mut policy, &mut actions, made[&1]);
        let desk = policy.desks[0].child;
        let lost = Event::Subchannel(made[&1], SubchannelState::Idle);
        policy.children.handle(desk, lost, Instant::now(), &mut actions);
        actions.drain();
        policy.handle(Event::ExitIdle, Instant::now(), &mut actions);
        assert!(actions.drain().contains(&Action::Connect(made[&1])));
    }
}
