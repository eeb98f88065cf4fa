//! What tests are promised: the same in each run, and what faults look like to both sides.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[cfg(any(feature = "tls", feature = "tls-ring"))]
mod certificates;
mod fake;
mod faults;
mod seeds;
mod several;
mod streams;
mod wire;

#[test]
#[should_panic(expected = "something that never comes")]
fn a_test_that_waits_for_ever_ends() {
    gannet_testing::virtual_time(async {
        let channel = gannet_testing::channel(gannet_testing::example::Echo);
        let method = &gannet_testing::example::ECHO.methods[1];
        let call = channel.bidi_streaming::<gannet_core::codec::Raw, Vec<u8>, Vec<u8>>(method);
        let (_to, mut from) = call.await.unwrap();
        from.next().await
    })
    .unwrap();
}
