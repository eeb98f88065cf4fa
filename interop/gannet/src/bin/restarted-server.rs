//! A server of `gannet_interop.proto` to be replaced: SIGTERM drains it, and then it tells what
//! became of its calls. The next one may listen on its port before it ends.

#![allow(clippy::print_stdout, reason = "the harness reads its lines")]

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use gannet::server::TcpOptions;
use gannet::{Listener, Server};
use gannet_interop::echo::Echo;
use gannet_interop::proto::gannet::interop::v1::EchoServer;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than any call: no drain ends by force.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Args {
    #[arg(long)]
    addr: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = Listener::tcp_with(args.addr, TcpOptions::default().reuse_port(true))?;
    let echo = Echo::default();
    let calls = echo.calls().clone();
    println!("listening on {}", args.addr);
    let server = Server::new().add(EchoServer::new(echo));
    server.serve(listener).shutdown_on(async move { terminate.recv().await }, GRACE).await?;
    let (started, finished) = (calls.started(), calls.finished());
    println!("started {started} finished {finished} cut short {}", calls.cut_short());
    Ok(())
}
