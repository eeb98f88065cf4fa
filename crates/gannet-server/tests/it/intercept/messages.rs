//! Messages that interceptors look at, replace and add.

use bytes::Bytes;
use gannet_core::codec::Raw as RawCodec;
use gannet_core::{Code, Status};
use gannet_server::{Dispatch, Handled, Incoming, MethodOptions, Next, Server};

use super::Log;
use crate::client::connect;
use crate::service::Test;

#[tokio::test(start_paused = true)]
async fn messages_can_be_replaced_on_both_ways() {
    let server =
        Server::new().add(Test::new()).intercept(|mut call: Incoming, next: Next| async move {
            let doubled = call.message()?.map(|message| message.repeat(2));
            call.set_message(doubled.unwrap_or_default());
            let mut handled = next.run(call).await?;
            let reply = handled.message()?.unwrap_or_default().to_vec();
            handled.set_reply::<RawCodec, _>(&[&reply[..], b"!"].concat())?;
            Ok(handled)
        });
    let mut raw = connect(server).await;
    assert_eq!(raw.unary("Echo", b"ab").await.ok(), b"abab!");
    let long = raw.unary("Echo", &vec![7; 100_000]).await.ok();
    assert_eq!(long.len(), 200_001, "through the long way too");
}

#[tokio::test(start_paused = true)]
async fn observers_see_each_message_once_and_can_fail_the_call() {
    let log = Log::default();
    let shown = log.clone();
    let server = Server::new().add(Test::new()).intercept(move |mut call: Incoming, next: Next| {
        let (requests, replies) = (shown.clone(), shown.clone());
        async move {
            call.observe_requests(move |message| {
                requests.add(format!("in {} {}", message.number, message.payload.len()));
                match message.payload {
                    b"refuse" => Err(Status::permission_denied("not that")),
                    _ => Ok(()),
                }
            });
            call.observe_replies(move |message| {
                replies.add(format!("out {} {}", message.number, message.payload.len()));
                match message.payload.len() {
                    100.. => Err(Status::data_loss("too much")),
                    _ => Ok(()),
                }
            });
            next.run(call).await
        }
    });
    let server = server.intercept(|call: Incoming, next: Next| next.run(call));
    let mut raw = connect(server).await;
    assert_eq!(raw.unary("Echo", b"abc").await.ok(), b"abc");
    assert_eq!(log.take(), ["in 0 3", "out 0 3"]);
    assert_eq!(raw.unary("Echo", b"refuse").await.code(), Code::PermissionDenied as i32);
    assert_eq!(log.take(), ["in 0 6"]);
    assert_eq!(raw.unary("Echo", &[0; 100]).await.code(), Code::DataLoss as i32);
    assert_eq!(log.take(), ["in 0 100", "out 0 100"]);
    let key = raw.open("Chat", &[]);
    for size in [1, 2, 30_000] {
        raw.message(key, &vec![1; size], false);
    }
    raw.flush().await;
    let reply = raw.finished(key).await;
    assert_eq!((reply.code(), reply.messages().len()), (Code::DataLoss as i32, 2), "{reply:?}");
    let seen = ["in 0 1", "out 0 1", "in 1 2", "out 1 2", "in 2 30000", "out 2 30000"];
    assert_eq!(log.take(), seen);
    let key = raw.open("Upload", &[]);
    raw.message(key, b"1", false);
    raw.message(key, b"refuse", false);
    raw.message(key, b"3", false);
    assert_eq!(raw.finished(key).await.code(), Code::PermissionDenied as i32);
    assert_eq!(log.take(), ["in 0 1", "in 1 6"]);
    let key = raw.call("Download", b"3 10");
    assert_eq!(raw.finished(key).await.messages().len(), 3);
    assert_eq!(log.take(), ["in 0 4", "out 0 10", "out 1 10", "out 2 10"]);
}

/// Adds a byte to what comes, leaves empty messages out, and sends each reply twice.
async fn rewrite(mut call: Incoming, next: Next) -> gannet_core::Result<Handled> {
    call.wrap_requests(|mut from, mut to| async move {
        while let Some(message) = from.next().await? {
            if message == "stop" {
                return Err(Status::aborted("stopped"));
            }
            if !message.is_empty() {
                to.send(Bytes::from([&message[..], b"+"].concat())).await?;
            }
        }
        Ok(())
    });
    call.wrap_replies(|mut from, mut to| async move {
        while let Some(message) = from.next().await? {
            to.send(message.clone()).await?;
            to.send(message).await?;
        }
        Ok(())
    });
    next.run(call).await
}

#[tokio::test(start_paused = true)]
async fn streams_can_be_wrapped() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let test = Test::new();
        let options = MethodOptions::new().dispatch(dispatch);
        let server = Server::new().add(test).intercept(rewrite).method("test.Test", options);
        let mut raw = connect(server).await;
        let key = raw.open("Chat", &[]);
        for message in [&b"a"[..], b"", b"b"] {
            raw.message(key, message, false);
        }
        raw.until(|raw| raw.reply(key).data.len() == 4 * 7).await;
        assert!(!raw.reply(key).ended, "it goes on");
        raw.message(key, &vec![b'c'; 200_000], true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), 0);
        let lengths: Vec<_> = reply.messages().iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 2, 2, 200_001, 200_001]);

        let key = raw.call("Download", b"1000 1000");
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.messages().len()), (0, 2_000));
        let key = raw.call("Download", b"3 0");
        let reply = raw.finished(key).await;
        assert_eq!(reply.code(), Code::DataLoss as i32, "the handler's own status");
        assert_eq!(reply.messages().len(), 6, "behind what it sent");

        let key = raw.open("Upload", &[]);
        raw.message(key, b"a", false);
        raw.message(key, b"stop", false);
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.message()), (Code::Aborted as i32, "stopped"));
        // The handler returns while the client has more to say.
        let key = raw.open("Upload", &[]);
        raw.message(key, b"sto", false);
        raw.message(key, b"", false);
        raw.message(key, b"b", true);
        assert_eq!(raw.finished(key).await.ok(), b"2 6");
        let key = raw.open("Chat", &[]);
        raw.message(key, b"panic", false);
        raw.end(key);
        assert_eq!(raw.finished(key).await.code(), 0, "it got panic+");
    }
}
