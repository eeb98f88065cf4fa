//! The hello world's and the echo's client for `cargo xtask bench --gate`: so many calls over one
//! channel, from as many tasks as are to be in flight, on one thread unless told otherwise.

#![allow(clippy::print_stdout, reason = "tells how many calls were made")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use gannet::auth::TokenFile;
use gannet::client::balance::RoundRobin;
use gannet::client::{ChannelBuilder, Next, Outgoing};
use gannet::{Channel, Inbound, Result};
use gannet_interop::observed::Observe;
use gannet_interop::plain;
use gannet_interop::process::Usage;
use gannet_interop::proto::bench::{EchoClient, Payload, Want};
use gannet_interop::proto::grpctest::{GrpctestClient, Message};

/// Calls the hello world or the echo over one channel.
#[derive(Clone, Parser)]
struct Args {
    /// The server, host:port.
    #[arg(long)]
    addr: String,
    /// Takes turns between so many addresses, 127.0.0.1 and on, with the server's port; 0: the
    /// server's address alone.
    #[arg(long, default_value_t = 0)]
    backends: u8,
    /// Calls in all.
    #[arg(long, default_value_t = 20_000)]
    calls: u64,
    /// Calls in flight.
    #[arg(long, default_value_t = 100)]
    in_flight: u64,
    /// Gives every unary call a deadline, seconds away.
    #[arg(long)]
    timeout: Option<u64>,
    /// What is called.
    #[arg(long, default_value = "unary")]
    mode: Mode,
    /// Puts so many interceptors around each call, which do nothing.
    #[arg(long, default_value_t = 0)]
    interceptors: usize,
    /// Who follows calls.
    #[arg(long)]
    observe: Option<Observe>,
    /// Sends the token in this file with each call, and follows it.
    #[arg(long)]
    bearer_file: Option<PathBuf>,
    /// Messages of a stream.
    #[arg(long, default_value_t = 1_000)]
    messages: u32,
    /// Bytes of a stream's message.
    #[arg(long, default_value_t = 16)]
    bytes: u32,
    /// Workers of the multi-thread runtime; 0: the runtime of one thread.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Tells how long it took, from the start of the process.
    #[arg(long)]
    timed: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// The hello world.
    Unary,
    /// So many messages from the server.
    ServerStream,
    /// So many messages there and back.
    Bidi,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let (timed, started) = (args.timed, Instant::now());
    let made = plain::runtime(args.workers)?.block_on(make_calls(args))?;
    println!("{made} calls");
    if timed {
        let (took, cpu) = (started.elapsed(), Usage::of(std::process::id())?.cpu);
        let each = 1e6 * cpu.as_secs_f64() / made as f64;
        let (rate, cores) =
            (made as f64 / took.as_secs_f64(), cpu.as_secs_f64() / took.as_secs_f64());
        println!("{rate:.0} calls/s, {each:.2} us of CPU for each, {cores:.2} cores");
    }
    Ok(())
}

async fn make_calls(args: Args) -> std::result::Result<u64, Box<dyn std::error::Error>> {
    let mut builder = builder(&args)?;
    if let Some(observe) = args.observe {
        builder = builder.observe(observe.observer()?);
    }
    if let Some(file) = &args.bearer_file {
        let file = TokenFile::new(file);
        // So that no call waits for it, which the start would show.
        file.reload().await?;
        builder = builder.credentials(file);
        builder = builder.allow_credentials_without_tls(true);
    }
    let channel = (0..args.interceptors)
        .fold(builder, |builder, _| builder.intercept(|call: Outgoing, next: Next| next.run(call)))
        .build()?;
    let tasks: Vec<_> = (0..args.in_flight)
        .map(|task| {
            let (args, channel) = (args.clone(), channel.clone());
            let calls = args.calls / args.in_flight + u64::from(task < args.calls % args.in_flight);
            let (hello_world, echo) =
                (GrpctestClient::new(channel.clone()), EchoClient::new(channel));
            tokio::spawn(async move {
                for _ in 0..calls {
                    match args.mode {
                        Mode::Unary => hello(&hello_world, &args).await?,
                        Mode::ServerStream => {
                            let came = server_stream(&echo, &args).await?;
                            assert_eq!(came, args.messages, "a message is missing");
                        }
                        Mode::Bidi => {
                            let came = bidi(&echo, &args).await?;
                            assert_eq!(came, args.messages, "an echo is missing");
                        }
                    }
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

fn builder(args: &Args) -> std::result::Result<ChannelBuilder, Box<dyn std::error::Error>> {
    if args.backends == 0 {
        return Ok(Channel::builder(args.addr.clone()));
    }
    let (_, port) = args.addr.rsplit_once(':').ok_or("no port")?;
    let list: Vec<String> = (1..=args.backends).map(|n| format!("127.0.0.{n}:{port}")).collect();
    Ok(Channel::builder(format!("ipv4:{}", list.join(","))).balance(RoundRobin::new))
}

async fn hello(client: &GrpctestClient, args: &Args) -> Result<()> {
    let request = Message { message: "world".into(), ..Default::default() };
    let call = client.get_server_response(request);
    let reply = match args.timeout.map(Duration::from_secs) {
        Some(timeout) => call.timeout(timeout).await?,
        None => call.await?,
    };
    assert!(reply.received, "the server greets everyone");
    Ok(())
}

/// How many messages came, each as long as it should be.
async fn server_stream(client: &EchoClient, args: &Args) -> Result<u32> {
    let want = Want { messages: args.messages, bytes: args.bytes, ..Default::default() };
    count(client.server_stream(want).await?, args).await
}

/// How many messages came back.
async fn bidi(client: &EchoClient, args: &Args) -> Result<u32> {
    let (mut requests, replies) = client.bidi_stream().await?;
    let body = vec![b'x'; usize::try_from(args.bytes).unwrap_or(0)];
    let send = async {
        for _ in 0..args.messages {
            requests.send(Payload { body: body.clone().into(), ..Default::default() }).await?;
        }
        requests.finish();
        Ok::<(), gannet::Status>(())
    };
    Ok(tokio::try_join!(send, count(replies, args))?.1)
}

async fn count(mut replies: Inbound<Payload>, args: &Args) -> Result<u32> {
    let mut came = 0;
    while let Some(reply) = replies.next().await? {
        assert_eq!(Ok(args.bytes), u32::try_from(reply.body.len()), "a message is cut");
        came += 1;
    }
    Ok(came)
}
