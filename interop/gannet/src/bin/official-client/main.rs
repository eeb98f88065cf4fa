//! The client of gRPC's official interop cases, with the official flags: one case by its name.
//!
//! Silence and exit code 0 mean that it passed.

mod balance;
mod cases;
mod compression;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use gannet::compression::Compressors;
use gannet::tls::{ClientTls, Roots};
use gannet::{Channel, Metadata};
use gannet_interop::check::{Outcome, exit_code};
use gannet_interop::proto::grpc::testing::{TestServiceClient, UnimplementedServiceClient};
use gannet_interop::proto::xds::service::orca::v3::OpenRcaServiceClient;

/// Runs one of gRPC's official interop cases.
#[derive(Clone, Debug, Parser)]
struct Args {
    #[arg(long = "server_host", default_value = "localhost")]
    server_host: String,
    #[arg(long = "server_port", default_value_t = 10_000)]
    server_port: u16,
    /// The name that the server's certificate is for, and `:authority`
    #[arg(long = "server_host_override")]
    server_host_override: Option<String>,
    /// The case's name, such as empty_unary
    #[arg(long = "test_case")]
    test_case: String,
    #[arg(long = "use_tls", action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_tls: bool,
    /// Trust the authority in --ca_file, not those of the system
    #[arg(long = "use_test_ca", action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_test_ca: bool,
    /// PEM file of the authority for --use_test_ca
    #[arg(long = "ca_file", required_if_eq("use_test_ca", "true"))]
    ca_file: Option<PathBuf>,
    /// Metadata of every call: `key1:value1;key2:value2`
    #[arg(long = "additional_metadata", default_value = "")]
    additional_metadata: String,
    /// Ignored: gannet reads no service config, and takes policies from the application. The cases
    /// that choose one by it read what the policy would read
    #[arg(long = "service_config_json")]
    _service_config_json: Option<String>,
    #[command(flatten)]
    soak: soak::Soak,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    exit_code(&args.test_case, &run(&args).await)
}

async fn run(args: &Args) -> Outcome {
    let client = args.client()?;
    match args.test_case.as_str() {
        "empty_unary" => cases::empty_unary(&client).await,
        "large_unary" => cases::large_unary(&client).await,
        "client_streaming" => cases::client_streaming(&client).await,
        "server_streaming" => cases::server_streaming(&client).await,
        "ping_pong" => cases::ping_pong(&client).await,
        "empty_stream" => cases::empty_stream(&client).await,
        "custom_metadata" => cases::custom_metadata(&client).await,
        "status_code_and_message" => cases::status_code_and_message(&client).await,
        "special_status_message" => cases::special_status_message(&client).await,
        "unimplemented_method" => cases::unimplemented_method(&client).await,
        "unimplemented_service" => cases::unimplemented_service(&client).await,
        "cancel_after_begin" => cases::cancel_after_begin(&client).await,
        "cancel_after_first_response" => cases::cancel_after_first_response(&client).await,
        "timeout_on_sleeping_server" => cases::timeout_on_sleeping_server(&client).await,
        "client_compressed_unary" => compression::client_unary(&client).await,
        "client_compressed_streaming" => compression::client_streaming(&client).await,
        "server_compressed_unary" => compression::server_unary(&client).await,
        "server_compressed_streaming" => compression::server_streaming(&client).await,
        "half_duplex" => cases::half_duplex(&client).await,
        "slow_consumer" => cases::slow_consumer(&client).await,
        "very_large_request" => cases::very_large_request(&client).await,
        "pick_first_unary" => balance::pick_first_unary(&client).await,
        "orca_per_rpc" => balance::orca_per_rpc(&client).await,
        "orca_oob" => balance::orca_oob(&client).await,
        "rpc_soak" => soak::run(args, &client, false).await,
        "channel_soak" => soak::run(args, &client, true).await,
        other => Err(format!("there is no case `{other}`").into()),
    }
}

/// All stubs on one channel.
#[derive(Clone)]
struct Client {
    test: TestServiceClient,
    load: OpenRcaServiceClient,
    missing: UnimplementedServiceClient,
    metadata: Metadata,
}

impl Client {
    /// What every call carries.
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Args {
    /// Stubs on a new channel to the server.
    fn client(&self) -> Result<Client, Error> {
        let mut builder = Channel::builder(format!("{}:{}", self.server_host, self.server_port));
        if let Some(name) = &self.server_host_override {
            builder = builder.authority(name.clone());
        }
        if self.use_tls {
            let mut tls = ClientTls::builder();
            if let Some(name) = &self.server_host_override {
                tls = tls.server_name(name.clone());
            }
            if let (true, Some(file)) = (self.use_test_ca, &self.ca_file) {
                tls = tls.roots(Roots::from_pem_file(file)?);
            }
            builder = builder.tls(tls.build()?);
        }
        let channel = builder.compressors(Compressors::built_in()).build()?;
        Ok(Client {
            test: TestServiceClient::new(channel.clone()),
            load: OpenRcaServiceClient::new(channel.clone()),
            missing: UnimplementedServiceClient::new(channel),
            metadata: self.metadata()?,
        })
    }

    /// The pairs of `--additional_metadata`.
    fn metadata(&self) -> Result<Metadata, Error> {
        let mut metadata = Metadata::new();
        for pair in self.additional_metadata.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(':').ok_or_else(|| {
                format!("--additional_metadata: `{pair}` is not of the form key:value")
            })?;
            metadata.append(key, value)?;
        }
        Ok(metadata)
    }
}
