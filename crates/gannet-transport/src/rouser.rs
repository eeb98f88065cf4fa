//! Has connections that keep memory looked at again after a few seconds: one thread for all
//! connections of the process, which is there as long as one of them keeps some.
//!
//! A timer of the runtime's would do as well, but while there is one, every wait of that thread of
//! the runtime looks for it, reads the clock once more, and has the kernel arm a timer: more than a
//! tenth of what a wake with one call costs. This costs a wake two loads. Where it cannot be had,
//! [`Rouser::note`] says so, and the connection uses such a timer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io, process, thread};

/// Who can be roused.
pub trait Rouse: Send + Sync {
    /// Has it look what time it is.
    fn rouse(&self);
}

/// Has those who are noted look what time it is, a while later: by one thread, which is there as
/// long as somebody is noted, and at no cost for a runtime.
pub struct Rouser {
    /// Whoever is noted is roused after this, and before twice as long.
    period: Duration,
    start: fn(&'static Rouser) -> io::Result<()>,
    list: Mutex<List>,
}

struct List {
    noted: Vec<Weak<dyn Rouse>>,
    /// The process that has the thread. One that was forked off has the list, but no thread.
    process: Option<u32>,
    /// Where no thread could be had: not to be tried again before.
    retry: Option<Instant>,
}

impl Rouser {
    /// Whoever is noted is roused after `period`, and before twice as long.
    pub const fn new(period: Duration) -> Rouser {
        let list = List { noted: Vec::new(), process: None, retry: None };
        Rouser { period, start: start_thread, list: Mutex::new(list) }
    }

    /// As it was given.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Notes one that is to be roused, once. False where that will not happen: there is no thread,
    /// or the runtime's time is not the system's, as in tests that pause it.
    pub fn note(&'static self, who: Weak<dyn Rouse>) -> bool {
        if !time_is_real() {
            return false;
        }
        let mut list = self.list();
        if list.process != Some(process::id()) && !self.start_for(&mut list) {
            return false;
        }
        list.noted.push(who);
        true
    }

    /// Sees to it that there is a thread.
    fn start_for(&'static self, list: &mut List) -> bool {
        let now = Instant::now();
        if list.retry.is_some_and(|at| now < at) {
            return false;
        }
        // Those of the process that this one was forked off do not exist here.
        list.noted = Vec::new();
        let is_started = (self.start)(self).is_ok();
        list.process = is_started.then(process::id);
        list.retry = if is_started { None } else { now.checked_add(self.period) };
        is_started
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread, as long as somebody is noted.
    fn run(&self) {
        let mut due = Vec::new();
        loop {
            {
                let mut list = self.list();
                std::mem::swap(&mut list.noted, &mut due);
                if due.is_empty() {
                    // Whoever is noted from here on has a thread of its own started.
                    list.noted = Vec::new();
                    list.process = None;
                    return;
                }
            }
            thread::sleep(self.period);
            for who in due.drain(..) {
                // Others do not suffer from a waker that panics, nor from the last of a connection,
                // which may go here.
                let _ = catch_unwind(AssertUnwindSafe(|| rouse(&who)));
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn has_thread(&self) -> bool {
        self.list().process.is_some()
    }
}

impl fmt::Debug for Rouser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rouser").field("period", &self.period).finish_non_exhaustive()
    }
}

fn start_thread(rouser: &'static Rouser) -> io::Result<()> {
    let thread = thread::Builder::new().name("gannet-rouser".to_owned());
    thread.spawn(move || rouser.run()).map(drop)
}

fn rouse(who: &Weak<dyn Rouse>) {
    if let Some(who) = who.upgrade() {
        who.rouse();
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
            wait_until("the thread goes on", || !ROUSER.has_thread());
            assert_eq!([roused(0), roused(1), roused(2)], [1; 3]);
            assert!(ROUSER.list().noted.is_empty());
        }
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        static ROUSER: Rouser = Rouser::new(Duration::from_millis(1));
        let bad = Arc::new(Sleeper(AtomicUsize::new(99)));
        let good = Arc::new(Sleeper::default());
        assert!(note(&ROUSER, &bad) && note(&ROUSER, &good));
        wait_until("the thread is still there", || !ROUSER.has_thread());
        assert_eq!([&bad, &good].map(|sleeper| sleeper.0.load(Ordering::SeqCst)), [100, 1]);
        assert!(note(&ROUSER, &bad));
        wait_until("no other thread came", || bad.0.load(Ordering::SeqCst) == 101);
    }

    #[test]
    fn without_a_thread_nobody_is_noted_and_one_is_tried_for_now_and_then() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        let start = |rouser| match TRIED.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(io::ErrorKind::WouldBlock.into()),
            _ => start_thread(rouser),
        };
        let patient = Rouser { start, ..Rouser::new(Duration::from_secs(3_600)) };
        let patient: &'static Rouser = Box::leak(Box::new(patient));
        let sleeper = Arc::new(Sleeper::default());
        assert!((0..100).all(|_| !note(patient, &sleeper)));
        assert_eq!(TRIED.load(Ordering::SeqCst), 1, "a thread is not tried for each time");
        let rouser = Rouser { start, ..Rouser::new(Duration::from_millis(1)) };
        let rouser: &'static Rouser = Box::leak(Box::new(rouser));
        assert!(!note(rouser, &sleeper) && rouser.list().noted.is_empty());
        wait_until("it is not tried again", || note(rouser, &sleeper));
        wait_until("nobody was roused", || sleeper.0.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn a_process_that_was_forked_off_has_a_thread_of_its_own() {
        static ROUSER: Rouser = Rouser::new(Duration::from_millis(1));
        let (old, new) = (Arc::new(Sleeper::default()), Arc::new(Sleeper::default()));
        {
            // What is left of the other process.
            let mut list = ROUSER.list();
            list.process = Some(process::id() + 1);
            let old: Arc<dyn Rouse> = old.clone();
            list.noted.push(Arc::downgrade(&old));
        }
        assert!(note(&ROUSER, &new));
        wait_until("nobody was roused", || new.0.load(Ordering::SeqCst) > 0);
        wait_until("the thread goes on", || !ROUSER.has_thread());
        assert_eq!(old.0.load(Ordering::SeqCst), 0);
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
