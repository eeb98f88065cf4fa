//! [`TokenFile`]: a token that somebody else keeps fresh in a file (gRFC A97,
//! "JwtTokenFileCallCredentials").
//!
//! There is no task that watches: calls look whether it is time. One that has a token which is
//! good for half a minute more never waits for the file; one whose token is nearer its end does.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use gannet_client::policy::{Backoff, BackoffConfig};
use gannet_client::{CallCredentials, CredentialsRequest};
use gannet_core::{Metadata, Result, Status};
use tokio::runtime::Handle;

use super::{Given, TOKEN_BYTES_MAX, authorization, no_token};
use crate::jwt::{Object, Parts, numeric_date, read_object};

/// How long before its end a token counts as expired: clocks differ, and calls take time.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// How long before it counts as expired the file is read for a newer one.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);
/// How often the file is read at most, while it has nothing new.
const READ_INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// Sends the token in a file as `authorization: Bearer …`, and reads it again when it is time.
///
/// The file holds a JSON Web Token with its expiry (`exp`), or any token where
/// [`opaque`](Self::opaque) says so; white space around it does not count. It is read when the
/// first call is made. Later it is read again beside calls that go on with the token there is: a
/// minute before that expires, and at [an interval](Self::every), as somebody may have replaced it.
///
/// A file that cannot be read, or holds no token, leaves the last good one in use up to its end,
/// and is tried again with gRPC's backoff. A call that has no token then ends with UNAVAILABLE
/// where the file could not be read, and with UNAUTHENTICATED where it holds none that is good;
/// both say which file, and why.
///
/// It shows its token nowhere. Clones share it, and the file is read once for all of them; what
/// [`every`](Self::every) and [`clock`](Self::clock) say is for each clone by itself.
#[derive(Clone)]
pub struct TokenFile {
    shared: Arc<Shared>,
    every: Duration,
    clock: Clock,
}

struct Shared {
    path: PathBuf,
    is_opaque: bool,
    held: ArcSwapOption<Held>,
    /// Held while the file is read.
    reading: tokio::sync::Mutex<Attempts>,
    /// When it was read last, or somebody was told to read it beside the calls.
    looked: Mutex<Instant>,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A token that was read.
struct Held {
    metadata: Metadata,
    /// As it says; `None` for an opaque one.
    expires_at: Option<SystemTime>,
}

/// What came of reading.
struct Attempts {
    backoff: Backoff,
    /// Not before this.
    next_at: Option<Instant>,
    failure: Option<Status>,
}

impl TokenFile {
    /// The JSON Web Token in the file at `path`. It need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> TokenFile {
        TokenFile::at(path.into(), false)
    }

    /// As [`new`](Self::new), for a token that is not looked into: it is in use until the file has
    /// another one.
    pub fn opaque(path: impl Into<PathBuf>) -> TokenFile {
        TokenFile::at(path.into(), true)
    }

    fn at(path: PathBuf, is_opaque: bool) -> TokenFile {
        let shared = Shared {
            path,
            is_opaque,
            held: ArcSwapOption::empty(),
            reading: tokio::sync::Mutex::new(Attempts {
                backoff: Backoff::new(BackoffConfig::default()),
                next_at: None,
                failure: None,
            }),
            looked: Mutex::new(now()),
        };
        let clock = Arc::new(SystemTime::now);
        TokenFile { shared: Arc::new(shared), every: INTERVAL_DEFAULT, clock }
    }

    /// How old what was read may be before a call has the file read again (default 60 s). Said of a
    /// clone, it is so for the calls that use this clone.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> TokenFile {
        // As far as clocks reach.
        self.every = interval.clamp(READ_INTERVAL_MIN, Duration::from_secs(86_400 * 365));
        self
    }

    /// What time it is, in place of the system's clock: for tests. Said of a clone, it is so for
    /// the calls that use this clone.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> TokenFile {
        self.clock = Arc::new(clock);
        self
    }

    /// Reads the file now, in place of waiting for a call.
    ///
    /// # Errors
    /// As a call would have that has no token.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn reload(&self) -> Result<()> {
        let mut attempts = self.shared.reading.lock().await;
        self.read(&mut attempts).await
    }
}

impl CallCredentials for TokenFile {
    async fn metadata(&self, _: CredentialsRequest) -> Given {
        let held = &self.shared.held;
        if let Some(held) = held.load_full().filter(|held| self.is_fresh(held)) {
            if self.is_due(&held) {
                self.refresh();
            }
            return Ok(held.metadata.clone());
        }
        let mut attempts = self.shared.reading.lock().await;
        // Somebody else may have read it while this one waited.
        let is_fresh = held.load_full().is_some_and(|held| self.is_fresh(&held));
        let read = match attempts.next_at.filter(|at| now() < *at) {
            _ if is_fresh => Ok(()),
            // Not yet again.
            Some(_) => attempts.failure.clone().map_or(Ok(()), Err),
            None => self.read(&mut attempts).await,
        };
        drop(attempts);
        match held.load_full().filter(|held| !self.is_over(held)) {
            Some(held) => Ok(held.metadata.clone()),
            None => Err(read.err().unwrap_or_else(|| self.shared.expired())),
        }
    }
}

impl TokenFile {
    /// Whether a call may use it without a look at the file.
    fn is_fresh(&self, held: &Held) -> bool {
        held.expires_at.is_none_or(|at| (self.clock)() + EXPIRY_MARGIN < at)
    }

    fn is_over(&self, held: &Held) -> bool {
        held.expires_at.is_some_and(|at| at <= (self.clock)())
    }

    /// Whether it is time to look for a newer one; of several who ask, one is told so.
    fn is_due(&self, held: &Held) -> bool {
        let near = EXPIRY_MARGIN + REFRESH_BEFORE;
        let is_near = held.expires_at.is_some_and(|at| at <= (self.clock)() + near);
        let interval = if is_near { READ_INTERVAL_MIN } else { self.every };
        let now = now();
        let mut looked = locked(&self.shared.looked);
        let is_due = now.saturating_duration_since(*looked) >= interval;
        if is_due {
            *looked = now;
        }
        is_due
    }

    /// Has the file read beside.
    fn refresh(&self) {
        let file = self.clone();
        let reading = async move {
            // Whoever reads it now does it for all.
            let Ok(mut attempts) = file.shared.reading.try_lock() else { return };
            if attempts.next_at.is_none_or(|at| at <= now()) {
                // The token that there is goes on; what is wrong is told when it has ended.
                let _ = file.read(&mut attempts).await;
            }
        };
        // Without a runtime the next call without a token reads it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(reading);
        }
    }

    async fn read(&self, attempts: &mut Attempts) -> Result<()> {
        let (started, shared) = (now(), &self.shared);
        attempts.backoff.attempt(started, fastrand::f64());
        let read = match Handle::try_current() {
            Err(_) => read_text(&shared.path),
            Ok(runtime) => {
                let path = shared.path.clone();
                let read = runtime.spawn_blocking(move || read_text(&path)).await;
                read.unwrap_or_else(|_| Err(io::Error::other("the runtime shuts down")))
            }
        };
        let held = read
            .map_err(|error| shared.unreadable(error))
            .and_then(|text| self.parse(text.trim_ascii()).map_err(|why| shared.unusable(why)));
        match held {
            Ok(held) => {
                // So that one that is about to end does not have the file read by each call.
                attempts.next_at = Some(started + READ_INTERVAL_MIN);
                attempts.backoff.established();
                attempts.failure = None;
                *locked(&shared.looked) = started;
                shared.held.store(Some(Arc::new(held)));
                Ok(())
            }
            Err(status) => {
                attempts.next_at = attempts.backoff.failed(now());
                attempts.failure = Some(status.clone());
                Err(status)
            }
        }
    }

    fn parse(&self, text: &[u8]) -> Result<Held, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no text")?;
        let metadata = authorization(text)
            .ok_or("a token is one or more visible ASCII characters, 16 KiB at most")?;
        if self.shared.is_opaque {
            return Ok(Held { metadata, expires_at: None });
        }
        // Who made it and for whom is for the server to find out.
        let claims = claims_of(text).ok_or("it is no JSON Web Token, or not a whole one")?;
        let expires_at = claims.get("exp").and_then(numeric_date);
        let expires_at = expires_at.ok_or("it says not when it expires (`exp`)")?;
        if expires_at <= (self.clock)() {
            return Err("it has expired");
        }
        Ok(Held { metadata, expires_at: Some(expires_at) })
    }
}

impl Shared {
    #[cold]
    fn unreadable(&self, error: io::Error) -> Status {
        let path = self.path.display();
        Status::unavailable(format!("the token in {path} cannot be read: {error}"))
            .with_source(error)
    }

    #[cold]
    fn unusable(&self, why: &str) -> Status {
        no_token(format!("the token in {} cannot be used: {why}", self.path.display()))
    }

    #[cold]
    fn expired(&self) -> Status {
        no_token(format!("the token in {} has expired", self.path.display()))
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// What a whole token claims, whoever made it. One that was cut short, as by who reads while
/// another writes, is none: that its signature is too short tells.
fn claims_of(text: &str) -> Option<Object> {
    let parts = Parts::of(text).ok()?;
    let header = read_object(&parts.any_header().ok()?).ok()?;
    let algorithm = header.get("alg")?.as_str()?;
    if parts.signature().ok()?.len() < signature_bytes_min(algorithm) {
        return None;
    }
    read_object(&parts.payload().ok()?).ok()
}

/// The least that signatures of JSON Web Tokens have (RFC 7518 sections 3.1 to 3.5, RFC 8037), also
/// by algorithms that servers here do not accept.
fn signature_bytes_min(algorithm: &str) -> usize {
    match algorithm {
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => 256,
        "ES256" | "ES256K" | "EdDSA" | "Ed25519" | "HS512" => 64,
        "ES384" => 96,
        "ES512" => 132,
        "HS256" => 32,
        "HS384" => 48,
        _ => 1,
    }
}

/// No more than a token can have, whatever the file is.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let bytes_max = u64::try_from(TOKEN_BYTES_MAX + 1_024).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut text)?;
    Ok(text)
}

/// The runtime's time, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
