//! TLS: the cases about who is at the other end.

#![allow(clippy::print_stdout, reason = "the harness reads what a user would be told")]

use super::{Client, TIMEOUT};
use crate::PEER;
use crate::check::{Outcome, check, expect_status, with_causes};
use crate::proto::gannet::interop::v1::EchoRequest;

/// Names in the certificate of the harness's clients: the subject's, and the alternative ones.
const NAMES: [&str; 3] = ["client", "client.example", "spiffe://client.example/interop"];

/// The server knows this client by its certificate.
pub(crate) async fn peer(client: &Client) -> Outcome {
    let call = client.echo.unary(EchoRequest::default()).header(PEER, "").timeout(TIMEOUT);
    let (_, received) = call.with_metadata().await?;
    let told = received.trailers.get_all(PEER);
    let told: Vec<_> = told.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    check("names", told, NAMES.map(String::from).to_vec())
}

/// There is no connection; prints why.
pub(crate) async fn unavailable(client: &Client) -> Outcome {
    let outcome = client.unary(EchoRequest::default()).await;
    let status = expect_status(outcome, gannet::Code::Unavailable, None)?;
    println!("{}", with_causes(&status));
    Ok(())
}
