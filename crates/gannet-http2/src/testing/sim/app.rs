//! The layers above: what they send, how slowly they read, and when they lose interest.

use std::time::Duration;

use bytes::Bytes;

use super::check::{How, Watch, metadata, payload};
use super::rng::Rng;
use super::side::Side;
use crate::testing::owned::Fields;
use crate::{Client, FieldWriter, OpenError, Reason, Role, Server, StaleKey, StreamKey};

/// One call as its application sees it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) key: StreamKey,
    pub(super) id: u32,
    pub(super) watch: Watch,
    plan: Plan,
    pub(super) phase: Phase,
    chunks_left: usize,
    chunk_bytes_max: usize,
    shared: bool,
    /// Waits for `poll_drained`.
    pub(super) blocked: bool,
    /// Bytes it was given and holds.
    pub(super) unreleased: usize,
    pub(super) eager: bool,
    /// A server forgets as soon as it has answered.
    hasty: bool,
}

/// How a server answers, or a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Unary { early: bool },
    Stream { interim: bool, trailers: bool },
    HeadOnly,
    Reset,
    Forget,
}

/// How far its sending is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Head,
    Body,
    Done,
}

/// What an application still means to do.
#[derive(Debug)]
pub(super) struct Appetite {
    pub(super) calls: usize,
    pub(super) pings: usize,
    pub(super) cancel_percent: usize,
    pub(super) goaway_percent: usize,
    /// Body bytes over all calls, so that tiny windows come to an end.
    pub(super) body_bytes: usize,
}

const REASONS: [Reason; 5] = [
    Reason::CANCEL,
    Reason::NO_ERROR,
    Reason::INTERNAL_ERROR,
    Reason::REFUSED_STREAM,
    Reason(0xdead),
];

impl Call {
    pub(super) fn new(rng: &mut Rng, key: StreamKey, id: u32, server: bool) -> Self {
        let plan = match rng.below(if server { 12 } else { 2 }) {
            0 => Plan::Stream { interim: false, trailers: false },
            1 => Plan::Stream { interim: false, trailers: true },
            2 => Plan::Stream { interim: true, trailers: true },
            3 => Plan::HeadOnly,
            4 => Plan::Reset,
            5 => Plan::Forget,
            6 => Plan::Unary { early: true },
            _ => Plan::Unary { early: false },
        };
        Call {
            key,
            id,
            watch: Watch::default(),
            plan,
            phase: if server { Phase::Head } else { Phase::Body },
            chunks_left: rng.pick(&[0, 1, 1, 2, 5, 40]),
            chunk_bytes_max: rng.pick(&[0, 1, 10, 100, 5000, 20_000, 300_000]),
            shared: rng.percent(50),
            blocked: false,
            unreleased: 0,
            eager: rng.percent(60),
            hasty: rng.percent(70),
        }
    }
}

impl<R: Role> Side<R> {
    /// Takes the next step of a random call, or of the application itself.
    fn act_common(&mut self, rng: &mut Rng) {
        match rng.below(10) {
            0 => self.release_some(rng),
            1 if self.appetite.pings > 0 && rng.percent(10) => {
                self.appetite.pings -= 1;
                self.pings_out += 1;
                self.engine.ping([7; 8]);
            }
            2 if rng.percent(self.appetite.cancel_percent) => self.lose_interest(rng),
            3 if rng.percent(self.appetite.goaway_percent) => {
                if rng.percent(80) {
                    self.engine.drain(self.now);
                } else {
                    self.engine.goaway(Reason::NO_ERROR, b"max_age");
                }
            }
            _ => {}
        }
    }

    fn lose_interest(&mut self, rng: &mut Rng) {
        if self.calls.is_empty() {
            return;
        }
        let at = rng.below(self.calls.len());
        if rng.percent(50) {
            return self.forget(at);
        }
        let reason = rng.pick(&REASONS);
        let Call { key, id, .. } = self.calls[at];
        self.mine(id, |sent| sent.resets.push(reason));
        self.engine.reset(key, reason);
        self.calls[at].phase = Phase::Done;
        self.calls[at].watch.reset_by_self = true;
    }

    /// Gives a part of what a call holds back.
    fn release_some(&mut self, rng: &mut Rng) {
        if let Some((key, bytes)) = self.stale_credit.pop() {
            self.engine.release(key, bytes);
        }
        if self.calls.is_empty() {
            return;
        }
        let at = rng.below(self.calls.len());
        let held = self.calls[at].unreleased;
        let part = if rng.percent(50) { held } else { rng.between(0, held) };
        self.calls[at].unreleased -= part;
        self.engine.release(self.calls[at].key, part);
    }

    pub(super) fn release_all(&mut self) {
        for (key, bytes) in std::mem::take(&mut self.stale_credit) {
            self.engine.release(key, bytes);
        }
        for call in &mut self.calls {
            self.engine.release(call.key, std::mem::take(&mut call.unreleased));
            call.eager = true;
        }
    }

    /// Gives the key up; what was held of its body is released later, by the stale key.
    pub(super) fn forget(&mut self, at: usize) {
        let call = self.calls.swap_remove(at);
        self.mine(call.id, |sent| sent.resets.extend([Reason::CANCEL, Reason::NO_ERROR]));
        if call.unreleased > 0 {
            self.stale_credit.push((call.key, call.unreleased));
        }
        // By a number that is as good as random: whoever forgets has no dice at hand.
        match call.id % 6 {
            1 => self.engine.forget_until(call.key, self.now + Duration::from_millis(200)),
            _ => self.engine.forget(call.key),
        }
    }

    /// Sends the next piece of a body, and its end.
    fn send_body(&mut self, rng: &mut Rng, at: usize) {
        let call = &mut self.calls[at];
        if call.phase != Phase::Body || call.blocked {
            return;
        }
        let (key, id, shared) = (call.key, call.id, call.shared);
        let mut len = 0;
        if call.chunks_left > 0 {
            call.chunks_left -= 1;
            len = rng.between(0, call.chunk_bytes_max).min(self.appetite.body_bytes);
        }
        let last = call.chunks_left == 0;
        let trailers = matches!(call.plan, Plan::Stream { trailers: true, .. });
        self.appetite.body_bytes -= len;
        let bytes = payload(id, self.mine(id, |sent| sent.sent), len);
        let end = last && !trailers;
        let result = if shared {
            self.engine.send_data_shared(key, Bytes::from(bytes), end)
        } else {
            self.engine.send_data(key, &bytes, end)
        };
        self.sent(at, result, len, end);
        if last && trailers && self.calls[at].phase == Phase::Body {
            self.send_trailers(rng, at);
        }
        let low_water = self.low_water;
        if self.engine.queued_bytes(key).is_some_and(|queued| queued > low_water) {
            self.calls[at].blocked = true;
        }
    }

    fn send_trailers(&mut self, rng: &mut Rng, at: usize) {
        let fields = metadata(rng);
        let Call { key, id, .. } = self.calls[at];
        let cached = self.cached.clone();
        let result = self.engine.send_trailers(key, |w| write(w, &cached, &fields));
        if result.is_ok() {
            self.mine(id, |sent| sent.trailers = Some(plain(&fields)));
        }
        self.sent(at, result, 0, true);
    }

    fn sent(&mut self, at: usize, result: Result<(), StaleKey>, len: usize, end: bool) {
        let id = self.calls[at].id;
        if result.is_err() {
            self.tally().stale_verbs += 1;
            self.calls[at].phase = Phase::Done;
            return;
        }
        self.mine(id, |sent| {
            sent.sent += len as u64;
            sent.ended |= end;
        });
        if end {
            self.calls[at].phase = Phase::Done;
        }
    }
}

impl Side<Client> {
    pub(super) fn act(&mut self, rng: &mut Rng) {
        self.act_common(rng);
        if self.appetite.calls > 0 && rng.percent(30) {
            self.open(rng);
        }
        if !self.calls.is_empty() {
            let at = rng.below(self.calls.len());
            self.send_body(rng, at);
            let at = rng.below(self.calls.len());
            self.forget_if_over(at);
        }
    }

    fn open(&mut self, rng: &mut Rng) {
        let mut fields = vec![
            (How::Plain, ":method".into(), "POST".into()),
            (How::Plain, ":scheme".into(), "http".into()),
            (How::Indexed, ":path".into(), format!("/sim/{}", rng.below(3))),
        ];
        fields.extend(metadata(rng));
        let end = rng.percent(20);
        let cached = self.cached.clone();
        match self.engine.open(end, |w| write(w, &cached, &fields)) {
            Ok(key) => {
                self.appetite.calls -= 1;
                let id = self.engine.probe_stream(key).expect("just opened").id;
                let mut call = Call::new(rng, key, id, false);
                self.mine(id, |sent| {
                    sent.head = Some(plain(&fields));
                    sent.ended = end;
                });
                if end {
                    call.phase = Phase::Done;
                }
                self.calls.push(call);
            }
            Err(OpenError::StreamLimit) => {}
            Err(_) => self.appetite.calls = 0,
        }
    }

    fn forget_if_over(&mut self, at: usize) {
        let call = &self.calls[at];
        if call.watch.is_over() || call.watch.ended && call.phase == Phase::Done {
            self.forget(at);
        }
    }

    /// Goes on without any mischief.
    pub(super) fn wind_down(&mut self, rng: &mut Rng) {
        self.release_all();
        for at in 0..self.calls.len() {
            self.send_body(rng, at);
        }
        for at in (0..self.calls.len()).rev() {
            self.forget_if_over(at);
        }
    }
}

impl Side<Server> {
    pub(super) fn act(&mut self, rng: &mut Rng) {
        self.act_common(rng);
        if !self.calls.is_empty() {
            let at = rng.below(self.calls.len());
            self.serve(rng, at);
        }
    }

    pub(super) fn wind_down(&mut self, rng: &mut Rng) {
        self.release_all();
        for at in (0..self.calls.len()).rev() {
            self.calls[at].hasty = true;
            self.serve(rng, at);
        }
    }

    fn serve(&mut self, rng: &mut Rng, at: usize) {
        let Call { plan, phase, hasty, .. } = self.calls[at];
        let watch = &self.calls[at].watch;
        if watch.is_over() {
            return self.forget(at);
        }
        let asked = watch.ended;
        match (phase, plan) {
            (Phase::Head, Plan::Unary { early }) if asked || early => self.respond(rng, at),
            (Phase::Head, Plan::Unary { .. }) => {}
            (Phase::Head, Plan::Stream { interim, .. }) => {
                if interim {
                    let Call { key, .. } = self.calls[at];
                    let hints = |w: &mut FieldWriter<'_>| w.field(b":status", b"103");
                    let _ = self.engine.send_informational(key, hints);
                }
                self.send_head(rng, at, false);
            }
            (Phase::Head, Plan::HeadOnly) => self.send_head(rng, at, true),
            (Phase::Head, Plan::Reset) => {
                let reason = rng.pick(&REASONS);
                let Call { key, id, .. } = self.calls[at];
                self.mine(id, |sent| sent.resets.push(reason));
                self.engine.reset(key, reason);
                self.forget(at);
            }
            (Phase::Head, Plan::Forget) => self.forget(at),
            (Phase::Body, _) => self.send_body(rng, at),
            (Phase::Done, _) if asked || hasty => self.forget(at),
            (Phase::Done, _) => {}
        }
    }

    fn send_head(&mut self, rng: &mut Rng, at: usize, end: bool) {
        let mut fields = vec![(How::Plain, ":status".into(), "200".into())];
        fields.extend(metadata(rng));
        let Call { key, id, .. } = self.calls[at];
        let cached = self.cached.clone();
        self.calls[at].phase = Phase::Body;
        let result = self.engine.send_headers(key, end, |w| write(w, &cached, &fields));
        if result.is_ok() {
            self.mine(id, |sent| sent.head = Some(plain(&fields)));
        }
        self.sent(at, result, 0, end);
    }

    fn respond(&mut self, rng: &mut Rng, at: usize) {
        let mut head = vec![(How::Plain, ":status".into(), "200".into())];
        head.extend(metadata(rng));
        let trailers = metadata(rng);
        let call = self.calls.swap_remove(at);
        let len = rng.between(0, call.chunk_bytes_max).min(self.appetite.body_bytes);
        self.appetite.body_bytes -= len;
        let body = payload(call.id, 0, len);
        let cached = self.cached.clone();
        self.mine(call.id, |sent| {
            sent.resets.extend([Reason::CANCEL, Reason::NO_ERROR]);
            sent.head = Some(plain(&head));
            sent.trailers = Some(plain(&trailers));
            sent.sent = len as u64;
            sent.ended = true;
        });
        let result = self.engine.respond_unary(
            call.key,
            |w| write(w, &cached, &head),
            &body,
            |w| write(w, &cached, &trailers),
        );
        if call.unreleased > 0 {
            self.stale_credit.push((call.key, call.unreleased));
        }
        if result.is_err() {
            self.engine.forget(call.key);
        }
    }
}

type Wanted = [(How, String, String)];

fn write(w: &mut FieldWriter<'_>, cached: &[crate::hpack::CachedField], fields: &Wanted) {
    for (how, name, value) in fields {
        match how {
            How::Cached(at) => w.cached(cached[*at]),
            How::Plain => w.field(name.as_bytes(), value.as_bytes()),
            How::Indexed => w.field_indexed(name.as_bytes(), value.as_bytes()),
            How::Sensitive => w.sensitive(name.as_bytes(), value.as_bytes()),
        }
    }
}

fn plain(fields: &Wanted) -> Fields {
    fields.iter().map(|(_, name, value)| (name.clone(), value.clone())).collect()
}
