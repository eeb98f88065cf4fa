//! [`SigningKey`]: a private key that signs tokens.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use serde_json::Value;

use crate::crypto::{PrivateKey, PublicKey};
use crate::jwt::{Algorithm, Object, base64url};
use crate::keys::{Key, KeyError, KeySet};

/// A private key that signs tokens, by the one algorithm that it is for. Cheap to clone.
///
/// ```no_run
/// # fn example(pem: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use gannet::auth::SigningKey;
///
/// let key = SigningKey::from_pem(pem)?.with_key_id("2026-11");
/// let token = key.sign(&serde_json::json!({"iss": "me", "sub": "me", "exp": 1_800_000_000}))?;
/// println!("those who check it need {}", key.to_jwks());
/// # Ok(()) }
/// ```
///
/// It shows its key nowhere.
#[derive(Clone)]
pub struct SigningKey {
    private: Arc<PrivateKey>,
    public: PublicKey,
    id: Option<String>,
}

impl SigningKey {
    /// Reads a private key in PKCS #8 from PEM text (`BEGIN PRIVATE KEY`): RSA, P-256 or Ed25519.
    ///
    /// # Errors
    /// Where there is none, or it is of another kind, or too weak.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<SigningKey, KeyError> {
        // Not the error's own text, which might show what is secret.
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_ref())
            .map_err(|_| KeyError::new("the text has no private key in PKCS #8 and PEM"))?;
        SigningKey::from_pkcs8(key.secret_pkcs8_der())
    }

    /// As [`from_pem`](Self::from_pem), from DER.
    ///
    /// # Errors
    /// Where it is of another kind, or too weak.
    pub fn from_pkcs8(der: impl AsRef<[u8]>) -> Result<SigningKey, KeyError> {
        let unknown = "the private key is not one of RSA with 2048 bits or more, P-256 or Ed25519";
        let private = PrivateKey::from_pkcs8(der.as_ref()).ok_or_else(|| KeyError::new(unknown))?;
        let public = private.public().map_err(KeyError::new)?;
        Ok(SigningKey { private: Arc::new(private), public, id: None })
    }

    /// Names the key in tokens (`kid`), so that others know which one of theirs checks them.
    #[must_use]
    pub fn with_key_id(mut self, id: impl Into<String>) -> SigningKey {
        self.id = Some(id.into());
        self
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The public half, for those who check what this signs.
    pub fn key_set(&self) -> KeySet {
        KeySet::from(vec![Key { id: self.id.clone(), public: self.public.clone() }])
    }

    /// The same as a JSON Web Key Set.
    pub fn to_jwks(&self) -> String {
        let jwk = Key { id: self.id.clone(), public: self.public.clone() }.to_jwk();
        serde_json::json!({ "keys": [jwk] }).to_string()
    }

    /// Makes a token of these claims, which are to be a JSON object.
    ///
    /// # Errors
    /// Where they are none, or there is no randomness.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SignError> {
        let claims =
            serde_json::to_value(claims).map_err(|_| SignError("claims that are no JSON"))?;
        let Value::Object(claims) = claims else {
            return Err(SignError("claims that are no JSON object"));
        };
        let mut header = Object::new();
        header.insert("alg".into(), self.algorithm().name().into());
        header.insert("typ".into(), "JWT".into());
        if let Some(id) = &self.id {
            header.insert("kid".into(), id.as_str().into());
        }
        let encoded = |object: Object| base64url(Value::Object(object).to_string());
        let mut token = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.private.sign(token.as_bytes()).map_err(SignError)?;
        token.push('.');
        token.push_str(&base64url(signature));
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A token cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(&'static str);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token cannot be signed: {}", self.0)
    }
}

impl Error for SignError {}
