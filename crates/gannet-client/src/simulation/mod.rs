//! Whole channels in virtual time, up to a thousand backends each: the real resolvers, subchannels
//! and policies, the idleness and the health of a channel, against a world in which servers die,
//! refuse, hang, drain, feel unwell or never say how they feel, and names change, fail, are empty,
//! are told twice, or are never answered. Only sockets and HTTP/2 are left out.
//!
//! Everything follows from a seed, which is printed; a failure shows it. `GANNET_SIM_FIRST=s
//! GANNET_SIM_SEEDS=n` runs n of them from s on, `GANNET_SIM_BACKENDS=b` with so many backends, in
//! place of the usual ones:
//!
//! ```text
//! GANNET_SIM_SEEDS=2000 cargo test --release -p gannet-client --lib simulation -- --nocapture
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | `world` | what happens, and when |
//! | `names` | a zone that a resolver looks into |
//! | `traffic` | calls: where they go, and which of them wait |
//! | `laws` | what must hold of dials, states and turns |
//! | `sums` | what came of it |

mod laws;
mod names;
mod sums;
mod traffic;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::sums::Sums;
use self::world::{Kind, World};

/// Backends of worlds in which many different things happen to each.
const FEW: [usize; 4] = [1, 3, 12, 40];
const MANY: usize = 1_000;
/// Seeds of each policy with few backends, and with many.
const SEEDS: [u64; 2] = [100, 2];
/// How long something happens by chance in a world of a few, in its own time, and of many.
const LASTS: [Duration; 2] = [Duration::from_secs(150), Duration::from_secs(600)];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds, and how many backends each has.
fn seeds() -> Vec<(u64, usize)> {
    let first = number("GANNET_SIM_FIRST").unwrap_or(1);
    let backends = number("GANNET_SIM_BACKENDS").and_then(|count| usize::try_from(count).ok());
    let few = |seed: u64| FEW[usize::try_from(seed % 4).unwrap_or(0)];
    match number("GANNET_SIM_SEEDS") {
        Some(count) => {
            let many = |seed: u64| if seed % 50 < 2 { MANY } else { few(seed) };
            let of = |seed| (seed, backends.unwrap_or_else(|| many(seed)));
            (first..first + count).map(of).collect()
        }
        None => {
            let [some, large] = SEEDS;
            let small = (first..first + some).map(|seed| (seed, backends.unwrap_or(few(seed))));
            let large = (first..first + large).map(|seed| (seed, backends.unwrap_or(MANY)));
            small.chain(large).collect()
        }
    }
}

fn run_all(kind: Kind) {
    let (mut by_size, started) = (BTreeMap::<usize, Sums>::new(), Instant::now());
    for (seed, backends) in seeds() {
        // What is printed last before a failure is what failed.
        println!("{kind:?}: seed {seed}, {backends} backends");
        by_size.entry(backends).or_default().add(&run(kind, seed, backends).0);
    }
    println!("{kind:?}, in {:.1} s:", started.elapsed().as_secs_f64());
    for (backends, sums) in &by_size {
        println!("  {backends} backends: {sums}");
    }
    // Each size by itself: among many small worlds nobody sees that nothing happens in a large one.
    by_size.iter().for_each(|(backends, sums)| sums.check(kind, *backends));
}

/// One world, from beginning to end; what it came to, and what has happened.
fn run(kind: Kind, seed: u64, backends: usize) -> (Sums, Vec<String>) {
    // Resolvers draw their pauses from it.
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(kind, seed, backends);
        let lasts = LASTS[usize::from(backends >= MANY)];
        while world.lasted() < lasts {
            world.step().await;
        }
        world.calm_down().await;
        world.fall_idle().await;
        world.finish()
    })
}

#[test]
fn round_robin() {
    run_all(Kind::RoundRobin);
}

#[test]
fn pick_first() {
    run_all(Kind::PickFirst);
}

#[test]
fn pick_first_shuffled() {
    run_all(Kind::Shuffled);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for kind in [Kind::RoundRobin, Kind::Shuffled] {
        for seed in [7, 8] {
            let [one, two] = [(); 2].map(|()| run(kind, seed, 40).1);
            let differ = one.iter().zip(&two).find(|(one, two)| one != two);
            assert_eq!(differ, None, "{kind:?}, seed {seed}");
            assert_eq!(one.len(), two.len());
            assert_ne!(one, run(kind, seed + 2, 40).1, "another seed is another run");
        }
    }
}
