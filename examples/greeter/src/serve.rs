//! One replica: the service with what it needs around it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet::auth::{JwtAuth, JwtValidator, Keys, Refusal};
use gannet::services::health::Health;
use gannet::services::reflection::Reflection;
use gannet::tls::{Identity, ServerTls};
use gannet::{Call, Listener, Server};
use gannet_otel::Metrics;
use gannet_otel::prometheus::{Endpoint, Prometheus};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::keys::{AUDIENCE, ISSUER, SCOPE, file};
use crate::log::{Log, Refusals};
use crate::proto::greeter::{GREETER, GreeterServer};
use crate::service::Host;
use crate::traces::Traces;

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
    /// How often files of keys and certificates are looked after, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    follow: NonZeroU32,
    /// What this replica is called; where it is not told, what the variable HOSTNAME says, which in
    /// Kubernetes is the pod's name
    #[arg(long)]
    name: Option<String>,
    /// How long a connection is used, in seconds, before its client is asked to make another: only
    /// then does that ask for the name again, and find replicas that were added. Each connection's
    /// is spread by a tenth
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    max_connection_age: NonZeroU32,
    /// How long calls may go on after SIGTERM, in seconds
    #[arg(long, default_value_t = 20.0)]
    grace: f64,
}

/// Serves until SIGTERM or Ctrl-C, and then finishes the calls it has.
pub(crate) async fn serve(args: Args) -> Result<(), Failure> {
    let name = args.name.clone().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.unwrap_or_else(|| "replica".to_owned());
    let (log, printer) = Log::new(&name)?;
    let refusals = Arc::new(Refusals::default());
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
        .max_connection_age(seconds(args.max_connection_age))
        .intercept(auth(&args, &log, &refusals)?)
        .add(GreeterServer::new(Host { replica: name.clone() }))
        .add(health.server())
        .add(reflection.v1())
        .add(reflection.v1alpha());
    let (calls, probes) = (listener(&args, &log)?, Listener::tcp(args.probes)?);
    let metrics = plain_listener(args.metrics).await;
    let metrics = metrics.map_err(|error| format!("--metrics {}: {error}", args.metrics))?;
    for (what, listener) in [("calls", &calls), ("probes", &probes)] {
        if let Some(address) = listener.local_addr() {
            println!("listening on {address} for {what}");
        }
    }
    println!("listening on {} for metrics", metrics.local_addr()?);
    let calls = server.serve(calls).shutdown_on(ended(), grace(&args)?);
    // A server of its own, so that who probes can ask for the health and for nothing else. It goes
    // on while the other one drains, and says NOT_SERVING: they share a handle, and nobody resumes.
    let probes = Server::new().add(health.server()).serve(probes);
    tokio::select! {
        served = calls => served?,
        served = probes => served?,
        () = Endpoint::new(prometheus).serve(metrics) => {}
    }
    printer.finish();
    println!("{name}: all calls are finished");
    if refusals.count() > 0 {
        println!("{name}: {} calls were refused in all", refusals.count());
    }
    traces.finish().await
}

/// Who may call: whoever has a token by the issuer, and its scope. Health and reflection are open.
fn auth(args: &Args, log: &Log, refusals: &Arc<Refusals>) -> Result<JwtAuth, Failure> {
    let path = args.keys.join(file::TOKEN_KEYS);
    let told = log.clone();
    let keys = Keys::follow(&path).every(seconds(args.follow)).on_reload(move |read| match read {
        Ok(keys) => told.say(&format!("keys for tokens were read again: {}", keys.len())),
        Err(error) => told.warn(&format!("the keys for tokens stay what they are: {error}")),
    });
    let validator =
        JwtValidator::builder().issuer(ISSUER, keys.open()?).audience(AUDIENCE).build()?;
    let (log, refusals) = (log.clone(), Arc::clone(refusals));
    // In the connection's own task, where other calls wait.
    let refused = move |call: &Call, refusal: &Refusal| {
        let line = refusals.add(Instant::now(), &call.peer().to_string(), &refusal.to_string());
        line.into_iter().for_each(|line| log.say(&line));
    };
    Ok(JwtAuth::new(validator)
        .except("grpc.health.v1.Health")
        .except("grpc.reflection.v1.ServerReflection")
        .except("grpc.reflection.v1alpha.ServerReflection")
        .require_scope_on(GREETER.name, SCOPE)
        .on_refusal(refused))
}

/// With a certificate that is read again when its file changes.
fn listener(args: &Args, log: &Log) -> Result<Listener, Failure> {
    let path = |name| args.keys.join(name);
    let identity = Identity::from_pem_files(path(file::CERTIFICATE), path(file::KEY))?;
    let log = log.clone();
    let tls =
        ServerTls::builder(identity).reload_every(seconds(args.follow)).on_reload(move |read| {
            match read {
                Ok(()) => log.say("the certificate was read again"),
                Err(error) => log.warn(&format!("the certificate stays what it is: {error}")),
            }
        });
    Ok(Listener::tcp(args.listen)?.tls(tls.build()?))
}

/// As Gannet's own listeners do: where a machine has no IPv6, `[::]` is any address of IPv4.
async fn plain_listener(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => {
            let of_v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
            of_v4.map_err(|_| error)
        }
        bound => bound,
    }
}

fn seconds(number: NonZeroU32) -> Duration {
    Duration::from_secs(number.get().into())
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
