//! The hello world's client for `cargo xtask bench --gate`: so many calls over one channel, from as
//! many tasks as are to be in flight, all on one thread.

#![allow(clippy::print_stdout, reason = "tells how many calls were made")]

use std::time::Duration;

use clap::Parser;
use gannet::{Channel, Result};
use gannet_interop::proto::grpctest::{GrpctestClient, Message};

/// Calls the hello world over one channel.
#[derive(Parser)]
struct Args {
    /// The server, host:port.
    #[arg(long)]
    addr: String,
    /// Calls in all.
    #[arg(long, default_value_t = 20_000)]
    calls: u64,
    /// Calls in flight.
    #[arg(long, default_value_t = 100)]
    in_flight: u64,
    /// Gives every call a deadline, seconds away.
    #[arg(long)]
    timeout: Option<u64>,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(make_calls(args))?;
    println!("{made} calls");
    Ok(())
}

async fn make_calls(args: Args) -> std::result::Result<u64, Box<dyn std::error::Error>> {
    let client = GrpctestClient::new(Channel::builder(args.addr).build()?);
    let timeout = args.timeout.map(Duration::from_secs);
    let tasks: Vec<_> = (0..args.in_flight)
        .map(|task| {
            let client = client.clone();
            let calls = args.calls / args.in_flight + u64::from(task < args.calls % args.in_flight);
            tokio::spawn(async move {
                for _ in 0..calls {
                    call(&client, timeout).await?;
                }
                Ok::<u64, gannet::Status>(calls)
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await??;
    }
    Ok(made)
}

async fn call(client: &GrpctestClient, timeout: Option<Duration>) -> Result<()> {
    let request = Message { message: "world".into(), ..Default::default() };
    let call = client.get_server_response(request);
    let reply = match timeout {
        Some(timeout) => call.timeout(timeout).await?,
        None => call.await?,
    };
    assert!(reply.received, "the server greets everyone");
    Ok(())
}
