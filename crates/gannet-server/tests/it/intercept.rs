//! Interceptors: what they can see, change, refuse and answer, and what is left of it.

mod messages;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_core::codec::Raw as RawCodec;
use gannet_core::{Code, Status};
use gannet_server::{
    Dispatch, Handled, Incoming, Interceptor, MethodOptions, Next, ServeError, Server,
};
use tokio::time::Instant;

use crate::client::connect;
use crate::service::Test;

const UNAUTHENTICATED: i32 = Code::Unauthenticated as i32;

/// What interceptors saw, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_reaches_no_handler_and_nothing_is_decoded() {
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new().add(test).intercept(|mut call: Incoming, next: Next| async move {
        if call.metadata().get("authorization") != Some("Bearer right") {
            call.trailers_mut().insert("www-authenticate", "Bearer").unwrap();
            return Err(Status::unauthenticated("who are you?"));
        }
        next.run(call).await
    });
    let mut raw = connect(server).await;
    // The codec of this method refuses what begins with 0xff; its handler was never asked.
    let reply = raw.unary("Echo", b"\xff").await;
    assert_eq!((reply.code(), reply.message()), (UNAUTHENTICATED, "who are you?"));
    assert_eq!(reply.trailer("www-authenticate"), Some("Bearer"), "{reply:?}");
    assert!(reply.trailers_only);
    for method in ["Wait", "Upload", "Download", "Chat"] {
        let key = raw.open(method, &[("authorization", "Bearer wrong")]);
        raw.message(key, b"1 1", true);
        assert_eq!(raw.finished(key).await.code(), UNAUTHENTICATED, "{method}");
    }
    assert_eq!(world.started(), 0);
    let key = raw.open("Echo", &[("authorization", "Bearer right")]);
    raw.message(key, b"\xff", true);
    assert_eq!(raw.finished(key).await.code(), Code::Internal as i32, "now it is decoded");
    let key = raw.open("Upload", &[("authorization", "Bearer right")]);
    raw.message(key, b"one", true);
    assert_eq!(raw.finished(key).await.ok(), b"1 3");
}

/// Looks at a call across an await, as real ones do, so that calls must be `Sync`.
async fn lookup(call: &Incoming) -> bool {
    tokio::task::yield_now().await;
    call.metadata().contains("authorization")
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_borrowed_while_something_is_awaited() {
    let server =
        Server::new().add(Test::new()).intercept(|call: Incoming, next: Next| async move {
            if lookup(&call).await {
                next.run(call).await
            } else {
                Err(Status::unauthenticated(""))
            }
        });
    let mut raw = connect(server).await;
    assert_eq!(raw.unary("Echo", b"m").await.code(), UNAUTHENTICATED);
    let key = raw.open("Echo", &[("authorization", "any")]);
    raw.message(key, b"m", true);
    assert_eq!(raw.finished(key).await.ok(), b"m");
}

#[tokio::test(start_paused = true)]
async fn they_wrap_each_other_in_the_order_in_which_they_were_added() {
    let log = Log::default();
    let named = |name: &'static str, log: &Log| {
        let log = log.clone();
        move |call: Incoming, next: Next| {
            let log = log.clone();
            async move {
                log.add(format!("{name} in"));
                let result = next.run(call).await;
                log.add(format!("{name} out {}", result.is_ok()));
                result
            }
        }
    };
    let server = Server::new()
        .add(Test::new())
        .intercept(named("a", &log))
        .intercept_on("/test.Test/Echo", named("b", &log))
        .intercept(named("c", &log))
        .intercept_on("test.Test", named("d", &log));
    let mut raw = connect(server).await;
    assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
    let outs = ["d out true", "c out true", "b out true", "a out true"];
    assert_eq!(log.take(), [&["a in", "b in", "c in", "d in"][..], &outs].concat());
    assert_eq!(raw.unary("Fail", b"5").await.code(), 5);
    assert_eq!(log.take(), ["a in", "c in", "d in", "d out false", "c out false", "a out false"]);
}

/// Runs on a service's path so that it cannot be a closure.
struct Stamp(&'static str);

impl Interceptor for Stamp {
    async fn intercept(&self, mut call: Incoming, next: Next) -> gannet_core::Result<Handled> {
        tokio::task::yield_now().await;
        call.metadata_mut().insert("x-in", self.0).unwrap();
        call.metadata_mut().remove("x-gone");
        call.headers_mut().insert("x-head", self.0).unwrap();
        call.extensions_mut().insert(self.0);
        let mut handled = next.run(call).await?;
        assert_eq!(handled.extensions().get::<&str>(), Some(&self.0));
        assert_eq!(handled.headers_mut().get("x-out"), Some(self.0), "as the handler left it");
        handled.trailers_mut().insert("x-after", "yes").unwrap();
        Ok(handled)
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_sees_what_was_changed_and_the_client_what_both_made() {
    let server = Server::new().add(Test::new()).intercept(Stamp("stamped"));
    let mut raw = connect(server).await;
    for n in 0..3 {
        let key = raw.open("Meta", &[("x-in", "original"), ("x-gone", "1")]);
        raw.message(key, b"m", true);
        let reply = raw.finished(key).await;
        assert_eq!(reply.ok(), b"m", "{n}");
        assert_eq!(reply.header("x-head"), Some("stamped"));
        assert_eq!(reply.header("x-out"), Some("stamped"));
        assert!(reply.trailer("x-told").is_some_and(|told| told.contains("Meta")), "{reply:?}");
        assert_eq!(reply.trailer("x-after"), Some("yes"));
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_handler_that_failed_survive_whatever_is_returned() {
    let server =
        Server::new().add(Test::new()).intercept(|call: Incoming, next: Next| async move {
            let is_mapped = call.metadata().contains("x-map");
            next.run(call).await.map_err(|mut status| {
                status.metadata_mut().insert("x-seen", "yes").unwrap();
                if is_mapped { Status::aborted("mapped") } else { status }
            })
        });
    let mut raw = connect(server).await;
    let key = raw.open("MetaStream", &[]);
    raw.message(key, b"m", true);
    let reply = raw.finished(key).await;
    assert_eq!((reply.code(), reply.trailer("x-end")), (Code::Unavailable as i32, Some("4")));
    assert_eq!(reply.trailer("x-seen"), Some("yes"));
    assert_eq!((reply.header("x-first"), reply.header("x-second")), (Some("1"), Some("2")));
    let key = raw.open("MetaStream", &[("x-map", "1")]);
    raw.message(key, b"m", true);
    let reply = raw.finished(key).await;
    assert_eq!((reply.code(), reply.message()), (Code::Aborted as i32, "mapped"));
    assert_eq!((reply.trailer("x-end"), reply.trailer("x-seen")), (Some("4"), None));
    let reply = raw.unary("Fail", b"9").await;
    assert_eq!((reply.code(), reply.trailer("x-why")), (9, Some("because")));
}

#[tokio::test(start_paused = true)]
async fn it_can_answer_by_itself() {
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new().add(test).intercept(|mut call: Incoming, _: Next| async move {
        call.headers_mut().insert("x-by", "interceptor").unwrap();
        if let Some(mut requests) = call.take_requests::<RawCodec, Vec<u8>>() {
            assert!(call.take_requests::<RawCodec, Vec<u8>>().is_none());
            let mut count = 0_u8;
            while requests.next().await?.is_some() {
                count += 1;
            }
            if call.method().kind.server_streams() {
                let mut replies = call.replies::<RawCodec, Vec<u8>>();
                for n in 0..count {
                    replies.send(vec![n]).await?;
                }
                return call.finish();
            }
            return call.answer::<RawCodec, _>(&vec![count]);
        }
        if call.method().kind.server_streams() {
            return call.answer::<RawCodec, _>(&Vec::new());
        }
        let asked = call.message()?.unwrap().to_vec();
        call.answer::<RawCodec, _>(&[b"re: ", &asked[..]].concat())
    });
    let mut raw = connect(server).await;
    let reply = raw.unary("Wait", b"this").await;
    assert_eq!((&*reply.ok(), reply.header("x-by")), (&b"re: this"[..], Some("interceptor")));
    for (method, expected) in [("Upload", vec![vec![3]]), ("Chat", vec![vec![0], vec![1], vec![2]])]
    {
        let key = raw.open(method, &[]);
        for _ in 0..3 {
            raw.message(key, b"m", false);
        }
        raw.end(key);
        let reply = raw.finished(key).await;
        assert_eq!((reply.code(), reply.messages()), (0, expected), "{method} {reply:?}");
        assert_eq!(reply.header("x-by"), Some("interceptor"));
    }
    let reply = raw.unary("Download", b"1 1").await;
    assert_eq!(reply.code(), Code::Internal as i32, "one reply of a stream: {reply:?}");
    assert_eq!(world.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn panics_are_unknown_wherever_they_come_from() {
    let outcomes = Log::default();
    let seen = outcomes.clone();
    let server = Server::new().add(Test::new()).intercept(move |call: Incoming, next: Next| {
        let seen = seen.clone();
        async move {
            assert!(!call.metadata().contains("x-panic"), "told to");
            let result = next.run(call).await;
            seen.add(format!("{:?}", result.as_ref().map_or_else(Status::code, |_| Code::Ok)));
            result
        }
    });
    let mut raw = connect(server).await;
    let key = raw.open("Echo", &[("x-panic", "1")]);
    raw.message(key, b"m", true);
    assert_eq!(raw.finished(key).await.code(), Code::Unknown as i32);
    assert_eq!(outcomes.take(), [""; 0]);
    let reply = raw.unary("Panic", b"m").await;
    assert_eq!((reply.code(), reply.message()), (Code::Unknown as i32, "the handler panicked"));
    assert_eq!(outcomes.take(), ["Unknown"], "interceptors learn of it");
    assert_eq!(raw.unary("Panic", b"no panic").await.ok(), b"no panic");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_drops_interceptor_and_handler() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let gone = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&gone);
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new().add(test).intercept(move |call: Incoming, next: Next| {
        let gone = Gone(Arc::clone(&counter));
        async move {
            let result = next.run(call).await;
            drop(gone);
            result
        }
    });
    let mut raw = connect(server).await;
    let key = raw.call("Wait", b"m");
    raw.flush().await;
    world.settle(|world| world.started() == 1).await;
    raw.reset(key);
    raw.flush().await;
    world.settle(|world| world.gone() == 1).await;
    assert_eq!(gone.load(Ordering::SeqCst), 1);
    let key = raw.open("Wait", &[("grpc-timeout", "10m")]);
    raw.message(key, b"m", true);
    assert_eq!(raw.finished(key).await.code(), Code::DeadlineExceeded as i32);
    assert_eq!((world.gone(), gone.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn deadlines_can_be_shortened_by_interceptors_and_by_options() {
    let test = Test::new();
    let world = test.world.clone();
    let server = Server::new()
        .add(test)
        .method("/test.Test/Upload", MethodOptions::new().timeout(Duration::from_secs(3)))
        .intercept_on("/test.Test/Wait", |mut call: Incoming, next: Next| async move {
            call.shorten_timeout(Duration::from_secs(2));
            call.shorten_timeout(Duration::from_secs(9));
            let left = call.time_left().unwrap();
            assert!(left <= Duration::from_secs(2), "{left:?}");
            let result = next.run(call).await;
            assert!(result.is_err() || left < Duration::from_secs(1));
            result
        });
    let mut raw = connect(server).await;
    let exceeded = Code::DeadlineExceeded as i32;
    for (method, timeout, millis, told) in [
        ("Wait", "60S", 2_000, "that the server set"),
        ("Wait", "500m", 500, ""),
        ("Upload", "60S", 3_000, "than the server lets"),
        ("Upload", "1S", 1_000, ""),
    ] {
        let start = Instant::now();
        let key = raw.open(method, &[("grpc-timeout", timeout)]);
        raw.message(key, b"m", method == "Wait");
        let reply = raw.finished(key).await;
        let took = start.elapsed().as_millis();
        assert!((millis..millis + 20).contains(&took), "{method} {timeout}: {took} ms");
        assert_eq!(reply.code(), exceeded, "{method} {timeout} {reply:?}");
        assert!(reply.message().contains(told), "{method} {timeout} {reply:?}");
        assert_eq!(reply.message().contains("server"), !told.is_empty(), "{reply:?}");
    }
    world.settle(|world| world.gone() == 4).await;
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_method_are_its_own() {
    let server = Server::new()
        .add(Test::new())
        .max_receive_bytes(100)
        .method("/test.Test/Echo", MethodOptions::new().max_receive_bytes(10))
        .method("test.Test", MethodOptions::new().max_receive_bytes(1_000).max_send_bytes(50))
        .method("/test.Test/Meta", MethodOptions::new().max_send_bytes(2_000));
    let mut raw = connect(server).await;
    let exhausted = Code::ResourceExhausted as i32;
    for (method, bytes, code) in [
        ("Echo", 10, 0),
        ("Echo", 11, exhausted),
        ("Meta", 1_000, 0),
        ("Meta", 1_001, exhausted),
        ("Panic", 51, Code::Unknown as i32),
        ("Chat", 50, 0),
        ("Chat", 51, exhausted),
        ("Upload", 1_000, 0),
        ("Upload", 1_001, exhausted),
    ] {
        let reply = raw.unary(method, &vec![1; bytes]).await;
        assert_eq!(reply.code(), code, "{method} {bytes}: {reply:?}");
    }
}

#[tokio::test]
async fn names_that_nobody_has_are_told_when_serving_starts() {
    let pass = |call: Incoming, next: Next| next.run(call);
    let options = MethodOptions::new().dispatch(Dispatch::Inline);
    for server in [
        Server::new().add(Test::new()).method("/test.Test/Ecko", options),
        Server::new().add(Test::new()).method("test.Test/Ecko", options),
        Server::new().add(Test::new()).intercept_on("Ecko", pass),
    ] {
        let error = server.serve("127.0.0.1:0").await.unwrap_err().to_string();
        assert!(error.contains("Ecko") && error.contains("/pkg.Service/Method"), "{error}");
    }
}

/// Has rules for these.
struct Rules(&'static [&'static str]);

impl Interceptor for Rules {
    async fn intercept(&self, call: Incoming, next: Next) -> gannet_core::Result<Handled> {
        next.run(call).await
    }

    fn names(&self) -> Vec<&str> {
        self.0.to_vec()
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_an_interceptor_has_rules_for_must_be_somebodys() {
    let refused = async |server: Server| match server.serve("127.0.0.1:0").await.unwrap_err() {
        ServeError::UnknownName(name) => name,
        other => panic!("{other}"),
    };
    let server = || Server::new().add(Test::new());
    for wrong in ["/test.Test/Ecko", "test.Test/Echo", "test.Ecko", "Echo", "/test.Test", ""] {
        let rules: &'static [&'static str] = vec!["test.Test", "/test.Test/Echo", wrong].leak();
        assert_eq!(refused(server().intercept(Rules(rules))).await, wrong);
        // Wherever it stands, and whatever it is put around.
        let around_one = server().intercept(Rules(&["test.Test"]));
        assert_eq!(refused(around_one.intercept_on("test.Test", Rules(rules))).await, wrong);
        // Before the service is there.
        let early = Server::new().intercept(Rules(rules)).add(Test::new());
        assert_eq!(refused(early).await, wrong);
    }
    // Those that there are let it serve, one of a service that came later among them.
    let right = Server::new().intercept(Rules(&["test.Test", "/test.Test/Echo"]));
    let mut raw = connect(right.add(Test::new())).await;
    assert_eq!(raw.unary("Echo", b"x").await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_an_interceptor_keeps_or_mixes_up_harms_nobody() {
    let kept: Arc<Mutex<Vec<Incoming>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let server = Server::new().add(Test::new()).intercept(move |call: Incoming, next: Next| {
        let keeper = Arc::clone(&keeper);
        async move {
            if call.metadata().contains("x-keep") {
                keeper.lock().unwrap().push(call);
                return Err(Status::unavailable("kept"));
            }
            let other = keeper.lock().unwrap().pop();
            next.run(other.unwrap_or(call)).await
        }
    });
    let mut raw = connect(server).await;
    for _ in 0..2 {
        let key = raw.open("Wait", &[("x-keep", "1")]);
        raw.message(key, b"m", true);
        assert_eq!(raw.finished(key).await.code(), Code::Unavailable as i32);
    }
    let reply = raw.unary("Echo", b"m").await;
    assert_eq!(reply.code(), Code::Internal as i32, "another method's: {reply:?}");
    drop(std::mem::take(&mut *kept.lock().unwrap()));
    for _ in 0..3 {
        assert_eq!(raw.unary("Echo", b"m").await.ok(), b"m");
    }
}
