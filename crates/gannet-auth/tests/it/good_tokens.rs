//! Good tokens of each algorithm, and what a handler learns of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet_auth::{Claims, JwtAuth, JwtValidator, KeySet, SigningKey, ValidatorError};
use serde_json::{Value, json};

use crate::tokens::{
    AUDIENCE, ED25519, ISSUER, NOW, P256, RSA, SIGNERS, at, claims, good, header, key_set, with,
};
use crate::world::{World, bearer, call, chat, clock, open, rules, usual};

#[tokio::test(start_paused = true)]
async fn each_algorithm_with_the_keys_name_and_without() {
    let world = World::new();
    let channel = world.serve(usual());
    let claims = claims().to_string();
    let mut calls = 0;
    for (signer, alg, id) in [
        (&SIGNERS.rsa, "RS256", "rsa"),
        (&SIGNERS.p256, "ES256", "p256"),
        (&SIGNERS.ed25519, "EdDSA", "ed"),
        (&SIGNERS.ed25519, "Ed25519", "ed"),
    ] {
        for header in [
            format!(r#"{{"alg":"{alg}","kid":"{id}","typ":"JWT"}}"#),
            format!(r#"{{"alg":"{alg}"}}"#),
            format!(
                r#"{{"typ":"application/at+JWT","alg":"{alg}","x5t":"abc","jku":"https://x"}}"#
            ),
        ] {
            let token = signer.sign(header, &claims);
            assert_eq!(call(&channel, &bearer(&token)).await.unwrap(), "ada", "{alg}");
            assert_eq!(chat(&channel, &bearer(&token)).await.unwrap(), "ada", "{alg}");
            calls += 2;
        }
    }
    assert_eq!((world.handlers(), world.decoded()), (calls, calls));
    let seen = world.seen.lock().unwrap();
    assert_eq!(seen[0].issuer(), Some(ISSUER));
    assert_eq!(seen[0].scopes(), ["read", "write"]);
    assert_eq!(seen[0].expires_at(), at(NOW + 600));
    assert_eq!(seen[0].claim("tier").and_then(Value::as_str), Some("gold"));
}

#[tokio::test(start_paused = true)]
async fn what_is_at_the_edge_is_good() {
    let world = World::new();
    let channel = world.serve(usual());
    let mut seen = 0;
    for token in [
        with("exp", (NOW - 59).into()),
        with("exp", json!(1_800_000_000.25)),
        with("exp", 253_402_300_799_u64.into()),
        with("nbf", (NOW + 60).into()),
        with("iat", (NOW + 60).into()),
        with("nbf", Value::Null),
        with("iat", Value::Null),
        with("aud", json!(["https://other.example", AUDIENCE])),
        with("pad", "x".repeat(5_000).into()),
    ] {
        call(&channel, &bearer(&token)).await.unwrap();
        seen += 1;
    }
    for scheme in ["bearer", "BEARER", "Bearer  "] {
        let value = format!("{scheme} {}", good()).into_bytes();
        assert_eq!(call(&channel, &[value]).await.unwrap(), "ada");
        seen += 1;
    }
    assert_eq!(world.handlers(), seen);
}

/// As in grpc-go. The same token opens no other one.
#[tokio::test(start_paused = true)]
async fn a_stream_outlives_its_token() {
    let (world, elapsed) = (World::new(), Arc::new(AtomicU64::new(0)));
    let clock = Arc::clone(&elapsed);
    let validator = rules(key_set()).clock(move || at(NOW + clock.load(Ordering::SeqCst)));
    let client = world.serve(JwtAuth::new(validator.build().unwrap()));
    let (mut to, mut from) = open(&client, &bearer(&good())).await.unwrap();
    for seconds in [0, 36_000] {
        elapsed.store(seconds, Ordering::SeqCst);
        to.send(client.request.clone()).await.unwrap();
        assert_eq!(from.next().await.unwrap().unwrap(), b"ada", "{seconds} s later");
    }
    assert!(chat(&client, &bearer(&good())).await.is_err());
    assert!(world.last_refusal().contains("expired"), "{}", world.last_refusal());
}

#[tokio::test(start_paused = true)]
async fn some_calls_need_no_token() {
    let world = World::new();
    let channel = world.serve(usual().except("/test.Test/Who"));
    assert_eq!(call(&channel, &[]).await.unwrap(), "nobody");
    assert_eq!(call(&channel, &bearer("rubbish")).await.unwrap(), "nobody", "nobody looks");
    assert!(chat(&channel, &[]).await.is_err());
    let channel = world.serve(usual().except("test.Test"));
    assert_eq!(chat(&channel, &[]).await.unwrap(), "nobody");

    let optional = usual().optional().require_scope_on("/test.Test/Chat", "read");
    let channel = world.serve(optional);
    assert_eq!(call(&channel, &[]).await.unwrap(), "nobody");
    assert_eq!(call(&channel, &bearer(&good())).await.unwrap(), "ada");
    assert!(call(&channel, &bearer("rubbish")).await.is_err());
    assert!(chat(&channel, &[]).await.is_err());
    assert_eq!(chat(&channel, &bearer(&good())).await.unwrap(), "ada");
}

#[test]
fn a_validator_must_be_told_whom_to_believe_and_for_whom() {
    let nobody = JwtValidator::builder().audience("a").build();
    assert!(nobody.unwrap_err().to_string().contains("no issuer"));
    let anybody: Result<_, ValidatorError> = JwtValidator::builder().issuer("i", key_set()).build();
    assert!(anybody.unwrap_err().to_string().contains("any_audience"));
    let lax = JwtValidator::builder().any_issuer(key_set()).any_audience().clock(clock);
    let lax = lax.allow_without_subject().leeway(Duration::ZERO).build().unwrap();
    let token = SIGNERS.rsa.sign(header(), format!(r#"{{"exp":{}}}"#, NOW + 1));
    assert_eq!(lax.check(&token).unwrap().subject(), None);
    let strict = rules(key_set()).leeway(Duration::ZERO).max_token_bytes(good().len()).build();
    let strict = strict.unwrap();
    strict.check(&good()).unwrap();
    strict.check(&with("exp", NOW.into())).unwrap_err();
    strict.check(&with("nbf", (NOW + 1).into())).unwrap_err();
    let longer = with("more", 1.into());
    assert!(strict.check(&longer).unwrap_err().to_string().contains("too long"));
    let kinds = rules(key_set()).kind("DPoP+jwt").build().unwrap();
    let own = SIGNERS.rsa.sign(r#"{"alg":"RS256","typ":"dpop+JWT"}"#, claims().to_string());
    kinds.check(&own).unwrap();
    // By the whole media type, on either side.
    let kinds = rules(key_set()).kind("application/DPoP+jwt").build().unwrap();
    kinds.check(&own).unwrap();
    let whole = r#"{"alg":"RS256","typ":"application/dpop+jwt"}"#;
    kinds.check(&SIGNERS.rsa.sign(whole, claims().to_string())).unwrap();
}

#[test]
fn what_is_signed_here_is_checked_here() {
    for pem in [RSA, P256, ED25519] {
        let key = SigningKey::from_pem(pem).unwrap().with_key_id("k");
        let token = key.sign(&claims()).unwrap();
        let validator = rules(KeySet::from_jwks(key.to_jwks()).unwrap()).build().unwrap();
        let seen: Claims = validator.check(&token).unwrap();
        assert_eq!(seen.subject(), Some("ada"), "{:?}", key.algorithm());
        assert_eq!(KeySet::from_jwks(key.to_jwks()).unwrap(), key.key_set());
        let shown = format!("{key:?} {validator:?} {:?}", JwtAuth::new(validator.clone()));
        let secret: String = pem.lines().nth(1).unwrap().chars().take(20).collect();
        assert!(!shown.contains(&secret) && !shown.contains(&token), "{shown}");
        assert!(key.sign(&["no", "object"]).is_err());
    }
}

#[test]
fn private_keys_of_no_use_are_told() {
    let unknown = "the private key is not one of RSA with 2048 bits or more, P-256 or Ed25519";
    for (pem, told) in [
        (include_str!("../data/p384.pem"), unknown),
        (include_str!("../data/rsa_short.pem"), unknown),
        ("", "no private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not one of"),
        ("-----BEGIN PRIVATE KEY-----\ns3cr3t", "no private key"),
    ] {
        let error = SigningKey::from_pem(pem).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
}
