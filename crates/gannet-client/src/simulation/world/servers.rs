//! The servers: what they do, and what becomes of connections to them.

use std::time::Instant;

use gannet_core::Status;

use super::{Happening, World, ms, now};
use crate::policy::{BackendId, BackoffConfig, Lost, SubchannelState};

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Serves,
    Refuses,
    /// It accepts and says nothing: who tries gives up, who is connected finds it by keepalive.
    Hangs,
    /// It ends each connection as soon as it is made.
    Ends,
    /// It is not serving.
    Sick,
    /// It never says how it feels.
    Mute,
}

pub(super) const MOODS: [Mood; 6] =
    [Mood::Serves, Mood::Refuses, Mood::Hangs, Mood::Ends, Mood::Sick, Mood::Mute];

/// A connection.
pub(super) struct Conn {
    pub(super) server: usize,
    pub(super) serial: u64,
    pub(super) made: Instant,
    /// A call was answered.
    pub(super) has_served: bool,
    pub(super) calls: usize,
    /// As the balancer was told; `None` before.
    pub(super) feels_well: Option<bool>,
    pub(super) is_watched: bool,
}

impl World {
    /// An attempt that nobody wants any more may end, too: it is not heard.
    pub(super) fn attempt_ends(&mut self, backend: BackendId, number: u64, succeeds: bool) {
        let is_wanted = self.attempts.get(&backend) == Some(&number);
        if !succeeds {
            let status = Status::unavailable("refused");
            self.balancer.handle_failed(backend, number, status, now());
            if is_wanted {
                self.attempts.remove(&backend);
                self.sums.failures += 1;
            }
            return;
        }
        let heard = self.balancer.handle_established(backend, number, now());
        assert_eq!(heard, is_wanted, "an attempt that is over was heard, or one that is not");
        if !heard {
            return;
        }
        self.attempts.remove(&backend);
        self.sums.connections += 1;
        let server = self.addresses[&backend];
        self.serial += 1;
        let serial = self.serial;
        let conn = Conn {
            server,
            serial,
            made: now(),
            has_served: false,
            calls: 0,
            feels_well: None,
            is_watched: false,
        };
        self.conns.insert(backend, conn);
        let after = self.dice.random() % 20;
        match self.moods[server] {
            Mood::Ends => self.plan(ms(1 + after), Happening::Lost { backend, serial }),
            // It has stopped answering meanwhile: keepalive finds it.
            Mood::Hangs => self.plan(ms(11_000 + after), Happening::Lost { backend, serial }),
            _ => {}
        }
    }

    pub(super) fn lose(&mut self, backend: BackendId) {
        let Some(conn) = self.conns.remove(&backend) else { return };
        self.sums.losses += 1;
        let was_good = conn.has_served || now() >= conn.made + BackoffConfig::default().initial;
        self.dials.lost(conn.server, was_good);
        let why = Status::unavailable("lost");
        let lost = Lost { has_served: conn.has_served, why };
        self.balancer.handle_lost(backend, lost, now());
    }

    /// Whoever asks is answered.
    pub(super) fn feel(&mut self, backend: BackendId) {
        let conn = self.conns.get_mut(&backend).expect("it is one");
        let feels_well = match self.moods[conn.server] {
            Mood::Mute | Mood::Hangs => return,
            mood => mood != Mood::Sick,
        };
        conn.feels_well = Some(feels_well);
        self.sums.feelings += 1;
        let health = match feels_well {
            true => SubchannelState::Ready,
            false => SubchannelState::TransientFailure(Status::unavailable("not serving")),
        };
        self.balancer.handle_health(backend, health, now());
    }

    pub(super) fn plan_feelings(&mut self, backend: BackendId) {
        let after = ms(1 + self.dice.random() % 100);
        let Some(conn) = self.conns.get(&backend).filter(|conn| conn.is_watched) else { return };
        let serial = conn.serial;
        self.plan(after, Happening::Feels { backend, serial });
    }
}
