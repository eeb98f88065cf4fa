//! What both sides did and saw, and whether the two agree.

use std::collections::BTreeMap;

use super::rng::Rng;
use crate::Reason;
use crate::testing::owned::Fields;

/// Everything known about all streams, by identifier.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) streams: BTreeMap<u32, Entry>,
    pub(super) tally: Tally,
}

/// What happened, so that a simulation in which little happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) heads: u64,
    pub(super) interim: u64,
    pub(super) ends: u64,
    pub(super) trailers: u64,
    pub(super) body_bytes: u64,
    pub(super) resets: u64,
    pub(super) unprocessed: u64,
    pub(super) goaways: u64,
    pub(super) pings: u64,
    pub(super) drained: u64,
    pub(super) stale_verbs: u64,
    pub(super) quiet: u64,
    pub(super) waiting_when_quiet: u64,
    pub(super) windows_grown: u64,
    pub(super) broken: u64,
}

impl Tally {
    fn counters(&mut self) -> [&mut u64; 15] {
        [
            &mut self.heads,
            &mut self.interim,
            &mut self.ends,
            &mut self.trailers,
            &mut self.body_bytes,
            &mut self.resets,
            &mut self.unprocessed,
            &mut self.goaways,
            &mut self.pings,
            &mut self.drained,
            &mut self.stale_verbs,
            &mut self.quiet,
            &mut self.waiting_when_quiet,
            &mut self.windows_grown,
            &mut self.broken,
        ]
    }

    pub(super) fn happened(&mut self) -> bool {
        self.counters().into_iter().all(|counter| *counter > 0)
    }

    pub(super) fn add(&mut self, mut other: Tally) {
        for (sum, more) in self.counters().into_iter().zip(other.counters()) {
            *sum += *more;
        }
    }
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) up: Direction,
    pub(super) down: Direction,
    /// The server's application saw the request.
    pub(super) processed: bool,
}

/// One direction of a stream, from its sender's view.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) head: Option<Fields>,
    pub(super) sent: u64,
    pub(super) ended: bool,
    pub(super) trailers: Option<Fields>,
    /// Codes with which the sender may have reset the stream.
    pub(super) resets: Vec<Reason>,
}

/// What one side was told of a stream.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) head: bool,
    pub(super) received: u64,
    pub(super) ended: bool,
    pub(super) reset: bool,
    /// Its own application did it: at most the reset of the other side is still told.
    pub(super) reset_by_self: bool,
}

impl Ledger {
    pub(super) fn entry(&mut self, id: u32) -> &mut Entry {
        self.streams.entry(id).or_default()
    }
}

/// `from` is what the other side did; `None` where the link tells lies.
impl Watch {
    fn open(&self, id: u32) {
        assert!(!self.is_over(), "stream {id}: an event after its reset");
    }

    pub(super) fn is_over(&self) -> bool {
        self.reset || self.reset_by_self
    }

    pub(super) fn on_head(&mut self, id: u32, from: Option<&Direction>, got: &Fields, end: bool) {
        self.open(id);
        assert!(!self.head, "stream {id}: two heads");
        self.head = true;
        if let Some(from) = from {
            assert_eq!(from.head.as_ref(), Some(got), "stream {id}: another head was sent");
        }
        if end {
            self.on_end(id, from);
        }
    }

    pub(super) fn on_data(&mut self, id: u32, from: Option<&Direction>, got: &[u8], end: bool) {
        self.open(id);
        assert!(self.head && !self.ended, "stream {id}: DATA out of place");
        assert!(!got.is_empty() || end, "stream {id}: an empty event");
        let start = self.received;
        self.received += got.len() as u64;
        if let Some(from) = from {
            assert!(self.received <= from.sent, "stream {id}: more bytes than were sent");
            assert!(got == payload(id, start, got.len()), "stream {id}: wrong bytes at {start}");
            assert!(!end || from.trailers.is_none(), "stream {id}: trailers were sent");
        }
        if end {
            self.on_end(id, from);
        }
    }

    pub(super) fn on_trailers(&mut self, id: u32, from: Option<&Direction>, got: &Fields) {
        self.open(id);
        assert!(self.head, "stream {id}: trailers before the head");
        if let Some(from) = from {
            assert_eq!(from.trailers.as_ref(), Some(got), "stream {id}: other trailers were sent");
        }
        self.on_end(id, from);
    }

    fn on_end(&mut self, id: u32, from: Option<&Direction>) {
        assert!(!self.ended, "stream {id}: two ends");
        self.ended = true;
        if let Some(from) = from {
            assert!(from.ended, "stream {id}: an end that was not sent");
            assert_eq!(self.received, from.sent, "stream {id}: bytes are missing");
        }
    }

    pub(super) fn on_reset(&mut self, id: u32) {
        assert!(!self.reset, "stream {id}: two resets");
        self.reset = true;
    }
}

/// The payload of a stream at an offset, the same in both directions.
pub(super) fn payload_byte(id: u32, offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37) ^ (offset >> 8) ^ u64::from(id).wrapping_mul(0x7f4b);
    mixed.to_le_bytes()[0]
}

pub(super) fn payload(id: u32, offset: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| payload_byte(id, offset + i)).collect()
}

/// A header field as the sender wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Cached(usize),
    Plain,
    Indexed,
    Sensitive,
}

/// Metadata that exercises the tables: constants, repeats and values never seen again.
pub(super) fn metadata(rng: &mut Rng) -> Vec<(How, String, String)> {
    let count = rng.below(5);
    (0..count)
        .map(|_| match rng.below(6) {
            0 | 1 => {
                let at = rng.below(CONSTANTS.len());
                let (name, value) = CONSTANTS[at];
                (How::Cached(at), name.into(), value.into())
            }
            2 => (How::Indexed, format!("k{}", rng.below(20)), format!("v{}", rng.below(4))),
            3 => (How::Sensitive, "authorization".into(), format!("{:x}", rng.next())),
            4 => {
                let len = rng.pick(&[0, 1, 50, 300]);
                let value: String = (0..len).map(|_| rng.pick(&['a', '~', '0', 'Z'])).collect();
                (How::Indexed, format!("long{}", rng.below(3)), value)
            }
            _ => (How::Plain, "trace".into(), rng.next().to_string()),
        })
        .collect()
}

/// Fields that both sides register.
pub(super) const CONSTANTS: [(&str, &str); 4] = [
    ("content-type", "application/grpc"),
    ("grpc-encoding", "identity"),
    ("grpc-accept-encoding", "identity,deflate,gzip"),
    ("user-agent", "sim"),
];
