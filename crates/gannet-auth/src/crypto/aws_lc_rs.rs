//! What aws-lc-rs has of its own.

pub(super) use aws_lc_rs::{digest, rand, signature};
use signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

/// Reads a P-256 key.
pub(super) fn p256(pkcs8: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()
}
