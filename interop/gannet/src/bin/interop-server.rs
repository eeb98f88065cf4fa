//! The server of `gannet_interop.proto` and of the hello world, with health and reflection.

#![allow(clippy::print_stdout, reason = "the harness reads its one line")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use gannet::auth::{Claims, JwtAuth};
use gannet::compression::Compressors;
use gannet::server::{Handled, Incoming, Interceptor, Next};
use gannet::services::{health::Health, reflection::Reflection};
use gannet::tls::{Crls, Identity, Roots, ServerTls, TlsError};
use gannet::{Listener, Result, Server, Status};
use gannet_interop::check::with_causes;
use gannet_interop::echo::Echo;
use gannet_interop::plain::Hello;
use gannet_interop::proto::gannet::interop::v1::EchoServer;
use gannet_interop::proto::grpctest::{GRPCTEST, GrpctestServer};
use gannet_interop::{GUARD, SUBJECT, TOKEN, tokens};

#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long)]
    addr: String,
    /// TLS with the certificate chain in this PEM file
    #[arg(long, requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Clients must show a certificate that an authority in this PEM file has signed
    #[arg(long, requires = "tls_cert_file")]
    tls_client_ca_file: Option<PathBuf>,
    /// Clients' certificates must not be revoked by the lists in this PEM file
    #[arg(long, requires = "tls_client_ca_file")]
    tls_client_crl_file: Option<PathBuf>,
    /// Look at the files of TLS again after so many milliseconds
    #[arg(long, requires = "tls_cert_file")]
    tls_reload_ms: Option<u64>,
    /// How long a connection is used, in milliseconds
    #[arg(long)]
    max_connection_age_ms: Option<u64>,
    /// How long its calls may go on then, in milliseconds
    #[arg(long)]
    max_connection_age_grace_ms: Option<u64>,
    /// How long a connection may be without calls, in milliseconds
    #[arg(long)]
    max_connection_idle_ms: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut listener = Listener::tcp(args.addr.as_str())?;
    if let Some(tls) = args.tls()? {
        listener = listener.tls(tls);
    }
    println!("listening on {}", args.addr);
    let guard = Guard { jwt: JwtAuth::new(tokens::validator()?) };
    let (health, reflection) = (Health::new(), Reflection::new());
    health.set_serving(GRPCTEST.name);
    let mut server = Server::new()
        .on_connection_error(|peer, why| eprintln!("connection lost: {peer}: {}", with_causes(why)))
        .compressors(Compressors::built_in())
        .intercept(guard)
        .intercept(subject)
        .add(EchoServer::new(Echo::default()))
        .add(GrpctestServer::new(Hello))
        .add(health.server())
        .add(reflection.v1())
        .add(reflection.v1alpha());
    if let Some(age) = args.max_connection_age_ms {
        server = server.max_connection_age(Duration::from_millis(age));
    }
    if let Some(grace) = args.max_connection_age_grace_ms {
        server = server.max_connection_age_grace(Duration::from_millis(grace));
    }
    if let Some(idle) = args.max_connection_idle_ms {
        server = server.max_connection_idle(Duration::from_millis(idle));
    }
    Ok(server.serve(listener).await?)
}

impl Args {
    fn tls(&self) -> Result<Option<ServerTls>, TlsError> {
        let (Some(chain), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) else {
            return Ok(None);
        };
        let mut tls = ServerTls::builder(Identity::from_pem_files(chain, key)?);
        if let Some(file) = &self.tls_client_ca_file {
            tls = tls.client_roots(Roots::from_pem_file(file)?);
        }
        if let Some(file) = &self.tls_client_crl_file {
            tls = tls.client_crls(Crls::from_pem_file(file)?);
        }
        if let Some(interval) = self.tls_reload_ms {
            tls = tls.reload_every(Duration::from_millis(interval));
            tls = tls.on_reload(|outcome| eprintln!("files of TLS: {outcome:?}"));
        }
        tls.build().map(Some)
    }
}

/// Lets guarded calls in only with the token, or a JSON Web Token, before their requests are
/// decoded.
struct Guard {
    jwt: JwtAuth,
}

impl Interceptor for Guard {
    async fn intercept(&self, call: Incoming, next: Next) -> Result<Handled> {
        let shown = call.metadata().get("authorization").and_then(|it| it.strip_prefix("Bearer "));
        match call.metadata().get(GUARD) {
            Some("jwt") => self.jwt.intercept(call, next).await,
            Some(_) if shown != Some(TOKEN) => Err(Status::unauthenticated("no entry")),
            _ => next.run(call).await,
        }
    }
}

/// Tells whom the caller's token is about.
async fn subject(mut call: Incoming, next: Next) -> Result<Handled> {
    if let Some(claims) = call.extensions().get::<Claims>().cloned() {
        call.trailers_mut().insert(SUBJECT, claims.subject().unwrap_or_default())?;
    }
    next.run(call).await
}
