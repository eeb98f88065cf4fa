//! Tests of gRPC services and clients, without a network.
//!
//! A service and a client in one process, in one line:
//!
//! ```
//! # use gannet_testing::example::{ECHO, Echo};
//! # use gannet_core::codec::Raw;
//! # gannet_testing::virtual_time(async {
//! let channel = gannet_testing::channel(Echo);
//! // With generated code: `let client = GreeterClient::new(channel);`
//! let reply: Vec<u8> = channel.unary::<Raw, _, _>(&ECHO.methods[0], b"hi".to_vec()).await?;
//! assert_eq!(reply, b"hi");
//! # gannet_core::Result::<()>::Ok(())
//! # }).unwrap();
//! ```
//!
//! | what is tested | with |
//! | --- | --- |
//! | a service, from its client's side | [`channel`]; [`InProcess`], which can be stopped |
//! | one handler, without a server | [`TestCall`]; [`inbound`] and [`replies`] for its streams |
//! | a client, or what uses one | [`FakeServer`]: answers as told, keeps what it was asked |
//! | what happens when calls fail | [`Faults`], an interceptor: delays and statuses |
//! | what happens when connections fail | [`Wire`]: cut, refused, stalled, slow |
//! | what happens after long | [`virtual_time`], or `#[tokio::test(start_paused = true)]` |
//! | TLS | `Authority` (feature `tls`): certificates that are made when they are needed |
//!
//! All of it works in virtual time, in which hours pass at once. What chance there is in [`Faults`]
//! and [`Wire`] comes from a seed: the same seed makes the same faults again. So does what channels
//! draw by chance, by [`seed`]: their backoff, the order of a shuffled pick_first, whose turn is
//! first in round_robin.
//!
//! # Virtual time
//!
//! tokio's clock can be paused. It then goes on only while everything waits, at once to when the
//! next timer is due: so a deadline of an hour takes no time, and calls take the same virtual time
//! in each run, if that begins with [`seed`], as [`virtual_time`] does. Channels, servers and all
//! of this crate live by that clock.
//!
//! ```
//! # use std::time::Duration;
//! # use gannet_testing::example::{ECHO, Echo};
//! # use gannet_testing::{Faults, InProcess};
//! # use gannet_core::codec::Raw;
//! # use gannet_core::Code;
//! # use gannet_server::Server;
//! gannet_testing::virtual_time(async {
//!     let hour = Duration::from_secs(3_600);
//!     let slow = Faults::seeded(1).delay(1.0, hour..hour);
//!     let channel = InProcess::serve(Server::new().add(Echo).intercept(slow)).channel();
//!     let started = tokio::time::Instant::now();
//!     let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
//!     let status = call.timeout(hour / 2).await.unwrap_err();
//!     assert_eq!(status.code(), Code::DeadlineExceeded);
//!     assert_eq!(started.elapsed().as_secs(), 1_800);
//! });
//! ```
//!
//! A test that waits for what never comes does not end by itself, as connections ask each other by
//! PING now and then whether they are still there: give calls a timeout. [`virtual_time`] gives up
//! after a year.

use std::time::Duration;

mod call;
#[cfg(feature = "_tls")]
mod certificates;
#[doc(hidden)]
pub mod example;
mod fake;
mod faults;
mod in_process;
mod streams;
mod wire;

pub use call::TestCall;
#[cfg(feature = "_tls")]
pub use certificates::Authority;
pub use fake::{FakeAnswer, FakeServer, Recorded};
pub use faults::{Fate, Faults};
pub use in_process::{InProcess, channel};
pub use streams::{Replies, inbound, inbound_failing, replies, stream};
pub use wire::{Direction, Wire};

/// Has all that channels and servers draw by chance on this thread from now on follow from `seed`:
/// a test that fails, fails again, and another seed is another course of events. For tests on a
/// runtime of one thread, before they make channels; [`virtual_time`] begins with the seed 0.
///
/// ```
/// # use std::time::Duration;
/// # use gannet_testing::{InProcess, example::{ECHO, Echo}};
/// # use gannet_core::codec::Raw;
/// # use gannet_server::Server;
/// /// How long a call takes whose channel is refused for a minute.
/// fn outage(seed: u64) -> Duration {
///     gannet_testing::virtual_time(async move {
///         gannet_testing::seed(seed);
///         let (channel, wire) = InProcess::serve(Server::new().add(Echo)).wired();
///         wire.set_refusing(true);
///         tokio::spawn(async move {
///             tokio::time::sleep(Duration::from_secs(60)).await;
///             wire.set_refusing(false);
///         });
///         let started = tokio::time::Instant::now();
///         let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
///         call.wait_for_ready(true).await.unwrap();
///         started.elapsed()
///     })
/// }
/// assert_eq!(outage(7), outage(7));
/// assert_ne!(outage(7), outage(8));
/// ```
pub fn seed(seed: u64) {
    gannet_client::seed_thread(seed);
}

/// Runs `future` on a runtime of one thread whose time passes at once while everything waits: see
/// [above](crate#virtual-time).
///
/// For tests that are no `#[tokio::test(start_paused = true)]`, which does the same but for the
/// [`seed`]: here that is 0.
///
/// # Panics
/// Inside another runtime, where the future does, and where that still waits after a year: for
/// something that never comes, while keepalive and the like let time pass.
pub fn virtual_time<F: Future>(future: F) -> F::Output {
    seed(0);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    let runtime = runtime.expect("the system gives a runtime what it needs");
    let bounded = async { tokio::time::timeout(YEAR, future).await };
    runtime.block_on(bounded).expect("the test waits for something that never comes")
}

const YEAR: Duration = Duration::from_secs(86_400 * 365);
