//! Bad credentials: each is refused, no handler runs, and no request is decoded.
//!
//! The table, with what the server's log has of each:
//!
//! ```sh
//! cargo test -p gannet-auth --test it each_is_refused -- --nocapture
//! ```

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use gannet_core::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tokens::{
    AUDIENCE, ISSUER, NOW, P256, RSA, SIGNERS, claims, claims_with, encode, good, header, with,
};
use crate::world::{World, bearer, call, chat, rules, usual};

/// Values of `authorization`, and what the server's log must have.
type Bad = (&'static str, Vec<Vec<u8>>, &'static str);

fn bad(name: &'static str, token: impl AsRef<str>, why: &'static str) -> Bad {
    (name, bearer(token.as_ref()), why)
}

fn raw(name: &'static str, value: impl Into<Vec<u8>>, why: &'static str) -> Bad {
    (name, vec![value.into()], why)
}

/// A good token's parts.
fn parts() -> [String; 3] {
    static GOOD: LazyLock<String> = LazyLock::new(good);
    let parts: Vec<_> = GOOD.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// A token whose header says `alg`, signed by RSA whatever that is.
fn by_alg(alg: &str) -> String {
    SIGNERS.rsa.sign(format!(r#"{{"alg":"{alg}","kid":"rsa"}}"#), claims().to_string())
}

/// One that nobody has signed.
fn unsigned(alg: &str, signature: &str) -> String {
    let header = encode(format!(r#"{{"alg":"{alg}","kid":"rsa"}}"#));
    format!("{header}.{}.{signature}", encode(claims().to_string()))
}

/// A token whose authenticity is a secret's, in which `secret` is taken for one.
fn by_secret(secret: &[u8]) -> String {
    let header = encode(r#"{"alg":"HS256","typ":"JWT","kid":"rsa"}"#);
    let signed = format!("{header}.{}", encode(claims().to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", encode(ring::hmac::sign(&key, signed.as_bytes())))
}

/// The good claims under another header, with a good signature of RSA.
fn under(header: &str) -> String {
    SIGNERS.rsa.sign(header, claims().to_string())
}

/// The modulus of the key `rsa`, as everybody knows it.
fn modulus() -> Vec<u8> {
    let key = gannet_auth::SigningKey::from_pem(RSA).unwrap();
    let set: Value = serde_json::from_str(&key.to_jwks()).unwrap();
    let n = set["keys"][0]["n"].as_str().unwrap();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(n).unwrap()
}

fn schemes() -> Vec<Bad> {
    let good = good();
    let twice = vec![format!("Bearer {good}").into_bytes(); 2];
    let mut different = bearer(&good);
    different.push(b"Basic YWRhOmFkYQ==".to_vec());
    vec![
        ("no authorization", vec![], "there is no token"),
        ("two values that are the same", twice, "several values"),
        ("a good one and another one", different, "several values"),
        raw("no scheme", good.clone(), "is not \"Bearer\""),
        raw("another scheme", format!("Basic {good}"), "is not \"Bearer\""),
        raw("a scheme that is longer", format!("Bearers {good}"), "is not \"Bearer\""),
        raw("a scheme alone", "Bearer", "is not \"Bearer\""),
        raw("an empty value", "", "is not \"Bearer\""),
        raw("no space", format!("Bearer{good}"), "is not \"Bearer\""),
        raw("a tab", format!("Bearer\t{good}"), "is not \"Bearer\""),
        raw("the scheme twice", format!("Bearer Bearer {good}"), "base64url"),
        raw("two tokens in one value", format!("Bearer {good}, Bearer {good}"), "three parts"),
        raw("no UTF-8", [b"Bearer ", &b"\xff\xfe"[..]].concat(), "is not \"Bearer\""),
        raw("something behind", format!("Bearer {good} x"), "base64url"),
    ]
}

fn shapes() -> Vec<Bad> {
    let [header, payload, signature] = parts();
    let good = good();
    let padded = |bytes: &str| URL_SAFE.encode(bytes);
    let [head, claims] = [self::header(), claims().to_string()];
    let standard = STANDARD.encode("{\"alg\":\"RS256\",\"kid\":\"???>>>\"}");
    assert!(standard.contains(['+', '/', '=']));
    vec![
        bad("one part", &header, "three parts"),
        bad("two parts", format!("{header}.{payload}"), "three parts"),
        bad("four parts", format!("{good}.{signature}"), "three parts"),
        bad("five parts, as if encrypted", format!("{good}.{payload}.{signature}"), "three parts"),
        bad("three empty parts", "..", "no JSON"),
        bad("no header", format!(".{payload}.{signature}"), "no JSON"),
        bad("no payload", format!("{header}..{signature}"), "signature"),
        bad("no signature", format!("{header}.{payload}."), "signature is wrong"),
        bad("a header cut short", format!("{}.{payload}.{signature}", &header[..9]), "malformed"),
        bad(
            "a payload cut short",
            format!("{header}.{}.{signature}", &payload[..payload.len() - 4]),
            "signature is wrong",
        ),
        bad("a signature cut short", &good[..good.len() - 2], "signature is wrong"),
        bad("a signature's byte more", format!("{good}AA"), "signature is wrong"),
        bad("bits behind the last byte", trailing_bits(&good), "base64url"),
        bad("padding", format!("{}.{}.{signature}==", padded(&head), padded(&claims)), "base64url"),
        bad("the other base64", format!("{standard}.{payload}.{signature}"), "base64url"),
        bad("a character of none", format!("{header}.{payload}.!!!!"), "base64url"),
        bad("an end of line", format!("{header}.{payload}.%0a"), "base64url"),
        bad("no base64 at all", "{\"alg\":\"none\"}.{}.x", "base64url"),
        bad("a token of bytes", "abc.def.ghi", "malformed"),
        bad("a long one", with("pad", "x".repeat(9_000).into()), "too long"),
        bad("parts changed round", format!("{payload}.{header}.{signature}"), "malformed"),
    ]
}

/// The last character of 2048 bits in base64 has bits that mean nothing.
fn trailing_bits(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    let other = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        "w" => "x",
        other => panic!("{other}"),
    };
    format!("{rest}{other}")
}

fn algorithms() -> Vec<Bad> {
    let payload = encode(claims_with("sub", "eve".into()));
    let es_under_rsa = r#"{"alg":"ES256","kid":"rsa"}"#;
    let rs_under_es = r#"{"alg":"RS256","kid":"p256"}"#;
    let claims = claims().to_string();
    let embedded = r#"{"alg":"RS256","kid":"mine","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}"#;
    let address = r#"{"alg":"RS256","kid":"mine","jku":"https://evil.example/jwks.json"}"#;
    let der_like = SIGNERS.p256.sign(r#"{"alg":"ES256","kid":"p256"}"#, &claims);
    let mut all = vec![
        bad("none", unsigned("none", ""), "signed by \"none\""),
        bad("None", unsigned("None", ""), "signed by \"None\""),
        bad("NONE", unsigned("NONE", ""), "signed by \"NONE\""),
        bad("nOnE with a signature", unsigned("nOnE", "AAAA"), "signed by \"nOnE\""),
        bad("none, escaped", unsigned("\\u006eone", ""), "signed by \"none\""),
        bad("an empty alg", unsigned("", ""), "signed by \"\""),
        bad("an alg with a space", by_alg("RS256 "), "signed by \"RS256 \""),
        bad("an alg in lower case", by_alg("rs256"), "signed by \"rs256\""),
        bad("HS256 by the key's PEM", by_secret(RSA.as_bytes()), "signed by \"HS256\""),
        bad("HS256 by the key's modulus", by_secret(&modulus()), "signed by \"HS256\""),
        bad("HS256 by nothing", by_secret(b""), "signed by \"HS256\""),
        bad("RS384", by_alg("RS384"), "signed by \"RS384\""),
        bad("PS256", by_alg("PS256"), "signed by \"PS256\""),
        bad("ES256K", by_alg("ES256K"), "signed by \"ES256K\""),
        bad("an encryption's", by_alg("dir"), "signed by \"dir\""),
        bad("ES256 under an RSA key's name", SIGNERS.p256.sign(es_under_rsa, &claims), "not known"),
        bad("RS256 under a P-256 key's name", SIGNERS.rsa.sign(rs_under_es, &claims), "not known"),
        bad("EdDSA signed by RSA", under(r#"{"alg":"EdDSA","kid":"ed"}"#), "signature is wrong"),
        bad(
            "RS256 signed by Ed25519",
            SIGNERS.ed25519.sign(header(), &claims),
            "signature is wrong",
        ),
        bad("an unknown key", under(r#"{"alg":"RS256","kid":"other"}"#), "\"other\" is not known"),
        bad("an empty name", under(r#"{"alg":"RS256","kid":""}"#), "\"\" is not known"),
        bad("a path as a name", under(r#"{"alg":"RS256","kid":"../../dev/null"}"#), "is not known"),
        bad("another key under the name", SIGNERS.rsa_other.sign(header(), &claims), "is wrong"),
        bad("another key, no name", SIGNERS.rsa_other.sign(r#"{"alg":"RS256"}"#, &claims), "wrong"),
        bad("a key that it brings along", SIGNERS.rsa_other.sign(embedded, &claims), "not known"),
        bad("a key's address", SIGNERS.rsa_other.sign(address, &claims), "not known"),
    ];
    let mut header_of_another = der_like.split('.');
    let other = (header_of_another.next().unwrap(), header_of_another.nth(1).unwrap());
    all.push(bad(
        "another token's signature",
        format!("{}.{payload}.{}", other.0, other.1),
        "wrong",
    ));
    all.push(bad("a signature of zeros", zeros(&der_like), "signature is wrong"));
    all
}

/// With r and s of 0, which some libraries took for anything's signature (CVE-2022-21449).
fn zeros(token: &str) -> String {
    let signed = &token[..token.rfind('.').unwrap()];
    format!("{signed}.{}", encode([0; 64]))
}

fn headers() -> Vec<Bad> {
    vec![
        bad("crit", under(r#"{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}"#), "has crit"),
        bad("an empty crit", under(r#"{"alg":"RS256","kid":"rsa","crit":[]}"#), "has crit"),
        bad("b64", under(r#"{"alg":"RS256","kid":"rsa","b64":false}"#), "has b64"),
        bad("zip", under(r#"{"alg":"RS256","kid":"rsa","zip":"DEF"}"#), "has zip"),
        bad("no alg", under(r#"{"kid":"rsa"}"#), "has no alg"),
        bad("an alg of null", under(r#"{"alg":null,"kid":"rsa"}"#), "alg that is no text"),
        bad("algs", under(r#"{"alg":["RS256"],"kid":"rsa"}"#), "alg that is no text"),
        bad("alg twice", under(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#), "unique names"),
        bad("a kid of another type", under(r#"{"alg":"RS256","kid":7}"#), "kid that is no text"),
        bad("a header that is a list", under("[\"RS256\"]"), "malformed"),
        bad("a header with something behind", under("{\"alg\":\"RS256\"}{}"), "no JSON"),
        bad("a deep header", under(&format!("{{\"alg\":{}", "[".repeat(2_000))), "malformed"),
        bad("a token for logging out", under(r#"{"alg":"RS256","typ":"logout+jwt"}"#), "kind"),
        bad("an identity's event", under(r#"{"alg":"RS256","typ":"secevent+jwt"}"#), "kind"),
    ]
}

fn payloads() -> Vec<Bad> {
    let rsa = &SIGNERS.rsa;
    let inner = good();
    let twice = claims().to_string().replacen('{', "{\"sub\":\"root\",", 1);
    vec![
        bad("a payload that is a list", rsa.sign(header(), "[]"), "malformed"),
        bad("a payload that is text", rsa.sign(header(), "\"ada\""), "malformed"),
        bad("a payload that is null", rsa.sign(header(), "null"), "malformed"),
        bad("an empty payload", rsa.sign(header(), ""), "no JSON"),
        bad("a payload that is no UTF-8", rsa.sign(header(), b"{\"sub\":\"\xff\"}"), "no JSON"),
        bad("a token in a token", rsa.sign(header(), inner), "no JSON"),
        bad("a claim twice", rsa.sign(header(), twice), "unique names"),
        bad("nothing claimed", rsa.sign(header(), "{}"), "has no exp"),
        bad("no expiry", with("exp", Value::Null), "has no exp"),
        bad("expired", with("exp", (NOW - 61).into()), "expired 61 s ago"),
        bad("expired just now, leeway and all", with("exp", (NOW - 60).into()), "expired 60 s"),
        bad("expired long ago", with("exp", 1.into()), "expired"),
        bad("expired in 1970", with("exp", 0.into()), "expired"),
        bad("expired by a fraction", with("exp", json!(f64::from(u32::MAX) / 4.0)), "expired"),
        bad("expires before 1970", with("exp", (-1).into()), "exp is malformed"),
        bad("expires in a text", with("exp", "2100000000".into()), "exp is malformed"),
        bad("expires in 10^300 seconds", with("exp", json!(1e300)), "exp is malformed"),
        bad("expires after 9999", with("exp", 253_402_300_800_u64.into()), "exp is malformed"),
        bad("expires in 2^64 seconds", with("exp", u64::MAX.into()), "exp is malformed"),
        bad(
            "expires in infinite seconds",
            rsa.sign(header(), claims_with("exp", 7.into()).replace("\"exp\":7", "\"exp\":1e999")),
            "no JSON",
        ),
        bad("not yet valid", with("nbf", (NOW + 61).into()), "becomes valid in 61 s"),
        bad("never valid", with("nbf", "never".into()), "nbf is malformed"),
        bad("issued later", with("iat", (NOW + 61).into()), "issued 61 s from now"),
        bad("issued at a list", with("iat", json!([NOW])), "iat is malformed"),
    ]
}

fn people() -> Vec<Bad> {
    vec![
        bad("another issuer", with("iss", "https://evil.example".into()), "not that of"),
        bad("an issuer with a slash", with("iss", format!("{ISSUER}/").into()), "not that of"),
        bad("no issuer", with("iss", Value::Null), "has no iss"),
        bad("issuers", with("iss", json!([ISSUER])), "iss is malformed"),
        bad("for others", with("aud", "https://other.example".into()), "is for"),
        bad("for several others", with("aud", json!(["a", "b"])), "is for"),
        bad("for part of us", with("aud", AUDIENCE[..AUDIENCE.len() - 1].into()), "is for"),
        bad("for nobody", with("aud", Value::Null), "has no aud"),
        bad("for an empty list", with("aud", json!([])), "has no aud"),
        bad("for a number", with("aud", json!([AUDIENCE, 7])), "aud is malformed"),
        bad("about nobody", with("sub", Value::Null), "has no sub"),
        bad("about an empty name", with("sub", "".into()), "sub is malformed"),
        bad("about a number", with("sub", 7.into()), "sub is malformed"),
    ]
}

fn table() -> Vec<Bad> {
    [schemes(), shapes(), algorithms(), headers(), payloads(), people()].concat()
}

/// What a peer gets to know is in `status`, and what the server's log does in `told`.
fn nothing_shows(name: &str, values: &[Vec<u8>], shown: &[String]) {
    for value in values {
        // A piece of the token that no other has.
        let Some(token) = value.get(value.len().saturating_sub(40)..).filter(|it| it.len() == 40)
        else {
            continue;
        };
        let token = String::from_utf8_lossy(token);
        for text in shown {
            assert!(!text.contains(&*token), "{name}: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_is_refused_before_decoding_and_no_handler_runs() {
    let world = World::new();
    let channel = world.serve(usual());
    assert_eq!(call(&channel, &bearer(&good())).await.unwrap(), "ada", "the server answers");
    let (handlers, requests) = (world.handlers(), world.decoded());
    let table = table();
    assert!(table.len() >= 100, "{}", table.len());
    println!("{:>4}  {:<44}{:<16}why", "", "credentials", "code");
    for (row, (name, values, why)) in table.into_iter().enumerate() {
        for streams in [false, true] {
            let called = match streams {
                false => call(&channel, &values).await,
                true => chat(&channel, &values).await,
            };
            let status = called.expect_err(name);
            assert_eq!(status.code(), Code::Unauthenticated, "{name}: {status:?}");
            let told = world.last_refusal();
            if !streams {
                let why = told.split(" | ").next().unwrap_or_default();
                println!("{:>4}  {name:<44}{:<16}{why}", row + 1, status.code().name());
            }
            assert!(told.contains(why), "{name}: {told}");
            let (message, challenge) = match values.is_empty() {
                true => ("this takes a bearer token", "Bearer"),
                false => ("the token is not accepted", "Bearer error=\"invalid_token\""),
            };
            assert_eq!(status.message(), message, "{name}");
            assert_eq!(status.metadata().get("www-authenticate"), Some(challenge), "{name}");
            nothing_shows(name, &values, &[told, format!("{status:?} {status}")]);
        }
    }
    assert_eq!((world.handlers(), world.decoded()), (handlers, requests), "nothing got through");
    println!("handlers that ran: 0; requests that were decoded: 0");
    assert_eq!(call(&channel, &bearer(&good())).await.unwrap(), "ada", "it still answers");
}

/// As many as somebody likes: each is refused by itself, on the connection that others' calls go
/// over, and neither they nor the connection suffer.
#[tokio::test(start_paused = true)]
async fn a_flood_of_forged_tokens_is_refused_one_by_one() {
    let world = World::new();
    let client = world.serve(usual());
    let [header, payload, _] = parts();
    for round in 0..20_u32 {
        for n in 0..50_u32 {
            let signature =
                encode([&round.to_be_bytes()[..], &n.to_be_bytes(), &[7; 248]].concat());
            let forged = bearer(&format!("{header}.{payload}.{signature}"));
            let status = call(&client, &forged).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        }
        assert_eq!(call(&client, &bearer(&good())).await.unwrap(), "ada");
    }
    assert_eq!(world.refusals.lock().unwrap().len(), 1_000);
    assert_eq!((world.handlers(), world.decoded()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_good_token_may_not_permit_the_call() {
    let world = World::new();
    let validator = rules(crate::tokens::key_set()).require_scope("write").require("tier", "gold");
    let auth = gannet_auth::JwtAuth::new(validator.build().unwrap());
    let channel = world.serve(auth.require_scope_on("/test.Test/Chat", "chat"));
    for (token, why) in [
        (with("scope", "read".into()), "the scope \"write\""),
        (with("scope", "writes".into()), "the scope \"write\""),
        (with("scope", Value::Null), "the scope \"write\""),
        (with("tier", "tin".into()), "tier is not what it must be"),
        (with("tier", Value::Null), "tier is not what it must be"),
    ] {
        let status = call(&channel, &bearer(&token)).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{why}");
        let challenge = status.metadata().get("www-authenticate");
        assert_eq!(challenge, Some("Bearer error=\"insufficient_scope\""));
        assert!(world.last_refusal().contains(why), "{}", world.last_refusal());
    }
    let status = chat(&channel, &bearer(&good())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!((world.handlers(), world.decoded()), (0, 0));
    assert_eq!(call(&channel, &bearer(&good())).await.unwrap(), "ada");
    let chatty = with("scope", "write chat".into());
    assert_eq!(chat(&channel, &bearer(&chatty)).await.unwrap(), "ada");
}

/// Keys are for one algorithm each, so that the three are tried with each other's names.
#[test]
fn the_table_knows_what_it_talks_about() {
    assert_ne!(P256, RSA);
    let names: std::collections::HashSet<_> = table().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), table().len(), "each has a name of its own");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is changed in a good token, it is refused, and nothing panics.
    #[test]
    fn a_token_that_is_changed_is_refused(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<char>(), 0..4),
        cut in 0_usize..4,
        which in 0_usize..3,
    ) {
        static VALIDATOR: LazyLock<gannet_auth::JwtValidator> =
            LazyLock::new(|| rules(crate::tokens::key_set()).build().unwrap());
        static GOOD: LazyLock<[String; 3]> = LazyLock::new(|| {
            let claims = claims().to_string();
            let [p256, ed] = [r#"{"alg":"ES256","kid":"p256"}"#, r#"{"alg":"EdDSA"}"#];
            [good(), SIGNERS.p256.sign(p256, &claims), SIGNERS.ed25519.sign(ed, &claims)]
        });
        let good = &GOOD[which];
        prop_assert!(VALIDATOR.check(good).is_ok());
        let start = at.index(good.len());
        let end = (start + cut).min(good.len());
        let mut changed = good.clone();
        changed.replace_range(start..end, &bytes.into_iter().collect::<String>());
        if changed != *good {
            prop_assert!(VALIDATOR.check(&changed).is_err(), "{}", changed);
        }
    }

    /// Whatever somebody sends who has no key.
    #[test]
    fn what_nobody_has_signed_is_refused(
        header in ".*",
        payload in ".*",
        signature in any::<Vec<u8>>(),
    ) {
        let validator = rules(crate::tokens::key_set()).build().unwrap();
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode(signature));
        prop_assert!(validator.check(&token).is_err());
    }
}
