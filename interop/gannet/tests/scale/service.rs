//! A server to lean on: it echoes, pours without end, and swallows at a chosen pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Channel, Inbound, Listener, Outbound, Result, Server};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};

/// Counts messages that were handed to `send`, or taken from `next`, on the server.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Arc<AtomicU64>,
    pub(crate) taken: Arc<AtomicU64>,
}

pub(crate) struct Echo(pub(crate) Counters);

impl pb::Echo for Echo {
    async fn unary(&self, _: &mut Call, request: EchoRequest) -> Result<EchoReply> {
        Ok(EchoReply { payload: request.payload, ..Default::default() })
    }

    /// Takes one message, then never another, unless the first says `replies`.
    async fn client_stream(
        &self,
        call: &mut Call,
        mut requests: Inbound<EchoRequest>,
    ) -> Result<EchoReply> {
        while let Some(request) = requests.next().await? {
            self.0.taken.fetch_add(1, Ordering::SeqCst);
            if request.replies == 0 {
                call.cancelled().await;
            }
        }
        Ok(EchoReply::default())
    }

    /// Pours the payload out, `replies` times.
    async fn server_stream(
        &self,
        _: &mut Call,
        request: EchoRequest,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        for sequence in 0..request.replies {
            let payload = request.payload.clone();
            replies.send(EchoReply { payload, sequence, ..Default::default() }).await?;
            self.0.sent.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn bidi(
        &self,
        _: &mut Call,
        mut requests: Inbound<EchoRequest>,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        while let Some(request) = requests.next().await? {
            self.0.taken.fetch_add(1, Ordering::SeqCst);
            let payload = request.payload;
            replies.send(EchoReply { payload, ..Default::default() }).await?;
            self.0.sent.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Starts `server` with the echo service on a port of its own.
pub(crate) fn start(server: Server) -> (SocketAddr, Counters) {
    let counters = Counters::default();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = server.add(pb::EchoServer::new(Echo(counters.clone())));
    tokio::spawn(async move { server.serve(listener).await.unwrap() });
    (addr, counters)
}

/// The echo service in this process, over a pipe.
pub(crate) fn start_piped() -> (pb::EchoClient, Counters) {
    let counters = Counters::default();
    let (connector, listener) = gannet::pipe();
    // Virtual time does not wait for other threads, where a busy machine may make handlers go.
    let server = Server::new()
        .add(pb::EchoServer::new(Echo(counters.clone())))
        .method("gannet.interop.v1.Echo", MethodOptions::new().dispatch(Dispatch::Inline));
    tokio::spawn(async move { server.serve(listener).await.unwrap() });
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    (pb::EchoClient::new(channel), counters)
}

pub(crate) fn payload(payload: Vec<u8>) -> EchoRequest {
    EchoRequest { payload: payload.into(), ..Default::default() }
}
