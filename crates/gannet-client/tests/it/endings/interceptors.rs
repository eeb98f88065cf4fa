//! What interceptors make of calls.

use super::answers::ANSWERS;
use super::*;

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
