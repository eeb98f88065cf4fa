//! A service with a method of each kind, and a channel to it.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_client::{Channel, ChannelBuilder};
use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status};
use gannet_server::{Server, Service, Start, Started};
use gannet_transport::pipe;

use crate::peer::Bytes;

static TEST: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[
        MethodDescriptor::new("/test.Test/Unary", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Upload", MethodKind::ClientStreaming),
        MethodDescriptor::new("/test.Test/Download", MethodKind::ServerStreaming),
        MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming),
    ],
);
pub(crate) static MISSING: MethodDescriptor =
    MethodDescriptor::new("/test.Test/Missing", MethodKind::Unary);

/// `fail` fails, `wait` waits for ever, `call` makes a call by the channel, anything else is
/// echoed.
#[derive(Clone, Default)]
pub(crate) struct Test {
    pub(crate) channel: Option<Channel>,
}

impl Test {
    async fn answer(self, message: Bytes) -> Result<Bytes> {
        match (&*message, &self.channel) {
            (b"fail", _) => Err(Status::not_found("no such thing")),
            (b"wait", _) => std::future::pending().await,
            (b"call", Some(channel)) => crate::peer::unary(channel, b"inner").await,
            _ => Ok(message),
        }
    }
}

impl Service for Test {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &TEST
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        let test = self.clone();
        match method {
            0 => start.unary::<Raw, Bytes, Bytes, _, _>(|call, message| async move {
                let result = test.answer(message).await;
                (call, result)
            }),
            1 => start.client_streaming::<Raw, Bytes, Bytes, _, _>(|call, ends| async move {
                let mut messages = ends.open(&call);
                let mut bytes = 0;
                while let Ok(Some(message)) = messages.next().await {
                    bytes += message.len();
                }
                (call, Ok(vec![0; bytes]))
            }),
            2 => start.server_streaming::<Raw, Bytes, Bytes, _, _>(
                |call, message: Bytes, ends| async move {
                    let mut replies = ends.open(&call);
                    let _ = replies.send(message.clone()).await;
                    let result = replies.send(message).await;
                    (call, result)
                },
            ),
            3 => start.bidi_streaming::<Raw, Bytes, Bytes, _, _>(|call, ends| async move {
                let (mut messages, mut replies) = ends.open(&call);
                while let Ok(Some(message)) = messages.next().await {
                    let _ = replies.send(message).await;
                }
                (call, Ok(()))
            }),
            _ => start.unimplemented(),
        }
    }
}

/// A channel to a server of `test`, each with what is done to it.
pub(crate) fn serve(
    test: Test,
    server: impl FnOnce(Server) -> Server,
    channel: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Channel {
    let (connector, listener) = pipe();
    tokio::spawn(server(Server::new().add(test)).serve(listener).into_future());
    channel(Channel::builder_with_connector(connector)).build().unwrap()
}

/// Lets the other side finish.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
