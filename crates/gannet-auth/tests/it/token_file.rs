//! A token in a file: when it is read, and what becomes of calls when it cannot be (gRFC A97).

use std::future::IntoFuture;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_auth::TokenFile;
use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{Code, Result};
use gannet_server::{Incoming, Next, Server};
use serde_json::json;
use tempfile::TempDir;

use crate::tokens::{NOW, SIGNERS, at, good};
use crate::world::{TEST, World};

/// A server that keeps what it is shown, and a client whose token is in a file.
struct Scene {
    folder: TempDir,
    channel: Channel,
    shown: Arc<Mutex<Vec<String>>>,
    /// What the clock of the credentials has gone on.
    elapsed: Arc<AtomicU64>,
    looks: Arc<AtomicUsize>,
    file: TokenFile,
}

impl Scene {
    fn new(opaque: bool) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let elapsed = Arc::new(AtomicU64::new(0));
        let looks = Arc::new(AtomicUsize::new(0));
        let (clock, count) = (Arc::clone(&elapsed), Arc::clone(&looks));
        let file = if opaque { TokenFile::opaque(path) } else { TokenFile::new(path) };
        let file = file.every(Duration::from_secs(300)).clock(move || {
            count.fetch_add(1, Ordering::SeqCst);
            at(NOW + clock.load(Ordering::SeqCst))
        });
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&shown);
        let server =
            Server::new().add(World::new()).intercept(move |call: Incoming, next: Next| {
                let value = call.metadata().get("authorization").unwrap_or("nothing").to_owned();
                seen.lock().unwrap().push(value);
                next.run(call)
            });
        let (connector, listener) = gannet_transport::pipe();
        tokio::spawn(server.serve(listener).into_future());
        let builder = Channel::builder_with_connector(connector);
        let builder = builder.allow_credentials_without_tls(true).credentials(file.clone());
        Scene { folder, channel: builder.build().unwrap(), shown, elapsed, looks, file }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn write(&self, text: &str) {
        let beside = self.folder.path().join("beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.path()).unwrap();
    }

    fn remove(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    /// Both clocks.
    async fn pass(&self, seconds: u64) {
        self.elapsed.fetch_add(seconds, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    /// What the server was shown.
    async fn call(&self) -> Result<String> {
        let call = self.channel.unary::<Raw, Vec<u8>, Vec<u8>>(&TEST.methods[0], Vec::new());
        call.await?;
        Ok(self.shown.lock().unwrap().last().unwrap().clone())
    }

    async fn fails(&self, code: Code, why: &str) {
        let status = self.call().await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(why), "{status}");
        assert!(status.message().contains(&*self.path().to_string_lossy()), "{status}");
        assert!(!format!("{status:?}").contains("eyJ"), "{status:?}");
    }

    /// Lets what a call began beside be done: it has read, or is about to.
    async fn settle(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        // Blocks while a read is under way.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A token that ends so many seconds after the beginning.
fn token(ends: u64) -> String {
    SIGNERS.ed25519.sign(r#"{"alg":"EdDSA"}"#, json!({ "exp": NOW + ends }).to_string())
}

fn sent(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(start_paused = true)]
async fn it_is_read_when_it_is_needed_and_before_it_ends() {
    let scene = Scene::new(false);
    let (first, second, third) = (token(600), token(1_200), token(1_800));
    scene.write(&format!("  {first}\n"));
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    // Nobody looks before it is time.
    scene.write(&second);
    scene.pass(299).await;
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    scene.settle().await;
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    // At the interval: this call does not wait, the next one has it.
    scene.pass(1).await;
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    scene.settle().await;
    assert_eq!(scene.call().await.unwrap(), sent(&second));
    // A minute before it counts as ended, whatever the interval.
    scene.pass(290).await;
    scene.call().await.unwrap();
    scene.settle().await;
    scene.pass(290).await;
    scene.call().await.unwrap();
    scene.settle().await;
    scene.write(&third);
    scene.pass(1_200 - 880 - 89).await;
    assert_eq!(scene.call().await.unwrap(), sent(&second));
    scene.settle().await;
    assert_eq!(scene.call().await.unwrap(), sent(&third));
    assert!(scene.looks.load(Ordering::SeqCst) > 0);
    let shown = format!("{:?} {:?}", scene.file, scene.channel);
    assert!(!shown.contains("eyJ"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_last_good_token_is_kept_while_the_file_is_not_readable() {
    let scene = Scene::new(false);
    let first = token(1_000);
    scene.write(&first);
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    for broken in [None, Some(""), Some("no token"), Some("{}"), Some("a.b.c")] {
        match broken {
            Some(text) => scene.write(text),
            None => scene.remove(),
        }
        scene.pass(190).await;
        assert_eq!(scene.call().await.unwrap(), sent(&first), "{broken:?}");
        scene.settle().await;
        assert_eq!(scene.call().await.unwrap(), sent(&first), "{broken:?}");
    }
    // 950 s: it counts as ended at 970, but is good until 1,000.
    scene.pass(25).await;
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    scene.pass(25).await;
    scene.fails(Code::Unauthenticated, "it is no JSON Web Token").await;
    scene.remove();
    scene.pass(130).await;
    scene.fails(Code::Unavailable, "cannot be read").await;
    let next = token(5_000);
    scene.write(&next);
    scene.pass(130).await;
    assert_eq!(scene.call().await.unwrap(), sent(&next));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_calls_fail_and_the_file_is_tried_with_backoff() {
    let scene = Scene::new(false);
    scene.fails(Code::Unavailable, "cannot be read").await;
    let token = token(600);
    scene.write(&token);
    // The same answer until the backoff is over: 1 s after the first attempt.
    scene.pass(0).await;
    scene.fails(Code::Unavailable, "cannot be read").await;
    scene.pass(2).await;
    assert_eq!(scene.call().await.unwrap(), sent(&token));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_is_told() {
    let no_expiry = SIGNERS.ed25519.sign(r#"{"alg":"EdDSA"}"#, "{}");
    let expired = token(0);
    let long = format!("e{}", "x".repeat(20_000));
    for (text, why) in [
        ("", "visible ASCII"),
        ("two words", "visible ASCII"),
        (&*long, "16 KiB"),
        ("opaque", "no JSON Web Token"),
        (&*no_expiry, "`exp`"),
        (&*expired, "it has expired"),
    ] {
        let scene = Scene::new(false);
        scene.write(text);
        scene.fails(Code::Unauthenticated, why).await;
        assert!(scene.file.reload().await.is_err());
    }
    let scene = Scene::new(true);
    scene.write("opaque\n");
    assert_eq!(scene.call().await.unwrap(), "Bearer opaque");
    scene.remove();
    scene.pass(100_000).await;
    assert_eq!(scene.call().await.unwrap(), "Bearer opaque", "it has no end that is known");
}

#[tokio::test(start_paused = true)]
async fn half_a_token_does_not_replace_a_good_one() {
    let scene = Scene::new(false);
    let whole = good();
    scene.write(&whole);
    scene.file.reload().await.unwrap();
    let dot = whole.rfind('.').unwrap();
    let payload = whole.split('.').nth(1).unwrap();
    for half in [
        &whole[..dot],
        &whole[..=dot],
        &whole[..dot + 2],
        &whole[..dot + 100],
        &whole[..whole.len() - 4],
        &format!("!.{payload}.!"),
        &format!(".{payload}.{}", &whole[dot + 1..]),
    ] {
        scene.write(half);
        let status = scene.file.reload().await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{half}");
    }
    assert_eq!(scene.call().await.unwrap(), format!("Bearer {whole}"));
}

#[tokio::test(start_paused = true)]
async fn a_clone_has_an_interval_and_a_clock_of_its_own_and_shares_the_token() {
    let scene = Scene::new(false);
    let (first, second) = (token(600), token(1_200));
    scene.write(&first);
    assert_eq!(scene.call().await.unwrap(), sent(&first));

    // A minute's age is too much for one of them, and what it finds is there for the other.
    let elapsed = Arc::clone(&scene.elapsed);
    let often = scene.file.clone().every(Duration::from_secs(60));
    let often = scene.channel.with_credentials(often);
    scene.write(&second);
    scene.pass(61).await;
    assert_eq!(scene.call().await.unwrap(), sent(&first));
    scene.settle().await;
    assert_eq!(scene.call().await.unwrap(), sent(&first), "nobody has looked");
    let call = often.unary::<Raw, Vec<u8>, Vec<u8>>(&TEST.methods[0], Vec::new());
    call.await.unwrap();
    scene.settle().await;
    assert_eq!(scene.call().await.unwrap(), sent(&second));

    // By the clock of a third it has expired, and only for that one.
    let late = scene.file.clone().clock(move || at(NOW + 2_000 + elapsed.load(Ordering::SeqCst)));
    assert_eq!(late.reload().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(scene.call().await.unwrap(), sent(&second));
}

/// What is a pipe might never be written to.
#[test]
fn what_is_no_file_holds_up_neither_calls_nor_the_end_of_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(TokenFile::new(path).reload()).unwrap_err();
        drop(runtime);
        done.send(status).unwrap();
    });
    let status = ended.recv_timeout(Duration::from_secs(10)).expect("it ends");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("no regular file"), "{status}");
}
