//! TLS: its flags, and the cases about who is at the other end.

#![allow(clippy::print_stdout, reason = "the harness reads what a user would be told")]

use std::path::PathBuf;

use gannet::tls::{ClientTls, Identity, Roots, TlsError};
use gannet_interop::PEER;
use gannet_interop::check::{Outcome, check, expect_status, with_causes};
use gannet_interop::proto::gannet::interop::v1::EchoRequest;

use crate::{Client, TIMEOUT};

/// Names in the certificate of the harness's clients: the subject's, and the alternative ones.
const NAMES: [&str; 3] = ["client", "client.example", "spiffe://client.example/interop"];

#[derive(clap::Args)]
pub(crate) struct Tls {
    /// TLS, trusting whom the system trusts where --tls-ca-file is not given
    #[arg(long)]
    tls: bool,
    /// Trust the authorities in this PEM file instead
    #[arg(long, requires = "tls")]
    tls_ca_file: Option<PathBuf>,
    /// Show the certificate chain in this PEM file
    #[arg(long, requires = "tls", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// The name that the server's certificate must be for
    #[arg(long, requires = "tls")]
    tls_server_name: Option<String>,
}

impl Tls {
    pub(crate) fn build(&self) -> Result<Option<ClientTls>, TlsError> {
        if !self.tls {
            return Ok(None);
        }
        let mut tls = ClientTls::builder();
        if let Some(file) = &self.tls_ca_file {
            tls = tls.roots(Roots::from_pem_file(file)?);
        }
        if let (Some(chain), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) {
            tls = tls.identity(Identity::from_pem_files(chain, key)?);
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        tls.build().map(Some)
    }
}

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
