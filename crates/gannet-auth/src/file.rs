//! A file that is followed: how it is read, how long that is waited for, and when it is due again.
//!
//! What follows a file here is a call, and a call must not wait for a disk that does not answer.
//! So a thread of its own reads: it keeps what it has read whether anybody waits or not, and where
//! it never ends the runtime can. Waiting for it ends after [`WAIT_MAX`], by the system's clock. Of
//! a file one read goes on at a time, for all who ask.
//!
//! What is to be done with what was read, and when to read again, is for who follows: `keys::live`
//! and `client::token_file`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a call waits for a file at most: what cannot be read in time is as what cannot be read
/// at all, until it is there.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(1);

/// What is in a file, and no more of it than tells that it is too long.
///
/// # Errors
/// Where it cannot be read, or is no regular file: what is none might never end, or never begin.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A read that was begun, and what comes of it, for any number of those who ask.
#[derive(Clone)]
pub(crate) struct Reading<T>(watch::Receiver<Progress<T>>);

#[derive(Clone)]
enum Progress<T> {
    Begun,
    /// It goes on, but nobody waits any longer.
    Late,
    Done(T),
}

impl<T: Clone + Send + Sync + 'static> Reading<T> {
    /// Has `read` run beside, in the context of the runtime if there is one. It is waited for
    /// `within` this time at most.
    pub(crate) fn begin(within: Duration, read: impl FnOnce() -> T + Send + 'static) -> Reading<T> {
        let (progress, reading) = watch::channel(Progress::Begun);
        let late = progress.clone();
        let (ended, end) = mpsc::channel::<()>();
        let runtime = Handle::try_current().ok();
        let context = runtime.clone();
        // Without a thread, or where that panics, both senders go, which those who wait see.
        let _ = thread::Builder::new().name("gannet-auth".into()).spawn(move || {
            let _entered = context.as_ref().map(Handle::enter);
            progress.send_replace(Progress::Done(read()));
            drop(ended);
        });
        let bound = move || {
            if end.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
                late.send_if_modified(|progress| {
                    let is_late = matches!(progress, Progress::Begun);
                    if is_late {
                        *progress = Progress::Late;
                    }
                    is_late
                });
            }
        };
        // A runtime whose time is paused lets none pass meanwhile.
        match runtime {
            Some(runtime) => drop(runtime.spawn_blocking(bound)),
            None => drop(thread::Builder::new().spawn(bound)),
        }
        Reading(reading)
    }

    /// Whether it has not ended yet.
    pub(crate) fn goes_on(&self) -> bool {
        !matches!(*self.0.borrow(), Progress::Done(_)) && self.0.has_changed().is_ok()
    }

    /// # Errors
    /// Where it takes too long, or was cut short.
    pub(crate) async fn end(mut self) -> io::Result<T> {
        let progress = self.0.wait_for(|progress| !matches!(progress, Progress::Begun)).await;
        match progress.as_deref() {
            Ok(Progress::Done(done)) => Ok(done.clone()),
            Ok(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "it takes longer than is waited for"))
            }
            Err(_) => Err(io::Error::other("reading it was cut short")),
        }
    }
}

/// A moment that many look at, without a lock.
pub(crate) struct Moment {
    base: Instant,
    /// Nanoseconds behind it.
    after: AtomicU64,
}

impl Moment {
    pub(crate) fn new(at: Instant) -> Moment {
        Moment { base: at, after: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self) -> Instant {
        self.base + Duration::from_nanos(self.after.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, at: Instant) {
        self.after.store(self.nanoseconds(at), Ordering::Release);
    }

    /// Of several who replace the same moment, one does.
    pub(crate) fn replace(&self, known: Instant, at: Instant) -> bool {
        let (known, at) = (self.nanoseconds(known), self.nanoseconds(at));
        self.after.compare_exchange(known, at, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Half of what there is, some three hundred years, is far enough for any clock.
    fn nanoseconds(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.base).as_nanos();
        u64::try_from(after).unwrap_or(u64::MAX).min(u64::MAX / 2)
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read that ends when the sender says so, or goes.
    fn stuck(within: Duration) -> (mpsc::Sender<()>, Reading<u8>) {
        let (free, wait) = mpsc::channel();
        let read = move || {
            let _ = wait.recv();
            7
        };
        (free, Reading::begin(within, read))
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_what_comes_late_counts() {
        let (free, reading) = stuck(Duration::ZERO);
        for _ in 0..2 {
            let error = reading.clone().end().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert!(reading.goes_on());
        drop(free);
        let mut progress = reading.0.clone();
        progress.wait_for(|progress| matches!(progress, Progress::Done(7))).await.unwrap();
        assert!(!reading.goes_on());
        assert_eq!(reading.end().await.unwrap(), 7);
    }

    #[tokio::test]
    async fn one_that_panics_has_ended() {
        let reading: Reading<u8> = Reading::begin(WAIT_MAX, || panic!("as a user's hook may"));
        assert!(reading.clone().end().await.unwrap_err().to_string().contains("cut short"));
        assert!(!reading.goes_on());
    }

    #[test]
    fn a_runtime_ends_beside_a_read_that_does_not() {
        let (done, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (free, reading) = runtime.block_on(async { stuck(Duration::ZERO) });
        thread::spawn(move || {
            drop(runtime);
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(10)).expect("the runtime ends");
        assert!(reading.goes_on());
        drop(free);
    }

    #[test]
    fn without_a_runtime_it_is_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(Reading::begin(WAIT_MAX, || 7).end()).unwrap(), 7);
        let (_free, reading) = stuck(Duration::ZERO);
        assert_eq!(runtime.block_on(reading.end()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn paused_time_waits_for_the_file() {
        let before = Instant::now();
        assert_eq!(Reading::begin(WAIT_MAX, || 7).end().await.unwrap(), 7);
        assert_eq!(Instant::now(), before);
    }

    #[test]
    fn moments_are_replaced_once() {
        let now = Instant::now();
        let (moment, later) = (Moment::new(now), now + Duration::from_secs(5));
        assert!(moment.replace(now, later));
        assert!(!moment.replace(now, later + Duration::from_secs(5)));
        assert_eq!(moment.get(), later);
        moment.set(now);
        assert_eq!(moment.get(), now);
    }
}
