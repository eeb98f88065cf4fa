//! JSON Web Tokens of the case `jwt`: who signs them, and which are good.

use std::time::SystemTime;

use gannet::auth::{JwtCredentials, JwtValidator, KeyError, KeySet, Keys, SigningKey};
use serde_json::json;

/// Names of the keys: RS256, ES256, EdDSA.
pub const NAMES: [&str; 3] = ["rsa", "p256", "ed25519"];
/// Who issues tokens.
pub const ISSUER: &str = "https://issuer.interop";
/// For whom.
pub const AUDIENCE: &str = "https://echo.interop";
/// About whom.
pub const WHO: &str = "interop";

/// A private key by its name.
///
/// # Errors
/// Where there is none of this name.
pub fn key(name: &str) -> Result<SigningKey, KeyError> {
    let pem = match name {
        "rsa" => include_str!("../../jwt/rsa.pem"),
        "p256" => include_str!("../../jwt/p256.pem"),
        "ed25519" => include_str!("../../jwt/ed25519.pem"),
        _ => "",
    };
    Ok(SigningKey::from_pem(pem)?.with_key_id(name))
}

/// Tokens that servers accept, signed by the key of this name.
///
/// # Errors
/// Where there is none of this name.
pub fn credentials(name: &str) -> Result<JwtCredentials, KeyError> {
    Ok(JwtCredentials::new(ISSUER, key(name)?).subject(WHO).audience(AUDIENCE))
}

/// One token that servers accept, for an hour.
///
/// # Errors
/// Where the clock or the key is broken.
pub fn token(name: &str) -> Result<String, Box<dyn std::error::Error>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": WHO, "iat": now, "exp": now + 3_600,
    });
    Ok(key(name)?.sign(&claims)?)
}

/// What servers accept: what the public keys check, in a set that another program has written.
///
/// # Errors
/// Where that cannot be read.
pub fn validator() -> Result<JwtValidator, Box<dyn std::error::Error>> {
    validator_by(KeySet::from_jwks(include_str!("../../jwt/jwks.json"))?)
}

/// The same, by keys that follow the set's file in the source.
///
/// # Errors
/// Where that cannot be read.
pub fn following_validator() -> Result<JwtValidator, Box<dyn std::error::Error>> {
    validator_by(Keys::follow(concat!(env!("CARGO_MANIFEST_DIR"), "/../jwt/jwks.json")).open()?)
}

fn validator_by(keys: impl Into<Keys>) -> Result<JwtValidator, Box<dyn std::error::Error>> {
    Ok(JwtValidator::builder().issuer(ISSUER, keys).audience(AUDIENCE).build()?)
}
