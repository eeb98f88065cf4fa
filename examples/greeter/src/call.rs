//! The client: calls in turn all replicas that there are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gannet::auth::TokenFile;
use gannet::client::{ChannelBuilder, balance::RoundRobin};
use gannet::tls::{ClientTls, Roots};
use gannet::{Channel, Status};

use crate::Failure;
use crate::keys::{SERVER_NAME, file};
use crate::proto::greeter::{GREETER, GreetRequest, GreeterClient, Greeting};

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

/// Calls, and tells who answered how often.
pub(crate) async fn call(args: Args) -> Result<(), Failure> {
    let client = GreeterClient::new(channel(&args)?.build()?);
    let mut tally = BTreeMap::<String, u32>::new();
    for number in 0..args.count {
        if number > 0 && args.pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(args.pause_ms)).await;
        }
        let request = GreetRequest { name: args.name.clone(), ..Default::default() };
        let outcome = client.greet(request).timeout(Duration::from_secs(5)).await;
        *tally.entry(told(outcome, args.quiet)).or_default() += 1;
    }
    for (who, calls) in tally {
        println!("{calls:>6}  {who}");
    }
    Ok(())
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

/// A channel to all replicas at once, each of which has to be healthy.
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
