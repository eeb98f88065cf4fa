//! The client: calls in turn all replicas that there are.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use gannet::auth::TokenFile;
use gannet::client::{ChannelBuilder, balance::RoundRobin};
use gannet::tls::{ClientTls, Roots};
use gannet::{Channel, Status};
use tokio::time::{Instant, Interval, interval};

use crate::Failure;
use crate::keys::{SERVER_NAME, file};
use crate::proto::greeter::{GREETER, GreetRequest, GreeterClient, Greeting};
use crate::traces::Traces;

/// Flags of `greeter call`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the replicas are: a name that leads to them all, or their addresses
    #[arg(long, default_value = "ipv4:127.0.0.1:50051,127.0.0.1:50052,127.0.0.1:50053")]
    target: String,
    /// Whom to greet
    #[arg(default_value = "World")]
    name: String,
    /// How many calls
    #[arg(long, default_value_t = 6)]
    count: u32,
    /// Time between calls, in milliseconds
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// Who collects traces: `http://HOST:4317`, by OTLP over gRPC, without TLS
    #[arg(long, value_name = "TARGET")]
    traces: Option<String>,
    /// Begin so many calls each second, or as many as there is time for, in place of a pause; how
    /// many it were is told at the end
    #[arg(long, value_name = "CALLS", conflicts_with = "pause_ms")]
    rate: Option<NonZeroU32>,
    /// The folder that `greeter keys` has made
    #[arg(long, default_value = "keys")]
    keys: PathBuf,
    /// The file with the token, in that folder
    #[arg(long, default_value = file::TOKEN)]
    token: String,
    /// Only count who answered, in place of telling each answer
    #[arg(long)]
    quiet: bool,
}

/// Calls, and tells who answered how often. Where any call failed, that is an error.
pub(crate) async fn call(args: Args) -> Result<(), Failure> {
    let traces = Traces::to(args.traces.as_deref(), "client")?;
    let mut builder = channel(&args)?;
    if let Some(tracing) = traces.tracing() {
        builder = builder.observe(tracing);
    }
    let client = GreeterClient::new(builder.build()?);
    let (mut tally, mut failures) = (BTreeMap::<String, u32>::new(), 0_u32);
    let mut pace = Pace::of(&args);
    for _ in 0..args.count {
        pace.next().await;
        let request = GreetRequest { name: args.name.clone(), ..Default::default() };
        let outcome = client.greet(request).timeout(Duration::from_secs(5)).await;
        failures += u32::from(outcome.is_err());
        *tally.entry(told(outcome, args.quiet)).or_default() += 1;
    }
    for (who, calls) in tally {
        println!("{calls:>6}  {who}");
    }
    if args.rate.is_some() {
        println!("{:>9.2} calls each second", pace.rate());
    }
    traces.finish().await?;
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} of {} calls failed", args.count).into()),
    }
}

/// When calls begin.
struct Pace {
    ticks: Option<Interval>,
    pause: Duration,
    begun: u32,
    /// The first of them, and the last.
    times: Option<(Instant, Instant)>,
}

impl Pace {
    fn of(args: &Args) -> Pace {
        let ticks = args.rate.map(|rate| interval(Duration::from_secs(1) / rate.get()));
        Pace { ticks, pause: Duration::from_millis(args.pause_ms), begun: 0, times: None }
    }

    /// Waits until the next one may begin.
    async fn next(&mut self) {
        if let Some(ticks) = &mut self.ticks {
            ticks.tick().await;
        }
        if self.begun > 0 && !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        let now = Instant::now();
        self.begun += 1;
        self.times = Some((self.times.map_or(now, |(first, _)| first), now));
    }

    /// How many began each second, from the first to the last; 0 of one that is alone.
    fn rate(&self) -> f64 {
        let seconds = self.times.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        if seconds > 0.0 { f64::from(self.begun - 1) / seconds } else { 0.0 }
    }
}

/// Who answered, or what went wrong.
fn told(outcome: gannet::Result<Greeting>, quiet: bool) -> String {
    match outcome {
        Ok(greeting) => {
            if !quiet {
                println!("{} ({}, for {})", greeting.text, greeting.replica, greeting.caller);
            }
            greeting.replica
        }
        Err(status) => failed(&status, quiet),
    }
}

fn failed(status: &Status, quiet: bool) -> String {
    if !quiet {
        println!("{status}");
    }
    format!("failed: {}", status.code())
}

/// A channel to all replicas at once, which calls those that are healthy.
fn channel(args: &Args) -> Result<ChannelBuilder, Failure> {
    let roots = Roots::from_pem_file(args.keys.join(file::AUTHORITY))?;
    Ok(Channel::builder(&args.target)
        .authority(SERVER_NAME)
        .tls(ClientTls::builder().roots(roots).build()?)
        .credentials(TokenFile::new(args.keys.join(&args.token)))
        .balance(RoundRobin::new)
        .health_check(GREETER.name)
        .wait_for_ready(true))
}
