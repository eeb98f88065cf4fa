//! Connections that are cut at random bytes leave nothing behind: no task, no descriptor, no
//! handler, and no bytes, as the allocator counts. By hand, for as long as one likes: the program
//! `churn`.
//!
//! A binary of its own, because it replaces the allocator and counts the tasks of its runtime.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::alloc::System;
use std::time::Duration;

use gannet_interop::churn::{Certificate, Churn};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many channels fill what is kept for later connections: pools, tables, tickets.
const WARM_UP: u64 = 300;
/// How many are judged.
const CHANNELS: u64 = 1_500;
const AT_ONCE: usize = 32;
/// The buffers for reading that a thread keeps, 4 of 256 KiB at most, may have been smaller before.
/// Each connection would hold more than 3 KiB.
const GROWTH_BYTES_MAX: u64 = 1 << 20;

#[tokio::test]
async fn connections_that_are_cut_leave_nothing_behind() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = Certificate {
        chain: signed.cert.pem(),
        key: signed.signing_key.serialize_pem(),
        roots: signed.cert.pem(),
        name: "localhost".to_owned(),
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut churn = Churn::start(seed, Some(&certificate)).await.unwrap();
    let mut held = Vec::new();
    for channels in [WARM_UP, CHANNELS] {
        let outcomes = churn.run(channels, AT_ONCE, Duration::ZERO).await;
        println!("{:?}", outcomes.calls);
        assert_eq!(outcomes.faults, [""; 0]);
        assert!(outcomes.calls["OK"] > channels / 4, "hardly a call is made");
        assert!(outcomes.calls["UNAVAILABLE"] > channels / 8, "hardly a call is cut");
        let rest = churn.rest().await.unwrap();
        assert!(rest.is_clean(), "{rest:?}");
        held.push(held_bytes());
    }
    assert!(churn.cuts() > (WARM_UP + CHANNELS) / 4, "{} connections were cut", churn.cuts());
    println!("held after each: {held:?}");
    let growth = held[1].saturating_sub(held[0]);
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes more are held");
}

fn held_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    u64::try_from(stats.bytes_allocated - stats.bytes_deallocated).unwrap()
}
