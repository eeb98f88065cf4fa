//! [`TokenFile`]: a token that somebody else keeps fresh in a file (gRFC A97,
//! "JwtTokenFileCallCredentials").
//!
//! There is no task that watches: calls look whether it is time, by one load and without a lock.
//! One that has a token which is good for half a minute more never waits for the file; one whose
//! token is nearer its end does, and one that has none, for [`WAIT_MAX`] at most.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use gannet_client::policy::{Backoff, BackoffConfig};
use gannet_client::{CallCredentials, CredentialsRequest};
use gannet_core::{Metadata, Result, Status};
use tokio::time::Instant;

use super::{Given, TOKEN_BYTES_MAX, authorization, no_token};
use crate::file::{self, Moment, WAIT_MAX, locked};
use crate::jwt::{Object, Parts, numeric_date, read_object};

/// How long before its end a token counts as expired: clocks differ, and calls take time.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// How long before it counts as expired the file is read for a newer one.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);
/// How often the file is read at most, while it has nothing new.
const READ_INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// No more than a token can have, and white space around it.
const FILE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 1_024;

/// Sends the token in a file as `authorization: Bearer …`, and reads it again when it is time.
///
/// The file holds a JSON Web Token with its expiry (`exp`), or any token where
/// [`opaque`](Self::opaque) says so; white space around it does not count. It is read when the
/// first call is made. Later it is read again beside calls that go on with the token there is: a
/// minute before that expires, and at [an interval](Self::every), as somebody may have replaced it.
///
/// A file that cannot be read, or holds no token, leaves the last good one in use up to its end:
/// it is looked at again at the [interval](Self::every), and where there is no good one, with
/// gRPC's backoff. A call that has no token then ends with UNAVAILABLE
/// where the file could not be read, and with UNAUTHENTICATED where it holds none that is good;
/// both say which file, and why. It waits for the file for a second at most: one that takes longer
/// cannot be read, until it has been. Where the channel checks the health of its servers, it asks
/// for that with the same credentials: without a token no server counts as healthy, and calls that
/// wait until one is do so up to their deadline, whose status says why.
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
    attempts: Mutex<Attempts>,
    /// When it was read last, or somebody was told to read it beside the calls.
    looked: Moment,
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
    /// The read that goes on.
    reading: Option<Reading>,
}

type Reading = file::Reading<Result<()>>;

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
            attempts: Mutex::new(Attempts {
                backoff: Backoff::new(BackoffConfig::default()),
                next_at: None,
                failure: None,
                reading: None,
            }),
            looked: Moment::new(Instant::now()),
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
    /// May be dropped and called again; the file is read to its end all the same.
    pub async fn reload(&self) -> Result<()> {
        // One that goes on may have read the file before it was changed.
        let before = locked(&self.shared.attempts).reading();
        if let Some(before) = before {
            let _ = before.end().await;
        }
        let reading = self.begin(&mut locked(&self.shared.attempts));
        self.shared.wait(reading).await
    }
}

impl CallCredentials for TokenFile {
    async fn metadata(&self, _: CredentialsRequest) -> Given {
        self.token().await
    }
}

impl TokenFile {
    async fn token(&self) -> Given {
        let held = &self.shared.held;
        if let Some(held) = held.load_full().filter(|held| self.is_fresh(held)) {
            if self.is_due(&held) {
                self.refresh();
            }
            return Ok(held.metadata.clone());
        }
        let read = match self.ask() {
            Ok(Some(reading)) => self.shared.wait(reading).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        match held.load_full().filter(|held| !self.is_over(held)) {
            Some(held) => Ok(held.metadata.clone()),
            None => Err(read.err().unwrap_or_else(|| self.shared.expired())),
        }
    }

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
        let (now, looked) = (Instant::now(), self.shared.looked.get());
        let is_due = now.saturating_duration_since(looked) >= interval;
        is_due && self.shared.looked.replace(looked, now)
    }

    /// Has the file read beside. The token that there is goes on; what is wrong is told when it has
    /// ended.
    fn refresh(&self) {
        let mut attempts = locked(&self.shared.attempts);
        if attempts.next_at.is_none_or(|at| at <= Instant::now()) {
            self.begin(&mut attempts);
        }
    }

    /// Has the file read for a call that cannot go on without.
    ///
    /// # Errors
    /// What came of it before, where it is not yet time to read it again.
    fn ask(&self) -> Result<Option<Reading>> {
        let mut attempts = locked(&self.shared.attempts);
        // Somebody else may have read it meanwhile.
        if self.shared.held.load().as_ref().is_some_and(|held| self.is_fresh(held)) {
            return Ok(None);
        }
        match attempts.next_at.filter(|at| Instant::now() < *at) {
            Some(_) => attempts.failure.clone().map_or(Ok(None), Err),
            None => Ok(Some(self.begin(&mut attempts))),
        }
    }

    /// The read that goes on, or a new one.
    fn begin(&self, attempts: &mut Attempts) -> Reading {
        if let Some(reading) = attempts.reading() {
            return reading;
        }
        let started = Instant::now();
        attempts.backoff.attempt(started.into_std(), fastrand::f64());
        let file = self.clone();
        let reading = Reading::begin(WAIT_MAX, move || file.read(started));
        attempts.reading = Some(reading.clone());
        reading
    }

    /// On a thread that may block.
    fn read(&self, started: Instant) -> Result<()> {
        let shared = &self.shared;
        let held = file::read(&shared.path, FILE_BYTES_MAX)
            .map_err(|error| shared.unreadable(error))
            .and_then(|text| self.parse(text.trim_ascii()).map_err(|why| shared.unusable(why)));
        let mut attempts = locked(&shared.attempts);
        match held {
            Ok(held) => {
                // So that one that is about to end does not have the file read by each call.
                attempts.next_at = Some(started + READ_INTERVAL_MIN);
                attempts.backoff.established();
                attempts.failure = None;
                shared.looked.set(started);
                shared.held.store(Some(Arc::new(held)));
                Ok(())
            }
            Err(status) => {
                attempts.failed(&status);
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
    /// Until the read has ended, or for as long as a call waits.
    async fn wait(&self, reading: Reading) -> Result<()> {
        let error = match reading.end().await {
            Ok(read) => return read,
            Err(error) => error,
        };
        let status = self.unreadable(error);
        let mut attempts = locked(&self.attempts);
        // It may have come meanwhile.
        if attempts.reading().is_some() {
            attempts.failed(&status);
        }
        Err(status)
    }

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

impl Attempts {
    fn failed(&mut self, status: &Status) {
        let next_at = self.backoff.failed(Instant::now().into_std());
        self.next_at = next_at.map(Instant::from_std);
        self.failure = Some(status.clone());
    }

    fn reading(&self) -> Option<Reading> {
        self.reading.as_ref().filter(|reading| reading.goes_on()).cloned()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use gannet_core::Code;

    use super::*;

    /// As on a mount that is gone.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_answer_is_waited_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::opaque(folder.path().join("token"));
        let (free, stuck) = mpsc::channel::<()>();
        let (late, begun) = (file.clone(), Instant::now());
        let read = move || {
            let _ = stuck.recv();
            late.read(begun)
        };
        let reading = Reading::begin(Duration::ZERO, read);
        locked(&file.shared.attempts).reading = Some(reading.clone());
        for _ in 0..3 {
            let status = file.token().await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert!(status.message().contains("longer than"), "{status}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(file.reload().await.is_err());
        // What comes at last counts.
        std::fs::write(folder.path().join("token"), "opaque").unwrap();
        drop(free);
        while reading.goes_on() {
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        let sent = file.token().await.unwrap();
        assert_eq!(sent.get("authorization"), Some("Bearer opaque"));
    }

    #[tokio::test]
    async fn a_call_with_a_good_token_takes_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "opaque").unwrap();
        let file = TokenFile::opaque(folder.path().join("token"));
        file.reload().await.unwrap();
        let _held = locked(&file.shared.attempts);
        let mut token = std::pin::pin!(file.token());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(token.as_mut().poll(&mut context).is_ready());
    }
}
