//! [`Keys`]: a set that changes while it is used.
//!
//! A file is followed by looking, as the files of TLS are: there is no task and no thread for it.
//! Whoever checks a token looks whether it is time, and if so has the file read beside; the checks
//! go on with what there was. Only a token whose key is not known waits for the file, as that is
//! how new keys announce themselves, and not more often than once in a while, as anybody can name a
//! key.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{KeyError, KeySet};

/// How often tokens with unknown keys have a file read, at most.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// Keys that can be replaced at any time: a handle, whose clones are the same keys.
///
/// ```
/// # use gannet_auth::{KeySet, Keys};
/// # fn example(json: &str, newer: &str) -> Result<(), gannet_auth::KeyError> {
/// let keys = Keys::new(KeySet::from_jwks(json)?);
/// // Later, for instance in a task that asks the issuer once in a while:
/// keys.set(KeySet::from_jwks(newer)?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Keys(Arc<Live>);

struct Live {
    current: ArcSwap<KeySet>,
    followed: Option<Followed>,
}

struct Followed {
    path: PathBuf,
    every: Duration,
    hook: Option<Hook>,
    /// When to look again.
    due: Mutex<Instant>,
    /// Held while the file is read.
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// When it was read last for a key that was not known.
    asked_at: Option<Instant>,
    /// What was wrong when it was read last.
    failure: Option<String>,
}

type Hook = Box<dyn Fn(Result<&KeySet, &KeyError>) + Send + Sync>;

impl Keys {
    /// These, until others are [set](Self::set).
    pub fn new(set: KeySet) -> Keys {
        Keys(Arc::new(Live { current: ArcSwap::from_pointee(set), followed: None }))
    }

    /// Keys in a file (a JSON Web Key Set) that somebody else keeps up to date.
    pub fn follow(path: impl Into<PathBuf>) -> KeysFile {
        KeysFile { path: path.into(), every: INTERVAL_DEFAULT, hook: None }
    }

    /// Takes these keys from now on. Tokens whose keys are not among them are refused at once, and
    /// so are those that were found good by others before.
    pub fn set(&self, set: KeySet) {
        self.0.current.store(Arc::new(set));
    }

    /// The keys of now.
    pub fn current(&self) -> Arc<KeySet> {
        self.0.current.load_full()
    }

    /// Reads the file again, where they are in one; whether something has changed.
    ///
    /// # Errors
    /// Where it cannot be used; the keys then stay what they are.
    ///
    /// # Panics
    /// Outside a tokio runtime, where they follow a file.
    ///
    /// # Cancel safety
    /// The file is read to its end whether somebody waits for it or not.
    pub async fn reload(&self) -> Result<bool, KeyError> {
        let Some(followed) = &self.0.followed else { return Ok(false) };
        let mut reading = followed.reading.lock().await;
        self.read(followed, &mut reading).await
    }

    /// Has the file read beside, where it is time.
    pub(crate) fn look(&self) {
        let Some(followed) = &self.0.followed else { return };
        let now = Instant::now();
        let mut due = locked(&followed.due);
        if now < *due {
            return;
        }
        *due = now + followed.every;
        drop(due);
        let keys = self.clone();
        // What comes of it is told to the hook.
        tokio::spawn(async move { drop(keys.reload().await) });
    }

    /// Reads the file for a token whose key `known` does not have; whether there are other keys
    /// now.
    pub(crate) async fn look_for_more(&self, known: &Arc<KeySet>) -> bool {
        let Some(followed) = &self.0.followed else { return false };
        let mut reading = followed.reading.lock().await;
        // Somebody else may have read it while this one waited.
        let is_other = || !Arc::ptr_eq(&self.current(), known);
        let now = Instant::now();
        let is_early = reading.asked_at.is_some_and(|at| now < at + UNKNOWN_KEY_INTERVAL);
        if is_other() || is_early {
            return is_other();
        }
        reading.asked_at = Some(now);
        let _ = self.read(followed, &mut reading).await;
        is_other()
    }

    async fn read(&self, followed: &Followed, reading: &mut Reading) -> Result<bool, KeyError> {
        let path = followed.path.clone();
        let read = tokio::task::spawn_blocking(move || KeySet::from_jwks_file(path)).await;
        let read = read.unwrap_or_else(|_| Err(KeyError::new("the runtime shuts down")));
        let changed = match read {
            Ok(set) if set == *self.current() => Ok(false),
            Ok(set) => {
                self.set(set);
                Ok(true)
            }
            Err(error) => Err(error),
        };
        let failure = changed.as_ref().err().map(ToString::to_string);
        let is_news = failure != reading.failure || matches!(changed, Ok(true));
        reading.failure = failure;
        if let Some(hook) = followed.hook.as_ref().filter(|_| is_news) {
            match &changed {
                Ok(_) => hook(Ok(&self.current())),
                Err(error) => hook(Err(error)),
            }
        }
        changed
    }
}

impl From<KeySet> for Keys {
    fn from(set: KeySet) -> Keys {
        Keys::new(set)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.followed.as_ref().map(|followed| &followed.path);
        f.debug_struct("Keys").field("current", &self.current()).field("file", &file).finish()
    }
}

/// A file of keys that is to be followed: see [`Keys::follow`].
#[must_use = "nothing is read before `open`"]
pub struct KeysFile {
    path: PathBuf,
    every: Duration,
    hook: Option<Hook>,
}

impl KeysFile {
    /// How long a token that is checked may find keys that were not looked after (default 60 s). A
    /// token whose key is not known has the file read whatever this says, but not more often than
    /// once in five seconds.
    pub fn every(mut self, interval: Duration) -> KeysFile {
        self.every = interval;
        self
    }

    /// Calls `hook` after the file was read again: with the keys where they have changed or are
    /// well again, with the error where something is wrong that was not before. It must not block.
    pub fn on_reload(
        mut self,
        hook: impl Fn(Result<&KeySet, &KeyError>) + Send + Sync + 'static,
    ) -> KeysFile {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Reads the file for the first time.
    ///
    /// # Errors
    /// Where it cannot be read or used; names the file.
    pub fn open(self) -> Result<Keys, KeyError> {
        let current = ArcSwap::from_pointee(KeySet::from_jwks_file(&self.path)?);
        // As far as clocks reach.
        let every = self.every.min(Duration::from_secs(86_400 * 365));
        let followed = Followed {
            path: self.path,
            every,
            hook: self.hook,
            due: Mutex::new(Instant::now() + every),
            reading: tokio::sync::Mutex::default(),
        };
        Ok(Keys(Arc::new(Live { current, followed: Some(followed) })))
    }
}

impl fmt::Debug for KeysFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeysFile").field("path", &self.path).field("every", &self.every).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
