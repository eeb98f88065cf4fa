//! The runtime under a channel: it goes away, lacks something, or is not there.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use gannet_client::{Answer, BearerToken, Channel, ChannelState, Next, Outgoing};
use gannet_core::{Code, Status};
use tokio::runtime::{Builder, Runtime};

use crate::peer::{Peers, chat, dead_port, download, unary, upload};

/// One whose time stands still.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

async fn poll_once<F: Future>(mut call: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await
}

async fn wait_until(channel: &Channel, state: ChannelState) {
    let waits = async {
        while channel.state() != state {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.expect("it comes to that");
}

#[test]
fn a_channel_outlives_the_runtime_of_its_connection() {
    let (channel, mut peers) = Peers::new();
    let first = runtime();
    let mut peers = first.block_on(async {
        let server = async {
            peers.accept().await.echo().await;
            peers
        };
        let (reply, peers) = tokio::join!(unary(&channel, b"1").into_future(), server);
        reply.unwrap();
        peers
    });
    drop(first);
    assert_eq!(channel.state(), ChannelState::Idle);
    runtime().block_on(async {
        let server = async { peers.accept().await.echo().await };
        let (reply, _) = tokio::join!(unary(&channel, b"2").into_future(), server);
        assert_eq!(reply.unwrap(), b"2");
    });
}

#[test]
fn a_runtime_that_goes_away_while_connecting_strands_nobody() {
    let (channel, mut peers) = Peers::new();
    let first = runtime();
    first.block_on(async {
        let call = unary(&channel, b"").into_future();
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
    });
    assert_eq!(channel.state(), ChannelState::Connecting);
    drop(first);
    assert_eq!(channel.state(), ChannelState::Idle);
    runtime().block_on(async {
        let server = async {
            drop(peers.silent().await);
            peers.accept().await.echo().await
        };
        let (reply, _) = tokio::join!(unary(&channel, b"2").into_future(), server);
        assert_eq!(reply.unwrap(), b"2");
    });
}

/// So many calls must not fail in one go.
const IN_ONE_GO_MAX: usize = 1_000;

/// Who makes calls in a loop that fail at once leaves others their turns, as all that is tokio's
/// does.
#[test]
fn calls_that_fail_at_once_let_others_run() {
    let (closed, with_token) = (Peers::new().0, Peers::new().0);
    closed.close();
    let with_token = with_token.with_credentials(BearerToken::new("secret").unwrap());
    let refusing = Peers::new().0.intercepted(|_: Outgoing, _: Next| async {
        Err::<Answer, _>(Status::resource_exhausted("not today"))
    });
    let nobody = Channel::new(format!("127.0.0.1:{}", dead_port())).unwrap();
    for (what, channel) in
        [("nobody", nobody), ("closed", closed), ("token", with_token), ("refusing", refusing)]
    {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            // From then on nothing has to be waited for.
            unary(&channel, b"").await.unwrap_err();
            let other = tokio::spawn(async {});
            let mut calls = 0;
            while !other.is_finished() {
                unary(&channel, b"").await.unwrap_err();
                calls += 1;
                assert!(calls < IN_ONE_GO_MAX, "{what}: nobody else gets a turn");
            }
        });
    }
}

#[test]
fn on_a_runtime_without_timers_a_call_says_so() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let (channel, _peers) = {
        let _timers = runtime.enter();
        Peers::new()
    };
    let status = runtime.block_on(unary(&channel, b"").into_future()).unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("enable_all"), "{status}");
}

#[test]
fn runtimes_that_end_before_anything_came_of_them_are_told_of_at_last() {
    let (channel, mut peers) = Peers::new();
    let mut call = Box::pin(unary(&channel, b"1").into_future());
    for _ in 0..8 {
        assert!(runtime().block_on(poll_once(call.as_mut())).is_pending());
        assert_eq!(channel.state(), ChannelState::Idle);
    }
    let Poll::Ready(Err(status)) = runtime().block_on(poll_once(call.as_mut())) else {
        panic!("it goes on for ever");
    };
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("enable_all"), "{status}");
    runtime().block_on(async {
        let server = async { peers.accept().await.echo().await };
        let (reply, _) = tokio::join!(unary(&channel, b"2").into_future(), server);
        assert_eq!(reply.unwrap(), b"2", "another call tries for itself");
    });
}

#[test]
fn connections_that_go_before_the_call_looks_are_no_fault_of_the_runtime() {
    let (channel, mut peers) = Peers::new();
    let mut call = Box::pin(unary(&channel, b"1").into_future());
    for _ in 0..3 {
        for _ in 0..7 {
            assert!(runtime().block_on(poll_once(call.as_mut())).is_pending());
        }
        runtime().block_on(async {
            for _ in 0..10 {
                assert!(poll_once(call.as_mut()).await.is_pending());
                let peer = peers.accept().await;
                wait_until(&channel, ChannelState::Ready).await;
                drop(peer);
                wait_until(&channel, ChannelState::Idle).await;
            }
        });
    }
    runtime().block_on(async {
        let server = async { peers.accept().await.echo().await };
        let (reply, _) = tokio::join!(call, server);
        assert_eq!(reply.unwrap(), b"1");
    });
}

#[test]
fn channels_and_calls_may_cross_threads() {
    fn crosses<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let (channel, _peers) = Peers::new();
    is_shared(&channel);
    crosses(&unary(&channel, b"").into_future());
    crosses(&unary(&channel, b"").with_metadata().into_future());
    crosses(&upload(&channel).into_future());
    crosses(&download(&channel, b"").into_future());
    crosses(&chat(&channel).into_future());
}

#[test]
fn without_a_runtime_a_call_says_so() {
    let (channel, _peers) = Peers::new();
    let mut call = Box::pin(unary(&channel, b"").into_future());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(status)) = call.as_mut().poll(&mut cx) else {
        panic!("there is nothing to wait for");
    };
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("tokio runtime"), "{status}");
}
