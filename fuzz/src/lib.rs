//! What the fuzz targets share: an engine with a small application behind it, which checks after
//! each step what must always hold.
//!
//! The application answers as a real one would, takes some verbs from the fuzzer, and keeps its own
//! books: which keys it holds, and how far each stream is.

pub mod inflate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_http2::hpack::NoClassifier;
use gannet_http2::{
    Client, Config, Connection, Event, FieldWriter, Keepalive, PingPolicy, Reason, RecvBuf, Role,
    SendBuf, Server, StreamKey, Upkeep,
};

/// An engine, its buffers and its application.
pub struct World<R: Role> {
    pub engine: Connection<R>,
    recv: RecvBuf,
    out: SendBuf,
    config: Config,
    pub now: Instant,
    calls: HashMap<StreamKey, Call>,
    /// In the order in which they came, so that a fuzzer's number names the same one again.
    order: Vec<StreamKey>,
    unreleased: Vec<(StreamKey, usize)>,
    failed: bool,
}

#[derive(Debug, Default)]
struct Call {
    head: bool,
    ended: bool,
    reset: bool,
}

/// Small limits, so that a fuzzer reaches them.
pub fn config() -> Config {
    let mut config = Config::default();
    config.concurrent_streams_max = 8;
    config.initial_open_streams_max = 8;
    config.resets_burst_max = 8;
    config.resets_per_second = 1;
    config.empty_data_frames_max = 4;
    config.continuation_frames_max = 4;
    config.header_block_bytes_max = 2048;
    config.header_limits.header_list_bytes_max = 1024;
    config.header_limits.fields_max = 16;
    config.stream_window_bytes = 70_000;
    config.recv_buffered_bytes_max = 200_000;
    config.control_frames_max = 16;
    config.send_buffer_bytes_max = 20_000;
    config.send_low_water_bytes = 100;
    config.send_queued_bytes_max = 100_000;
    config
}

impl<R: Role> World<R> {
    pub fn new(config: Config) -> Self {
        let now = Instant::now();
        World {
            engine: Connection::new(config.clone(), Arc::new(NoClassifier), now),
            recv: RecvBuf::new(),
            out: SendBuf::new(),
            config,
            now,
            calls: HashMap::new(),
            order: Vec::new(),
            unreleased: Vec::new(),
            failed: false,
        }
    }

    /// Keepalive, a policy for PINGs, and an end to age and idleness, all within the seconds that
    /// a fuzzer lets pass.
    pub fn keep_up(&mut self) {
        let s = Duration::from_secs;
        let mut upkeep = Upkeep::default();
        upkeep.keepalive = Some(Keepalive { time: s(20), timeout: s(5), without_calls: false });
        upkeep.ping_policy = Some(PingPolicy { interval_min: s(10), without_calls: true });
        upkeep.age_max = Some(s(400));
        upkeep.age_grace = Some(s(30));
        upkeep.idle_max = Some(s(60));
        self.engine.keep_up_with(Arc::new(upkeep), 0.5, self.now);
    }

    /// The engine reads `bytes`, as far as it reads at all.
    pub fn read(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(16_384) {
            if self.engine.read_budget() == 0 && !self.failed {
                break;
            }
            self.recv.extend_from_slice(piece);
            self.engine.heard(self.now);
            self.drain_events();
        }
        self.check();
    }

    fn drain_events(&mut self) {
        loop {
            match self.engine.next_event(self.now, &mut self.recv) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    assert!(!self.failed, "an event after the end");
                    note(event, &mut self.calls, &mut self.order, &mut self.unreleased);
                }
                Err(_) => {
                    assert!(!self.failed, "failed twice");
                    self.failed = true;
                }
            }
        }
    }

    /// Takes what goes out, and throws it away.
    pub fn transmit(&mut self) -> usize {
        let before = self.out.len();
        self.engine.poll_transmit(self.now, &mut self.out);
        let len = self.out.len();
        let bound = before.max(self.config.send_buffer_bytes_max) + OUTPUT_STEP_BYTES_MAX;
        assert!(len <= bound, "{len} bytes of output, {bound} at most");
        while let Some(key) = self.engine.poll_drained() {
            assert!(self.calls.contains_key(&key), "drained, but not held");
        }
        self.out.advance(len);
        self.check();
        len
    }

    /// Moves what goes out into `into`.
    pub fn transmit_to(&mut self, into: &mut Vec<u8>) {
        self.engine.poll_transmit(self.now, &mut self.out);
        self.out.copy_to(into);
        self.out.clear();
        while self.engine.poll_drained().is_some() {}
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.engine.handle_timeout(self.now).is_err() {
            assert!(!self.failed, "failed twice");
            self.failed = true;
        }
        self.check();
    }

    fn check(&self) {
        self.engine.check_invariants();
        let open = self.engine.open_streams();
        assert!(!R::IS_SERVER || open <= self.config.concurrent_streams_max as usize, "{open}");
        if self.failed {
            assert!(self.engine.is_finished());
            assert_eq!(self.engine.poll_timeout(), None);
        }
        assert!(self.recv.len() <= self.config.frame_bytes_max as usize + 16_384 + 9);
    }

    /// The key that a fuzzer's number means; stale ones too.
    fn key(&self, number: u8) -> Option<StreamKey> {
        let at = usize::from(number).checked_rem(self.order.len())?;
        Some(self.order[at])
    }

    /// A verb of either role.
    pub fn act(&mut self, verb: &Verb) {
        match *verb {
            Verb::Data { stream, len, shared, end } => {
                let Some(key) = self.key(stream) else { return };
                let body = vec![0x55; usize::from(len)];
                let _ = if shared {
                    self.engine.send_data_shared(key, Bytes::from(body), end)
                } else {
                    self.engine.send_data(key, &body, end)
                };
            }
            Verb::Trailers { stream } => {
                let Some(key) = self.key(stream) else { return };
                let _ = self.engine.send_trailers(key, trailers);
            }
            Verb::Reset { stream, code } => {
                let Some(key) = self.key(stream) else { return };
                self.engine.reset(key, Reason(u32::from(code)));
            }
            Verb::Forget { stream } => {
                let Some(key) = self.key(stream) else { return };
                self.engine.forget(key);
                self.calls.remove(&key);
            }
            Verb::Release => {
                for (key, bytes) in std::mem::take(&mut self.unreleased) {
                    self.engine.release(key, bytes);
                }
            }
            Verb::Ping => self.engine.ping([9; 8]),
            Verb::Drain => self.engine.drain(self.now),
            Verb::GoAway => self.engine.goaway(Reason::NO_ERROR, b"fuzz"),
            Verb::Pass { seconds } => self.pass(Duration::from_secs(u64::from(seconds))),
            Verb::Transmit => drop(self.transmit()),
            Verb::Head { .. } | Verb::Unary { .. } | Verb::Open { .. } => {}
        }
        self.check();
    }

    /// Gives everything back; nothing may be left.
    pub fn finish(mut self) {
        for (key, bytes) in std::mem::take(&mut self.unreleased) {
            self.engine.release(key, bytes);
        }
        for key in std::mem::take(&mut self.order) {
            self.engine.reset(key, Reason::CANCEL);
            self.engine.forget(key);
        }
        self.calls.clear();
        while self.transmit() > 0 {}
        // Answers that were sent to their end and forgotten may still wait for the peer's window.
        let left = self.engine.open_streams();
        assert!(left == 0 || R::IS_SERVER && !self.failed, "{left} streams are left");
    }
}

impl World<Server> {
    pub fn act_server(&mut self, verb: &Verb) {
        match *verb {
            Verb::Head { stream, end } => {
                let Some(key) = self.key(stream) else { return };
                let _ = self.engine.send_headers(key, end, head);
            }
            Verb::Unary { stream, len } => {
                let Some(key) = self.key(stream) else { return };
                let body = vec![0x66; usize::from(len)];
                if self.engine.respond_unary(key, head, &body, trailers).is_ok() {
                    self.calls.remove(&key);
                }
            }
            _ => return self.act(verb),
        }
        self.check();
    }
}

impl World<Client> {
    pub fn act_client(&mut self, verb: &Verb) {
        match *verb {
            Verb::Open { end } => {
                if let Ok(key) = self.engine.open(end, request) {
                    self.calls.insert(key, Call::default());
                    self.order.push(key);
                }
            }
            _ => return self.act(verb),
        }
        self.check();
    }
}

/// What the application does.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub enum Verb {
    Open { end: bool },
    Head { stream: u8, end: bool },
    Unary { stream: u8, len: u16 },
    Data { stream: u8, len: u16, shared: bool, end: bool },
    Trailers { stream: u8 },
    Reset { stream: u8, code: u8 },
    Forget { stream: u8 },
    Release,
    Ping,
    Drain,
    GoAway,
    Pass { seconds: u8 },
    Transmit,
}

fn note(
    event: Event<'_>,
    calls: &mut HashMap<StreamKey, Call>,
    order: &mut Vec<StreamKey>,
    unreleased: &mut Vec<(StreamKey, usize)>,
) {
    let held = "an event of a stream that is not held";
    match event {
        Event::Headers { key, fields, end_stream } => {
            assert!(!fields.over_limit());
            let call = calls.entry(key).or_insert_with(|| {
                order.push(key);
                Call::default()
            });
            assert!(!call.head && !call.reset && !call.ended);
            call.head = true;
            call.ended = end_stream;
        }
        Event::Informational { key, status } => {
            assert!((100..200).contains(&status) && status != 101);
            assert!(!calls.get(&key).expect(held).head);
        }
        Event::Data { key, payload, end_stream } => {
            let call = calls.get_mut(&key).expect(held);
            assert!(call.head && !call.ended && !call.reset);
            assert!(!payload.is_empty() || end_stream);
            call.ended = end_stream;
            unreleased.push((key, payload.len()));
        }
        Event::Trailers { key, .. } => {
            let call = calls.get_mut(&key).expect(held);
            assert!(call.head && !call.ended && !call.reset);
            call.ended = true;
        }
        Event::Reset { key, .. } => {
            let call = calls.get_mut(&key).expect(held);
            assert!(!call.reset, "two resets");
            call.reset = true;
        }
        _ => {}
    }
}

/// More than one `poll_transmit` adds beyond the bound: what verbs and replies had queued before
/// it.
const OUTPUT_STEP_BYTES_MAX: usize = 4 << 20;

fn request(w: &mut FieldWriter<'_>) {
    w.field(b":method", b"POST");
    w.field(b":scheme", b"http");
    w.field(b":path", b"/f.F/F");
}

fn head(w: &mut FieldWriter<'_>) {
    w.field(b":status", b"200");
    w.field_indexed(b"content-type", b"application/grpc");
}

fn trailers(w: &mut FieldWriter<'_>) {
    w.field_indexed(b"grpc-status", b"0");
}
