//! Happy eyeballs (RFC 8305, gRFC A61) within one attempt: for a name that is resolved with each
//! connection. Policies do the same for addresses that they know, over attempts.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use gannet_core::Status;
use tokio::time::sleep;

use crate::name::Address;
use crate::policy::ATTEMPT_DELAY;

/// Connects to the first of these that can be: each is tried a while after the one before it, or
/// when one has failed, and those that were begun go on. The others are dropped.
///
/// # Errors
/// UNAVAILABLE, telling how each has failed.
pub(super) async fn race<T, F>(
    addresses: Vec<Address>,
    connect: impl Fn(Address) -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut waiting = VecDeque::from(addresses);
    let (mut running, mut failures) = (Vec::new(), Vec::new());
    loop {
        if let Some(address) = waiting.pop_front() {
            running.push(Box::pin(connect(address)));
        }
        if running.is_empty() {
            return Err(all_failed(failures));
        }
        let mut delay = pin!((!waiting.is_empty()).then(|| sleep(ATTEMPT_DELAY)));
        let next = poll_fn(|cx| {
            for at in 0..running.len() {
                if let Poll::Ready(outcome) = Pin::new(&mut running[at]).poll(cx) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(Some(outcome));
                }
            }
            match delay.as_mut().as_pin_mut() {
                Some(delay) => delay.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        match next.await {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(status)) => failures.push(status),
            None => {}
        }
    }
}

/// The last one's cause is kept.
#[cold]
fn all_failed(failures: Vec<Status>) -> Status {
    let told: Vec<&str> = failures.iter().map(Status::message).collect();
    let told = told.join("; ");
    match failures.into_iter().next_back() {
        Some(last) => last.with_message(told),
        None => Status::unavailable("the name has no address"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addresses(count: usize) -> Vec<Address> {
        (1..=count)
            .map(|n| format!("1.1.1.{n}:1").parse::<std::net::SocketAddr>().unwrap().into())
            .collect()
    }

    /// Each answers or fails after so many milliseconds: who won, when each was begun, and when it
    /// was over.
    async fn run(plan: &[(u64, bool)]) -> (Result<String, String>, Vec<u64>, u64) {
        let start = Instant::now();
        let begun = Mutex::new(Vec::new());
        let outcome = race(addresses(plan.len()), |address| {
            let mut begun = begun.lock().unwrap();
            let (after, succeeds) = plan[begun.len()];
            begun.push(u64::try_from(start.elapsed().as_millis()).unwrap());
            async move {
                sleep(Duration::from_millis(after)).await;
                let told = address.to_string();
                if succeeds { Ok(told) } else { Err(Status::unavailable(format!("{told}: no"))) }
            }
        });
        let outcome = outcome.await.map_err(|status| status.message().to_owned());
        let begun = begun.lock().unwrap().clone();
        (outcome, begun, u64::try_from(start.elapsed().as_millis()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_holds_up_for_the_delay_and_no_longer() {
        let dead = (1_000_000, false);
        let (won, begun, took) = run(&[dead, dead, (10, true), (0, true)]).await;
        assert_eq!(won.unwrap(), "1.1.1.3:1");
        assert_eq!(begun, [0, 250, 500]);
        assert!((510..515).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once_and_those_begun_go_on() {
        let (won, begun, took) = run(&[(300, true), (10, false), (10, false), (900, true)]).await;
        assert_eq!(won.unwrap(), "1.1.1.1:1");
        assert_eq!(begun.len(), 4);
        assert!(begun[1] == 250 && begun[2] < 265 && begun[3] < 280, "{begun:?}");
        assert!((300..305).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_each_is_told() {
        let (failed, _, took) = run(&[(0, false), (400, false), (0, false)]).await;
        assert_eq!(failed.unwrap_err(), "1.1.1.1:1: no; 1.1.1.3:1: no; 1.1.1.2:1: no");
        assert!(took < 410, "{took}");
        let (none, ..) = run(&[]).await;
        assert_eq!(none.unwrap_err(), "the name has no address");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_else_is_begun_once_one_has_won() {
        let (won, begun, _) = run(&[(0, true), (0, true)]).await;
        assert_eq!((won.unwrap().as_str(), begun.len()), ("1.1.1.1:1", 1));
        let forever = run(&[(10_000_000, true)]);
        assert!(tokio::time::timeout(SECOND * 20, forever).await.is_err(), "its owner gives it up");
    }
}
