//! What happens, and when.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `chance` | what happens by chance |
//! | `servers` | what servers do, and what becomes of connections |

mod chance;
mod servers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::Status;

use super::laws::{Dials, Seen, Spy};
use super::names::{Names, number_of};
use super::sums::Sums;
use super::traffic::{Found, Traffic};
use crate::name::{Endpoint, Resolution};
use crate::policy::{
    Actions, Activity, BackendId, BackoffConfig, Balancer, ChannelState, Effect, Idleness,
    PickFirst, Policy, RoundRobin,
};
use servers::{Conn, Mood};

/// The policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    RoundRobin,
    PickFirst,
    Shuffled,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    /// An attempt ends, and comes to something or not.
    Attempt { backend: BackendId, number: u64, succeeds: bool },
    /// A connection, by its number, ends.
    Lost { backend: BackendId, serial: u64 },
    /// Its server says how it feels.
    Feels { backend: BackendId, serial: u64 },
    /// One call on it ends.
    CallEnds { backend: BackendId, serial: u64 },
}

pub(super) struct World {
    kind: Kind,
    /// For what happens; the policy has numbers of its own.
    dice: Actions,
    balancer: Balancer,
    idleness: Idleness,
    last_call: Instant,
    checks_health: bool,
    names: Names,
    /// What the balancer was told last.
    listed: BTreeSet<usize>,
    /// How many addresses that was, each as often as it was told.
    listed_twice: usize,
    /// The most that this has been.
    listed_most: usize,
    /// What the name should stand for.
    wanted: BTreeSet<usize>,
    moods: Vec<Mood>,
    agenda: BTreeMap<(Instant, u64), Happening>,
    /// Of things that happen, and of connections.
    serial: u64,
    attempts: HashMap<BackendId, u64>,
    addresses: HashMap<BackendId, usize>,
    conns: BTreeMap<BackendId, Conn>,
    traffic: Traffic,
    dials: Dials,
    seen: Seen,
    is_calm: bool,
    /// Before this nothing happens by chance.
    quiet_until: Instant,
    /// How long that was so, in all.
    quiet: Duration,
    start: Instant,
    sums: Sums,
    /// What has happened, where somebody compares.
    tale: Vec<String>,
}

/// Tokio's clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Between two things that happen by chance, milliseconds; twice that among many servers, to
/// several of which they happen at once.
const PAUSE_MAX: u64 = 200;
/// How long a channel has no calls before it is idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take until all is well that is to be: the longest backoff, several times.
const CALM_MAX: Duration = Duration::from_secs(1_200);

impl World {
    pub(super) fn new(kind: Kind, seed: u64, backends: usize) -> World {
        let seen = Seen::default();
        let spied = seen.clone();
        let make = move || -> Box<dyn Policy> {
            spied.begin();
            let inner: Box<dyn Policy> = match kind {
                Kind::RoundRobin => Box::new(RoundRobin::new()),
                Kind::PickFirst => Box::new(PickFirst::new()),
                Kind::Shuffled => Box::new(PickFirst::new().shuffled()),
            };
            Box::new(Spy { inner, kind, seen: spied.clone() })
        };
        let checks_health = !seed.is_multiple_of(3);
        let backoff = BackoffConfig::default();
        let actions = Actions::new("sim", seed ^ 0x5eed);
        // Of each size there are both kinds: sizes change with each seed.
        let is_list = (seed + seed / 4).is_multiple_of(2);
        let mut world = World {
            kind,
            dice: Actions::new("dice", seed),
            balancer: Balancer::new(Arc::new(make), actions, backoff, checks_health),
            idleness: Idleness::new(Some(IDLE_TIMEOUT)),
            last_call: now(),
            checks_health,
            names: Names::new(is_list),
            listed: BTreeSet::new(),
            listed_twice: 0,
            listed_most: 0,
            wanted: (0..backends).collect(),
            moods: vec![Mood::Serves; backends],
            agenda: BTreeMap::new(),
            serial: 0,
            attempts: HashMap::new(),
            addresses: HashMap::new(),
            conns: BTreeMap::new(),
            traffic: Traffic::new(),
            dials: Dials::default(),
            seen,
            is_calm: false,
            quiet_until: now(),
            quiet: Duration::ZERO,
            start: now(),
            sums: Sums::default(),
            tale: Vec::new(),
        };
        world.name_wanted(Duration::ZERO);
        world
    }

    fn roll(&mut self, end: usize) -> usize {
        self.dice.random_below(end)
    }

    fn tell(&mut self, told: impl FnOnce() -> String) {
        self.tale.push(format!("{:?}: {}", now() - self.start, told()));
        // Of many so much happens that only the last of it is kept, for who looks for a failure.
        if self.moods.len() > COMPARED_MAX && self.tale.len() > 2 * TOLD_MAX {
            self.tale.drain(..TOLD_MAX);
        }
    }

    /// How many times as much happens to servers as among few, and how many times as rarely
    /// something to all of them.
    fn scale(&self) -> usize {
        1 + self.moods.len() / 200
    }

    /// How long something could happen by chance.
    pub(super) fn lasted(&self) -> Duration {
        (now() - self.start).saturating_sub(self.quiet)
    }

    fn plan(&mut self, after: Duration, what: Happening) {
        self.serial += 1;
        self.agenda.insert((now() + after, self.serial), what);
    }

    /// The next thing happens.
    pub(super) async fn step(&mut self) {
        let pause = if self.scale() > 1 { 2 * PAUSE_MAX } else { PAUSE_MAX };
        let chance = (now() + ms(self.dice.random() % pause)).max(self.quiet_until);
        self.pass(chance).await;
    }

    /// Time passes, to `chance` at most, when something happens by chance.
    async fn pass(&mut self, chance: Instant) {
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        let timers = [self.balancer.next_timeout(), self.idleness.next_timeout(), planned];
        let next = timers.into_iter().flatten().fold(chance, Instant::min);
        tokio::select! {
            biased;
            told = self.names.told.recv() => self.told(told.expect("it has a sender itself")),
            () = tokio::time::sleep_until(next.into()) => self.act(chance),
        }
        self.sums.steps += 1;
        self.settle();
        self.check();
    }

    fn act(&mut self, chance: Instant) {
        let now = now();
        if let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            let what = entry.remove();
            self.happen(what);
        } else if self.balancer.next_timeout().is_some_and(|at| at <= now) {
            self.balancer.handle_timeout(now);
        } else if self.idleness.next_timeout().is_some_and(|at| at <= now) {
            let is_busy = self.traffic.waiting() > 0 || self.conns.values().any(|c| c.calls > 0);
            let activity = if is_busy { Activity::Busy } else { Activity::Since(self.last_call) };
            if self.idleness.handle_timeout(now, || activity) {
                self.stop();
            }
        } else if chance <= now && !self.is_calm {
            self.by_chance();
        }
    }

    fn happen(&mut self, what: Happening) {
        self.tell(|| format!("{what:?}"));
        match what {
            Happening::Attempt { backend, number, succeeds } => {
                self.attempt_ends(backend, number, succeeds);
            }
            Happening::Lost { backend, serial } if self.is_conn(backend, serial) => {
                self.lose(backend);
            }
            Happening::Feels { backend, serial } if self.is_conn(backend, serial) => {
                self.feel(backend);
            }
            Happening::CallEnds { backend, serial } if self.is_conn(backend, serial) => {
                let conn = self.conns.get_mut(&backend).expect("it is one");
                conn.calls -= 1;
                conn.has_served = true;
                self.last_call = now();
            }
            // What is gone: the balancer would not be told.
            _ => {}
        }
    }

    fn is_conn(&self, backend: BackendId, serial: u64) -> bool {
        self.conns.get(&backend).is_some_and(|conn| conn.serial == serial)
    }

    /// A resolver tells something.
    fn told(&mut self, names: Result<Resolution, Status>) {
        self.names.answered();
        self.tell(|| format!("{names:?}"));
        if let Ok(resolution) = &names {
            let all = resolution.endpoints.iter().flat_map(Endpoint::addresses);
            self.listed = all.clone().map(number_of).collect();
            self.listed_twice = all.count();
            self.listed_most = self.listed_most.max(self.listed_twice);
            self.sums.lists += 1;
        }
        self.balancer.handle_names(names, now());
    }

    fn call(&mut self) {
        let (lane, waits_on) = (self.roll(3), self.roll(2) == 0);
        self.last_call = now();
        match self.traffic.call(lane, waits_on) {
            Some(backend) => self.place(backend),
            None if self.traffic.state == ChannelState::Idle => self.exit_idle(),
            None => {}
        }
    }

    fn place(&mut self, backend: BackendId) {
        self.tell(|| format!("a call on {backend:?}"));
        let takes = ms(1 + self.dice.random() % 2_000);
        let conn = self.conns.get_mut(&backend).expect("a call goes to what is connected");
        conn.calls += 1;
        let (serial, server) = (conn.serial, conn.server);
        // Where nobody answers, it ends with the connection.
        if self.moods[server] != Mood::Hangs {
            self.plan(takes, Happening::CallEnds { backend, serial });
        }
    }

    fn exit_idle(&mut self) {
        let now = now();
        if self.balancer.is_started() {
            return self.balancer.exit_idle(now);
        }
        self.last_call = now;
        self.idleness.start(now);
        self.balancer.start();
        self.names.start();
    }

    fn stop(&mut self) {
        self.sums.idle += 1;
        self.idleness.stop();
        self.balancer.stop();
        self.names.stop();
        self.listed.clear();
        self.listed_twice = 0;
        self.settle();
        self.dials.forget_all();
    }

    /// Takes what the balancer wants, and publishes what it says.
    fn settle(&mut self) {
        loop {
            for effect in self.balancer.effects() {
                self.follow(effect);
            }
            if !self.balancer.take_changed() {
                return;
            }
            let ready = self.conns.values().filter(|conn| self.is_fit(conn)).count();
            self.sums.at_once = self.sums.at_once.max(ready);
            for backend in self.traffic.publish(&self.balancer, ready) {
                self.place(backend);
            }
            // Rounds among many take long.
            if self.sums.steps.is_multiple_of(1 + self.moods.len() / 5) {
                self.traffic.probe_all(6);
            }
            if self.traffic.waiting() > 0 && self.traffic.state == ChannelState::Idle {
                self.exit_idle();
            }
        }
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { backend, address, attempt, give_up_at, .. } => {
                let server = number_of(&address);
                assert!(self.listed.contains(&server), "{server} is dialed, and not listed");
                self.sums.dials += 1;
                self.dials.dialed(server);
                self.addresses.insert(backend, server);
                let before = self.attempts.insert(backend, attempt);
                assert!(before.is_none() && !self.conns.contains_key(&backend), "one at a time");
                let give_up = give_up_at.expect("it has an end") - now();
                self.tell(|| format!("dial {server}, {backend:?}, {attempt}, for {give_up:?}"));
                assert!(give_up >= ATTEMPT_MIN && give_up <= ATTEMPT_MAX, "{give_up:?}");
                let takes = ms(1 + self.dice.random() % 500);
                let (succeeds, takes) = match self.moods[server] {
                    Mood::Refuses => (false, takes / 10),
                    Mood::Hangs => (false, give_up),
                    _ => (true, takes),
                };
                let number = attempt;
                self.plan(takes, Happening::Attempt { backend, number, succeeds });
            }
            Effect::Abandon(backend) => {
                self.tell(|| format!("abandon {backend:?}"));
                self.attempts.remove(&backend);
                self.conns.remove(&backend);
                if let Some(server) = self.addresses.remove(&backend) {
                    self.dials.forgotten(server);
                }
            }
            Effect::Resolve => self.names.ask(),
            Effect::WatchHealth(backend) => {
                assert!(self.checks_health, "nobody checks health");
                let conn = self.conns.get_mut(&backend).expect("it is connected");
                assert!(!std::mem::replace(&mut conn.is_watched, true), "once is enough");
                self.plan_feelings(backend);
            }
        }
    }

    fn is_fit(&self, conn: &Conn) -> bool {
        let feels_well = !self.checks_health || conn.feels_well == Some(true);
        feels_well && self.listed.contains(&conn.server)
    }

    fn check(&mut self) {
        let (backends, subchannels, timers) = self.balancer.sizes();
        assert!(backends <= self.listed.len(), "{backends} backends");
        assert!(subchannels <= self.listed_twice, "{subchannels} subchannels");
        assert!(timers <= 2 * subchannels + 1, "{timers} timers");
        // New ones are made before the old ones go.
        let places = self.traffic.places();
        assert!(places <= 2 * self.listed_most, "{places} places for {}", self.listed_most);
        assert!(self.conns.len() + self.attempts.len() <= backends, "who are they?");
        self.names.check();
        // Whoever is slow, unwell or gone holds up no call that could go elsewhere.
        let fit = self.conns.values().find(|conn| self.is_fit(conn)).map(|conn| conn.server);
        let state = self.traffic.state;
        assert!(
            fit.is_none() || state == ChannelState::Ready,
            "{fit:?} is fit, and it is {state:?}"
        );
        let lane = self.roll(3);
        if let Found::Place(backend) = self.traffic.probe(lane) {
            let conn = self.conns.get(&backend).expect("a call goes to what is connected");
            assert!(self.is_fit(conn), "a call goes to {}, unfit", conn.server);
        }
    }

    /// From now on all servers serve: until all is well that is to be.
    pub(super) async fn calm_down(&mut self) {
        self.is_calm = true;
        self.moods.fill(Mood::Serves);
        if self.wanted.is_empty() {
            self.wanted.insert(0);
        }
        self.name_wanted(Duration::ZERO);
        for backend in self.conns.keys().copied().collect::<Vec<_>>() {
            self.plan_feelings(backend);
        }
        let end = now() + CALM_MAX;
        self.call();
        self.settle();
        while !self.is_well() {
            if self.traffic.state == ChannelState::Idle {
                self.call();
                self.settle();
            }
            let soon = now() + Duration::from_secs(1);
            self.pass(soon).await;
            assert!(now() < end, "it does not connect: {:?}", self.traffic.state);
        }
        // Turns are even among all.
        for _ in 0..10 * self.listed.len() {
            self.traffic.probe(5);
        }
        self.traffic.check_turns();
    }

    fn is_well(&self) -> bool {
        let is_there = self.traffic.state == ChannelState::Ready && self.traffic.waiting() == 0;
        let all_fit = self.conns.values().all(|conn| self.is_fit(conn));
        let count = self.conns.len();
        // Where endpoints have several addresses, one of them is enough.
        let all = if self.names.is_list() { 1 } else { self.listed.len() };
        is_there
            && all_fit
            && self.attempts.is_empty()
            && match self.kind {
                Kind::RoundRobin => count >= all,
                _ => count == 1,
            }
    }

    /// Nobody calls any more; an idle channel has nothing, and begins anew.
    pub(super) async fn fall_idle(&mut self) {
        let end = now() + IDLE_TIMEOUT * 4;
        while self.balancer.is_started() {
            self.pass(end).await;
            assert!(now() < end, "it is never idle");
        }
        assert_eq!(self.balancer.sizes(), (0, 0, 0));
        assert_eq!(self.balancer.next_timeout(), None);
        assert_eq!(self.idleness.next_timeout(), None);
        assert!(self.conns.is_empty() && self.attempts.is_empty() && self.addresses.is_empty());
        assert_eq!(self.traffic.state, ChannelState::Idle);
        self.calm_down().await;
    }

    pub(super) fn finish(mut self) -> (Sums, Vec<String>) {
        self.stop();
        let Traffic { picks, waited, refused, judged, .. } = self.traffic;
        let (lookups, states) = (self.names.lookups(), self.seen.changes());
        let (by_dns, with_health) = (!self.names.is_list(), self.checks_health);
        let sums = Sums {
            worlds: 1,
            by_dns: usize::from(by_dns),
            with_health: usize::from(with_health),
            seconds: usize::try_from((now() - self.start).as_secs()).unwrap_or(0),
            picks,
            waited,
            refused,
            judged,
            lookups,
            states,
            ..self.sums.clone()
        };
        (sums, std::mem::take(&mut self.tale))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("after {:?}, behind these:", now() - self.start);
            let known = self.tale.len().saturating_sub(TOLD_MAX);
            self.tale[known..].iter().for_each(|told| println!("  {told}"));
        }
    }
}

/// Worlds up to this size remember all that has happened.
const COMPARED_MAX: usize = 40;
/// Of what happened before a failure so much is told.
const TOLD_MAX: usize = 60;
/// How long an attempt may take: its least, and the longest backoff, spread by a fifth.
const ATTEMPT_MIN: Duration = Duration::from_secs(20);
const ATTEMPT_MAX: Duration = Duration::from_secs(144);
