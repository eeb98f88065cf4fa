//! What a hostile peer makes a server or a client hold, in bytes that the allocator counts, for
//! each row of SECURITY.md: every attack is a socket that writes what it likes, and the bound
//! follows from the limits by name. During each attack and after it another peer is served, what
//! the attack makes us do is bounded by the bytes that it costs, the connection ends where it is
//! to, and afterwards nothing is left of it.
//!
//! What honest traffic of the same shape meets is in the tests that SECURITY.md names beside these.
//! A binary of its own, because it replaces the allocator; one test at a time, because it is one
//! for all.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `on_server` | hostile clients |
//! | `on_client` | hostile servers |
//! | `over_tls` | hostile clients under TLS, and at its handshake |
//! | `bombs` | messages that inflate to more than is permitted, for both roles |
//! | `frames`, `wire` | what attackers write, and their socket |

#![allow(clippy::print_stdout, reason = "the figures of a run are worth a line")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bombs;
mod frames;
mod on_client;
mod on_server;
mod over_tls;
#[path = "../support/running.rs"]
mod running;
mod wire;

use std::alloc::System;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

use wire::{Turns, Wire};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What a connection may hold besides: its buffers for reading and writing, tables, queues.
const CONNECTION_BYTES: usize = 600 * KIB;
/// A stream that has begun, with its handler or its caller.
const STREAM_BYTES: usize = 2 * KIB;
/// What may be left of all connections that are gone: the buffers for reading that a thread keeps,
/// four of 256 KiB at most.
const LEFT_BYTES_MAX: usize = MIB;
/// After this long what is kept for long messages goes back, too.
const IDLE: Duration = Duration::from_secs(20);

/// One attack: what is written, again and again until nothing more is taken.
struct Attack {
    name: &'static str,
    /// What we may hold for it at most.
    bound: usize,
    /// Whether what we answer is read.
    reads: bool,
    /// Whether we are to end the connection for it.
    ends: bool,
    /// The bytes of each round, from the first.
    bytes: Box<dyn Fn(u32) -> Vec<u8>>,
    /// How often they are sent.
    rounds: u32,
    /// Allocations that are none of the attack's.
    allocations: usize,
}

fn attack(
    name: &'static str,
    bound: usize,
    rounds: u32,
    bytes: impl Fn(u32) -> Vec<u8> + 'static,
) -> Attack {
    let (bytes, allocations) = (Box::new(bytes), 200);
    Attack { name, bound, reads: false, ends: false, bytes, rounds, allocations }
}

/// What one attack did.
#[derive(Debug)]
struct Seen {
    /// Bytes that were sent.
    sent: usize,
    /// Bytes held at most, between two rounds.
    peak: usize,
    /// Allocations that we made meanwhile.
    allocations: usize,
    /// We have ended the connection.
    ended: bool,
}

impl Attack {
    /// Over a connection that is open. `serve` has another connection served, after the first
    /// rounds, ever more seldom then, and when all is sent and not answered yet, or not read.
    fn carry_out(&self, wire: &mut Wire, turns: &dyn Turns, mut serve: impl FnMut()) -> Seen {
        let before = held_bytes();
        let allocated = stats().allocations;
        let (mut peak, mut own) = (0, 0);
        let (sent_before, own_before) = (wire.sent_bytes, wire.own_allocations);
        for round in 0..self.rounds {
            let counted = stats().allocations;
            let bytes = (self.bytes)(round);
            own += stats().allocations - counted;
            let taken = wire.send(&bytes, turns, self.reads);
            let all = taken == bytes.len();
            drop(bytes);
            peak = peak.max(held_bytes().saturating_sub(before));
            if !all || wire.closed {
                break;
            }
            if (round + 1).is_power_of_two() {
                own += allocations_of(&mut serve);
                peak = peak.max(held_bytes().saturating_sub(before));
            }
        }
        own += allocations_of(serve);
        peak = peak.max(held_bytes().saturating_sub(before));
        let sent = wire.sent_bytes - sent_before;
        own += wire.own_allocations - own_before;
        let allocations = stats().allocations - allocated - own;
        // An end may lie behind answers that were not read.
        for _ in 0..10 {
            wire.read();
            turns.settle();
        }
        Seen { sent, peak, allocations, ended: wire.closed }
    }

    /// What is wrong with it.
    fn judge(&self, seen: &Seen, faults: &mut Vec<String>) {
        let Attack { name, bound, .. } = self;
        println!("{name}: {seen:?}, bound {bound}");
        if seen.peak > *bound {
            faults.push(format!("{name}: {} bytes, not {bound}", seen.peak));
        }
        // For each byte of the attack, not for each frame that it says it has.
        if seen.allocations > self.allocations + seen.sent / 10 {
            let Seen { sent, allocations, .. } = seen;
            faults.push(format!("{name}: {allocations} allocations, {sent} bytes"));
        }
        if seen.ended != self.ends {
            faults.push(format!("{name}: ended {}, not {}", seen.ended, self.ends));
        }
    }
}

/// So many bytes of a frame, repeated.
fn flood(one: &[u8]) -> Vec<u8> {
    one.repeat(64 * KIB / one.len())
}

/// A round that begins, or answers, the next `count` streams.
fn streams(round: u32, count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| of(1 + 2 * (round * count + n))).collect()
}

fn allocations_of(work: impl FnOnce()) -> usize {
    let before = stats().allocations;
    work();
    stats().allocations - before
}

fn stats() -> Stats {
    ALLOCATOR.stats()
}

fn held_bytes() -> usize {
    let stats = stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Nobody else allocates while this is held.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings a clock that begins behind those of the tests before: what the process keeps for long
/// messages is given back by the latest time that was ever seen.
fn catch_up(turns: &dyn Turns) {
    const TEST: Duration = Duration::from_secs(86_400);
    static TESTS: AtomicU32 = AtomicU32::new(1);
    turns.pass(TEST * TESTS.fetch_add(1, Ordering::Relaxed));
}
