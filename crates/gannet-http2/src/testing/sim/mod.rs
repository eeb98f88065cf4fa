//! Two engines, a link that delays, splits and sometimes lies, applications that do what they like,
//! and virtual time; all of it from one seed.
//!
//! After each step the invariants of both engines are checked. Whenever all is quiet the two must
//! agree: credit is conserved, and nothing waits that could go. At the end, with all readers
//! reading, every call finishes and nothing is left.
//!
//! `GANNET_SIM_SEEDS=n` runs n seeds, `GANNET_SIM_FIRST=s` starts at another one than 0.

mod app;
mod check;
mod link;
mod rng;
mod side;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use app::Appetite;
use check::{Ledger, Tally};
use link::Link;
use rng::Rng;
use side::Side;

use crate::stream::{RecvHalf, SendHalf};
use crate::{Client, Config, Role, Server};

#[test]
fn honest_peers() {
    let mut tally = run_seeds("honest_peers", |seed| Pair::new(seed, true).run_honest());
    assert_eq!(tally.broken, 0);
    if std::env::var_os("GANNET_SIM_SEEDS").is_none() {
        tally.broken = 1;
        assert!(tally.happened(), "too little happens: {tally:?}");
    }
}

#[test]
fn a_link_that_lies() {
    let tally = run_seeds("a_link_that_lies", |seed| Pair::new(seed, false).run_corrupt());
    let few = std::env::var_os("GANNET_SIM_SEEDS").is_some();
    assert!(few || tally.broken > SEEDS_DEFAULT / 4, "too few connections break: {tally:?}");
}

fn run_seeds(test: &'static str, run: impl Fn(u64) -> Tally) -> Tally {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let first = number("GANNET_SIM_FIRST").unwrap_or(0);
    let count = number("GANNET_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let mut tally = Tally::default();
    for seed in first..first + count {
        let reporter = Reporter { test, seed };
        tally.add(run(seed));
        drop(reporter);
    }
    println!("{test}: {count} seeds: {tally:?}");
    tally
}

const SEEDS_DEFAULT: u64 = 200;

/// Tells how to see a failure again.
struct Reporter {
    test: &'static str,
    seed: u64,
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {} failed; again: GANNET_SIM_FIRST={} GANNET_SIM_SEEDS=1 \
                 cargo test -p gannet-http2 sim::{}",
                self.seed, self.seed, self.test
            );
        }
    }
}

struct Pair {
    rng: Rng,
    now: Instant,
    client: Side<Client>,
    server: Side<Server>,
    up: Link,
    down: Link,
}

impl Pair {
    fn new(seed: u64, honest: bool) -> Self {
        let mut rng = Rng::new(seed);
        let now = Instant::now();
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let (client, server) = (config(&mut rng, honest), config(&mut rng, honest));
        let narrowest = [&client, &server]
            .map(|config| config.stream_window_bytes as usize)
            .into_iter()
            .fold(usize::MAX, usize::min);
        let body_bytes = (narrowest * 60).min(1 << 20);
        let mut side_appetite = || appetite(&mut rng, body_bytes);
        let (asks, answers) = (side_appetite(), side_appetite());
        let mut client = Side::new(client, asks, Rc::clone(&ledger), honest, now);
        let mut server = Side::new(server, answers, ledger, honest, now);
        client.keep_up(&mut rng, honest);
        server.keep_up(&mut rng, honest);
        Pair { now, client, server, up: Link::new(&mut rng), down: Link::new(&mut rng), rng }
    }

    fn run_honest(&mut self) -> Tally {
        let steps = self.rng.between(20, 600);
        for _ in 0..steps {
            self.step();
            if self.rng.percent(1) {
                self.settle();
            }
        }
        self.wind_down();
        *self.client.tally()
    }

    /// Anything may happen, but no panic and no bound exceeded; and a broken side stays broken.
    fn run_corrupt(&mut self) -> Tally {
        let steps = self.rng.between(20, 1500);
        let truthful = self.rng.between(0, steps / 2);
        let one_in = self.rng.pick(&[10, 100, 1000, 10_000]);
        for step in 0..steps {
            if step == truthful {
                self.up.corrupt(one_in);
                self.down.corrupt(one_in);
            }
            self.step();
            check_broken(&mut self.client);
            check_broken(&mut self.server);
        }
        // The socket closes; both applications give up.
        self.client.release_all();
        self.server.release_all();
        while !self.client.calls.is_empty() {
            self.client.forget(0);
        }
        while !self.server.calls.is_empty() {
            self.server.forget(0);
        }
        self.check_invariants();
        assert_eq!(self.client.engine.open_streams(), 0);
        let broken = self.client.error.is_some() || self.server.error.is_some();
        self.client.tally().broken = u64::from(broken);
        *self.client.tally()
    }

    fn step(&mut self) {
        let events_max = if self.rng.percent(80) { usize::MAX } else { 1 };
        match self.rng.below(12) {
            0..=2 => self.client.read(&mut self.rng, &mut self.down, events_max),
            3..=5 => self.server.read(&mut self.rng, &mut self.up, events_max),
            6 => self.client.transmit(&mut self.rng, &mut self.up),
            7 => self.server.transmit(&mut self.rng, &mut self.down),
            8 => self.client.act(&mut self.rng),
            9 | 10 => self.server.act(&mut self.rng),
            _ => self.pass_time(),
        }
        self.check_invariants();
    }

    fn pass_time(&mut self) {
        let millis = self.rng.between(0, 300);
        self.now += Duration::from_millis(u64::try_from(millis).expect("small"));
        self.client.now = self.now;
        self.server.now = self.now;
        if self.rng.percent(10) {
            self.up.stall(self.now, Duration::from_secs(1));
        }
        if self.rng.percent(10) {
            self.down.stall(self.now, Duration::from_secs(1));
        }
        timeout(&mut self.client);
        timeout(&mut self.server);
        self.client.engine.release_storage();
        self.server.engine.release_storage();
    }

    fn check_invariants(&self) {
        self.client.engine.check_invariants();
        self.server.engine.check_invariants();
    }

    /// Carries everything to its end; then both sides must agree.
    fn settle(&mut self) {
        self.now += Duration::from_secs(2); // no stall lasts longer
        (self.client.now, self.server.now) = (self.now, self.now);
        for round in 0..2 * SETTLE_ROUNDS_MAX {
            if round == SETTLE_ROUNDS_MAX {
                // A link of a byte at a time takes too long; from here on only a livelock does.
                self.up.heal();
                self.down.heal();
            }
            self.client.transmit(&mut self.rng, &mut self.up);
            self.server.transmit(&mut self.rng, &mut self.down);
            self.server.read(&mut self.rng, &mut self.up, usize::MAX);
            self.client.read(&mut self.rng, &mut self.down, usize::MAX);
            let links = self.up.is_empty() && self.down.is_empty();
            if links && self.client.is_quiet() && self.server.is_quiet() {
                // Credit may have fallen due in the last reads.
                self.client.transmit(&mut self.rng, &mut self.up);
                self.server.transmit(&mut self.rng, &mut self.down);
                if self.up.is_empty() && self.down.is_empty() && self.is_silent() {
                    return self.check_quiescent();
                }
            }
        }
        panic!("no rest after {SETTLE_ROUNDS_MAX} rounds over perfect links");
    }

    fn is_silent(&self) -> bool {
        self.client.is_quiet() && self.server.is_quiet()
    }

    fn check_quiescent(&self) {
        self.client.tally().quiet += 1;
        self.check_invariants();
        let (client, server) = (self.client.engine.probe(), self.server.engine.probe());
        assert_eq!(client.send_window, server.recv_window, "credit towards the server");
        assert_eq!(server.send_window, client.recv_window, "credit towards the client");
        assert_eq!(client.unread, i64::try_from(self.client.unreleased()).expect("small"));
        assert_eq!(server.unread, i64::try_from(self.server.unreleased()).expect("small"));
        check_streams(&self.client, &self.server);
        check_streams(&self.server, &self.client);
    }

    /// No more mischief: everything must finish.
    fn wind_down(&mut self) {
        self.up.heal();
        self.down.heal();
        for _ in 0..WIND_DOWN_ROUNDS_MAX {
            self.client.appetite.calls = 0;
            self.client.wind_down(&mut self.rng);
            self.server.wind_down(&mut self.rng);
            self.check_invariants();
            self.settle();
            if self.client.engine.open_streams() + self.server.engine.open_streams() == 0 {
                break;
            }
        }
        self.check_quiescent();
        assert!(self.client.calls.is_empty(), "{:#?}", self.client.calls);
        assert!(self.server.calls.is_empty(), "{:#?}", self.server.calls);
        assert_eq!(self.client.engine.open_streams(), 0);
        assert_eq!(self.server.engine.open_streams(), 0);
        assert_eq!(self.client.pings_out + self.server.pings_out, 0);
        self.client.release_all();
        self.server.release_all();
        self.settle();
        let (client, server) = (self.client.engine.probe(), self.server.engine.probe());
        assert_eq!((client.unread, server.unread), (0, 0));
        if self.server.engine.is_going_away() {
            assert!(self.server.engine.is_finished() || !self.server_announced());
        }
        assert!(self.client.error.is_none() && self.server.error.is_none());
        let grown = client.recv_target > i64::from(self.client.connection_window);
        self.client.tally().windows_grown = u64::from(grown);
    }

    /// Whether the server, and not only the client, said that it goes away.
    fn server_announced(&self) -> bool {
        self.server.engine.probe().shutting_down
    }
}

/// A stream's credit is conserved, and what waits has a reason to.
fn check_streams<S: Role, T: Role>(sender: &Side<S>, receiver: &Side<T>) {
    let connection_open = sender.engine.probe().send_window > 0;
    for (_, from) in sender.engine.probe_streams() {
        let to = receiver.engine.probe_streams().find(|(_, stream)| stream.id == from.id);
        let Some((key, to)) = to else { continue };
        if from.send == SendHalf::Ended || to.recv == RecvHalf::Ended {
            continue;
        }
        assert_eq!(from.send_window, to.recv_window, "credit of stream {}", from.id);
        let target = i64::from(receiver.engine.probe().stream_window_bytes);
        let held = i64::try_from(receiver.unreleased_of(key)).expect("small");
        let all = to.recv_window + i64::from(to.released) + held;
        assert_eq!(all, target, "credit of stream {} is lost: {to:?}, held {held}", from.id);
        let waits = from.queue.bytes() > 0;
        sender.tally().waiting_when_quiet += u64::from(waits);
        assert!(!waits || from.send_window <= 0 || !connection_open, "it could go: {from:?}");
        if waits && from.send_window > 0 {
            assert!(receiver.unreleased() > 0, "nobody holds the connection's credit: {from:?}");
        }
    }
}

fn timeout<R: Role>(side: &mut Side<R>) {
    let due = side.engine.poll_timeout().is_some_and(|at| at <= side.now);
    if let Err(error) = side.engine.handle_timeout(side.now) {
        assert!(due, "a timeout before its time");
        side.error.get_or_insert(error);
    }
}

fn check_broken<R: Role>(side: &mut Side<R>) {
    if side.error.is_none() {
        return;
    }
    assert!(side.engine.is_finished());
    assert_eq!(side.engine.poll_timeout(), None);
    let again = side.engine.next_event(side.now, &mut side.recv);
    assert!(matches!(again, Ok(None)), "a broken connection goes on");
    assert!(side.recv.is_empty());
}

fn config(rng: &mut Rng, honest: bool) -> Config {
    let mut config = Config {
        concurrent_streams_max: rng.pick(&[1, 2, 10, 256]),
        initial_open_streams_max: rng.pick(&[1, 10, 100]),
        stream_window_bytes: rng.pick(&[1, 10, 1000, 16_384, 65_535, 100_000, 1 << 20]),
        connection_window_bytes: rng.pick(&[0, 65_535, 100_000, 1 << 20]),
        window_bytes_max: rng.pick(&[0, 70_000, 200_000, 1 << 20, 16 << 20]),
        recv_buffered_bytes_max: rng.pick(&[0, 100_000, 32 << 20]),
        frame_bytes_max: rng.pick(&[0, 16_384, 20_000, 1 << 20]),
        header_table_bytes: rng.pick(&[0, 64, 300, 4096, 65_536]),
        encoder_table_bytes_max: rng.pick(&[0, 100, 4096, 65_536]),
        control_frames_max: rng.pick(&[16, 64]),
        send_buffer_bytes_max: rng.pick(&[1, 100, 16_384, 256 << 10]),
        send_low_water_bytes: rng.pick(&[0, 1, 100, 16_384]),
        send_queued_bytes_max: rng.pick(&[1, 10_000, 256 << 20]),
        ..Config::default()
    };
    if honest {
        let hour = Duration::from_secs(3600);
        config.header_timeout = hour;
        config.settings_ack_timeout = hour;
        config.handshake_timeout = hour;
        config.resets_burst_max = 100_000;
    } else {
        config.resets_burst_max = rng.pick(&[0, 10, 200]);
        config.header_timeout = Duration::from_millis(500);
    }
    config
}

fn appetite(rng: &mut Rng, body_bytes: usize) -> Appetite {
    Appetite {
        calls: rng.pick(&[1, 3, 10, 40]),
        pings: rng.pick(&[0, 5]),
        cancel_percent: rng.pick(&[0, 0, 20, 80]),
        goaway_percent: rng.pick(&[0, 0, 0, 3]),
        body_bytes,
    }
}

const SETTLE_ROUNDS_MAX: usize = 200_000;
const WIND_DOWN_ROUNDS_MAX: usize = 20_000;
