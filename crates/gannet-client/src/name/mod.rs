//! Names: what a channel's target stands for, and how that is found out (gRPC's `naming.md`).
//!
//! | file | what it holds |
//! | --- | --- |
//! | `address` | addresses, and the servers that have them |
//! | `dns` | names that the system resolves |
//! | `list` | addresses that the application tells |
//! | `lookup` | what asks the system, once at a time for each name |
//! | `scheme` | resolvers of targets with schemes of one's own |

mod address;
mod dns;
mod list;
mod lookup;
mod scheme;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use gannet_core::Status;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::policy::{Backoff, BackoffConfig};

pub(crate) use address::Way;
pub use address::{Address, Endpoint, Family, Resolution};
pub(crate) use dns::Dns;
pub use list::AddressList;
pub(crate) use lookup::{Lookups, look_up};
pub(crate) use scheme::Schemes;
pub use scheme::TargetUri;

/// How long after the channel has asked it asks again, at least.
const ASK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Finds out what a name stands for, and goes on doing so: given to
/// [`ChannelBuilder::resolver`](crate::ChannelBuilder::resolver), or to
/// [`ChannelBuilder::scheme`](crate::ChannelBuilder::scheme) for all targets of a scheme.
///
/// ```
/// # use std::net::SocketAddr;
/// # use std::time::Duration;
/// # use gannet_core::{Result, Status};
/// use gannet_client::name::{Resolution, Resolver, Updates};
///
/// /// Asks a registry of one's own every minute, and when connections fail.
/// struct Registry;
///
/// # impl Registry { async fn servers(&self) -> Result<Vec<SocketAddr>> { Ok(Vec::new()) } }
/// impl Resolver for Registry {
///     async fn watch(&self, updates: Updates) {
///         loop {
///             match self.servers().await {
///                 Ok(servers) => updates.resolved(Resolution::new(servers)),
///                 Err(status) => updates.failed(status),
///             }
///             tokio::time::sleep(Duration::from_secs(10)).await;
///             let _ = tokio::time::timeout(Duration::from_secs(50), updates.asked()).await;
///         }
///     }
/// }
/// ```
pub trait Resolver: Send + Sync + 'static {
    /// Tells what the name stands for, now and whenever that changes. Called each time the channel
    /// leaves the idle state, and when it moves to another tokio runtime, once a second at most;
    /// what was told stays true when the future ends.
    ///
    /// # Cancel safety
    /// The future is dropped when the channel is idle, closed, or moves.
    fn watch(&self, updates: Updates) -> impl Future<Output = ()> + Send;
}

/// A resolver of any type.
pub(crate) trait AnyResolver: Send + Sync {
    fn watch(self: Arc<Self>, updates: Updates) -> Watching;
}

pub(crate) type Watching = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<R: Resolver> AnyResolver for R {
    fn watch(self: Arc<Self>, updates: Updates) -> Watching {
        Box::pin(async move { Resolver::watch(&*self, updates).await })
    }
}

impl fmt::Debug for dyn AnyResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// By which a [`Resolver`] tells its channel what it finds.
pub struct Updates {
    listener: Arc<dyn Listener>,
    asks: Arc<Asks>,
    pace: Mutex<Pace>,
    /// What was told by a watch before this one still counts.
    goes_on: bool,
}

/// When a resolver is asked.
struct Pace {
    /// When it heard of that last.
    heard: Option<Instant>,
    /// Those after errors.
    pauses: Backoff,
    /// It said that it could not find out, and is asked then, whoever else wants to know.
    again_at: Option<Instant>,
}

/// What a channel wants of its resolver. Each is kept until it is heard, once.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    again: Notify,
    at_once: Notify,
}

impl Asks {
    /// The name is to be resolved again.
    pub(crate) fn ask(&self) {
        self.again.notify_one();
    }

    /// Who rests after an error need not.
    pub(crate) fn hurry(&self) {
        self.at_once.notify_one();
    }
}

/// Who is told.
pub(crate) trait Listener: Send + Sync {
    fn told(&self, names: Result<Resolution, Status>);
}

impl Updates {
    pub(crate) fn new(listener: Arc<dyn Listener>, asks: Arc<Asks>) -> Updates {
        let pauses = Backoff::new(BackoffConfig::default());
        let pace = Mutex::new(Pace { heard: None, pauses, again_at: None });
        Updates { listener, asks, pace, goes_on: false }
    }

    /// With these pauses after errors.
    pub(crate) fn with_backoff(self, backoff: &BackoffConfig) -> Updates {
        self.pace().pauses = Backoff::new(backoff.clone());
        self
    }

    /// For a watch that goes on where another one was: the channel has moved to another runtime,
    /// and knows what it was told.
    pub(crate) fn going_on(mut self, goes_on: bool) -> Updates {
        self.goes_on = goes_on;
        self
    }

    /// The name stands for this, in place of what was told before. Connections to addresses that
    /// are still in it are kept, those to others closed after the calls on them.
    pub fn resolved(&self, resolution: Resolution) {
        self.pace().succeeded();
        self.listener.told(Ok(resolution));
    }

    /// It could not be found out; the status says why. What was told before stays true, and where
    /// nothing was, calls fail with UNAVAILABLE and this as their cause, whatever its code (gRFC
    /// A54). The resolver is [asked](Self::asked) again after a pause, as between attempts to
    /// connect; one whose future has ended is begun again then.
    pub fn failed(&self, status: Status) {
        if self.pace().failed_anew() {
            // Who was to hurry before had nothing to do.
            self.forget_hurry();
        }
        self.listener.told(Err(status));
    }

    /// Waits until the channel wants to know again, as connections have failed or are lost. Once is
    /// enough for all times that it wanted to since this was awaited last. The first time is told
    /// at once, each other at least a second after the one before it: a resolver that answers
    /// whenever it is asked does so once a second while nothing can be connected to.
    ///
    /// After [an error](Self::failed) it is also asked without that, after pauses that grow, or
    /// where the application [wants attempts at once](crate::Channel::reset_backoff).
    ///
    /// # Cancel safety
    /// Nothing is lost where the future is dropped.
    pub async fn asked(&self) {
        let (heard, again_at) = {
            let pace = self.pace();
            (pace.heard, pace.again_at)
        };
        if let Some(heard) = heard {
            tokio::time::sleep_until(heard + ASK_INTERVAL_MIN).await;
        }
        let asked = self.asks.again.notified();
        let Some(again_at) = again_at else {
            asked.await;
            self.pace().heard = Some(Instant::now());
            return;
        };
        let in_time = unless_hurried(self, async {
            let _ = tokio::time::timeout_at(again_at, asked).await;
        });
        let in_time = in_time.await;
        let mut pace = self.pace();
        if !in_time {
            pace.start_over();
        }
        // One that finds nothing new may tell nothing: it is not asked any sooner for that.
        pace.failed();
        pace.heard = Some(Instant::now());
    }

    /// Waits until the application wants attempts at once
    /// ([`reset_backoff`](crate::Channel::reset_backoff)): a resolver that rests after an error
    /// looks again then, and its pauses start over. One that was wanted while nobody waited here is
    /// kept for who waits next, unless it was before the [error](Self::failed) or
    /// [`asked`](Self::asked) has heard it.
    ///
    /// # Cancel safety
    /// Nothing is lost where the future is dropped.
    pub async fn backoff_reset(&self) {
        self.asks.at_once.notified().await;
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Updates {
    /// See [`going_on`](Updates::going_on).
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The channel may have wanted to know again, and told the watch before this one.
    pub(crate) fn ask(&self) {
        self.asks.ask();
    }

    /// As [`asked`](Updates::asked), but tells what is wanted at once, with the moment from which
    /// it may be done: who is to hurry in between is heard, and who was before had nothing to do.
    pub(crate) async fn asked_from(&self) -> std::time::Instant {
        self.asks.again.notified().await;
        self.forget_hurry();
        let mut pace = self.pace();
        let from = pace.heard.map_or(Instant::now(), |heard| heard + ASK_INTERVAL_MIN);
        pace.heard = Some(from.max(Instant::now()));
        from.into_std()
    }

    /// What was asked for so far needs no other answer.
    pub(crate) fn forget_asked(&self) {
        forget(&self.asks.again);
    }

    /// Who was to hurry so far has done so, or had nothing to do.
    pub(crate) fn forget_hurry(&self) {
        forget(&self.asks.at_once);
    }
}

impl Pace {
    fn succeeded(&mut self) {
        self.start_over();
        self.again_at = None;
    }

    /// As if nothing had failed before.
    fn start_over(&mut self) {
        self.pauses.established();
    }

    /// Whether it is the first time since it went well.
    fn failed_anew(&mut self) -> bool {
        if self.again_at.is_none() {
            self.failed();
            return true;
        }
        // The pause after this one was reckoned when it was asked.
        false
    }

    /// The next time that it is asked, after a pause that is longer than the one before.
    fn failed(&mut self) {
        let now = Instant::now();
        self.pauses.attempt(now.into_std(), fastrand::f64());
        self.again_at = self.pauses.failed(now.into_std()).map(Instant::from_std);
    }
}

/// At most one is kept.
fn forget(bell: &Notify) {
    let _ = pin!(bell.notified()).as_mut().enable();
}

/// Whether `rest` was over before the application wanted attempts at once: see
/// [`Updates::backoff_reset`].
pub(crate) async fn unless_hurried(updates: &Updates, rest: impl Future<Output = ()>) -> bool {
    let (mut rest, mut hurried) = (pin!(rest), pin!(updates.backoff_reset()));
    poll_fn(|cx| match hurried.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending => rest.as_mut().poll(cx).map(|()| true),
    })
    .await
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").finish_non_exhaustive()
    }
}

/// A name that stands for the same addresses for ever.
pub(crate) struct Fixed(pub(crate) Vec<Endpoint>);

impl Resolver for Fixed {
    async fn watch(&self, updates: Updates) {
        updates.resolved(Resolution::new(self.0.clone()));
    }
}
