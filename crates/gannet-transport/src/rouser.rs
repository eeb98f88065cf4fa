//! Has connections that keep memory looked at again after a few seconds: one thread for all
//! connections of the process, which is there as long as one of them keeps some.
//!
//! A timer of the runtime's would do as well, but while there is one, every wait of that thread of
//! the runtime looks for it, reads the clock once more, and has the kernel arm a timer: more than a
//! tenth of what a wake with one call costs. This costs a wake two loads.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Who can be roused.
pub(crate) trait Rouse: Send + Sync {
    /// Has the connection look what time it is.
    fn rouse(&self);
}

/// See the module.
pub(crate) struct Rouser {
    /// Whoever is noted is roused after this, and before twice as long.
    period: Duration,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    noted: Vec<Weak<dyn Rouse>>,
    has_thread: bool,
}

impl Rouser {
    pub(crate) const fn new(period: Duration) -> Rouser {
        Rouser { period, list: Mutex::new(List { noted: Vec::new(), has_thread: false }) }
    }

    /// Notes one that is to be roused, once. False where that will not happen: there is no thread,
    /// or the runtime's time is not the system's, as in tests that pause it.
    pub(crate) fn note(&'static self, who: Weak<dyn Rouse>) -> bool {
        if !time_is_real() {
            return false;
        }
        let mut list = self.list();
        if !list.has_thread {
            let thread = thread::Builder::new().name("gannet-rouser".to_owned());
            list.has_thread = thread.spawn(move || Thread(self).run()).is_ok();
        }
        if list.has_thread {
            list.noted.push(who);
        }
        list.has_thread
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, as long as it runs.
struct Thread(&'static Rouser);

impl Thread {
    fn run(self) {
        let mut due = Vec::new();
        loop {
            {
                let mut list = self.0.list();
                std::mem::swap(&mut list.noted, &mut due);
                if due.is_empty() {
                    *list = List::default();
                    // Whoever is noted from here on has a thread of its own started.
                    return std::mem::forget(self);
                }
            }
            thread::sleep(self.0.period);
            due.drain(..).filter_map(|who: Weak<dyn Rouse>| who.upgrade()).for_each(|w| w.rouse());
        }
    }
}

impl Drop for Thread {
    /// Only where rousing has panicked.
    fn drop(&mut self) {
        *self.0.list() = List::default();
    }
}

/// Whether the runtime's clock is the system's: read between two looks at that, it lies there.
fn time_is_real() -> bool {
    let before = Instant::now();
    let now = tokio::time::Instant::now().into_std();
    (before..=Instant::now()).contains(&now)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Sleeper(AtomicUsize);

    impl Rouse for Sleeper {
        fn rouse(&self) {
            assert_ne!(self.0.fetch_add(1, Ordering::SeqCst), 99, "a rouser survives this");
        }
    }

    fn note(rouser: &'static Rouser, who: &Arc<Sleeper>) -> bool {
        let who = Arc::downgrade(who);
        rouser.note(who)
    }

    fn wait_until(what: &str, is: impl Fn() -> bool) {
        let start = Instant::now();
        while !is() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn each_is_roused_once_and_not_too_early_and_the_thread_ends() {
        static ROUSER: Rouser = Rouser::new(Duration::from_millis(30));
        for _ in 0..2 {
            let start = Instant::now();
            let sleepers: Vec<_> = (0..3).map(|_| Arc::new(Sleeper::default())).collect();
            assert!(sleepers.iter().all(|sleeper| note(&ROUSER, sleeper)));
            assert!(note(&ROUSER, &Arc::new(Sleeper::default())), "one that is gone by then");
            let roused = |at: usize| sleepers[at].0.load(Ordering::SeqCst);
            wait_until("nobody was roused", || roused(2) > 0);
            assert!(start.elapsed() >= ROUSER.period);
            wait_until("the thread goes on", || !ROUSER.list().has_thread);
            assert_eq!([roused(0), roused(1), roused(2)], [1; 3]);
            assert!(ROUSER.list().noted.is_empty());
        }
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        static ROUSER: Rouser = Rouser::new(Duration::from_millis(1));
        let bad = Arc::new(Sleeper(AtomicUsize::new(99)));
        assert!(note(&ROUSER, &bad));
        wait_until("the thread is still there", || !ROUSER.list().has_thread);
        assert_eq!(bad.0.load(Ordering::SeqCst), 100);
        assert!(note(&ROUSER, &bad));
        wait_until("no other thread came", || bad.0.load(Ordering::SeqCst) == 101);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_stands_still_is_the_runtimes() {
        static ROUSER: Rouser = Rouser::new(Duration::ZERO);
        tokio::time::advance(Duration::from_secs(1)).await;
        let sleeper = Arc::new(Sleeper::default());
        assert!(!note(&ROUSER, &sleeper));
        tokio::time::resume();
        assert!(!note(&ROUSER, &sleeper), "it is ahead by a second from now on");
    }
}
