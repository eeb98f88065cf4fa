//! Keys that follow a file: after pauses, under calls that are cancelled, and with keys without
//! names beside.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gannet_auth::{JwtAuth, KeySet, Keys, Refusal, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tokens::{P256, RSA, RSA_OTHER, SIGNERS, claims, claims_with, good};
use crate::world::{World, bearer, call, rules};

/// A file of keys.
struct Keyring {
    folder: TempDir,
}

impl Keyring {
    fn new(keys: &[(&str, Option<&str>)]) -> Keyring {
        let keyring = Keyring { folder: tempfile::tempdir().unwrap() };
        keyring.write(keys);
        keyring
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// In place of what is there, as who rotates keys does it.
    fn write(&self, keys: &[(&str, Option<&str>)]) {
        let each: Vec<_> = keys.iter().map(|(pem, id)| jwk(pem, *id)).collect();
        replace(&self.path(), &json!({ "keys": each }).to_string());
    }

    fn follow(&self, seconds: u64) -> Keys {
        Keys::follow(self.path()).every(Duration::from_secs(seconds)).open().unwrap()
    }
}

fn jwk(pem: &str, id: Option<&str>) -> Value {
    let key = SigningKey::from_pem(pem).unwrap();
    let key = match id {
        Some(id) => key.with_key_id(id),
        None => key,
    };
    let mut set: Value = serde_json::from_str(&key.to_jwks()).unwrap();
    set["keys"][0].take()
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A good token by the key `new`.
fn other() -> String {
    SIGNERS.rsa_other.sign(r#"{"alg":"RS256","kid":"new"}"#, claims().to_string())
}

/// One that anybody can make.
fn made_up() -> String {
    SIGNERS.rsa.sign(r#"{"alg":"RS256","kid":"made up"}"#, claims().to_string())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_withdrawn_in_a_pause_lets_nobody_in() {
    for pause in [60, 36_000] {
        let keyring = Keyring::new(&[(RSA, Some("rsa"))]);
        let world = World::new();
        let client = world.serve(JwtAuth::new(rules(keyring.follow(60)).build().unwrap()));
        assert_eq!(call(&client, &bearer(&good())).await.unwrap(), "ada");
        keyring.write(&[(RSA_OTHER, Some("new"))]);
        tokio::time::advance(Duration::from_secs(pause)).await;
        // The first of them waits for the file.
        let called = call(&client, &bearer(&good())).await;
        assert!(called.is_err(), "withdrawn {pause} s ago, and let through: {called:?}");
        assert_eq!(call(&client, &bearer(&other())).await.unwrap(), "ada");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_after_a_pause_changes_nothing() {
    let keyring = Keyring::new(&[(RSA, Some("rsa"))]);
    let keys = keyring.follow(60);
    let validator = rules(keys.clone()).build().unwrap();
    std::fs::remove_file(keyring.path()).unwrap();
    tokio::time::advance(Duration::from_secs(36_000)).await;
    validator.validate(&good()).await.unwrap();
    assert!(keys.reload().await.unwrap_err().to_string().contains("jwks.json"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_cancelled_do_not_keep_new_keys_out() {
    let keyring = Keyring::new(&[(RSA, Some("rsa"))]);
    let validator = rules(keyring.follow(3_600)).build().unwrap();
    // Enough that it takes a while to read.
    let mut many = vec![(P256, Some("p256")); 900];
    many.push((RSA_OTHER, Some("new")));
    keyring.write(&many);
    let made_up = made_up();
    {
        let mut attack = std::pin::pin!(validator.validate(&made_up));
        let polled = attack.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "{polled:?}");
    }
    // What the dropped one began counts, though nobody may begin another one now.
    validator.validate(&other()).await.unwrap();
}

/// The same over a connection: the call's deadline is over at once, and the set takes long to read.
#[tokio::test]
async fn calls_that_are_dropped_do_not_keep_new_keys_out() {
    let keyring = Keyring::new(&[(RSA, Some("rsa"))]);
    let world = World::new();
    let client = world.serve(JwtAuth::new(rules(keyring.follow(3_600)).build().unwrap()));
    assert_eq!(call(&client, &bearer(&good())).await.unwrap(), "ada");
    let mut many: Vec<_> = (0..900).map(|n| jwk(P256, Some(&format!("k{n}")))).collect();
    many.push(jwk(RSA_OTHER, Some("new")));
    replace(&keyring.path(), &json!({ "keys": many }).to_string());
    let values = bearer(&made_up());
    let attack = tokio::time::timeout(Duration::from_micros(1_500), call(&client, &values)).await;
    let called = call(&client, &bearer(&other())).await;
    assert!(called.is_ok(), "attack: {attack:?}; then a good token: {called:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_has_the_file_read_though_keys_without_names_are_there() {
    let keyring = Keyring::new(&[(RSA, None)]);
    let validator = rules(keyring.follow(3_600)).build().unwrap();
    keyring.write(&[(RSA, None), (RSA_OTHER, Some("new"))]);
    validator.validate(&other()).await.unwrap();
    let refused = validator
        .check(&SIGNERS.rsa_other.sign(r#"{"alg":"RS256","kid":"made up"}"#, claims().to_string()));
    assert_eq!(refused.unwrap_err(), Refusal::UnknownKey(Some("made up".into())));
}

/// So that who has a token of one issuer's cannot keep another one's new keys out.
#[tokio::test(start_paused = true)]
async fn an_unknown_name_has_only_its_own_issuers_file_read() {
    let (mine, theirs) =
        (Keyring::new(&[(RSA, Some("rsa"))]), Keyring::new(&[(P256, Some("p256"))]));
    let validator = rules(mine.follow(3_600)).issuer("https://two.example", theirs.follow(3_600));
    let validator = validator.build().unwrap();
    assert!(validator.validate(&made_up()).await.is_err());
    theirs.write(&[(RSA_OTHER, Some("new"))]);
    let claims = claims_with("iss", "https://two.example".into());
    let token = SIGNERS.rsa_other.sign(r#"{"alg":"RS256","kid":"new"}"#, claims);
    validator.validate(&token).await.unwrap();
}

#[tokio::test]
async fn looks_do_not_pile_up() {
    let keyring = Keyring::new(&[(RSA, Some("rsa"))]);
    let validator = rules(keyring.follow(0)).build().unwrap();
    for _ in 0..10_000 {
        validator.validate("x").await.unwrap_err();
    }
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 10, "{tasks} tasks");
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_cause() {
    let told = KeySet::from_jwks_file("/nope.json").unwrap_err().to_string();
    assert!(told.starts_with("the keys in /nope.json: it cannot be read: No such file"), "{told}");
}
