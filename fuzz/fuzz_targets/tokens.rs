//! JSON Web Tokens: nothing that was not signed is accepted, and of what was signed only what says
//! what it has to, whatever its header and its payload are. Key sets of any bytes do no harm.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::Arbitrary;
use gannet_auth::{JwtValidator, KeySet, SigningKey};
use libfuzzer_sys::fuzz_target;
use ring::signature::Ed25519KeyPair;

/// PKCS #8 of a key that is nobody's: its head, and 32 bytes.
const KEY: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    gannet's fuzzing key: 32 bytes..";
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "i";
const AUDIENCE: &str = "a";

#[derive(Debug, Arbitrary)]
enum Input {
    /// What somebody sends.
    Text(String),
    /// Parts that nobody has signed.
    Forged {
        header: Vec<u8>,
        payload: Vec<u8>,
        signature: Vec<u8>,
    },
    /// Whatever an issuer may sign by mistake.
    Signed {
        header: Option<String>,
        payload: Vec<u8>,
    },
    /// Claims that are nearly good.
    Claimed {
        claims: Vec<(Claim, Value)>,
    },
    /// A good token that was changed.
    Changed {
        at: u16,
        to: u8,
    },
    Keys(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Claim {
    Issuer,
    Audience,
    Subject,
    Expiry,
    NotBefore,
    IssuedAt,
    Scope,
}

#[derive(Debug, Arbitrary)]
enum Value {
    Right,
    Number(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
    Null,
}

struct World {
    pair: Ed25519KeyPair,
    validator: JwtValidator,
    good: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::from_pkcs8(KEY).expect("a key of 32 bytes");
    let validator = JwtValidator::builder().issuer(ISSUER, key.key_set()).audience(AUDIENCE);
    let validator = validator.clock(|| now()).remember(0).build().expect("it is whole");
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(KEY).expect("the same key");
    let claims = format!(r#"{{"iss":"i","aud":"a","sub":"s","exp":{}}}"#, NOW + 60);
    let good = signed(&pair, br#"{"alg":"EdDSA"}"#, claims.as_bytes());
    World { pair, validator, good }
});

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fuzz_target!(|input: Input| {
    let World { pair, validator, good } = &*WORLD;
    match input {
        Input::Text(text) => assert!(validator.check(&text).is_err() || text == *good),
        Input::Forged { header, payload, signature } => {
            let token = format!("{}.{}.{}", text(&header), text(&payload), text(&signature));
            assert!(validator.check(&token).is_err() || token == *good, "{token}");
        }
        Input::Signed { header, payload } => {
            let header = header.unwrap_or_else(|| r#"{"alg":"EdDSA"}"#.to_owned());
            judge(&signed(pair, header.as_bytes(), &payload));
        }
        Input::Claimed { claims } => {
            let claims: Vec<String> =
                claims.iter().map(|(claim, value)| shown(*claim, value)).collect();
            let payload = format!("{{{}}}", claims.join(","));
            judge(&signed(pair, br#"{"alg":"EdDSA","typ":"JWT"}"#, payload.as_bytes()));
        }
        Input::Changed { at, to } => {
            let mut bytes = good.clone().into_bytes();
            let at = usize::from(at) % bytes.len();
            bytes[at] = to;
            let Ok(changed) = String::from_utf8(bytes) else { return };
            assert_eq!(validator.check(&changed).is_ok(), changed == *good);
        }
        Input::Keys(json) => {
            if let Ok(keys) = KeySet::from_jwks(&json) {
                assert!(!keys.is_empty());
                let other = JwtValidator::builder().any_issuer(keys).any_audience().build();
                let _ = other.expect("it is whole").check(good);
            }
        }
    }
});

/// A token that was signed is good where it says what it has to, and not else.
fn judge(token: &str) {
    let Ok(claims) = WORLD.validator.check(token) else { return };
    assert_eq!(claims.issuer(), Some(ISSUER));
    assert!(claims.audiences().iter().any(|audience| audience == AUDIENCE));
    assert!(claims.subject().is_some_and(|subject| !subject.is_empty()));
    let leeway = Duration::from_secs(60);
    assert!(claims.expires_at() + leeway > now());
    assert!(claims.not_before().is_none_or(|at| at <= now() + leeway));
    assert!(claims.issued_at().is_none_or(|at| at <= now() + leeway));
}

fn shown(claim: Claim, value: &Value) -> String {
    let (name, right) = match claim {
        Claim::Issuer => ("iss", "\"i\"".to_owned()),
        Claim::Audience => ("aud", "[\"b\",\"a\"]".to_owned()),
        Claim::Subject => ("sub", "\"s\"".to_owned()),
        Claim::Expiry => ("exp", (NOW + 9).to_string()),
        Claim::NotBefore => ("nbf", NOW.to_string()),
        Claim::IssuedAt => ("iat", NOW.to_string()),
        Claim::Scope => ("scope", "\"x y\"".to_owned()),
    };
    let value = match value {
        Value::Right => right,
        Value::Number(number) => number.to_string(),
        Value::Float(number) => format!("{number:e}"),
        Value::Text(text) => quoted(text),
        Value::List(texts) => {
            format!("[{}]", texts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(","))
        }
        Value::Null => "null".to_owned(),
    };
    format!("\"{name}\":{value}")
}

/// As JSON has it, where it is plain.
fn quoted(text: &str) -> String {
    let plain: String =
        text.chars().filter(|c| !c.is_control() && *c != '"' && *c != '\\').collect();
    format!("\"{plain}\"")
}

fn signed(pair: &Ed25519KeyPair, header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", text(header), text(payload));
    let signature = pair.sign(signed.as_bytes());
    format!("{signed}.{}", text(signature.as_ref()))
}

/// Base64url without padding, by hand: what is tested has its own.
fn text(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for nth in 0..=chunk.len() {
            out.push(char::from(DIGITS[(bits >> (18 - 6 * nth)) as usize & 63]));
        }
    }
    out
}
