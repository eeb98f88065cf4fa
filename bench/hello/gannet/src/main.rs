//! The hello world's server: Gannet, and nothing but what is needed.

use gannet::{Call, Result, Server};
use grpctest::{Grpctest, GrpctestServer, Message, MessageResponse};

include!(concat!(env!("OUT_DIR"), "/gannet.rs"));

struct Hello;

impl Grpctest for Hello {
    async fn get_server_response(&self, _: &mut Call, request: Message) -> Result<MessageResponse> {
        let text = request.message;
        let message = format!("Hello I am up and running received \"{text}\" message from you");
        Ok(MessageResponse { message, received: true, ..Default::default() })
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    Server::new().add(GrpctestServer::new(Hello)).serve("[::]:50051").await?;
    Ok(())
}
