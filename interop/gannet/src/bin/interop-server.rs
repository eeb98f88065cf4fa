//! The server of `gannet_interop.proto` and of the hello world.

#![allow(clippy::print_stdout, reason = "the harness reads its one line")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use gannet::compression::{Compressed, Compressors};
use gannet::server::{Handled, Incoming, Next};
use gannet::tls::{Crls, Identity, Roots, ServerTls, TlsError};
use gannet::{Bytes, Call, Inbound, Listener, Outbound, Result, Server, Status};
use gannet_interop::check::with_causes;
use gannet_interop::plain::Hello;
use gannet_interop::proto::gannet::interop::v1 as pb;
use gannet_interop::proto::grpctest::GrpctestServer;
use gannet_interop::{
    COMPRESS, COMPRESSED, GUARD, INITIAL, INITIAL_BIN, PEER, TOKEN, TRAILING, TRAILING_BIN,
    copy_values,
};
use pb::{EchoReply, EchoRequest};

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
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut listener = Listener::tcp(args.addr.as_str())?;
    if let Some(tls) = args.tls()? {
        listener = listener.tls(tls);
    }
    println!("listening on {}", args.addr);
    let mut server = Server::new()
        .on_connection_error(|peer, why| eprintln!("connection lost: {peer}: {}", with_causes(why)))
        .compressors(Compressors::built_in())
        .intercept(guard)
        .add(pb::EchoServer::new(Echo::default()))
        .add(GrpctestServer::new(Hello));
    if let Some(age) = args.max_connection_age_ms {
        server = server.max_connection_age(Duration::from_millis(age));
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

/// Lets guarded calls in only with the token, before their requests are decoded.
async fn guard(call: Incoming, next: Next) -> Result<Handled> {
    let shown = call.metadata().get("authorization").and_then(|it| it.strip_prefix("Bearer "));
    if call.metadata().contains(GUARD) && shown != Some(TOKEN) {
        return Err(Status::unauthenticated("no entry"));
    }
    next.run(call).await
}

#[derive(Default)]
struct Echo {
    calls_cut_short: Arc<AtomicU64>,
}

impl pb::Echo for Echo {
    async fn unary(&self, call: &mut Call, request: EchoRequest) -> Result<EchoReply> {
        let guard = self.begin(call)?;
        tell_compressed(call, call.request_compressed())?;
        wait(&request).await;
        guard.finished(|| {
            obey_status(&request)?;
            Ok(reply(&request, request.payload.clone(), 0, 1))
        })
    }

    async fn client_stream(
        &self,
        call: &mut Call,
        mut requests: Inbound<EchoRequest>,
    ) -> Result<EchoReply> {
        let guard = self.begin(call)?;
        let mut count = 0;
        let mut payload = Vec::new();
        let mut last = EchoRequest::default();
        while let Some(request) = requests.next().await? {
            count += 1;
            wait(&request).await;
            if let Err(status) = obey_status(&request) {
                return guard.finished(|| Err(status));
            }
            payload.extend_from_slice(&request.payload);
            last = request;
        }
        tell_compressed(call, requests.compressed())?;
        guard.finished(|| Ok(reply(&last, payload.into(), 0, count)))
    }

    async fn server_stream(
        &self,
        call: &mut Call,
        request: EchoRequest,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        let guard = self.begin(call)?;
        tell_compressed(call, call.request_compressed())?;
        let mut sequence = 0;
        answer(&request, &mut replies, &mut sequence, 1).await?;
        guard.finished(|| obey_status(&request))
    }

    async fn bidi(
        &self,
        call: &mut Call,
        mut requests: Inbound<EchoRequest>,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        let guard = self.begin(call)?;
        let (mut sequence, mut count) = (0, 0);
        while let Some(request) = requests.next().await? {
            count += 1;
            answer(&request, &mut replies, &mut sequence, count).await?;
            if let Err(status) = obey_status(&request) {
                return guard.finished(|| Err(status));
            }
        }
        tell_compressed(call, requests.compressed())?;
        guard.finished(|| Ok(()))
    }

    async fn observe(&self, _: &mut Call, _: pb::ObserveRequest) -> Result<pb::Observation> {
        let calls_cut_short = self.calls_cut_short.load(Ordering::SeqCst);
        Ok(pb::Observation { calls_cut_short, ..Default::default() })
    }
}

impl Echo {
    /// Sends the metadata back that the caller asked for, and watches over the call.
    fn begin(&self, call: &mut Call) -> Result<CutShort> {
        let sent = call.metadata().clone();
        for key in [TRAILING, TRAILING_BIN] {
            copy_values(&sent, key, call.trailers_mut())?;
        }
        if sent.contains(PEER) {
            tell_peer(call)?;
        }
        if let Some(encoding) = sent.get(COMPRESS).and_then(gannet_interop::encoding) {
            call.compress(encoding);
        }
        if sent.contains(INITIAL) || sent.contains(INITIAL_BIN) {
            for key in [INITIAL, INITIAL_BIN] {
                copy_values(&sent, key, &mut call.headers_mut())?;
            }
            call.send_headers();
        }
        Ok(CutShort { counter: Some(Arc::clone(&self.calls_cut_short)) })
    }
}

/// Tells in trailers who the caller is by its certificate: the subject's common name, then its
/// other names.
fn tell_peer(call: &mut Call) -> Result<()> {
    let certificate = call.peer().tls().and_then(|peer| peer.certificate().cloned());
    let Some(certificate) = certificate else { return Ok(()) };
    let names = certificate.dns_names().iter().chain(certificate.uris());
    for name in certificate.common_name().into_iter().chain(names.map(String::as_str)) {
        call.trailers_mut().append(PEER, name)?;
    }
    Ok(())
}

/// Tells in a trailer how many requests came compressed, for who asks for compressed replies.
fn tell_compressed(call: &mut Call, compressed: Compressed) -> Result<()> {
    if call.metadata().contains(COMPRESS) {
        call.trailers_mut().insert(COMPRESSED, compressed.messages.to_string())?;
    }
    Ok(())
}

/// Counts a call whose handler is dropped, or fails on its streams, before it has finished.
struct CutShort {
    counter: Option<Arc<AtomicU64>>,
}

impl CutShort {
    fn finished<T>(mut self, outcome: impl FnOnce() -> T) -> T {
        self.counter = None;
        outcome()
    }
}

impl Drop for CutShort {
    fn drop(&mut self) {
        if let Some(counter) = &self.counter {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn wait(request: &EchoRequest) {
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
    }
}

async fn answer(
    request: &EchoRequest,
    replies: &mut Outbound<EchoReply>,
    sequence: &mut u32,
    requests: u32,
) -> Result<()> {
    for _ in 0..request.replies {
        wait(request).await;
        replies.send(reply(request, request.payload.clone(), *sequence, requests)).await?;
        *sequence += 1;
    }
    Ok(())
}

fn reply(request: &EchoRequest, payload: Bytes, sequence: u32, requests: u32) -> EchoReply {
    let zeros = usize::try_from(request.reply_bytes).unwrap_or(0);
    let payload = if zeros > 0 { vec![0; zeros].into() } else { payload };
    EchoReply { payload, sequence, requests, ..Default::default() }
}

fn obey_status(request: &EchoRequest) -> Result<()> {
    match request.status.as_option() {
        Some(asked) if asked.code != 0 => {
            let status = Status::new(gannet::Code::from(asked.code), asked.message.clone());
            let (info, retry) = gannet_interop::details(asked.code);
            Err(match asked.detailed {
                true => status.with_detail(&info).with_detail(&retry),
                false => status,
            })
        }
        _ => Ok(()),
    }
}
