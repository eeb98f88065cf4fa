//! A session and a responder in memory, their bytes cut anywhere; and a server made of frames.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::responder::{Answer, Reply, Responder};
use crate::scenario::{Scenario, Sizes};
use crate::script::Plan;

fn tally(calls: u64) -> Tally {
    Tally { left: calls, ..Tally::default() }
}

fn session(plan: Plan, in_flight: usize) -> Session {
    Session::new(Arc::new(Script::new(plan, None)), in_flight)
}

fn plan(scenario: Scenario, bytes: u32, messages: u32) -> Plan {
    let sizes = Sizes { bytes: Some(bytes), messages: Some(messages), outstanding: Some(3) };
    scenario.plan(sizes).unwrap().unwrap()
}

/// The way from one side to the other.
#[derive(Default)]
struct Wire {
    said: Vec<u8>,
    /// What has come, and waits for the rest of its frame.
    arrived: Vec<u8>,
}

impl Wire {
    /// Carries at most `most` bytes more, and tells whether there were any.
    fn carry<F: Speaker, T: Speaker>(
        &mut self,
        (from, from_tally): (&mut F, &mut Tally),
        (to, to_tally): (&mut T, &mut Tally),
        most: usize,
    ) -> bool {
        let now = Instant::now();
        from.fill(now, from_tally).unwrap();
        self.said.append(from.output());
        let length = self.said.len().min(most);
        self.arrived.extend(self.said.drain(..length));
        let used = to.handle(&self.arrived, now, to_tally).unwrap();
        self.arrived.drain(..used);
        length > 0
    }
}

/// Lets both talk until neither has anything to say; every piece has at most `most` bytes.
fn converse(session: &mut Session, responder: &mut Responder, calls: &mut Tally, most: usize) {
    let (mut there, mut back) = (Wire::default(), Wire::default());
    let mut none = Tally::default();
    loop {
        let sent = there.carry((session, calls), (responder, &mut none), most);
        let answered = back.carry((responder, &mut none), (session, calls), most);
        if !sent && !answered {
            return;
        }
    }
}

#[test]
fn calls_are_answered_wherever_the_bytes_are_cut() {
    let hello = || Reply::Hello("hello".to_owned());
    for (scenario, bytes, messages, reply) in [
        (Scenario::Unary, 0, 1, hello()),
        (Scenario::Echo, 150_000, 1, Reply::Echo),
        (Scenario::Echo, 0, 1, Reply::Echo),
        (Scenario::Bidi, 16, 50, Reply::Echo),
        (Scenario::Bidi, 70_000, 5, Reply::Echo),
        (Scenario::ServerStream, 16, 50, Reply::Stream { messages: 50, bytes: 16 }),
        (Scenario::ServerStream, 70_000, 3, Reply::Stream { messages: 3, bytes: 70_000 }),
    ] {
        let least = if bytes > 1000 { 1000 } else { 1 };
        for most in [least, 7 * least, 65_536, usize::MAX] {
            let mut session = session(plan(scenario, bytes, messages), 4);
            let mut responder = Responder::new(Arc::new(Answer::new(&reply)));
            let mut tally = tally(10);
            converse(&mut session, &mut responder, &mut tally, most);
            let seen = (tally.counts.calls, tally.counts.messages, tally.open);
            assert_eq!(seen, (10, 10 * u64::from(messages), 0), "{scenario} by {most}");
        }
    }
}

#[test]
fn a_held_stream_stays_open() {
    let mut session = session(plan(Scenario::OpenStreams, 16, 1), 20);
    let mut responder = Responder::new(Arc::new(Answer::new(&Reply::Echo)));
    let mut tally = tally(20);
    converse(&mut session, &mut responder, &mut tally, usize::MAX);
    assert!(tally.is_done());
    assert_eq!((tally.counts.calls, session.streams.len()), (20, 20));
}

/// A server that is made of frames.
struct Scripted {
    session: Session,
    tally: Tally,
}

impl Scripted {
    /// Greeted with these settings; the preface is taken.
    fn new(plan: Plan, in_flight: usize, settings: &[(u16, u32)]) -> Scripted {
        let mut scripted = Scripted { session: session(plan, in_flight), tally: tally(100) };
        scripted.fill();
        let preface = scripted.take();
        assert!(preface.starts_with(frames::PREFACE), "no preface");
        assert!(scripted.tally.open == 0, "calls began before the server's settings came");
        let mut bytes = Vec::new();
        frames::settings(settings, &mut bytes);
        scripted.says(&bytes).unwrap();
        scripted.fill();
        scripted
    }

    fn fill(&mut self) {
        self.session.fill(Instant::now(), &mut self.tally).unwrap();
    }

    fn says(&mut self, bytes: &[u8]) -> io::Result<()> {
        let used = self.session.handle(bytes, Instant::now(), &mut self.tally)?;
        assert_eq!(used, bytes.len());
        self.fill();
        Ok(())
    }

    fn frame(&mut self, kind: Kind, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        frames::head(&mut bytes, payload.len(), kind, flags, id);
        bytes.extend_from_slice(payload);
        self.says(&bytes)
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.session.output())
    }

    /// The frames that the client has sent since the last time: kind, stream and payload.
    fn sent(&mut self) -> Vec<(Kind, u32, Vec<u8>)> {
        let bytes = self.take();
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some((frame, length)) = Frame::parse(&bytes[at..]).unwrap() {
            frames.push((frame.kind, frame.id, frame.payload.to_vec()));
            at += length;
        }
        assert_eq!(at, bytes.len());
        frames
    }

    /// The header blocks that it has sent since the last time.
    fn blocks(&mut self) -> Vec<Vec<u8>> {
        let sent = self.sent().into_iter();
        sent.filter(|frame| frame.0 == Kind::Headers).map(|(_, _, block)| block).collect()
    }

    /// How much DATA it has sent since the last time, on each stream of the first three.
    fn data(&mut self) -> [usize; 3] {
        let sent = self.sent();
        [1, 3, 5].map(|id| {
            let of_stream = |frame: &&(Kind, u32, Vec<u8>)| frame.0 == Kind::Data && frame.1 == id;
            sent.iter().filter(of_stream).map(|(_, _, payload)| payload.len()).sum()
        })
    }
}

#[test]
fn no_more_is_sent_than_the_windows_allow() {
    let echo = plan(Scenario::Echo, 100_000, 1);
    let mut server = Scripted::new(echo, 3, &[(INITIAL_WINDOW_SIZE, 10)]);
    assert_eq!(server.data(), [10, 10, 10]);
    let mut more = Vec::new();
    frames::window_update(3, 5, &mut more);
    server.says(&more).unwrap();
    assert_eq!(server.data(), [0, 5, 0]);
    // A larger initial window widens those of open streams, a smaller one narrows them.
    let mut settings = Vec::new();
    frames::settings(&[(INITIAL_WINDOW_SIZE, 30)], &mut settings);
    server.says(&settings).unwrap();
    assert_eq!(server.data(), [20, 20, 20]);
    settings.clear();
    frames::settings(&[(INITIAL_WINDOW_SIZE, 20)], &mut settings);
    server.says(&settings).unwrap();
    more.clear();
    frames::window_update(1, 12, &mut more);
    server.says(&more).unwrap();
    assert_eq!(server.data(), [2, 0, 0]);
    // The connection's window ends what the streams' would allow.
    for id in [1, 3, 5] {
        more.clear();
        frames::window_update(id, 1 << 20, &mut more);
        server.says(&more).unwrap();
    }
    let sent_before = 3 * 30 + 5 + 2;
    assert_eq!(server.data().iter().sum::<usize>(), 65_535 - sent_before);
    more.clear();
    frames::window_update(0, 7, &mut more);
    server.says(&more).unwrap();
    assert_eq!(server.data().iter().sum::<usize>(), 7);
}

#[test]
fn the_table_is_used_only_where_the_server_keeps_one() {
    let blocks = headers::RequestBlocks::new("/grpctest.Grpctest/GetServerResponse", None);
    let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 3, &[]);
    assert_eq!(server.blocks(), [&blocks.first, &blocks.next, &blocks.next].map(Clone::clone));
    let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 3, &[(1, 0)]);
    let off = [&[TABLE_OFF], &blocks.plain[..]].concat();
    assert_eq!(server.blocks(), [&off, &blocks.plain, &blocks.plain].map(Clone::clone));
}

#[test]
fn pings_and_settings_are_acknowledged() {
    let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 1, &[]);
    assert_eq!(server.sent()[0], (Kind::Settings, 0, Vec::new()));
    server.frame(Kind::Ping, 0, 0, b"12345678").unwrap();
    assert_eq!(server.sent(), [(Kind::Ping, 0, b"12345678".to_vec())]);
    server.frame(Kind::Ping, 1, 0, b"12345678").unwrap();
    server.frame(Kind::Settings, 1, 0, b"").unwrap();
    assert_eq!(server.sent(), []);
}

#[test]
fn padded_replies_are_read() {
    let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 1, &[]);
    let reply = server.session.script.reply.clone();
    let (first, second) = reply.split_at(3);
    server.frame(Kind::Data, 8, 1, &[&[5], first, &[0; 5]].concat()).unwrap();
    server.frame(Kind::Data, 0, 1, b"").unwrap();
    server.frame(Kind::Data, 8, 1, &[&[0], second].concat()).unwrap();
    server.frame(Kind::Headers, 5, 1, &headers::trailers()).unwrap();
    assert_eq!((server.tally.counts.calls, server.tally.open), (1, 1));
}

#[test]
fn what_goes_wrong_is_said() {
    let reply = Script::new(plan(Scenario::Unary, 0, 1), None).reply;
    let trailers = |status: &str| [b"\x00\x0bgrpc-status\x01", status.as_bytes()].concat();
    let goodbye = b"\0\0\0\0\0\0\0\x0btoo_many_pings";
    let cases: [(Kind, u8, u32, &[u8], &str); 9] = [
        (Kind::Reset, 0, 1, &[0, 0, 0, 7], "reset stream 1 with REFUSED_STREAM, after 0 of 1"),
        (Kind::GoAway, 0, 0, goodbye, "goodbye with ENHANCE_YOUR_CALM \"too_many_pings\""),
        (Kind::Headers, 5, 1, &trailers("8"), "ended with grpc-status 8 after 0 of 1 replies"),
        (Kind::Headers, 5, 1, b"\xbe\xbf", "a status that cannot be read"),
        (Kind::Data, 1, 1, &reply, "ended with DATA"),
        (Kind::Data, 0, 1, &reply.repeat(2), "more than the 1 replies"),
        (Kind::Data, 0, 9, &reply, "DATA on stream 9, which is not open"),
        (Kind::Data, 0, 1, b"\x01", "differs from the expected one at byte 0"),
        (Kind::Settings, 0, 0, &[0, 3, 0, 0, 0, 1], "admits 1 streams a connection, and 2"),
    ];
    for (kind, flags, id, payload, due) in cases {
        let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 2, &[]);
        let error = server.frame(kind, flags, id, payload).unwrap_err().to_string();
        assert!(error.contains(due), "{error}");
    }
}

#[test]
fn a_reply_does_not_hide_a_status() {
    let mut server = Scripted::new(plan(Scenario::Unary, 0, 1), 1, &[]);
    let reply = server.session.script.reply.clone();
    server.frame(Kind::Data, 0, 1, &reply).unwrap();
    let error = server.frame(Kind::Headers, 5, 1, b"\x00\x0bgrpc-status\x0213").unwrap_err();
    assert_eq!(error.to_string(), "a call ended with grpc-status 13 after 1 of 1 replies");
}

#[test]
fn credit_goes_back_in_large_steps() {
    let mut server = Scripted::new(plan(Scenario::ServerStream, 16_000, 40_000), 1, &[]);
    server.sent();
    let message = server.session.script.reply.clone();
    let (mut connection, mut stream) = (0, 0);
    for _ in 0..40_000 {
        server.frame(Kind::Data, 0, 1, &message).unwrap();
        for (kind, id, payload) in server.sent() {
            assert_eq!(kind, Kind::WindowUpdate);
            let step = u32::from_be_bytes(payload.try_into().unwrap());
            let (given, due) = match id {
                0 => (&mut connection, CREDIT_STEP_BYTES),
                _ => (&mut stream, STREAM_CREDIT_STEP_BYTES),
            };
            assert!((due..due + 16_384).contains(&step), "{step}");
            *given += 1;
        }
    }
    assert_eq!((connection, stream), (2, 1));
}
