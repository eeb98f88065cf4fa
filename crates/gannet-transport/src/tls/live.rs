//! Configurations that follow their files.
//!
//! There is no task and no thread for it: whoever begins a handshake looks whether it is time, and
//! if so has the files read again, off the runtime's threads, before it goes on. What has changed
//! is taken as a whole or not at all, so that a key without its certificate waits for it.
//! Connections that exist keep what they were made with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::TlsError;

/// What a configuration is made of.
pub(super) trait Settings: Clone + Send + Sync + 'static {
    type Config: Send + Sync + 'static;

    /// The same from the same files, as they are now; `None` where nothing has changed.
    fn reread(&self) -> Result<Option<Self>, TlsError>;

    /// Makes a configuration, in place of another.
    fn build(&self, before: Option<(&Self, &Self::Config)>) -> Result<Self::Config, TlsError>;
}

/// Told what came of looking at the files, where that is news.
pub(super) type Hook = Box<dyn Fn(Result<(), &TlsError>) + Send + Sync>;

/// How files are followed.
#[derive(Default)]
pub(super) struct Following {
    pub(super) every: Option<Duration>,
    pub(super) hook: Option<Hook>,
}

/// How files are followed, in the builders of both sides, each of which has a field `following`.
macro_rules! following_methods {
    () => {
        /// Follows the files that certificates, keys, roots and revocation lists were read from: a
        /// handshake that begins so long after they were looked at, or later, has them looked at
        /// again. Several that changed are taken together or not at all, and one that cannot be
        /// used leaves all as they are until it can; see [`on_reload`](Self::on_reload). A
        /// client's roots of the system are read once.
        pub fn reload_every(mut self, interval: Duration) -> Self {
            self.following.every = Some(interval);
            self
        }

        /// Calls `hook` after files were read again: with `Ok` where something changed or is well
        /// again, with the error where something is wrong that was not before. It may block, but
        /// the handshake that found it out waits for it.
        pub fn on_reload(
            mut self,
            hook: impl Fn(Result<(), &TlsError>) + Send + Sync + 'static,
        ) -> Self {
            self.following.hook = Some(Box::new(hook));
            self
        }
    };
}
pub(super) use following_methods;

/// See the module.
pub(super) struct Live<S: Settings> {
    current: ArcSwap<S::Config>,
    following: Following,
    /// When to look at the files again.
    due: Mutex<Instant>,
    in_force: Mutex<InForce<S>>,
}

struct InForce<S> {
    settings: S,
    /// What was wrong when they were looked at last.
    failure: Option<String>,
}

impl<S: Settings> Live<S> {
    pub(super) fn new(settings: S, following: Following) -> Result<Live<S>, TlsError> {
        Ok(Live {
            current: ArcSwap::from_pointee(settings.build(None)?),
            due: Mutex::new(following.next()),
            following,
            in_force: Mutex::new(InForce { settings, failure: None }),
        })
    }

    /// The configuration for the next handshake.
    pub(super) async fn fresh(self: &Arc<Self>) -> Arc<S::Config> {
        if self.following.every.is_some() && self.is_due() {
            let this = Arc::clone(self);
            // What went wrong was told; what is in force goes on.
            let _ = tokio::task::spawn_blocking(move || this.reload()).await;
        }
        self.current.load_full()
    }

    /// Whether it is time to look; of several who ask, one is told so.
    fn is_due(&self) -> bool {
        let mut due = locked(&self.due);
        let is_due = Instant::now() >= *due;
        if is_due {
            *due = self.following.next();
        }
        is_due
    }

    /// Reads the files again; whether something has changed.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let mut in_force = locked(&self.in_force);
        let renewed = self.renew(&mut in_force);
        let failure = renewed.as_ref().err().map(ToString::to_string);
        let is_news = failure != in_force.failure || matches!(renewed, Ok(true));
        in_force.failure = failure;
        // The hook may reload.
        drop(in_force);
        if let Some(hook) = &self.following.hook
            && is_news
        {
            hook(renewed.as_ref().map(|_| ()));
        }
        renewed
    }

    fn renew(&self, in_force: &mut InForce<S>) -> Result<bool, TlsError> {
        let Some(settings) = in_force.settings.reread()? else { return Ok(false) };
        let current = self.current.load_full();
        let config = settings.build(Some((&in_force.settings, &current)))?;
        self.current.store(Arc::new(config));
        in_force.settings = settings;
        Ok(true)
    }
}

impl Following {
    fn next(&self) -> Instant {
        // An interval that no clock can express is as good as none.
        let now = Instant::now();
        let never = Duration::from_secs(86_400 * 365 * 30);
        self.every.and_then(|every| now.checked_add(every)).unwrap_or(now + never)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
