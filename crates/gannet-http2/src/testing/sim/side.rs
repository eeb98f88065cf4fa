//! One engine, its driver and its application.

use std::cell::{RefCell, RefMut};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::app::{Appetite, Call};
use super::check::{CONSTANTS, Direction, Ledger, Tally};
use super::link::Link;
use super::rng::Rng;
use crate::hpack::{CachedField, NoClassifier};
use crate::testing::owned::Owned;
use crate::{
    Config, Connection, ConnectionError, Keepalive, PingPolicy, Reason, RecvBuf, Role, SendBuf,
    StreamKey, Upkeep,
};

pub(super) struct Side<R: Role> {
    pub(super) engine: Connection<R>,
    pub(super) recv: RecvBuf,
    pub(super) out: SendBuf,
    pub(super) now: Instant,
    pub(super) calls: Vec<Call>,
    /// Credit of calls that were forgotten while they held bytes.
    pub(super) stale_credit: Vec<(StreamKey, usize)>,
    pub(super) appetite: Appetite,
    pub(super) pings_out: usize,
    pub(super) cached: Vec<CachedField>,
    pub(super) low_water: usize,
    pub(super) error: Option<ConnectionError>,
    pub(super) connection_window: u32,
    config: Config,
    ledger: Rc<RefCell<Ledger>>,
    /// The link delivers what was sent, so both sides must agree.
    honest: bool,
}

impl<R: Role> Side<R> {
    pub(super) fn new(
        config: Config,
        appetite: Appetite,
        ledger: Rc<RefCell<Ledger>>,
        honest: bool,
        now: Instant,
    ) -> Self {
        let mut engine = Connection::new(config.clone(), Arc::new(NoClassifier), now);
        let cached = CONSTANTS
            .iter()
            .map(|(name, value)| engine.register_field(name.as_bytes(), value.as_bytes()))
            .map(|field| field.expect("few"))
            .collect();
        Side {
            engine,
            recv: RecvBuf::new(),
            out: SendBuf::new(),
            now,
            calls: Vec::new(),
            stale_credit: Vec::new(),
            appetite,
            pings_out: 0,
            cached,
            low_water: config.send_low_water_bytes,
            error: None,
            connection_window: config.connection_window_bytes.max(65_535),
            config,
            ledger,
            honest,
        }
    }

    /// Keepalive, age and idleness, where chance has it. Who is honest is never given up.
    pub(super) fn keep_up(&mut self, rng: &mut Rng, honest: bool) {
        let s = Duration::from_secs;
        let keepalive = Keepalive {
            time: s(rng.pick(&[1, 2, 10])),
            timeout: s(if honest { 1 << 30 } else { 1 }),
            without_calls: rng.percent(50),
        };
        let policy = PingPolicy { interval_min: s(1), without_calls: true };
        let upkeep = Upkeep {
            keepalive: rng.percent(50).then_some(keepalive),
            ping_policy: (!honest).then_some(policy),
            age_max: rng.pick(&[None, None, None, Some(s(10))]),
            age_grace: (!honest).then_some(s(1)),
            idle_max: rng.pick(&[None, None, None, Some(s(3))]),
        };
        self.engine.keep_up_with(Arc::new(upkeep), 0.5, self.now);
    }

    /// Notes what this side sends on a stream.
    pub(super) fn mine<T>(&self, id: u32, note: impl FnOnce(&mut Direction) -> T) -> T {
        let mut ledger = self.ledger.borrow_mut();
        let entry = ledger.entry(id);
        note(if R::IS_SERVER { &mut entry.down } else { &mut entry.up })
    }

    /// Reads from the link what the engine wants, and handles up to `events_max` events.
    pub(super) fn read(&mut self, rng: &mut Rng, link: &mut Link, events_max: usize) {
        let budget = self.engine.read_budget();
        if budget > 0 {
            let spare = self.recv.spare_mut();
            let len = spare.len().min(budget);
            let n = link.read(rng, self.now, &mut spare[..len]);
            self.recv.commit(n);
            if n > 0 {
                self.engine.heard(self.now);
            }
        }
        assert!(self.recv.len() <= RecvBuf::BYTES_MAX + self.config.frame_bytes_max as usize + 9);
        for _ in 0..events_max {
            match self.engine.next_event(self.now, &mut self.recv) {
                Ok(Some(event)) => {
                    let event = Owned::from(event);
                    self.on_event(rng, event);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!self.honest, "an honest peer broke the connection: {error}");
                    self.error.get_or_insert(error);
                    break;
                }
            }
        }
        let replies_max = self.config.control_frames_max as usize + RecvBuf::BYTES_MAX / 9;
        assert!(self.engine.probe().replies_queued as usize <= replies_max);
    }

    pub(super) fn tally(&self) -> RefMut<'_, Tally> {
        RefMut::map(self.ledger.borrow_mut(), |ledger| &mut ledger.tally)
    }

    fn count(&self, event: &Owned) {
        let mut tally = self.tally();
        match event {
            Owned::Headers { end_stream, .. } => {
                tally.heads += 1;
                tally.ends += u64::from(*end_stream);
            }
            Owned::Data { payload, end_stream, .. } => {
                tally.body_bytes += payload.len() as u64;
                tally.ends += u64::from(*end_stream);
            }
            Owned::Trailers { .. } => tally.trailers += 1,
            Owned::Informational { .. } => tally.interim += 1,
            Owned::Reset { unprocessed, .. } => {
                tally.resets += 1;
                tally.unprocessed += u64::from(*unprocessed);
            }
            Owned::GoAway { .. } => tally.goaways += 1,
            Owned::PingAck(_) => tally.pings += 1,
            _ => {}
        }
    }

    fn on_event(&mut self, rng: &mut Rng, event: Owned) {
        self.count(&event);
        match &event {
            Owned::PingAck(opaque) => {
                if self.honest {
                    assert_eq!(*opaque, [7; 8]);
                    assert!(self.pings_out > 0, "an acknowledgement of no ping");
                    self.pings_out -= 1;
                }
            }
            Owned::Headers { key, .. } if R::IS_SERVER => {
                let id = self.engine.probe_stream(*key).expect("live").id;
                self.ledger.borrow_mut().entry(id).processed = true;
                self.calls.push(Call::new(rng, *key, id, true));
                self.on_stream_event(*key, event);
            }
            _ => {
                if let Some(key) = event.key() {
                    self.on_stream_event(key, event);
                }
            }
        }
    }

    fn on_stream_event(&mut self, key: StreamKey, event: Owned) {
        let call = self.calls.iter_mut().find(|call| call.key == key);
        let call = call.unwrap_or_else(|| panic!("an event for a key given up: {event:?}"));
        let mut ledger = self.ledger.borrow_mut();
        let entry = ledger.entry(call.id);
        let from = if R::IS_SERVER { &entry.up } else { &entry.down };
        let from = self.honest.then_some(from);
        match event {
            Owned::Headers { fields, end_stream, .. } => {
                call.watch.on_head(call.id, from, &fields, end_stream);
            }
            Owned::Informational { status, .. } => {
                assert!(!call.watch.head && !call.watch.is_over(), "1xx out of place");
                assert!(!self.honest || status == 103);
            }
            Owned::Data { payload, end_stream, .. } => {
                call.watch.on_data(call.id, from, &payload, end_stream);
                if call.eager {
                    self.engine.release(key, payload.len());
                } else {
                    call.unreleased += payload.len();
                }
            }
            Owned::Trailers { fields, .. } => call.watch.on_trailers(call.id, from, &fields),
            Owned::Reset { reason, remote, unprocessed, .. } => {
                call.watch.on_reset(call.id);
                if let Some(from) = from {
                    let probe = self.engine.probe_stream(key);
                    assert!(remote, "{:?}: {probe:?}: reset by us: {reason}", self.engine);
                    let meant = from.resets.contains(&reason);
                    let refused = reason == Reason::REFUSED_STREAM && !entry.processed;
                    assert!(meant || refused, "stream {}: {reason}", call.id);
                    assert!(meant || unprocessed || !refused, "stream {}: {reason}", call.id);
                }
            }
            _ => unreachable!("has a key"),
        }
    }

    /// Moves what is due into the output buffer, and a part of that into the link.
    pub(super) fn transmit(&mut self, rng: &mut Rng, link: &mut Link) {
        let before = self.out.len();
        let probe = self.engine.probe();
        self.engine.poll_transmit(self.now, &mut self.out);
        let ordered = before + probe.ready_bytes + probe.control_bytes;
        let credit = 13 * (self.engine.open_streams() + 1);
        let turn = 16_384 + 9 + 8192;
        let most = (ordered + credit).max(self.config.send_buffer_bytes_max) + turn;
        assert!(self.out.len() <= most, "{} bytes of output, {most} at most", self.out.len());
        while let Some(key) = self.engine.poll_drained() {
            let call = self.calls.iter_mut().find(|call| call.key == key).expect("a held key");
            let queued = self.engine.queued_bytes(key).expect("a held key");
            assert!(queued <= self.low_water, "drained with {queued} bytes queued");
            call.blocked = false;
            self.ledger.borrow_mut().tally.drained += 1;
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let n = self.out.slices(&mut slices);
        let mut written = 0;
        for slice in &slices[..n] {
            let n = link.write(rng, slice);
            written += n;
            if n < slice.len() {
                break;
            }
        }
        self.out.advance(written);
    }

    /// Nothing is on its way from this side.
    pub(super) fn is_quiet(&self) -> bool {
        let probe = self.engine.probe();
        self.out.is_empty() && probe.control_bytes == 0 && probe.ready_bytes == 0
    }

    pub(super) fn unreleased(&self) -> usize {
        let stale: usize = self.stale_credit.iter().map(|(_, bytes)| bytes).sum();
        stale + self.calls.iter().map(|call| call.unreleased).sum::<usize>()
    }

    /// Bytes of one stream that the application holds, forgotten or not.
    pub(super) fn unreleased_of(&self, key: StreamKey) -> usize {
        let stale = self.stale_credit.iter().filter(|(other, _)| *other == key);
        let held = self.calls.iter().filter(|call| call.key == key);
        stale.map(|(_, bytes)| bytes).sum::<usize>()
            + held.map(|call| call.unreleased).sum::<usize>()
    }
}
