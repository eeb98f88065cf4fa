//! Every way in which a client's call can end: what observers and the policy are told of it is what
//! the application gets.

mod answers;
mod given_up;
mod interceptors;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gannet_client::policy::{
    Actions, CallEnd, CallTracker, Event, Pick, PickArgs, Picked, Picker, Policy, SubchannelId,
};
use gannet_client::{
    BearerToken, BidiStreaming, Channel, ChannelBuilder, ChannelState, ClientStreaming, Next,
    Outgoing, ServerStreaming, Unary,
};
use gannet_core::codec::{DecodeError, EncodeError, Raw};
use gannet_core::compression::{Compressor, Compressors, Gzip};
use gannet_core::{Code, Codec, MethodKind, Result, Status};
use gannet_http2::{Reason, StreamKey};
use tokio::time::sleep;

use crate::observe::Log;
use crate::peer::{Bytes, CHAT, DOWNLOAD, Got, HEAD, OK, Peer, Peers, UNARY, UPLOAD, framed};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::ZERO;
const KINDS: [MethodKind; 4] = [
    MethodKind::Unary,
    MethodKind::ClientStreaming,
    MethodKind::ServerStreaming,
    MethodKind::BidiStreaming,
];

/// Bytes as they are, but for those that are "bad".
struct Picky;

impl Codec<Bytes> for Picky {
    fn encode(message: &Bytes, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Raw::encode(message, bytes_max, out)
    }

    fn decode(payload: &[u8]) -> Result<Bytes, DecodeError> {
        match payload {
            b"bad" => Err(DecodeError::new("it is bad")),
            _ => Ok(payload.to_vec()),
        }
    }
}

fn unary(channel: &Channel) -> Unary<'_, Bytes, Bytes> {
    channel.unary::<Picky, _, _>(&UNARY, b"ask".to_vec()).max_receive_bytes(100)
}

fn upload(channel: &Channel) -> ClientStreaming<'_, Bytes, Bytes> {
    channel.client_streaming::<Picky, _, _>(&UPLOAD).max_receive_bytes(100)
}

fn download(channel: &Channel) -> ServerStreaming<'_, Bytes, Bytes> {
    let call = channel.server_streaming::<Picky, _, _>(&DOWNLOAD, b"ask".to_vec());
    call.max_receive_bytes(100)
}

fn chat(channel: &Channel) -> BidiStreaming<'_, Bytes, Bytes> {
    channel.bidi_streaming::<Picky, _, _>(&CHAT).max_receive_bytes(100)
}

/// Makes a call, reads it to its end, and gives up at the first failure.
async fn made(channel: &Channel, kind: MethodKind, timeout: Duration) -> Result<()> {
    match kind {
        MethodKind::Unary => unary(channel).timeout(timeout).await.map(|_| ()),
        MethodKind::ClientStreaming => {
            let (mut tx, reply) = upload(channel).timeout(timeout).await?;
            tx.send(b"ask".to_vec()).await?;
            tx.finish();
            reply.await.map(|_| ())
        }
        MethodKind::ServerStreaming => {
            let mut rx = download(channel).timeout(timeout).await?;
            while rx.next().await?.is_some() {}
            Ok(())
        }
        MethodKind::BidiStreaming => {
            let (mut tx, mut rx) = chat(channel).timeout(timeout).await?;
            tx.send(b"ask".to_vec()).await?;
            tx.finish();
            while rx.next().await?.is_some() {}
            Ok(())
        }
    }
}

/// What the policy is told.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<Code>>>);

impl CallTracker for Ends {
    fn ended(&self, end: &CallEnd<'_>) {
        self.0.lock().unwrap().push(end.code);
    }
}

/// The one address, tracked.
struct Tracking(Ends);

struct Tracks(SubchannelId, Ends);

impl Policy for Tracking {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        if let Event::Resolved(resolution) = event {
            let id = actions.create(&resolution.endpoints[0].addresses()[0]);
            actions.connect(id);
            let picker = Tracks(id, self.0.clone());
            actions.update(ChannelState::Connecting, Arc::new(picker));
        }
    }
}

impl Picker for Tracks {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        Pick::Complete(Picked::new(self.0).tracked(Arc::new(self.1.clone())))
    }
}

/// Who is told of the calls of a channel.
struct Followed {
    channel: Channel,
    peers: Peers,
    log: Log,
    ends: Ends,
}

impl Followed {
    fn new() -> Followed {
        Followed::with(|builder| builder)
    }

    fn with(change: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Followed {
        let (log, ends) = (Log::default(), Ends::default());
        let told = ends.clone();
        let (channel, peers) = Peers::with(|builder| {
            let builder = builder.observe(log.clone()).compressors(Compressors::built_in());
            change(builder.balance(move || Tracking(told.clone())))
        });
        Followed { channel, peers, log, ends }
    }

    /// What the application got is what all the others were told.
    #[track_caller]
    fn agree<T>(&self, what: &str, outcome: &Result<T>) {
        let code = code_of(outcome);
        self.told(what, code, code);
    }

    /// The call ended with `call`, and its last attempt with `attempt`.
    #[track_caller]
    fn told(&self, what: &str, call: Code, attempt: Code) {
        assert_eq!(self.last("call: "), format!("{call:?}"), "{what}: the call");
        assert_eq!(self.last("attempt: "), format!("{attempt:?}"), "{what}: the attempt");
        let ends = std::mem::take(&mut *self.ends.0.lock().unwrap());
        assert_eq!(ends.last(), Some(&attempt), "{what}: the policy");
        self.log.take();
    }

    fn last(&self, who: &str) -> String {
        let lines = self.log.of(who);
        let ended = lines.last().and_then(|line| line.split_once(" after "));
        ended.map(|(code, _)| code.to_owned()).unwrap_or_default()
    }
}

fn code_of<T>(outcome: &Result<T>) -> Code {
    outcome.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

/// Takes the next call, and answers it so.
async fn serve(peer: &mut Peer, how: fn(&mut Peer, StreamKey)) {
    let key = loop {
        match peer.next().await {
            Got::Request { key, end_stream: true, .. }
            | Got::Data { key, end_stream: true, .. } => {
                break key;
            }
            Got::Closed => return,
            _ => {}
        }
    };
    how(peer, key);
    peer.flush().await;
}

async fn connected(peers: &mut Peers) -> Peer {
    let mut peer = peers.accept().await;
    peer.flush().await;
    peer
}

/// Opens a stream and has the peer answer before it goes on.
async fn opened<T>(
    followed: &mut Followed,
    how: fn(&mut Peer, StreamKey),
    open: impl AsyncFn(&Channel) -> Result<T>,
) -> (T, Peer) {
    let channel = followed.channel.clone();
    let (open, peer) = tokio::join!(open(&channel), async {
        let mut peer = connected(&mut followed.peers).await;
        let (key, _) = peer.request().await;
        how(&mut peer, key);
        peer.flush().await;
        peer
    });
    // What was answered is there.
    sleep(SECOND / 1000).await;
    (open.unwrap(), peer)
}

fn not_found(peer: &mut Peer, key: StreamKey) {
    answers::answer(peer, key, b"", &[("grpc-status", "5")]);
}
