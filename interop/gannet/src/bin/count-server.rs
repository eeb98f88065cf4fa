//! The hello world and the echo for `cargo xtask bench --gate` and `--counts`: handlers always
//! inline, and as many in a round as there are, so that what is counted does not depend on how slow
//! a counting tool makes them; one thread unless told otherwise. Ends when its input does.

#![allow(clippy::print_stdout, reason = "the counting task reads its one line")]

use std::time::Duration;

use clap::Parser;
use gannet::auth::JwtAuth;
use gannet::server::{Dispatch, Incoming, MethodOptions, Next};
use gannet::{Listener, Server};
use gannet_interop::observed::Observe;
use gannet_interop::plain::{self, Echoes, Hello};
use gannet_interop::proto::bench::EchoServer;
use gannet_interop::proto::grpctest::GrpctestServer;
use gannet_interop::tokens;

/// Greets.
#[derive(Parser)]
struct Args {
    /// Workers of the multi-thread runtime; 0: the runtime of one thread.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Puts so many interceptors around each call, which do nothing.
    #[arg(long, default_value_t = 0)]
    interceptors: usize,
    /// Who follows calls.
    #[arg(long)]
    observe: Option<Observe>,
    /// Lets only calls in that have a good token, by keys that follow a file.
    #[arg(long)]
    jwt: bool,
    /// Prints such a token, of Ed25519, and serves nothing.
    #[arg(long)]
    token: bool,
}

const MESSAGE_BYTES_MAX: usize = 8 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if args.token {
        println!("{}", tokens::token("ed25519")?);
        return Ok(());
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
        let _ = stop.send(());
    });
    plain::runtime(args.workers)?.block_on(async {
        let listener = Listener::tcp("127.0.0.1:0")?;
        println!("listening on {}", listener.local_addr().ok_or("no address")?);
        let ended = async {
            let _ = stopped.await;
        };
        let server = surrounded(&args)?
            .rounds_ignore_time()
            .max_receive_bytes(MESSAGE_BYTES_MAX)
            .method("grpctest.Grpctest", MethodOptions::new().dispatch(Dispatch::Inline))
            .method("bench.Echo", MethodOptions::new().dispatch(Dispatch::Inline))
            .add(GrpctestServer::new(Hello))
            .add(EchoServer::new(Echoes));
        server.serve(listener).shutdown_on(ended, Duration::ZERO).await?;
        Ok(())
    })
}

/// A server with what is around its handlers.
fn surrounded(args: &Args) -> Result<Server, Box<dyn std::error::Error>> {
    let mut server = (0..args.interceptors).fold(Server::new(), |server, _| {
        server.intercept(|call: Incoming, next: Next| next.run(call))
    });
    if let Some(observe) = args.observe {
        server = server.observe(observe.observer()?);
    }
    if args.jwt {
        server = server.intercept(JwtAuth::new(tokens::following_validator()?));
    }
    Ok(server)
}
