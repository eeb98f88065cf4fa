//! The policy: calls go to the server with the fewest calls in flight, among those of one's own
//! zone, and among the others where none of these is connected.
//!
//! It decides which endpoints to connect to (all), and which call goes where. How an endpoint with
//! several addresses is connected to, and again after a failure, it leaves to a `PickFirst` for
//! each. Like every policy it is a pure state machine; the tests below have no network and no time.

use std::collections::HashMap;
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
    /// The endpoints, by their addresses.
    desks: HashMap<Vec<Address>, Desk>,
}

/// An endpoint.
struct Desk {
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
        Nearby { home, children: Children::new(), desks: HashMap::new() }
    }

    fn resolved(&mut self, resolution: Resolution, now: Instant, actions: &mut Actions) {
        let mut old = std::mem::take(&mut self.desks);
        for endpoint in resolution.endpoints {
            let is_near = endpoint.attributes().get::<Zone>() == Some(&self.home);
            let key = endpoint.addresses().to_vec();
            // What stays keeps its connection, and its count.
            let mut desk = old.remove(&key).unwrap_or_else(|| Desk {
                child: self.children.add(PickFirst::new()),
                is_near,
                load: Arc::default(),
            });
            desk.is_near = is_near;
            let event = Event::Resolved(Resolution::new([Endpoint::new(key.clone())]));
            self.children.handle(desk.child, event, now, actions);
            self.desks.insert(key, desk);
        }
        for desk in old.into_values() {
            self.children.remove(desk.child, actions);
        }
        self.publish(now, actions);
    }

    fn publish(&mut self, now: Instant, actions: &mut Actions) {
        let (mut ready, mut is_near, mut pending) = (Vec::new(), false, false);
        let mut failing: Option<Arc<dyn Picker>> = None;
        for desk in self.desks.values() {
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
            None if self.desks.is_empty() => {
                let none = Status::unavailable("no desk is open");
                actions.update(ChannelState::TransientFailure, Arc::new(Failing(none)));
            }
            _ => actions.update(ChannelState::Connecting, Arc::new(Queueing)),
        }
    }
}

impl Policy for Nearby {
    fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
        match event {
            Event::Resolved(resolution) => self.resolved(resolution, now, actions),
            Event::ResolverFailed(status) if self.desks.is_empty() => {
                actions.update(ChannelState::TransientFailure, Arc::new(Failing(status)));
            }
            event => {
                if self.children.route(event, now, actions).is_some() {
                    self.publish(now, actions);
                }
            }
        }
    }
}

/// What decides for each call.
struct LeastBusy(Vec<Seat>);

struct Seat {
    subchannel: SubchannelId,
    load: Arc<Load>,
}

impl Picker for LeastBusy {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        let least = self.0.iter().min_by_key(|seat| seat.load.0.load(Ordering::Relaxed));
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

    /// The policy with these endpoints; and the subchannels that it has made, by their ports.
    fn nearby(endpoints: &[(u16, &'static str)]) -> (Nearby, Actions, HashMap<u16, SubchannelId>) {
        let mut actions = Actions::new("test", 1);
        let mut policy = Nearby::new(Zone("home"));
        let list = endpoints.iter().map(|(port, zone)| endpoint(*port, zone));
        policy.handle(Event::Resolved(Resolution::new(list)), Instant::now(), &mut actions);
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
    fn a_list_without_desks_says_so() {
        let (_, mut actions, _) = nearby(&[]);
        assert_eq!(actions.take_update().unwrap().state, ChannelState::TransientFailure);
    }
}
