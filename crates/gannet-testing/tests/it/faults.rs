//! Faults by interceptors: the same in each run, on both sides.

use std::time::Duration;

use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{Code, Status};
use gannet_server::{ServeError, Server};
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{Faults, InProcess, TestCall};
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

#[tokio::test(start_paused = true)]
async fn a_server_has_what_its_faults_name() {
    for (name, is_known) in [
        ("nope", false),
        ("example.echo", false),
        ("/example.Echo/Nope", false),
        ("example.Echo", true),
        ("/example.Echo/Chat", true),
    ] {
        let faults = Faults::seeded(1).only_on(name);
        let server = InProcess::serve(Server::new().add(Echo).intercept(faults));
        let [(failed, _)] = *outcomes(&server.channel(), 1).await else { unreachable!("one call") };
        assert_eq!(failed.is_none(), is_known, "{name}");
        match server.stop(Duration::ZERO).await {
            Ok(()) => assert!(is_known, "{name}"),
            Err(ServeError::UnknownName(told)) => assert!(!is_known && told == name, "{told}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn probabilities_are_from_0_to_1() {
    let told = |add: fn() -> Faults| {
        let panicked = std::panic::catch_unwind(add).err()?;
        Some(panicked.downcast_ref::<String>().unwrap().clone())
    };
    let why = "is a number from 0 (none) to 1 (all)";
    for (add, shown) in [
        ((|| abort(20.0)) as fn() -> Faults, "20"),
        (|| abort(-0.1), "-0.1"),
        (|| abort(f64::NAN), "NaN"),
        (|| delay(1.001), "1.001"),
        (|| delay(f64::INFINITY), "inf"),
        (|| delay(f64::NAN), "NaN"),
    ] {
        let told = told(add).unwrap_or_else(|| panic!("{shown} is taken"));
        assert_eq!(told, format!("a fault with the probability {shown}: it {why}"));
    }
    for add in [|| abort(0.0), || abort(1.0), || delay(0.0), || delay(1.0)] {
        assert_eq!(told(add), None);
    }
}

fn abort(probability: f64) -> Faults {
    Faults::seeded(1).abort(probability, Status::aborted("as chance has it"))
}

fn delay(probability: f64) -> Faults {
    Faults::seeded(1).delay(probability, Duration::ZERO..Duration::from_secs(1))
}

#[test]
#[should_panic(expected = "ends before it starts")]
fn a_delay_within_nothing_is_refused() {
    #[allow(clippy::reversed_empty_ranges, reason = "what is refused")]
    let _ = Faults::seeded(1).delay(1.0, Duration::from_secs(2)..Duration::from_secs(1));
}

#[test]
#[should_panic(expected = "a header that cannot be sent: metadata key \"Bad Key\" has the")]
fn a_header_that_cannot_be_sent_is_told_in_words() {
    let _ = TestCall::new().with_header("Bad Key", "value");
}
