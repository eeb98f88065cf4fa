//! One replica: the service with what it needs around it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gannet::auth::{JwtAuth, JwtValidator, Keys};
use gannet::services::health::Health;
use gannet::services::reflection::Reflection;
use gannet::tls::{Identity, ServerTls};
use gannet::{Listener, Server};
use gannet_otel::Metrics;
use gannet_otel::prometheus::{Endpoint, Prometheus};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::keys::{AUDIENCE, ISSUER, SCOPE, file};
use crate::proto::greeter::{GREETER, GreeterServer};
use crate::service::Host;
use crate::traces::Traces;

/// How often keys and certificates are looked after.
const FOLLOW_EVERY: Duration = Duration::from_secs(10);

/// Flags of `greeter serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where calls come in, with TLS
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Where orchestrators ask for the health, without TLS, which their probes do not speak
    #[arg(long, default_value = "127.0.0.1:50061")]
    probes: SocketAddr,
    /// Where Prometheus fetches what was counted, without TLS
    #[arg(long, default_value = "127.0.0.1:9464")]
    metrics: SocketAddr,
    /// Who collects traces: `http://HOST:4317`, by OTLP over gRPC, without TLS
    #[arg(long, value_name = "TARGET")]
    traces: Option<String>,
    /// The folder that `greeter keys` has made
    #[arg(long, default_value = "keys")]
    keys: PathBuf,
    /// What this replica is called; where it is not told, what the variable HOSTNAME says, which in
    /// Kubernetes is the pod's name
    #[arg(long)]
    name: Option<String>,
    /// How long calls may go on after SIGTERM, in seconds
    #[arg(long, default_value_t = 20.0)]
    grace: f64,
}

/// Serves until SIGTERM or Ctrl-C, and then finishes the calls it has.
pub(crate) async fn serve(args: Args) -> Result<(), Failure> {
    let name = args.name.clone().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.unwrap_or_else(|| "replica".to_owned());
    let health = Health::new();
    health.set_serving(GREETER.name);
    let reflection = Reflection::new();
    let prometheus = Prometheus::new("greeter")?;
    let traces = Traces::to(args.traces.as_deref(), &name)?;
    let mut server = Server::new().observe(Metrics::new(prometheus.provider()));
    if let Some(tracing) = traces.tracing() {
        server = server.observe(tracing);
    }
    let server = server
        .intercept(auth(&args, &name)?)
        .add(GreeterServer::new(Host { replica: name.clone() }))
        .add(health.server())
        .add(reflection.v1())
        .add(reflection.v1alpha());
    let (calls, probes) = (listener(&args)?, Listener::tcp(args.probes)?);
    let metrics = TcpListener::bind(args.metrics).await;
    let metrics = metrics.map_err(|error| format!("--metrics {}: {error}", args.metrics))?;
    for (what, listener) in [("calls", &calls), ("probes", &probes)] {
        if let Some(address) = listener.local_addr() {
            println!("listening on {address} for {what}");
        }
    }
    println!("listening on {} for metrics", metrics.local_addr()?);
    let calls = server.serve(calls).shutdown_on(ended(), grace(&args)?);
    // A server of its own, so that who probes can ask for the health and for nothing else.
    let probes = Server::new().add(health.server()).serve(probes);
    tokio::select! {
        served = calls => served?,
        served = probes => served?,
        () = Endpoint::new(prometheus).serve(metrics) => {}
    }
    println!("{name}: all calls are finished");
    traces.finish().await
}

/// Who may call: whoever has a token by the issuer, and its scope. Health and reflection are open.
fn auth(args: &Args, name: &str) -> Result<JwtAuth, Failure> {
    let keys = Keys::follow(args.keys.join(file::TOKEN_KEYS)).every(FOLLOW_EVERY).open()?;
    let validator = JwtValidator::builder().issuer(ISSUER, keys).audience(AUDIENCE).build()?;
    let name = name.to_owned();
    Ok(JwtAuth::new(validator)
        .except("grpc.health.v1.Health")
        .except("grpc.reflection.v1.ServerReflection")
        .except("grpc.reflection.v1alpha.ServerReflection")
        .require_scope_on(GREETER.name, SCOPE)
        .on_refusal(move |call, refusal| println!("{name}: refused {}: {refusal}", call.peer())))
}

/// With a certificate that is read again when its file changes.
fn listener(args: &Args) -> Result<Listener, Failure> {
    let path = |name| args.keys.join(name);
    let identity = Identity::from_pem_files(path(file::CERTIFICATE), path(file::KEY))?;
    let tls = ServerTls::builder(identity).reload_every(FOLLOW_EVERY).build()?;
    Ok(Listener::tcp(args.listen)?.tls(tls))
}

fn grace(args: &Args) -> Result<Duration, Failure> {
    let grace = Duration::try_from_secs_f64(args.grace);
    grace.map_err(|error| format!("--grace {}: {error}", args.grace).into())
}

/// Ready at the first SIGTERM or Ctrl-C.
async fn ended() {
    let mut terminated = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminated {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    println!("draining: no new calls, and those that are open are finished");
}
