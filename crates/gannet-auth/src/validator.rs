//! [`JwtValidator`]: which tokens are good (RFC 7519 section 7.2, RFC 8725).
//!
//! The order is: length, parts, header, key, signature, and only then what the token claims. Of a
//! payload that nobody may have signed, nothing is read but by whom it claims to be issued: that
//! says whose keys are tried, and the signature then decides. What a key checks is what it was
//! made for.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::jwt::{Claims, Header, Parts, Refusal, read_object, shown};
use crate::keys::{KeySet, Keys};
use crate::remembered::Remembered;

/// How many keys are tried at most on a token: of its issuer's, where it does not name one.
const KEYS_TRIED_MAX: usize = 4;
const TOKEN_BYTES_MAX_DEFAULT: usize = 8 << 10;
const LEEWAY_DEFAULT: Duration = Duration::from_secs(60);
const REMEMBERED_DEFAULT: usize = 1_024;
/// Kinds of tokens that are for showing to a service (RFC 9068 section 2.1), in lower case.
const KINDS_DEFAULT: [&str; 2] = ["jwt", "at+jwt"];

/// Checks JSON Web Tokens. Cheap to clone.
///
/// ```
/// # use gannet::auth::{JwtValidator, KeySet, Refusal};
/// # fn example(jwks: &str, token: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let validator = JwtValidator::builder()
///     .issuer("https://issuer.example", KeySet::from_jwks(jwks)?)
///     .audience("https://svc.example/pkg.Service")
///     .build()?;
/// match validator.check(token) {
///     Ok(claims) => println!("{:?}", claims.subject()),
///     Err(Refusal::Expired(ago)) => println!("{ago:?} too late"),
///     Err(refusal) => println!("{refusal}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JwtValidator(Arc<Rules>);

struct Rules {
    trusted: Vec<Trusted>,
    audiences: Option<Vec<String>>,
    leeway: Duration,
    token_bytes_max: usize,
    needs_subject: bool,
    kinds: Vec<String>,
    claims: Vec<(String, Value)>,
    scopes: Vec<String>,
    remembered: Remembered,
    clock: Clock,
}

/// Whose keys are believed, and for whom.
struct Trusted {
    /// `None`: for whomever.
    issuer: Option<String>,
    keys: Keys,
}

type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

impl JwtValidator {
    /// Begins with what holds by default.
    pub fn builder() -> JwtValidatorBuilder {
        JwtValidatorBuilder {
            trusted: Vec::new(),
            audiences: Vec::new(),
            any_audience: false,
            leeway: LEEWAY_DEFAULT,
            token_bytes_max: TOKEN_BYTES_MAX_DEFAULT,
            needs_subject: true,
            kinds: KINDS_DEFAULT.map(str::to_owned).into(),
            claims: Vec::new(),
            scopes: Vec::new(),
            remembered: REMEMBERED_DEFAULT,
            clock: Box::new(SystemTime::now),
        }
    }

    /// Checks a token by the keys that are in force.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn check(&self, token: &str) -> Result<Claims, Refusal> {
        self.judge(token).map_err(|refused| refused.why)
    }

    fn judge(&self, token: &str) -> Result<Claims, Refused> {
        let rules = &*self.0;
        if token.len() > rules.token_bytes_max {
            return Err(Refusal::TooLong(token.len()).into());
        }
        let place = rules.remembered.place(token);
        let in_force =
            |at: usize, keys: &Arc<KeySet>| Arc::ptr_eq(&rules.trusted[at].keys.current(), keys);
        if let Some(claims) = place.and_then(|place| rules.remembered.find(place, in_force)) {
            rules.check_times(&claims)?;
            return Ok(claims);
        }
        let parts = Parts::of(token)?;
        let header = parts.header()?;
        rules.check_kind(&header)?;
        let (trusted, keys) = rules.verify(&parts, &header)?;
        let claims = Claims::read(&parts.payload()?)?;
        rules.check_times(&claims)?;
        rules.check_claims(&claims, &rules.trusted[trusted])?;
        if let Some(place) = place {
            rules.remembered.keep(place, trusted, keys, claims.clone());
        }
        Ok(claims)
    }

    /// As [`check`](Self::check); files of keys are looked after, and read again at once where the
    /// token names a key that its issuer's do not have, or where nobody has looked for
    /// [too long](crate::KeysFile::every).
    ///
    /// # Errors
    /// Why it is not accepted.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: a file that is being read counts for others.
    pub async fn validate(&self, token: &str) -> Result<Claims, Refusal> {
        let trusted = &self.0.trusted;
        let mut overdue = trusted.iter().filter_map(|one| one.keys.look());
        if let Some(first) = overdue.next() {
            // All are begun before one is waited for.
            let others: Vec<_> = overdue.collect();
            first.await;
            for other in others {
                other.await;
            }
        }
        let refused = match self.judge(token) {
            Err(refused @ Refused { why: Refusal::UnknownKey(_), .. }) => refused,
            other => return other.map_err(|refused| refused.why),
        };
        let mut is_other = false;
        for (at, known) in &refused.tried {
            is_other |= trusted[*at].keys.look_for_more(known).await;
        }
        if is_other { self.check(token) } else { Err(refused.why) }
    }
}

/// A token that is not accepted.
struct Refused {
    why: Refusal,
    /// Whose keys might have been the token's, and were not.
    tried: Vec<Candidate>,
}

/// Keys, and where they are among those that are trusted.
type Candidate = (usize, Arc<KeySet>);

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Refused {
        Refused { why, tried: Vec::new() }
    }
}

impl Rules {
    fn check_kind(&self, header: &Header) -> Result<(), Refusal> {
        let Some(kind) = &header.kind else { return Ok(()) };
        let lower = kind.to_ascii_lowercase();
        let lower = lower.strip_prefix("application/").unwrap_or(&lower);
        if self.kinds.iter().any(|accepted| accepted == lower) {
            return Ok(());
        }
        Err(Refusal::Kind(shown(kind)))
    }

    /// Whose key has signed, and the set that it is in.
    fn verify(&self, parts: &Parts<'_>, header: &Header) -> Result<Candidate, Refused> {
        let (algorithm, id) = (header.algorithm, header.key_id.as_deref());
        let signature = parts.signature()?;
        let chosen = self.chosen(claimed_issuer(parts))?;
        let (mut tried, mut fit, mut is_known) = (0, 0, false);
        // Those that have its name go first, whoever they belong to.
        for is_named in [true, false] {
            for (at, keys) in &chosen {
                for key in keys.fitting(algorithm, id, is_named) {
                    fit += 1;
                    // Keys without a name are tried, but they are not the one that it names.
                    is_known |= is_named || id.is_none();
                    if tried == KEYS_TRIED_MAX {
                        continue;
                    }
                    tried += 1;
                    if key.public.verifies(parts.signed, &signature) {
                        return Ok((*at, Arc::clone(keys)));
                    }
                }
            }
        }
        Err(match fit - tried {
            _ if !is_known => Refused { why: Refusal::UnknownKey(id.map(shown)), tried: chosen },
            0 => Refusal::Signature.into(),
            untried => Refusal::Untried(untried).into(),
        })
    }

    /// Whose keys may have signed what claims to be of `issuer`: that issuer's first, then those
    /// that are believed for all. All, where it claims nothing that can be read: the signature's
    /// check comes first, and then what is wrong with the claims.
    fn chosen(&self, issuer: Option<String>) -> Result<Vec<Candidate>, Refusal> {
        let of = |is_wanted: &dyn Fn(Option<&str>) -> bool| {
            let all = self.trusted.iter().enumerate();
            let wanted = all.filter(|(_, one)| is_wanted(one.issuer.as_deref()));
            wanted.map(|(at, one)| (at, one.keys.current())).collect::<Vec<_>>()
        };
        let Some(issuer) = issuer else { return Ok(of(&|_| true)) };
        let mut chosen = of(&|own| own == Some(&issuer));
        chosen.extend(of(&|own| own.is_none()));
        match chosen.is_empty() {
            true => Err(Refusal::Issuer(shown(&issuer))),
            false => Ok(chosen),
        }
    }

    fn check_times(&self, claims: &Claims) -> Result<(), Refusal> {
        let now = (self.clock)();
        let (past, future) = (now.checked_sub(self.leeway), now.checked_add(self.leeway));
        let ago = past.and_then(|past| past.duration_since(claims.expires_at()).ok());
        if let Some(ago) = ago {
            return Err(Refusal::Expired(ago + self.leeway));
        }
        let left = |at: Option<SystemTime>| {
            let left = at?.duration_since(future?).ok()?;
            (left > Duration::ZERO).then(|| left + self.leeway)
        };
        if let Some(left) = left(claims.not_before()) {
            return Err(Refusal::NotYetValid(left));
        }
        left(claims.issued_at()).map_or(Ok(()), |left| Err(Refusal::IssuedInFuture(left)))
    }

    fn check_claims(&self, claims: &Claims, trusted: &Trusted) -> Result<(), Refusal> {
        match (&trusted.issuer, claims.issuer()) {
            (None, _) => {}
            (Some(expected), Some(issuer)) if expected == issuer => {}
            (Some(_), Some(issuer)) => return Err(Refusal::Issuer(shown(issuer))),
            (Some(_), None) => return Err(Refusal::Lacks("iss".into())),
        }
        if let Some(accepted) = &self.audiences {
            if claims.audiences().is_empty() {
                return Err(Refusal::Lacks("aud".into()));
            }
            if !claims.audiences().iter().any(|audience| accepted.contains(audience)) {
                return Err(Refusal::Audience(shown(&format!("{:?}", claims.audiences()))));
            }
        }
        if self.needs_subject && claims.subject().is_none() {
            return Err(Refusal::Lacks("sub".into()));
        }
        for (name, value) in &self.claims {
            if claims.claim(name) != Some(value) {
                return Err(Refusal::NotPermitted(name.clone()));
            }
        }
        match self.scopes.iter().find(|scope| !claims.has_scope(scope)) {
            Some(scope) => Err(Refusal::Scope(scope.clone())),
            None => Ok(()),
        }
    }
}

/// By whom a token says it was issued, which nobody may have signed.
fn claimed_issuer(parts: &Parts<'_>) -> Option<String> {
    let mut claims = read_object(&parts.payload().ok()?).ok()?;
    match claims.remove("iss") {
        Some(Value::String(issuer)) => Some(issuer),
        _ => None,
    }
}

impl fmt::Debug for JwtValidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trusted = self.0.trusted.iter().map(|one| (&one.issuer, &one.keys));
        f.debug_struct("JwtValidator")
            .field("trusted", &trusted.collect::<Vec<_>>())
            .field("audiences", &self.0.audiences)
            .field("leeway", &self.0.leeway)
            .finish_non_exhaustive()
    }
}

/// Builds a [`JwtValidator`].
#[must_use = "a builder does nothing until `build`"]
pub struct JwtValidatorBuilder {
    trusted: Vec<Trusted>,
    audiences: Vec<String>,
    any_audience: bool,
    leeway: Duration,
    token_bytes_max: usize,
    needs_subject: bool,
    kinds: Vec<String>,
    claims: Vec<(String, Value)>,
    scopes: Vec<String>,
    remembered: usize,
    clock: Clock,
}

impl JwtValidatorBuilder {
    /// Believes what these keys have signed, of tokens whose `iss` is this. Several issuers each
    /// have their own keys, and cannot speak for each other; those that have the same, as tenants
    /// of one provider, are given the same.
    ///
    /// A token should name its key (`kid`). On one that does not, four keys at most are tried,
    /// those of its algorithm that come first; one that another key has signed is refused, as
    /// [`Refusal::Untried`], so that nobody can have a thousand signatures checked for one token.
    pub fn issuer(mut self, issuer: impl Into<String>, keys: impl Into<Keys>) -> Self {
        self.trusted.push(Trusted { issuer: Some(issuer.into()), keys: keys.into() });
        self
    }

    /// Believes what these keys have signed, whoever the token says has issued it.
    pub fn any_issuer(mut self, keys: impl Into<Keys>) -> Self {
        self.trusted.push(Trusted { issuer: None, keys: keys.into() });
        self
    }

    /// Accepts tokens that are for this audience: one of those in `aud`. Several may be named.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts tokens whomever they are for. Whoever gets such a token can show it to all that
    /// believe its issuer.
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// By how much clocks may differ: what is added to `exp`, and taken from `nbf` and `iat`
    /// (default 60 s).
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The longest token that is looked at, bytes (default 8 KiB).
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.token_bytes_max = bytes;
        self
    }

    /// Accepts tokens without a subject (default: refused).
    pub fn allow_without_subject(mut self) -> Self {
        self.needs_subject = false;
        self
    }

    /// Accepts tokens whose header's `typ` is this, besides `JWT`, `at+jwt` and none; in any case,
    /// and with `application/` before it or not. Others are refused, so that no token can be used
    /// as what it is not (RFC 8725 section 3.11).
    pub fn kind(mut self, kind: impl AsRef<str>) -> Self {
        let lower = kind.as_ref().to_ascii_lowercase();
        self.kinds.push(lower.strip_prefix("application/").unwrap_or(&lower).to_owned());
        self
    }

    /// Asks for a claim with this value. Tokens without it are PERMISSION_DENIED.
    pub fn require(mut self, claim: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.push((claim.into(), value.into()));
        self
    }

    /// Asks for a scope. Tokens without it are PERMISSION_DENIED.
    pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// How many tokens are remembered that were found good, so that their signature need not be
    /// checked again as long as the keys stay what they are (default 1,024; 0: none). Their times
    /// are looked at with each call.
    pub fn remember(mut self, tokens: usize) -> Self {
        self.remembered = tokens;
        self
    }

    /// What time it is, in place of the system's clock: for tests.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Makes the validator.
    ///
    /// # Errors
    /// Where nobody is believed, or it is not said for whom tokens are to be.
    pub fn build(self) -> Result<JwtValidator, ValidatorError> {
        if self.trusted.is_empty() {
            return Err(ValidatorError("no issuer is believed: name one with its keys"));
        }
        if self.audiences.is_empty() && !self.any_audience {
            return Err(ValidatorError(
                "a token that is for somebody else must be refused: name the audience that tokens \
                 are to be for, or say `any_audience`",
            ));
        }
        Ok(JwtValidator(Arc::new(Rules {
            trusted: self.trusted,
            audiences: (!self.any_audience).then_some(self.audiences),
            leeway: self.leeway,
            token_bytes_max: self.token_bytes_max,
            needs_subject: self.needs_subject,
            kinds: self.kinds,
            claims: self.claims,
            scopes: self.scopes,
            remembered: Remembered::new(self.remembered),
            clock: self.clock,
        })))
    }
}

impl fmt::Debug for JwtValidatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers = self.trusted.iter().map(|one| &one.issuer);
        f.debug_struct("JwtValidatorBuilder")
            .field("issuers", &issuers.collect::<Vec<_>>())
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// A [`JwtValidator`] that would accept what it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorError(&'static str);

impl fmt::Display for ValidatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for ValidatorError {}
