//! What a call asks of its connection: a set of bits that the application's tasks set and the
//! connection's task takes.

use std::fmt;

/// A set of things that a call asks of its connection.
///
/// What it asks for lies elsewhere, in counters and slots of [`CallShared`](crate::CallShared),
/// written before the bit is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asks(pub(super) u32);

impl Asks {
    /// Nothing.
    pub const NONE: Asks = Asks(0);
    /// The call's waker was woken: its handler is to be polled.
    pub const POLL: Asks = Asks(1);
    /// Received messages were taken.
    pub const LOOK: Asks = Asks(1 << 1);
    /// The response headers are to be sent now, without waiting for a message.
    pub const SEND_HEADERS: Asks = Asks(1 << 2);
    /// No message follows those in the outbox ([`Outbound::finish`](crate::Outbound::finish)).
    pub const FINISH: Asks = Asks(1 << 3);
    /// The application dropped its [`Outbound`](crate::Outbound) unfinished.
    pub const OUTBOUND_DROPPED: Asks = Asks(1 << 4);
    /// The application dropped its [`Inbound`](crate::Inbound) before the end.
    pub const INBOUND_DROPPED: Asks = Asks(1 << 5);
    /// Messages were put into the outbox.
    pub const OUTBOX: Asks = Asks(1 << 6);
    /// The connection's task is at it, and takes what is asked afterwards: it need not be told.
    pub(super) const HUSHED: Asks = Asks(1 << 31);

    /// Whether all of `other` is in the set.
    pub fn has(self, other: Asks) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Asks) -> Asks {
        Asks(self.0 | other.0)
    }

    /// Whether nothing is asked.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Asks, &str); 7] = [
            (Asks::POLL, "POLL"),
            (Asks::LOOK, "LOOK"),
            (Asks::OUTBOX, "OUTBOX"),
            (Asks::SEND_HEADERS, "SEND_HEADERS"),
            (Asks::FINISH, "FINISH"),
            (Asks::OUTBOUND_DROPPED, "OUTBOUND_DROPPED"),
            (Asks::INBOUND_DROPPED, "INBOUND_DROPPED"),
        ];
        let names = NAMES.iter().filter(|(ask, _)| self.has(*ask)).map(|(_, name)| name);
        f.debug_set().entries(names).finish()
    }
}
