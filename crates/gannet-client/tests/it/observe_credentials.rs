//! What observers are told of calls whose credentials fail, hang, or may not be sent.

use std::future::pending;
use std::time::Duration;

use gannet_client::{CallCredentials, Channel, CredentialsRequest};
use gannet_core::{Metadata, Result, Status};

use crate::observe::Log;
use crate::peer::{Peers, chat, dead_port, unary};

/// Fails, or never ends.
struct Bad(Option<Status>);

impl CallCredentials for Bad {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        match &self.0 {
            Some(status) => Err(status.clone()),
            None => pending().await,
        }
    }
}

fn bad(log: &Log, why: Option<Status>, without_tls: bool) -> (Channel, Peers) {
    Peers::with(|builder| {
        let builder = builder.observe(log.clone()).credentials(Bad(why));
        builder.allow_credentials_without_tls(without_tls)
    })
}

/// Whoever connects is kept.
async fn keep(mut peers: Peers) {
    let _peer = peers.accept().await;
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_as_its_credentials_do() {
    let cases = [
        (Status::unavailable("no token"), "Unavailable after 0 s"),
        (Status::unauthenticated("no token"), "Unauthenticated after 0 s"),
        // A server's alone to say (gRFC A54).
        (Status::invalid_argument("no token"), "Internal after 0 s"),
    ];
    for (why, told) in cases {
        let log = Log::default();
        let (channel, peers) = bad(&log, Some(why), true);
        let kept = tokio::spawn(keep(peers));
        unary(&channel, b"").await.unwrap_err();
        assert_eq!(log.of("attempt: "), ["0", told]);
        assert_eq!(log.of("call: ").last().unwrap(), told);
        log.take();
        chat(&channel).await.map(drop).unwrap_err();
        assert_eq!(log.of("attempt: "), ["0", told], "a stream");
        assert_eq!(log.of("call: ").last().unwrap(), told);
        kept.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_credentials_hang_ends_at_the_deadline() {
    let log = Log::default();
    let (channel, peers) = bad(&log, None, true);
    let kept = tokio::spawn(keep(peers));
    let status = unary(&channel, b"").timeout(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(log.of("attempt: "), ["0", "DeadlineExceeded after 3 s"], "{status}");
    assert_eq!(log.of("call: ").last().unwrap(), "DeadlineExceeded after 3 s");
    kept.abort();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_connection_is_an_attempt_that_failed() {
    let log = Log::default();
    let builder = Channel::builder(format!("127.0.0.1:{}", dead_port())).observe(log.clone());
    let builder = builder.credentials(Bad(None)).allow_credentials_without_tls(true);
    unary(&builder.build().unwrap(), b"").await.unwrap_err();
    assert_eq!(log.of("attempt: "), ["0", "Unavailable after 0 s"]);
    assert_eq!(log.of("call: ").last().unwrap(), "Unavailable after 0 s");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_credentials_may_not_be_sent_is_not_tried() {
    let log = Log::default();
    let (channel, _peers) = bad(&log, None, false);
    unary(&channel, b"").await.unwrap_err();
    assert_eq!(log.of("attempt: "), Vec::<String>::new());
    assert_eq!(log.of("call: ").last().unwrap(), "Unauthenticated after 0 s");
}
