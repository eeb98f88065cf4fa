//! Interceptors of a client around calls that stream: what they observe, wrap, repeat and answer,
//! and that what ends or cancels a call still does.

use std::future::IntoFuture;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gannet_client::{Channel, Next, Outgoing};
use gannet_core::compression::{Compressors, Encoding};
use gannet_core::{Code, Status};
use gannet_server::Server;
use gannet_transport::pipe;
use tokio::time::Instant;

use crate::intercept::Log;
use crate::peer::{Got, HEAD, OK, Peers, chat, download, framed, unary, upload};
use crate::server::{Test, all_kinds, all_kinds_at_once, serve};

fn connect(test: &Test) -> Channel {
    Channel::builder_with_connector(serve(test)).build().unwrap()
}

/// Passes everything through streams of its own.
fn wrapped(channel: &Channel) -> Channel {
    channel.intercepted(|call: Outgoing, next: Next| async move {
        let streams = call.method().kind;
        let mut answer = next.run(call).await?;
        let requests = answer.wrap_requests(|mut from, mut to| async move {
            while let Some(message) = from.next().await? {
                to.send(message).await?;
            }
            Ok(())
        });
        let responses = answer.wrap_responses(|mut from, mut to| async move {
            while let Some(message) = from.next().await? {
                to.send(message).await?;
            }
            Ok(())
        });
        assert_eq!(requests, streams.client_streams());
        assert_eq!(responses, streams.client_streams() || streams.server_streams());
        Ok(answer)
    })
}

#[tokio::test(start_paused = true)]
async fn all_kinds_go_through_wrapped_streams() {
    let channel = connect(&Test::default());
    all_kinds(&wrapped(&channel)).await;
    all_kinds(&wrapped(&wrapped(&wrapped(&channel)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_go_through_wrapped_streams_compressed_from_many_tasks() {
    let (connector, listener) = pipe();
    let server = Server::new().add(Test::default()).compressors(Compressors::built_in());
    let server = server.compress(Encoding::GZIP);
    tokio::spawn(server.serve(listener).into_future());
    let channel = Channel::builder_with_connector(connector)
        .compressors(Compressors::built_in())
        .compress(Encoding::ZSTD)
        .build()
        .unwrap();
    let channel = wrapped(&channel);
    all_kinds_at_once(&channel).await;
}

#[tokio::test(start_paused = true)]
async fn headers_trailers_and_failures_go_through_wrapped_streams() {
    for first in [false, true] {
        let (channel, mut peers) = Peers::new();
        let channel = channel.intercepted(move |call: Outgoing, next: Next| async move {
            let mut answer = next.run(call).await?;
            if first {
                answer.first().await?;
                assert_eq!(answer.headers().await?.get("x-head"), Some("h"));
            }
            answer.wrap_responses(|mut from, mut to| async move {
                while let Some(message) = from.next().await? {
                    to.send(message).await?;
                }
                Ok(())
            });
            Ok(answer)
        });
        let server = tokio::spawn(async move {
            let mut peer = peers.accept().await;
            for trailers in [
                &[("grpc-status", "0"), ("x-trail", "t")],
                &[("grpc-status", "5"), ("x-trail", "t")],
            ] {
                let (key, ..) = peer.unary().await;
                peer.headers(key, &[HEAD, &[("x-head", "h")]].concat(), false);
                peer.data(key, &framed(b"1"), false);
                peer.trailers(key, trailers);
                peer.conn.forget(key);
                peer.flush().await;
            }
            peer
        });
        let mut rx = download(&channel, b"").await.unwrap();
        assert_eq!(rx.headers().await.unwrap().get("x-head"), Some("h"));
        assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
        assert_eq!(rx.next().await.unwrap(), None);
        assert_eq!(rx.trailers().unwrap().get("x-trail"), Some("t"));
        let mut rx = download(&channel, b"").await.unwrap();
        assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
        let status = rx.next().await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.metadata().get("x-trail"), Some("t"));
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_cancels_a_call_does_so_through_wrapped_streams() {
    let (channel, mut peers) = Peers::new();
    let channel = wrapped(&wrapped(&channel));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        peer.credits = false;
        for _ in 0..4 {
            let (key, _) = peer.request().await;
            peer.begin(key, &[b"hi"]).await;
            peer.reset_of(key).await;
            peer.conn.forget(key);
        }
        peer
    });
    // Both ends; the sender unfinished; the reader; and what waits for room.
    let (tx, mut rx) = chat(&channel).await.unwrap();
    rx.next().await.unwrap().unwrap();
    drop((tx, rx));
    let (tx, mut rx) = chat(&channel).await.unwrap();
    rx.next().await.unwrap().unwrap();
    drop(tx);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Cancelled);
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    rx.next().await.unwrap().unwrap();
    drop(rx);
    while tx.send(vec![0; 1000]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    rx.next().await.unwrap().unwrap();
    let full = async { while tx.send(vec![0; 30_000]).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(1), full).await.unwrap_err();
    drop(tx);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Cancelled);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_early_and_deadlines_reach_through_wrapped_streams() {
    let (channel, mut peers) = Peers::new();
    let channel = wrapped(&wrapped(&channel));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.headers(key, &[HEAD, &[("grpc-status", "9")]].concat(), true);
        peer.conn.forget(key);
        peer.flush().await;
        let (key, _) = peer.request().await;
        peer.reset_of(key).await;
        peer
    });
    let (mut tx, reply) = upload(&channel).await.unwrap();
    assert_eq!(reply.await.unwrap_err().code(), Code::FailedPrecondition);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let status = tx.send(b"late".to_vec()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let (mut tx, mut rx) = chat(&channel).timeout(Duration::from_secs(7)).await.unwrap();
    let started = Instant::now();
    assert_eq!(rx.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 7);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(tx.send(vec![1]).await.unwrap_err().code(), Code::DeadlineExceeded);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wrapped_streams_change_what_goes_through() {
    let test = Test::default();
    let channel = connect(&test).intercepted(|call: Outgoing, next: Next| async move {
        let mut answer = next.run(call).await?;
        answer.wrap_requests(|mut from, mut to| async move {
            while let Some(message) = from.next().await? {
                match &*message {
                    b"stop" => break,
                    b"fail" => return Err(Status::out_of_range("not this")),
                    _ => to.send([b"<", &*message].concat().into()).await?,
                }
            }
            Ok(())
        });
        answer.wrap_responses(|mut from, mut to| async move {
            while let Some(message) = from.next().await? {
                match &*message {
                    b"<enough" => return Ok(()),
                    b"<bad" => return Err(Status::data_loss("not that")),
                    _ => to.send([&*message, b">"].concat().into()).await?,
                }
            }
            to.send("end".into()).await
        });
        Ok(answer)
    });
    // What is sent, and what comes back.
    let talk = async |messages: &[&str]| {
        let (mut tx, mut rx) = chat(&channel).await.unwrap();
        let mut replies = Vec::new();
        for message in messages {
            if tx.send(message.as_bytes().to_vec()).await.is_err() {
                break;
            }
        }
        tx.finish();
        loop {
            match rx.next().await {
                Ok(Some(reply)) => replies.push(String::from_utf8(reply).unwrap()),
                Ok(None) => return replies,
                Err(status) => {
                    replies.push(format!("{}: {}", status.code(), status.message()));
                    return replies;
                }
            }
        }
    };
    assert_eq!(talk(&["a", "b"]).await, ["<a>", "<b>", "end"]);
    assert_eq!(talk(&["a", "stop", "b"]).await, ["<a>", "end"]);
    assert_eq!(talk(&["a", "enough", "b"]).await, ["<a>"]);
    assert_eq!(talk(&["bad"]).await, ["DATA_LOSS: not that"]);
    let failed = talk(&["fail"]).await;
    assert_eq!(failed.last().unwrap(), "OUT_OF_RANGE: not this", "{failed:?}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 5, "no handler is left");
}

#[tokio::test(start_paused = true)]
async fn observers_see_every_message_and_the_end() {
    let log = Log::default();
    let seen = log.clone();
    let channel = connect(&Test::default()).intercepted(move |call: Outgoing, next: Next| {
        let log = seen.clone();
        async move {
            let mut answer = next.run(call).await?;
            let (requests, responses) = (log.clone(), log.clone());
            answer.observe_requests(move |request| {
                requests.add(format!("> {} {:?}", request.number, request.payload));
                if request.payload == [9] { Err(Status::aborted("nine")) } else { Ok(()) }
            });
            answer.observe_responses(move |response| {
                responses.add(format!("< {} {:?}", response.number, response.payload));
                if response.payload == [8] { Err(Status::data_loss("eight")) } else { Ok(()) }
            });
            answer.observe_end(move |outcome| {
                log.add(outcome.map_or_else(|status| status.code().to_string(), |_| "OK".into()));
            });
            Ok(answer)
        }
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(vec![1]).await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), [1]);
    tx.send(vec![2]).await.unwrap();
    tx.finish();
    assert_eq!(rx.next().await.unwrap().unwrap(), [2]);
    assert_eq!(rx.next().await.unwrap(), None);
    assert_eq!(log.take(), ["> 0 [1]", "< 0 [1]", "> 1 [2]", "< 1 [2]", "OK"]);

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    assert_eq!(tx.send(vec![9]).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(rx.next().await.unwrap_err().message(), "nine");
    assert_eq!(log.take(), ["> 0 [9]", "ABORTED"]);

    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(vec![8]).await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().message(), "eight");
    assert_eq!(rx.next().await.unwrap_err().message(), "eight");
    assert_eq!(log.take(), ["> 0 [8]", "< 0 [8]", "DATA_LOSS"]);

    drop(chat(&channel).await.unwrap());
    assert_eq!(log.take(), ["CANCELLED"]);
    // The one response of an upload is observed, too.
    let (mut tx, reply) = upload(&channel).await.unwrap();
    tx.send(vec![1, 2]).await.unwrap();
    tx.finish();
    assert_eq!(reply.await.unwrap(), b"2");
    assert_eq!(log.take(), ["> 0 [1, 2]", "< 0 [50]", "OK"]);
}

#[tokio::test(start_paused = true)]
async fn observers_fail_a_call_through_wrapped_streams() {
    let test = Test::default();
    let channel = wrapped(&connect(&test)).intercepted(|call: Outgoing, next: Next| async move {
        let mut answer = next.run(call).await?;
        answer.observe_requests(|request| match request.payload {
            [9] => Err(Status::aborted("nine")),
            _ => Ok(()),
        });
        Ok(answer)
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(vec![1]).await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), [1]);
    assert_eq!(tx.send(vec![9]).await.unwrap_err().message(), "nine");
    assert_eq!(rx.next().await.unwrap_err().message(), "nine");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_message_is_made_again() {
    let (channel, mut peers) = Peers::new();
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        for _ in 0..2 {
            let mut answer = next.run(call.clone()).await?;
            match answer.first().await {
                Err(status) if status.code() == Code::Unavailable => {}
                _ => return Ok(answer),
            }
        }
        next.run(call).await
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, ..) = peer.unary().await;
        peer.headers(key, &[HEAD, &[("grpc-status", "14")]].concat(), true);
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[], &[("grpc-status", "14")]).await;
        let (key, _, message) = peer.unary().await;
        assert_eq!(message, b"give");
        peer.respond(key, &[b"1", b"2"], OK).await;
        // One that fails later is not.
        let (key, ..) = peer.unary().await;
        peer.respond(key, &[b"1"], &[("grpc-status", "14")]).await;
        peer
    });
    let mut rx = download(&channel, b"give").await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    assert_eq!(rx.next().await.unwrap().unwrap(), b"2");
    assert_eq!(rx.next().await.unwrap(), None);
    let mut rx = download(&channel, b"give").await.unwrap();
    assert!(rx.headers().await.unwrap().is_empty());
    assert_eq!(rx.next().await.unwrap().unwrap(), b"1");
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Unavailable);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_are_answered_without_a_connection() {
    let channel = Channel::new(format!("127.0.0.1:{}", crate::peer::dead_port())).unwrap();
    let offline = channel.intercepted(|call: Outgoing, _: Next| async move {
        call.answer_stream(|mut requests, mut responses| async move {
            while let Some(request) = requests.next().await? {
                match &*request {
                    b"fail" => return Err(Status::not_found("nothing here")),
                    b"wait" => std::future::pending().await,
                    _ => responses.send(request).await?,
                }
            }
            Ok(())
        })
    });
    let (mut tx, mut rx) = chat(&offline).await.unwrap();
    for n in 0..100 {
        tx.send(vec![n; 5_000]).await.unwrap();
        assert_eq!(rx.next().await.unwrap().unwrap(), [n; 5_000]);
    }
    tx.finish();
    assert_eq!(rx.next().await.unwrap(), None);
    assert!(rx.trailers().unwrap().is_empty());

    let mut rx = download(&offline, b"one").await.unwrap();
    assert_eq!(rx.next().await.unwrap().unwrap(), b"one");
    assert_eq!(rx.next().await.unwrap(), None);
    let mut rx = download(&offline, b"fail").await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().message(), "nothing here");
    let (mut tx, reply) = upload(&offline).await.unwrap();
    tx.send(b"sum".to_vec()).await.unwrap();
    tx.finish();
    assert_eq!(reply.await.unwrap(), b"sum");

    let mut rx = download(&offline, b"wait").timeout(Duration::from_secs(2)).await.unwrap();
    assert_eq!(rx.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    let (tx, mut rx) = chat(&offline).await.unwrap();
    drop(tx);
    assert_eq!(rx.next().await.unwrap_err().code(), Code::Cancelled);
    let status = unary(&offline, b"").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[test]
fn blocking_calls_have_interceptors_too() {
    let listener = gannet_transport::Listener::tcp("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let serving = Server::new().add(Test::default()).serve(listener);
            serving.shutdown_on(stopped, Duration::from_secs(1)).await.unwrap();
        });
    });
    let channel = wrapped(&gannet_client::blocking::channel(target).unwrap());
    let channel = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        call.metadata_mut().insert("x-in", "blocking")?;
        next.run(call).await
    });
    let (reply, metadata) = unary(&channel, b"x").with_metadata().wait().unwrap();
    assert_eq!((&*reply, metadata.headers.get("x-head")), (&b"x"[..], Some("blocking")));
    let (mut tx, mut rx) = chat(&channel).wait().unwrap();
    for n in 0..20_u8 {
        tx.send(vec![n]).unwrap();
        assert_eq!(rx.next().unwrap().unwrap(), [n]);
    }
    tx.finish();
    assert!(rx.next().is_none());
    drop((rx, channel));
    stop.send(()).unwrap();
    server.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_wrapped_streams() {
    let (channel, mut peers) = Peers::new();
    let channel = wrapped(&channel);
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.begin(key, &[b"hi"]).await;
        assert!(matches!(peer.next().await, Got::Data { .. }));
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    rx.next().await.unwrap().unwrap();
    tx.send(vec![1]).await.unwrap();
    server.await.unwrap();
    let lost = rx.next().await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    assert!(lost.message().starts_with("in-process: "), "{lost}");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let status = tx.send(vec![1]).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, lost.message()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_a_wrapper_of_responses_waits() {
    let (channel, mut peers) = Peers::new();
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        let mut answer = next.run(call).await?;
        answer.wrap_responses(|mut from, mut to| async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            while let Some(message) = from.next().await? {
                to.send(message).await?;
            }
            Ok(())
        });
        Ok(answer)
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let (key, _) = peer.request().await;
        peer.reset_of(key).await;
        peer
    });
    let (_tx, mut rx) = chat(&channel).timeout(Duration::from_secs(7)).await.unwrap();
    let started = Instant::now();
    let code = rx.next().await.unwrap_err().code();
    assert_eq!((code, started.elapsed().as_secs()), (Code::DeadlineExceeded, 7));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wrapper_that_panics_ends_the_call_with_unknown() {
    let test = Test::default();
    let channel = connect(&test).intercepted(|call: Outgoing, next: Next| async move {
        let mut answer = next.run(call).await?;
        answer.wrap_responses(|mut from, _to| async move {
            let _ = from.next().await?;
            panic!("mine");
        });
        Ok(answer)
    });
    let (mut tx, mut rx) = chat(&channel).await.unwrap();
    tx.send(vec![1]).await.unwrap();
    let status = rx.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
}
