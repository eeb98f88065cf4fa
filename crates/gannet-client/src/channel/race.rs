//! Several ways to one target, raced (gRFC A61, which follows RFC 8305).
//!
//! A way is tried a while after the one before it, or at once where one has failed; those that were
//! begun before go on. The first that succeeds wins, and dropping the race drops the others. What a
//! way is, and when it has succeeded, is its future's matter; so is the order of the ways.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use gannet_core::Status;

/// How long after an attempt the next one starts beside it: what A61 and RFC 8305 recommend. They
/// clamp it to 100 ms to 2 s where it can be set; here it cannot.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A way that is tried, or will be. Its error's message says where it leads.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send + 'a>>;

/// See the module.
pub(super) struct Race<'a, T> {
    /// Not begun, in order.
    waiting: VecDeque<Entrant<'a, T>>,
    /// Begun, in order.
    running: Vec<Entrant<'a, T>>,
    failures: Vec<Status>,
}

struct Entrant<'a, T> {
    name: String,
    attempt: Attempt<'a, T>,
}

impl<'a, T> Race<'a, T> {
    pub(super) fn new() -> Race<'a, T> {
        Race { waiting: VecDeque::new(), running: Vec::new(), failures: Vec::new() }
    }

    /// Adds a way behind the others; `name` says where it leads.
    pub(super) fn enter(
        &mut self,
        name: String,
        attempt: impl Future<Output = Result<T, Status>> + Send + 'a,
    ) {
        self.waiting.push_back(Entrant { name, attempt: Box::pin(attempt) });
    }

    /// What the winner brings; `None` where all have failed.
    pub(super) async fn run(&mut self) -> Option<T> {
        loop {
            match self.waiting.pop_front() {
                Some(entrant) => self.running.push(entrant),
                None if self.running.is_empty() => return None,
                None => {}
            }
            let ended = if self.waiting.is_empty() {
                self.next_end().await
            } else {
                match tokio::time::timeout(ATTEMPT_DELAY, self.next_end()).await {
                    Ok(ended) => ended,
                    Err(_) => continue,
                }
            };
            match ended {
                Ok(won) => return Some(won),
                Err(status) => self.failures.push(status),
            }
        }
    }

    /// Why nobody won: every way with its reason. `gave_up_after`: how long the race was, where it
    /// was not run to its end.
    pub(super) fn failure(self, gave_up_after: Option<Duration>) -> Status {
        let mut told = String::new();
        for status in &self.failures {
            let separator = if told.is_empty() { "" } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(told, "{separator}{}", status.message());
        }
        for Entrant { name, .. } in self.running.iter().chain(&self.waiting) {
            let separator = if told.is_empty() { "" } else { "; " };
            let after = gave_up_after.unwrap_or_default().as_secs_f64();
            let _ = write!(told, "{separator}{name}: no answer within {after:.1} s");
        }
        match self.failures.into_iter().next_back() {
            // It keeps its cause.
            Some(last) => last.with_message(told),
            None => Status::unavailable(told),
        }
    }

    async fn next_end(&mut self) -> Result<T, Status> {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Status>> {
        for index in 0..self.running.len() {
            if let Poll::Ready(ended) = self.running[index].attempt.as_mut().poll(cx) {
                self.running.remove(index);
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Ends after `ms`, well or not.
    async fn way(ms: u64, name: &'static str, is_good: bool) -> Result<&'static str, Status> {
        sleep(Duration::from_millis(ms)).await;
        if is_good { Ok(name) } else { Err(Status::unavailable(format!("{name}: no"))) }
    }

    async fn race(ways: &[(u64, &'static str, bool)]) -> (Result<&'static str, String>, u128) {
        let start = Instant::now();
        let mut race = Race::new();
        for (ms, name, is_good) in ways.iter().copied() {
            race.enter(name.to_owned(), way(ms, name, is_good));
        }
        let won = race.run().await;
        let ended = won.ok_or_else(|| race.failure(None).message().to_owned());
        (ended, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_starts_after_the_delay_and_the_first_goes_on() {
        assert_eq!(race(&[(99_000, "a", true), (10, "b", true)]).await, (Ok("b"), 260));
        assert_eq!(race(&[(400, "a", true), (200, "b", true)]).await, (Ok("a"), 400));
        let three = [(99_000, "a", true), (99_000, "b", true), (10, "c", true)];
        assert_eq!(race(&three).await, (Ok("c"), 510));
        assert_eq!(race(&[(200, "a", true), (0, "b", true)]).await, (Ok("a"), 200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        assert_eq!(race(&[(10, "a", false), (10, "b", true)]).await, (Ok("b"), 20));
        // Whichever fails; and the delay counts from the last start.
        let four = [(99_000, "a", true), (10, "b", false), (99_000, "c", true), (1, "d", true)];
        assert_eq!(race(&four).await, (Ok("d"), 511));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told() {
        let (ended, ms) = race(&[(300, "a", false), (10, "b", false)]).await;
        assert_eq!((ended.unwrap_err().as_str(), ms), ("b: no; a: no", 300));
        assert_eq!(race(&[]).await.0, Err(String::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn losers_are_dropped_with_the_race() {
        let held = Arc::new(());
        let mut race = Race::new();
        for (ms, name) in [(99_000, "a"), (10, "b"), (10, "c")] {
            let held = Arc::clone(&held);
            race.enter(name.to_owned(), async move {
                let ended = way(ms, name, true).await;
                drop(held);
                ended
            });
        }
        assert_eq!(race.run().await, Some("b"));
        drop(race);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
