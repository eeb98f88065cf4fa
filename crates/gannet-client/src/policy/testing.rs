//! What tests of policies have in common: addresses, and a policy that is looked at from outside.

use std::time::{Duration, Instant};

use gannet_core::Metadata;
use gannet_core::{MethodDescriptor, MethodKind, Status};

use super::{
    Action, Actions, ChannelState, Event, Pick, PickArgs, Policy, SubchannelId, SubchannelState,
    Update,
};
use crate::name::{Address, Endpoint, Resolution};

static METHOD: MethodDescriptor = MethodDescriptor::new("/a.B/C", MethodKind::Unary);

pub(super) fn address(text: &str) -> Address {
    Address::tcp(text.parse().unwrap())
}

pub(super) fn addresses(list: &[&str]) -> Vec<Address> {
    list.iter().map(|text| address(text)).collect()
}

/// Each an endpoint.
pub(super) fn endpoints(list: &[&str]) -> Resolution {
    Resolution::new(list.iter().map(|text| address(text)))
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A policy, the time, and what it has done.
pub(super) struct Bench<P> {
    pub(super) policy: P,
    pub(super) actions: Actions,
    pub(super) start: Instant,
    pub(super) now: Instant,
    /// Subchannels that exist.
    pub(super) made: Vec<(SubchannelId, Address)>,
    /// The last that was published.
    pub(super) update: Option<Update>,
    /// What was done last, told in words.
    pub(super) done: Vec<String>,
}

impl<P: Policy> Bench<P> {
    pub(super) fn new(policy: P) -> Bench<P> {
        let start = Instant::now();
        Bench {
            policy,
            actions: Actions::new("test", 1),
            start,
            now: start,
            made: Vec::new(),
            update: None,
            done: Vec::new(),
        }
    }

    /// What the policy does, in words: addresses in place of ids.
    pub(super) fn tell(&mut self, event: Event) -> Vec<String> {
        self.policy.handle(event, self.now, &mut self.actions);
        let mut done = Vec::new();
        for action in self.actions.drain() {
            let told = match action {
                Action::Create(id, address) => {
                    self.made.push((id, address));
                    continue;
                }
                Action::Connect(id) => format!("connect {}", self.name(id)),
                Action::WatchHealth(id) => format!("watch {}", self.name(id)),
                Action::Remove(id) => {
                    let told = format!("remove {}", self.name(id));
                    self.made.retain(|(known, _)| *known != id);
                    self.actions.free(id);
                    told
                }
                Action::SetTimer(_, at) => format!("timer {}", (at - self.start).as_millis()),
                Action::CancelTimer(_) => continue,
                Action::Resolve => "resolve".to_owned(),
            };
            done.push(told);
        }
        if let Some(update) = self.actions.take_update() {
            done.push(format!("{:?}", update.state));
            self.update = Some(update);
        }
        self.done.clone_from(&done);
        done
    }

    pub(super) fn name(&self, id: SubchannelId) -> String {
        let (_, address) = self.made.iter().find(|(known, _)| *known == id).expect("it exists");
        address.to_string()
    }

    pub(super) fn id(&self, text: &str) -> SubchannelId {
        let wanted = address(text);
        self.made.iter().find(|(_, address)| *address == wanted).expect("it exists").0
    }

    pub(super) fn subchannel(&mut self, text: &str, state: SubchannelState) -> Vec<String> {
        let id = self.id(text);
        self.tell(Event::Subchannel(id, state))
    }

    /// Connected, and in good health.
    pub(super) fn ready(&mut self, text: &str) -> Vec<String> {
        let id = self.id(text);
        let mut done = self.tell(Event::Subchannel(id, SubchannelState::Ready));
        done.extend(self.tell(Event::Health(id, SubchannelState::Ready)));
        done
    }

    pub(super) fn failed(&mut self, text: &str) -> Vec<String> {
        let status = Status::unavailable(format!("{text}: no"));
        self.subchannel(text, SubchannelState::TransientFailure(status))
    }

    pub(super) fn state(&self) -> Option<ChannelState> {
        self.update.as_ref().map(|update| update.state)
    }

    pub(super) fn pick(&self) -> Pick {
        let metadata = Metadata::new();
        let args = PickArgs::new(&METHOD, &metadata, 0, || 0);
        self.update.as_ref().expect("something is published").picker.pick(&args)
    }

    /// The address that a call goes to, or why it does not.
    pub(super) fn picked(&self) -> String {
        match self.pick() {
            Pick::Complete(picked) => self.name(picked.subchannel),
            Pick::Fail(status) => status.message().to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// Endpoints of several addresses each.
pub(super) fn grouped(list: &[&[&str]]) -> Resolution {
    Resolution::new(list.iter().map(|one| Endpoint::new(addresses(one))))
}
