//! What a peer answers, to calls of every kind.

use super::*;

/// How a peer answers.
pub(super) type Answer = (&'static str, fn(&mut Peer, StreamKey), Ends4);

/// What that comes to for each kind of call.
pub(super) type Ends4 = [Code; 4];

const fn all(code: Code) -> Ends4 {
    [code; 4]
}

/// Where there is to be one response.
const fn one(code: Code) -> Ends4 {
    [code, code, Code::Ok, Code::Ok]
}

pub(super) fn answer(peer: &mut Peer, key: StreamKey, body: &[u8], trailers: &[(&str, &str)]) {
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

pub(super) const ANSWERS: [Answer; 20] = [
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
