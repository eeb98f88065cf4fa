//! [`KeySet`]: public keys by their names, read from a JSON Web Key Set (RFC 7517).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::crypto::PublicKey;
use crate::file;
use crate::jwt::{Algorithm, Object, from_base64url, read_object, shown};

/// The longest set that is read.
const SET_BYTES_MAX: usize = 1 << 20;
/// As many keys as a set may have that can be used.
const KEYS_MAX: usize = 1_000;
/// Of so many keys that cannot be used it is told why.
const SKIPPED_TOLD_MAX: usize = 16;

/// Public keys, some of them with names (`kid`), each for one algorithm.
///
/// Keys should have names, and tokens name theirs. Of the keys that may have signed a token, which
/// are those of its algorithm that have its name, then those that have none, and all where it names
/// none, four at most are tried, in the order of the set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    pub(crate) public: PublicKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set: `{"keys":[…]}`.
    ///
    /// Keys that are not for checking signatures of RS256, ES256 or EdDSA are left out: those of
    /// other kinds or curves, and those whose `use`, `key_ops` or `alg` says that they are for
    /// something else. So are those that cannot be used as something is wrong with them (RFC 7517
    /// section 5), of which [`skipped`](Self::skipped) tells: one odd key does not keep the others
    /// from being used.
    ///
    /// # Errors
    /// Where it is no such set, or none of its keys can be used; says of the first ones why.
    pub fn from_jwks(json: impl AsRef<[u8]>) -> Result<KeySet, KeyError> {
        let json = json.as_ref();
        if json.len() > SET_BYTES_MAX {
            return Err(KeyError::new(format!("more than {SET_BYTES_MAX} bytes are too many")));
        }
        let set = read_object(json).map_err(|what| KeyError::new(format!("the set {what}")))?;
        let Some(Value::Array(listed)) = set.get("keys") else {
            return Err(KeyError::new("the set has no list of keys"));
        };
        let (mut keys, mut skipped) = (Vec::new(), Skipped::default());
        for (at, jwk) in listed.iter().enumerate() {
            match Key::read(jwk) {
                Ok(key) => keys.extend(key),
                Err(what) => skipped.add(at, jwk, what),
            }
        }
        let skipped = skipped.told();
        match keys.len() {
            0 if skipped.is_empty() => {
                Err(KeyError::new("none of its keys is for RS256, ES256 or EdDSA"))
            }
            0 => Err(KeyError::new(format!("none can be used: {}", skipped.join("; ")))),
            1..=KEYS_MAX => Ok(KeySet { keys, skipped }),
            more => Err(KeyError::new(format!("{more} keys are too many"))),
        }
    }

    /// As [`from_jwks`](Self::from_jwks), from a file.
    ///
    /// # Errors
    /// Where it cannot be read or is no regular file, or as there; names the file.
    pub fn from_jwks_file(path: impl AsRef<Path>) -> Result<KeySet, KeyError> {
        let path = path.as_ref();
        let json =
            file::read(path, SET_BYTES_MAX).map_err(|error| KeyError::unreadable(path, error))?;
        KeySet::from_jwks(json).map_err(|error| error.of(path))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Which keys were left out although they seemed to be for this, and why: each by its place in
    /// the set, from 0, and its `kid`. Of many in one set, the first 16, and in the last text how
    /// many more.
    /// Those that are for something else are not among them.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Adds the keys of another set, and what it tells of those it left out.
    pub fn extend(&mut self, other: KeySet) {
        self.keys.extend(other.keys);
        self.skipped.extend(other.skipped);
    }

    /// The keys that may have signed a token by their algorithm: those with the name that it says,
    /// or, where not `is_named`, those without a name, and all for a token that says none.
    pub(crate) fn fitting<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
        is_named: bool,
    ) -> impl Iterator<Item = &'a Key> {
        let fits = move |key: &&Key| match (key.id.as_deref(), id) {
            (Some(own), Some(id)) => is_named && own == id,
            _ => !is_named,
        };
        self.keys.iter().filter(move |key| key.public.algorithm() == algorithm).filter(fits)
    }
}

impl From<Vec<Key>> for KeySet {
    fn from(keys: Vec<Key>) -> KeySet {
        KeySet { keys, skipped: Vec::new() }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |key: &Key| format!("{} {:?}", key.public.algorithm(), key.id);
        f.debug_list().entries(self.keys.iter().map(shown)).finish()
    }
}

/// Keys that cannot be used.
#[derive(Default)]
struct Skipped {
    told: Vec<String>,
    more: usize,
}

impl Skipped {
    fn add(&mut self, at: usize, jwk: &Value, what: &str) {
        if self.told.len() == SKIPPED_TOLD_MAX {
            self.more += 1;
            return;
        }
        let id = jwk.get("kid").and_then(Value::as_str);
        let name = id.map(|id| format!(" ({:?})", shown(id))).unwrap_or_default();
        self.told.push(format!("key {at}{name}: {what}"));
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more", self.more));
        }
        self.told
    }
}

impl Key {
    /// Reads a JSON Web Key; `None` where it is for something else.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(jwk: &Value) -> Result<Option<Key>, &'static str> {
        let Value::Object(jwk) = jwk else { return Err("is no object") };
        let (kind, curve) = (text(jwk, "kty"), text(jwk, "crv"));
        let algorithm = match (kind, curve) {
            (Some("RSA"), _) => Algorithm::Rs256,
            (Some("EC"), Some("P-256")) => Algorithm::Es256,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDsa,
            (Some(_), _) => return Ok(None),
            (None, _) => return Err("has no kty"),
        };
        // Before anything else of it is asked for: what is for others need not suit us.
        if !is_to_verify(jwk, algorithm) {
            return Ok(None);
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err("its kid is no text"),
        };
        let public = match algorithm {
            Algorithm::Rs256 => PublicKey::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?),
            Algorithm::Es256 => PublicKey::p256(&bytes(jwk, "x")?, &bytes(jwk, "y")?),
            Algorithm::EdDsa => PublicKey::ed25519(&bytes(jwk, "x")?),
        };
        Ok(Some(Key { id, public: public? }))
    }

    /// As a JSON Web Key.
    pub(crate) fn to_jwk(&self) -> Object {
        let parts: Vec<(&str, &[u8])> = match &self.public {
            PublicKey::Rsa { n, e } => vec![("n", n), ("e", e)],
            PublicKey::P256(point) => {
                let (x, y) = PublicKey::coordinates(point);
                vec![("x", x), ("y", y)]
            }
            PublicKey::Ed25519(key) => vec![("x", key)],
        };
        let (kind, curve) = match &self.public {
            PublicKey::Rsa { .. } => ("RSA", None),
            PublicKey::P256(_) => ("EC", Some("P-256")),
            PublicKey::Ed25519(_) => ("OKP", Some("Ed25519")),
        };
        let mut jwk = Object::new();
        let mut set = |name: &str, value: &str| jwk.insert(name.into(), value.into());
        set("kty", kind);
        set("alg", self.public.algorithm().name());
        set("use", "sig");
        if let Some(curve) = curve {
            set("crv", curve);
        }
        if let Some(id) = &self.id {
            set("kid", id);
        }
        for (name, bytes) in parts {
            set(name, &crate::jwt::base64url(bytes));
        }
        jwk
    }
}

fn text<'a>(jwk: &'a Object, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn bytes(jwk: &Object, name: &'static str) -> Result<Vec<u8>, &'static str> {
    text(jwk, name).and_then(from_base64url).ok_or("a part of it is missing, or is no base64url")
}

/// Whether it does not say that it is for something else.
fn is_to_verify(jwk: &Object, algorithm: Algorithm) -> bool {
    let is_to_sign = jwk.get("use").is_none_or(|it| it.as_str() == Some("sig"));
    let verifies =
        |it: &Value| it.as_array().is_some_and(|all| all.iter().any(|op| op == "verify"));
    let is_its = |it: &Value| it.as_str().and_then(Algorithm::named) == Some(algorithm);
    is_to_sign && jwk.get("key_ops").is_none_or(verifies) && jwk.get("alg").is_none_or(is_its)
}

/// Keys cannot be read. Shows none of them.
#[derive(Clone, Debug)]
pub struct KeyError {
    file: Option<PathBuf>,
    problem: String,
    source: Option<Arc<io::Error>>,
}

impl KeyError {
    pub(crate) fn new(problem: impl Into<String>) -> KeyError {
        KeyError { file: None, problem: problem.into(), source: None }
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> KeyError {
        let problem = "it cannot be read".to_owned();
        KeyError { file: Some(path.to_owned()), problem, source: Some(Arc::new(source)) }
    }

    fn of(self, path: &Path) -> KeyError {
        KeyError { file: Some(path.to_owned()), ..self }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "the keys in {}: {}", path.display(), self.problem)?,
            None => write!(f, "keys: {}", self.problem)?,
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
