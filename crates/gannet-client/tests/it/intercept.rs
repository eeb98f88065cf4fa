//! Interceptors of a client around unary calls: what they can see, change, repeat and answer.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_client::{Answer, Channel, Interceptor, Next, Outgoing};
use gannet_core::codec::Raw;
use gannet_core::compression::{Compressors, Encoding};
use gannet_core::{Code, Result, Status};
use tokio::time::Instant;

use crate::peer::{Bytes, OK, Peers, UNARY, field, unary};
use crate::server::{Test, serve};

/// What interceptors saw, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Logs when a call goes and when it comes back.
struct Named(&'static str, Log);

impl Interceptor for Named {
    async fn intercept(&self, mut call: Outgoing, next: Next) -> Result<Answer> {
        self.1.add(format!("> {}", self.0));
        call.metadata_mut().append("x-by", self.0)?;
        let result = next.run(call).await;
        self.1.add(format!("< {}", self.0));
        result
    }
}

#[tokio::test(start_paused = true)]
async fn several_wrap_each_other_and_share_the_connection() {
    let log = Log::default();
    let (base, mut peers) = Peers::with(|builder| {
        builder.intercept(Named("a", log.clone())).intercept(Named("b", log.clone()))
    });
    let derived = base.intercepted(Named("outer", log.clone()));
    let server = tokio::spawn(async move {
        let mut peer = peers.accept().await;
        let mut stamps = Vec::new();
        for _ in 0..2 {
            let fields = peer.echo().await;
            let by = fields.iter().filter(|(key, _)| key == "x-by");
            stamps.push(by.map(|(_, value)| value.clone()).collect::<Vec<_>>());
        }
        stamps
    });
    assert_eq!(unary(&base, b"1").await.unwrap(), b"1");
    assert_eq!(log.take(), ["> a", "> b", "< b", "< a"]);
    assert_eq!(unary(&derived, b"2").await.unwrap(), b"2");
    assert_eq!(log.take(), ["> outer", "> a", "> b", "< b", "< a", "< outer"]);
    assert_eq!(server.await.unwrap(), [vec!["a", "b"], vec!["outer", "a", "b"]]);
    assert_eq!(base.state(), derived.state());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_can_be_seen_and_changed() {
    let (channel, mut peers) = Peers::new();
    let channel = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        assert!(std::ptr::eq(call.method(), &raw const UNARY));
        assert_eq!(call.metadata().get("x-in"), Some("app"));
        assert_eq!(call.message()?.as_deref(), Some(&b"hello"[..]));
        assert_eq!(call.extensions().get::<u32>(), Some(&7));
        call.metadata_mut().insert("x-in", "changed")?;
        assert!(call.deadline().is_none());
        call.shorten_timeout(Duration::from_secs(2));
        call.shorten_timeout(Duration::MAX);
        call.shorten_timeout(Duration::from_secs(3));
        call.set_message(&b"other"[..])?;
        let mut answer = next.run(call).await?;
        assert_eq!(answer.message()?.as_deref(), Some(&b"OTHER"[..]));
        assert_eq!(answer.headers().await?.get("x-head"), Some("h"));
        assert_eq!(answer.trailers().unwrap().get("x-trail"), Some("t"));
        answer.headers_mut().unwrap().insert("x-head", "h2")?;
        answer.set_response::<Raw, Bytes>(&b"answer".to_vec())?;
        answer.trailers_mut().unwrap().insert("x-more", "m")?;
        answer.first().await?;
        Ok(answer)
    });
    let server = async {
        let mut peer = peers.accept().await;
        let (key, fields, message) = peer.unary().await;
        assert_eq!(message, b"other");
        assert_eq!(field(&fields, "x-in"), Some("changed"));
        assert_eq!(field(&fields, "grpc-timeout"), Some("2000m"));
        let head = [crate::peer::HEAD, &[("x-head", "h")]].concat();
        peer.headers(key, &head, false);
        peer.data(key, &crate::peer::framed(b"OTHER"), false);
        peer.trailers(key, &[("grpc-status", "0"), ("x-trail", "t")]);
        peer.flush().await;
        peer
    };
    let call = unary(&channel, b"hello").header("x-in", "app").extension(7_u32).with_metadata();
    let (reply, _peer) = tokio::join!(call.into_future(), server);
    let (message, metadata) = reply.unwrap();
    assert_eq!(message, b"answer");
    assert_eq!(metadata.headers.get("x-head"), Some("h2"));
    assert_eq!(metadata.trailers.get("x-trail"), Some("t"));
    assert_eq!(metadata.trailers.get("x-more"), Some("m"));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_again_by_what_the_trailers_say() {
    let (channel, mut peers) = Peers::new();
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        loop {
            match next.run(call.clone()).await {
                Err(status) if status.metadata().get("x-again") == Some("yes") => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => return other,
            }
        }
    });
    let server = async {
        let mut peer = peers.accept().await;
        for again in ["yes", "yes", "no"] {
            let (key, _, message) = peer.unary().await;
            assert_eq!(message, b"once more");
            let trailers = [("grpc-status", "14"), ("grpc-message", "busy"), ("x-again", again)];
            peer.respond(key, &[], &trailers).await;
        }
        peer
    };
    let started = Instant::now();
    let (reply, _peer) = tokio::join!(unary(&channel, b"once more").into_future(), server);
    let status = reply.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "busy"));
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_need_no_connection() {
    let dead = format!("127.0.0.1:{}", crate::peer::dead_port());
    let channel = Channel::new(dead).unwrap();
    let cached = channel.intercepted(|call: Outgoing, _: Next| async move {
        let mut message = call.message()?.unwrap_or_default().into_owned();
        message.make_ascii_uppercase();
        let mut answer = call.answer::<Raw, Bytes>(&message)?;
        answer.trailers_mut().unwrap().insert("x-from", "cache")?;
        Ok(answer)
    });
    let (message, metadata) = unary(&cached, b"hello").with_metadata().await.unwrap();
    assert_eq!(message, b"HELLO");
    assert_eq!(metadata.trailers.get("x-from"), Some("cache"));
    let refused = channel.intercepted(|_: Outgoing, _: Next| async move {
        Err(Status::permission_denied("not from here"))
    });
    let status = unary(&refused, b"hello").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(unary(&channel, b"hello").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn attempts_can_run_side_by_side() {
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let hedged = channel.intercepted(|call: Outgoing, next: Next| async move {
        let mut second = call.clone();
        second.set_message(&b"quick"[..])?;
        let (first, second) = (next.run(call), next.run(second));
        tokio::select! {
            answer = first => answer,
            answer = second => answer,
        }
    });
    assert_eq!(unary(&hedged, b"wait").await.unwrap(), b"quick");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 2, "the slower one was cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_whatever_the_interceptor_waits_for() {
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let timed = async |channel: &Channel, message: &[u8]| {
        let started = Instant::now();
        let status = unary(channel, message).timeout(Duration::from_secs(5)).await.unwrap_err();
        (status.code(), started.elapsed().as_secs())
    };
    let late = (Code::DeadlineExceeded, 5);
    let idle = channel.intercepted(|_: Outgoing, _: Next| std::future::pending::<Result<Answer>>());
    assert_eq!(timed(&idle, b"x").await, late);
    // The other call is intercepted, too, and has no deadline.
    let pass = channel.intercepted(|call: Outgoing, next: Next| next.run(call));
    let other = pass.clone();
    let nested = pass.intercepted(move |call: Outgoing, next: Next| {
        let other = other.clone();
        async move {
            unary(&other, b"wait").await?;
            next.run(call).await
        }
    });
    assert_eq!(timed(&nested, b"x").await, late);
    assert_eq!(timed(&pass, b"wait").await, late);
    let shorter = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        call.shorten_timeout(Duration::from_secs(2));
        next.run(call).await
    });
    assert_eq!(timed(&shorter, b"wait").await, (Code::DeadlineExceeded, 2));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 3, "all handlers that began are gone");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_its_interceptors_and_cancels() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (test, dropped) = (Test::default(), Arc::new(AtomicUsize::new(0)));
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let counter = Arc::clone(&dropped);
    let channel = channel.intercepted(move |call: Outgoing, next: Next| {
        let gone = Gone(Arc::clone(&counter));
        async move {
            let answer = next.run(call).await;
            drop(gone);
            answer
        }
    });
    let call = unary(&channel, b"wait").into_future();
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(test.gone.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn compressed_messages_are_shown_and_sent_as_they_should() {
    let (channel, mut peers) = Peers::with(|builder| {
        builder.compressors(Compressors::built_in()).compress(Encoding::GZIP).max_send_bytes(4000)
    });
    let channel = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        assert_eq!(call.message()?.as_deref(), Some(&[7; 500][..]));
        let too_long = call.set_message(vec![8; 4001]).unwrap_err();
        assert_eq!(too_long.code(), Code::ResourceExhausted);
        call.set_message(vec![8; 600])?;
        next.run(call).await
    });
    let server = async {
        let mut peer = peers.accept().await;
        let (key, fields) = peer.request().await;
        let body = peer.body(key).await;
        peer.respond(key, &[b""], OK).await;
        (field(&fields, "grpc-encoding").map(str::to_owned), body)
    };
    let (reply, (encoding, body)) = tokio::join!(unary(&channel, &[7; 500]).into_future(), server);
    reply.unwrap();
    assert_eq!((encoding.as_deref(), body[0]), (Some("gzip"), 1));
    assert!(body.len() < 100, "{} bytes", body.len());
}

#[tokio::test(start_paused = true)]
async fn observers_of_a_unary_call_are_shown_it_at_once() {
    let log = Log::default();
    let test = Test::default();
    let (channel, seen) = (Channel::builder_with_connector(serve(&test)), log.clone());
    let channel = channel.intercept(move |call: Outgoing, next: Next| {
        let log = seen.clone();
        async move {
            let mut answer = next.run(call).await?;
            let (headers, message, end) = (log.clone(), log.clone(), log);
            answer.observe_headers(move |headers_| {
                headers.add(format!("{:?}", headers_.get("x-head")));
            });
            answer.observe_responses(move |response| {
                message.add(format!("{} {:?}", response.number, response.payload));
                match response.payload {
                    b"bad" => Err(Status::data_loss("torn")),
                    _ => Ok(()),
                }
            });
            answer.observe_end(move |outcome| {
                end.add(format!("{:?}", outcome.map(|trailers| trailers.get("x-trail").is_some())));
            });
            Ok(answer)
        }
    });
    let channel = channel.build().unwrap();
    assert_eq!(unary(&channel, b"m").header("x-in", "v").await.unwrap(), b"m");
    assert_eq!(log.take(), ["Some(\"v\")", "0 [109]", "Ok(true)"]);
    assert_eq!(unary(&channel, b"bad").await.unwrap_err().code(), Code::DataLoss);
}

#[tokio::test(start_paused = true)]
async fn an_answer_belongs_to_its_method() {
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let kept: Arc<Mutex<Option<Answer>>> = Arc::default();
    let mixed = channel.intercepted(move |call: Outgoing, next: Next| {
        let kept = Arc::clone(&kept);
        async move {
            let answer = next.run(call).await?;
            let other = kept.lock().unwrap().replace(answer);
            other.ok_or_else(|| Status::aborted("none yet"))
        }
    });
    let first = crate::peer::download(&mixed, b"1").await.unwrap_err();
    assert_eq!(first.code(), Code::Aborted);
    let status = unary(&mixed, b"x").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("/test.Test/Download"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_can_let_a_call_wait_for_a_connection() {
    let (connector, listener) = gannet_transport::pipe();
    drop(listener);
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    assert_eq!(unary(&channel, b"").await.unwrap_err().code(), Code::Unavailable);
    let patient = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        assert!(!call.wait_for_ready());
        call.set_wait_for_ready(true);
        next.run(call).await
    });
    let call = unary(&patient, b"").timeout(Duration::from_secs(30));
    let started = Instant::now();
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_after_an_attempt_that_was_given_up() {
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        let attempt = tokio::time::timeout(Duration::from_secs(1), next.run(call.clone())).await;
        if let Ok(answer) = attempt {
            return answer;
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        next.run(call).await
    });
    let started = Instant::now();
    let status = unary(&channel, b"wait").timeout(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 5));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_an_interceptor_makes_the_call_of_another() {
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    let kept: Arc<Mutex<Option<(Outgoing, Next)>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let keeping = channel.intercepted(move |call: Outgoing, next: Next| {
        let first = keep.lock().unwrap().take();
        let keep = Arc::clone(&keep);
        async move {
            match first {
                Some((call, next)) => next.run(call).await,
                None => {
                    *keep.lock().unwrap() = Some((call, next));
                    Err(Status::aborted("kept"))
                }
            }
        }
    });
    unary(&keeping, b"wait").await.unwrap_err();
    let started = Instant::now();
    let call = unary(&keeping, b"x").timeout(Duration::from_secs(5)).into_future();
    let ended = tokio::time::timeout(Duration::from_secs(60), call).await;
    assert!(ended.is_ok(), "hangs");
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_after_an_attempt_that_waited_for_a_connection() {
    let (channel, peers) = Peers::new();
    let channel = channel.intercepted(|call: Outgoing, next: Next| async move {
        let attempt = tokio::time::timeout(Duration::from_secs(1), next.run(call.clone())).await;
        if let Ok(answer) = attempt {
            return answer;
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        Err(Status::aborted("slept"))
    });
    let started = Instant::now();
    let status = unary(&channel, b"wait")
        .wait_for_ready(true)
        .timeout(Duration::from_secs(5))
        .await
        .unwrap_err();
    drop(peers);
    assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 5));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_after_an_attempt_whose_credentials_hung() {
    struct Slow;
    impl gannet_client::CallCredentials for Slow {
        async fn metadata(
            &self,
            _: gannet_client::CredentialsRequest,
        ) -> Result<gannet_core::Metadata> {
            std::future::pending().await
        }
        fn is_secret(&self) -> bool {
            false
        }
    }
    let test = Test::default();
    let channel = Channel::builder_with_connector(serve(&test)).build().unwrap();
    unary(&channel, b"x").await.unwrap();
    let channel =
        channel.with_credentials(Slow).intercepted(|call: Outgoing, next: Next| async move {
            let attempt =
                tokio::time::timeout(Duration::from_secs(1), next.run(call.clone())).await;
            if let Ok(answer) = attempt {
                return answer;
            }
            tokio::time::sleep(Duration::from_secs(100)).await;
            Err(Status::aborted("slept"))
        });
    let started = Instant::now();
    let status = unary(&channel, b"wait").timeout(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((status.code(), started.elapsed().as_secs()), (Code::DeadlineExceeded, 5));
}

#[test]
fn outside_of_a_runtime_a_call_that_needs_one_says_so() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = Test::default();
    let channel = runtime.block_on(async {
        let builder = Channel::builder_with_connector(serve(&test));
        let channel = builder.allow_credentials_without_tls(true).build().unwrap();
        unary(&channel, b"x").await.unwrap();
        channel
    });
    let slow = channel.intercepted(|_: Outgoing, _: Next| std::future::pending::<Result<Answer>>());
    let shown = channel.with_credentials(gannet_client::BearerToken::new("x").unwrap());
    for channel in [&slow, &shown] {
        let call = unary(channel, b"x").timeout(Duration::from_secs(5)).into_future();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(ended) = std::pin::pin!(call).poll(&mut cx) else {
            panic!("it waits for what never comes");
        };
        let status = ended.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().contains("needs a tokio runtime"), "{status}");
    }
}
