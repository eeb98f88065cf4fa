//! The greeting over REST, on axum: `POST /hello` with JSON, HTTP/1.1 with keep-alive.

use std::process::ExitCode;

use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bench_common::{MESSAGE_BYTES_MAX, Result, greeting, server};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Serialize)]
struct MessageResponse {
    message: String,
    received: bool,
}

async fn hello(Json(request): Json<Message>) -> Json<MessageResponse> {
    Json(MessageResponse { message: greeting(&request.message), received: true })
}

async fn serve(args: server::Args) -> Result<()> {
    // axum leaves TCP_NODELAY off.
    let listener = args.listen().await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let limit = axum::extract::DefaultBodyLimit::max(MESSAGE_BYTES_MAX);
    let app = Router::new().route("/hello", post(hello)).layer(limit);
    axum::serve(listener, app).await?;
    Ok(())
}

fn main() -> ExitCode {
    server::run(&[], serve)
}
