//! [`JwtCredentials`]: tokens that are signed here, for the service that is called.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use gannet_client::{CallCredentials, CredentialsRequest};
use gannet_core::{Metadata, Status};
use serde_json::Value;

use super::{Given, authorization};
use crate::jwt::{Object, read_object};
use crate::keys::KeyError;
use crate::signing::SigningKey;

const LIFETIME_DEFAULT: Duration = Duration::from_secs(3_600);
/// Of a token's life, the part that must be left.
const RENEWED_BEFORE: u32 = 6;
/// Tokens that are kept, each for another service.
const TOKENS_MAX: usize = 64;

/// Signs tokens that say who calls, and sends them as `authorization: Bearer …`.
///
/// A token is for the service that is called: its audience is `https://host/pkg.Service`, unless
/// [`audience`](Self::audience) says another. It is kept for the next calls until a sixth of its
/// life is left. As they are secrets, they go over TLS only, unless the channel
/// [allows it](gannet_client::ChannelBuilder::allow_credentials_without_tls).
///
/// It shows neither keys nor tokens. Clones share them; one that is told otherwise has tokens of
/// its own from then on, and leaves the others what they are.
#[derive(Clone)]
pub struct JwtCredentials {
    settings: Arc<Settings>,
    /// What these have signed.
    signed: Arc<Signed>,
}

#[derive(Clone)]
struct Settings {
    key: SigningKey,
    issuer: String,
    subject: String,
    /// `None`: the service that is called.
    audience: Option<String>,
    lifetime: Duration,
    /// Further claims.
    claims: Object,
    clock: Clock,
}

#[derive(Default)]
struct Signed {
    tokens: ArcSwap<Vec<Arc<Token>>>,
    /// Held while one is signed, so that many calls do not each sign one.
    signing: tokio::sync::Mutex<()>,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

struct Token {
    audience: String,
    metadata: Metadata,
    renew_at: SystemTime,
    expires_at: SystemTime,
}

impl JwtCredentials {
    /// Tokens that `who` issues about itself (`iss` and `sub`), for an hour each.
    pub fn new(who: impl Into<String>, key: SigningKey) -> JwtCredentials {
        let who = who.into();
        let settings = Settings {
            key,
            subject: who.clone(),
            issuer: who,
            audience: None,
            lifetime: LIFETIME_DEFAULT,
            claims: Object::new(),
            clock: Arc::new(SystemTime::now),
        };
        JwtCredentials { settings: Arc::new(settings), signed: Arc::default() }
    }

    /// Reads a service account's key as Google's are given out: a JSON object with `client_email`,
    /// `private_key_id` and `private_key`.
    ///
    /// # Errors
    /// Where one of these is missing, or the key is of no use.
    pub fn from_service_account(json: impl AsRef<[u8]>) -> Result<JwtCredentials, KeyError> {
        let account = read_object(json.as_ref())
            .map_err(|what| KeyError::new(format!("the service account {what}")))?;
        let text = |name: &str| {
            let text = account.get(name).and_then(Value::as_str);
            text.ok_or_else(|| KeyError::new(format!("the service account has no {name}")))
        };
        let key = SigningKey::from_pem(text("private_key")?)?;
        let key = key.with_key_id(text("private_key_id")?);
        Ok(JwtCredentials::new(text("client_email")?, key))
    }

    /// Says whom tokens are about, where that is not their issuer.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> JwtCredentials {
        self.with(|settings| settings.subject = subject.into())
    }

    /// Makes all tokens for this audience, whatever service is called.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> JwtCredentials {
        self.with(|settings| settings.audience = Some(audience.into()))
    }

    /// How long a token is good (default: an hour, the longest that Google takes).
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> JwtCredentials {
        self.with(|settings| settings.lifetime = lifetime)
    }

    /// Adds a claim, such as `scope`. Those that are set by other methods stay what they are.
    #[must_use]
    pub fn claim(self, name: impl Into<String>, value: impl Into<Value>) -> JwtCredentials {
        self.with(|settings| {
            settings.claims.insert(name.into(), value.into());
        })
    }

    /// What time it is, in place of the system's clock: for tests.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> JwtCredentials {
        self.with(|settings| settings.clock = Arc::new(clock))
    }

    /// Of clones only this one changes; what was signed by other words is not for it.
    fn with(mut self, change: impl FnOnce(&mut Settings)) -> JwtCredentials {
        change(Arc::make_mut(&mut self.settings));
        self.signed = Arc::default();
        self
    }
}

impl CallCredentials for JwtCredentials {
    async fn metadata(&self, call: CredentialsRequest) -> Given {
        let (settings, signed) = (&*self.settings, &*self.signed);
        let audience = settings.audience.clone().unwrap_or_else(|| call.service_uri());
        let known = signed.find(&audience);
        let now = (settings.clock)();
        if let Some(token) = known.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.metadata.clone());
        }
        // One call signs. Others go on with what there is, as long as it is good.
        let signing = match known.filter(|token| now < token.expires_at) {
            None => signed.signing.lock().await,
            Some(token) => match signed.signing.try_lock() {
                Ok(signing) => signing,
                Err(_) => return Ok(token.metadata.clone()),
            },
        };
        let known = signed.find(&audience).filter(|token| now < token.renew_at);
        let token = match known {
            Some(token) => token,
            None => signed.keep(settings.sign(audience, now)?),
        };
        drop(signing);
        Ok(token.metadata.clone())
    }
}

impl Settings {
    fn sign(&self, audience: String, now: SystemTime) -> gannet_core::Result<Token> {
        let failed = |what: String| Status::internal(format!("self-signed token: {what}"));
        let expires_at = now.checked_add(self.lifetime);
        let expires_at = expires_at.ok_or_else(|| failed("its lifetime is too long".into()))?;
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = self.claims.clone();
        let own: [(&str, Value); 5] = [
            ("iss", self.issuer.as_str().into()),
            ("sub", self.subject.as_str().into()),
            ("aud", audience.as_str().into()),
            ("iat", seconds(now).into()),
            ("exp", seconds(expires_at).into()),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let token = self.key.sign(&claims).map_err(|error| failed(error.to_string()))?;
        let metadata = authorization(&token).ok_or_else(|| failed("it is too long".into()))?;
        let renew_at = expires_at - self.lifetime / RENEWED_BEFORE;
        Ok(Token { audience, metadata, renew_at, expires_at })
    }
}

impl Signed {
    fn find(&self, audience: &str) -> Option<Arc<Token>> {
        self.tokens.load().iter().find(|token| token.audience == audience).cloned()
    }

    /// In place of the oldest where there are many.
    fn keep(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        let mut tokens = Vec::clone(&self.tokens.load());
        tokens.retain(|other| other.audience != token.audience);
        if tokens.len() >= TOKENS_MAX {
            tokens.remove(0);
        }
        tokens.push(Arc::clone(&token));
        self.tokens.store(Arc::new(tokens));
        token
    }
}

impl fmt::Debug for JwtCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtCredentials")
            .field("issuer", &self.settings.issuer)
            .field("subject", &self.settings.subject)
            .field("audience", &self.settings.audience)
            .field("key", &self.settings.key)
            .finish_non_exhaustive()
    }
}
