//! Keepalive, the policy for the peer's PINGs, age and idleness: acts on what `upkeep` decides
//! (gRFC A8, A9).

use std::sync::Arc;
use std::time::Instant;

use super::control::KEEPALIVE_PING;
use super::{Connection, Role};
use crate::upkeep::{Action, Caretaker, Situation};
use crate::{ConnectionError, Upkeep};

impl<R: Role> Connection<R> {
    /// Starts to do what `upkeep` says; without this, nothing of it is done. To be called once,
    /// when the connection begins. `random`, evenly from [0, 1), decides how the age is spread.
    ///
    /// A client heeds the keepalive only.
    pub fn keep_up_with(&mut self, upkeep: Arc<Upkeep>, random: f64, now: Instant) {
        let upkeep = if R::IS_SERVER {
            upkeep
        } else {
            Arc::new(Upkeep { keepalive: upkeep.keepalive, ..Upkeep::default() })
        };
        if *upkeep == Upkeep::default() {
            return;
        }
        let caretaker = Caretaker::new(upkeep, random, now);
        self.watches_idleness = caretaker.watches_idleness();
        self.timers.upkeep = caretaker.due();
        self.caretaker = Some(Box::new(caretaker));
    }

    /// Bytes came from the peer: it is alive. Once for each read is enough.
    #[inline]
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let at = Situation {
            now,
            heard_at: self.heard_at,
            is_busy: self.streams.len() > 0,
            is_deaf: self.read_budget() == 0,
        };
        let Some(mut caretaker) = self.caretaker.take() else { return Ok(()) };
        while let Some(action) = caretaker.handle_timeout(at) {
            match action {
                Action::Ping => self.ping(KEEPALIVE_PING),
                Action::Drain(why) => self.drain_for(now, why),
                Action::Fail(error) => return Err(error),
            }
        }
        self.timers.upkeep = caretaker.due();
        self.caretaker = Some(caretaker);
        Ok(())
    }

    /// A stream was opened: a dormant keepalive wakes up.
    pub(super) fn wake_caretaker(&mut self) {
        if let Some(caretaker) = &mut self.caretaker
            && caretaker.wake()
        {
            self.timers.upkeep = caretaker.due();
        }
    }

    /// A PING came; whether the peer may send it now.
    pub(super) fn judge_ping(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if !R::IS_SERVER {
            return Ok(());
        }
        let answered = std::mem::take(&mut self.has_answered);
        let is_busy = self.streams.len() > 0;
        match &mut self.caretaker {
            Some(caretaker) => caretaker.pinged(now, answered, is_busy),
            None => Ok(()),
        }
    }

    /// Notes whether there are calls.
    pub(super) fn watch_idleness(&mut self, now: Instant) {
        let (streams, highest_id) = (self.streams.len(), self.highest_peer_id);
        if let Some(caretaker) = &mut self.caretaker {
            caretaker.look(now, streams, highest_id);
        }
    }
}
