//! A thousand backends under each policy, in virtual time: attempts that succeed, fail and hang,
//! connections that are lost, some as soon as they are made, names that change and fail. Everything
//! follows from a seed, which a failure prints (`GANNET_SIM_FIRST=s GANNET_SIM_SEEDS=n` runs n of
//! them from s on).
//!
//! After every step: no call goes to what is not connected, nothing is dialed more often than its
//! backoff allows, and there is one backend for each address that the name stands for. At the end,
//! when nothing fails any more, all is connected, turns are even, and an idle channel holds
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::{Metadata, MethodDescriptor, MethodKind, Status};

use super::testing::{address, ms};
use super::{
    Actions, BackendId, BackoffConfig, Balancer, ChannelState, Effect, Lost, MakePolicy, Pick,
    PickArgs, PickFirst, Policy, RoundRobin, SubchannelId,
};
use crate::name::{Address, Endpoint, Resolution};

static METHOD: MethodDescriptor = MethodDescriptor::new("/a.B/C", MethodKind::Unary);

const BACKENDS: usize = 1_000;
const STEPS: usize = 2_000;
const SEEDS: u64 = 4;
/// One of so many backends ends each connection as soon as it is made.
const FICKLE: usize = 10;

/// What will become of an attempt.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    backend: BackendId,
    number: u64,
    succeeds: bool,
}

struct World {
    seed: u64,
    /// For what happens; the policy has numbers of its own.
    dice: Actions,
    balancer: Balancer,
    now: Instant,
    start: Instant,
    /// What the name stands for.
    names: BTreeSet<usize>,
    numbers: HashMap<Address, usize>,
    /// Attempts under way, by when they end.
    attempts: BTreeMap<(Instant, BackendId), Attempt>,
    addresses: HashMap<BackendId, Address>,
    connected: BTreeSet<BackendId>,
    /// When each address was dialed.
    dials: HashMap<Address, Vec<Instant>>,
    /// When a connection to an address was made or the backend forgotten: backoff starts over.
    resets: HashMap<Address, Instant>,
    /// Of a thousand attempts so many fail, and so many hang.
    fails: u64,
    hangs: u64,
    asked_names: usize,
    /// Connections in a row that were good for nothing.
    shorts: HashMap<BackendId, u32>,
    /// When the last of several such was dialed: the next waits.
    rests: HashMap<BackendId, Instant>,
    /// Connections that were made, attempts that failed, connections that were lost, rests.
    happened: [usize; 4],
}

impl World {
    fn new(seed: u64, make: MakePolicy) -> World {
        let start = Instant::now();
        let actions = Actions::new("sim", seed ^ 0x5eed);
        let mut balancer = Balancer::new(make, actions, BackoffConfig::default(), false);
        balancer.start();
        World {
            seed,
            dice: Actions::new("dice", seed),
            balancer,
            now: start,
            start,
            names: BTreeSet::new(),
            numbers: (0..BACKENDS).map(|n| (numbered(n), n)).collect(),
            attempts: BTreeMap::new(),
            addresses: HashMap::new(),
            connected: BTreeSet::new(),
            dials: HashMap::new(),
            resets: HashMap::new(),
            fails: 300,
            hangs: 100,
            asked_names: 0,
            shorts: HashMap::new(),
            rests: HashMap::new(),
            happened: [0; 4],
        }
    }

    fn roll(&mut self, end: usize) -> usize {
        self.dice.random_below(end)
    }

    fn resolve(&mut self) {
        let endpoints: Vec<Endpoint> =
            self.names.iter().map(|n| Endpoint::from(numbered(*n))).collect();
        self.balancer.handle_names(Ok(Resolution::new(endpoints)), self.now);
        self.settle();
    }

    /// Takes what the balancer wants.
    fn settle(&mut self) {
        for effect in self.balancer.effects() {
            match effect {
                Effect::Dial { backend, address, attempt, give_up_at } => {
                    self.dialed(&address);
                    if let Some(before) = self.rests.remove(&backend) {
                        let rested = (self.now - before).as_secs_f64();
                        assert!(rested >= 0.999, "only {rested} s; seed {}", self.seed);
                        self.happened[3] += 1;
                    }
                    self.addresses.insert(backend, address);
                    let fate = self.dice.random() % 1_000;
                    let takes = ms(1 + self.dice.random() % 500);
                    let end = match give_up_at {
                        Some(at) if fate < self.hangs => at,
                        _ => self.now + takes,
                    };
                    let succeeds = fate >= self.hangs + self.fails;
                    let attempt = Attempt { backend, number: attempt, succeeds };
                    self.attempts.insert((end, backend), attempt);
                }
                Effect::Abandon(backend) => {
                    self.attempts.retain(|(_, dialed), _| *dialed != backend);
                    self.connected.remove(&backend);
                    self.shorts.remove(&backend);
                    self.rests.remove(&backend);
                    if let Some(address) = self.addresses.remove(&backend) {
                        self.resets.insert(address, self.now);
                    }
                }
                Effect::Resolve => self.asked_names += 1,
                Effect::WatchHealth(_) => panic!("nobody checks health; seed {}", self.seed),
            }
        }
    }

    /// No dial comes earlier than its backoff allows: a second from the first, then more.
    fn dialed(&mut self, address: &Address) {
        let reset = self.resets.get(address).copied();
        let dials = self.dials.entry(address.clone()).or_default();
        if let Some(reset) = reset {
            dials.retain(|at| *at > reset);
        }
        let mut least = 1.0_f64;
        for pair in dials.windows(2) {
            let waited = (pair[1] - pair[0]).as_secs_f64();
            assert!(waited >= least * 0.79, "dialed after {waited} s; seed {}", self.seed);
            least = (least * 1.6).min(120.0);
        }
        dials.push(self.now);
    }

    /// The next thing happens.
    fn step(&mut self) {
        let attempt = self.attempts.keys().next().map(|(at, _)| *at);
        let timer = self.balancer.next_timeout();
        let chance = self.now + ms(self.dice.random() % 200);
        let next = [attempt, timer, Some(chance)].into_iter().flatten().min().unwrap_or(chance);
        self.now = self.now.max(next);
        if let Some(entry) = self.attempts.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let attempt = entry.remove();
            self.end(attempt);
        } else if timer.is_some_and(|at| at <= self.now) {
            self.balancer.handle_timeout(self.now);
        } else {
            self.happen();
        }
        self.settle();
        self.check();
    }

    fn end(&mut self, attempt: Attempt) {
        let Attempt { backend, number, succeeds } = attempt;
        if succeeds {
            assert!(self.balancer.handle_established(backend, number, self.now));
            self.connected.insert(backend);
            self.happened[0] += 1;
            let Some(address) = self.addresses.get(&backend) else { return };
            self.resets.insert(address.clone(), self.now);
            if self.fails > 0 && self.numbers[address].is_multiple_of(FICKLE) {
                self.connected.remove(&backend);
                self.lose(backend, false);
            }
        } else {
            let status = Status::unavailable("refused");
            self.happened[1] += 1;
            self.balancer.handle_failed(backend, number, status, self.now);
        }
    }

    /// By chance: a connection is lost, a call comes, the name changes, or cannot be resolved.
    fn happen(&mut self) {
        match self.roll(20) {
            0..=9 => {
                let at = self.roll(self.connected.len().max(1));
                if let Some(lost) = self.connected.iter().nth(at).copied() {
                    self.connected.remove(&lost);
                    self.happened[2] += 1;
                    let has_served = self.roll(2) == 0;
                    self.lose(lost, has_served);
                }
            }
            10..=15 => self.balancer.exit_idle(self.now),
            16 => {
                let changes = self.roll(BACKENDS / 10);
                for _ in 0..changes {
                    let n = self.roll(BACKENDS);
                    if !self.names.remove(&n) {
                        self.names.insert(n);
                    }
                }
                self.resolve();
            }
            17 => self.resolve(),
            18 => {
                let failed = Err(Status::unavailable("no names"));
                self.balancer.handle_names(failed, self.now);
            }
            _ => {
                // An attempt that ends twice is not heard the second time.
                let stale = self.connected.first().copied();
                if let Some(backend) = stale {
                    assert!(!self.balancer.handle_established(backend, u64::MAX, self.now));
                }
            }
        }
    }

    /// A connection is lost: where it has not served, and was short, it was good for nothing.
    fn lose(&mut self, backend: BackendId, has_served: bool) {
        let address = self.addresses[&backend].clone();
        let made = self.resets[&address];
        let is_short = !has_served && self.now - made < Duration::from_secs(1);
        let shorts = self.shorts.entry(backend).or_default();
        *shorts = if is_short { *shorts + 1 } else { 0 };
        if *shorts > 1 {
            // Dials are counted from the attempt that made the connection.
            let dialed = self.dials[&address].last().copied();
            self.rests.insert(backend, dialed.expect("it was dialed"));
        }
        let why = Status::unavailable(format!("{address}: lost"));
        self.balancer.handle_lost(backend, Lost { has_served, why }, self.now);
    }

    fn pick(&self, lane: usize) -> Option<SubchannelId> {
        let metadata = Metadata::new();
        let args = PickArgs::new(&METHOD, &metadata, lane, || 0);
        match self.balancer.picker().pick(&args) {
            Pick::Complete(picked) => Some(picked.subchannel),
            _ => None,
        }
    }

    fn check(&mut self) {
        let seed = self.seed;
        let (backends, subchannels, timers) = self.balancer.sizes();
        assert!(backends <= self.names.len(), "{backends} backends; seed {seed}");
        assert!(subchannels <= self.names.len(), "{subchannels} subchannels; seed {seed}");
        assert!(timers <= 2 * backends + 1, "{timers} timers; seed {seed}");
        for lane in 0..3 {
            let Some(picked) = self.pick(lane) else { continue };
            assert_eq!(self.balancer.state(), ChannelState::Ready, "seed {seed}");
            let backend = self.balancer.backend_of(picked);
            let backend = backend.unwrap_or_else(|| panic!("it was removed; seed {seed}"));
            assert!(self.connected.contains(&backend), "it is not connected; seed {seed}");
            let address = &self.addresses[&backend];
            let is_named = self.names.contains(&self.numbers[address]);
            assert!(is_named, "{address} is not what the name stands for; seed {seed}");
        }
    }

    /// From now on nothing fails: until everything is connected that is to be.
    fn calm_down(&mut self, connections: usize) {
        (self.fails, self.hangs) = (0, 0);
        let end = self.now + Duration::from_secs(600);
        while self.connected.len() < connections || self.balancer.state() != ChannelState::Ready {
            let attempt = self.attempts.keys().next().map(|(at, _)| *at);
            let next = [attempt, self.balancer.next_timeout()].into_iter().flatten().min();
            let next = next.unwrap_or_else(|| panic!("all has stopped; seed {}", self.seed));
            self.now = self.now.max(next);
            assert!(self.now < end, "it does not connect; seed {}", self.seed);
            match self.attempts.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let attempt = entry.remove();
                    self.end(attempt);
                }
                None => self.balancer.handle_timeout(self.now),
            }
            self.settle();
        }
        self.check();
    }
}

fn numbered(n: usize) -> Address {
    address(&format!("10.{}.{}.{}:1", n / 65_536, n / 256 % 256, n % 256))
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let first = number("GANNET_SIM_FIRST").unwrap_or(1);
    (first..first + number("GANNET_SIM_SEEDS").unwrap_or(SEEDS)).collect()
}

/// A world that has seen much, as it is when all is well again.
fn run<P: Policy>(seed: u64, make: fn() -> P, connections: impl Fn(usize) -> usize) -> World {
    println!("seed {seed}");
    let mut world = World::new(seed, Arc::new(move || Box::new(make())));
    world.names = (0..BACKENDS).collect();
    world.resolve();
    for _ in 0..STEPS {
        world.step();
    }
    world.balancer.exit_idle(world.now);
    world.settle();
    let connections = connections(world.names.len());
    world.calm_down(connections);
    assert!(world.asked_names > 0, "nobody asks for names; seed {seed}");
    assert!(world.now > world.start, "time passes");
    let enough = world.happened[..3].iter().all(|n| *n > 10) && world.happened[3] > 0;
    assert!(enough, "too little: {:?}", world.happened);
    world
}

/// An idle channel holds nothing.
fn idle(mut world: World) {
    world.balancer.stop();
    world.settle();
    let seed = world.seed;
    assert_eq!(world.balancer.sizes(), (0, 0, 0), "seed {seed}");
    assert_eq!(world.balancer.next_timeout(), None, "seed {seed}");
    assert!(world.connected.is_empty() && world.attempts.is_empty(), "seed {seed}");
    // And begins anew.
    world.balancer.start();
    world.resolve();
    world.balancer.exit_idle(world.now);
    world.settle();
    world.calm_down(1);
}

#[test]
fn round_robin() {
    for seed in seeds() {
        let world = run(seed, RoundRobin::new, |names| names);
        let names = world.names.len();
        let mut counts: HashMap<SubchannelId, usize> = HashMap::new();
        for _ in 0..10 * names {
            let picked = world.pick(3).expect("all is connected");
            *counts.entry(picked).or_default() += 1;
        }
        assert_eq!(counts.len(), names, "each gets calls; seed {seed}");
        assert!(counts.values().all(|count| *count == 10), "and as many; seed {seed}");
        idle(world);
    }
}

#[test]
fn pick_first() {
    for seed in seeds() {
        idle(run(seed, PickFirst::new, |_| 1));
        idle(run(seed, || PickFirst::new().shuffled(), |_| 1));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let told = |world: &World| (world.now - world.start, world.asked_names, world.names.len());
    let [one, two] = [7, 7].map(|seed| run(seed, RoundRobin::new, |names| names));
    assert_eq!(told(&one), told(&two));
}
