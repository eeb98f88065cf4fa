//! Names that the system's resolver resolves, to IPv4 and IPv6 addresses, in its order (RFC 6724).
//!
//! When that is done is decided by [`Pacing`]. A lookup that takes too long has failed; it goes on,
//! and what it finds is told when it comes. Each address is an endpoint of its own, since DNS
//! cannot say which of them belong together (gRFC A61).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use gannet_core::Status;

use super::lookup::Found;
use super::{Lookups, Resolution, Resolver, Updates, look_up, unless_hurried};
use crate::policy::{BackoffConfig, Next, Pacing};

/// See the module.
pub(crate) struct Dns {
    host: String,
    port: u16,
    interval_min: Duration,
    backoff: BackoffConfig,
    lookup: Lookup,
    lookups: Lookups,
    /// Of the last watch.
    pacing: Mutex<Option<Pacing>>,
}

type Lookup = Arc<dyn Fn(&str, u16) -> Found + Send + Sync>;

impl Dns {
    pub(crate) fn new(
        host: String,
        port: u16,
        interval_min: Duration,
        backoff: BackoffConfig,
    ) -> Dns {
        let lookup: Lookup = Arc::new(|host, port| look_up((host.to_owned(), port)));
        let (lookups, pacing) = (Lookups::default(), Mutex::new(None));
        Dns { host, port, interval_min, backoff, lookup, lookups, pacing }
    }

    /// By `lookup`, in place of the system's resolver.
    #[cfg(test)]
    pub(crate) fn looking_up(
        host: &str,
        port: u16,
        interval_min: Duration,
        backoff: BackoffConfig,
        lookup: impl Fn(&str, u16) -> Found + Send + Sync + 'static,
    ) -> Dns {
        Dns { lookup: Arc::new(lookup), ..Dns::new(host.into(), port, interval_min, backoff) }
    }

    /// # Errors
    /// UNAVAILABLE where the name does not resolve.
    async fn resolve(&self) -> Result<Resolution, Status> {
        let timeout = self.backoff.connect_timeout.min(self.backoff.connect_timeout_max);
        let lookup = || (self.lookup)(&self.host, self.port);
        let found = match tokio::time::timeout(timeout, self.lookups.join(&self.host, lookup)).await
        {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
            }
            Ok(found) => found,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {:.1} s", timeout.as_secs_f64()),
            )),
        };
        found.map(Resolution::new).map_err(|error| {
            let host = &self.host;
            Status::unavailable(format!("cannot resolve {host:?}: {error}")).with_source(error)
        })
    }

    /// Rests until this moment: unless a lookup that took too long finds something before.
    async fn rest(&self, until: Instant) -> Option<Resolution> {
        let mut late = self.lookups.left(&self.host);
        let mut rest = pin!(tokio::time::sleep_until(until.into()));
        poll_fn(|cx| {
            if let Some(joined) = &mut late
                && let Poll::Ready(found) = Pin::new(joined).poll(cx)
            {
                late = None;
                if let Some(found) = found.ok().filter(|found| !found.is_empty()) {
                    return Poll::Ready(Some(Resolution::new(found)));
                }
            }
            rest.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// A watch that goes on where another one was keeps its pauses.
    fn begin(&self, updates: &Updates) -> Pacing {
        let known = self.pacing().clone().filter(|_| updates.goes_on());
        if known.is_some() {
            updates.ask();
        }
        known.unwrap_or_else(|| Pacing::new(self.interval_min, self.backoff.clone()))
    }

    fn pacing(&self) -> MutexGuard<'_, Option<Pacing>> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Dns {
    async fn watch(&self, updates: Updates) {
        let mut pacing = self.begin(&updates);
        loop {
            *self.pacing() = Some(pacing.clone());
            let rest_until = match pacing.next(now()) {
                Next::At(at) => at,
                Next::AskedFrom(at) => at.max(updates.asked_from().await),
                Next::Never => return,
            };
            let mut late = None;
            let rest = async { late = self.rest(rest_until).await };
            if !unless_hurried(&updates, rest).await {
                pacing.start_over();
            }
            let resolved = match late {
                Some(resolution) => Ok(resolution),
                None => {
                    pacing.begin(now(), fastrand::f64());
                    *self.pacing() = Some(pacing.clone());
                    self.resolve().await
                }
            };
            // What was asked for so far is answered by this.
            updates.forget_asked();
            match resolved {
                Ok(resolution) => {
                    pacing.succeeded(now());
                    updates.resolved(resolution);
                }
                Err(status) => {
                    pacing.failed(now());
                    updates.failed(status);
                }
            }
        }
    }
}

/// Tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::name::{Asks, Listener};

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Listener for Told {
        fn told(&self, names: Result<Resolution, Status>) {
            self.0.lock().unwrap().push(match names {
                Ok(resolution) => format!("{:?}", resolution.endpoints[0].addresses()),
                Err(status) => status.message().to_owned(),
            });
        }
    }

    /// Answers by number of lookup: an error for each but the multiples of three.
    fn dns(lookups: &Arc<Mutex<Vec<tokio::time::Instant>>>) -> Dns {
        let lookups = Arc::clone(lookups);
        let mut dns = Dns::new("svc".into(), 7, Duration::from_secs(30), BackoffConfig::default());
        dns.lookup = Arc::new(move |host, port| {
            assert_eq!((host, port), ("svc", 7));
            let mut lookups = lookups.lock().unwrap();
            lookups.push(tokio::time::Instant::now());
            let answer = match lookups.len() % 3 {
                1 => Ok(vec!["1.1.1.1:7".parse().unwrap()]),
                2 => Err(io::Error::other("no")),
                _ => Ok(Vec::new()),
            };
            Box::pin(std::future::ready(answer))
        });
        dns
    }

    #[tokio::test(start_paused = true)]
    async fn looks_when_asked_not_too_often_and_by_itself_after_errors() {
        let start = tokio::time::Instant::now();
        let lookups = Arc::default();
        let (told, asked) = (Arc::new(Told::default()), Arc::new(Asks::default()));
        let listener: Arc<dyn Listener> = Arc::clone(&told) as Arc<dyn Listener>;
        let updates = Updates::new(listener, Arc::clone(&asked));
        let dns = dns(&lookups);
        let watching = tokio::spawn(async move { dns.watch(updates).await });
        let at = || -> Vec<u64> {
            let lookups = lookups.lock().unwrap();
            lookups.iter().map(|at| at.duration_since(start).as_secs()).collect()
        };
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(at(), [0], "once, as nobody asked");
        asked.ask();
        asked.ask();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(at(), [0], "too early");
        tokio::time::sleep(Duration::from_secs(100)).await;
        // Asked for from 30 s on; errors are followed by another try after 1 s and 1.6 s, more or
        // less.
        let seconds = at();
        assert_eq!((seconds[0], seconds[1], seconds[2]), (0, 30, 31));
        assert!((32..=33).contains(&seconds[3]) && seconds.len() == 4, "{seconds:?}");
        let told = told.0.lock().unwrap().clone();
        assert_eq!(told[0], "[Address(1.1.1.1:7)]");
        assert_eq!(told[1], "cannot resolve \"svc\": no");
        assert_eq!(told[2], "cannot resolve \"svc\": the name has no address");
        watching.abort();
    }

    /// As its backoff would have it, it looks again after minutes.
    #[tokio::test(start_paused = true)]
    async fn looks_at_once_when_the_backoff_is_reset() {
        let lookups = Arc::new(Mutex::new(Vec::new()));
        let looked = Arc::clone(&lookups);
        let lookup = move |_: &str, _| -> Found {
            looked.lock().unwrap().push(tokio::time::Instant::now());
            Box::pin(std::future::ready(Err(io::Error::other("no"))))
        };
        let config = BackoffConfig::default();
        let dns = Dns::looking_up("svc", 7, Duration::from_secs(30), config, lookup);
        let asks = Arc::new(Asks::default());
        let updates = Updates::new(Arc::new(Told::default()), Arc::clone(&asks));
        let watching = tokio::spawn(async move { dns.watch(updates).await });
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        let before = lookups.lock().unwrap().len();
        asks.hurry();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let lookups = lookups.lock().unwrap().clone();
        assert_eq!(lookups.len(), before + 3, "at once, and after 1 s and 1.6 s");
        let hurried = lookups[before] - lookups[0];
        assert!((1_000_000..1_000_010).contains(&hurried.as_millis()), "{hurried:?}");
        watching.abort();
    }

    /// A name whose lookups take so long; when they were begun.
    fn slow(takes: Duration) -> (Dns, Arc<Mutex<Vec<tokio::time::Instant>>>) {
        let begun = Arc::new(Mutex::new(Vec::new()));
        let looked = Arc::clone(&begun);
        let lookup = move |_: &str, _| -> Found {
            looked.lock().unwrap().push(tokio::time::Instant::now());
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                Ok(vec!["1.1.1.1:7".parse().unwrap()])
            })
        };
        let interval = Duration::from_secs(30);
        (Dns::looking_up("svc", 7, interval, BackoffConfig::default(), lookup), begun)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_takes_too_long_is_not_begun_anew_and_heard_when_it_comes() {
        // While the third try waits for it, and between the first and the second.
        for (takes, failures) in [(50, 2), (21, 1)] {
            let (dns, begun) = slow(Duration::from_secs(takes));
            let told = Arc::new(Told::default());
            let start = tokio::time::Instant::now();
            let initial = Duration::from_secs(22);
            let backoff = BackoffConfig { initial, ..BackoffConfig::default() };
            let dns = Dns { backoff, ..dns };
            let updates = Updates::new(Arc::clone(&told) as Arc<dyn Listener>, Arc::default());
            let watching = tokio::spawn(async move { dns.watch(updates).await });
            while told.0.lock().unwrap().len() <= failures {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let took = start.elapsed();
            assert!(took < Duration::from_millis(takes * 1_000 + 200), "{took:?}");
            assert_eq!(begun.lock().unwrap().len(), 1);
            let told = told.0.lock().unwrap().clone();
            let want = "cannot resolve \"svc\": no answer within 20.0 s";
            assert!(told[..failures].iter().all(|told| told == want), "{told:?}");
            assert_eq!(told[failures], "[Address(1.1.1.1:7)]");
            watching.abort();
        }
    }

    /// A channel that moves from runtime to runtime has its name looked up as seldom as another.
    #[tokio::test(start_paused = true)]
    async fn a_watch_that_goes_on_elsewhere_keeps_the_pauses() {
        let (dns, begun) = slow(Duration::ZERO);
        let dns = Arc::new(dns);
        for goes_on in std::iter::once(false).chain(std::iter::repeat_n(true, 1_000)) {
            let updates = Updates::new(Arc::new(Told::default()), Arc::default());
            let (dns, updates) = (Arc::clone(&dns), updates.going_on(goes_on));
            let watching = tokio::spawn(async move { dns.watch(updates).await });
            tokio::time::sleep(Duration::from_millis(100)).await;
            watching.abort();
        }
        // A hundred seconds; each move asks.
        let begun = begun.lock().unwrap().clone();
        assert_eq!(begun.len(), 4, "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_asked_too_early_need_not_wait_either() {
        let lookups = Arc::default();
        let asks = Arc::new(Asks::default());
        let updates = Updates::new(Arc::new(Told::default()), Arc::clone(&asks));
        let dns = dns(&lookups);
        let watching = tokio::spawn(async move { dns.watch(updates).await });
        let count = || lookups.lock().unwrap().len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        // Nobody wants to know: there is nothing to hurry, then or later.
        asks.hurry();
        tokio::time::sleep(Duration::from_secs(1)).await;
        asks.ask();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count(), 1);
        asks.hurry();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(count(), 2);
        // Nor one that is asked again within the second that lies between two answers.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = count();
        asks.ask();
        tokio::time::sleep(Duration::from_millis(1)).await;
        asks.hurry();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(count(), before + 1);
        watching.abort();
    }
}
