//! The server on Gannet.
//!
//! `--runtimes N` instead of `--threads N`: N threads of the server's own, each with a
//! single-threaded runtime and a socket that shares the port.

use std::process::ExitCode;

use bench_common::{MESSAGE_BYTES_MAX, Result, body, greeting, server};
use bench_gannet::bench::{Count, Echo, EchoServer, Payload, Want};
use bench_gannet::grpctest::{Grpctest, GrpctestServer, Message, MessageResponse};
use gannet::server::TcpOptions;
use gannet::tls::{Identity, ServerTls};
use gannet::{Call, Inbound, Listener, Outbound, Server};

struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(
        &self,
        _: &mut Call,
        request: Message,
    ) -> gannet::Result<MessageResponse> {
        let message = greeting(&request.message);
        Ok(MessageResponse { message, received: true, ..Default::default() })
    }
}

struct Echoes;

impl Echo for Echoes {
    async fn unary(&self, _: &mut Call, request: Payload) -> gannet::Result<Payload> {
        Ok(request)
    }

    async fn server_stream(
        &self,
        _: &mut Call,
        want: Want,
        mut replies: Outbound<Payload>,
    ) -> gannet::Result<()> {
        for _ in 0..want.messages {
            replies.send(Payload { body: body(want.bytes).into(), ..Default::default() }).await?;
        }
        Ok(())
    }

    async fn client_stream(
        &self,
        _: &mut Call,
        mut requests: Inbound<Payload>,
    ) -> gannet::Result<Count> {
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
    ) -> gannet::Result<()> {
        while let Some(request) = requests.next().await? {
            replies.send(request).await?;
        }
        Ok(())
    }
}

async fn serve(args: server::Args) -> Result<()> {
    let shared = TcpOptions::default().reuse_port(args.runtimes > 1);
    let mut listener = Listener::tcp_with(args.addr, shared)?;
    if let Some(server::Identity { cert, key }) = &args.tls {
        listener = listener.tls(ServerTls::new(Identity::from_pem_files(cert, key)?)?);
    }
    server::announce(listener.local_addr().ok_or("no address")?);
    Server::new()
        .max_receive_bytes(MESSAGE_BYTES_MAX)
        .threads(args.runtimes)
        .add(GrpctestServer::new(Hello))
        .add(EchoServer::new(Echoes))
        .serve(listener)
        .await?;
    Ok(())
}

fn main() -> ExitCode {
    server::run(&["runtimes", server::TLS[0], server::TLS[1]], serve)
}
