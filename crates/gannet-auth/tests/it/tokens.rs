//! Makes tokens, also such as no issuer would: by ring, whichever library checks them.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gannet_auth::{KeySet, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

pub(crate) const RSA: &str = include_str!("../data/rsa.pem");
pub(crate) const RSA_OTHER: &str = include_str!("../data/rsa_other.pem");
pub(crate) const P256: &str = include_str!("../data/p256.pem");
pub(crate) const ED25519: &str = include_str!("../data/ed25519.pem");

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "https://svc.example/test.Test";

/// What time it is in these tests.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// One that signs as it is told.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Keys take long to read.
pub(crate) struct Signers {
    pub(crate) rsa: Signer,
    pub(crate) rsa_other: Signer,
    pub(crate) p256: Signer,
    pub(crate) ed25519: Signer,
}

pub(crate) static SIGNERS: LazyLock<Signers> = LazyLock::new(|| Signers {
    rsa: Signer::new(RSA),
    rsa_other: Signer::new(RSA_OTHER),
    p256: Signer::new(P256),
    ed25519: Signer::new(ED25519),
});

impl Signer {
    fn new(pem: &str) -> Signer {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let der = der.secret_pkcs8_der();
        let random = SystemRandom::new();
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
            return Signer::Rsa(Box::new(pair));
        }
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
            Ok(pair) => Signer::P256(pair),
            Err(_) => Signer::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap()),
        }
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Signer::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of this header and this payload, whatever they are.
    pub(crate) fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys that servers of these tests believe: `rsa`, `p256` and `ed`.
pub(crate) fn key_set() -> KeySet {
    let mut all = KeySet::default();
    for (pem, id) in [(RSA, "rsa"), (P256, "p256"), (ED25519, "ed")] {
        all.extend(SigningKey::from_pem(pem).unwrap().with_key_id(id).key_set());
    }
    all
}

/// A header of RS256.
pub(crate) fn header() -> String {
    r#"{"alg":"RS256","typ":"JWT","kid":"rsa"}"#.to_owned()
}

/// Claims of a token that is good.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "ada", "aud": AUDIENCE,
        "exp": NOW + 600, "nbf": NOW - 60, "iat": NOW - 60, "scope": "read write", "tier": "gold",
    })
}

/// Those with one changed; or left out, by null.
pub(crate) fn claims_with(name: &str, value: Value) -> String {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    match value {
        Value::Null => all.remove(name),
        value => all.insert(name.to_owned(), value),
    };
    claims.to_string()
}

/// A good token but for one claim.
pub(crate) fn with(name: &str, value: Value) -> String {
    SIGNERS.rsa.sign(header(), claims_with(name, value))
}

pub(crate) fn good() -> String {
    SIGNERS.rsa.sign(header(), claims().to_string())
}
