//! The hello world's server: tonic, and nothing but what is needed.

use grpctest::grpctest_server::{Grpctest, GrpctestServer};
use grpctest::{Message, MessageResponse};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

mod grpctest {
    tonic::include_proto!("grpctest");
}

struct Hello;

#[tonic::async_trait]
impl Grpctest for Hello {
    async fn get_server_response(
        &self,
        request: Request<Message>,
    ) -> Result<Response<MessageResponse>, Status> {
        let text = request.into_inner().message;
        let message = format!("Hello I am up and running received \"{text}\" message from you");
        Ok(Response::new(MessageResponse { message, received: true }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = "[::]:50051".parse()?;
    Server::builder().add_service(GrpctestServer::new(Hello)).serve(addr).await?;
    Ok(())
}
