//! Policies within a policy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{Action, Actions, ChannelState, Event, Picker, Policy, Queueing, SubchannelId, Token};

/// Names a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(u64);

/// The policies that a policy contains: keeps what each has published, and knows which of them an
/// event is for. For policies that decide between endpoints, and leave it to a
/// [`PickFirst`](super::PickFirst) for each to connect to it (gRFC A61, "petiole policies").
pub struct Children<P> {
    children: BTreeMap<ChildId, Child<P>>,
    made: u64,
    subchannels: HashMap<SubchannelId, ChildId>,
    /// Who has made a token, by its scope: children, and theirs.
    scopes: HashMap<u64, ChildId>,
}

/// What it has is kept in order: what becomes of it must follow from a seed.
struct Child<P> {
    policy: P,
    state: ChannelState,
    picker: Arc<dyn Picker>,
    subchannels: BTreeSet<SubchannelId>,
    /// Timers that are set.
    timers: BTreeSet<Token>,
    /// The scope of its tokens, once it was told something.
    scope: Option<u64>,
    /// That, and those of its children.
    scopes: BTreeSet<u64>,
}

impl<P: Policy> Children<P> {
    /// None.
    pub fn new() -> Children<P> {
        Children {
            children: BTreeMap::new(),
            made: 0,
            subchannels: HashMap::new(),
            scopes: HashMap::new(),
        }
    }

    /// Adds a policy, which counts as connecting until it publishes something.
    pub fn add(&mut self, policy: P) -> ChildId {
        self.made += 1;
        let id = ChildId(self.made);
        let child = Child {
            policy,
            state: ChannelState::Connecting,
            picker: Arc::new(Queueing),
            subchannels: BTreeSet::new(),
            timers: BTreeSet::new(),
            scope: None,
            scopes: BTreeSet::new(),
        };
        self.children.insert(id, child);
        id
    }

    /// Removes one, and all that it has: subchannels and timers.
    pub fn remove(&mut self, id: ChildId, actions: &mut Actions) {
        let Some(child) = self.children.remove(&id) else { return };
        for subchannel in child.subchannels {
            self.subchannels.remove(&subchannel);
            actions.remove(subchannel);
        }
        for timer in child.timers {
            actions.cancel_timer(timer);
        }
        for scope in child.scopes {
            self.scopes.remove(&scope);
            actions.end_scope(scope);
        }
    }

    /// Tells one child what happened: whether it has published anything.
    pub fn handle(
        &mut self,
        id: ChildId,
        event: Event,
        now: Instant,
        actions: &mut Actions,
    ) -> bool {
        let Some(child) = self.children.get_mut(&id) else { return false };
        // What the policy around it has published in this turn stays.
        let outer = actions.take_update();
        if let Event::Timer(timer) = &event {
            child.timers.remove(timer);
        }
        let (done, scopes, ended) = (actions.len(), actions.scopes(), actions.ended_scopes().len());
        let scope = *child.scope.get_or_insert_with(|| actions.new_scope());
        let around = actions.enter(scope);
        child.policy.handle(event, now, actions);
        actions.enter(around);
        for action in actions.since(done) {
            match action {
                Action::Create(subchannel, _) => {
                    child.subchannels.insert(*subchannel);
                    self.subchannels.insert(*subchannel, id);
                }
                Action::Remove(subchannel) => {
                    child.subchannels.remove(subchannel);
                    self.subchannels.remove(subchannel);
                }
                Action::SetTimer(timer, _) => drop(child.timers.insert(*timer)),
                Action::CancelTimer(timer) => drop(child.timers.remove(timer)),
                _ => {}
            }
        }
        for scope in (scopes..actions.scopes()).map(|before| before + 1) {
            child.scopes.insert(scope);
            self.scopes.insert(scope, id);
        }
        for scope in &actions.ended_scopes()[ended..] {
            child.scopes.remove(scope);
            self.scopes.remove(scope);
        }
        let update = actions.take_update();
        if let Some(outer) = outer {
            actions.update(outer.state, outer.picker);
        }
        let Some(update) = update else { return false };
        (child.state, child.picker) = (update.state, update.picker);
        true
    }

    /// Tells the child that an event is for, where it is for one: which, if it has published
    /// anything.
    pub fn route(&mut self, event: Event, now: Instant, actions: &mut Actions) -> Option<ChildId> {
        let id = match &event {
            Event::Subchannel(subchannel, _) | Event::Health(subchannel, _) => {
                self.subchannels.get(subchannel)
            }
            Event::Timer(token) | Event::Wake(token) => self.scopes.get(&token.scope),
            _ => None,
        };
        let id = *id?;
        self.handle(id, event, now, actions).then_some(id)
    }

    /// What one has published last: its state, and its picker.
    pub fn published(&self, id: ChildId) -> Option<(ChannelState, &Arc<dyn Picker>)> {
        self.children.get(&id).map(|child| (child.state, &child.picker))
    }

    /// All of them, oldest first, with what they have published last.
    pub fn iter(&self) -> impl Iterator<Item = (ChildId, ChannelState, &Arc<dyn Picker>)> {
        self.children.iter().map(|(id, child)| (*id, child.state, &child.picker))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

impl<P: Policy> Default for Children<P> {
    fn default() -> Self {
        Children::new()
    }
}

impl<P> fmt::Debug for Children<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("len", &self.children.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{Bench, endpoints, ms};

    const A: &str = "1.1.1.1:1";

    /// Sets a timer of another name each time, and lets calls wait for a third.
    #[derive(Default)]
    struct Wasteful {
        timer: Option<Token>,
        woken: Vec<Token>,
    }

    impl Policy for Wasteful {
        fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
            match event {
                Event::Resolved(_) | Event::Timer(_) => {
                    let (timer, _) = (actions.token(), actions.token());
                    actions.set_timer(timer, now + ms(1));
                    self.timer = Some(timer);
                }
                Event::Wake(token) => self.woken.push(token),
                _ => {}
            }
        }
    }

    /// Children, which are told of names, and removed by an event.
    struct Family<P>(Children<P>, Vec<ChildId>, fn() -> P);

    impl<P: Policy> Policy for Family<P> {
        fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
            match event {
                Event::Resolved(_) => {
                    let id = self.0.add((self.2)());
                    self.1.push(id);
                    self.0.handle(id, event, now, actions);
                }
                Event::ExitIdle => {
                    for id in std::mem::take(&mut self.1) {
                        self.0.remove(id, actions);
                    }
                }
                Event::ResetBackoff => {
                    for id in self.1.clone() {
                        self.0.handle(id, Event::ExitIdle, now, actions);
                    }
                }
                event => drop(self.0.route(event, now, actions)),
            }
        }
    }

    fn family<P: Policy>(make: fn() -> P) -> Family<P> {
        Family(Children::new(), Vec::new(), make)
    }

    #[test]
    fn tokens_are_not_kept_and_lead_to_who_has_made_them() {
        let mut bench = Bench::new(family(|| family(Wasteful::default)));
        for _ in 0..3 {
            bench.tell(Event::Resolved(endpoints(&[A])));
        }
        let inner = |bench: &Bench<Family<Family<Wasteful>>>, nth| {
            let outer = &bench.policy.0.children[&bench.policy.1[nth]];
            let inner = &outer.policy.0.children[&outer.policy.1[0]].policy;
            (inner.timer.unwrap(), inner.woken.clone())
        };
        for _ in 0..1_000 {
            for nth in 0..3 {
                let (timer, _) = inner(&bench, nth);
                assert_eq!(
                    bench.tell(Event::Timer(timer)).len(),
                    1,
                    "it is told, and sets another"
                );
            }
        }
        for nth in 0..3 {
            let (timer, _) = inner(&bench, nth);
            let wake = Token { number: timer.number + 1, scope: timer.scope };
            bench.tell(Event::Wake(wake));
            assert_eq!(inner(&bench, nth).1, [wake], "and no one else");
        }
        let outer = &bench.policy.0;
        assert_eq!(outer.scopes.len(), 6, "one for each, and for each of its own");
        assert!(outer.children.values().all(|child| child.timers.len() == 1));
        // Those of a child that loses its own go.
        bench.tell(Event::ResetBackoff);
        assert_eq!(bench.policy.0.scopes.len(), 3);
        assert!(bench.policy.0.children.values().all(|child| child.timers.is_empty()));
        bench.tell(Event::ExitIdle);
        assert!(bench.policy.0.scopes.is_empty() && bench.policy.0.is_empty());
        assert!(bench.tell(Event::Timer(Token { number: 1, scope: 1 })).is_empty(), "nobody's");
    }
    /// Makes a subchannel of each address, and sets a timer for each.
    struct Hoarder;

    impl Policy for Hoarder {
        fn handle(&mut self, event: Event, now: Instant, actions: &mut Actions) {
            let Event::Resolved(resolution) = event else { return };
            for endpoint in &resolution.endpoints {
                actions.create(&endpoint.addresses()[0]);
                let timer = actions.token();
                actions.set_timer(timer, now + ms(1));
            }
        }
    }

    #[test]
    fn what_a_child_had_goes_in_the_order_in_which_it_came() {
        let list: Vec<String> = (1..=40).map(|port| format!("1.1.1.1:{port}")).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let (mut actions, mut family) = (Actions::new("test", 1), family(|| Hoarder));
        family.handle(Event::Resolved(endpoints(&list)), Instant::now(), &mut actions);
        let (mut goes, mut ends) = (Vec::new(), Vec::new());
        for action in actions.drain() {
            match action {
                Action::Create(id, _) => goes.push(Action::Remove(id)),
                Action::SetTimer(timer, _) => ends.push(Action::CancelTimer(timer)),
                _ => {}
            }
        }
        family.handle(Event::ExitIdle, Instant::now(), &mut actions);
        goes.extend(ends);
        assert_eq!(goes.len(), 80);
        assert_eq!(actions.drain(), goes);
    }
}
