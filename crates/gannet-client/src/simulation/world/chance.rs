//! What happens by chance: servers change their ways, names what they stand for; somebody calls.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::names::{Answer, numbered};
use super::servers::{MOODS, Mood};
use super::{Happening, IDLE_TIMEOUT, World, ms, now};
use crate::name::Endpoint;

impl World {
    pub(super) fn by_chance(&mut self) {
        let scale = self.scale();
        match self.roll(20) {
            0..=6 => self.change_mood(),
            7..=13 => (0..=self.roll(scale)).for_each(|_| self.call()),
            14 if self.roll(scale) == 0 => self.rename(),
            15 => {
                // A server drains: its calls go on elsewhere than in this table.
                let at = self.roll(self.conns.len().max(1));
                if let Some(backend) = self.conns.keys().nth(at).copied() {
                    self.lose(backend);
                }
            }
            16 if self.roll(8 * scale) == 0 => {
                (0..self.moods.len()).for_each(|server| self.dials.forgotten(server));
                self.names.hurry();
                self.balancer.reset_backoff(now());
            }
            // Nothing, for longer than the channel is patient.
            17 if self.roll(20 * scale) == 0 => {
                self.quiet_until = now() + QUIET;
                self.quiet += QUIET;
            }
            _ => {}
        }
    }

    /// Some servers change their ways; half of them are among those that are connected.
    fn change_mood(&mut self) {
        for _ in 0..=self.roll(self.scale()) {
            let mut server = self.roll(self.moods.len());
            let mood = match self.roll(2) {
                0 => Mood::Serves,
                _ => MOODS[self.roll(MOODS.len())],
            };
            let at = self.roll(2 * self.conns.len().max(1));
            if let Some(conn) = self.conns.values().nth(at) {
                server = conn.server;
            }
            self.tell(|| format!("{server}: {mood:?}"));
            self.moods[server] = mood;
            let conns = self.conns.iter().find(|(_, conn)| conn.server == server);
            let Some((backend, serial)) = conns.map(|(id, conn)| (*id, conn.serial)) else {
                continue;
            };
            let (soon, late) = (self.dice.random() % 50, self.dice.random() % 10_000);
            match mood {
                Mood::Refuses | Mood::Ends => {
                    self.plan(ms(soon), Happening::Lost { backend, serial });
                }
                // Keepalive finds it.
                Mood::Hangs => {
                    self.plan(ms(10_000 + late), Happening::Lost { backend, serial });
                }
                _ => self.plan_feelings(backend),
            }
        }
    }

    /// The name stands for other servers, or cannot be resolved.
    fn rename(&mut self) {
        let changes = 1 + self.roll(self.moods.len() / 10 + 1);
        for _ in 0..changes {
            let server = self.roll(self.moods.len());
            if !self.wanted.remove(&server) {
                self.wanted.insert(server);
            }
        }
        let takes = ms(self.dice.random() % 3_000);
        match (self.roll(10), self.names.is_list()) {
            (0, false) => self.names.set(Answer::Fails, takes),
            (1, false) => self.names.set(Answer::Nothing, takes),
            (2, false) => self.names.set(Answer::Hangs, takes),
            (0, true) => self.names.fail_list(),
            (1, true) => self.names.set_list(Vec::new()),
            _ => self.name_wanted(takes),
        }
    }

    /// The name stands for what it should. Some are told twice; in lists, some share an endpoint.
    pub(super) fn name_wanted(&mut self, takes: Duration) {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for server in self.wanted.clone() {
            addresses.extend((0..=usize::from(self.roll(10) == 0)).map(|_| numbered(server)));
        }
        if !self.names.is_list() {
            return self.names.set(Answer::These(addresses), takes);
        }
        let mut endpoints = Vec::new();
        let mut rest = addresses.as_slice();
        while !rest.is_empty() {
            let some = if self.roll(4) == 0 { 1 + self.roll(3) } else { 1 };
            let (one, others) = rest.split_at(some.min(rest.len()));
            endpoints.push(Endpoint::new(one.iter().copied()));
            rest = others;
        }
        self.names.set_list(endpoints);
    }
}

/// For how long nothing happens by chance, once in a while.
const QUIET: Duration = Duration::from_secs(3 * IDLE_TIMEOUT.as_secs());
