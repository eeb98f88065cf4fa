//! Bidirectional streaming: a chat room, where each member is one long call.
//!
//! `chat` opens the room on a free port of this host, lets three members talk, and exits.
//! `chat serve` keeps a room open; `chat join NAME` joins one and sends what is typed.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use gannet::{Call, Channel, Inbound, Listener, Outbound, Result, Server, Status};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;

use proto::chat::{Line, Room, RoomClient, RoomServer};

/// Generated from `proto/chat.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Lines a member may lag behind before it is told that it missed some.
const BACKLOG_LINES_MAX: usize = 256;

/// A chat room over one bidirectional call per member.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the room is
    #[arg(long, global = true, default_value = "127.0.0.1:50052")]
    addr: String,
}

#[derive(Subcommand)]
enum Command {
    /// Keep a room open until Ctrl-C
    Serve,
    /// Join a room under a name; each line that is typed is sent
    Join {
        /// The name the others see
        name: String,
    },
}

struct Lounge {
    lines: broadcast::Sender<Line>,
}

impl Room for Lounge {
    async fn join(
        &self,
        call: &mut Call,
        mut spoken: Inbound<Line>,
        mut heard: Outbound<Line>,
    ) -> Result<()> {
        let mut room = self.lines.subscribe();
        // Headers go out with the first line; sending them now tells the member that it is in.
        call.send_headers();
        loop {
            tokio::select! {
                line = spoken.next() => match line? {
                    // It fails only if nobody listens, and we do.
                    Some(line) => drop(self.lines.send(line)),
                    None => return Ok(()),
                },
                line = room.recv() => match line {
                    Ok(line) => heard.send(line).await?,
                    Err(broadcast::error::RecvError::Lagged(lines)) => {
                        return Err(Status::resource_exhausted(format!("{lines} lines missed")));
                    }
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    match args.command {
        Some(Command::Serve) => serve(Listener::tcp(args.addr)?).await,
        Some(Command::Join { name }) => join(&args.addr, name).await,
        None => show().await,
    }
}

async fn serve(listener: Listener) -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "the room is open at {}",
        listener.local_addr().map(|a| a.to_string()).unwrap_or_default()
    );
    let lounge = Lounge { lines: broadcast::channel(BACKLOG_LINES_MAX).0 };
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let server = Server::new().add(RoomServer::new(lounge));
    server.serve(listener).shutdown_on(ctrl_c, Duration::from_secs(1)).await?;
    Ok(())
}

async fn join(target: &str, name: String) -> Result<(), Box<dyn std::error::Error>> {
    let client = RoomClient::new(Channel::builder(target).build()?);
    let (mut speak, mut hear) = client.join().await?;
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = typed.next_line() => match line? {
                Some(text) => {
                    let name = name.clone();
                    speak.send(Line { name, text, ..Default::default() }).await?;
                }
                None => break,
            },
            line = hear.next() => match line? {
                Some(line) => println!("{}: {}", line.name, line.text),
                None => return Ok(()),
            },
        }
    }
    speak.finish();
    while let Some(line) = hear.next().await? {
        println!("{}: {}", line.name, line.text);
    }
    Ok(())
}

/// Three members in one room: each says something once all are in, and hears all three.
async fn show() -> Result<(), Box<dyn std::error::Error>> {
    let listener = Listener::tcp("127.0.0.1:0")?;
    let target = listener.local_addr().map(|addr| addr.to_string()).unwrap_or_default();
    let server = tokio::spawn(async move { serve(listener).await.map_err(|e| e.to_string()) });
    let channel = Channel::builder(&target).build()?;

    let mut members = Vec::new();
    for (name, text) in [("Ada", "hello, all"), ("Grace", "ahoy"), ("Edith", "good to be here")] {
        let (speak, mut hear) = RoomClient::new(channel.clone()).join().await?;
        hear.headers().await?; // in the room
        members.push((name, text, speak, hear));
    }
    for (name, text, speak, _) in &mut members {
        let (name, text) = ((*name).to_owned(), (*text).to_owned());
        speak.send(Line { name, text, ..Default::default() }).await?;
    }
    for (member, _, speak, mut hear) in members {
        for _ in 0..3 {
            if let Some(line) = hear.next().await? {
                println!("{member} hears {}: {}", line.name, line.text);
            }
        }
        speak.finish();
        if hear.next().await?.is_none() {
            println!("{member} leaves");
        }
    }
    server.abort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use gannet::Code;
    use gannet_testing::InProcess;

    use super::*;

    fn lounge() -> InProcess {
        let lounge = Lounge { lines: broadcast::channel(BACKLOG_LINES_MAX).0 };
        InProcess::serve(Server::new().add(RoomServer::new(lounge)))
    }

    async fn member(channel: Channel) -> (Outbound<Line>, Inbound<Line>) {
        // What never comes is an error.
        let joining = RoomClient::new(channel);
        let (speak, mut hear) = joining.join().timeout(Duration::from_secs(60)).await.unwrap();
        hear.headers().await.unwrap();
        (speak, hear)
    }

    fn line(text: &str) -> Line {
        Line { name: "Ada".into(), text: text.into(), ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_hear_the_same_lines_and_one_may_leave() {
        let server = lounge();
        let (mut ada, mut ada_hears) = member(server.channel()).await;
        let (grace, mut grace_hears) = member(server.channel()).await;
        for text in ["hello", "anybody?"] {
            ada.send(line(text)).await.unwrap();
            for hears in [&mut ada_hears, &mut grace_hears] {
                assert_eq!(hears.next().await.unwrap().unwrap().text, text);
            }
        }
        grace.finish();
        assert!(grace_hears.next().await.unwrap().is_none());
        ada.send(line("bye")).await.unwrap();
        assert_eq!(ada_hears.next().await.unwrap().unwrap().text, "bye");
    }

    /// A member whose connection is lost is told so; the others talk on.
    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_one_members_alone() {
        let server = lounge();
        let (mut ada, mut ada_hears) = member(server.channel()).await;
        let (channel, wire) = server.wired();
        let (_speak, mut lost_hears) = member(channel).await;
        wire.cut();
        assert_eq!(lost_hears.next().await.unwrap_err().code(), Code::Unavailable);
        ada.send(line("still here")).await.unwrap();
        assert_eq!(ada_hears.next().await.unwrap().unwrap().text, "still here");
    }

    /// Who does not keep up is told how much it missed, and does not hold up the others.
    #[tokio::test(start_paused = true)]
    async fn a_member_that_does_not_listen_misses_lines() {
        let server = lounge();
        let (mut ada, mut ada_hears) = member(server.channel()).await;
        let (_speak, mut slow_hears) = member(server.channel()).await;
        // More than the connection, the call and the room hold for it.
        for _ in 0..1_000 {
            ada.send(line(&"x".repeat(4_000))).await.unwrap();
            ada_hears.next().await.unwrap().unwrap();
        }
        let status = loop {
            match slow_hears.next().await {
                Ok(heard) => assert!(heard.is_some()),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}
