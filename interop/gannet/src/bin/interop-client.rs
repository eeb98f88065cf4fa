//! The client of `gannet_interop.proto`: one case by name; silence and exit code 0 mean it passed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gannet::Channel;
use gannet::tls::{ClientTls, Identity, Roots, TlsError};
use gannet_interop::cases;
use gannet_interop::check::{Outcome, exit_code};

#[derive(Parser)]
struct Args {
    /// The server
    #[arg(long)]
    addr: String,
    /// Which case to run
    #[arg(long)]
    case: String,
    #[command(flatten)]
    tls: Tls,
}

#[derive(clap::Args)]
struct Tls {
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
    fn build(&self) -> Result<Option<ClientTls>, TlsError> {
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

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    exit_code(&args.case, &run(&args).await)
}

async fn run(args: &Args) -> Outcome {
    let mut builder = Channel::builder(&args.addr);
    if let Some(tls) = args.tls.build()? {
        builder = builder.tls(tls);
    }
    cases::run(&args.case, &builder, &builder.clone().build()?).await
}
