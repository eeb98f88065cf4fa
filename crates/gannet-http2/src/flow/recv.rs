//! The connection's receive window, and how much may lie unread behind it.

/// Decides when connection credit goes back to the peer.
///
/// Credit is returned on receipt, not on reading, as long as what lies unread stays under a bound:
/// one stream whose reader stalls can then fill only its own window, and does not stop the others.
/// Beyond the bound credit follows reading, so memory never exceeds it.
#[derive(Debug)]
pub(crate) struct RecvFlow {
    /// What the peer may send now.
    available: i64,
    /// What we want it to be able to send.
    target: i64,
    /// Delivered to the layer above and not released.
    unread: i64,
    unread_max: i64,
    was_pressed: bool,
}

impl RecvFlow {
    /// A connection starts with 65,535 bytes whatever we want (RFC 9113 section 6.9.2).
    pub(crate) fn new(target: u32, unread_max: u32) -> Self {
        RecvFlow {
            available: i64::from(crate::frame::DEFAULT_WINDOW_BYTES),
            target: i64::from(target),
            unread: 0,
            unread_max: i64::from(unread_max),
            was_pressed: false,
        }
    }

    /// Takes `bytes` from the window; false where the peer sent more than it may.
    #[must_use]
    pub(crate) fn receive(&mut self, bytes: u32) -> bool {
        self.available -= i64::from(bytes);
        self.available >= 0
    }

    /// Takes `bytes` from the window that all go to the layer above; false, and nothing is taken,
    /// where it has fewer.
    #[inline]
    #[must_use]
    pub(crate) fn pass_on(&mut self, bytes: u32) -> bool {
        let bytes = i64::from(bytes);
        if self.available < bytes {
            return false;
        }
        self.available -= bytes;
        self.unread += bytes;
        true
    }

    /// Payload went to the layer above.
    pub(crate) fn deliver(&mut self, bytes: usize) {
        self.unread += i64::try_from(bytes).expect("a payload is below 2^24 bytes");
    }

    /// The layer above is done with `bytes`.
    pub(crate) fn release(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        debug_assert!(bytes <= self.unread, "released more than was delivered");
        self.unread -= bytes.min(self.unread);
    }

    /// Raises the target; never lowers it.
    pub(crate) fn grow(&mut self, target: u32) {
        self.target = self.target.max(i64::from(target));
        self.unread_max = self.unread_max.max(self.target);
    }

    /// Credit that is worth a WINDOW_UPDATE now: at least half of the target.
    #[inline]
    pub(crate) fn credit_due(&self) -> Option<u32> {
        let want = self.target.min(self.unread_max - self.unread);
        let credit = want - self.available;
        if credit > 0 && credit >= self.target / 2 { u32::try_from(credit).ok() } else { None }
    }

    /// Whether so much lies unread that less than the whole window can be granted.
    pub(crate) fn is_pressed(&self) -> bool {
        self.unread_max - self.unread < self.target
    }

    /// Whether that has become so since this was asked last.
    pub(crate) fn pressure_rises(&mut self) -> bool {
        let is_pressed = self.is_pressed();
        let was_pressed = std::mem::replace(&mut self.was_pressed, is_pressed);
        is_pressed && !was_pressed
    }

    /// The credit was announced.
    pub(crate) fn announce(&mut self, credit: u32) {
        self.available += i64::from(credit);
    }

    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn unread(&self) -> i64 {
        self.unread
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn unread_max(&self) -> i64 {
        self.unread_max
    }

    pub(crate) fn available(&self) -> i64 {
        self.available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_returns_on_receipt_until_the_bound_then_on_reading() {
        let mut flow = RecvFlow::new(100_000, 250_000);
        assert_eq!(flow.credit_due(), None, "34,465 is less than half of the target");
        let mut total = 0u32;
        loop {
            let Some(credit) = flow.credit_due() else {
                let take = u32::try_from(flow.available().min(10_000)).expect("small");
                if take == 0 {
                    break;
                }
                assert!(flow.receive(take));
                flow.deliver(take as usize);
                total += take;
                continue;
            };
            flow.announce(credit);
        }
        assert!(total <= 250_000, "{total}");
        assert!(total >= 150_000, "{total}");
        flow.release(100_000);
        assert!(flow.credit_due().is_some());
    }

    #[test]
    fn pressure_is_told_when_it_rises() {
        let mut flow = RecvFlow::new(65_535, 100_000);
        assert!(!flow.is_pressed() && !flow.pressure_rises());
        flow.deliver(40_000);
        assert!(flow.is_pressed() && flow.pressure_rises());
        flow.deliver(10_000);
        assert!(flow.is_pressed() && !flow.pressure_rises(), "it was told");
        flow.release(50_000);
        assert!(!flow.is_pressed() && !flow.pressure_rises());
        flow.deliver(50_000);
        assert!(flow.pressure_rises(), "again");
    }

    #[test]
    fn more_than_the_window_is_seen() {
        let mut flow = RecvFlow::new(65_535, 65_535);
        assert!(flow.receive(65_535));
        assert!(!flow.receive(1));
    }
}
