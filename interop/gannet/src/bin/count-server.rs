//! The hello world for `cargo xtask counts`: one thread, handlers always inline, so that what is
//! counted does not depend on how slow a counting tool makes them. Ends when its input does.

#![allow(clippy::print_stdout, reason = "the counting task reads its one line")]

use std::time::Duration;

use gannet::server::Dispatch;
use gannet::{Call, Listener, Result, Server};
use gannet_interop::proto::grpctest::{Grpctest, GrpctestServer, Message, MessageResponse};

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
        let _ = stop.send(());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = Listener::tcp("127.0.0.1:0")?;
        println!("listening on {}", listener.local_addr().ok_or("no address")?);
        let ended = async {
            let _ = stopped.await;
        };
        let server = Server::new()
            .dispatch("grpctest.Grpctest", Dispatch::Inline)
            .add(GrpctestServer::new(Hello));
        server.serve(listener).shutdown_on(ended, Duration::ZERO).await?;
        Ok(())
    })
}
