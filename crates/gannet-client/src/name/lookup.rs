//! Lookups by the system's resolver, one at a time for each name that somebody asks for at a time:
//! one that takes longer than who began it waits goes on, as nothing ends it, and the next try
//! joins it. (Two who ask for one name at once, as where a channel leaves a runtime that nobody
//! runs, have one each, and the later to give up leaves its own behind.)

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::Instant;

/// What a lookup comes to. It may be awaited on one runtime and then on another.
pub(crate) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Names of which lookups are kept that nobody waits for.
const LEFT_MAX: usize = 64;
/// How long after one has begun another may begin beside it: longer than the system's resolver
/// takes to give up with what is mostly set.
const LOOKUP_MAX: Duration = Duration::from_secs(600);

/// Lookups that nobody waits for any more, and that go on.
#[derive(Default)]
pub(crate) struct Lookups {
    left: Mutex<HashMap<String, Lookup>>,
}

struct Lookup {
    begun: Instant,
    found: Found,
}

/// Who waits for a lookup: dropped, it leaves it to the next.
pub(crate) struct Joined<'a> {
    lookups: &'a Lookups,
    name: &'a str,
    /// `None` once it is over.
    lookup: Option<Lookup>,
}

impl Lookups {
    /// The lookup of this name that goes on, or another one that `begin` begins.
    pub(crate) fn join<'a>(&'a self, name: &'a str, begin: impl FnOnce() -> Found) -> Joined<'a> {
        self.left(name).unwrap_or_else(|| {
            let lookup = Some(Lookup { begun: Instant::now(), found: begin() });
            Joined { lookups: self, name, lookup }
        })
    }

    /// The lookup of this name that goes on. What one has found that is over, and nobody has waited
    /// for, may be long out of date.
    pub(crate) fn left<'a>(&'a self, name: &'a str) -> Option<Joined<'a>> {
        let mut left = self.lock().remove(name)?;
        left.goes_on().then(|| Joined { lookups: self, name, lookup: Some(left) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lookup>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    /// Neither over nor lost.
    fn goes_on(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let is_over = Pin::new(&mut unconstrained(&mut self.found)).poll(&mut cx).is_ready();
        !is_over && self.begun.elapsed() < LOOKUP_MAX
    }
}

impl Future for Joined<'_> {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(lookup) = &mut self.lookup else { return Poll::Pending };
        let polled = lookup.found.as_mut().poll(cx);
        if polled.is_ready() {
            self.lookup = None;
        }
        polled
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let Some(lookup) = self.lookup.take() else { return };
        let mut left = self.lookups.lock();
        if left.len() >= LEFT_MAX {
            left.retain(|_, other| other.goes_on());
        }
        if left.len() < LEFT_MAX || left.contains_key(self.name) {
            left.insert(self.name.to_owned(), lookup);
        }
    }
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

/// Asks the system's resolver, on one of the runtime's threads for what blocks.
pub(crate) fn look_up(name: impl ToSocketAddrs + Send + 'static) -> Found {
    let asked = tokio::task::spawn_blocking(move || Ok(name.to_socket_addrs()?.collect()));
    // Also where its runtime goes away before it has begun.
    Box::pin(async move { asked.await.unwrap_or_else(|error| Err(io::Error::other(error))) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Lookups that take so long; how many were begun.
    fn slow(begun: &Arc<AtomicUsize>, takes: Duration) -> impl FnOnce() -> Found {
        let begun = Arc::clone(begun);
        move || {
            let nth = begun.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                sleep(takes).await;
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], u16::try_from(nth).unwrap()))])
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_on_is_joined_and_what_is_over_is_not_used() {
        let (lookups, begun) = (Lookups::default(), Arc::default());
        let ask = async |name: &str, wait: Duration| {
            let found = timeout(wait, lookups.join(name, slow(&begun, SECOND * 60))).await;
            found.ok().map(|found| found.unwrap()[0].port())
        };
        for _ in 0..3 {
            assert_eq!(ask("a", SECOND * 5).await, None);
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        assert_eq!(ask("b", SECOND).await, None, "another name's is another");
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert_eq!(ask("a", SECOND * 60).await, Some(1));
        assert_eq!(ask("a", SECOND * 90).await, Some(3), "the next is a new one");
        assert_eq!(ask("b", SECOND * 90).await, Some(4), "what was found is out of date");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_over_make_room() {
        let (lookups, begun) = (Lookups::default(), Arc::default());
        let names: Vec<String> = (0..=LEFT_MAX).map(|n| n.to_string()).collect();
        for name in &names[..LEFT_MAX] {
            drop(lookups.join(name, slow(&begun, SECOND)));
        }
        drop(lookups.join(&names[LEFT_MAX], slow(&begun, SECOND * 60)));
        assert!(lookups.left(&names[LEFT_MAX]).is_none(), "there is no room");
        // Each begins to run when it is looked at.
        assert_eq!(lookups.lock().len(), LEFT_MAX);
        sleep(SECOND * 2).await;
        drop(lookups.join(&names[LEFT_MAX], slow(&begun, SECOND * 60)));
        assert!(lookups.left(&names[LEFT_MAX]).is_some(), "there is");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_does_not_keep_a_name_for_ever() {
        let (lookups, begun) = (Lookups::default(), Arc::default());
        for _ in 0..61 {
            let hangs = lookups.join("a", slow(&begun, Duration::from_secs(1 << 30)));
            assert!(timeout(SECOND * 20, hangs).await.is_err());
        }
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_kept_and_no_more() {
        let lookups = Lookups::default();
        for nth in 0..LEFT_MAX * 2 {
            let name = nth.to_string();
            drop(lookups.join(&name, || Box::pin(std::future::pending())));
        }
        assert_eq!(lookups.lock().len(), LEFT_MAX);
    }
}
