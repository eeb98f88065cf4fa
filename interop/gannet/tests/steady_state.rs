//! What a unary call costs the server in steady state, counted: allocations.
//!
//! The load generator lives in this process and allocates nothing once it runs, so that every
//! allocation counted is the server's. A binary of its own, because it replaces the allocator.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::alloc::System;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use gannet::codec::{Buffa, Codec};
use gannet::{Listener, Server};
use gannet_interop::plain::{Hello, greet};
use gannet_interop::proto::grpctest::{GrpctestServer, Message};
use gannet_load::{Connection, Load};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGE_BYTES_MAX: usize = 4 << 20;
const WARM_UP_CALLS: u64 = 20_000;
const IN_FLIGHT: usize = 100;

/// Calls to count: enough that what happens once does not show. A million by hand:
/// `GANNET_CALLS=1000000 cargo test --release -p gannet-interop --test steady_state --
/// --nocapture`.
fn calls() -> u64 {
    std::env::var("GANNET_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

#[test]
fn a_unary_call_allocates_nothing_but_its_messages() {
    let (addr, stop) = start_server();
    let mut load = load(WARM_UP_CALLS);
    let mut connection = Connection::open(&addr.to_string()).unwrap();
    connection.run(&load).unwrap();

    load.calls = calls();
    let region = Region::new(ALLOCATOR);
    connection.run(&load).unwrap();
    let counted = region.change();
    let of_all = (counted.allocations + counted.reallocations) as f64 / load.calls as f64;
    let of_messages = allocations_of_messages(&load.request);
    println!("{} calls: {of_all:.4} allocations each, {of_messages} by messages", load.calls);
    assert!(of_all - of_messages <= 0.01, "{of_all} allocations a call, {of_messages} by messages");
    assert!(of_all >= of_messages, "the count is broken: {of_all} < {of_messages}");
    stop.send(()).unwrap();
}

/// What decoding the request, the handler's text and encoding the reply allocate by themselves.
fn allocations_of_messages(request: &[u8]) -> f64 {
    const ROUNDS: u32 = 1000;
    let mut out = Vec::with_capacity(1024);
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        let message: Message = Buffa::decode(request).unwrap();
        out.clear();
        Buffa::encode_framed(&black_box(greet(message)), MESSAGE_BYTES_MAX, &mut out).unwrap();
    }
    let counted = region.change();
    (counted.allocations + counted.reallocations) as f64 / f64::from(ROUNDS)
}

fn load(calls: u64) -> Load {
    let mut request = Vec::new();
    let hello = Message { message: "hello".into(), ..Default::default() };
    Buffa::encode(&hello, MESSAGE_BYTES_MAX, &mut request).unwrap();
    let mut reply = Vec::new();
    Buffa::encode(&greet(hello), MESSAGE_BYTES_MAX, &mut reply).unwrap();
    let path = "/grpctest.Grpctest/GetServerResponse".to_owned();
    Load { path, request, reply, in_flight: IN_FLIGHT, calls }
}

/// A server on its own thread; it ends when told, or when the test does.
fn start_server() -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::tcp("127.0.0.1:0").unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let stopped = async {
                let _ = stopped.await;
            };
            let server = Server::new().add(GrpctestServer::new(Hello));
            server.serve(listener).shutdown_on(stopped, Duration::ZERO).await.unwrap();
        });
    });
    (told.recv().unwrap(), stop)
}
