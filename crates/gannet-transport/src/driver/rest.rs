//! When a connection without calls gives back the memory that only calls need.
//!
//! At once, for the first few pauses: a connection that makes a call now and then holds little in
//! between. One that goes on making calls shows that it is busy, and keeps its memory until a few
//! seconds have passed, so that a call in steady state allocates nothing.

use std::time::{Duration, Instant};

use crate::rouser::Rouser;

/// Pauses in which memory goes back at once, before the connection counts as busy.
const AT_ONCE_MAX: u8 = 8;
/// How long a busy connection keeps its memory. It then counts as new.
pub(super) const KEPT: Duration = Duration::from_secs(5);

/// Looks after connections that keep memory.
static ROUSER: Rouser = Rouser::new(KEPT);

/// See the module.
#[derive(Debug)]
pub(super) struct Rest {
    /// There was a call, or a handshake, since memory was given back.
    stirred: bool,
    /// Pauses so far in which memory was given back at once.
    at_once: u8,
    /// When a busy connection gives back, unless it is in the middle of calls then.
    at: Option<Instant>,
    /// The [rouser](crate::rouser) has the connection on its list.
    pub(super) is_noted: bool,
    pub(super) rouser: &'static Rouser,
}

impl Rest {
    pub(super) fn new() -> Rest {
        Rest::looked_after_by(&ROUSER)
    }

    /// Keeps memory for the rouser's period.
    pub(super) fn looked_after_by(rouser: &'static Rouser) -> Rest {
        Rest { stirred: true, at_once: 0, at: None, is_noted: false, rouser }
    }

    /// There are calls.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Has it looked at again in a few seconds.
    pub(super) fn again(&mut self, now: Instant) {
        self.at = now.checked_add(self.rouser.period());
    }

    /// The task is about to sleep, without calls or output where `idle`: whether memory is to go
    /// back.
    pub(super) fn is_due(&mut self, now: Instant, idle: bool) -> bool {
        if !idle {
            self.at = None;
            return false;
        }
        match self.at {
            Some(at) if at > now => false,
            Some(_) => {
                *self = Rest { stirred: false, at_once: 0, at: None, ..*self };
                true
            }
            None if !self.stirred => false,
            None if self.at_once < AT_ONCE_MAX => {
                self.at_once += 1;
                self.stirred = false;
                true
            }
            None => {
                self.again(now);
                false
            }
        }
    }

    /// Whether a connection that is noted is certain to be roused before `deadline`.
    pub(super) fn is_roused_before(&self, deadline: Option<Instant>, now: Instant) -> bool {
        // Twice the period is enough, but for how late a thread may wake.
        let roused = now.checked_add(self.rouser.period() * 4);
        deadline.is_some_and(|at| roused.is_some_and(|roused| at > roused))
    }

    /// When to ask again at the latest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_at_once_until_the_connection_is_busy_and_then_every_few_seconds() {
        let start = Instant::now();
        let mut rest = Rest::new();
        for _ in 0..AT_ONCE_MAX {
            assert!(rest.is_due(start, true));
            assert!(!rest.is_due(start, true), "nothing came since");
            assert_eq!(rest.next(), None, "nothing to wait for");
            rest.stir();
        }
        assert!(!rest.is_due(start, true), "busy");
        assert_eq!(rest.next(), Some(start + KEPT));
        rest.stir();
        assert!(!rest.is_due(start + KEPT / 2, true));
        assert!(rest.is_due(start + KEPT, true));
        assert_eq!(rest.next(), None);
        assert!(!rest.is_due(start + KEPT * 2, true), "all is given back");
        rest.stir();
        assert!(rest.is_due(start + KEPT * 2, true), "as good as new");
    }

    #[test]
    fn looks_again_when_asked_to() {
        let start = Instant::now();
        let mut rest = Rest::new();
        assert!(rest.is_due(start, true));
        rest.again(start);
        assert!(rest.is_due(start + KEPT, true));
        assert_eq!(rest.next(), None);
    }

    #[test]
    fn never_in_the_middle_of_calls() {
        let start = Instant::now();
        let mut rest = Rest { at_once: AT_ONCE_MAX, ..Rest::new() };
        assert!(!rest.is_due(start, true));
        assert!(!rest.is_due(start + KEPT, false));
        assert_eq!(rest.next(), None, "a moment that has passed would wake the task for ever");
        assert!(!rest.is_due(start + KEPT, true));
        assert_eq!(rest.next(), Some(start + KEPT * 2));
    }
}
