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
//! | [one handler](#one-handler), no server | [`TestCall`]; [`inbound`], [`replies`], [`stream`] |
//! | [a client](#a-client), or who uses one | [`FakeServer`]: answers as told, keeps what comes |
//! | [calls that fail](#calls-that-fail) | [`Faults`], an interceptor: delays and statuses |
//! | [connections that fail](#connections-that-fail) | [`Wire`]: cut, refused, stalled, slow |
//! | [several servers](InProcess#several-servers) | [`InProcess::address`], and with a wire |
//! | [what takes long](#virtual-time) | [`virtual_time`], `#[tokio::test(start_paused = true)]` |
//! | what happens by chance | [`seed`], for channels; [`Faults`] and [`Wire`] have their own |
//! | TLS | `Authority` (feature `tls`): certificates that are made when they are needed |
//!
//! All of it works in virtual time, in which hours pass at once. What chance there is in [`Faults`]
//! and [`Wire`] comes from a seed: the same seed makes the same faults again. So does what channels
//! draw by chance, by [`seed`]: their backoff, the order of a shuffled pick_first, whose turn is
//! first in round_robin. What a test does wrong panics, and says what that is.
//!
//! # One handler
//!
//! ```
//! # use gannet_core::{Result, codec::Raw};
//! # use gannet_server::Call;
//! # use gannet_transport::{Inbound, Outbound};
//! # type Bytes = Vec<u8>;
//! # async fn shout(
//! #     _: &mut Call,
//! #     mut from: Inbound<Bytes>,
//! #     mut to: Outbound<Bytes>,
//! # ) -> Result<()> {
//! #     while let Some(message) = from.next().await? {
//! #         to.send(message.to_ascii_uppercase()).await?;
//! #     }
//! #     Ok(())
//! # }
//! # gannet_testing::virtual_time(async {
//! let mut call = gannet_testing::TestCall::new().with_header("x-user", "ada");
//! let requests = gannet_testing::inbound::<Raw, _>([b"hello".to_vec()]);
//! let (to, mut sent) = call.replies::<Raw, _>();
//! shout(&mut call, requests, to).await.unwrap();
//! assert_eq!(sent.all().await.unwrap(), [b"HELLO"]);
//! # });
//! ```
//!
//! # A client
//!
//! ```
//! # use gannet_testing::{FakeAnswer, FakeServer, example::ECHO};
//! # use gannet_core::codec::Raw;
//! # gannet_testing::virtual_time(async {
//! let fake = FakeServer::new(&ECHO).on("Say", [FakeAnswer::message::<Raw, _>(&b"fine".to_vec())]);
//! let channel = fake.channel();
//! let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], b"how?".to_vec());
//! assert_eq!(call.await.unwrap(), b"fine");
//! assert_eq!(fake.calls()[0].messages::<Raw, Vec<u8>>().unwrap(), [b"how?"]);
//! # });
//! ```
//!
//! # Calls that fail
//!
//! ```
//! # use gannet_testing::{Faults, example::{ECHO, Echo}};
//! # use gannet_core::{Code, Status, codec::Raw};
//! # gannet_testing::virtual_time(async {
//! let faults = Faults::seeded(1).abort(1.0, Status::unavailable("closed"));
//! let channel = gannet_testing::channel(Echo).intercepted(faults.clone());
//! let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
//! assert_eq!(call.await.unwrap_err().code(), Code::Unavailable);
//! assert_eq!(faults.fates().len(), 1);
//! # });
//! ```
//!
//! # Connections that fail
//!
//! ```
//! # use gannet_testing::{InProcess, example::{ECHO, Echo}};
//! # use gannet_core::{Code, codec::Raw};
//! # use gannet_server::Server;
//! # gannet_testing::virtual_time(async {
//! let (channel, wire) = InProcess::serve(Server::new().add(Echo)).wired();
//! let chat = channel.bidi_streaming::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[1]);
//! let (_to, mut from) = chat.await.unwrap();
//! wire.cut();
//! assert_eq!(from.next().await.unwrap_err().code(), Code::Unavailable);
//! # });
//! ```
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
//! It is tokio's clock alone that is paused. `std::time::Instant` goes on as ever; while
//! `spawn_blocking` has work, virtual time stands still; and a real socket is not waited for: time
//! jumps to the next timer, so that calls over TCP run into their deadlines. Such tests need the
//! real clock.
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
#[cfg(any(feature = "tls", feature = "tls-ring"))]
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
