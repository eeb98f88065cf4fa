//! The server of gRPC's official interop cases, with the official flags.

#![allow(clippy::print_stdout, reason = "the harness reads its one line")]

use std::path::PathBuf;

use clap::{ArgAction, Parser};
use gannet::compression::Compressors;
use gannet::tls::{Identity, ServerTls};
use gannet::{Listener, Server};
use gannet_interop::official::orca::Load;
use gannet_interop::official::service::{RECEIVE_BYTES_MAX, Service};
use gannet_interop::proto::grpc::testing::TestServiceServer;
use gannet_interop::proto::xds::service::orca::v3::OpenRcaServiceServer;

#[derive(Parser)]
struct Args {
    /// Where to listen; 0 lets the system choose
    #[arg(long, default_value_t = 10_000)]
    port: u16,
    /// TLS, with the certificate and key below
    #[arg(long = "use_tls", action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_tls: bool,
    /// PEM file of the certificate chain
    #[arg(long = "tls_cert_file", required_if_eq("use_tls", "true"))]
    tls_cert_file: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long = "tls_key_file", required_if_eq("use_tls", "true"))]
    tls_key_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut listener = Listener::tcp(format!("[::]:{}", args.port))?;
    let address = listener.local_addr().ok_or("no address")?;
    if let (true, Some(chain), Some(key)) = (args.use_tls, args.tls_cert_file, args.tls_key_file) {
        listener = listener.tls(ServerTls::new(Identity::from_pem_files(chain, key)?)?);
    }
    println!("listening on {address}");
    let load = Load::default();
    let service = Service::new(load.clone());
    let server = Server::new()
        .compressors(Compressors::built_in())
        .max_receive_bytes(RECEIVE_BYTES_MAX)
        .add(TestServiceServer::new(service))
        .add(OpenRcaServiceServer::new(load));
    Ok(server.serve(listener).await?)
}
