//! Names that the system's resolver resolves, to IPv4 and IPv6 addresses, in its order (RFC 6724).
//!
//! When that is done is decided by [`Pacing`]. Each address is an endpoint of its own, since DNS
//! cannot say which of them belong together (gRFC A61).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::Status;

use super::{Resolution, Resolver, Updates, unless_hurried};
use crate::policy::{BackoffConfig, Next, Pacing};

/// See the module.
pub(crate) struct Dns {
    host: String,
    port: u16,
    interval_min: Duration,
    backoff: BackoffConfig,
    lookup: Lookup,
}

type Lookup = Arc<dyn Fn(&str, u16) -> Found + Send + Sync>;
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Dns {
    pub(crate) fn new(
        host: String,
        port: u16,
        interval_min: Duration,
        backoff: BackoffConfig,
    ) -> Dns {
        let lookup: Lookup = Arc::new(|host, port| {
            let name = (host.to_owned(), port);
            Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
        });
        Dns { host, port, interval_min, backoff, lookup }
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
        let found = match tokio::time::timeout(timeout, (self.lookup)(&self.host, self.port)).await
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
}

impl Resolver for Dns {
    async fn watch(&self, updates: Updates) {
        let mut pacing = Pacing::new(self.interval_min, self.backoff.clone());
        loop {
            let rest_until = match pacing.next(now()) {
                Next::At(at) => at,
                Next::AskedFrom(at) => at.max(updates.asked_from().await),
                Next::Never => return,
            };
            if !unless_hurried(&updates, tokio::time::sleep_until(rest_until.into())).await {
                pacing.start_over();
            }
            pacing.begin(now(), fastrand::f64());
            let resolved = self.resolve().await;
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
