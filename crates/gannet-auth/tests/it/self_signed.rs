//! Tokens that clients sign.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet_auth::{Claims, JwtAuth, JwtCredentials, JwtValidator, SigningKey};
use gannet_client::Channel;
use gannet_core::Code;
use gannet_core::codec::Raw;
use serde_json::json;

use crate::tokens::{ED25519, NOW, P256, RSA, at};
use crate::world::{Client, TEST, World};

async fn who(client: &Client, channel: &Channel) -> gannet_core::Result<String> {
    let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&TEST.methods[0], client.request.clone());
    Ok(String::from_utf8(call.await?).unwrap())
}

/// A clock that is set by hand.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Clock {
        Clock(Arc::new(AtomicU64::new(NOW)))
    }

    fn clock(&self) -> impl Fn() -> std::time::SystemTime + Send + Sync + 'static {
        let seconds = Arc::clone(&self.0);
        move || at(seconds.load(Ordering::SeqCst))
    }

    fn add(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn server(world: &World, key: &SigningKey, audience: &str, clock: &Clock) -> Client {
    let validator = JwtValidator::builder().issuer("client-7", key.key_set()).audience(audience);
    world.serve(JwtAuth::new(validator.clock(clock.clock()).build().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn they_are_for_the_service_and_last_until_little_is_left() {
    for pem in [RSA, P256, ED25519] {
        let key = SigningKey::from_pem(pem).unwrap().with_key_id("k1");
        let (world, clock) = (World::new(), Clock::new());
        let client = server(&world, &key, "https://localhost/test.Test", &clock);
        let credentials = JwtCredentials::new("client-7", key).clock(clock.clock());
        let channel = client.channel.with_credentials(credentials.clone());
        let expiry = |nth: usize| {
            let seen = world.seen.lock().unwrap();
            let exp = seen[nth].expires_at().duration_since(at(NOW)).unwrap();
            (exp.as_secs(), seen[nth].subject().map(str::to_owned))
        };
        assert_eq!(who(&client, &channel).await.unwrap(), "client-7");
        clock.add(2_990);
        who(&client, &channel).await.unwrap();
        assert_eq!(expiry(0), expiry(1), "the same one");
        clock.add(20);
        who(&client, &channel).await.unwrap();
        assert_eq!(expiry(2), (3_600 + 3_010, Some("client-7".into())));
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn claims_and_audience_are_as_they_are_told() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let (world, clock) = (World::new(), Clock::new());
    let client = server(&world, &key, "https://other.example/", &clock);
    let credentials = JwtCredentials::new("client-7", key.clone())
        .subject("ada")
        .audience("https://other.example/")
        .lifetime(Duration::from_secs(60))
        .claim("scope", "read")
        .claim("aud", json!(["everybody"]))
        .clock(clock.clock());
    let channel = client.channel.with_credentials(credentials);
    assert_eq!(who(&client, &channel).await.unwrap(), "ada");
    let seen: Claims = world.seen.lock().unwrap()[0].clone();
    assert!(seen.has_scope("read"));
    assert_eq!(seen.audiences(), ["https://other.example/"]);
    assert_eq!((seen.issued_at(), seen.expires_at()), (Some(at(NOW)), at(NOW + 60)));
    // For another service it is no good.
    let elsewhere = JwtCredentials::new("client-7", key).clock(clock.clock());
    let status = who(&client, &client.channel.with_credentials(elsewhere)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(world.last_refusal().contains("is for"), "{}", world.last_refusal());
}

/// What is set on a clone holds for it, and for it alone, tokens that were signed before included.
#[tokio::test(start_paused = true)]
async fn a_clone_that_is_told_otherwise_signs_otherwise() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let (world, clock) = (World::new(), Clock::new());
    let base = JwtCredentials::new("client-7", key.clone())
        .audience("https://one.example/")
        .clock(clock.clock());
    let validator = JwtValidator::builder().issuer("client-7", key.key_set()).any_audience();
    let validator = validator.clock(clock.clock()).build().unwrap();
    let client = world.serve(JwtAuth::new(validator));
    let claims_of = async |credentials: &JwtCredentials| {
        let channel = client.channel.with_credentials(credentials.clone());
        who(&client, &channel).await.unwrap();
        world.seen.lock().unwrap().last().unwrap().clone()
    };
    let before = claims_of(&base).await;
    let later = Clock(Arc::new(AtomicU64::new(NOW + 7)));
    let other = base
        .clone()
        .subject("ada")
        .lifetime(Duration::from_secs(60))
        .claim("scope", "read")
        .clock(later.clock());
    let told = claims_of(&other).await;
    assert_eq!(told.subject(), Some("ada"));
    assert!(told.has_scope("read"));
    assert_eq!((told.issued_at(), told.expires_at()), (Some(at(NOW + 7)), at(NOW + 67)));
    let elsewhere = claims_of(&other.clone().audience("https://two.example/")).await;
    assert_eq!(elsewhere.audiences(), ["https://two.example/"]);
    assert_eq!(elsewhere.subject(), Some("ada"));
    let after = claims_of(&base).await;
    assert_eq!((after.subject(), after.issued_at()), (before.subject(), before.issued_at()));
    assert_eq!((after.expires_at(), after.audiences()), (before.expires_at(), before.audiences()));
    // Nor does one that nobody shares send what it signed under other words.
    let alone = JwtCredentials::new("client-7", key).audience("https://one.example/");
    let alone = alone.clock(clock.clock());
    assert_eq!(claims_of(&alone).await.subject(), Some("client-7"));
    assert_eq!(claims_of(&alone.subject("eve")).await.subject(), Some("eve"));
}

#[tokio::test(start_paused = true)]
async fn without_tls_they_are_not_sent() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let (connector, listener) = gannet_transport::pipe();
    let credentials = JwtCredentials::new("client-7", key);
    let channel = Channel::builder_with_connector(connector).credentials(credentials);
    let channel = channel.build().unwrap();
    let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&TEST.methods[0], Vec::new());
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("allow_credentials_without_tls"), "{status}");
    drop(listener);
}

#[test]
fn a_service_accounts_key_is_read() {
    let account = json!({
        "type": "service_account", "private_key_id": "abc", "private_key": RSA,
        "client_email": "client-7@project.example",
    });
    let credentials = JwtCredentials::from_service_account(account.to_string()).unwrap();
    let shown = format!("{credentials:?}");
    assert!(shown.contains("client-7@project.example") && shown.contains("abc"), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    for missing in ["private_key_id", "private_key", "client_email"] {
        let mut less = account.clone();
        less.as_object_mut().unwrap().remove(missing);
        let error = JwtCredentials::from_service_account(less.to_string()).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
    JwtCredentials::from_service_account("s3cr3t").unwrap_err();
}
