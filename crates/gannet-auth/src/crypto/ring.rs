//! What ring has of its own.

use ring::agreement;
pub(super) use ring::{digest, rand, signature};
use signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

/// Reads a P-256 key.
pub(super) fn p256(pkcs8: &[u8]) -> Option<EcdsaKeyPair> {
    let random = rand::SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random).ok()
}

/// Whether an uncompressed point lies on the curve P-256. A key's point is looked at where it is
/// used only: an agreement with a key that is thrown away does.
pub(super) fn is_on_p256(point: &[u8]) -> bool {
    let random = rand::SystemRandom::new();
    let Ok(own) = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random) else {
        return false;
    };
    let point = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
    agreement::agree_ephemeral(own, &point, |_| ()).is_ok()
}
