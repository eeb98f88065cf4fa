//! The service that the harness calls, `gannet_interop.proto`'s: what it does is written down there
//! and in `interop/README.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet::compression::Compressed;
use gannet::{Bytes, Call, Code, Inbound, Outbound, Result, Status};

use crate::proto::gannet::interop::v1 as pb;
use crate::{
    ADDRESS, COMPRESS, COMPRESSED, INITIAL, INITIAL_BIN, PEER, TRAILING, TRAILING_BIN, copy_values,
};
use pb::{EchoReply, EchoRequest};

/// The service of `gannet_interop.proto`. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    calls: Arc<Calls>,
}

/// What became of the calls of an [`Echo`].
#[derive(Debug, Default)]
pub struct Calls {
    started: AtomicU64,
    finished: AtomicU64,
    cut_short: AtomicU64,
}

impl Calls {
    /// How many handlers were started.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// How many handlers came to their end, whatever they told.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::SeqCst)
    }

    /// How many handlers were dropped, or failed on their streams, before.
    pub fn cut_short(&self) -> u64 {
        self.cut_short.load(Ordering::SeqCst)
    }

    /// How many handlers run.
    pub fn running(&self) -> u64 {
        // What has ended is read first: it can only fall behind what has started.
        let ended = self.finished() + self.cut_short();
        self.started().saturating_sub(ended)
    }
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
        Ok(pb::Observation { calls_cut_short: self.calls.cut_short(), ..Default::default() })
    }
}

impl Echo {
    /// What has become of its calls so far.
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Sends the metadata back that the caller asked for, and watches over the call.
    fn begin(&self, call: &mut Call) -> Result<Watch> {
        self.calls.started.fetch_add(1, Ordering::SeqCst);
        let watch = Watch { calls: Arc::clone(&self.calls), finished: false };
        let sent = call.metadata().clone();
        for key in [TRAILING, TRAILING_BIN] {
            copy_values(&sent, key, call.trailers_mut())?;
        }
        if sent.contains(PEER) {
            tell_peer(call)?;
        }
        if sent.contains(ADDRESS) {
            let peer = call.peer().to_string();
            call.trailers_mut().insert(ADDRESS, peer)?;
        }
        if let Some(encoding) = sent.get(COMPRESS).and_then(crate::encoding) {
            call.compress(encoding);
        }
        if sent.contains(INITIAL) || sent.contains(INITIAL_BIN) {
            for key in [INITIAL, INITIAL_BIN] {
                copy_values(&sent, key, &mut call.headers_mut())?;
            }
            call.send_headers();
        }
        Ok(watch)
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

/// Counts a call: as cut short where its handler is dropped, or fails on its streams, before it has
/// finished.
struct Watch {
    calls: Arc<Calls>,
    finished: bool,
}

impl Watch {
    fn finished<T>(mut self, outcome: impl FnOnce() -> T) -> T {
        self.finished = true;
        outcome()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let counter = if self.finished { &self.calls.finished } else { &self.calls.cut_short };
        counter.fetch_add(1, Ordering::SeqCst);
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
            let status = Status::new(Code::from(asked.code), asked.message.clone());
            let (info, retry) = crate::details(asked.code);
            Err(match asked.detailed {
                true => status.with_detail(&info).with_detail(&retry),
                false => status,
            })
        }
        _ => Ok(()),
    }
}
