//! Faults by interceptors: the same in each run, on both sides.

use std::time::Duration;

use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{Code, Status};
use gannet_server::Server;
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{Faults, InProcess};
use tokio::time::Instant;

fn faults(seed: u64) -> Faults {
    let range = Duration::from_millis(10)..Duration::from_millis(100);
    Faults::seeded(seed).delay(0.3, range).abort(0.3, Status::aborted("as chance has it"))
}

async fn outcomes(channel: &Channel, calls: usize) -> Vec<(Option<Code>, u128)> {
    let mut outcomes = Vec::new();
    for _ in 0..calls {
        let started = Instant::now();
        let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
        let code = call.await.err().map(|status| status.code());
        outcomes.push((code, started.elapsed().as_millis()));
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn a_seed_is_a_run() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let faults = faults(seed);
        let channel = InProcess::serve(Server::new().add(Echo).intercept(faults.clone())).channel();
        let seen = outcomes(&channel, 200).await;
        let fates = faults.fates();
        assert_eq!(fates.len(), 200);
        for (fate, (code, millis)) in fates.iter().zip(&seen) {
            assert_eq!(fate.abort.as_ref().map(Status::code), *code);
            let late = Duration::from_millis(u64::try_from(*millis).unwrap());
            assert!(
                late >= fate.delay && late <= fate.delay + Duration::from_millis(2),
                "{fate:?}"
            );
            assert!(fate.delay <= Duration::from_millis(100));
        }
        let failed = seen.iter().filter(|(code, _)| code.is_some()).count();
        assert!((35..85).contains(&failed), "{failed} of 200");
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test(start_paused = true)]
async fn on_a_channel_and_only_where_it_is_said() {
    let channel = gannet_testing::channel(Echo);
    let all = Faults::seeded(3).abort(1.0, Status::unavailable("none gets there"));
    let seen = outcomes(&channel.intercepted(all.clone()), 5).await;
    assert!(seen.iter().all(|(code, _)| *code == Some(Code::Unavailable)));
    let others = all.only_on("other.Service").only_on("/example.Echo/Chat");
    let seen = outcomes(&channel.intercepted(others.clone()), 5).await;
    assert!(seen.iter().all(|(code, _)| code.is_none()));
    assert!(others.fates().is_empty());
    let named = others.only_on("example.Echo");
    assert!(outcomes(&channel.intercepted(named), 5).await.iter().all(|(code, _)| code.is_some()));
}
