//! The soak cases: large calls one after the other, on one channel or each on its own.

use std::time::{Duration, Instant};

use gannet_interop::check::Outcome;
use gannet_interop::official::zeros;
use gannet_interop::proto::grpc::testing::SimpleRequest;

use crate::Client;

/// Flags of the soak cases, each as official clients have it.
#[derive(Debug, clap::Args)]
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
}

/// `anew`: each call on a channel of its own.
pub(crate) async fn run(args: &crate::Args, client: &Client, anew: bool) -> Outcome {
    let soak = &args.soak;
    let request = SimpleRequest {
        response_size: soak.response_bytes,
        payload: Some(zeros(soak.request_bytes)).into(),
        ..Default::default()
    };
    let wanted = usize::try_from(soak.response_bytes)?;
    let end = Instant::now() + Duration::from_secs(soak.overall_seconds_max);
    let (mut done, mut failures, mut slowest) = (0, Vec::new(), Duration::ZERO);
    while done < soak.iterations && Instant::now() < end {
        let own = if anew { Some(args.client()?) } else { None };
        let client = own.as_ref().unwrap_or(client);
        let began = Instant::now();
        let call = client.test.unary_call(request.clone()).metadata(client.metadata());
        let outcome = call.await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        let bytes = outcome.map(|reply| reply.payload.as_option().map_or(0, |p| p.body.len()));
        match bytes {
            Ok(bytes) if bytes != wanted => failures.push(format!("call {done}: {bytes} bytes")),
            Ok(_) if took > Duration::from_millis(soak.latency_ms_max) => {
                failures.push(format!("call {done}: took {} ms", took.as_millis()));
            }
            Ok(_) => {}
            Err(status) => failures.push(format!("call {done}: {status}")),
        }
        done += 1;
        tokio::time::sleep(Duration::from_millis(soak.pause_ms_min).saturating_sub(took)).await;
    }
    eprintln!("{done} calls, {} failures, slowest {} ms", failures.len(), slowest.as_millis());
    if done < soak.iterations {
        return Err(format!("{done} of {} calls in time", soak.iterations).into());
    }
    if failures.len() > usize::try_from(soak.failures_max)? {
        return Err(failures.join("; ").into());
    }
    Ok(())
}
