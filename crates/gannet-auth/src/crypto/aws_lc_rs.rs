//! What aws-lc-rs has of its own.

pub(super) use aws_lc_rs::{digest, rand, signature};
use signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey,
};

/// Reads a P-256 key.
pub(super) fn p256(pkcs8: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()
}

/// Whether an uncompressed point lies on the curve P-256.
pub(super) fn is_on_p256(point: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
}
