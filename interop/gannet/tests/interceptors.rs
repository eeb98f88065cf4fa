//! What an interceptor that does nothing costs a unary call, counted: allocations, on the server
//! and on the client. Instructions are counted by `cargo xtask bench --gate --only intercepted`.
//!
//! Client and server live in this process, and so does the allocator's counter: what differs
//! between two runs is what the interceptor takes. A binary of its own, because it replaces the
//! allocator, with one test, as others would be counted too.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::alloc::System;
use std::time::Duration;

use gannet::client::{Next, Outgoing};
use gannet::server::{self, Incoming};
use gannet::{Call, Channel, Listener, Result, Server};
use gannet_interop::proto::grpctest::{
    Grpctest, GrpctestClient, GrpctestServer, Message, MessageResponse,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What one interceptor may take for each call.
const ALLOCATIONS_MAX: f64 = 2.0;
const WARM_UP_CALLS: u32 = 2_000;
const CALLS: u32 = 10_000;

struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(&self, _: &mut Call, _: Message) -> Result<MessageResponse> {
        Ok(MessageResponse { received: true, ..Default::default() })
    }
}

/// Allocations of a call in steady state, with so many interceptors on either side.
async fn allocations(on_server: usize, on_client: usize) -> f64 {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = (0..on_server).fold(Server::new(), |server, _| {
        server.intercept(|call: Incoming, next: server::Next| next.run(call))
    });
    let server = server.add(GrpctestServer::new(Hello)).serve(listener);
    let served = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.shutdown_on(stopped, Duration::from_secs(1)).await
    });
    let channel = (0..on_client).fold(Channel::builder(target), |builder, _| {
        builder.intercept(|call: Outgoing, next: Next| next.run(call))
    });
    let client = GrpctestClient::new(channel.build().unwrap());
    let call = async || {
        assert!(client.get_server_response(Message::default()).await.unwrap().received);
    };
    for _ in 0..WARM_UP_CALLS {
        call().await;
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..CALLS {
        call().await;
    }
    let counted = region.change();
    drop(client);
    let _ = stop.send(());
    served.await.unwrap().unwrap();
    (counted.allocations + counted.reallocations) as f64 / f64::from(CALLS)
}

#[test]
fn an_interceptor_allocates_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [none, server, client, three] = [(0, 0), (1, 0), (0, 1), (3, 3)]
        .map(|(on_server, on_client)| runtime.block_on(allocations(on_server, on_client)));
    println!("allocations a call: {none:.3}; {server:.3} with an interceptor on the server");
    println!("{client:.3} with one on the client; {three:.3} with three on both");
    assert!(none >= 1.0, "the count is broken");
    assert!(server - none <= ALLOCATIONS_MAX, "{server} and {none} without");
    assert!(client - none <= ALLOCATIONS_MAX, "{client} and {none} without");
    assert!(client - none >= 0.9, "the count is broken, or the goal too low by now");
    assert!(three - none <= 6.0 * ALLOCATIONS_MAX, "{three} and {none} without");
}
