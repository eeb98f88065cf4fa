//! [`Claims`]: what a token says, once it is believed (RFC 7519 section 4.1).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Object, Refusal, read_object};

/// The last second of the year 9999, beyond which a date is a mistake.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// What a token says that was found to be good: a server's [`JwtAuth`](crate::JwtAuth) leaves it in
/// the call's extensions.
///
/// ```
/// # use gannet::{Call, Result, Status};
/// use gannet::auth::Claims;
///
/// fn caller(call: &Call) -> Result<&str> {
///     let claims = call.extensions().get::<Claims>();
///     claims.and_then(Claims::subject).ok_or_else(|| Status::internal("nobody calls"))
/// }
/// ```
///
/// Cheap to clone. Its `Debug` shows who, by whom and until when, and of the rest the names.
#[derive(Clone)]
pub struct Claims(Arc<Inner>);

struct Inner {
    issuer: Option<String>,
    subject: Option<String>,
    audiences: Vec<String>,
    expires_at: SystemTime,
    not_before: Option<SystemTime>,
    issued_at: Option<SystemTime>,
    scopes: Vec<String>,
    all: Object,
}

impl Claims {
    /// Reads a payload. That claims have the right types is all that is looked at.
    pub(crate) fn read(json: &[u8]) -> Result<Claims, Refusal> {
        let all =
            read_object(json).map_err(|what| Refusal::Malformed(format!("its payload {what}")))?;
        let expires_at = date(&all, "exp")?.ok_or_else(|| Refusal::Lacks("exp".into()))?;
        Ok(Claims(Arc::new(Inner {
            issuer: text(&all, "iss")?,
            subject: text(&all, "sub")?,
            audiences: texts(&all, "aud")?,
            expires_at,
            not_before: date(&all, "nbf")?,
            issued_at: date(&all, "iat")?,
            scopes: scopes(&all)?,
            all,
        })))
    }

    /// Who issued the token (`iss`).
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// Whom it is about (`sub`): who calls.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// Whom it is for (`aud`).
    pub fn audiences(&self) -> &[String] {
        &self.0.audiences
    }

    /// When it stops being valid (`exp`).
    pub fn expires_at(&self) -> SystemTime {
        self.0.expires_at
    }

    /// When it starts being valid (`nbf`).
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.not_before
    }

    /// When it was issued (`iat`).
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.0.issued_at
    }

    /// What it may be used for: the words of `scope` (RFC 8693 section 4.2), or what `scp` has, as
    /// some issuers call it.
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Whether it has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.scopes.iter().any(|one| one == scope)
    }

    /// Any claim, by its name.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.all.get(name)
    }

    /// All claims, as a type of one's own.
    ///
    /// # Errors
    /// What of it the claims do not have, or not so.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.0.all.clone()))
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .field("audiences", &self.audiences())
            .field("expires_at", &self.expires_at())
            .field("names", &self.0.all.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A claim that is text and not empty, where it is there.
fn text(all: &Object, name: &'static str) -> Result<Option<String>, Refusal> {
    match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::BadClaim(name)),
    }
}

/// A claim that is text, or a list of it.
fn texts(all: &Object, name: &'static str) -> Result<Vec<String>, Refusal> {
    match all.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            let each = list.iter().map(|one| one.as_str().map(str::to_owned));
            each.collect::<Option<_>>().ok_or(Refusal::BadClaim(name))
        }
        Some(_) => Err(Refusal::BadClaim(name)),
    }
}

fn scopes(all: &Object) -> Result<Vec<String>, Refusal> {
    let words =
        |text: &str| text.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    match all.get("scope") {
        Some(Value::String(text)) => Ok(words(text)),
        Some(_) => Err(Refusal::BadClaim("scope")),
        None => match all.get("scp") {
            Some(Value::String(text)) => Ok(words(text)),
            _ => texts(all, "scp"),
        },
    }
}

fn date(all: &Object, name: &'static str) -> Result<Option<SystemTime>, Refusal> {
    let Some(value) = all.get(name) else { return Ok(None) };
    numeric_date(value).map(Some).ok_or(Refusal::BadClaim(name))
}

/// Seconds since 1970, whole or not (RFC 7519 section 2, "NumericDate"), up to the year 9999.
pub(crate) fn numeric_date(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Claims, Refusal> {
        Claims::read(json.as_bytes())
    }

    #[test]
    fn claims_are_read_by_their_types() {
        let claims = read(
            r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1700000000.5,"nbf":1,"iat":2,
                "scope":"read  write","role":"admin","n":7}"#,
        )
        .unwrap();
        assert_eq!((claims.issuer(), claims.subject()), (Some("i"), Some("s")));
        assert_eq!(claims.audiences(), ["a", "b"]);
        assert_eq!(claims.scopes(), ["read", "write"]);
        assert!(claims.has_scope("read") && !claims.has_scope("rea"));
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(claims.expires_at(), at(1_700_000_000_500));
        assert_eq!((claims.not_before(), claims.issued_at()), (Some(at(1_000)), Some(at(2_000))));
        assert_eq!(claims.claim("role").and_then(Value::as_str), Some("admin"));
        let own: std::collections::BTreeMap<String, Value> = claims.parse().unwrap();
        assert_eq!((own["role"].as_str(), own["n"].as_u64()), (Some("admin"), Some(7)));
        assert!(claims.parse::<Vec<u8>>().is_err());
        let debug = format!("{claims:?}");
        assert!(debug.contains("role") && !debug.contains("admin"), "{debug}");
        assert_eq!(read(r#"{"exp":1,"scp":["x"],"aud":"a"}"#).unwrap().scopes(), ["x"]);
        assert_eq!(read(r#"{"exp":1,"scp":"x y"}"#).unwrap().scopes(), ["x", "y"]);
    }

    #[test]
    fn claims_of_other_types_are_refused() {
        for (json, claim) in [
            (r#"{"exp":"1700000000"}"#, "exp"),
            (r#"{"exp":null}"#, "exp"),
            (r#"{"exp":true}"#, "exp"),
            (r#"{"exp":-1}"#, "exp"),
            (r#"{"exp":1e300}"#, "exp"),
            (r#"{"exp":253402300800}"#, "exp"),
            (r#"{"exp":18446744073709551615}"#, "exp"),
            (r#"{"exp":1,"nbf":"now"}"#, "nbf"),
            (r#"{"exp":1,"iat":[]}"#, "iat"),
            (r#"{"exp":1,"iss":7}"#, "iss"),
            (r#"{"exp":1,"iss":""}"#, "iss"),
            (r#"{"exp":1,"sub":{}}"#, "sub"),
            (r#"{"exp":1,"aud":[1]}"#, "aud"),
            (r#"{"exp":1,"aud":{"a":"b"}}"#, "aud"),
            (r#"{"exp":1,"scope":["a"]}"#, "scope"),
            (r#"{"exp":1,"scp":1}"#, "scp"),
        ] {
            assert_eq!(read(json).err(), Some(Refusal::BadClaim(claim)), "{json}");
        }
        assert_eq!(read("{}").err(), Some(Refusal::Lacks("exp".into())));
    }
}
