//! [`JwtAuth`]: the server's interceptor, which looks at bearer tokens (RFC 6750 sections 2.1 and
//! 3).

use std::fmt;

use gannet_core::{Code, Metadata, MethodDescriptor, Result, Status};
use gannet_server::{Call, Handled, Incoming, Interceptor, Next};

use crate::JwtValidator;
use crate::jwt::{Claims, Refusal};

/// What a call is asked for by, and refused with.
const AUTHORIZATION: &str = "authorization";
const WWW_AUTHENTICATE: &str = "www-authenticate";
const BEARER: &str = "bearer";

/// Lets only calls with a good token go on, before their request is decoded: give it to
/// [`Server::intercept`](gannet_server::Server::intercept).
///
/// A call that is let through has the token's [`Claims`] in its extensions. Others end with
/// UNAUTHENTICATED, or PERMISSION_DENIED where a good token lacks a claim or scope. Of why, the
/// peer is told no more than RFC 6750 has it, in `www-authenticate`; the [`Refusal`] is the status'
/// source, which is not sent, and goes to [`on_refusal`](Self::on_refusal).
///
/// A call is judged when it begins, and never again: a stream goes on when its token has ended or
/// its key is withdrawn, as in grpc-go. Where that must not be, give streams a longest time
/// ([`MethodOptions::timeout`](gannet_server::MethodOptions::timeout)), or look at
/// [`Claims::expires_at`] in the handler.
///
/// ```
/// # use gannet::auth::{JwtAuth, JwtValidator};
/// # fn example(validator: JwtValidator) -> JwtAuth {
/// JwtAuth::new(validator)
///     .except("grpc.health.v1.Health")
///     .require_scope_on("/diary.Diary/Write", "diary.write")
///     .on_refusal(|call, refusal| eprintln!("{}: {refusal}", call.peer()))
/// # }
/// ```
#[must_use = "an interceptor does nothing until a server has it"]
pub struct JwtAuth {
    validator: JwtValidator,
    /// Names of services, and paths of methods.
    except: Vec<String>,
    scopes: Vec<(String, String)>,
    is_optional: bool,
    hook: Option<Hook>,
}

type Hook = Box<dyn Fn(&Call, &Refusal) + Send + Sync>;

impl JwtAuth {
    /// Asks all calls for a token that `validator` accepts.
    pub fn new(validator: JwtValidator) -> JwtAuth {
        JwtAuth {
            validator,
            except: Vec::new(),
            scopes: Vec::new(),
            is_optional: false,
            hook: None,
        }
    }

    /// Does not look at calls of a service (`"pkg.Service"`) or of one method
    /// (`"/pkg.Service/Method"`), such as health checks. A name that nothing of the server has
    /// fails `serve`.
    pub fn except(mut self, name: impl Into<String>) -> JwtAuth {
        self.except.push(name.into());
        self
    }

    /// Asks the calls of a service, or of one method, for a scope besides what the validator asks
    /// of all. A name that nothing of the server has fails `serve`.
    pub fn require_scope_on(
        mut self,
        name: impl Into<String>,
        scope: impl Into<String>,
    ) -> JwtAuth {
        self.scopes.push((name.into(), scope.into()));
        self
    }

    /// Lets calls without any token go on, without claims. Those with one that is not good are
    /// still refused, and those to which [a scope](Self::require_scope_on) is due.
    pub fn optional(mut self) -> JwtAuth {
        self.is_optional = true;
        self
    }

    /// Calls `hook` with each call that is refused, and why. It runs before the call ends and must
    /// not block. Anybody can be refused as often as they call, so a log should count rather than
    /// write each.
    pub fn on_refusal(mut self, hook: impl Fn(&Call, &Refusal) + Send + Sync + 'static) -> JwtAuth {
        self.hook = Some(Box::new(hook));
        self
    }

    async fn judge(&self, call: &Incoming) -> Result<Option<Claims>, Refusal> {
        let mut scopes = self.scopes.iter().filter(|(name, _)| is_of(name, call.method()));
        let token = match bearer(call.metadata()) {
            Err(Refusal::Missing) if self.is_optional => {
                // A scope is nobody's who has no token.
                return scopes.next().map_or(Ok(None), |_| Err(Refusal::Missing));
            }
            other => other?,
        };
        let claims = self.validator.validate(token).await?;
        match scopes.find(|(_, scope)| !claims.has_scope(scope)) {
            Some((_, scope)) => Err(Refusal::Scope(scope.clone())),
            None => Ok(Some(claims)),
        }
    }
}

impl Interceptor for JwtAuth {
    async fn intercept(&self, mut call: Incoming, next: Next) -> Result<Handled> {
        if self.except.iter().any(|name| is_of(name, call.method())) {
            return next.run(call).await;
        }
        match self.judge(&call).await {
            Ok(None) => {}
            Ok(Some(claims)) => call.extensions_mut().insert(claims),
            Err(refusal) => {
                if let Some(hook) = &self.hook {
                    hook(&call, &refusal);
                }
                return Err(status(refusal));
            }
        }
        next.run(call).await
    }

    fn names(&self) -> Vec<&str> {
        let scopes = self.scopes.iter().map(|(name, _)| name);
        self.except.iter().chain(scopes).map(String::as_str).collect()
    }
}

impl fmt::Debug for JwtAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuth")
            .field("validator", &self.validator)
            .field("except", &self.except)
            .field("scopes", &self.scopes)
            .field("is_optional", &self.is_optional)
            .finish_non_exhaustive()
    }
}

/// Whether `name` is that of the method or of its service.
fn is_of(name: &str, method: &MethodDescriptor) -> bool {
    name == method.path || name == method.service
}

/// The token of the one `authorization`. The scheme may be in any case (RFC 9110 section 11.1).
fn bearer(metadata: &Metadata) -> Result<&str, Refusal> {
    let mut values = metadata.get_all(AUTHORIZATION);
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Several);
    }
    let value = std::str::from_utf8(value).map_err(|_| Refusal::NotBearer)?;
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::NotBearer)?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case(BEARER) || token.is_empty() {
        return Err(Refusal::NotBearer);
    }
    Ok(token)
}

/// What the peer is told.
fn status(refusal: Refusal) -> Status {
    let (message, challenge) = match (&refusal, refusal.code()) {
        (Refusal::Missing, _) => ("this takes a bearer token", "Bearer"),
        (_, Code::PermissionDenied) => {
            ("the token does not permit this", "Bearer error=\"insufficient_scope\"")
        }
        _ => ("the token is not accepted", "Bearer error=\"invalid_token\""),
    };
    let mut status = Status::new(refusal.code(), message);
    // Both are short, and fit for what they are.
    let _ = status.metadata_mut().insert(WWW_AUTHENTICATE, challenge);
    status.with_source(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<String, Refusal> {
        let fields = values.iter().map(|value| (AUTHORIZATION.as_bytes(), *value));
        bearer(&Metadata::from_wire(fields)).map(str::to_owned)
    }

    #[test]
    fn the_one_bearer_token_is_found() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c", "Bearer   a.b.c"] {
            assert_eq!(read(&[value.as_bytes()]), Ok("a.b.c".into()), "{value}");
        }
        assert_eq!(read(&[]), Err(Refusal::Missing));
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), Err(Refusal::Several));
        for value in [
            &b""[..],
            b"a.b.c",
            b"Bearer",
            b"Bearer ",
            b"Bearer\ta.b.c",
            b"Bearera.b.c",
            b"Basic YTpi",
            b"Bearer \xff",
            b" Bearer a",
        ] {
            assert_eq!(read(&[value]), Err(Refusal::NotBearer), "{value:?}");
        }
    }

    #[test]
    fn the_peer_is_told_little() {
        let told = |refusal| {
            let status = status(refusal);
            let challenge = status.metadata().get(WWW_AUTHENTICATE).unwrap().to_owned();
            (status.code(), status.message().to_owned(), challenge)
        };
        let invalid = told(Refusal::Signature);
        assert_eq!(invalid.0, Code::Unauthenticated);
        for other in [
            Refusal::Several,
            Refusal::NotBearer,
            Refusal::Malformed("x".into()),
            Refusal::Expired(std::time::Duration::ZERO),
            Refusal::UnknownKey(None),
            Refusal::Audience("x".into()),
        ] {
            assert_eq!(told(other), invalid);
        }
        assert_eq!(told(Refusal::Missing).2, "Bearer");
        assert_eq!(told(Refusal::Scope("x".into())).0, Code::PermissionDenied);
    }
}
