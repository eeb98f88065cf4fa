//! The hello world and the echo for `cargo xtask bench --gate`: handlers always inline, so that
//! what is counted does not depend on how slow a counting tool makes them; one thread unless told
//! otherwise. Ends when its input does.

#![allow(clippy::print_stdout, reason = "the counting task reads its one line")]

use std::time::Duration;

use clap::Parser;
use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Inbound, Listener, Outbound, Result, Server};
use gannet_interop::proto::bench::{Count, Echo, EchoServer, Payload, Want};
use gannet_interop::proto::grpctest::{Grpctest, GrpctestServer, Message, MessageResponse};

/// Greets.
#[derive(Parser)]
struct Args {
    /// Workers of the multi-thread runtime; 0: the runtime of one thread.
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

const MESSAGE_BYTES_MAX: usize = 8 << 20;

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

struct Echoes;

impl Echo for Echoes {
    async fn unary(&self, _: &mut Call, request: Payload) -> Result<Payload> {
        Ok(request)
    }

    async fn server_stream(
        &self,
        _: &mut Call,
        want: Want,
        mut replies: Outbound<Payload>,
    ) -> Result<()> {
        for _ in 0..want.messages {
            let body = vec![b'x'; usize::try_from(want.bytes).unwrap_or(0)];
            replies.send(Payload { body: body.into(), ..Default::default() }).await?;
        }
        Ok(())
    }

    async fn client_stream(&self, _: &mut Call, mut requests: Inbound<Payload>) -> Result<Count> {
        let mut messages = 0;
        while requests.next().await?.is_some() {
            messages += 1;
        }
        Ok(Count { messages, ..Default::default() })
    }

    async fn bidi_stream(
        &self,
        _: &mut Call,
        mut requests: Inbound<Payload>,
        mut replies: Outbound<Payload>,
    ) -> Result<()> {
        while let Some(request) = requests.next().await? {
            replies.send(request).await?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
        let _ = stop.send(());
    });
    let mut runtime = match Args::parse().workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        workers => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        let listener = Listener::tcp("127.0.0.1:0")?;
        println!("listening on {}", listener.local_addr().ok_or("no address")?);
        let ended = async {
            let _ = stopped.await;
        };
        let server = Server::new()
            .max_receive_bytes(MESSAGE_BYTES_MAX)
            .method("grpctest.Grpctest", MethodOptions::new().dispatch(Dispatch::Inline))
            .method("bench.Echo", MethodOptions::new().dispatch(Dispatch::Inline))
            .add(GrpctestServer::new(Hello))
            .add(EchoServer::new(Echoes));
        server.serve(listener).shutdown_on(ended, Duration::ZERO).await?;
        Ok(())
    })
}
