//! [`Keys`]: a set that changes while it is used.
//!
//! A file is followed by looking, as the files of TLS are: there is no task and no thread that
//! watches. Whoever checks a token looks whether it is time, and if so has the file read beside;
//! the checks go on with what there was. Where nobody has looked for the whole interval, as after a
//! pause, the check waits for the file: a key may have been withdrawn meanwhile. So does a token
//! whose key is not known, as that is how new keys announce themselves, but not more often than
//! once in a while, as anybody can name a key.
//!
//! One reads for all, on a thread of its own, and keeps what it read: those that wait for it may
//! leave.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{KeyError, KeySet};

/// How often tokens with unknown keys have a file read, at most.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// How often a file is looked after, at most.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// As far as clocks reach.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400 * 365);
/// How long a token waits for a file at most: what cannot be read in time changes nothing, as what
/// cannot be read at all.
const WAIT_MAX: Duration = Duration::from_secs(1);

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
    state: Mutex<State>,
}

struct State {
    /// When the file was read last.
    looked_at: Instant,
    /// When it was read last for a key that was not known.
    asked_at: Option<Instant>,
    /// What was wrong when it was read last.
    failure: Option<String>,
    /// The read that goes on.
    reading: Option<Reading>,
}

/// What comes of a read: whether something has changed. Closed without that where the runtime has
/// shut down.
type Reading = watch::Receiver<Option<Result<bool, KeyError>>>;

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
        // One that goes on may have read the file before it was changed.
        let before = locked(&followed.state).reading();
        if let Some(before) = before {
            let _ = end_of(before).await;
        }
        let reading = self.begin(&followed.path, &mut locked(&followed.state));
        end_of(reading).await
    }

    /// Has the file read beside, where it is nearly time. What is returned has to be
    /// [waited for](Self::wait) before the keys are used.
    pub(crate) fn look(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let followed = self.0.followed.as_ref()?;
        let now = Instant::now();
        let mut state = locked(&followed.state);
        let age = now.saturating_duration_since(state.looked_at);
        if age < followed.every / 4 * 3 {
            return None;
        }
        let reading = self.begin(&followed.path, &mut state);
        drop(state);
        let keys = self.clone();
        (age >= followed.every).then_some(async move { keys.wait(reading).await })
    }

    /// Reads the file for a token whose key `known` does not have; whether there are other keys
    /// now.
    pub(crate) async fn look_for_more(&self, known: &Arc<KeySet>) -> bool {
        let Some(followed) = &self.0.followed else { return false };
        let is_other = || !Arc::ptr_eq(&self.current(), known);
        // One that goes on may have read the file before it was changed.
        let before = locked(&followed.state).reading();
        if let Some(before) = before {
            self.wait(before).await;
        }
        if is_other() {
            return true;
        }
        let reading = {
            let mut state = locked(&followed.state);
            let now = Instant::now();
            match state.asked_at.is_some_and(|at| now < at + UNKNOWN_KEY_INTERVAL) {
                // Somebody else may just have begun.
                true => state.reading(),
                false => {
                    state.asked_at = Some(now);
                    Some(self.begin(&followed.path, &mut state))
                }
            }
        };
        if let Some(reading) = reading {
            self.wait(reading).await;
        }
        is_other()
    }

    /// Until the read has ended, or for as long as a token waits.
    async fn wait(&self, reading: Reading) {
        if tokio::time::timeout(WAIT_MAX, end_of(reading)).await.is_err()
            && let Some(followed) = &self.0.followed
        {
            // So that not every token waits for a file that does not answer.
            locked(&followed.state).looked_at = Instant::now();
        }
    }

    /// The read that goes on, or a new one. It ends, and is kept, whether somebody waits for it or
    /// not.
    fn begin(&self, path: &Path, state: &mut State) -> Reading {
        if let Some(reading) = state.reading() {
            return reading;
        }
        let (done, reading) = watch::channel(None);
        state.reading = Some(reading.clone());
        let (keys, path, begun_at) = (self.clone(), path.to_owned(), Instant::now());
        tokio::task::spawn_blocking(move || {
            let changed = keys.take(KeySet::from_jwks_file(path), begun_at);
            done.send_replace(Some(changed));
        });
        reading
    }

    /// Takes what was read, and tells the hook.
    fn take(&self, read: Result<KeySet, KeyError>, begun_at: Instant) -> Result<bool, KeyError> {
        let changed = match read {
            Ok(set) if set == *self.current() => Ok(false),
            Ok(set) => {
                self.set(set);
                Ok(true)
            }
            Err(error) => Err(error),
        };
        let Some(followed) = &self.0.followed else { return changed };
        let failure = changed.as_ref().err().map(ToString::to_string);
        let mut state = locked(&followed.state);
        let is_news = failure != state.failure || matches!(changed, Ok(true));
        state.failure = failure;
        state.looked_at = state.looked_at.max(begun_at);
        drop(state);
        if let Some(hook) = followed.hook.as_ref().filter(|_| is_news) {
            match &changed {
                Ok(_) => hook(Ok(&self.current())),
                Err(error) => hook(Err(error)),
            }
        }
        changed
    }
}

impl State {
    /// The read that goes on. One whose thread has panicked, in a hook, does not.
    fn reading(&self) -> Option<Reading> {
        let goes_on = |it: &&Reading| it.borrow().is_none() && it.has_changed().is_ok();
        self.reading.as_ref().filter(goes_on).cloned()
    }
}

async fn end_of(mut reading: Reading) -> Result<bool, KeyError> {
    let ended = reading.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
    ended.unwrap_or_else(|| Err(KeyError::new("the runtime shuts down")))
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
    /// How long a token that is checked may find keys that were not looked after (default 60 s, 1 s
    /// at least). The file is read beside tokens that are checked when three quarters of that are
    /// over; where none came in time, the next one waits for the file, for one second at most. A
    /// file that cannot be read by then leaves the keys what they are.
    ///
    /// A token that names a key which is not known has the file read whatever this says, but not
    /// more often than once in five seconds.
    pub fn every(mut self, interval: Duration) -> KeysFile {
        self.every = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
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
        let looked_at = Instant::now();
        let current = ArcSwap::from_pointee(KeySet::from_jwks_file(&self.path)?);
        let state = Mutex::new(State { looked_at, asked_at: None, failure: None, reading: None });
        let followed = Followed { path: self.path, every: self.every, hook: self.hook, state };
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
