//! `canned-server`: answers every gRPC call with canned bytes, from one thread.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::io::{Read, Write};

use clap::{Parser, ValueEnum};
use gannet_load::{CannedServer, Reply};

/// Answers every gRPC call with canned bytes: the floor for servers, and a fast server for clients.
/// Ends when its input does.
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: String,
    /// What every call gets
    #[arg(long, default_value = "hello")]
    reply: Kind,
    /// The request that a hello reply is for
    #[arg(long, default_value = "hello")]
    text: String,
    /// Messages of a stream
    #[arg(long, default_value_t = 1000)]
    messages: u32,
    /// The payload of a stream's message, in bytes
    #[arg(long, default_value_t = 16)]
    bytes: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// The hello world's reply
    Hello,
    /// What it sends, as it comes
    Echo,
    /// So many messages of so many bytes
    Stream,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let reply = match args.reply {
        Kind::Hello => Reply::Hello(args.text),
        Kind::Echo => Reply::Echo,
        Kind::Stream => Reply::Stream { messages: args.messages, bytes: args.bytes },
    };
    let server = CannedServer::bind(&args.addr, &reply)?;
    println!("listening on {}", server.local_addr()?);
    std::io::stdout().flush()?;
    let input_ends = || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    };
    server.serve(input_ends, |error| eprintln!("a connection failed: {error}"))?;
    Ok(())
}
