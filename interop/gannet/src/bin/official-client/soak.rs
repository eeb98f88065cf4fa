//! The soak cases: large calls one after the other, on one channel or each on its own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gannet_interop::check::{Outcome, check};
use gannet_interop::official::zeros;
use gannet_interop::proto::grpc::testing::SimpleRequest;
use tokio::task::JoinSet;

use crate::Client;

/// Flags of the soak cases, each as official clients have it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Soak {
    #[arg(long = "soak_iterations", default_value_t = 10)]
    iterations: u32,
    #[arg(long = "soak_max_failures", default_value_t = 0)]
    failures_max: u32,
    #[arg(long = "soak_per_iteration_max_acceptable_latency_ms", default_value_t = 1_000)]
    latency_ms_max: u64,
    #[arg(long = "soak_overall_timeout_seconds", default_value_t = 10)]
    overall_seconds_max: u64,
    #[arg(long = "soak_min_time_ms_between_rpcs", default_value_t = 0)]
    pause_ms_min: u64,
    #[arg(long = "soak_request_size", default_value_t = 271_828)]
    request_bytes: usize,
    #[arg(long = "soak_response_size", default_value_t = 314_159)]
    response_bytes: i32,
    /// How many calls at once
    #[arg(long = "soak_num_threads", default_value_t = 1)]
    workers: u32,
}

const PANICKED: &str = "a worker panicked";

/// What the workers have seen together.
#[derive(Default)]
struct Tally {
    begun: AtomicU32,
    done: AtomicU32,
    slowest_ms: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// `anew`: each call on a channel of its own.
pub(crate) async fn run(args: &crate::Args, client: &Client, anew: bool) -> Outcome {
    let soak = &args.soak;
    let tally = Arc::new(Tally::default());
    let mut workers = JoinSet::new();
    for _ in 0..soak.workers {
        workers.spawn(work(args.clone(), client.clone(), anew, Arc::clone(&tally)));
    }
    let overall = Duration::from_secs(soak.overall_seconds_max);
    // What has been done until then is told below.
    if let Ok(outcomes) = tokio::time::timeout(overall, workers.join_all()).await {
        outcomes.into_iter().collect::<Outcome>()?;
    }
    let done = tally.done.load(Ordering::Relaxed);
    let slowest_ms = tally.slowest_ms.load(Ordering::Relaxed);
    let failures = tally.failures.lock().map_err(|_| PANICKED)?;
    eprintln!("{done} calls, {} failures, slowest {slowest_ms} ms", failures.len());
    if done < soak.iterations {
        return Err(format!("{done} of {} calls in time", soak.iterations).into());
    }
    if failures.len() > usize::try_from(soak.failures_max)? {
        return Err(failures.join("; ").into());
    }
    Ok(())
}

/// Calls one after the other until all are begun.
async fn work(args: crate::Args, client: Client, anew: bool, tally: Arc<Tally>) -> Outcome {
    let soak = &args.soak;
    while tally.begun.fetch_add(1, Ordering::Relaxed) < soak.iterations {
        let own = if anew { Some(args.client()?) } else { None };
        let began = Instant::now();
        let outcome = call(soak, own.as_ref().unwrap_or(&client)).await;
        let took = began.elapsed();
        let took_ms = u64::try_from(took.as_millis())?;
        tally.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
        let outcome = match outcome {
            Ok(()) if took_ms > soak.latency_ms_max => Err(format!("took {took_ms} ms").into()),
            outcome => outcome,
        };
        let done = tally.done.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            let mut failures = tally.failures.lock().map_err(|_| PANICKED)?;
            failures.push(format!("call {done}: {error}"));
        }
        tokio::time::sleep(Duration::from_millis(soak.pause_ms_min).saturating_sub(took)).await;
    }
    Ok(())
}

async fn call(soak: &Soak, client: &Client) -> Outcome {
    let request = SimpleRequest {
        response_size: soak.response_bytes,
        payload: Some(zeros(soak.request_bytes)).into(),
        ..Default::default()
    };
    let reply = client.test.unary_call(request).metadata(client.metadata()).await?;
    let bytes = reply.payload.as_option().map_or(0, |payload| payload.body.len());
    check("payload's bytes", bytes, usize::try_from(soak.response_bytes)?)
}
