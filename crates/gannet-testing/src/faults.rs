//! [`Faults`]: calls that are late, or fail, as chance from a seed has it (in the manner of gRFC
//! A33).

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use gannet_client as client;
use gannet_core::{MethodDescriptor, Result, Status};
use gannet_server as server;

/// Delays calls and fails them: an interceptor for servers and for channels.
///
/// ```
/// # use std::time::Duration;
/// # use gannet_testing::{Faults, InProcess, example::{ECHO, Echo}};
/// # use gannet_core::{Code, Status, codec::Raw};
/// # use gannet_server::Server;
/// # gannet_testing::virtual_time(async {
/// let faults = Faults::seeded(7)
///     .delay(0.5, Duration::from_millis(10)..Duration::from_millis(200))
///     .abort(0.2, Status::unavailable("as chance has it"));
/// let server = Server::new().add(Echo).intercept(faults.clone());
/// let channel = InProcess::serve(server).channel();
/// let mut failed = 0;
/// for _ in 0..100 {
///     let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
///     failed += usize::from(call.await.is_err());
/// }
/// let fates = faults.fates();
/// assert_eq!(fates.iter().filter(|fate| fate.abort.is_some()).count(), failed);
/// assert!((10..30).contains(&failed), "{failed} in each run");
/// # });
/// ```
///
/// What becomes of a call depends on the seed and on how many came before it, not on when it comes.
/// A delay comes first, as on a slow network. Clones are the same faults, and count on.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

struct Shared {
    seed: u64,
    /// Names of services, and paths of methods; all where there are none.
    only: Vec<String>,
    rules: Vec<Rule>,
    calls: AtomicU64,
    fates: Mutex<Vec<Fate>>,
}

#[derive(Clone)]
struct Rule {
    probability: f64,
    what: What,
}

#[derive(Clone)]
enum What {
    Delay(Range<Duration>),
    Abort(Status),
}

/// What became of one call.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// How long it was held up.
    pub delay: Duration,
    /// What it failed with, before anybody else saw it.
    pub abort: Option<Status>,
}

impl Faults {
    /// No faults yet; those that are added follow from this seed.
    pub fn seeded(seed: u64) -> Faults {
        Faults(Arc::new(Shared {
            seed,
            only: Vec::new(),
            rules: Vec::new(),
            calls: AtomicU64::new(0),
            fates: Mutex::default(),
        }))
    }

    /// Delays calls: each with this probability, from 0 (none) to 1 (all), for a time from this
    /// range, up to its end. `hour..hour` is an hour. Several delays of a call add up.
    ///
    /// A call whose deadline passes meanwhile ends there, as any other that is late.
    ///
    /// # Panics
    /// Where the probability is not within 0 to 1, or the range ends before it starts.
    #[must_use]
    #[track_caller]
    pub fn delay(self, probability: f64, within: Range<Duration>) -> Faults {
        assert!(
            within.start <= within.end,
            "a delay within {within:?}, which ends before it starts"
        );
        self.with(Rule { probability, what: What::Delay(within) })
    }

    /// Fails calls: each with this probability, from 0 (none) to 1 (all), and behind its delay.
    /// Before the handler sees them on a server, before they are sent on a channel. Of several that
    /// meet the same call, the first that was added counts.
    ///
    /// # Panics
    /// Where the probability is not within 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn abort(self, probability: f64, status: Status) -> Faults {
        self.with(Rule { probability, what: What::Abort(status) })
    }

    /// Leaves alone what is not named: the calls of services (`"pkg.Service"`) and of methods
    /// (`"/pkg.Service/Method"`). Several may be named. What is left alone has no
    /// [fate](Self::fates).
    ///
    /// A server that has no service or method of that name does not serve: see
    /// [`ServeError::UnknownName`](server::ServeError::UnknownName), which
    /// [`InProcess::stop`](crate::InProcess::stop) returns. A channel does not know what its
    /// servers have: there, such a name fails no call.
    #[must_use]
    pub fn only_on(mut self, name: impl Into<String>) -> Faults {
        self.shared_mut().only.push(name.into());
        self
    }

    #[track_caller]
    fn with(mut self, rule: Rule) -> Faults {
        let probability = rule.probability;
        assert!(
            (0.0..=1.0).contains(&probability),
            "a fault with the probability {probability}: it is a number from 0 (none) to 1 (all)",
        );
        self.shared_mut().rules.push(rule);
        self
    }

    /// Before it is shared; what was shared stays as it was.
    fn shared_mut(&mut self) -> &mut Shared {
        let Shared { seed, only, rules, .. } = &*self.0;
        let (seed, only, rules) = (*seed, only.clone(), rules.clone());
        self.0 = Arc::new(Shared {
            seed,
            only,
            rules,
            calls: AtomicU64::new(0),
            fates: Mutex::default(),
        });
        Arc::get_mut(&mut self.0).expect("it was made just now")
    }

    /// What became of the calls so far, in the order in which they came; also of those that are
    /// still being delayed. Each is kept, as long as these faults are.
    pub fn fates(&self) -> Vec<Fate> {
        self.0.fates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits, and then fails, as the next call's fate is.
    async fn meet(&self, method: &MethodDescriptor) -> Result<()> {
        let shared = &self.0;
        let is_meant = |name: &String| name == method.path || name == method.service;
        if !shared.only.is_empty() && !shared.only.iter().any(is_meant) {
            return Ok(());
        }
        let fate = shared.next();
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        fate.abort.map_or(Ok(()), Err)
    }
}

impl Shared {
    fn next(&self) -> Fate {
        let nth = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut random = Rng::with_seed(mixed(self.seed, nth));
        let mut fate = Fate::default();
        for rule in &self.rules {
            let happens = random.f64() < rule.probability;
            match &rule.what {
                What::Delay(within) => {
                    let delay = between(within, &mut random);
                    if happens {
                        fate.delay += delay;
                    }
                }
                What::Abort(status) => {
                    if happens && fate.abort.is_none() {
                        fate.abort = Some(status.clone());
                    }
                }
            }
        }
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).push(fate.clone());
        fate
    }
}

/// A seed of its own for each number, of another seed.
pub(crate) fn mixed(seed: u64, nth: u64) -> u64 {
    Rng::with_seed(seed ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..)
}

fn between(within: &Range<Duration>, random: &mut Rng) -> Duration {
    let span = within.end.saturating_sub(within.start);
    within.start + span.mul_f64(random.f64())
}

impl server::Interceptor for Faults {
    async fn intercept(
        &self,
        call: server::Incoming,
        next: server::Next,
    ) -> Result<server::Handled> {
        self.meet(call.method()).await?;
        next.run(call).await
    }

    fn names(&self) -> Vec<&str> {
        self.0.only.iter().map(String::as_str).collect()
    }
}

impl client::Interceptor for Faults {
    async fn intercept(
        &self,
        call: client::Outgoing,
        next: client::Next,
    ) -> Result<client::Answer> {
        self.meet(call.method()).await?;
        next.run(call).await
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("seed", &self.0.seed)
            .field("rules", &self.0.rules.len())
            .field("calls", &self.0.calls)
            .finish_non_exhaustive()
    }
}
