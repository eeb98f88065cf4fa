//! Call credentials: what is sent, when they are asked, and what becomes of their failures.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_client::{BearerToken, CallCredentials, Channel, CredentialsRequest, Next, Outgoing};
use gannet_core::{Code, Metadata, Result, Status};
use gannet_server::{Incoming, Server};
use gannet_transport::pipe;
use tokio::time::Instant;

use crate::intercept::Log;
use crate::peer::{Peer, Peers, chat, field, unary};
use crate::server::{Test, all_kinds};

/// Says for which service it was asked, and how often.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl CallCredentials for Counted {
    async fn metadata(&self, call: CredentialsRequest) -> Result<Metadata> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let nth = self.0.fetch_add(1, Ordering::SeqCst);
        let mut metadata = Metadata::new();
        metadata.append("x-token", format!("{nth} {}", call.service_uri()))?;
        metadata.append("x-method", call.method().name)?;
        Ok(metadata)
    }
}

struct Failing(Status);

impl CallCredentials for Failing {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        Err(self.0.clone())
    }
}

/// Needs no protection.
struct Public;

impl CallCredentials for Public {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        metadata.append("x-public", "1")?;
        Ok(metadata)
    }

    fn is_secret(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn channel_and_call_credentials_are_sent_behind_the_metadata() {
    let log = Log::default();
    let (channel, mut peers) = Peers::with(|builder| {
        let builder = builder.authority("svc.example:443").allow_credentials_without_tls(true);
        builder.credentials(Counted::default())
    });
    let seen = log.clone();
    let channel = channel.intercepted(move |call: Outgoing, next: Next| {
        seen.add(format!("{call:?}"));
        next.run(call)
    });
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        vec![peer.echo().await, peer.echo().await]
    });
    unary(&channel, b"").header("x-own", "o").await.unwrap();
    let token = BearerToken::new("s3cr3t").unwrap();
    unary(&channel, b"").credentials(token).credentials(Public).await.unwrap();
    let heads = server.await.unwrap();
    let names = |nth: usize| -> Vec<&str> {
        heads[nth].iter().map(|(key, _)| &**key).filter(|key| !key.starts_with(':')).collect()
    };
    let usual = ["te", "content-type", "user-agent"];
    assert_eq!(names(0), [&usual[..], &["x-own", "x-token", "x-method"]].concat());
    assert_eq!(
        names(1),
        [&usual[..], &["x-token", "x-method", "authorization", "x-public"]].concat()
    );
    let uri = "https://svc.example/test.Test";
    assert_eq!(field(&heads[0], "x-token"), Some(&*format!("0 {uri}")));
    assert_eq!(field(&heads[1], "x-token"), Some(&*format!("1 {uri}")));
    assert_eq!(field(&heads[1], "x-method"), Some("Unary"));
    assert_eq!(field(&heads[1], "authorization"), Some("Bearer s3cr3t"));
    let shown = log.take().concat();
    assert!(!shown.contains("cr3t") && !shown.contains("x-token"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn all_kinds_have_credentials() {
    let (connector, listener) = pipe();
    let server = Server::new().add(Test::default()).intercept(
        |call: Incoming, next: gannet_server::Next| async move {
            match call.metadata().get("authorization") {
                Some("Bearer right") => next.run(call).await,
                _ => Err(Status::unauthenticated("who are you?")),
            }
        },
    );
    tokio::spawn(server.serve(listener).into_future());
    let builder = Channel::builder_with_connector(connector).allow_credentials_without_tls(true);
    let channel = builder.build().unwrap();
    all_kinds(&channel.with_credentials(BearerToken::new("right").unwrap())).await;
    let wrong = channel.with_credentials(BearerToken::new("wrong").unwrap());
    for channel in [&wrong, &channel] {
        assert_eq!(unary(channel, b"").await.unwrap_err().code(), Code::Unauthenticated);
        let (_tx, mut rx) = chat(channel).await.unwrap();
        assert_eq!(rx.next().await.unwrap_err().message(), "who are you?");
    }
}

/// Whatever its name: what came never-indexed is a secret for who receives it, and leaves as one.
#[tokio::test(start_paused = true)]
async fn secrets_stay_secrets_on_their_way() {
    let log = Log::default();
    let seen = log.clone();
    let (connector, listener) = pipe();
    let server = Server::new().add(Test::default()).intercept(
        move |mut call: Incoming, next: gannet_server::Next| {
            seen.add(format!("{:?}", call.metadata()));
            async move {
                let received = call.metadata().clone();
                call.headers_mut().extend_from(&received)?;
                call.trailers_mut().extend_from(&received)?;
                next.run(call).await
            }
        },
    );
    tokio::spawn(server.serve(listener).into_future());
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    let mut metadata = Metadata::new();
    metadata.insert("x-api-key", "abc123").unwrap();
    metadata.set_all_sensitive();
    metadata.insert("x-tenant", "acme").unwrap();
    for message in [b"good", b"fail"] {
        let call = unary(&channel, message).metadata(metadata.clone()).with_metadata();
        let answers = match call.await {
            Ok((_, got)) => vec![got.headers, got.trailers],
            Err(status) => vec![status.metadata().clone()],
        };
        for answer in answers {
            assert_eq!(answer.get("x-api-key"), Some("abc123"));
            let told = format!("{answer:?}");
            assert!(told.contains("x-api-key: (secret), x-tenant: acme"), "{told}");
        }
        let told = log.take().concat();
        assert!(told.contains("x-api-key: (secret), x-tenant: acme"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_tls_they_are_not_sent() {
    let counted = Counted::default();
    let (channel, mut peers) = Peers::with(|builder| builder.credentials(counted.clone()));
    for status in [
        unary(&channel, b"").await.unwrap_err(),
        chat(&channel).await.unwrap_err(),
        unary(&channel, b"").wait_for_ready(true).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains("allow_credentials_without_tls"), "{status}");
    }
    assert_eq!(counted.0.load(Ordering::SeqCst), 0, "they are not even asked");
    drop(channel);
    assert!(peers.nobody_left().await, "nor is there a connection");
    // Those that are no secret are.
    let (channel, mut peers) = Peers::with(|builder| builder.credentials(Public));
    let server = async { peers.accept().await.echo().await };
    let (reply, head) = tokio::join!(unary(&channel, b"").into_future(), server);
    reply.unwrap();
    assert_eq!(field(&head, "x-public"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn their_failures_end_calls_as_a54_says() {
    let (base, mut peers) = Peers::with(|builder| builder.allow_credentials_without_tls(true));
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    for code in (1..17).map(Code::from) {
        let channel = base.with_credentials(Failing(Status::new(code, "told so")));
        let status = unary(&channel, b"").await.unwrap_err();
        let want = match code {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss => Code::Internal,
            code => code,
        };
        assert_eq!(status.code(), want, "{code}");
        assert!(status.message().contains("told so"), "{status}");
        if want != code {
            assert!(status.message().contains(&code.to_string()), "{status}");
        }
    }
    // One that the interceptors around it may try again.
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let failing = base.with_credentials(Failing(Status::unavailable("for now")));
    let again = failing.intercepted(move |call: Outgoing, next: Next| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            match next.run(call.clone()).await {
                Err(status) if status.code() == Code::Unavailable => next.run(call).await,
                other => other,
            }
        }
    });
    assert_eq!(unary(&again, b"").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(unary(&base, b"ok").await.unwrap(), b"ok");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop((base, failing, again));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_while_they_are_asked() {
    struct Slow;
    impl CallCredentials for Slow {
        async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
            std::future::pending().await
        }
    }
    let (channel, mut peers) = Peers::with(|builder| builder.allow_credentials_without_tls(true));
    let server = tokio::spawn(async move { peers.accept().await.echo_all().await });
    let started = Instant::now();
    let call = unary(&channel, b"").credentials(Slow).timeout(Duration::from_secs(3));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 3);
    drop(channel);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_moves_to_another_connection_asks_again() {
    let counted = Counted::default();
    let (channel, mut peers) = Peers::with(|builder| {
        builder.allow_credentials_without_tls(true).credentials(counted.clone())
    });
    let server = async {
        let mut first = peers.accept().await;
        let (key, fields) = first.request().await;
        assert!(field(&fields, "x-token").unwrap().starts_with("0 "));
        first.body(key).await;
        // The server has not seen it: the client makes it again elsewhere.
        first.conn.goaway(gannet_http2::Reason::NO_ERROR, b"");
        first.reset(key, gannet_http2::Reason::REFUSED_STREAM);
        first.flush().await;
        let mut second: Peer = peers.accept().await;
        let fields = second.echo().await;
        (first, second, fields)
    };
    let call = unary(&channel, b"").header("x-own", "o");
    let (reply, (_first, _second, fields)) = tokio::join!(call.into_future(), server);
    reply.unwrap();
    let tokens: Vec<_> = fields.iter().filter(|(key, _)| key == "x-token").collect();
    assert_eq!(tokens.len(), 1, "{fields:?}");
    assert!(tokens[0].1.starts_with("1 "), "{fields:?}");
    assert_eq!(field(&fields, "x-own"), Some("o"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_unseen_keeps_them_on_its_connection() {
    let counted = Counted::default();
    let (channel, mut peers) = Peers::with(|builder| {
        builder.allow_credentials_without_tls(true).credentials(counted.clone())
    });
    let server = async {
        let mut peer = peers.accept().await;
        let (key, first) = peer.request().await;
        peer.body(key).await;
        peer.reset(key, gannet_http2::Reason::REFUSED_STREAM);
        peer.flush().await;
        let second = peer.echo().await;
        (peer, first, second)
    };
    let (reply, (_peer, first, second)) = tokio::join!(unary(&channel, b"").into_future(), server);
    reply.unwrap();
    assert!(field(&first, "x-token").unwrap().starts_with("0 "));
    assert_eq!(first, second);
    assert_eq!(counted.0.load(Ordering::SeqCst), 1);
}

#[cfg(feature = "_tls")]
#[tokio::test]
async fn over_tls_they_are_sent() {
    use gannet_transport::Listener;
    use gannet_transport::tls::ServerTls;
    let authority = crate::tls::Authority::new();
    let tls = ServerTls::new(authority.identity("localhost")).unwrap();
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = format!("localhost:{}", listener.local_addr().unwrap().port());
    let seen = Log::default();
    let log = seen.clone();
    let server = Server::new().add(Test::default()).intercept(
        move |call: Incoming, next: gannet_server::Next| {
            log.add(call.metadata().get("authorization").unwrap_or_default());
            next.run(call)
        },
    );
    tokio::spawn(server.serve(listener.tls(tls)).into_future());
    let channel = Channel::builder(target).tls(authority.client().build().unwrap());
    let channel = channel.credentials(BearerToken::new("right").unwrap()).build().unwrap();
    all_kinds(&channel).await;
    assert_eq!(seen.take(), ["Bearer right"; 4]);
}

struct Key;

impl CallCredentials for Key {
    async fn metadata(&self, _: CredentialsRequest) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        metadata.append("x-api-key", "k3yk3yk3yk3yk3y")?;
        Ok(metadata)
    }
}

/// How many bytes the last of some calls with the same key is on the wire.
async fn bytes_of_a_call(channel: Channel, mut peers: Peers, is_plain: bool) -> usize {
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut bytes = 0;
        for _ in 0..6 {
            let before = peer.received_bytes;
            let fields = peer.echo().await;
            assert_eq!(field(&fields, "x-api-key"), Some("k3yk3yk3yk3yk3y"));
            bytes = peer.received_bytes - before;
        }
        bytes
    });
    for _ in 0..6 {
        let call = unary(&channel, b"");
        let call = if is_plain { call.header("x-api-key", "k3yk3yk3yk3yk3y") } else { call };
        call.await.unwrap();
    }
    server.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_header_compression_keeps_what_credentials_give() {
    let (channel, peers) = Peers::new();
    let plain = bytes_of_a_call(channel, peers, true).await;
    let (channel, peers) = Peers::with(|b| b.allow_credentials_without_tls(true).credentials(Key));
    let secret = bytes_of_a_call(channel, peers, false).await;
    assert!(secret >= plain + 15, "{secret} bytes, and {plain} where it is no secret");
}
