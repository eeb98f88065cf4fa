//! Signatures of RS256, ES256 (RFC 7518 sections 3.3 and 3.4) and EdDSA with Ed25519 (RFC 8037).
//!
//! A key is of one algorithm, for good: which one checks a signature is never the token's to say.
//! The cryptography is aws-lc-rs', or ring's where that alone is switched on; both have one API but
//! for what is in their own files here.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs;
#[cfg(all(not(feature = "aws-lc-rs"), feature = "ring"))]
mod ring;

#[cfg(feature = "aws-lc-rs")]
use self::aws_lc_rs as backend;
#[cfg(all(not(feature = "aws-lc-rs"), feature = "ring"))]
use self::ring as backend;

use backend::{digest, rand, signature};
use signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use crate::jwt::Algorithm;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("gannet-auth needs the feature `aws-lc-rs`, its default, or `ring` for signatures");

/// A modulus of 2048 bits at least, of 8192 at most.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Twice a coordinate, and the byte that says that both are there.
const P256_POINT_BYTES: usize = 65;
const P256_COORDINATE_BYTES: usize = 32;
const UNCOMPRESSED: u8 = 4;

/// A key that checks signatures of one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed.
    P256([u8; P256_POINT_BYTES]),
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// # Errors
    /// What is wrong with the numbers.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, &'static str> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        // 2048 bits are 256 bytes of which the first has its highest bit set.
        let is_long = RSA_MODULUS_BYTES.contains(&n.len());
        if !is_long || (n.len() == *RSA_MODULUS_BYTES.start() && n[0] < 0x80) || !is_odd(n) {
            return Err("an RSA modulus is an odd number of 2048 to 8192 bits");
        }
        if !(1..=4).contains(&e.len()) || !is_odd(e) || e == [1] {
            return Err("an RSA exponent is an odd number from 3 to 2^32");
        }
        Ok(PublicKey::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    /// # Errors
    /// Where a coordinate is not 32 bytes long, or both together are no point of the curve.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Result<PublicKey, &'static str> {
        if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
            return Err("a coordinate of P-256 is 32 bytes long");
        }
        let mut point = [UNCOMPRESSED; P256_POINT_BYTES];
        point[1..=P256_COORDINATE_BYTES].copy_from_slice(x);
        point[1 + P256_COORDINATE_BYTES..].copy_from_slice(y);
        if !backend::is_on_p256(&point) {
            return Err("its point is not on the curve P-256");
        }
        Ok(PublicKey::P256(point))
    }

    /// # Errors
    /// Where it is not 32 bytes long.
    pub(crate) fn ed25519(x: &[u8]) -> Result<PublicKey, &'static str> {
        x.try_into().map(PublicKey::Ed25519).map_err(|_| "a key of Ed25519 is 32 bytes long")
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Rsa { .. } => Algorithm::Rs256,
            PublicKey::P256(_) => Algorithm::Es256,
            PublicKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Both halves of a point of P-256.
    pub(crate) fn coordinates(point: &[u8; P256_POINT_BYTES]) -> (&[u8], &[u8]) {
        point[1..].split_at(P256_COORDINATE_BYTES)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            PublicKey::Rsa { n, e } => RsaPublicKeyComponents { n: &**n, e: &**e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            PublicKey::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            PublicKey::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

/// A key that signs by one algorithm. Shows nothing.
pub(crate) enum PrivateKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads PKCS #8; `None` where it is of no kind that is known.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<PrivateKey> {
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok();
        let rsa = || RsaKeyPair::from_pkcs8(pkcs8).ok();
        (backend::p256(pkcs8).map(PrivateKey::P256))
            .or_else(|| ed25519().map(PrivateKey::Ed25519))
            .or_else(|| rsa().map(PrivateKey::Rsa))
    }

    /// # Errors
    /// Where the system has no randomness, or the library fails.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        let random = rand::SystemRandom::new();
        match self {
            PrivateKey::Rsa(pair) => {
                let mut signature = vec![0; self.rsa_modulus_bytes()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| "RSA failed to sign")
            }
            PrivateKey::P256(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| "ECDSA failed to sign"),
            PrivateKey::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    fn rsa_modulus_bytes(&self) -> usize {
        match self.public() {
            Ok(PublicKey::Rsa { n, .. }) => n.len(),
            _ => 0,
        }
    }

    /// # Errors
    /// Where the key is too short, or too long, for what checks signatures.
    pub(crate) fn public(&self) -> Result<PublicKey, &'static str> {
        match self {
            PrivateKey::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref())
                    .ok_or("an RSA key is a modulus and an exponent")?;
                PublicKey::rsa(n, e)
            }
            PrivateKey::P256(pair) => match pair.public_key().as_ref() {
                [UNCOMPRESSED, point @ ..] if point.len() == P256_POINT_BYTES - 1 => {
                    let (x, y) = point.split_at(P256_COORDINATE_BYTES);
                    PublicKey::p256(x, y)
                }
                _ => Err("a point of P-256 is 65 bytes long"),
            },
            PrivateKey::Ed25519(pair) => PublicKey::ed25519(pair.public_key().as_ref()),
        }
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

/// Modulus and exponent of an RSAPublicKey in DER (RFC 8017, appendix A.1.1), as the libraries give
/// it out.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (both, _) = der_element(der, SEQUENCE)?;
    let (n, rest) = der_element(both, INTEGER)?;
    let (e, _) = der_element(rest, INTEGER)?;
    Some((n, e))
}

/// The content of the first element, and what is behind it.
fn der_element(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [tag, length @ ..=0x7f, rest @ ..] if *tag == expected => (usize::from(*length), rest),
        [tag, 0x81, length, rest @ ..] if *tag == expected => (usize::from(*length), rest),
        [tag, 0x82, high, low, rest @ ..] if *tag == expected => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
