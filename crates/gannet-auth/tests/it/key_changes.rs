//! Keys that change while a server runs: by hand, in a file, and what that does to tokens.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet_auth::{KeySet, Keys, Refusal, SigningKey};
use gannet_core::Code;
use serde_json::json;

use crate::tokens::{ED25519, P256, RSA, RSA_OTHER, SIGNERS, claims, good, header, key_set};
use crate::world::{World, bearer, call, rules};

fn jwks(keys: &[(&str, &str)]) -> String {
    let each = keys.iter().map(|(pem, id)| {
        let key = SigningKey::from_pem(pem).unwrap().with_key_id(*id);
        let set: serde_json::Value = serde_json::from_str(&key.to_jwks()).unwrap();
        set["keys"][0].clone()
    });
    json!({ "keys": each.collect::<Vec<_>>() }).to_string()
}

fn other() -> String {
    SIGNERS.rsa_other.sign(r#"{"alg":"RS256","kid":"new"}"#, claims().to_string())
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_pushed_count_at_once() {
    let world = World::new();
    let keys = Keys::new(key_set());
    let validator = rules(keys.clone()).build().unwrap();
    let client = world.serve(gannet_auth::JwtAuth::new(validator));
    // Twice, so that it is remembered.
    for _ in 0..2 {
        assert_eq!(call(&client, &bearer(&good())).await.unwrap(), "ada");
        assert!(call(&client, &bearer(&other())).await.is_err());
    }
    // Both for a while, then the old one goes.
    keys.set(KeySet::from_jwks(jwks(&[(RSA, "rsa"), (RSA_OTHER, "new")])).unwrap());
    for token in [good(), other()] {
        assert_eq!(call(&client, &bearer(&token)).await.unwrap(), "ada");
    }
    keys.set(KeySet::from_jwks(jwks(&[(RSA_OTHER, "new")])).unwrap());
    let status = call(&client, &bearer(&good())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(world.last_refusal().contains("\"rsa\" is not known"), "{}", world.last_refusal());
    assert_eq!(call(&client, &bearer(&other())).await.unwrap(), "ada");
    // Another key under the same name.
    keys.set(KeySet::from_jwks(jwks(&[(RSA_OTHER, "rsa")])).unwrap());
    assert!(call(&client, &bearer(&good())).await.is_err());
    assert!(world.last_refusal().contains("signature is wrong"), "{}", world.last_refusal());
}

/// In place of the one that is there, as who rotates keys does it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_with_an_unknown_key_has_the_file_read_but_not_often() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    replace(&path, &jwks(&[(RSA, "rsa")]));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&told);
    let keys = Keys::follow(&path).every(Duration::from_secs(3_600));
    let keys = keys.on_reload(move |read| {
        log.lock().unwrap().push(match read {
            Ok(keys) => format!("{} keys", keys.len()),
            Err(error) => error.to_string(),
        });
    });
    let keys = keys.open().unwrap();
    let world = World::new();
    let client = world.serve(gannet_auth::JwtAuth::new(rules(keys).build().unwrap()));
    assert!(call(&client, &bearer(&other())).await.is_err(), "not there yet");
    replace(&path, &jwks(&[(RSA, "rsa"), (RSA_OTHER, "new")]));
    assert!(call(&client, &bearer(&other())).await.is_err(), "read a moment ago");
    tokio::time::advance(Duration::from_secs(5)).await;
    // Many at once, one of which reads.
    let token = bearer(&other());
    let calls = (0..10).map(|_| call(&client, &token));
    for called in futures(calls).await {
        assert_eq!(called.unwrap(), "ada");
    }
    assert_eq!(*told.lock().unwrap(), ["2 keys"]);
}

/// Runs all of them at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(ready) = future.as_mut().poll(cx) {
                *output = Some(ready);
            }
        }
        match all.iter().all(|(_, output)| output.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test(start_paused = true)]
async fn a_file_is_looked_after_and_what_is_wrong_with_it_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    assert!(Keys::follow(&path).open().unwrap_err().to_string().contains("jwks.json"));
    replace(&path, &jwks(&[(RSA, "rsa")]));
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let keys = Keys::follow(&path).every(Duration::from_secs(60)).on_reload(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let keys = keys.open().unwrap();
    let validator = rules(keys.clone()).build().unwrap();
    let settled = async || {
        // What a look begins is done when the file's lock can be had, behind it.
        tokio::task::yield_now().await;
        let _ = keys.reload().await;
    };
    for broken in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#]
    {
        replace(&path, broken);
        tokio::time::advance(Duration::from_secs(61)).await;
        validator.validate(&good()).await.unwrap();
        settled().await;
        assert!(keys.reload().await.is_err(), "{broken}");
        validator.validate(&good()).await.unwrap();
    }
    assert!(told.load(Ordering::SeqCst) >= 2, "what is wrong is told");
    // The old key is gone for good; a look beside finds out, before the interval is over.
    replace(&path, &jwks(&[(RSA_OTHER, "new")]));
    tokio::time::advance(Duration::from_secs(46)).await;
    // It does not wait, so that what it finds is chance.
    let _ = validator.validate(&good()).await;
    settled().await;
    validator.validate(&good()).await.unwrap_err();
    validator.validate(&other()).await.unwrap();
    assert!(!keys.reload().await.unwrap(), "nothing new");
}

fn jwk(pem: &str, id: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(&jwks(&[(pem, id)])).unwrap()["keys"][0].take()
}

/// RFC 7517 section 5.
#[test]
fn one_odd_key_does_not_keep_the_others_out() {
    let mut off = jwk(P256, "2026-11");
    off["x"] = crate::tokens::encode([1; 32]).into();
    let mut short = jwk(ED25519, &"n".repeat(500));
    short["x"] = "c2VjcmV0".into();
    let odd = [json!({"n": "AQAB"}), off.clone(), "text".into(), short];
    let mut listed = odd.to_vec();
    listed.insert(2, jwk(RSA, "rsa"));
    let set = KeySet::from_jwks(json!({ "keys": listed }).to_string()).unwrap();
    rules(set.clone()).build().unwrap().check(&good()).unwrap();
    let told = set.skipped();
    assert_eq!(told[0], "key 0: has no kty");
    assert_eq!(told[1], r#"key 1 ("2026-11"): its point is not on the curve P-256"#);
    assert_eq!(told[2], "key 3: is no object");
    assert!(told[3].starts_with("key 4 (\"nnn") && told[3].len() < 150, "{}", told[3]);
    assert!(!told[3].contains("c2VjcmV0"), "{}", told[3]);
    // Only where none is left.
    let error = KeySet::from_jwks(json!({ "keys": odd }).to_string()).unwrap_err().to_string();
    assert!(error.starts_with("keys: none can be used: key 0: has no kty; key 1"), "{error}");
    // However many there are.
    let mut many = vec![off; 1_000];
    many.push(jwk(RSA, "rsa"));
    let set = KeySet::from_jwks(json!({ "keys": many }).to_string()).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (1, 17));
    assert_eq!(set.skipped()[16], "and 984 more");
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_file_is_told_of_keys_that_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let odd = json!({"kty": "RSA", "kid": "odd"});
    let with_odd = |pem, id| json!({ "keys": [odd, jwk(pem, id)] }).to_string();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&told);
    let follow = Keys::follow(&path).on_reload(move |read| {
        let shown = format!("{:?}", read.map(KeySet::skipped).map_err(ToString::to_string));
        log.lock().unwrap().push(shown);
    });
    replace(&path, &with_odd(RSA, "rsa"));
    let keys = follow.open().unwrap();
    let why = r#"Ok(["key 0 (\"odd\"): a part of it is missing, or is no base64url"])"#;
    assert_eq!(*told.lock().unwrap(), [why], "at the start");
    let validator = rules(keys.clone()).build().unwrap();
    validator.check(&good()).unwrap();
    // New keys count, whatever stands beside them.
    replace(&path, &with_odd(RSA_OTHER, "new"));
    assert!(keys.reload().await.unwrap());
    validator.check(&other()).unwrap();
    assert!(!keys.reload().await.unwrap(), "told once");
    replace(&path, &jwks(&[(RSA_OTHER, "new")]));
    keys.reload().await.unwrap();
    assert_eq!(*told.lock().unwrap(), [why, why, "Ok([])"]);
}

#[test]
fn sets_of_keys_are_read_with_what_is_not_for_us_left_out() {
    let sign = |pem: &str| -> serde_json::Value {
        let text = SigningKey::from_pem(pem).unwrap().with_key_id("k").to_jwks();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["keys"][0].take()
    };
    let with = |pem: &str, name: &str, value: serde_json::Value| {
        let mut key = sign(pem);
        key[name] = value;
        key
    };
    let weak = |name: &str, value: &str| {
        let mut key = with(RSA, name, value.into());
        key["n"] = json!(crate::tokens::encode([0xff; 128]));
        key
    };
    let ignored = vec![
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "hmac"}),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        with(RSA, "use", "enc".into()),
        with(RSA, "alg", "RS512".into()),
        with(RSA, "key_ops", json!(["encrypt"])),
        with(P256, "alg", "ECDH-ES".into()),
        // What is not for us need not be as ours are.
        weak("alg", "RSA1_5"),
        weak("alg", "RS512"),
        weak("use", "enc"),
        json!({"kty": "RSA", "use": "enc", "kid": 7}),
    ];
    let error = KeySet::from_jwks(json!({ "keys": ignored }).to_string()).unwrap_err();
    assert!(error.to_string().contains("none of its keys"), "{error}");
    let mut all = ignored;
    all.extend([RSA, P256, ED25519].map(sign));
    all.push(with(RSA, "key_ops", json!(["verify"])));
    all.push(with(ED25519, "alg", "Ed25519".into()));
    let set = KeySet::from_jwks(json!({ "keys": all }).to_string()).unwrap();
    assert_eq!(set.len(), 5);
    for (broken, told) in [
        (with(RSA, "n", "AQAB".into()), "2048"),
        (with(RSA, "e", "AQ".into()), "exponent"),
        (with(RSA, "e", "AA".into()), "exponent"),
        (with(P256, "x", "AQAB".into()), "P-256"),
        (with(P256, "x", crate::tokens::encode([1; 32]).into()), "not on the curve P-256"),
        (with(P256, "y", crate::tokens::encode([0; 32]).into()), "not on the curve P-256"),
        (with(P256, "y", crate::tokens::encode([0xff; 32]).into()), "not on the curve P-256"),
        (with(ED25519, "x", "AQAB".into()), "Ed25519"),
        (with(RSA, "n", 7.into()), "missing"),
        (with(RSA, "n", "=!".into()), "base64url"),
        (with(RSA, "kid", 7.into()), "kid"),
        (with(RSA, "kty", 7.into()), "kty"),
        ("text".into(), "no object"),
    ] {
        let error = KeySet::from_jwks(json!({ "keys": [broken] }).to_string()).unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        KeySet::from_jwks(text).unwrap_err();
    }
    assert!(KeySet::from_jwks(vec![b' '; 2 << 20]).is_err());
    let folder = tempfile::tempdir().unwrap();
    let error = KeySet::from_jwks_file(folder.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no regular file"), "{source}");
    let long = folder.path().join("long");
    std::fs::write(&long, vec![b' '; 2 << 20]).unwrap();
    assert!(KeySet::from_jwks_file(long).unwrap_err().to_string().contains("too many"));
}

#[test]
fn a_key_without_a_name_fits_any_and_a_token_without_one_is_tried_on_few() {
    let nameless = SigningKey::from_pem(RSA).unwrap().key_set();
    rules(nameless).build().unwrap().check(&good()).unwrap();
    // The one with its name goes first, wherever it is.
    let mut many = KeySet::default();
    for _ in 0..10 {
        many.extend(SigningKey::from_pem(RSA_OTHER).unwrap().key_set());
    }
    many.extend(SigningKey::from_pem(RSA).unwrap().with_key_id("rsa").key_set());
    let validator = rules(many).build().unwrap();
    validator.check(&good()).unwrap();
    let unnamed = SIGNERS.rsa.sign(r#"{"alg":"RS256"}"#, claims().to_string());
    let refusal = validator.check(&unnamed).unwrap_err();
    assert_eq!(refusal, Refusal::Untried(7));
    assert!(refusal.to_string().contains("7 more were not"), "{refusal}");
    let token = SIGNERS.rsa.sign(header(), claims().to_string());
    assert_eq!(validator.check(&token).unwrap().subject(), Some("ada"));
}
