//! What a policy does, done: subchannels, attempts and timers.

use std::time::Instant;

use super::{Backend, BackendId, Balancer, Due, Effect, Handle};
use crate::name::Address;
use crate::policy::subchannel::{Connect, Subchannel};
use crate::policy::{Action, Attempt, ChannelState, Event, SubchannelId, SubchannelState, Token};

impl Backend {
    fn dial(&self, id: BackendId, begun: Attempt) -> Effect {
        Effect::Dial {
            backend: id,
            address: self.address.clone(),
            attempt: self.attempts,
            nth: self.machine.attempts(),
            give_up_at: begun.give_up_at,
        }
    }
}

impl Balancer {
    pub(super) fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Create(id, address) => self.create(id, &address),
            Action::Connect(id) => self.connect(id, now),
            Action::WatchHealth(id) => self.watch_health(id),
            Action::Remove(id) => self.remove(id),
            Action::SetTimer(token, at) => {
                self.cancel(token);
                self.policy_timers.insert(token, at);
                self.timers.insert((at, Due::Policy(token)));
            }
            Action::CancelTimer(token) => self.cancel(token),
            Action::Resolve => self.effects.push(Effect::Resolve),
        }
    }

    fn create(&mut self, id: SubchannelId, address: &Address) {
        let known = self.by_address.get(address).copied();
        let backend_id = known.unwrap_or_else(|| {
            self.backends_made += 1;
            let made = BackendId(self.backends_made);
            self.by_address.insert(address.clone(), made);
            let backend = Backend {
                address: address.clone(),
                machine: Subchannel::new(self.backoff.clone()),
                attempts: 0,
                subchannels: Vec::new(),
                health: None,
            };
            self.backends.insert(made, backend);
            made
        });
        let Some(backend) = self.backends.get_mut(&backend_id) else { return };
        backend.subchannels.push(id);
        if backend.machine.state().state() != ChannelState::Idle {
            self.events.push_back(Event::Subchannel(id, backend.machine.state().clone()));
        }
        let index = id.index();
        if self.subchannels.len() <= index {
            self.subchannels.resize_with(index + 1, || None);
        }
        let generation = id.generation();
        self.subchannels[index] =
            Some(Handle { generation, backend: backend_id, watches_health: false });
    }

    fn connect(&mut self, id: SubchannelId, now: Instant) {
        let Some(handle) = self.handle_of(id) else { return };
        let backend_id = handle.backend;
        let random = self.actions.random_part();
        let Some(backend) = self.backends.get_mut(&backend_id) else { return };
        let Some(connect) = backend.machine.connect(now, random) else { return };
        backend.attempts += 1;
        match connect {
            Connect::Now(begun) => {
                let dial = backend.dial(backend_id, begun);
                self.effects.push(dial);
            }
            Connect::At(at) => {
                self.timers.extend(at.map(|at| (at, Due::Backoff(backend_id))));
            }
        }
        self.tell(backend_id);
    }

    /// The attempt begins that was put off.
    pub(super) fn dial(&mut self, id: BackendId, now: Instant) {
        let random = self.actions.random_part();
        let Some(backend) = self.backends.get_mut(&id) else { return };
        let begun = backend.machine.begin(now, random);
        let dial = backend.dial(id, begun);
        self.effects.push(dial);
    }

    /// Attempts that are under way came to nothing, and are made anew: nobody runs them any more.
    pub(crate) fn restart_attempts(&mut self, now: Instant) {
        let is_begun = |backend: &Backend| {
            let machine = &backend.machine;
            matches!(machine.state(), SubchannelState::Connecting) && !machine.is_resting()
        };
        let begun = self.backends.iter().filter(|(_, backend)| is_begun(backend));
        let begun: Vec<BackendId> = begun.map(|(id, _)| *id).collect();
        for id in begun {
            if let Some(backend) = self.backends.get_mut(&id) {
                backend.attempts += 1;
            }
            self.dial(id, now);
        }
    }

    fn watch_health(&mut self, id: SubchannelId) {
        let Some(Some(handle)) = self.subchannels.get_mut(id.index()) else { return };
        let Some(backend) = self.backends.get_mut(&handle.backend) else { return };
        if handle.generation != id.generation() || !backend.machine.state().is_ready() {
            return;
        }
        handle.watches_health = true;
        if !self.checks_health {
            self.events.push_back(Event::Health(id, SubchannelState::Ready));
            return;
        }
        match &backend.health {
            Some(health) => self.events.push_back(Event::Health(id, health.clone())),
            None => {
                backend.health = Some(SubchannelState::Connecting);
                self.effects.push(Effect::WatchHealth(handle.backend));
            }
        }
    }

    fn remove(&mut self, id: SubchannelId) {
        if self.handle_of(id).is_none() {
            return;
        }
        let Some(handle) = self.subchannels[id.index()].take() else { return };
        self.actions.free(id);
        if let Some(backend) = self.backends.get_mut(&handle.backend) {
            // Its picker may go on picking it: nothing is connected there any more.
            self.is_changed |= backend.machine.state().is_ready();
            backend.subchannels.retain(|known| *known != id);
            self.forsaken.push(handle.backend);
        }
    }

    fn cancel(&mut self, token: Token) {
        if let Some(at) = self.policy_timers.remove(&token) {
            self.timers.remove(&(at, Due::Policy(token)));
        }
    }

    pub(super) fn clear_forsaken(&mut self) {
        while let Some(id) = self.forsaken.pop() {
            let Some(backend) = self.backends.get(&id) else { continue };
            if !backend.subchannels.is_empty() {
                continue;
            }
            if let Some(at) = backend.machine.retry_at() {
                self.timers.remove(&(at, Due::Backoff(id)));
            }
            self.by_address.remove(&backend.address);
            self.backends.remove(&id);
            self.effects.push(Effect::Abandon(id));
        }
    }
}
