//! The plain services that programs and tests here have in common, and the runtime under them.

use std::io;

use gannet::{Call, Inbound, Outbound, Result};
use tokio::runtime::{Builder, Runtime};

use crate::proto::bench::{Count, Echo, Payload, Want};
use crate::proto::grpctest::{Grpctest, Message, MessageResponse};

/// The hello world.
#[derive(Debug)]
pub struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(&self, _: &mut Call, request: Message) -> Result<MessageResponse> {
        Ok(greet(request))
    }
}

/// What the hello world answers.
pub fn greet(request: Message) -> MessageResponse {
    let message = request.message;
    MessageResponse {
        message: format!("Hello I am up and running received \"{message}\" message from you"),
        received: true,
        ..Default::default()
    }
}

/// The benchmark's echo.
#[derive(Debug)]
pub struct Echoes;

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

/// The multi-thread runtime with so many workers; with 0, the runtime of one thread.
///
/// # Errors
/// As tokio's.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut runtime = match workers {
        0 => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    runtime.enable_all().build()
}
