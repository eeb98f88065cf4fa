//! Calls that end before their peer ends them.

use super::answers::{ANSWERS, answer};
use super::*;

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
