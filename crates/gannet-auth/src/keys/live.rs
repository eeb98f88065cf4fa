//! [`Keys`]: a set that changes while it is used.
//!
//! A file is followed by looking, as the files of TLS are: there is no task and no thread that
//! watches. Whoever checks a token looks whether it is time, which is one load and no lock, and if
//! so has the file read beside; the checks go on with what there was. Where nobody has looked for
//! the whole interval, as after a pause, the check waits for the file: a key may have been
//! withdrawn meanwhile. So does a token whose key is not known, as that is how new keys announce
//! themselves, but not more often than once in a while, as anybody can name a key.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{KeyError, KeySet};
use crate::file::{self, Moment, WAIT_MAX, locked};

/// How often tokens with unknown keys have a file read, at most.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// How often a file is looked after, at most.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// As far as clocks reach.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400 * 365);

/// Keys that can be replaced at any time: a handle, whose clones are the same keys.
///
/// ```
/// # use gannet::auth::{KeySet, Keys};
/// # fn example(json: &str, newer: &str) -> Result<(), gannet::auth::KeyError> {
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
    /// Before this there is nothing to do. Set under the lock of `state`, and read without.
    due: Moment,
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

/// What comes of a read: whether something has changed.
type Reading = file::Reading<Result<bool, KeyError>>;

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
    /// Where it cannot be used, or not be read within a second; the keys then stay what they are,
    /// in the second case until it is read.
    ///
    /// # Cancel safety
    /// The file is read to its end whether somebody waits for it or not.
    pub async fn reload(&self) -> Result<bool, KeyError> {
        let Some(followed) = &self.0.followed else { return Ok(false) };
        // One that goes on may have read the file before it was changed.
        let before = locked(&followed.state).reading();
        if let Some(before) = before {
            let _ = before.end().await;
        }
        let reading = self.begin(followed, &mut locked(&followed.state));
        let read = reading.end().await;
        read.unwrap_or_else(|error| Err(KeyError::unreadable(&followed.path, error)))
    }

    /// Has the file read beside, where it is nearly time. What is returned has to be waited for
    /// before the keys are used.
    pub(crate) fn look(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let followed = self.0.followed.as_ref()?;
        let now = Instant::now();
        if now < followed.due.get() {
            return None;
        }
        let mut state = locked(&followed.state);
        let age = now.saturating_duration_since(state.looked_at);
        if age < followed.ahead() {
            return None;
        }
        let reading = self.begin(followed, &mut state);
        if age < followed.every {
            // Until then nobody has to care.
            followed.due.set(state.looked_at + followed.every);
            return None;
        }
        drop(state);
        Some(self.clone().wait(reading))
    }

    /// Reads the file for a token whose key `known` does not have; whether there are other keys
    /// now.
    pub(crate) async fn look_for_more(&self, known: &Arc<KeySet>) -> bool {
        let Some(followed) = &self.0.followed else { return false };
        let is_other = || !Arc::ptr_eq(&self.current(), known);
        // One that goes on may have read the file before it was changed.
        let before = locked(&followed.state).reading();
        if let Some(before) = before {
            self.clone().wait(before).await;
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
                    Some(self.begin(followed, &mut state))
                }
            }
        };
        if let Some(reading) = reading {
            self.clone().wait(reading).await;
        }
        is_other()
    }

    /// Until the read has ended, or for as long as a token waits.
    async fn wait(self, reading: Reading) {
        if reading.end().await.is_err()
            && let Some(followed) = &self.0.followed
        {
            // So that not every token waits for a file that does not answer.
            followed.looked(&mut locked(&followed.state), Instant::now());
        }
    }

    /// The read that goes on, or a new one. It ends, and is kept, whether somebody waits for it or
    /// not.
    fn begin(&self, followed: &Followed, state: &mut State) -> Reading {
        if let Some(reading) = state.reading() {
            return reading;
        }
        let (keys, path, begun_at) = (self.clone(), followed.path.clone(), Instant::now());
        let read = move || keys.take(KeySet::from_jwks_file(path), begun_at);
        let reading = Reading::begin(WAIT_MAX, read);
        state.reading = Some(reading.clone());
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
        followed.looked(&mut state, begun_at);
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

impl Followed {
    /// After so much of the interval the file is read beside.
    fn ahead(&self) -> Duration {
        self.every / 4 * 3
    }

    fn looked(&self, state: &mut State, at: Instant) {
        state.looked_at = state.looked_at.max(at);
        self.due.set(state.looked_at + self.ahead());
    }
}

impl State {
    /// The read that goes on. One whose thread has panicked, in a hook, does not.
    fn reading(&self) -> Option<Reading> {
        self.reading.as_ref().filter(|reading| reading.goes_on()).cloned()
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
    /// How long a token that is checked may find keys that were not looked after (default 60 s, 1 s
    /// at least). The file is read beside tokens that are checked when three quarters of that are
    /// over; where none came in time, the next one waits for the file, for one second at most. A
    /// file that cannot be read by then leaves the keys what they are.
    ///
    /// A token that names a key which its issuer's keys do not have the name of has the file read
    /// whatever this says, and waits for it likewise, but not more often than once in five seconds.
    pub fn every(mut self, interval: Duration) -> KeysFile {
        self.every = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        self
    }

    /// Calls `hook` after the file was read again: with the keys where they have changed or are
    /// well again, with the error where something is wrong that was not before. Keys that had to be
    /// left out are in [`KeySet::skipped`]; where there are such, [`open`](Self::open) calls it as
    /// well. It must not block.
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
        let set = KeySet::from_jwks_file(&self.path)?;
        if let Some(hook) = self.hook.as_ref().filter(|_| !set.skipped().is_empty()) {
            hook(Ok(&set));
        }
        let current = ArcSwap::from_pointee(set);
        let state = State { looked_at, asked_at: None, failure: None, reading: None };
        let KeysFile { path, every, hook } = self;
        let (due, state) = (Moment::new(looked_at), Mutex::new(state));
        let followed = Followed { path, every, hook, due, state };
        followed.looked(&mut locked(&followed.state), looked_at);
        Ok(Keys(Arc::new(Live { current, followed: Some(followed) })))
    }
}

impl fmt::Debug for KeysFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeysFile").field("path", &self.path).field("every", &self.every).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn followed(every: Duration) -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let pem = include_str!("../../tests/data/ed25519.pem");
        let key = crate::SigningKey::from_pem(pem).unwrap();
        std::fs::write(&path, key.to_jwks()).unwrap();
        let keys = Keys::follow(path).every(every).open().unwrap();
        (folder, keys)
    }

    #[test]
    fn who_checks_a_token_takes_no_lock_before_it_is_time() {
        let (_folder, keys) = followed(INTERVAL_DEFAULT);
        let _held = locked(&keys.0.followed.as_ref().unwrap().state);
        let (done, ended) = mpsc::channel();
        let looking = keys.clone();
        std::thread::spawn(move || done.send(looking.look().is_none()));
        assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Ok(true), "it waits for the lock");
    }

    /// As on a mount that is gone: the first one waits, and is not let wait for ever.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_answer_is_waited_for_once() {
        let (_folder, keys) = followed(INTERVAL_DEFAULT);
        let followed = keys.0.followed.as_ref().unwrap();
        let (free, stuck) = mpsc::channel::<()>();
        let read = move || {
            let _ = stuck.recv();
            Ok(false)
        };
        locked(&followed.state).reading = Some(Reading::begin(Duration::ZERO, read));
        tokio::time::advance(INTERVAL_DEFAULT).await;
        keys.look().expect("an interval is over").await;
        assert!(keys.look().is_none(), "it was waited for");
        assert!(!keys.look_for_more(&keys.current()).await);
        let error = keys.reload().await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("longer than"), "{source}");
        drop(free);
    }
}
