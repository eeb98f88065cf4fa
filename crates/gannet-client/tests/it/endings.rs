//! Every way in which a client's call can end: what observers and the policy are told of it is what
//! the application gets.

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

/// How a peer answers.
type Answer = (&'static str, fn(&mut Peer, StreamKey), Ends4);

/// What that comes to for each kind of call.
type Ends4 = [Code; 4];

const fn all(code: Code) -> Ends4 {
    [code; 4]
}

/// Where there is to be one response.
const fn one(code: Code) -> Ends4 {
    [code, code, Code::Ok, Code::Ok]
}

fn answer(peer: &mut Peer, key: StreamKey, body: &[u8], trailers: &[(&str, &str)]) {
    peer.headers(key, HEAD, false);
    if !body.is_empty() {
        peer.data(key, body, false);
    }
    peer.trailers(key, trailers);
}

/// In gzip, whatever it is.
fn answer_coded(peer: &mut Peer, key: StreamKey, payload: &[u8]) {
    peer.headers(key, &[HEAD, &[("grpc-encoding", "gzip")]].concat(), false);
    let mut body = framed(payload);
    body[0] = 1;
    peer.data(key, &body, false);
    peer.trailers(key, OK);
}

const ANSWERS: [Answer; 20] = [
    ("one", |peer, key| answer(peer, key, &framed(b"one"), OK), all(Code::Ok)),
    ("none", |peer, key| answer(peer, key, b"", OK), one(Code::Internal)),
    ("two", |peer, key| answer(peer, key, &framed(b"1").repeat(2), OK), one(Code::Internal)),
    (
        "three, and no end",
        |peer, key| {
            peer.headers(key, HEAD, false);
            peer.data(key, &framed(b"1").repeat(3), false);
        },
        [Code::Internal, Code::Internal, Code::DeadlineExceeded, Code::DeadlineExceeded],
    ),
    ("bad", |peer, key| answer(peer, key, &framed(b"bad"), OK), all(Code::Internal)),
    (
        "bad, and a status",
        |peer, key| answer(peer, key, &framed(b"bad"), &[("grpc-status", "5")]),
        [Code::NotFound, Code::Internal, Code::Internal, Code::Internal],
    ),
    (
        "good, then bad",
        |peer, key| answer(peer, key, &[framed(b"1"), framed(b"bad")].concat(), OK),
        all(Code::Internal),
    ),
    ("garbage in gzip", |peer, key| answer_coded(peer, key, b"no"), all(Code::Internal)),
    (
        "too much in gzip",
        |peer, key| {
            let mut payload = Vec::new();
            Gzip::new().compress(&[0; 101], &mut payload).unwrap();
            answer_coded(peer, key, &payload);
        },
        all(Code::ResourceExhausted),
    ),
    (
        "too much",
        |peer, key| answer(peer, key, &framed(&[0; 101]), OK),
        all(Code::ResourceExhausted),
    ),
    (
        "compressed, in no encoding",
        |peer, key| answer(peer, key, &[1, 0, 0, 0, 1, 7], OK),
        all(Code::Internal),
    ),
    (
        "in an encoding that nobody knows",
        |peer, key| {
            peer.headers(key, &[HEAD, &[("grpc-encoding", "br")]].concat(), false);
            peer.trailers(key, OK);
        },
        all(Code::Internal),
    ),
    ("torn", |peer, key| answer(peer, key, &framed(b"torn")[..7], OK), all(Code::Internal)),
    ("a status", |peer, key| answer(peer, key, b"", &[("grpc-status", "5")]), all(Code::NotFound)),
    (
        "a message, and a status",
        |peer, key| answer(peer, key, &framed(b"1"), &[("grpc-status", "5")]),
        all(Code::NotFound),
    ),
    (
        "nothing but a status",
        |peer, key| peer.headers(key, &[HEAD, &[("grpc-status", "9")]].concat(), true),
        all(Code::FailedPrecondition),
    ),
    (
        "no trailers",
        |peer, key| {
            peer.headers(key, HEAD, false);
            peer.data(key, &framed(b"1"), true);
        },
        all(Code::Unknown),
    ),
    (
        "not gRPC",
        |peer, key| peer.headers(key, &[(":status", "503")], true),
        all(Code::Unavailable),
    ),
    (
        "a reset",
        |peer, key| {
            peer.headers(key, HEAD, false);
            peer.reset(key, Reason::ENHANCE_YOUR_CALM);
        },
        all(Code::ResourceExhausted),
    ),
    ("nothing", |_, _| {}, all(Code::DeadlineExceeded)),
];

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

/// All answers to all kinds of calls.
async fn all_answers(
    settle: Duration,
    change: impl Fn(ChannelBuilder) -> ChannelBuilder,
    agree: impl Fn(&Followed, &str, &Result<()>),
) {
    for (what, how, codes) in ANSWERS {
        for (kind, code) in KINDS.into_iter().zip(codes) {
            let mut followed = Followed::with(&change);
            let channel = followed.channel.clone();
            let (outcome, _peer) = tokio::join!(made(&channel, kind, SECOND), async {
                let mut peer = connected(&mut followed.peers).await;
                serve(&mut peer, how).await;
                peer
            });
            let what = format!("{what}, {kind:?}");
            assert_eq!(code_of(&outcome), code, "{what}");
            if !settle.is_zero() {
                sleep(settle).await;
            }
            agree(&followed, &what, &outcome);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_peer_answers() {
    all_answers(NOW, |builder| builder, |followed, what, outcome| followed.agree(what, outcome))
        .await;
}

#[tokio::test(start_paused = true)]
async fn whatever_a_peer_answers_a_call_with_credentials() {
    let change = |builder: ChannelBuilder| {
        let token = BearerToken::new("t").unwrap();
        builder.credentials(token).allow_credentials_without_tls(true)
    };
    all_answers(NOW, change, |followed, what, outcome| followed.agree(what, outcome)).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_a_peer_answers_a_call_with_an_interceptor() {
    let change = |builder: ChannelBuilder| {
        builder.intercept(|call: Outgoing, next: Next| async move { next.run(call).await })
    };
    all_answers(NOW, change, |followed, what, outcome| followed.agree(what, outcome)).await;
}

/// Who stands in the streams is who an attempt's responses go to; the application has the call's.
#[tokio::test(start_paused = true)]
async fn whatever_a_peer_answers_a_call_whose_streams_are_wrapped() {
    let change = |builder: ChannelBuilder| {
        builder.intercept(|call: Outgoing, next: Next| async move {
            let mut answer = next.run(call).await?;
            answer.wrap_requests(|mut from, mut to| async move {
                while let Some(message) = from.next().await? {
                    to.send(message).await?;
                }
                Ok(())
            });
            answer.wrap_responses(|mut from, mut to| async move {
                while let Some(message) = from.next().await? {
                    to.send(message).await?;
                }
                Ok(())
            });
            Ok(answer)
        })
    };
    let agree = |followed: &Followed, what: &str, outcome: &Result<()>| {
        let call = format!("{:?}", code_of(outcome));
        assert_eq!(followed.last("call: "), call, "{what}");
        let attempt = followed.last("attempt: ");
        // As it came, unless the application was quicker.
        let is_undecoded = ["none", "two", "bad", "good, then bad"];
        let is_undecoded = is_undecoded.iter().any(|known| what.starts_with(known));
        let came = match what.starts_with("bad, and a status") {
            true => "NotFound",
            false if is_undecoded && !what.ends_with("Unary") => "Ok",
            false => &call,
        };
        assert!([came, "Cancelled"].contains(&&*attempt), "{what}: {call}: {attempt}");
    };
    all_answers(SECOND / 1000, change, agree).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost() {
    for kind in KINDS {
        let mut followed = Followed::new();
        let channel = followed.channel.clone();
        let (outcome, ()) = tokio::join!(made(&channel, kind, SECOND), async {
            let mut peer = connected(&mut followed.peers).await;
            peer.next().await;
        });
        assert_eq!(code_of(&outcome), Code::Unavailable);
        followed.agree("lost", &outcome);
    }
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
    answer(peer, key, b"", &[("grpc-status", "5")]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_learnt_by_headers_and_nothing_else() {
    let mut followed = Followed::new();
    let trailers_only: fn(&mut Peer, StreamKey) =
        |peer, key| peer.headers(key, &[HEAD, &[("grpc-status", "5")]].concat(), true);
    let ((tx, mut reply), _peer) =
        opened(&mut followed, trailers_only, async |channel| upload(channel).await).await;
    let outcome = reply.headers().await.map(|_| ());
    drop((tx, reply));
    assert_eq!(code_of(&outcome), Code::NotFound);
    followed.agree("reply", &outcome);

    let mut followed = Followed::new();
    let ((tx, mut rx), _peer) =
        opened(&mut followed, trailers_only, async |channel| chat(channel).await).await;
    let outcome = rx.headers().await.map(|_| ());
    drop((rx, tx));
    assert_eq!(code_of(&outcome), Code::NotFound);
    followed.agree("chat", &outcome);
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_is_told() {
    // The call's failure, by which its caller knows.
    let mut followed = Followed::new();
    let ((mut tx, reply), _peer) =
        opened(&mut followed, not_found, async |channel| upload(channel).await).await;
    let sent = tx.send(b"more".to_vec()).await;
    drop((tx, reply));
    assert_eq!(code_of(&sent), Code::NotFound);
    followed.agree("a failure", &sent);

    // That it has ended well is told elsewhere.
    let mut followed = Followed::new();
    let ((mut tx, reply), _peer) =
        opened(&mut followed, ANSWERS[0].1, async |channel| upload(channel).await).await;
    let sent = tx.send(b"more".to_vec()).await;
    assert_eq!(code_of(&sent), Code::Cancelled);
    let outcome = reply.await;
    assert_eq!(code_of(&outcome), Code::Ok);
    followed.agree("a good end", &outcome);

    // A message that cannot be sent: one may go on.
    for goes_on in [false, true] {
        let mut followed = Followed::new();
        let open = async |channel: &Channel| chat(channel).max_send_bytes(10).await;
        let nothing: fn(&mut Peer, StreamKey) = |_, _| {};
        let ((mut tx, mut rx), mut peer) = opened(&mut followed, nothing, open).await;
        let sent = tx.send(vec![0; 11]).await;
        assert_eq!(code_of(&sent), Code::ResourceExhausted);
        match goes_on {
            true => {
                tx.finish();
                let serving = tokio::spawn(async move {
                    serve(&mut peer, |peer, key| answer(peer, key, &framed(b"1"), OK)).await;
                    peer
                });
                serving.await.unwrap();
                while rx.next().await.unwrap().is_some() {}
                followed.told("to the end", Code::Ok, Code::Ok);
            }
            false => {
                drop((tx, rx));
                followed.agree("too long", &sent);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_passed_over() {
    let messages: fn(&mut Peer, StreamKey) = |peer, key| {
        answer(peer, key, &[framed(b"bad"), framed(b"good"), framed(b"good")].concat(), OK);
    };
    for to_the_end in [true, false] {
        let mut followed = Followed::new();
        let ((tx, mut rx), _peer) =
            opened(&mut followed, messages, async |channel| chat(channel).await).await;
        assert_eq!(rx.next().await.unwrap_err().code(), Code::Internal);
        assert_eq!(rx.next().await.unwrap().unwrap(), b"good");
        if to_the_end {
            assert_eq!(rx.next().await.unwrap().unwrap(), b"good");
            assert_eq!(rx.next().await.unwrap(), None);
            followed.told("to the end", Code::Ok, Code::Ok);
        } else {
            drop((rx, tx));
            assert_eq!(followed.last("call: "), "Cancelled", "given up for something else");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_without_a_failure() {
    let nothing: fn(&mut Peer, StreamKey) = |_, _| {};
    let mut followed = Followed::new();
    let ((tx, reply), _peer) =
        opened(&mut followed, nothing, async |channel| upload(channel).await).await;
    drop(tx);
    let outcome = reply.await;
    assert_eq!(code_of(&outcome), Code::Cancelled);
    followed.agree("the sender", &outcome);
    let mut followed = Followed::new();
    let (ends, _peer) = opened(&mut followed, nothing, async |channel| chat(channel).await).await;
    drop(ends);
    followed.told("both", Code::Cancelled, Code::Cancelled);
}

/// A channel whose interceptor does this to what came of a call.
fn changed<F>(change: F) -> Followed
where
    F: Fn(&mut gannet_client::Answer) -> Result<()> + Clone + Send + Sync + 'static,
{
    Followed::with(move |builder| {
        builder.intercept(move |call: Outgoing, next: Next| {
            let change = change.clone();
            async move {
                let mut answer = next.run(call).await?;
                change(&mut answer)?;
                Ok(answer)
            }
        })
    })
}

async fn made_with(followed: &mut Followed, kind: MethodKind) -> Result<()> {
    let channel = followed.channel.clone();
    let serving = async {
        let mut peer = connected(&mut followed.peers).await;
        serve(&mut peer, ANSWERS[0].1).await;
        peer
    };
    tokio::join!(made(&channel, kind, SECOND), serving).0
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_fails_a_call() {
    for kind in KINDS {
        // An attempt that has come to its end, or an answer that nobody reads.
        let mut followed = changed(|_| Err(Status::aborted("mine")));
        let channel = followed.channel.clone();
        let outcome = match kind {
            MethodKind::Unary => made_with(&mut followed, kind).await,
            _ => {
                let (outcome, _peer) =
                    tokio::join!(made(&channel, kind, SECOND), connected(&mut followed.peers));
                outcome
            }
        };
        assert_eq!(code_of(&outcome), Code::Aborted);
        let attempt = if kind == MethodKind::Unary { Code::Ok } else { Code::Cancelled };
        followed.told(&format!("after it, {kind:?}"), Code::Aborted, attempt);

        let mut followed = changed(|answer| {
            answer.observe_responses(|_| Err(Status::data_loss("mine")));
            Ok(())
        });
        let outcome = made_with(&mut followed, kind).await;
        assert_eq!(code_of(&outcome), Code::DataLoss);
        let attempt = if kind == MethodKind::Unary { Code::Ok } else { Code::DataLoss };
        followed.told(&format!("by a response, {kind:?}"), Code::DataLoss, attempt);
    }
    for kind in [MethodKind::ClientStreaming, MethodKind::BidiStreaming] {
        let mut followed = changed(|answer| {
            answer.observe_requests(|_| Err(Status::data_loss("mine")));
            Ok(())
        });
        let channel = followed.channel.clone();
        let (outcome, _peer) =
            tokio::join!(made(&channel, kind, SECOND), connected(&mut followed.peers));
        assert_eq!(code_of(&outcome), Code::DataLoss);
        followed.agree(&format!("by a request, {kind:?}"), &outcome);
        // Who stands in the stream: the sender learns of it when it has happened.
        let mut followed = changed(|answer| {
            answer.wrap_requests(|mut from, _to| async move {
                from.next().await?;
                from.next().await?;
                Err(Status::data_loss("mine"))
            });
            Ok(())
        });
        let nothing: fn(&mut Peer, StreamKey) = |_, _| {};
        let ((mut tx, mut rx), _peer) =
            opened(&mut followed, nothing, async |channel| chat(channel).await).await;
        for _ in 0..2 {
            tx.send(b"more".to_vec()).await.unwrap();
        }
        sleep(SECOND / 1000).await;
        let sent = tx.send(b"more".to_vec()).await;
        assert!(sent.is_err());
        if kind == MethodKind::ClientStreaming {
            let outcome = rx.next().await;
            assert_eq!(code_of(&outcome), Code::DataLoss);
            followed.agree("by a wrapper", &outcome);
        } else {
            drop((tx, rx));
            followed.agree("by a wrapper, as the sender knows", &sent);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_an_interceptor_reads_first() {
    let mut followed = Followed::with(|builder| {
        builder.intercept(|call: Outgoing, next: Next| async move {
            let mut answer = next.run(call).await?;
            answer.first().await?;
            Ok(answer)
        })
    });
    let channel = followed.channel.clone();
    let (outcome, _peer) =
        tokio::join!(async { made(&channel, MethodKind::ServerStreaming, SECOND).await }, async {
            let mut peer = connected(&mut followed.peers).await;
            serve(&mut peer, not_found).await;
            peer
        });
    assert_eq!(code_of(&outcome), Code::NotFound);
    followed.agree("first", &outcome);
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_replaces_what_cannot_be_decoded() {
    for message in [b"good", b"bad\0"] {
        let message = message.strip_suffix(b"\0").unwrap_or(message);
        let mut followed = changed(|answer| answer.set_response::<Raw, _>(&message.to_vec()));
        let outcome = made_with(&mut followed, MethodKind::Unary).await;
        assert_eq!(outcome.is_ok(), message == b"good");
        followed.told("its own message", code_of(&outcome), Code::Ok);
    }
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_answers_by_itself() {
    let message = |call: &Outgoing| call.message().unwrap().map(|message| message.to_vec());
    for (kind, word) in KINDS.into_iter().flat_map(|kind| [(kind, "good"), (kind, "bad")]) {
        let followed = Followed::with(move |builder| {
            builder.intercept(move |call: Outgoing, _: Next| async move {
                if kind == MethodKind::Unary {
                    assert_eq!(message(&call).unwrap(), b"ask");
                    return call.answer::<Raw, _>(&word.as_bytes().to_vec());
                }
                call.answer_stream(move |mut requests, mut responses| async move {
                    while requests.next().await?.is_some() {}
                    responses.send(word.into()).await
                })
            })
        });
        let outcome = made(&followed.channel, kind, SECOND).await;
        assert_eq!(outcome.is_ok(), word == "good", "{kind:?}");
        assert_eq!(followed.last("call: "), format!("{:?}", code_of(&outcome)), "{kind:?} {word}");
        assert!(followed.log.of("attempt: ").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_must_not_wait() {
    let followed = Followed::new();
    let outcome = unary(&followed.channel).wait();
    assert_eq!(code_of(&outcome), Code::Internal);
    assert_eq!(followed.last("call: "), "Internal");
    assert_eq!(code_of(&download(&followed.channel).wait()), Code::Internal);
    assert_eq!(followed.last("call: "), "Internal");
    // It was opened where one may.
    let nothing: fn(&mut Peer, StreamKey) = |_, _| {};
    let open = async |channel: &Channel| {
        let channel = channel.clone();
        let opening = std::thread::spawn(move || download(&channel).wait());
        while !opening.is_finished() {
            tokio::task::yield_now().await;
        }
        opening.join().unwrap()
    };
    let mut followed = Followed::new();
    let (mut rx, _peer) = opened(&mut followed, nothing, open).await;
    let outcome = rx.next().unwrap();
    drop(rx);
    assert_eq!(code_of(&outcome), Code::Internal);
    followed.agree("a stream", &outcome);
}
