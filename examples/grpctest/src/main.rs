//! The hello world of gRPC: a server, and a client that calls it, in one program.
//!
//! `grpctest` alone starts the server, calls it once, and keeps serving until Ctrl-C. `grpctest
//! server` only serves; `grpctest client [MESSAGE]` only calls.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use gannet::{Call, Channel, Listener, Result, Server};

use proto::grpctest::{Grpctest, GrpctestClient, GrpctestServer, Message, MessageResponse};

/// Generated from `proto/grpctest.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Where the server listens if `--addr` does not say otherwise: all addresses, IPv6 and IPv4.
const LISTEN: &str = "[::]:50051";
/// What the client calls if `--addr` does not say otherwise.
const CALL: &str = "localhost:50051";
/// How long calls may go on after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);
/// The exit code of a program that Ctrl-C ended, as shells have it: 128 and SIGINT's number.
const INTERRUPTED: i32 = 130;

/// The hello world of gRPC: serve it, call it, or both.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address to listen on (`[::]:50051`) or to call (`localhost:50051`)
    #[arg(long, global = true)]
    addr: Option<String>,
    /// Exit after the first reply instead of serving on
    #[arg(long)]
    once: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Only serve, until Ctrl-C
    Server,
    /// Only call
    Client {
        /// What to send
        #[arg(default_value = "Hello Server you there?")]
        message: String,
    },
}

/// The service: what the server does when it is called.
struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(&self, _: &mut Call, request: Message) -> Result<MessageResponse> {
        let message = request.message;
        Ok(MessageResponse {
            message: format!("Hello I am up and running received \"{message}\" message from you"),
            received: true,
            ..Default::default()
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("grpctest: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    if args.once && args.command.is_some() {
        return Err("--once goes without `server` and `client`: it does both, once".into());
    }
    match args.command {
        Some(Command::Client { message }) => {
            let target = args.addr.unwrap_or_else(|| CALL.to_owned());
            call(&target, &message).await
        }
        Some(Command::Server) => serve(listen(args.addr)?).await,
        None => both(listen(args.addr)?, args.once).await,
    }
}

fn listen(addr: Option<String>) -> Result<Listener, Box<dyn std::error::Error>> {
    let addr = addr.unwrap_or_else(|| LISTEN.to_owned());
    let listener = Listener::tcp(addr)?;
    if let Some(addr) = listener.local_addr() {
        println!("listening on {addr}");
    }
    Ok(listener)
}

async fn serve(listener: Listener) -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new().add(GrpctestServer::new(Hello));
    server.serve(listener).shutdown_on(ctrl_c(), GRACE).await?;
    Ok(())
}

/// Ready at the first Ctrl-C. A second one does not wait for the calls that are left.
async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    println!("draining; Ctrl-C again ends at once");
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
}

async fn call(target: &str, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::builder(target).build()?;
    let client = GrpctestClient::new(channel);
    println!("request:  {text}");
    let request = Message { message: text.to_owned(), ..Default::default() };
    let reply = client.get_server_response(request).timeout(Duration::from_secs(5)).await?;
    println!("reply:    {}", reply.message);
    println!("received: {}", reply.received);
    Ok(())
}

async fn both(listener: Listener, once: bool) -> Result<(), Box<dyn std::error::Error>> {
    let target = callable(listener.local_addr());
    let server = tokio::spawn(async move { serve(listener).await.map_err(|e| e.to_string()) });
    call(&target, "Hello Server you there?").await?;
    if once {
        server.abort();
        return Ok(());
    }
    println!("\ncall it from Python (pip install grpcio-tools), in examples/grpctest/proto:");
    println!("  python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. grpctest.proto");
    println!(
        "  python -c 'import grpc, grpctest_pb2 as m, grpctest_pb2_grpc as s; \
         print(s.GrpctestStub(grpc.insecure_channel(\"{target}\"))\
         .GetServerResponse(m.Message(message=\"hi\")))'"
    );
    println!("Ctrl-C to stop");
    Ok(server.await??)
}

/// An address that reaches a listener: a wildcard stands for every address of this host.
fn callable(addr: Option<SocketAddr>) -> String {
    match addr {
        Some(addr) if addr.ip().is_unspecified() => format!("localhost:{}", addr.port()),
        Some(addr) => match addr.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", addr.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", addr.port()),
        },
        None => CALL.to_owned(),
    }
}

/// An error and what caused it, on one line, each thing said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use gannet::Code;
    use gannet_testing::{InProcess, TestCall};

    use super::*;

    fn request(text: &str) -> Message {
        Message { message: text.to_owned(), ..Default::default() }
    }

    const ANSWER: &str = "Hello I am up and running received \"hi\" message from you";

    /// The handler alone: no server, no client.
    #[tokio::test(start_paused = true)]
    async fn the_handler_answers() {
        let reply = Hello.get_server_response(&mut TestCall::new(), request("hi")).await.unwrap();
        assert_eq!((&*reply.message, reply.received), (ANSWER, true));
    }

    /// The same through a client and a server.
    #[tokio::test(start_paused = true)]
    async fn the_service_answers() {
        let client = GrpctestClient::new(gannet_testing::channel(GrpctestServer::new(Hello)));
        assert_eq!(client.get_server_response(request("hi")).await.unwrap().message, ANSWER);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_run_may_end_while_the_server_stops() {
        let server = InProcess::serve(Server::new().add(GrpctestServer::new(Hello)));
        let client = GrpctestClient::new(server.channel());
        client.get_server_response(request("hi")).await.unwrap();
        server.stop(GRACE).await.unwrap();
        let status = client.get_server_response(request("hi")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
}
