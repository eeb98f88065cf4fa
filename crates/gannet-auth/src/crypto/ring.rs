//! What ring has of its own.

pub(super) use ring::{digest, rand, signature};
use signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

/// Reads a P-256 key.
pub(super) fn p256(pkcs8: &[u8]) -> Option<EcdsaKeyPair> {
    let random = rand::SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random).ok()
}
